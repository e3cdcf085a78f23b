r"""Regression of age, sex, site and head size out of voxels within groups, which keeps the difference between groups.

For training participants with standardised volumes Z [N, V], groups y and centred covariates A [N, k], least squares

.. math:: z_i \approx \mu + y_i\,\delta + B^T a_i

has the group in the design, so that B [k, V] is the covariates' effect *within* patients and controls; a volume is
adjusted to :math:`e_i = z_i - B^T a_i`. Without the group in the design, B would also contain disease effects where,
say, patients are older; estimated from controls alone, it would rest on half of the participants.

Source: the regression that normative models, and ComBat with covariates, use, e.g. Johnson, Li, Rabinovic 2007,
https://doi.org/10.1093/biostatistics/kxj037.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["covariate_weights"]

Matrix = NDArray[np.float64]


def covariate_weights(covariates: Matrix, target: NDArray[np.bool_]) -> Matrix:
    """The weights P [k, N] that give the covariates' effects as weighted sums of the training volumes, B = P Z.

    Args:
        covariates: of the training participants, [N, k], centred.
        target: whether each is a patient, [N]; may hold one group only.

    Returns:
        The minimum-norm least-squares solution: collinear covariates share their effect.
    """
    if not covariates.shape[1]:
        return np.zeros((0, len(covariates)))
    groups = np.unique(target.astype(float))
    indicators = (target.astype(float)[:, None] == groups).astype(float)
    return np.linalg.pinv(np.column_stack([indicators, covariates]))[len(groups) :]
