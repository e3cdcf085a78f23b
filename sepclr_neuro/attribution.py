"""Which voxels of one volume a score depends on: SmoothGrad, integrated gradients, and occlusion by region."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Scores", "integrated_gradients", "occlusion", "smoothgrad"]

Scores = Callable[[Tensor], Tensor]
"""From standardised volumes [B, 1, X, Y, Z] to K scores of each, [B, K], differentiable."""

# Voxels that pass through the networks at once: two volumes of 128³, 16 of 64³.
VOXELS_AT_ONCE = 2 * 128**3


def _chunks(count: int, volume: Tensor) -> list[range]:
    at_once = max(1, VOXELS_AT_ONCE // volume.numel())
    return [range(start, min(start + at_once, count)) for start in range(0, count, at_once)]


def _summed_gradients(scores: Scores, volumes: Tensor) -> Tensor:
    """The gradient of each score, summed over volumes: [K, X, Y, Z], float64, on the CPU."""
    volumes = volumes.detach().requires_grad_()
    values = scores(volumes).sum(dim=0)
    # All scores share the forward pass; captum would compute it anew for each.
    gradients = [torch.autograd.grad(value, volumes, retain_graph=True)[0] for value in values]
    return torch.stack([gradient.sum(dim=(0, 1)).double().cpu() for gradient in gradients])


def smoothgrad(scores: Scores, volume: Tensor, mask: Tensor, *, samples: int, noise_sd: float, seed: int) -> Tensor:
    r"""The signed gradient of scores at one volume, averaged over noisy copies of it.

    .. math:: M_k = \frac1n \sum_{i=1}^n \nabla_x f_k(m \odot (x + \varepsilon_i)),
        \qquad \varepsilon_i \sim \mathcal N(0, \sigma^2)

    Equals captum's ``NoiseTunnel(Saliency(f), ...).attribute(x, abs=False)`` under the same noise. Voxels outside the
    mask are 0 for everybody, so noise there is cut off and the map is 0 there.

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
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for copies in _chunks(samples, volume):
        # One draw a copy, on the CPU: the same noise whatever the batch and the device.
        noise = torch.cat([torch.randn(volume.shape, generator=generator) for _ in copies]).to(volume.device)
        # The mask's own gradient is 0 outside it.
        parts.append(_summed_gradients(lambda x: scores(x * mask), volume + noise_sd * noise))
    return torch.stack(parts).sum(dim=0) / samples


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
    parts = []
    for at_once in _chunks(steps, volume):
        way = torch.tensor([(i + 0.5) / steps for i in at_once], device=volume.device).reshape(-1, 1, 1, 1, 1)
        parts.append(_summed_gradients(scores, baseline + way * (volume - baseline)))
    return (volume - baseline)[0, 0].double().cpu() * torch.stack(parts).sum(dim=0) / steps


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
    whole = scores(volume)[0].double()
    effects = torch.zeros(len(labels) + 1, len(whole), dtype=torch.float64, device=volume.device)
    for at_once in _chunks(len(labels), volume):
        occluded = torch.cat([torch.where(regions == labels[i], baseline, volume) for i in at_once])
        effects[at_once.start + 1 : at_once.stop + 1] = whole - scores(occluded).double()
    place = torch.zeros_like(regions, dtype=torch.long)
    for i, label in enumerate(labels, start=1):
        place[regions == label] = i
    return effects[place].movedim(-1, 0).cpu()
