"""Chance: permutation nulls, bootstrap intervals, false discoveries, comparisons, dependence of spaces.

Arrays in, arrays out. Metrics broadcast, so that a thousand permutations are one evaluation: ``truth`` and ``weights``
are [..., N], ``predicted`` (predictions or scores of a probe) is [..., N] too, or [N] where participants are weighed,
and a value comes back for each of the leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "METRICS",
    "Labels",
    "Metric",
    "Verdict",
    "area_under_curve",
    "balanced_accuracy",
    "corrected_t_test",
    "dependence_test",
    "distance_correlation",
    "false_discovery_rate",
    "mean_absolute_error",
    "mean_of_known",
    "mean_over_folds",
    "permutation_p",
    "permuted_rows",
    "r_squared",
    "resampled_counts",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
LEVEL = 0.95


# --- metrics -----------------------------------------------------------------------------------------------------


def _ones(truth: Array, weights: Array | None) -> Array:
    return np.ones(truth.shape[-1]) if weights is None else weights


def balanced_accuracy(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """The mean, over the classes present in ``truth``, of the share of their members that is found; 0 to 1."""
    weights = _ones(truth, weights)
    found = []
    for label in np.unique(truth):
        members = weights * (truth == label)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((members * (predicted == label)).sum(-1) / members.sum(-1))
    return mean_of_known(np.array(found))


def area_under_curve(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """How often a member of class 1 has a higher score than one of class 0, ties counting half; NaN without both."""
    if weights is None:
        ranks, ones = stats.rankdata(predicted, axis=-1), truth == 1
        count = ones.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((ones * ranks).sum(-1) - count * (count + 1) / 2) / (count * (truth.shape[-1] - count))
    above = (predicted[:, None] > predicted) + 0.5 * (predicted[:, None] == predicted)
    ones, zeros = weights * (truth == 1), weights * (truth == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((ones @ above) * zeros).sum(-1) / (ones.sum(-1) * zeros.sum(-1))


def mean_absolute_error(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """In the unit of the truth."""
    weights = _ones(truth, weights)
    return (weights * np.abs(truth - predicted)).sum(-1) / weights.sum(-1)


def r_squared(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """1 minus the sum of squared errors over that of always predicting the mean of ``truth``; below 0 if worse."""
    weights = _ones(truth, weights)
    mean = (weights * truth).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    total = (weights * (truth - mean) ** 2).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 - (weights * (truth - predicted) ** 2).sum(-1) / total, np.nan)


class Metric(NamedTuple):
    """A figure of held-out participants.

    Attributes:
        value: function of truth, predicted and weights.
        higher_is_better: False for an error.
        of_score: the prediction is a score, which has no common scale over folds: such a metric is never pooled.
        scale: tables show the value times this.
    """

    value: Callable[..., Array]
    higher_is_better: bool
    of_score: bool
    scale: float


METRICS: dict[str, Metric] = {
    "bacc": Metric(balanced_accuracy, True, False, 100.0),
    "auc": Metric(area_under_curve, True, True, 100.0),
    "mae": Metric(mean_absolute_error, False, False, 1.0),
    "r2": Metric(r_squared, True, False, 1.0),
}


def mean_of_known(values: Array) -> Array:
    """The mean over the first dimension, NaN left out; NaN where none is known."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def mean_over_folds(metric: Metric, truth: Array, predicted: Array, fold: Array, weights: Array | None = None) -> Array:
    """The metric of each fold's rows, averaged over the folds in which it has a value.

    Args:
        fold: [N], the fold of each row.
    """
    values = []
    for number in np.unique(fold):
        rows = fold == number
        values.append(
            metric.value(truth[..., rows], predicted[..., rows], None if weights is None else weights[..., rows])
        )
    return mean_of_known(np.array(values))


# --- permutations and resamples ----------------------------------------------------------------------------------


