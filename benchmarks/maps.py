"""SmoothGrad of one participant against a forward and backward pass of as many noisy copies.

python -m benchmarks.maps [--quick]
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.rows import Rows, best_of, run
from benchmarks.steps import Step, made_up_scans, made_up_standardisation
from sepclr_neuro.attribution import smoothgrad

SAMPLES = 8
TARGETS = 3


def measure(rows: Rows, quick: bool) -> None:
    if rows.has("smoothgrad_ratio", "smoothgrad_ratio_a_score"):
        return
    side = 32 if quick else 64
    method, standardisation = Step(side=side, batch_size=4).method.eval(), made_up_standardisation(side)
    method.requires_grad_(False)  # neither of the two asks for the weights' gradients
    volume = standardisation.apply(made_up_scans(1, side))
    weights = torch.randn(TARGETS, 32, generator=torch.Generator().manual_seed(0))

    def scores(volumes: Tensor) -> Tensor:
        found = method.represent(volumes)
        return torch.cat([found[space] @ weights.T for space in method.spaces], dim=1)

    def forward_backward() -> None:
        """Of one volume and one score."""
        x = volume.clone().requires_grad_()
        torch.autograd.grad(scores(x)[0, 0], x)

    def map_once() -> None:
        smoothgrad(scores, volume, standardisation.mask, samples=SAMPLES, noise_sd=0.1, seed=0)

    one, whole = best_of(forward_backward, 3 if quick else 20), best_of(map_once, 2 if quick else 5)
    scored = len(method.spaces) * TARGETS
    rows.add("smoothgrad", whole, f"s a participant, {SAMPLES} samples, {scored} scores")
    rows.add("smoothgrad_ratio", whole / (one * SAMPLES), "times n_samples forward-backwards of one score")
    rows.add("smoothgrad_ratio_a_score", whole / (one * SAMPLES * scored), "times n_samples forward-backwards a score")


if __name__ == "__main__":
    run(__doc__, measure)
