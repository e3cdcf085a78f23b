r"""A new site's own controls shift the origin of the salient codes of that site.

Scanners move codes, and a site that no training participant comes from is adjusted as the mean site. With n controls
of the site, whose mean code is :math:`\bar s_{site}`, the difference from the run's m controls
(:class:`~sepclr_neuro.apply.controls.Controls`, mean :math:`\bar s`) is part offset and part chance:

.. math:: d = \bar s_{site} - \bar s, \qquad E\|d\|^2 = \|\delta\|^2 + v\,(1/n + 1/m),

v the variance of a control's code, summed over dimensions: that of the run's controls or, if it is larger, of the
site's own (codes of those who were trained on vary too little). The offset :math:`\delta` is estimated by d, shrunk by
the share of its square that chance does not explain, and taken from each code of the site:

.. math:: s' = s - \kappa d, \qquad \kappa = \max\bigl(0,\; 1 - v\,(1/n + 1/m) / \|d\|^2\bigr).

Few controls with a small difference move nothing; many, or a large difference, move nearly all of it. A control's own
code counts in no shift of its own (each is shifted by the others), so that calibrating controls stay comparable.

Source: the positive-part estimator of James and Stein 1961 with d in place of d - 2, so that one dimension is allowed
too; empirical Bayes for sites is that of ComBat (Johnson, Li, Rabinovic 2007, https://doi.org/10.1093/biostatistics/kxj037).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.apply.controls import Controls

__all__ = ["calibrate", "site_shift"]

Matrix = NDArray[np.float64]


def site_shift(codes: Matrix, reference: Controls) -> tuple[Matrix, float]:
    """The shift of a site's codes by its controls, :math:`\\kappa d` [d], and :math:`\\kappa`, 0 to 1.

    Args:
        codes: of the site's controls, a row each, [n, d]; without any there is no shift.
        reference: the run's controls.
    """
    if not len(codes):
        return np.zeros_like(reference.mean), 0.0
    difference = codes.mean(axis=0) - reference.mean
    square = float(difference @ difference)
    by_chance = _variance(codes, reference) * (1 / len(codes) + 1 / len(reference.distances))
    kept = max(0.0, 1 - by_chance / square) if square > 0 else 0.0
    return kept * difference, kept


def _variance(codes: Matrix, reference: Controls) -> float:
    own = float(codes.var(axis=0, ddof=1).sum()) if len(codes) > 1 else 0.0
    return max(own, reference.variance)


def calibrate(
    codes: Matrix, sites: NDArray[Any], people: NDArray[Any], control: NDArray[np.bool_], reference: Controls
) -> tuple[Matrix, pd.DataFrame]:
    """Shifts the salient codes of each site by its controls.

    Args:
        codes: of N scans, [N, d].
        sites: of each, [N]. A site without a control stays as it is.
        people: the participant of each scan, [N]; scans of a participant count together as one.
        control: whether each is a control of its site that calibrates it, [N].
        reference: the run's controls.

    Returns:
        The codes, [N, d], and a row for each site: ``site controls kept distance shift_0 ...``: the number of controls,
        kappa, the length of the shift in SDs of a control's code (the root of v), and the shift.
    """
    shifted, rows = codes.copy(), []
    for site in sorted(set(sites)):
        here = sites == site
        names = np.unique(people[here & control])
        means = {name: codes[here & control & (people == name)].mean(axis=0) for name in names}
        own = _stacked(list(means.values()), codes)
        shift, kept = site_shift(own, reference)
        shifted[here] -= shift
        for name in names:
            others, _ = site_shift(_stacked([mean for other, mean in means.items() if other != name], codes), reference)
            scans = here & (people == name)
            shifted[scans] = codes[scans] - others
        variance = _variance(own, reference)
        length = float(np.linalg.norm(shift) / np.sqrt(variance)) if variance > 0 else 0.0
        row = {"site": site, "controls": len(names), "kept": kept, "distance": length}
        rows.append(row | {f"shift_{k}": float(value) for k, value in enumerate(shift + 0.0)})
    return shifted, pd.DataFrame(rows)


def _stacked(rows: list[Matrix], like: Matrix) -> Matrix:
    return np.array(rows) if rows else like[:0]