def permuted_rows(people: Array, strata: Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The row of each row's label, [count, N]: participants exchange all their rows with one of the same stratum.

    Only participants with as many rows can exchange them; where a participant's rows differ in stratum, the first one
    counts.

    Args:
        people: [N], the participant of each row.
        strata: [N], what a label is exchanged within.
    """
    _, first, person = np.unique(people, return_index=True, return_inverse=True)
    blocks: dict[tuple[Any, int], list[NDArray[np.int64]]] = {}
    for number, start in enumerate(first):
        rows = np.flatnonzero(person == number)
        blocks.setdefault((strata[start], len(rows)), []).append(rows)
    permuted = np.tile(np.arange(len(people)), (count, 1))
    for block in blocks.values():
        members = np.stack(block)
        order = rng.permuted(np.tile(np.arange(len(members)), (count, 1)), axis=1)
        permuted[:, members] = members[order]
    return permuted


def resampled_counts(people: Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each row is in each of ``count`` bootstrap samples of participants, [count, N]."""
    names, person = np.unique(people, return_inverse=True)
    if not len(names):
        return np.zeros((count, 0), dtype=np.int64)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)[:, person]


def permutation_p(observed: float, null: Floats, higher_is_better: bool = True) -> float:
    r"""One-sided :math:`p = (b + 1) / (m + 1)`, b of m permutations being as good as what was observed, or better.

    Source: Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585.
    """
    null = null[~np.isnan(null)]
    if np.isnan(observed) or not len(null):
        return float("nan")
    # Sums in another order differ by rounding, and a tie counts as as good.
    slack = 1e-9 * max(1.0, abs(observed))
    as_good = null >= observed - slack if higher_is_better else null <= observed + slack
    return float((as_good.sum() + 1) / (len(null) + 1))


