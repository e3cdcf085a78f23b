"""The losses of the contrastive-analysis autoencoders, a sum at a time."""

from __future__ import annotations

import numpy as np

from tests.oracles.independence import squared_mmd


def divergence(mean: np.ndarray, log_variance: np.ndarray) -> float:
    """KL( N(mean, exp(log_variance)) || N(0, 1) ) of one participant, by the textbook's form for each dimension."""
    total = 0.0
    for m, v in zip(mean, np.exp(log_variance), strict=True):
        total += np.log(1 / np.sqrt(v)) + (v + m**2) / 2 - 0.5
    return float(total)


def evidence(x: np.ndarray, made: np.ndarray, code: dict[str, np.ndarray], target: np.ndarray) -> dict[str, float]:
    """Terms of cVAE."""
    common = [divergence(m, v) for m, v in zip(code["common_mean"], code["common_log_variance"], strict=True)]
    salient = [divergence(m, v) for m, v in zip(code["salient_mean"], code["salient_log_variance"], strict=True)]
    return {
        "reconstruction": float(((x - made) ** 2).sum()),
        "common": sum(common),
        "salient": sum(d for d, patient in zip(salient, target, strict=True) if patient),
    }


def matching(code: dict[str, np.ndarray], target: np.ndarray) -> tuple[float, float]:
    """MM-cVAE's two terms."""
    controls = code["salient"][~target]
    return squared_mmd(code["common"][~target], code["common"][target]), squared_mmd(controls, 0 * controls)


def total_correlation(probability: np.ndarray) -> float:
    """Sum over patients of the positive part of log D / (1 - D)."""
    return float(sum(max(0.0, np.log(d / (1 - d))) for d in probability))


def classification(logits: np.ndarray, target: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-logits))
    return float(-sum(np.log(q) if patient else np.log(1 - q) for q, patient in zip(p, target, strict=True)))
