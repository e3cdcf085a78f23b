"""A look at all volumes of a cohort as they are read: slices by site, and those that stand out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config import volumes as settings_of
from sepclr_neuro.data.grid import Affine
from sepclr_neuro.data.outliers import CoarseVolumes, Outliers, find_outliers
from sepclr_neuro.data.volume_files import read_checked
from sepclr_neuro.maps.slices import SiteSlices, middle_slices

__all__ = ["MOST_OUTLIERS", "CohortLook", "Looked"]

MOST_OUTLIERS = 24
"""Of which slices are shown; all are named."""


@dataclass(frozen=True)
class Looked:
    """What volumes look like.

    Attributes:
        outliers: what stands out, and the measures of all.
        sites: slices of each site.
        slices: by scan, the slices of the first outliers.
    """

    outliers: Outliers
    sites: SiteSlices
    slices: dict[str, NDArray[np.float32]]


class CohortLook:
    """Sees volumes one by one, keeps a coarse copy of each on disk and sums of slices, and then compares them.

    Args:
        cohort: ``scan_id site volume``, the last a path or missing.
    """

    def __init__(self, cohort: pd.DataFrame) -> None:
        self._coarse = CoarseVolumes(cohort["scan_id"].tolist())
        self._sites = SiteSlices(cohort)

    def add(self, scan_id: str, data: NDArray[np.float32], affine: Affine) -> None:
        """Sees a volume as it lies in its file; of different scans at once, too."""
        self._coarse.add(scan_id, data, affine)
        self._sites.add(scan_id, data, affine)

    def seen(self, cohort: pd.DataFrame, settings: settings_of.Volumes) -> Looked:
        """Compares the volumes of these rows of the cohort; reads those that stand out once more, for their slices."""
        outliers = find_outliers(self._coarse, cohort)
        paths = dict(zip(cohort["scan_id"], cohort["volume"], strict=True))
        shown = list(dict.fromkeys(outlier.scan_id for outlier in outliers.found))[:MOST_OUTLIERS]
        slices = {scan_id: middle_slices(*read_checked(Path(paths[scan_id]), settings)) for scan_id in shown}
        return Looked(outliers, self._sites, slices)
