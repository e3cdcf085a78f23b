"""The terms of SepCLR (Louiset et al., ICLR 2024), a sum at a time."""

from __future__ import annotations

import numpy as np


def alignment(a: np.ndarray, b: np.ndarray, tau: float) -> float:
    return float(np.mean([((x - y) ** 2).sum() / (2 * tau) for x, y in zip(a, b, strict=True)]))


def uniformity(x: np.ndarray, tau: float) -> float:
    kernels = [np.exp(-((x[i] - x[j]) ** 2).sum() / (2 * tau)) for i in range(len(x)) for j in range(i + 1, len(x))]
    return float(np.log(np.mean(kernels)))


def informationless(s: np.ndarray, tau: float) -> float:
    return float(np.mean([(x**2).sum() / (2 * tau) for x in s]))


def median_temperature(x: np.ndarray) -> float:
    squares = [((x[i] - x[j]) ** 2).sum() for i in range(len(x)) for j in range(i)]
    return float(sorted(squares)[(len(squares) - 1) // 2] / 2)


def joint_entropy(c: np.ndarray, s: np.ndarray, tau: float | None, diagonal: bool = True) -> float:
    of_c, of_s = (median_temperature(x) if tau is None else tau for x in (c, s))
    logs = []
    for i in range(len(c)):
        products = [
            np.exp(-((c[i] - c[j]) ** 2).sum() / (2 * of_c)) * np.exp(-((s[i] - s[j]) ** 2).sum() / (2 * of_s))
            for j in range(len(c))
            if diagonal or j != i
        ]
        logs.append(np.log(np.mean(products)))
    return float(np.mean(logs))


def attribute_alignment(s: np.ndarray, a: np.ndarray, discrete: bool) -> float:
    """One salient dimension; all patients have a value."""
    pairs = []
    for i in range(len(s)):
        for j in range(i + 1, len(s)):
            gap = (a[i] - a[j]) ** 2
            likeness = np.exp(-gap / 1e-5) if discrete else np.exp(-gap / (2 * 0.025))
            pairs.append(likeness * (s[i] - s[j]) ** 2)
    return float(np.mean(pairs)) if pairs else 0.0


def attribute_term(
    salient: list[np.ndarray], target: np.ndarray, attribute: np.ndarray, *, discrete: bool, tau: float
) -> float:
    """Of the dimension that an attribute owns, [N] a view; a missing value is NaN."""
    views = []
    for s in salient:
        known = target & ~np.isnan(attribute)
        aligned = attribute_alignment(s[known], attribute[known], discrete)
        pull = (aligned + informationless(s[~target, None], tau if discrete else 0.025)) / 2
        views.append(pull + uniformity(np.where(target, s, 0.0)[:, None], tau))
    return float(np.mean(views))


def sepclr_loss(
    common: list[np.ndarray],
    salient: list[np.ndarray],
    target: np.ndarray,
    *,
    tau: float,
    uniformity_weight: float,
    salient_weight: float,
    informationless_weight: float,
    independence_weight: float,
) -> float:
    """The whole loss of two views; ``common`` is not yet normalised."""
    c = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in common]
    pinned = [np.where(target[:, None], x, 0.0) for x in salient]
    common_terms = alignment(c[0], c[1], tau) + uniformity_weight * np.mean([uniformity(x, tau) for x in c])
    salient_terms = alignment(salient[0][target], salient[1][target], tau) + uniformity_weight * np.mean(
        [uniformity(x, tau) for x in pinned]
    )
    pin = np.mean([informationless(x[~target], tau) for x in salient])
    independence = np.mean([joint_entropy(x, y, tau) for x, y in zip(c, pinned, strict=True)])
    return float(
        common_terms
        + salient_weight * salient_terms
        + informationless_weight * pin
        + independence_weight * independence
    )
