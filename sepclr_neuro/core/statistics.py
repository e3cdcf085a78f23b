"""Inference on metrics: permutation nulls, bootstrap intervals, false discovery rates, comparisons of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sepclr_neuro.core.metrics import METRICS, mean_over_folds

__all__ = [
    "ALPHA",
    "Labels",
    "Verdict",
    "corrected_t_test",
    "false_discovery_rate",
    "parts",
    "permutation_p",
    "permuted_rows",
    "resampled_counts",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
LEVEL = 0.95
ALPHA = 0.05  # of q: the share of false finds among what is called found
NUMBERS_AT_ONCE = 16_000_000
"""That are held in memory at once, of a thousand permutations or samples of everyone: about 100 MiB."""


# --- permutations and resamples ----------------------------------------------------------------------------------


def parts(count: int, size: int) -> Iterator[slice]:
    """Slices of ``count`` rows of ``size`` numbers, each of as many as memory should hold at once."""
    at_once = max(1, NUMBERS_AT_ONCE // max(1, size))
    return (slice(start, min(start + at_once, count)) for start in range(0, count, at_once))


def permuted_rows(people: Array, strata: Array, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Permutations of rows, [count, N], in which participants exchange all of their rows within a stratum.

    Participants exchange rows only with those who have the same number of rows. If the rows of one are in several
    strata, the first row decides.

    Args:
        people: [N], the participant of each row.
        strata: [N], the stratum of each row, e.g. the site.
        count: number of permutations.
        rng: of the permutations.

    Returns:
        For each permutation and row, the row whose label it receives.
    """
    _, first, counts = np.unique(people, return_index=True, return_counts=True)
    rows_of_each = np.split(np.argsort(people, kind="stable"), np.cumsum(counts)[:-1])
    blocks: dict[tuple[Any, int], list[NDArray[np.int64]]] = {}
    for start, rows in zip(first, rows_of_each, strict=False):  # of nobody there is one empty part
        blocks.setdefault((strata[start], len(rows)), []).append(rows)
    permuted = np.tile(np.arange(len(people), dtype=np.int32), (count, 1))
    for block in blocks.values():
        members = np.stack(block)
        for some in parts(count, members.size):
            order = rng.permuted(np.tile(np.arange(len(members)), (some.stop - some.start, 1)), axis=1)
            permuted[some, members] = members[order]
    return permuted


def resampled_counts(people: Array, count: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """How often each row is drawn in each of ``count`` bootstrap samples of participants, [count, N]."""
    names, person = np.unique(people, return_inverse=True)
    counts = np.zeros((count, len(people)), dtype=np.uint16)
    for some in parts(count if len(names) else 0, len(people)):
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=some.stop - some.start)
        counts[some] = drawn[:, person]
    return counts


def permutation_p(observed: float, null: Floats, higher_is_better: bool = True) -> float:
    r"""One-sided :math:`p = (b + 1) / (m + 1)`, where b of m permutations are at least as good as the observed value.

    A NaN in the null counts as at least as good, since nobody knows that it was worse; p is NaN if the observed value
    is NaN or the null is empty.

    Source: Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585.
    """
    if np.isnan(observed) or not len(null):
        return float("nan")
    # Ties count, and sums in another order differ by rounding.
    slack = 1e-9 * max(1.0, abs(observed))
    as_good = null >= observed - slack if higher_is_better else null <= observed + slack
    return float(((as_good | np.isnan(null)).sum() + 1) / (len(null) + 1))


@dataclass(frozen=True)
class Verdict:
    """A metric of a probe with its permutation null and confidence interval, in the metric's natural unit.

    Attributes:
        mean: over folds that have a value.
        pooled: over all held-out predictions at once; equal to ``mean`` for metrics of scores.
        null: [permutations] of ``mean``.
        null95: the value that 5 % of the permutations that have one reach or exceed (of an error: stay at or
            below).
        p: one-sided, of ``mean``.
        ci_low, ci_high: 95 % percentile interval of ``pooled`` by bootstrap of participants.
        n: participants with a prediction.
    """

    mean: float
    pooled: float
    null: Floats
    null95: float
    p: float
    ci_low: float
    ci_high: float
    n: int


