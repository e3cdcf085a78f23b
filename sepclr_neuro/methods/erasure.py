r"""Erasure: removes from one representation what another one predicts linearly.

For training participants with common representations C [N, c] and salient codes S [N, d], both centred,
:math:`c - E s` with :math:`E = C^T S (S^T S)^{+}` is uncorrelated with every salient code, so that no linear probe on
it predicts them better than their mean does.

Salient codes are adjusted for age, sex, site. Subtracting them as they are would carry the covariates' estimated
effects, and so the values of a held-out participant's table, into the common representation, where a probe would read
them. So the codes r of the *unadjusted* volume are subtracted, :math:`c - E r` with :math:`E = C^T S (R^T S)^{+}`,
which is uncorrelated with S too, and a function of the volume alone.

The regression overfits where codes are many: with as many codes as participants it would erase all of C in training
and add noise to held-out participants. So it uses at most one principal axis of the codes per four participants, those
of largest variance; where there are more codes than that, what is left is uncorrelated with these axes only.

Source: Belrose et al., "LEACE: Perfect linear concept erasure in closed form", NeurIPS 2023,
https://arxiv.org/abs/2306.03819. Here the codes are known for every participant, so that the oblique form, which
subtracts them, is exact. With adjusted codes as instruments for unadjusted ones it is two-stage least squares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["erasing_weights"]

Matrix = NDArray[np.float64]
_PARTICIPANTS_PER_AXIS = 4


def erasing_weights(common: Matrix, salient: Matrix, unadjusted: Matrix) -> Matrix:
    """The weights E [c, d] for which ``common - unadjusted @ E.T`` is uncorrelated with ``salient``.

    Args:
        common: of the training participants, [N, c]; need not be centred.
        salient: their adjusted codes, [N, d]; need not be centred; constant dimensions have no effect. If d > N / 4,
            only the N / 4 principal axes of largest variance are erased.
        unadjusted: the same codes of their unadjusted volumes, [N, d].

    >>> s = np.array([[0.0], [1.0], [2.0]])
    >>> erasing_weights(np.column_stack([2 * s[:, 0] + 1, [1.0, 0.0, 1.0]]), s, s).round(6).tolist()
    [[2.0], [0.0]]
    """
    c, s, r = (codes - codes.mean(axis=0) for codes in (common, salient, unadjusted))
    most = max(1, len(s) // _PARTICIPANTS_PER_AXIS)
    # An orthonormal basis of the codes, so that rounding is that of a regression, not of its normal equations.
    basis, values, axes = np.linalg.svd(s, full_matrices=False)
    kept = values[:most] > np.finfo(float).eps * max(s.shape) * max(values[0], 1e-300)
    basis, axes = basis[:, :most][:, kept], axes[:most][kept]
    return np.linalg.lstsq(basis.T @ r @ axes.T, basis.T @ c, rcond=None)[0].T @ axes
