r"""Terms of SepCLR: pure functions of the heads, one equation each.

Every term is computed in float32 at least, outside autocast, distances between all pairs in float64 (in float32 their
matrix form would lose all digits near 0), and every log of a mean of exponentials by ``logsumexp`` (the plain form is
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
    """At least float32, whatever autocast made of it."""
    return x if x.dtype == torch.float64 else x.float()


def outside_autocast(losses: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Decorates a method's ``losses(encoded, batch)``: what it computes stays in the precision that it is given."""

    @functools.wraps(losses)
    def in_full(method: Any, encoded: Any, batch: Any) -> Any:
        with torch.autocast(batch.target.device.type, enabled=False):
            return losses(method, encoded, batch)

    return in_full


def _not_empty(x: Tensor, who: str) -> None:
    if len(x) == 0:
        raise ValueError(f"the batch holds no {who}: a mean over nobody has no value; draw balanced batches")


def alignment(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Alignment of two views: :math:`\frac{1}{N}\sum_i \|a_i - b_i\|^2 / 2\tau`.

    Args:
        first: heads of the first view, [N, d].
        second: heads of the second view of the same people, [N, d].
        temperature: :math:`\tau`.

    Raises:
        ValueError: if N is 0.

    >>> alignment(torch.zeros(2, 3), torch.ones(2, 3)).item()
    3.0
    """
    _not_empty(first, "participant")
    return (precise(first) - precise(second)).square().sum(dim=1).mean() / (2 * temperature)


def attribute_alignment(salient: Tensor, attribute: Tensor, discrete: bool = False) -> Tensor:
    r"""Brings patients together in one salient dimension as far as they are alike in an attribute.

    .. math:: \frac{2}{N(N-1)}\sum_{i<j} \exp(-(a_i - a_j)^2 / 2 \sigma^2)\,(s_i - s_j)^2

    with :math:`2\sigma^2 = 0.05` for a continuous attribute and :math:`10^{-5}` for a discrete one, for which the
    kernel is 1 within a class and 0 between classes.

    Args:
        salient: one dimension of the patients' salient heads, [N].
        attribute: of the same patients, [N], between 0 and 1; NaN where it is missing, which leaves the patient out.

    Returns:
        0 where fewer than 2 patients have a value.
    """
    s, a = precise(salient), precise(attribute)
    i, j = torch.triu_indices(len(s), len(s), offset=1, device=s.device)
    difference = a[i] - a[j]
    known = ~difference.isnan()
    likeness = torch.where(known, torch.exp(-difference.square() / (1e-5 if discrete else 0.05)), 0)
    return (likeness * (s[i] - s[j]).square()).sum() / known.sum().clamp(min=1)


def log_kernel(x: Tensor, temperature: float | None = 0.5) -> Tensor:
    r"""Log of the Gaussian kernel between all pairs, :math:`-\|x_i - x_j\|^2 / 2\tau`: [N, d] -> [N, N].

    Without a temperature it is that of :func:`median_temperature`.

    By the matrix form :math:`\|x_i\|^2 + \|x_j\|^2 - 2 x_i \cdot x_j` of centred points in float64, which for
    hundreds of people takes a fifth of the time of differences and is more accurate than these are in float32.
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
        x: heads of one view, [N, d]. For the salient space the controls' are exactly 0 (:math:`s'`).
        temperature: :math:`\tau`.

    Raises:
        ValueError: if N is below 2, which leaves no pair.

    >>> uniformity(torch.zeros(4, 2)).item()  # all in one place: the largest value there is
    0.0
    """
    if len(x) < 2:
        raise ValueError(f"uniformity needs 2 participants in a batch, got {len(x)}; draw larger batches")
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    pairs = log_kernel(x, temperature)[i, j]
    return torch.logsumexp(pairs, dim=0) - math.log(len(pairs))


def info_nce(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    r"""SimCLR's loss, by which a view finds the other view of the same person among all others' views.

    .. math:: -\frac{1}{2N}\sum_i \log \frac{\exp(\hat z_i \cdot \hat z_{p(i)}/\tau)}
        {\sum_{j\ne i}\exp(\hat z_i \cdot \hat z_j/\tau)}

    Args:
        first: heads of the first view, [N, d].
        second: heads of the second view of the same people, [N, d].
        temperature: :math:`\tau`.

    Source: Chen et al., ICML 2020, https://arxiv.org/abs/2002.05709.

    Raises:
        ValueError: if N is 0.
    """
    _not_empty(first, "participant")
    z = functional.normalize(torch.cat([precise(first), precise(second)]), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    likeness = (z @ z.T / temperature).masked_fill(itself, -math.inf)
    return functional.cross_entropy(likeness, torch.arange(len(z), device=z.device).roll(len(first)))


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
    r"""Divergence of N(mu, diag sigma²) from N(0, I).

    .. math:: \frac12\sum_k (\mu_k^2 + \sigma_k^2 - 1 - \log\sigma_k^2)

    Args:
        mean: [N, k].
        log_variance: [N, k].

    Returns:
        One value a row, [N].
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def median_temperature(x: Tensor) -> Tensor:
    r"""The temperature at which the median pair of points has kernel 1/e: half the median squared distance.

    Args:
        x: [N, d].

    Returns:
        1 where most points are in one place.

    Source: the median heuristic of kernel methods, e.g. Garreau, Jitkrittum, Kanagawa 2018,
    https://arxiv.org/abs/1707.07269.
    """
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    median = (-log_kernel(x.detach(), 0.5))[i, j].median() if len(x) > 1 else torch.zeros(())
    return torch.where(median > 0, median / 2, 1.0)


def joint_entropy(common: Tensor, salient: Tensor, temperature: float | None = 0.5, diagonal: bool = True) -> Tensor:
    r"""k-JEM, minus the kernel estimate of the joint entropy of both spaces; minimised, it keeps them independent.

    .. math:: J = \frac{1}{N}\sum_i \log \frac{1}{N}\sum_j
        \exp(-\|\hat c_i - \hat c_j\|^2 / 2\tau)\,\exp(-\|\tilde s_i - \tilde s_j\|^2 / 2\tau)

    With the diagonal J is between :math:`-\log N` (all far apart), where it no longer moves anybody, and 0 (all in one
    place). Without, the inner mean is over the others, and the nearest of them is felt however far it is.

    Args:
        common: L2-normalised common heads of one view, [N, d].
        salient: salient heads of the same people, [N, k]; 0 for controls.
        temperature: :math:`\tau` of both kernels; None: each space's by :func:`median_temperature`.
        diagonal: whether a person counts as a neighbour of theirs.

    Raises:
        ValueError: if N is 0, or 1 without the diagonal.

    >>> joint_entropy(torch.zeros(4, 2), torch.zeros(4, 3)).item()
    0.0
    """
    _not_empty(common, "participant")
    joint = log_kernel(common, temperature) + log_kernel(salient, temperature)
    return log_mean_of_rows(joint, diagonal).mean()


def log_mean_of_rows(log_kernels: Tensor, diagonal: bool) -> Tensor:
    """Log of the mean kernel of each person with everybody, or with everybody else: [N, N] -> [N]."""
    n = len(log_kernels)
    if diagonal:
        return torch.logsumexp(log_kernels, dim=1) - math.log(n)
    itself = torch.eye(n, dtype=torch.bool, device=log_kernels.device)
    return torch.logsumexp(log_kernels.masked_fill(itself, -math.inf), dim=1) - math.log(n - 1)
