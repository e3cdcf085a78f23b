r"""Loss terms of SepCLR: pure functions of the heads, one equation each.

Every term is computed in float32 at least, outside autocast; distances between all pairs in float64 (in float32 their
matrix form would lose all digits near 0); every log of a mean of exponentials by ``logsumexp`` (the plain form is
:math:`\log 0` for points that lie far apart).

Source of all equations: Louiset, Duchesnay, Grigis, Gori, "Separating common from salient patterns with Contrastive
Representation Learning", ICLR 2024, https://arxiv.org/abs/2402.11928.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

__all__ = [
    "alignment",
    "attribute_alignment",
    "info_nce",
    "informationless",
    "joint_entropy",
    "kl_to_standard_normal",
    "log_kernel",
    "log_mean_of_rows",
    "median_temperature",
    "outside_autocast",
    "precise",
    "uniformity",
]


def precise(x: Tensor) -> Tensor:
    """Converts to float32 whatever has lower precision, e.g. after autocast; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def outside_autocast(losses: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Decorates a method's ``losses(encoded, batch)``, so that it runs without autocast."""

    @functools.wraps(losses)
    def in_full(method: Any, encoded: Any, batch: Any) -> Any:
        with torch.autocast(batch.target.device.type, enabled=False):
            return losses(method, encoded, batch)

    return in_full


def _not_empty(x: Tensor, kind: str) -> None:
    if len(x) == 0:
        raise ValueError(f"the batch holds no {kind}, so that the mean is undefined; draw balanced batches")


def alignment(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Alignment of two views: :math:`\frac{1}{N}\sum_i \|a_i - b_i\|^2 / 2\tau`.

    Args:
        first: heads of the first view, [N, d].
        second: heads of the second view of the same participants, [N, d].
        temperature: :math:`\tau`.

    Raises:
        ValueError: if N is 0.

    >>> alignment(torch.zeros(2, 3), torch.ones(2, 3)).item()
    3.0
    """
    _not_empty(first, "participant")
    return (precise(first) - precise(second)).square().sum(dim=1).mean() / (2 * temperature)


def attribute_alignment(salient: Tensor, attribute: Tensor, discrete: bool = False) -> Tensor:
    r"""Pulls patients together in one salient dimension, weighted by their similarity in an attribute.

    .. math:: \frac{2}{N(N-1)}\sum_{i<j} \exp(-(a_i - a_j)^2 / 2 \sigma^2)\,(s_i - s_j)^2

    with :math:`2\sigma^2 = 0.05` for a continuous attribute and :math:`10^{-5}` for a discrete one, for which the
    kernel is 1 within a class and 0 between classes.

    Args:
        salient: one dimension of the patients' salient heads, [N].
        attribute: of the same patients, [N], between 0 and 1. Patients without a value, NaN, are ignored, and N is the
            number of the others.

    Returns:
        A scalar; 0 if fewer than 2 patients have a value.
    """
    s, a = precise(salient), precise(attribute)
    i, j = torch.triu_indices(len(s), len(s), offset=1, device=s.device)
    difference = a[i] - a[j]
    known = ~difference.isnan()
    similarity = torch.where(known, torch.exp(-difference.square() / (1e-5 if discrete else 0.05)), 0)
    return (similarity * (s[i] - s[j]).square()).sum() / known.sum().clamp(min=1)


def log_kernel(x: Tensor, temperature: float | None = 0.5) -> Tensor:
    r"""Log of the Gaussian kernel between all pairs, :math:`-\|x_i - x_j\|^2 / 2\tau`: [N, d] -> [N, N].

    It uses the matrix form :math:`\|x_i\|^2 + \|x_j\|^2 - 2 x_i \cdot x_j` of centred points in float64, which for
    hundreds of participants takes a fifth of the time of differences and is more accurate than differences in float32.

    Args:
        x: [N, d].
        temperature: :math:`\tau`; None: by :func:`median_temperature`.
    """
    dtype, x = precise(x).dtype, x.double()
    centred = x - x.detach().mean(dim=0)
    norms = centred.square().sum(dim=1)
    squared = (norms[:, None] + norms - 2 * centred @ centred.T).clamp(min=0)
    tau = median_temperature(x) if temperature is None else temperature
    return -(squared / (2 * tau)).to(dtype)


def uniformity(x: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Uniformity: :math:`\log \frac{2}{N(N-1)}\sum_{i<j} \exp(-\|x_i - x_j\|^2 / 2\tau)`.

    Args:
        x: heads of one view, [N, d]. In the salient space those of controls are exactly 0 (:math:`s'`).
        temperature: :math:`\tau`.

    Raises:
        ValueError: if N is below 2, which leaves no pair.

    >>> uniformity(torch.zeros(4, 2)).item()  # all points equal: the maximum
    0.0
    """
    if len(x) < 2:
        raise ValueError(f"uniformity needs 2 participants in a batch, got {len(x)}; draw larger batches")
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    pairs = log_kernel(x, temperature)[i, j]
    return torch.logsumexp(pairs, dim=0) - math.log(len(pairs))


def info_nce(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    r"""SimCLR's loss (NT-Xent): cross-entropy of classifying, among all other views, the one of the same participant.

    .. math:: -\frac{1}{2N}\sum_i \log \frac{\exp(\hat z_i \cdot \hat z_{p(i)}/\tau)}
        {\sum_{j\ne i}\exp(\hat z_i \cdot \hat z_j/\tau)}

    Args:
        first: heads of the first view, [N, d].
        second: heads of the second view of the same participants, [N, d].
        temperature: :math:`\tau`.

    Source: Chen et al., ICML 2020, https://arxiv.org/abs/2002.05709.

    Raises:
        ValueError: if N is 0.
    """
    _not_empty(first, "participant")
    z = functional.normalize(torch.cat([precise(first), precise(second)]), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    similarity = (z @ z.T / temperature).masked_fill(itself, -math.inf)
    return functional.cross_entropy(similarity, torch.arange(len(z), device=z.device).roll(len(first)))


def informationless(salient: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Pins controls to the information-less point :math:`s'=0`: :math:`\frac{1}{N}\sum_i \|s_i\|^2 / 2\tau`.

    Args:
        salient: salient heads of the controls of one view, [N, d], not normalised.
        temperature: :math:`\tau`.

    Raises:
        ValueError: if N is 0.
    """
    _not_empty(salient, "control")
    return precise(salient).square().sum(dim=1).mean() / (2 * temperature)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of N(mu, diag sigma²) from N(0, I).

    .. math:: \frac12\sum_k (\mu_k^2 + \sigma_k^2 - 1 - \log\sigma_k^2)

    Args:
        mean: [N, k].
        log_variance: [N, k].

    Returns:
        One value per row, [N].
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def median_temperature(x: Tensor) -> Tensor:
    r"""The temperature at which the median pair of points has kernel 1/e: half the median squared distance.

    Args:
        x: [N, d].

    Returns:
        A scalar, without gradient; 1 where most points coincide.

    Source: the median heuristic of kernel methods, e.g. Garreau, Jitkrittum, Kanagawa 2018,
    https://arxiv.org/abs/1707.07269.
    """
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    median = (-log_kernel(x.detach(), 0.5))[i, j].median() if len(x) > 1 else torch.zeros(())
    return torch.where(median > 0, median / 2, 1.0)


def joint_entropy(common: Tensor, salient: Tensor, temperature: float | None = 0.5, diagonal: bool = True) -> Tensor:
    r"""k-JEM, the negative kernel estimate of the joint entropy of both spaces; minimising it makes them independent.

    .. math:: J = \frac{1}{N}\sum_i \log \frac{1}{N}\sum_j
        \exp(-\|\hat c_i - \hat c_j\|^2 / 2\tau)\,\exp(-\|\tilde s_i - \tilde s_j\|^2 / 2\tau)

    With the diagonal, J lies between :math:`-\log N` (all points far apart), where its gradient vanishes, and 0 (all
    points equal). Without, the inner mean is over :math:`j \ne i`, and the gradient does not vanish with distance.

    Args:
        common: L2-normalised common heads of one view, [N, d].
        salient: salient heads of the same participants, [N, k]; 0 for controls.
        temperature: :math:`\tau` of both kernels; None: of each space by :func:`median_temperature`.
        diagonal: whether the inner mean includes j = i.

    Raises:
        ValueError: if N is 0, or 1 without the diagonal.

    >>> joint_entropy(torch.zeros(4, 2), torch.zeros(4, 3)).item()
    0.0
    """
    _not_empty(common, "participant")
    joint = log_kernel(common, temperature) + log_kernel(salient, temperature)
    return log_mean_of_rows(joint, diagonal).mean()


def log_mean_of_rows(log_kernels: Tensor, diagonal: bool) -> Tensor:
    """Log of the mean of each row of kernels, with or without its diagonal element: log kernels [N, N] -> [N]."""
    n = len(log_kernels)
    if diagonal:
        return torch.logsumexp(log_kernels, dim=1) - math.log(n)
    itself = torch.eye(n, dtype=torch.bool, device=log_kernels.device)
    return torch.logsumexp(log_kernels.masked_fill(itself, -math.inf), dim=1) - math.log(n - 1)
