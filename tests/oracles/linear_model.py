"""The t of one column of a linear model, one voxel at a time, as textbooks have it."""

from __future__ import annotations

import numpy as np


def t_of_column(values: np.ndarray, design: np.ndarray, column: int) -> np.ndarray:
    """values [N, V], design [N, p]; returns [V]."""
    found = []
    for y in values.T:
        beta, residual, _, _ = np.linalg.lstsq(design, y, rcond=None)
        variance = residual[0] / (len(design) - design.shape[1])
        covariance = variance * np.linalg.pinv(design.T @ design)
        found.append(beta[column] / np.sqrt(covariance[column, column]))
    return np.array(found)
