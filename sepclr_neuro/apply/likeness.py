r"""Whether a volume looks like those that a model was trained on, by a few statistics of each.

They are computed within the model's mask, on the grid. Smoothness is the full width at half maximum of a Gaussian field
with the same correlation of neighbours, averaged over axes: for voxels of h mm whose values correlate by
:math:`\rho = 1 - \overline{(x_{i+1} - x_i)^2} / (2\,\mathrm{var}\,x)`,

.. math:: \mathrm{FWHM} = h \sqrt{-2 \ln 2 / \ln \rho} .

It is that of the volume itself, anatomy and all, to be compared with training volumes alone: there it varies little
between participants and rises with smoothing, while that of the difference from the mean volume falls once this
difference is one of smoothing.

Source: Forman et al. 1995, https://doi.org/10.1002/mrm.1910330508, for the smoothness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.data.standardisation import Standardisation

__all__ = ["STATISTICS", "covers_mask", "smoothness", "statistics_of", "summary", "unlike"]

STATISTICS = {
    "mean": "mean within the mask: another unit, another modulation",
    "sd": "SD within the mask: another unit or contrast",
    "highest": "highest voxel within the mask: another unit",
    "covered": "share of the mask's voxels with any grey matter: cut off, or not in MNI space",
    "fwhm_mm": "smoothness, FWHM in mm: smoothed otherwise",
    "similarity": "correlation with the mean training volume over the mask: not in MNI space, or another segmentation",
}
"""What each is, and the usual reason where it differs."""

_SDS = 4.0  # from the training mean: 1 volume of 16,000 by chance, were they normal
_LEAST_SD = 0.01  # of the training mean, in place of smaller SDs: few training volumes can be all alike
_LEAST_COVERED = 0.5  # of what training volumes cover


def statistics_of(
    volume: NDArray[np.float32], standardisation: Standardisation, voxel_mm: Sequence[float]
) -> dict[str, float]:
    """The :data:`STATISTICS` of one volume [X, Y, Z] on the grid; ``similarity`` is NaN where no mean map is known."""
    mask, mean = standardisation.mask.numpy(), standardisation.mean.numpy()
    values, expected = volume[mask].astype(np.float64), mean[mask].astype(np.float64)
    similar = float(np.corrcoef(values, expected)[0, 1]) if np.ptp(expected) > 0 < np.ptp(values) else math.nan
    return {
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "highest": float(values.max()),
        "covered": float((values > 0).mean()),
        "fwhm_mm": smoothness(volume, mask, voxel_mm),
        "similarity": similar,
    }


def smoothness(volume: NDArray[np.floating], mask: NDArray[np.bool_], voxel_mm: Sequence[float]) -> float:
    """FWHM in mm of a volume [X, Y, Z] within a mask, the mean over axes; 0 where neighbours do not correlate."""
    variance, widths = float(volume[mask].astype(np.float64).var()), []
    for axis, size in enumerate(voxel_mm):
        field, inside = np.moveaxis(volume, axis, 0), np.moveaxis(mask, axis, 0)
        both = inside[1:] & inside[:-1]
        steps = (field[1:] - field[:-1])[both].astype(np.float64)
        correlation = 1 - np.square(steps).mean() / (2 * variance) if both.any() and variance > 0 else math.nan
        positive = min(max(correlation, 1e-12), 1 - 1e-12) if correlation > 0 else correlation
        widths.append(size * math.sqrt(-2 * math.log(2) / math.log(positive)) if positive > 0 else 0.0)
    return float(np.mean(widths))


def summary(statistics: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Mean, SD, lowest and highest of each statistic over training volumes; None for what is not known."""
    found = {}
    for name in STATISTICS:
        values = statistics[name].dropna().to_numpy(float)
        figures = (values.mean(), values.std(), values.min(), values.max()) if len(values) else [None] * 4
        found[name] = {
            key: None if value is None else float(value)
            for key, value in zip(("mean", "sd", "lowest", "highest"), figures, strict=True)
        }
    return found


def covers_mask(covered: float, training: Mapping[str, Mapping[str, float | None]]) -> bool:
    """Whether a volume has grey matter in at least half of the part of the mask in which training volumes have it."""
    return covered >= _LEAST_COVERED * (training["covered"]["mean"] or 0.0)


def unlike(statistics: pd.DataFrame, training: Mapping[str, Mapping[str, float | None]]) -> pd.DataFrame:
    """Which statistics [N, statistics] are more than four SDs from the training volumes' mean, bool."""
    found = {}
    for name in STATISTICS:
        mean, sd = training[name]["mean"], training[name]["sd"]
        if mean is None or sd is None:
            found[name] = np.zeros(len(statistics), dtype=bool)
        else:
            away = np.abs(statistics[name].to_numpy(float) - mean)
            found[name] = away > _SDS * max(sd, _LEAST_SD * abs(mean))
    return pd.DataFrame(found, index=statistics.index)
