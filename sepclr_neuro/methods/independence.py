r"""Independence terms between the two spaces: all those of the paper's Table 1, behind one interface.

Each is a function of the pairs (common head, salient head) of one view that decreases as the spaces become independent.
Some are kernel estimates; the others bound or estimate the mutual information by networks of their own (estimators),
which are trained on detached pairs in alternation with the encoders.

Sources: Louiset et al., ICLR 2024, https://arxiv.org/abs/2402.11928 (SepCLR, which names the terms); Cheng et al., ICML
2020, https://arxiv.org/abs/2006.12013 (CLUB); Poole et al., ICML 2019, https://arxiv.org/abs/1905.06922 (variational
bounds, the leave-one-out form among them); Gretton et al., JMLR 2012 (MMD); Kim and Mnih, ICML 2018,
https://arxiv.org/abs/1802.05983 (total correlation by a density ratio).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from sepclr_neuro.config.methods.terms import TERMS
from sepclr_neuro.methods.losses import (
    joint_entropy,
    kl_to_standard_normal,
    log_kernel,
    log_mean_of_rows,
    precise,
)

__all__ = [
    "ConditionalGaussian",
    "DensityRatio",
    "Discrepancy",
    "Discriminator",
    "DistanceCorrelation",
    "Independence",
    "Kernels",
    "TermSettings",
    "Variational",
    "build_independence",
    "club",
    "distance_correlation",
    "kernel_mutual_information",
    "leave_one_out",
    "no_term",
    "random_partners",
    "squared_mmd",
    "upper_bound",
]


# --- pure functions ----------------------------------------------------------------------------------------------


def kernel_mutual_information(
    common: Tensor, salient: Tensor, temperature: float | None = 0.5, diagonal: bool = True
) -> Tensor:
    r"""k-MI, a kernel estimate of the mutual information:

    .. math:: \frac1N\sum_i \log
        \frac{\mathrm{mean}_j\, k^c_{ij} k^s_{ij}}{\mathrm{mean}_j\, k^c_{ij}\;\mathrm{mean}_j\, k^s_{ij}}

    with the Gaussian kernels of k-JEM. The paper names the term without a formula: this one is inferred.

    Args:
        common: [N, d].
        salient: [N, k].
        temperature: tau of both kernels; None: of each space by the median heuristic.
        diagonal: as for :func:`~sepclr_neuro.methods.losses.joint_entropy`.

    >>> kernel_mutual_information(torch.zeros(4, 2), torch.zeros(4, 3)).item()
    0.0
    """
    c, s = log_kernel(common, temperature), log_kernel(salient, temperature)
    joint, of_c, of_s = (log_mean_of_rows(logs, diagonal) for logs in (c + s, c, s))
    return (joint - of_c - of_s).mean()


def distance_correlation(common: Tensor, salient: Tensor) -> Tensor:
    r"""The bias-corrected squared distance correlation of two representations,

    .. math:: \langle A, B\rangle / \sqrt{\langle A, A\rangle \langle B, B\rangle}

    with the U-centred matrices A and B of Euclidean distances within each space. It has no bandwidth, and its
    expectation is 0 for independent spaces at any number of participants; it can be negative.

    Args:
        common: [N, d].
        salient: [N, k].

    Returns:
        A scalar; 0 for fewer than 4 participants, or if all points of a space coincide.

    Source: Székely and Rizzo 2013, https://doi.org/10.1016/j.jmva.2013.02.012.
    """
    n = len(common)
    if n < 4:
        return (precise(common).sum() + precise(salient).sum()) * 0
    itself = torch.eye(n, dtype=torch.bool, device=common.device)

    def centred(x: Tensor) -> Tensor:
        # The square root has no gradient at 0, where controls' salient codes coincide.
        distance = (-log_kernel(x, 0.5) + 1e-6).sqrt().masked_fill(itself, 0)
        rows = distance.sum(dim=0) / (n - 2)
        return (distance - rows - rows[:, None] + distance.sum() / ((n - 1) * (n - 2))).masked_fill(itself, 0)

    a, b = centred(common), centred(salient)
    return (a * b).sum() / (a.square().sum() * b.square().sum() + 1e-12).sqrt()


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    r"""Squared maximum mean discrepancy of two samples, unbiased:

    .. math:: \mathrm{mean}_{i\ne j} k(x_i,x_j) + \mathrm{mean}_{i\ne j} k(y_i,y_j) - 2\,\mathrm{mean}_{ij} k(x_i,y_j)

    The kernel sums :math:`\exp(-\gamma d^2)` over :math:`\gamma = 10^{-6}, 10^{-5}, \ldots, 10^{6}`, the scales of
    MM-cVAE (Weinberger et al., 2022). The estimate can be negative; it is not clipped at 0, where it would have no
    gradient.

    Args:
        x: [N, d].
        y: [M, d].

    Raises:
        ValueError: if N or M is below 2, which leaves no pair.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(
            f"MMD needs 2 participants per sample in a batch, got {len(x)} and {len(y)}; draw larger batches"
        )
    scales = 10.0 ** torch.arange(-6, 7, device=x.device, dtype=precise(x).dtype)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squares = (precise(a)[:, None] - precise(b)[None]).square().sum(dim=2)
        return torch.exp(-scales[:, None, None] * squares).sum(dim=0)

    def within(a: Tensor) -> Tensor:
        itself = torch.eye(len(a), dtype=torch.bool, device=a.device)
        return kernel(a, a).masked_fill(itself, 0).sum() / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def club(log_q: Tensor) -> Tensor:
    r"""vCLUB: :math:`\frac1N\sum_i [\log q(b_i|a_i) - \frac1N\sum_j \log q(b_j|a_i)]`.

    Args:
        log_q: :math:`\log q(b_j|a_i)` at row i and column j, [N, N].
    """
    return (log_q.diagonal() - log_q.mean(dim=1)).mean()


