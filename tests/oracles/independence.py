"""The terms between the two spaces, a sum at a time, from the equations that their sources print."""

from __future__ import annotations

import numpy as np

from tests.oracles.sepclr import median_temperature


def kernel(x: np.ndarray, y: np.ndarray, tau: float) -> float:
    return float(np.exp(-((x - y) ** 2).sum() / (2 * tau)))


def kernel_mutual_information(c: np.ndarray, s: np.ndarray, tau: float | None, diagonal: bool = True) -> float:
    n, total = len(c), 0.0
    tau_c, tau_s = (median_temperature(x) if tau is None else tau for x in (c, s))
    for i in range(n):
        others = [j for j in range(n) if diagonal or j != i]
        of_c = [kernel(c[i], c[j], tau_c) for j in others]
        of_s = [kernel(s[i], s[j], tau_s) for j in others]
        total += np.log(np.mean([a * b for a, b in zip(of_c, of_s, strict=True)]) / (np.mean(of_c) * np.mean(of_s)))
    return float(total / n)


def mmd_kernel(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(np.exp(-(10.0**power) * ((x - y) ** 2).sum()) for power in range(-6, 7)))


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    n, m = len(x), len(y)
    within_x = sum(mmd_kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(mmd_kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(mmd_kernel(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return within_x + within_y - 2 * between


def normal_density(b: np.ndarray, mean: np.ndarray, log_variance: np.ndarray) -> float:
    variance = np.exp(log_variance)
    return float(np.prod(np.exp(-((b - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)))


def densities(b: np.ndarray, mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """q(b_j | a_i) at row i and column j, of q's mean and log variance at each a_i."""
    n = len(b)
    return np.array([[normal_density(b[j], mean[i], log_variance[i]) for j in range(n)] for i in range(n)])


def club(q: np.ndarray) -> float:
    n = len(q)
    return float(np.mean([np.log(q[i, i]) - np.mean([np.log(q[i, j]) for j in range(n)]) for i in range(n)]))


def leave_one_out(q: np.ndarray) -> float:
    n = len(q)
    return float(np.mean([np.log(q[i, i] / np.mean([q[j, i] for j in range(n) if j != i])) for i in range(n)]))


def upper_bound(mean: np.ndarray, log_variance: np.ndarray) -> float:
    total = 0.0
    for m, v in zip(mean, log_variance, strict=True):
        total += sum(0.5 * (m[k] ** 2 + np.exp(v[k]) - 1 - v[k]) for k in range(len(m)))
    return total / len(mean)


def log_ratio(own: np.ndarray) -> float:
    """Mean log D / (1 - D) of probabilities D that a pair is a true one."""
    return float(np.mean([np.log(d / (1 - d)) for d in own]))


def cross_entropy(own: np.ndarray, others: np.ndarray) -> float:
    return float(-0.5 * (np.mean(np.log(own)) + np.mean(np.log(1 - others))))
