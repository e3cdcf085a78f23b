r"""What age, sex, site and head size predict of a voxel, taken out within groups, so that the disease stays.

For training participants with standardised volumes Z [N, V], groups y and centred covariates A [N, k], least squares

.. math:: z_i \approx \mu + y_i\,\delta + B^T a_i

have the group in the design, so that B [k, V] is the covariates' effect *within* patients and controls; a volume is
adjusted to :math:`e_i = z_i - B^T a_i`. Learned from all without the group, B would take along what patients who
are older, say, owe to the disease; learned from controls alone, it has half the participants.

Source: what normative models and ComBat with covariates do before an analysis, e.g. Johnson, Li, Rabinovic 2007,
https://doi.org/10.1093/biostatistics/kxj037.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["covariate_weights"]

Matrix = NDArray[np.float64]


def covariate_weights(covariates: Matrix, target: NDArray[np.bool_]) -> Matrix:
    """The weights P [k, N] of training participants whose weighted sum of volumes is the covariates' effects, B = P Z.

    Args:
        covariates: of the training participants, [N, k], centred.
        target: whether each is a patient, [N]. One group alone is adjusted as one.

    Returns:
        Least squares of smallest norm: covariates that say the same share their effect.
    """
    if not covariates.shape[1]:
        return np.zeros((0, len(covariates)))
    groups = np.unique(target.astype(float))
    indicators = (target.astype(float)[:, None] == groups).astype(float)
    return np.linalg.pinv(np.column_stack([indicators, covariates]))[len(groups) :]
