"""What probes report, written once more in plain float64 NumPy loops that share nothing with the package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["balanced_accuracy", "decision", "mean_absolute_error", "median_error", "ridge"]


def balanced_accuracy(truth: Sequence[str], prediction: Sequence[str]) -> float:
    """Mean recall over the classes in ``truth``, by a confusion matrix."""
    labels = sorted({*truth, *prediction})
    confusion = np.zeros((len(labels), len(labels)))
    for true, predicted in zip(truth, prediction, strict=True):
        confusion[labels.index(true), labels.index(predicted)] += 1
    members = confusion.sum(axis=1)
    present = members > 0
    return float((np.diag(confusion)[present] / members[present]).mean())


def mean_absolute_error(truth: Sequence[float], prediction: Sequence[float]) -> float:
    return sum(abs(float(a) - float(b)) for a, b in zip(truth, prediction, strict=True)) / len(truth)


def median_error(train: Sequence[float], test: Sequence[float]) -> float:
    """The mean absolute error on ``test`` of always predicting the median of ``train``."""
    ordered = sorted(float(value) for value in train)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return mean_absolute_error(test, [median] * len(test))


def ridge(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, alpha: float) -> np.ndarray:
    """Predictions [M] of ridge regression on standardised columns, by the normal equations, unpenalised intercept."""
    mean, sd = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / sd
    weights = np.linalg.solve(z.T @ z + alpha * np.eye(x.shape[1]), z.T @ (y - y.mean()))
    return (x_test - mean) / sd @ weights + y.mean()


def decision(x: np.ndarray, weights: Sequence[float], intercept: float) -> np.ndarray:
    """The linear function that coefficients.json describes, on raw representations [M, d]."""
    return np.array([sum(a * b for a, b in zip(row, weights, strict=True)) + intercept for row in x])
