"""What the statistics compute, written once more in plain float64 loops that share nothing with the package."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["auc", "benjamini_hochberg", "corrected_t", "r_squared", "ridge", "u_centred_distance_correlation"]


def auc(truth: Sequence[int], score: Sequence[float]) -> float:
    """Over all pairs of a positive and a negative."""
    won, pairs = 0.0, 0
    for label, value in zip(truth, score, strict=True):
        for other, opposed in zip(truth, score, strict=True):
            if label == 1 and other == 0:
                pairs += 1
                won += 1.0 if value > opposed else 0.5 if value == opposed else 0.0
    return won / pairs


def r_squared(truth: Sequence[float], prediction: Sequence[float]) -> float:
    mean = sum(truth) / len(truth)
    errors = sum((a - b) ** 2 for a, b in zip(truth, prediction, strict=True))
    return 1 - errors / sum((a - mean) ** 2 for a in truth)


def ridge(x: np.ndarray, y: Sequence[float], x_new: np.ndarray, penalty: float, scaled: bool) -> np.ndarray:
    """Predictions of ridge with a free intercept, as least squares with a row of sqrt(penalty) for each dimension."""
    n, d = x.shape
    mean, scale = (x.mean(0), x.std(0)) if scaled else (np.zeros(d), np.ones(d))
    design = np.vstack([np.hstack([(x - mean) / scale, np.ones((n, 1))]), np.eye(d, d + 1) * math.sqrt(penalty)])
    weights = np.linalg.lstsq(design, np.concatenate([y, np.zeros(d)]), rcond=None)[0]
    return (x_new - mean) / scale @ weights[:d] + weights[d]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """q of rank k is the least p_j m / j over j from k on."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    q = [0.0] * len(p)
    for rank, i in enumerate(order):
        q[i] = min(min(p[order[j]] * len(p) / (j + 1) for j in range(rank, len(p))), 1.0)
    return q


def corrected_t(differences: Sequence[float], n_test: int, n_train: int) -> float:
    """Nadeau and Bengio's statistic."""
    count = len(differences)
    mean = sum(differences) / count
    variance = sum((d - mean) ** 2 for d in differences) / (count - 1)
    return mean / math.sqrt((1 / count + n_test / n_train) * variance)


def u_centred_distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Székely and Rizzo's bias-corrected R*, entry by entry."""

    def centred(z: np.ndarray) -> list[list[float]]:
        n = len(z)
        a = [[math.dist(z[i], z[j]) for j in range(n)] for i in range(n)]
        total = sum(map(sum, a))
        return [
            [
                0.0
                if i == j
                else a[i][j]
                - sum(a[i]) / (n - 2)
                - sum(a[k][j] for k in range(n)) / (n - 2)
                + total / ((n - 1) * (n - 2))
                for j in range(n)
            ]
            for i in range(n)
        ]

    def inner(a: list[list[float]], b: list[list[float]]) -> float:
        n = len(a)
        return sum(a[i][j] * b[i][j] for i in range(n) for j in range(n) if i != j) / (n * (n - 3))

    a, b = centred(x), centred(y)
    return inner(a, b) / math.sqrt(inner(a, a) * inner(b, b))
