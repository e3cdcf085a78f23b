r"""Taking out of one representation whatever can be predicted linearly from another one.

For training people with common representations C [N, c] and salient codes S [N, d], both centred, the least-squares
prediction of C from S is :math:`S E^T`, :math:`E = C^T S (S^T S)^{+}`. What is left, :math:`c - E s`, is uncorrelated
with every salient code, so that no linear probe of it predicts them better than their mean.

Source: Belrose et al., "LEACE: Perfect linear concept erasure in closed form", NeurIPS 2023,
https://arxiv.org/abs/2306.03819; here the codes themselves are known for everybody, so that the oblique form, which
subtracts their prediction, is exact and moves the representation least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["erasing_weights"]

Matrix = NDArray[np.float64]


def erasing_weights(common: Matrix, salient: Matrix) -> Matrix:
    """The weights E [c, d] with which ``common - salient @ E.T`` is uncorrelated with ``salient`` in these people.

    Args:
        common: [N, c]; need not be centred.
        salient: [N, d]; dimensions that are constant erase nothing.

    >>> s = np.array([[0.0], [1.0], [2.0]])
    >>> erasing_weights(np.column_stack([2 * s[:, 0] + 1, [1.0, 0.0, 1.0]]), s).round(6).tolist()
    [[2.0], [0.0]]
    """
    centred_common, centred_salient = common - common.mean(axis=0), salient - salient.mean(axis=0)
    return np.linalg.lstsq(centred_salient, centred_common, rcond=None)[0].T
