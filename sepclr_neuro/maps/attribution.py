"""Which voxels of one volume a score depends on: SmoothGrad, integrated gradients, and occlusion by region."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sepclr_neuro.config.saliency import Saliency
from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.registry import Entry
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.learning.noise import normal_numbers

__all__ = [
    "INTEGRATED_GRADIENTS",
    "OCCLUSION",
    "SMOOTHGRAD",
    "Attribution",
    "Scan",
    "Scores",
    "integrated_gradients",
    "occlusion",
    "smoothgrad",
]

Scores = Callable[[Tensor], list[Tensor]]
"""From standardised volumes [B, 1, X, Y, Z] to K scores of each, K times [B], differentiable.

Not one tensor, or the gradient of each score would pass through the networks of all.
"""


@dataclass(frozen=True)
class Scan:
    """Inputs of an attribution beside the scores.

    Attributes:
        volume: one standardised volume, [1, 1, X, Y, Z].
        mask: the voxels that networks see, [X, Y, Z].
        baseline: gives the mean of the training controls, standardised, [1, 1, X, Y, Z].
        regions: gives the number of each voxel's region, [X, Y, Z], 0 for none; for an attribution ``by_region``.
        seed: of this scan in this fold.
        settings: the section `saliency`.
    """

    volume: Tensor
    mask: Tensor
    baseline: Callable[[], Tensor]
    regions: Callable[[], Tensor]
    seed: int
    settings: Saliency


@dataclass(frozen=True)
class Attribution(Entry):
    """A way to credit voxels, as ``saliency.attributions`` names it.

    Attributes:
        title: how pictures and tables call it.
        function: from K scores and a scan to K maps, [K, X, Y, Z], float64, on the CPU.
        unit: of the maps, after the word for the score; ``{unit}`` is that of the volume.
        in_words: what was done, for the methods text, by the settings and the unit of noise.
        depends_on: names of settings in the section `saliency` with which maps change.
        by_region: whether it needs regions: of the atlas, or cubes.
        passes: the setting that says how often a scan passes through the networks, for the estimate of a run's time;
            empty if no setting does.
        references: what a text that uses it cites.
    """

    function: Callable[[Scores, Scan], Tensor]
    unit: str
    in_words: Callable[[Saliency, str], str]
    depends_on: tuple[str, ...] = ()
    by_region: bool = False
    passes: str = ""
    references: tuple[Reference, ...] = ()


# Voxels that pass through the networks at once: two volumes of 128³, 16 of 64³.
VOXELS_AT_ONCE = 2 * 128**3


def _chunks(count: int, volume: Tensor) -> list[range]:
    at_once = max(1, VOXELS_AT_ONCE // volume.numel())
    return [range(start, min(start + at_once, count)) for start in range(0, count, at_once)]


def _gradients(scores: Scores, volumes: Tensor) -> list[Tensor]:
    """The gradient of each score, summed over volumes: K times [X, Y, Z]."""
    volumes = volumes.detach().requires_grad_()
    # All scores share the forward pass; captum would compute it anew for each.
    return [
        torch.autograd.grad(values.sum(), volumes, retain_graph=True)[0].sum(dim=(0, 1)) for values in scores(volumes)
    ]


def _summed_gradients(scores: Scores, batches: Iterable[Tensor]) -> Tensor:
    """The same over all volumes of some batches: [K, X, Y, Z], float64, on the CPU."""
    totals: list[Tensor] = []
    for volumes in batches:
        gradients = _gradients(scores, volumes)
        totals = totals or [torch.zeros_like(gradient, dtype=torch.float64) for gradient in gradients]
        for total, gradient in zip(totals, gradients, strict=True):
            total += gradient
    return torch.stack(totals).cpu()


def smoothgrad(scores: Scores, volume: Tensor, mask: Tensor, *, samples: int, noise_sd: float, seed: int) -> Tensor:
    r"""The signed gradient of scores at one volume, averaged over noisy copies of it.

    .. math:: M_k = \frac1n \sum_{i=1}^n \nabla_x f_k(m \odot (x + \varepsilon_i)),
        \qquad \varepsilon_i \sim \mathcal N(0, \sigma^2)

    Equals captum's ``NoiseTunnel(Saliency(f), ...).attribute(x, abs=False)`` under the same noise. Voxels outside the
    mask are 0 in all volumes, so noise there is cut off and the map is 0 there.

    Args:
        scores: K scores of volumes.
        volume: one standardised volume, [1, 1, X, Y, Z], in SDs.
        mask: the voxels that networks see, [X, Y, Z].
        samples: noisy copies n.
        noise_sd: sigma, in the volume's units.
        seed: of the noise, which does not depend on how many copies are computed at once.

    Returns:
        [K, X, Y, Z], float64, in score per unit of the volume.

    Source: Smilkov et al., *SmoothGrad: removing noise by adding noise*, 2017 (arXiv 1706.03825).
    """

    def noisy(copies: range) -> Tensor:
        # One draw a copy, on the CPU: the same noise whatever the batch and the device.
        noise = torch.cat([normal_numbers(volume.shape, seed_of(seed, copy)) for copy in copies]).to(volume.device)
        return noise.mul_(noise_sd).add_(volume).mul_(mask)

    total = _summed_gradients(scores, map(noisy, _chunks(samples, volume)))
    return total * mask.cpu() / samples


SMOOTHGRAD = Attribution(
    "SmoothGrad",
    lambda scores, scan: smoothgrad(
        scores,
        scan.volume,
        scan.mask,
        samples=scan.settings.samples,
        noise_sd=scan.settings.noise_sd,
        seed=scan.seed,
    ),
    unit="per {unit} of grey matter",
    in_words=lambda settings, unit: (
        f"SmoothGrad (Smilkov et al., 2017) took {counted(settings.samples, 'sample')} with noise of "
        f"{settings.noise_sd} {unit}"
    ),
    depends_on=("samples", "noise_sd"),
    passes="samples",
    references=(
        Reference(
            "Smilkov D, Thorat N, Kim B, Viégas F, Wattenberg M",
            2017,
            "SmoothGrad: removing noise by adding noise",
            "https://arxiv.org/abs/1706.03825",
        ),
    ),
)


def integrated_gradients(scores: Scores, volume: Tensor, baseline: Tensor, *, steps: int) -> Tensor:
    r"""What each voxel adds to the scores on the way from a baseline to a volume.

    .. math:: M_k = (x - x_0) \odot \frac1n \sum_{i=1}^n \nabla_x f_k\left(x_0 + \tfrac{i - 1/2}{n} (x - x_0)\right)

    Equals captum's ``IntegratedGradients(f).attribute(x, x_0, method="riemann_middle")``. The sum over voxels tends to
    :math:`f_k(x) - f_k(x_0)` as steps grow.

    Args:
        scores: K scores of volumes.
        volume: one standardised volume, [1, 1, X, Y, Z].
        baseline: what stands for nothing special, [1, 1, X, Y, Z].
        steps: n.

    Returns:
        [K, X, Y, Z], float64, in units of the score.

    Source: Sundararajan et al., *Axiomatic attribution for deep networks*, ICML 2017 (arXiv 1703.01365).
    """

    def on_the_way(at_once: range) -> Tensor:
        way = torch.tensor([(i + 0.5) / steps for i in at_once], device=volume.device).reshape(-1, 1, 1, 1, 1)
        return baseline + way * (volume - baseline)

    total = _summed_gradients(scores, map(on_the_way, _chunks(steps, volume)))
    return (volume - baseline)[0, 0].double().cpu() * total / steps


INTEGRATED_GRADIENTS = Attribution(
    "Integrated gradients",
    lambda scores, scan: integrated_gradients(scores, scan.volume, scan.baseline(), steps=scan.settings.steps),
    unit="that a voxel adds",
    in_words=lambda settings, unit: (
        f"Integrated gradients (Sundararajan et al., 2017) took {counted(settings.steps, 'step')} from the mean of the "
        "training controls"
    ),
    depends_on=("steps",),
    passes="steps",
    references=(
        Reference(
            "Sundararajan M, Taly A, Yan Q",
            2017,
            "Axiomatic attribution for deep networks",
            "https://arxiv.org/abs/1703.01365",
            "ICML",
            kind="inproceedings",
        ),
    ),
)


@torch.no_grad()
def occlusion(scores: Scores, volume: Tensor, baseline: Tensor, regions: Tensor) -> Tensor:
    r"""How much the scores fall when a whole region is replaced by the baseline.

    .. math:: M_k[v] = f_k(x) - f_k(x \text{ with } x_0 \text{ in the region of } v)

    Equals captum's ``FeatureAblation(f).attribute(x, x_0, feature_mask=regions)``, region 0 left out.

    Args:
        scores: K scores of volumes.
        volume: one standardised volume, [1, 1, X, Y, Z].
        baseline: what stands for nothing special, [1, 1, X, Y, Z].
        regions: the number of each voxel's region, [X, Y, Z]; 0 is no region, never replaced, and 0 in the map.

    Returns:
        [K, X, Y, Z], float64, in units of the score: each voxel has the value of its region.
    """
    labels = [int(label) for label in regions.unique() if label != 0]
    whole = torch.cat(scores(volume)).double()
    effects = torch.zeros(len(labels) + 1, len(whole), dtype=torch.float64, device=volume.device)
    for at_once in _chunks(len(labels), volume):
        occluded = torch.cat([torch.where(regions == labels[i], baseline, volume) for i in at_once])
        effects[at_once.start + 1 : at_once.stop + 1] = whole - torch.stack(scores(occluded), dim=1)
    place = torch.zeros_like(regions, dtype=torch.long)
    for i, label in enumerate(labels, start=1):
        place[regions == label] = i
    return effects[place].movedim(-1, 0).cpu()


def _replaced(settings: Saliency) -> str:
    if settings.atlas is None:
        return f"cubes of {settings.occlusion_mm:g} mm"
    return f"each region of the atlas {settings.atlas.image.name}"


OCCLUSION = Attribution(
    "Occlusion by region",
    lambda scores, scan: occlusion(scores, scan.volume, scan.baseline(), scan.regions()),
    unit="that a region adds",
    in_words=lambda settings, unit: f"Occlusion replaced {_replaced(settings)} by the mean of the training controls",
    by_region=True,
)
