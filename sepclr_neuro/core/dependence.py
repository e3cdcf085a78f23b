"""Dependence between two representations of the same participants: distance correlation and its permutation null."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["dependence_test", "distance_correlation"]

Floats = NDArray[np.float64]

_ROWS = 64


def _centred_distances(x: Floats) -> Floats:
    """U-centred Euclidean distances [N, N] between the rows of x [N, d]."""
    n, distance = len(x), np.empty((len(x), len(x)))
    for start in range(0, n, _ROWS):  # differences of all pairs at once would take d times the memory
        distance[start : start + _ROWS] = np.sqrt(np.square(x[start : start + _ROWS, None] - x).sum(-1))
    rows = distance.sum(0) / (n - 2)
    centred = distance - rows - rows[:, None] + distance.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred


def _correlation(a: Floats, b: Floats) -> float:
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else float("nan")


def distance_correlation(x: Floats, y: Floats) -> float:
    """The bias-corrected squared distance correlation of x [N, d] and y [N, e], by U-centred distances.

    Its expectation is 0 for independent representations, whereas the uncorrected form grows with the dimension; 1 for
    y = x; it can be negative. NaN for fewer than 4 rows.

    Source: Székely and Rizzo 2013, https://doi.org/10.1016/j.jmva.2013.02.012.
    """
    return float("nan") if len(x) < 4 else _correlation(_centred_distances(x), _centred_distances(y))


def dependence_test(pairs: list[tuple[Floats, Floats]], permutations: int, seed: int) -> tuple[float, Floats]:
    """The distance correlation of two representations, averaged over folds, and its permutation null.

    Args:
        pairs: for each fold the representations [n, d] and [n, e] of the same held-out participants; no participant may
            be in two folds.
        permutations: number of random re-pairings of participants.
        seed: of these.

    Returns:
        The mean over folds, and [permutations] of it; NaN if no fold has 4 participants.
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