@dataclass(frozen=True)
class Verdict:
    """One figure of a probe with its null and interval, in the metric's natural unit.

    Attributes:
        mean: over folds that have a value.
        pooled: over all held-out predictions at once; of a score, as ``mean``.
        null: [permutations] of ``mean``.
        null95: the value that chance reaches or betters in 5 % of the permutations.
        p: one-sided.
        ci_low, ci_high: 95 % percentile interval of ``pooled`` when participants are drawn anew.
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
    """The answers to one question, as they are and as chance would have them: the same for every method and space.

    Attributes:
        truth: [N], numbers or codes of classes, one a scan.
        people: [N], the participant of each.
        permuted: [permutations, N], from :func:`permuted_rows`.
        counts: [bootstraps, N], from :func:`resampled_counts`.
        classes: whether these are classes.
    """

    truth: Array
    people: Array
    permuted: NDArray[np.int64]
    counts: NDArray[np.int64]
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

    def judge(self, name: str, scan: Array, predicted: Array, fold: Array, refitted: Array | None = None) -> Verdict:
        """Judges held-out predictions of all folds.

        While labels are permuted, predictions are those of probes that were fitted on the permuted labels, or stay as
        they are. Fixed ones forget that one fold's held-out participants train another fold's probe: where
        representations of folds are alike, chance then seems better than it is, and a probe of numbers that predicts
        each fold's training mean loses to its own null, since that mean lies away from the held-out participants'.

        A fold whose held-out participants are of one class has no balanced accuracy of its own; they count when pooled.

        Args:
            name: of the metric.
            scan: [R], position in ``truth`` of each prediction; a scan has one a repeat.
            predicted: [R], predictions or scores.
            fold: [R].
            refitted: [permutations, R], predictions of probes that were fitted on each permutation; None:
            ``predicted``.
        """
        metric = METRICS[name]
        truth = self.truth[scan]
        scored = np.ones(len(scan), dtype=bool)
        if self.classes:
            for number in np.unique(fold):
                scored[fold == number] = len(np.unique(truth[fold == number])) > 1
        part = scan[scored], predicted[scored], fold[scored]
        mean, null = float("nan"), np.full(len(self.permuted), np.nan)
        if scored.any():
            mean = float(mean_over_folds(metric, self.truth[part[0]], *part[1:]))
            under_null = part[1] if refitted is None else refitted[:, scored]
            null = mean_over_folds(metric, self.truth[self.permuted[:, part[0]]], under_null, part[2])
        if metric.of_score:
            pooled, samples = mean, np.full(1, np.nan)
            if scored.any():
                samples = mean_over_folds(metric, self.truth[part[0]], *part[1:], self.counts[:, part[0]])
        else:
            pooled = float(metric.value(truth, predicted)) if self._varies(truth) else float("nan")
            samples = (
                metric.value(truth, predicted, self.counts[:, scan]) if self._varies(truth) else np.full(1, np.nan)
            )
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


def _quantiles(values: Array, shares: list[float]) -> list[float]:
    values = values[~np.isnan(values)]
    return np.quantile(values, shares).tolist() if len(values) else [float("nan")] * len(shares)


def false_discovery_rate(p: Array, family: Array) -> Floats:
    """Benjamini-Hochberg q of each p [N] within its family [N]; NaN, no test, stays NaN and counts in no family."""
    q = np.full(len(p), np.nan)
    for name in np.unique(family):
        members = (family == name) & ~np.isnan(p)
        if members.any():
            q[members] = stats.false_discovery_control(p[members], method="bh")
    return q


# --- method against method ---------------------------------------------------------------------------------------


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
    r"""The corrected resampled t-test, two-sided: folds share training participants, so their variance is too small.

    .. math:: t = \bar d \,\big/ \sqrt{(1/J + n_{test}/n_{train})\,s^2}, \quad J - 1 \text{ degrees of freedom}

    Source: Nadeau and Bengio 2003, https://doi.org/10.1023/A:1024068626366.

    Args:
        differences: [J], one a fold; NaN is left out.
        test_to_train: held-out participants over training participants.

    Returns:
        With ``t`` and ``p`` NaN where all differences are the same, which no test can use.
    """
    d = differences[~np.isnan(differences)]
    nan = float("nan")
    if len(d) < 2:
        return Comparison(float(d[0]) if len(d) else nan, nan, len(d), nan, nan, nan, nan)
    mean, sd = float(d.mean()), float(d.std(ddof=1))
    error = float(np.sqrt(1 / len(d) + test_to_train)) * sd
    # Equal differences that were computed from rounded figures.
    if sd <= 1e-12 * max(1.0, abs(mean)):
        return Comparison(mean, sd, len(d), nan, nan, mean, mean)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(d) - 1)) * error
    t = mean / error
    return Comparison(mean, sd, len(d), t, float(2 * stats.t.sf(abs(t), len(d) - 1)), mean - reach, mean + reach)


# --- dependence between spaces -----------------------------------------------------------------------------------


def _centred_distances(x: Floats) -> Floats:
    """U-centred Euclidean distances [N, N] between the rows of x [N, d]."""
    n = len(x)
    distance = np.sqrt(np.square(x[:, None] - x).sum(-1))
    rows = distance.sum(0) / (n - 2)
    centred = distance - rows - rows[:, None] + distance.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred


def _correlation(a: Floats, b: Floats) -> float:
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else float("nan")


def distance_correlation(x: Floats, y: Floats) -> float:
    """The bias-corrected squared distance correlation of x [N, d] and y [N, e], by U-centred distances.

    Around 0 for independent ones, where the plain form grows with the dimension; 1 for y = x; may be negative.
    NaN for fewer than 4 rows.

    Source: Székely and Rizzo 2013, https://doi.org/10.1016/j.jmva.2013.02.012.
    """
    return float("nan") if len(x) < 4 else _correlation(_centred_distances(x), _centred_distances(y))


def dependence_test(pairs: list[tuple[Floats, Floats]], permutations: int, seed: int) -> tuple[float, Floats]:
    """The distance correlation of paired representations, averaged over folds, and its null under new pairings.

    Args:
        pairs: a fold each, two representations [n, d] and [n, e] of the same participants. No participant is in two
        folds.

    Returns:
        The mean, and [permutations] of it; NaN where no fold has 4 participants.
    """
    rng = np.random.default_rng(seed)
    observed, null = [], []
    for x, y in pairs:
        if len(x) < 4:
            continue
        a, b = _centred_distances(x), _centred_distances(y)
        observed.append(_correlation(a, b))
        orders = (rng.permutation(len(x)) for _ in range(permutations))
        # Re-paired participants keep their distances to all others: only the order of rows and columns changes.
        null.append([_correlation(a, b[order][:, order]) for order in orders])
    if not observed:
        return float("nan"), np.full(permutations, np.nan)
    return float(np.mean(observed)), np.mean(null, axis=0)