@dataclass(frozen=True)
class Labels:
    """True values of one target with permutations and bootstrap samples, the same for every method and space.

    Attributes:
        truth: [N], numbers or codes of classes, one per scan.
        people: [N], the participant of each scan.
        permuted: [permutations, N], from :func:`permuted_rows`.
        counts: [bootstraps, N], from :func:`resampled_counts`.
        classes: whether the target is categorical.
    """

    truth: Array
    people: Array
    permuted: NDArray[np.int32]
    counts: NDArray[np.uint16]
    classes: bool

    @classmethod
    def draw(
        cls,
        truth: Array,
        people: Array,
        strata: Array,
        classes: bool,
        permutations: int,
        bootstraps: int,
        seed: int,
    ) -> Labels:
        """Draws permutations within strata [N] and bootstrap samples of participants."""
        shuffle, resample = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
        permuted = permuted_rows(people, strata, permutations, shuffle)
        return cls(truth, people, permuted, resampled_counts(people, bootstraps, resample), classes)

    def judge(self, name: str, scan: Array, predicted: Array, fold: Array, null: Floats | None = None) -> Verdict:
        """Tests the held-out predictions of all folds against the permutation null.

        Under the null, predictions are those of probes fitted on the permuted labels, or fixed. Fixed predictions
        ignore that the held-out participants of one fold train the probes of others. If representations are similar
        between folds, p is then too small too often; and a regression that predicts each fold's training mean is worse
        than its own null, since training and held-out means lie on opposite sides of the overall mean.

        A fold whose held-out participants are all of one class has no balanced accuracy of its own; its predictions
        count in the pooled figure.

        Args:
            name: of the metric.
            scan: [R], position in ``truth`` of each prediction; a scan has one prediction per repeat.
            predicted: [R], predictions or scores.
            fold: [R], the fold of each prediction.
            null: [permutations], the metric of probes fitted on each permutation, averaged over folds as here; None for
                that of fixed predictions.
        """
        metric = METRICS[name]
        truth = self.truth[scan]
        scored = np.ones(len(scan), dtype=bool)
        if self.classes:
            for number in np.unique(fold):
                scored[fold == number] = len(np.unique(truth[fold == number])) > 1
        part = scan[scored], predicted[scored], fold[scored]
        mean = float(mean_over_folds(metric, self.truth[part[0]], *part[1:])) if scored.any() else float("nan")
        if not scored.any():
            null = np.full(len(self.permuted), np.nan)
        elif null is None:
            null = _of_each(self.permuted, part[0], lambda rows: mean_over_folds(metric, self.truth[rows], *part[1:]))
        if metric.of_score:
            pooled, samples = mean, np.full(1, np.nan)
            if scored.any():
                true = self.truth[part[0]]
                samples = _of_each(
                    self.counts, part[0], lambda counts: mean_over_folds(metric, true, *part[1:], counts)
                )
        else:
            pooled = float(metric.value(truth, predicted)) if self._varies(truth) else float("nan")
            samples = np.full(1, np.nan)
            if self._varies(truth):
                samples = _of_each(self.counts, scan, lambda counts: metric.value(truth, predicted, counts))
        tail = (1 - LEVEL) / 2
        low, high = _quantiles(samples, [tail, 1 - tail])
        return Verdict(
            mean=mean,
            pooled=pooled,
            null=null,
            null95=_quantiles(null, [LEVEL if metric.higher_is_better else 1 - LEVEL])[0],
            p=permutation_p(mean, null, metric.higher_is_better),
            ci_low=low,
            ci_high=high,
            n=len(np.unique(self.people[scan])),
        )

    def _varies(self, truth: Array) -> bool:
        return len(np.unique(truth)) > 1 if self.classes else len(truth) > 0


def _of_each(rows: Array, scan: Array, evaluate: Callable[[Array], Array]) -> Floats:
    """What is evaluated of some scans of each of ``rows`` [P, N], [P]."""
    values = [evaluate(rows[some][:, scan].astype(np.int64)) for some in parts(len(rows), len(scan))]
    return np.concatenate(values) if values else np.empty(0)


def _quantiles(values: Array, shares: list[float]) -> list[float]:
    values = values[~np.isnan(values)]
    return np.quantile(values, shares).tolist() if len(values) else [float("nan")] * len(shares)


def false_discovery_rate(p: Array, family: Array) -> Floats:
    """Benjamini-Hochberg q of each p [N] within its family [N]; p that are NaN stay NaN and do not count as tests."""
    q = np.full(len(p), np.nan)
    for name in np.unique(family):
        members = (family == name) & ~np.isnan(p)
        if members.any():
            q[members] = stats.false_discovery_control(p[members], method="bh")
    return q


# --- comparisons of methods --------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """A paired difference over folds with its 95 % interval; NaN with fewer than two folds."""

    mean: float
    sd: float
    folds: int
    t: float
    p: float
    ci_low: float
    ci_high: float


def corrected_t_test(differences: Array, test_to_train: float) -> Comparison:
    r"""Two-sided corrected resampled t-test: since folds share training participants, their variance is too small.

    .. math:: t = \bar d \,\big/ \sqrt{(1/J + n_{test}/n_{train})\,s^2}, \quad J - 1 \text{ degrees of freedom}

    Source: Nadeau and Bengio 2003, https://doi.org/10.1023/A:1024068626366.

    Args:
        differences: [J], one per fold; NaN are left out.
        test_to_train: number of held-out participants divided by that of training participants.

    Returns:
        ``t`` and ``p`` are NaN if all differences are equal.
    """
    d = differences[~np.isnan(differences)]
    nan = float("nan")
    if len(d) < 2:
        return Comparison(float(d[0]) if len(d) else nan, nan, len(d), nan, nan, nan, nan)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    error = float(np.sqrt(1 / len(d) + test_to_train)) * sd
    # Differences that are equal up to rounding.
    if sd <= 1e-12 * max(1.0, abs(mean)):
        return Comparison(mean, sd, len(d), nan, nan, mean, mean)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(d) - 1)) * error
    t = mean / error
    return Comparison(mean, sd, len(d), t, float(2 * stats.t.sf(abs(t), len(d) - 1)), mean - reach, mean + reach)
