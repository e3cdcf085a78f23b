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


def joint_entropy(c: np.ndarray, s: np.ndarray, tau: float) -> float:
    logs = []
    for i in range(len(c)):
        products = [
            np.exp(-((c[i] - c[j]) ** 2).sum() / (2 * tau)) * np.exp(-((s[i] - s[j]) ** 2).sum() / (2 * tau))
            for j in range(len(c))
        ]
        logs.append(np.log(np.mean(products)))
    return float(np.mean(logs))


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
