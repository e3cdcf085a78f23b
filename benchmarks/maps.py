"""SmoothGrad of one participant against a forward and a backward pass of one volume and one score for each noisy copy.

python -m benchmarks.maps [--quick]
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.measuring import best_of_each
from benchmarks.rows import Rows, run
from benchmarks.steps import Step, made_up_scans, made_up_standardisation
from sepclr_neuro.maps.attribution import smoothgrad

SAMPLES = 8
TARGETS = 3


def measure(rows: Rows, quick: bool) -> None:
    if rows.has("smoothgrad_ratio", "smoothgrad_ratio_one_score"):
        return
    side = 32 if quick else 64
    method, standardisation = Step(side=side, batch_size=4).method.eval(), made_up_standardisation(side)
    method.requires_grad_(False)  # neither needs gradients of the weights
    volume = standardisation.apply(made_up_scans(1, side))
    weights = torch.randn(TARGETS, 32, generator=torch.Generator().manual_seed(0))

    def scores(volumes: Tensor) -> list[Tensor]:
        found = method.represent(volumes)
        return [found[space] @ target for space in method.spaces for target in weights]

    def forward_backward() -> None:
        """A forward and a backward pass of one volume and one score."""
        x = volume.clone().requires_grad_()
        torch.autograd.grad(scores(x)[0], x)

    def map_once(number: int) -> None:
        """SmoothGrad of the first scores."""
        smoothgrad(lambda x: scores(x)[:number], volume, standardisation.mask, samples=SAMPLES, noise_sd=0.1, seed=0)

    scored = len(method.spaces) * TARGETS
    timed = {"": partial(map_once, scored), "_one_score": partial(map_once, 1), "one": forward_backward}
    seconds = best_of_each(timed, 2 if quick else 20)
    for suffix, number in (("", scored), ("_one_score", 1)):
        whole, ratio = seconds[suffix], seconds[suffix] / (seconds["one"] * SAMPLES)
        rows.add(
            f"smoothgrad{suffix}", whole, f"s a participant, {SAMPLES} samples, {number} score{'s' * (number > 1)}"
        )
        rows.add(f"smoothgrad_ratio{suffix}", ratio, "times n_samples forward-backwards of one score")


if __name__ == "__main__":
    run(__doc__, measure)
