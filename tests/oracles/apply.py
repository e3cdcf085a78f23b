"""Calibration of a site and conformal intervals, once more in float64, one number at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def summed_variance(codes: Matrix) -> float:
    """Over dimensions, divisor n - 1; 0 for one row."""
    total, n = 0.0, len(codes)
    for k in range(codes.shape[1] if n > 1 else 0):
        mean = sum(codes[:, k]) / n
        total += sum((x - mean) ** 2 for x in codes[:, k]) / (n - 1)
    return total


def shift(site: Matrix, reference: Matrix) -> Matrix:
    """kappa d of a site's controls [n, d], by the run's controls [m, d]."""
    n, m, dims = len(site), len(reference), reference.shape[1]
    d = [sum(site[:, k]) / n - sum(reference[:, k]) / m for k in range(dims)]
    v = max(summed_variance(site), summed_variance(reference))
    square = sum(x * x for x in d)
    kappa = 1 - v * (1 / n + 1 / m) / square
    return np.array([max(kappa, 0.0) * x for x in d])


def calibrated(codes: Matrix, sites: list[str], control: list[bool], reference: Matrix) -> Matrix:
    """Codes [N, d] less the shift of their site, of a control by the site's other controls; a row a participant."""
    found = []
    for i in range(len(codes)):
        others = [j for j in range(len(codes)) if j != i and sites[j] == sites[i] and control[j]]
        found.append(codes[i] - shift(codes[others], reference) if others else codes[i])
    return np.array(found)


def conformal_half_width(errors: list[float], level: float) -> float:
    """The smallest q that at least ceil((n + 1) level) of n errors do not exceed; infinite where there is none."""
    needed = math.ceil((len(errors) + 1) * level - 1e-9)
    enough = [q for q in errors if sum(error <= q for error in errors) >= needed]
    return min(enough, default=math.inf)


def p_of_class(towards: float, held_out: list[float]) -> float:
    """How often a held-out participant of the class has log-odds towards it that are as low, itself counted."""
    return (1 + sum(other <= towards for other in held_out)) / (len(held_out) + 1)


def percentile(distance: float, reference: list[float]) -> float:
    below, equal = sum(other < distance for other in reference), sum(other == distance for other in reference)
    return 100 * (below + equal / 2) / len(reference)
