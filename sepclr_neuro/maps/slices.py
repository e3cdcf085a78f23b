"""Slices of volumes at places in MNI space, left on the left; means of them by site."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.data.grid import Affine

__all__ = ["AXES", "EXAMPLES", "MIDDLE_MM", "SiteSlices", "middle_slices", "nearest"]

# Of MNI space: what runs to the right, what runs up, and what a slice is cut through.
AXES = {"z": (0, 1, 2), "y": (0, 2, 1), "x": (1, 2, 0)}
EXAMPLES = 3
"""Scans of each site that are shown."""
MIDDLE_MM = {"z": 6, "y": -16, "x": -6}
"""Axial, coronal and sagittal slice near the middle of the brain, the last one beside the gap between hemispheres."""
# Larger than the brain, so that one which lies elsewhere is seen.
_BOX_MM = ((-94, 94), (-112, 78), (-90, 98))
_PIXEL_MM = 2
_SIDE = 95  # pixels of a slice, either way

_Floats = NDArray[np.floating]


def nearest(values: _Floats, affine: NDArray[np.float64], points: NDArray[np.float64]) -> _Floats:
    """The values [X, Y, Z] of the voxels in which points [..., 3] in mm lie; 0 outside."""
    inverse = np.linalg.inv(affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((voxels >= 0) & (voxels < values.shape)).all(-1)
    return np.where(inside, values[tuple(np.moveaxis(np.where(inside[..., None], voxels, 0), -1, 0))], 0)


def middle_slices(data: NDArray[np.float32], affine: Affine) -> NDArray[np.float32]:
    """Three slices of a volume [X, Y, Z] side by side, axial, coronal, sagittal: [95 down, 285 to the right]."""
    return nearest(data, affine, _points_mm()).astype(np.float32)


@lru_cache(maxsize=1)
def _points_mm() -> NDArray[np.float64]:
    """MNI coordinates of the pixels of the three slices, [down, right, 3]."""
    slices = []
    for axis, cut in MIDDLE_MM.items():
        right, up, through = AXES[axis]
        points = np.empty((_SIDE, _SIDE, 3))
        points[..., through] = cut
        points[..., up] = (_BOX_MM[up][0] + _PIXEL_MM * np.arange(_SIDE))[::-1, None]
        points[..., right] = _BOX_MM[right][0] + _PIXEL_MM * np.arange(_SIDE)
        slices.append(points)
    return np.hstack(slices)


class SiteSlices:
    """The middle slices of a few scans of each site, and the mean of all of its scans, as sums of volumes that come by.

    Args:
        cohort: ``scan_id site`` of all scans that are to come.

    Attributes:
        examples: of each site, by scan, the slices of some scans, evenly spread over the site's list.
        counts: of each site, how many volumes the mean is of.
    """

    def __init__(self, cohort: pd.DataFrame) -> None:
        self._sites = dict(zip(cohort["scan_id"], cohort["site"].fillna("n/a").astype(str), strict=True))
        self.examples: dict[str, dict[str, NDArray[np.float32]]] = {}
        self.counts: dict[str, int] = {}
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._lock = Lock()
        self._shown: set[str] = set()
        for site in sorted(set(self._sites.values())):
            members = [scan_id for scan_id, of in self._sites.items() if of == site]
            places = np.linspace(0, len(members) - 1, min(EXAMPLES, len(members)))
            self._shown |= {members[round(place)] for place in places}

    def add(self, scan_id: str, data: NDArray[np.float32], affine: Affine) -> None:
        """Takes a scan's volume [X, Y, Z] into account; of different scans at once, too."""
        site, slices = self._sites[scan_id], middle_slices(data, affine)
        with self._lock:
            self.counts[site] = self.counts.get(site, 0) + 1
            self._sums[site] = self._sums.get(site, 0) + slices.astype(np.float64)
            if scan_id in self._shown:
                self.examples.setdefault(site, {})[scan_id] = slices

    def means(self) -> dict[str, NDArray[np.float64]]:
        """Of each site with a volume, by name, the mean of its slices."""
        return {site: self._sums[site] / self.counts[site] for site in sorted(self._sums)}