def leave_one_out(log_q: Tensor) -> Tensor:
    r"""vL1O: :math:`\frac1N\sum_i [\log q(b_i|a_i) - \log \frac1{N-1}\sum_{j\ne i} q(b_i|a_j)]`.

    Args:
        log_q: as for :func:`club`; the inner sum is over conditions a_j, that is over rows.

    Raises:
        ValueError: if N is below 2.
    """
    n = len(log_q)
    if n < 2:
        raise ValueError(f"the leave-one-out bound needs 2 participants in a batch, got {n}; draw larger batches")
    others = log_q.masked_fill(torch.eye(n, dtype=torch.bool, device=log_q.device), -math.inf)
    return (log_q.diagonal() - torch.logsumexp(others, dim=0) + math.log(n - 1)).mean()


def upper_bound(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""vUB, the mean divergence of :math:`q(b|a_i)` from the standard normal:
    :math:`\frac1N\sum_i \frac12\sum_k (\mu_{ik}^2 + \sigma_{ik}^2 - 1 - \log\sigma_{ik}^2)`.

    Args:
        mean: [N, k].
        log_variance: [N, k].
    """
    return kl_to_standard_normal(mean, log_variance).mean()


def random_partners(count: int, device: torch.device) -> Tensor:
    """A random permutation without fixed points, [count], which pairs each participant with another; [0] for one alone.

    Drawn from torch's global generator, which the training loop seeds before each batch.
    """
    order = torch.randperm(count).to(device, non_blocking=True)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


# --- estimator networks ------------------------------------------------------------------------------------------


class ConditionalGaussian(nn.Module):
    r"""q(b|a) = N(mu(a), diag sigma²(a)): two networks with one hidden layer; tanh keeps log sigma² between -1 and 1.

    Shape: a [N, d] -> mu and log sigma², each [N, k].
    """

    def __init__(self, given: int, of: int, width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(given, width), nn.ReLU(), nn.Linear(width, of))
        self.log_variance = nn.Sequential(nn.Linear(given, width), nn.ReLU(), nn.Linear(width, of), nn.Tanh())

    def forward(self, a: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(a), self.log_variance(a)

    def log_prob(self, a: Tensor, b: Tensor) -> Tensor:
        r""":math:`\log q(b_j|a_i)` at row i and column j, [N, N]."""
        mean, log_variance = (part[:, None] for part in self(a))
        squares = (b[None] - mean).square() / log_variance.exp()
        return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(dim=2)

    def negative_log_likelihood(self, a: Tensor, b: Tensor) -> Tensor:
        r""":math:`-\frac1N\sum_i \log q(b_i|a_i)`, without its constant."""
        mean, log_variance = self(a)
        return 0.5 * ((b - mean).square() / log_variance.exp() + log_variance).sum(dim=1).mean()


class Discriminator(nn.Sequential):
    """Classifies true pairs (c_i, s_i) against shuffled pairs (c_i, s_j): [N, d] -> logit [N, 1], positive for true."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def log_ratio(self, common: Tensor, salient: Tensor) -> Tensor:
        r"""Log density ratio :math:`\log D/(1-D)` of each participant's true pair, the logit, [N, 1]."""
        return self(torch.cat([common, salient], dim=1))

    def classification_loss(self, common: Tensor, salient: Tensor) -> Tensor:
        """Binary cross-entropy of true pairs against shuffled pairs, a scalar."""
        shuffled = salient[random_partners(len(salient), salient.device)]
        own, others = self.log_ratio(common, salient), self.log_ratio(common, shuffled)
        return 0.5 * (functional.softplus(-own).mean() + functional.softplus(others).mean())


# --- the terms ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TermSettings:
    """Settings that every term receives; each uses those that apply to it.

    Attributes:
        common_dim: dimensions of the common head.
        salient_dim: dimensions of the salient head.
        temperature: tau of the kernels of k-JEM and k-MI; None: the median heuristic.
        diagonal: whether means of these kernels include pairs (i, i).
        width: hidden units of the estimators.
    """

    common_dim: int
    salient_dim: int
    temperature: float | None = 0.5
    diagonal: bool = True
    width: int = 64


class Independence(nn.Module, ABC):
    """An independence term. Its parameters, if any, are those of its estimators."""

    def __init__(self, settings: TermSettings) -> None:
        super().__init__()
        self.settings = settings

    reads_representations: ClassVar[bool] = False
    """Whether its input is the encoders' representations instead of the projectors' heads."""

    @abstractmethod
    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        """The term that the encoders minimise: common [N, d] and salient [N, k] -> scalar."""

    def estimator_loss(self, common: Tensor, salient: Tensor) -> Tensor | None:
        """The estimators' loss on detached heads, a scalar; None for a term without estimators."""
        return None


class Kernels(Independence):
    """k-JEM or k-MI: a kernel in each space."""

    def __init__(self, settings: TermSettings, estimate: str) -> None:
        super().__init__(settings)
        self.estimate = {"k-jem": joint_entropy, "k-mi": kernel_mutual_information}[estimate]

    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        return self.estimate(common, salient, self.settings.temperature, self.settings.diagonal)


class DistanceCorrelation(Independence):
    """dcor: a term of this project, without a bandwidth and unbiased in small batches.

    Its input is the representations, which probes and maps use: these can be dependent even where the heads are not.
    """

    reads_representations: ClassVar[bool] = True

    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        return distance_correlation(common, salient)


class Discrepancy(Independence):
    """mmd: MMD between true and shuffled pairs; the paper does not say between which samples, so this is inferred."""

    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        shuffled = salient[random_partners(len(salient), salient.device)]
        return squared_mmd(torch.cat([common, salient], dim=1), torch.cat([common, shuffled], dim=1))


class DensityRatio(Independence):
    """tc: the mean log density ratio of true against shuffled pairs."""

    def __init__(self, settings: TermSettings) -> None:
        super().__init__(settings)
        self.discriminator = Discriminator(settings.common_dim + settings.salient_dim, settings.width)

    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        return self.discriminator.log_ratio(common, salient).mean()

    def estimator_loss(self, common: Tensor, salient: Tensor) -> Tensor:
        return self.discriminator.classification_loss(common, salient)


class Variational(Independence):
    """vclub, vl1o or vub by q(s|c) (c2s), by q(c|s) (s2c), or the mean of both (sym; inferred)."""

    def __init__(self, settings: TermSettings, bound: str, direction: str) -> None:
        super().__init__(settings)
        self.bound = bound
        self.estimators = nn.ModuleDict()
        if direction in ("c2s", "sym"):
            self.estimators["c2s"] = ConditionalGaussian(settings.common_dim, settings.salient_dim, settings.width)
        if direction in ("s2c", "sym"):
            self.estimators["s2c"] = ConditionalGaussian(settings.salient_dim, settings.common_dim, settings.width)

    def _directed(self, common: Tensor, salient: Tensor) -> list[tuple[ConditionalGaussian, Tensor, Tensor]]:
        given_of = {"c2s": (common, salient), "s2c": (salient, common)}
        return [(q, *given_of[name]) for name, q in self.estimators.items()]  # type: ignore[misc]

    def _value(self, q: ConditionalGaussian, a: Tensor, b: Tensor) -> Tensor:
        if self.bound == "vub":
            return upper_bound(*q(a))
        return {"vclub": club, "vl1o": leave_one_out}[self.bound](q.log_prob(a, b))

    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        return torch.stack([self._value(*given) for given in self._directed(common, salient)]).mean()

    def estimator_loss(self, common: Tensor, salient: Tensor) -> Tensor:
        directed = self._directed(common, salient)
        return torch.stack([q.negative_log_likelihood(a, b) for q, a, b in directed]).sum()


def no_term(settings: TermSettings) -> None:
    """No term between the spaces."""


def build_independence(term: str, settings: TermSettings) -> Independence | None:
    """Builds the term of a name of the configuration, e.g. ``k-jem`` or ``vclub-sym``; None for ``none``.

    >>> build_independence("mmd", TermSettings(2, 2))(torch.zeros(4, 2), torch.zeros(4, 2)).item()
    0.0
    """
    return TERMS[term].load()(settings)
