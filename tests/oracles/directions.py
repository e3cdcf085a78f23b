"""Leading directions among patients, by whole covariance matrices of voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def beyond_controls_covariance(
    folds: Sequence[tuple[Matrix, Matrix, NDArray[np.intp]]], patient: NDArray[np.bool_]
) -> Matrix:
    """Mean over folds of what patients' grey matter varies about the controls' mean beyond the controls': [V, V].

    Args:
        folds: of each W [d, V], codes of its held-out participants [n, d], who they are [n].
        patient: of all participants, [N].
    """
    found = []
    for weights, codes, rows in folds:
        explained = codes @ weights
        patients, controls = explained[patient[rows]], explained[~patient[rows]]
        far = patients - controls.mean(axis=0)
        second_moment = sum(np.outer(one, one) for one in far) / len(far)
        found.append(second_moment - (1 + 1 / len(controls)) * np.cov(controls.T, ddof=1))
    return np.mean(found, axis=0)


def directions(covariance: Matrix, mean_patient: Matrix, count: int) -> Matrix:
    """Eigenvectors of the largest eigenvalues times their roots, on the side of the mean patient [V]: [count, V].

    Zeros where an eigenvalue is negative.
    """
    values, vectors = np.linalg.eigh(covariance)
    found = []
    for k in np.argsort(-values)[:count]:
        sign = -1 if vectors[:, k] @ mean_patient < 0 else 1
        found.append(sign * np.sqrt(max(values[k], 0)) * vectors[:, k])
    return np.array(found)
