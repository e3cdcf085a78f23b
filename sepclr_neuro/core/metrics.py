"""Metrics of predictions: balanced accuracy, area under the ROC curve, mean absolute error, R².

Metrics broadcast, so that a thousand permutations are one evaluation: ``truth`` and ``weights`` are [..., N],
``predicted`` (predictions or scores of a probe) is [..., N] too, or [N] with weights, and there is one value for each
of the leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "METRICS",
    "Metric",
    "area_under_curve",
    "balanced_accuracy",
    "mean_absolute_error",
    "mean_of_known",
    "mean_over_folds",
    "r_squared",
]

Array = NDArray[Any]


def _ones(truth: Array, weights: Array | None) -> Array:
    return np.ones(truth.shape[-1]) if weights is None else weights


def balanced_accuracy(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """The mean recall over the classes that are present in ``truth``, 0 to 1."""
    weights = _ones(truth, weights)
    found = []
    for label in np.unique(truth):
        members = weights * (truth == label)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((members * (predicted == label)).sum(-1) / members.sum(-1))
    return mean_of_known(np.array(found))


def area_under_curve(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """Area under the ROC curve of class 1 against class 0, ties counting half; NaN unless both are present."""
    if weights is None:
        ranks, ones = stats.rankdata(predicted, axis=-1), truth == 1
        count = ones.sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((ones * ranks).sum(-1) - count * (count + 1) / 2) / (count * (truth.shape[-1] - count))
    _, level = np.unique(predicted, return_inverse=True)
    order = np.argsort(level, kind="stable")
    start = np.flatnonzero(np.diff(level[order], prepend=-1))  # where predictions that are alike begin
    ones, zeros = (np.add.reduceat((weights * (truth == label))[..., order], start, axis=-1) for label in (1, 0))
    below = zeros.cumsum(-1) - 0.5 * zeros
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ones * below).sum(-1) / (ones.sum(-1) * zeros.sum(-1))


def mean_absolute_error(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """The mean absolute error, in the unit of the truth."""
    weights = _ones(truth, weights)
    return (weights * np.abs(truth - predicted)).sum(-1) / weights.sum(-1)


def r_squared(truth: Array, predicted: Array, weights: Array | None = None) -> Array:
    """Coefficient of determination, below 0 if worse than the mean of ``truth``; NaN if ``truth`` is constant."""
    weights = _ones(truth, weights)
    mean = (weights * truth).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
    total = (weights * (truth - mean) ** 2).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 - (weights * (truth - predicted) ** 2).sum(-1) / total, np.nan)


class Metric(NamedTuple):
    """A metric of held-out predictions.

    Attributes:
        value: function of truth, predicted and weights.
        higher_is_better: False for an error.
        of_score: whether it is a function of scores, which have no common scale over folds and are never pooled.
        scale: factor of values in tables.
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
    """The mean over the first dimension without NaN; NaN where all values are NaN."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def mean_over_folds(metric: Metric, truth: Array, predicted: Array, fold: Array, weights: Array | None = None) -> Array:
    """The metric of each fold's rows, averaged over the folds in which it has a value.

    Args:
        metric: to be averaged.
        truth: [..., N].
        predicted: [..., N], or [N] with weights.
        fold: [N], the fold of each row.
        weights: [..., N]; None for equal weights.

    Returns:
        One value for each of the leading dimensions.
    """
    values = []
    for number in np.unique(fold):
        rows = fold == number
        values.append(
            metric.value(truth[..., rows], predicted[..., rows], None if weights is None else weights[..., rows])
        )
    return mean_of_known(np.array(values))
