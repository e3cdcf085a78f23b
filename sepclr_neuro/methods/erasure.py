r"""Taking out of one representation whatever can be predicted linearly from another one.

For training participants with common representations C [N, c] and salient codes S [N, d], both centred, the
least-squares prediction of C from S is :math:`S E^T`, :math:`E = C^T S (S^T S)^{+}`. What is left, :math:`c - E s`, is
uncorrelated with every salient code, so that no linear probe of it predicts them better than their mean.

Few people have many codes that predict them by chance: with as many as people, all of C would be erased in training and
noise put in its place in others. So along the codes' principal axes at most one is erased for four people, the axes of
largest variance, and of more codes than that what is left is uncorrelated with these alone.

Source: Belrose et al., "LEACE: Perfect linear concept erasure in closed form", NeurIPS 2023,
https://arxiv.org/abs/2306.03819; here the codes themselves are known for all, so that the oblique form, which
subtracts their prediction, is exact and moves the representation least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["erasing_weights"]

Matrix = NDArray[np.float64]
_PEOPLE_AN_AXIS = 4


def erasing_weights(common: Matrix, salient: Matrix) -> Matrix:
    """The weights E [c, d] with which ``common - salient @ E.T`` is uncorrelated with ``salient`` in these.

    Args:
        common: [N, c]; need not be centred.
        salient: [N, d]; dimensions that are constant erase nothing. Of more than N / 4, the principal axes of largest
            variance alone are erased.

    >>> s = np.array([[0.0], [1.0], [2.0]])
    >>> erasing_weights(np.column_stack([2 * s[:, 0] + 1, [1.0, 0.0, 1.0]]), s).round(6).tolist()
    [[2.0], [0.0]]
    """
    centred_common, centred_salient = common - common.mean(axis=0), salient - salient.mean(axis=0)
    most = max(1, len(salient) // _PEOPLE_AN_AXIS)
    if salient.shape[1] <= most:
        return np.linalg.lstsq(centred_salient, centred_common, rcond=None)[0].T
    axes = np.linalg.svd(centred_salient, full_matrices=False)[2][:most]
    return np.linalg.lstsq(centred_salient @ axes.T, centred_common, rcond=None)[0].T @ axes
