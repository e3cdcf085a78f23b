r"""Erasure: removes from one representation what another one predicts linearly.

E is learned on the training participants' volumes *adjusted* for age, sex and site: with their common representations C
[N, c] and salient codes S [N, d], both centred, :math:`E = C^T S (S^T S)^{+}`. Of adjusted volumes, what is left,
:math:`c - E s`, is uncorrelated with every salient code, so that no linear probe on it predicts them.

The common space is that of the volumes as they are, :math:`c(z) - E s(z)`: a function of the volume alone, in which
effects of age, sex and site stay. Two other forms fail. Subtracting :math:`E s` of adjusted salient codes from the
common representation of the volume carries the values of a held-out participant's table into it, where a probe reads
them. And the E for which :math:`c(z) - E s(z)` is uncorrelated with S in training has no bound where patients are older
than controls and ageing looks like the disease.

The regression overfits where codes are many: with as many codes as participants it would erase all of C in training
and add noise to held-out participants. So it uses at most one principal axis of the codes per four participants, those
of largest variance; where there are more codes than that, what is left is uncorrelated with these axes only.

Source: Belrose et al., "LEACE: Perfect linear concept erasure in closed form", NeurIPS 2023,
https://arxiv.org/abs/2306.03819. Here the codes are known for every participant, so that the oblique form, which
subtracts the prediction from them, is exact on adjusted volumes and changes the representation least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["erasing_weights"]

Matrix = NDArray[np.float64]
_PARTICIPANTS_PER_AXIS = 4


def erasing_weights(common: Matrix, salient: Matrix) -> Matrix:
    """The weights E [c, d] for which ``common - salient @ E.T`` is uncorrelated with ``salient`` in these participants.

    Args:
        common: of adjusted volumes, [N, c]; need not be centred.
        salient: of the same volumes, [N, d]; need not be centred; constant dimensions have no effect. If d > N / 4,
            only the N / 4 principal axes of largest variance are erased.

    >>> s = np.array([[0.0], [1.0], [2.0]])
    >>> erasing_weights(np.column_stack([2 * s[:, 0] + 1, [1.0, 0.0, 1.0]]), s).round(6).tolist()
    [[2.0], [0.0]]
    """
    centred_common, centred_salient = common - common.mean(axis=0), salient - salient.mean(axis=0)
    most = max(1, len(salient) // _PARTICIPANTS_PER_AXIS)
    if salient.shape[1] <= most:
        return np.linalg.lstsq(centred_salient, centred_common, rcond=None)[0].T
    axes = np.linalg.svd(centred_salient, full_matrices=False)[2][:most]
    return np.linalg.lstsq(centred_salient @ axes.T, centred_common, rcond=None)[0].T @ axes
