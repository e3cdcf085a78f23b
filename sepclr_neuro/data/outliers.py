"""Volumes that stand out in their cohort: unlike the others, of another size, or with left and right exchanged."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from nibabel.affines import from_matvec
from numpy.typing import NDArray

from sepclr_neuro.core.errors import Alike
from sepclr_neuro.data.grid import Affine, Shape

__all__ = ["LEAST_ASYMMETRY", "LEAST_SCANS", "THRESHOLD", "CoarseVolumes", "Outlier", "Outliers", "find_outliers"]

THRESHOLD = 4.5
"""Robust z from which on a volume is named; a normal distribution has 7 in a million beyond."""
LEAST_SCANS = 10
"""Of a cohort that is looked at, and of a site with a median of its own."""
LEAST_ASYMMETRY = 0.2
"""Median correlation of asymmetries from which on left and right can be told apart."""

# The least SD of each measure. Without, cohorts more alike than brains usually are would have outliers by hair's
# breadth: the SD of total grey matter in adults is 10 to 15 %, and the other two are those of the real maps at hand.
_LEAST_SD = {"correlation": 0.15, "total_ml": 0.12, "asymmetry": 0.1}

# About the middle of the MNI brain, and symmetric about x = 0, so that a mirrored volume is a reversed array.
_SIDE, _VOXEL_MM = 24, 8.0
_AFFINE = from_matvec(np.eye(3) * _VOXEL_MM, np.array([0.0, -16.5, 6.0]) - _VOXEL_MM * (_SIDE - 1) / 2)
_VOXELS = _SIDE**3
_CHUNK = 256  # volumes read at a time

_Floats = NDArray[np.floating]


class CoarseVolumes:
    """Means of volumes over voxels of 8 mm, 24 a side, in a file without a name: memory does not grow with the cohort.

    The file, in the folder of temporary files (``TMPDIR``), has 28 kB a scan.

    Args:
        scan_ids: of the volumes that are to come.
    """

    def __init__(self, scan_ids: Sequence[str]) -> None:
        self._rows = {scan_id: row for row, scan_id in enumerate(scan_ids)}
        self._total_ml = np.full(len(scan_ids), np.nan)
        with tempfile.TemporaryFile() as file:
            self._means = np.memmap(file, np.float16, "w+", shape=(len(scan_ids), _VOXELS))

    def add(self, scan_id: str, data: NDArray[np.float32], affine: Affine) -> None:
        """Keeps a volume [X, Y, Z] with its affine; of different scans at once, too."""
        row = self._rows[scan_id]
        index, counts = _places(data.shape, affine.tobytes())
        sums = np.zeros(_VOXELS + 1)
        for places, plane in zip(index, data, strict=True):  # by planes: of a whole volume it takes 16 bytes a voxel
            sums += np.bincount(places.ravel(), plane.ravel(), _VOXELS + 1)
        self._means[row] = (sums / counts)[:-1]
        self._total_ml[row] = sums.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000

    def __contains__(self, scan_id: str) -> bool:
        """Whether a scan's volume was added."""
        return bool(np.isfinite(self._total_ml[self._rows[scan_id]]))

    def total_ml(self, scan_ids: Sequence[str]) -> NDArray[np.float64]:
        """Total grey matter, the sum over voxels times their size, in ml."""
        return self._total_ml[[self._rows[scan_id] for scan_id in scan_ids]]

    def chunks(self, scan_ids: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """The coarse volumes [some, X, Y, Z], a few at a time."""
        rows = [self._rows[scan_id] for scan_id in scan_ids]
        for start in range(0, len(rows), _CHUNK):
            yield self._means[rows[start : start + _CHUNK]].astype(np.float64).reshape(-1, _SIDE, _SIDE, _SIDE)


@lru_cache(maxsize=4)
def _places(shape: Shape, affine: bytes) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """The coarse voxel of each voxel [X, Y, Z], ``_VOXELS`` outside, and how many voxels each has, 1 for none."""
    mapping = np.linalg.inv(_AFFINE) @ np.frombuffer(affine).reshape(4, 4)
    index = np.empty(shape, np.int16)
    counts = np.zeros(_VOXELS + 1)
    for x, places in enumerate(index):
        voxels = np.stack(np.broadcast_arrays(x, *np.indices(shape[1:])))
        coarse = np.rint(np.tensordot(mapping[:3, :3], voxels, 1) + mapping[:3, 3, None, None]).astype(int)
        inside = ((coarse >= 0) & (coarse < _SIDE)).all(axis=0)
        places[:] = np.where(inside, np.ravel_multi_index(tuple(np.where(inside, coarse, 0)), (_SIDE,) * 3), _VOXELS)
        counts += np.bincount(places.ravel(), minlength=_VOXELS + 1)
    return index, np.maximum(counts, 1)


_SENTENCES = {
    "correlation": "its correlation with the mean of the others is {value:.2f} (median {usual:.2f}, robust z {z:.1f})",
    "total_ml": "its total grey matter is {value:.0f} ml (median {usual:.0f} ml, robust z {z:.1f})",
    "asymmetry": "its asymmetry correlates by {value:.2f} with the others' (median {usual:.2f}, robust z {z:.1f})",
}


@dataclass(frozen=True)
class Outlier:
    """One thing by which a volume stands out.

    Attributes:
        measure: ``correlation``, ``total_ml`` or ``asymmetry``.
        value: of the volume; ``usual`` is the median of those that it is compared with.
        z: robust z.
        meaning: what it may be.
    """

    scan_id: str
    measure: str
    value: float
    usual: float
    z: float
    meaning: str

    def warning(self) -> Alike:
        """For a text that lists one kind in a line."""
        found = _SENTENCES[self.measure].format(value=self.value, usual=self.usual, z=self.z)
        return Alike(f"{self.scan_id}: {found}: {self.meaning}", self.scan_id, f"outliers: {self.measure}")


@dataclass(frozen=True)
class Outliers:
    """What was found.

    Attributes:
        measures: ``scan_id correlation total_ml asymmetry``; the first and the last are NaN where scans are too few.
        found: all outliers, by scan.
        sides_differ: whether brains are asymmetric enough, in the same way, to tell left from right.
    """

    measures: pd.DataFrame
    found: list[Outlier]
    sides_differ: bool


def find_outliers(volumes: CoarseVolumes, cohort: pd.DataFrame) -> Outliers:
    """Compares each volume with the others, in two passes over the coarse volumes.

    - Correlation with the mean of all others, over all coarse voxels, as Fisher's z.
    - Total grey matter, as logarithm.
    - Correlation of the asymmetry, a volume minus its mirror image, with the mean asymmetry of all others. Hemispheres
      differ a little, in most people alike; in a volume with left and right exchanged, the sign is another.

    Robust z: the difference from the median of the volume's site (of all, for sites of fewer than ``LEAST_SCANS``
    scans), over 1.4826 times the median absolute difference of all scans.

    Args:
        cohort: ``scan_id site`` of the scans to compare; those without a volume are left out.
    """
    cohort = cohort[cohort["scan_id"].map(volumes.__contains__).astype(bool)]
    scan_ids, sites = cohort["scan_id"].tolist(), cohort["site"].fillna("n/a").to_numpy()
    measures = pd.DataFrame({"scan_id": scan_ids, "correlation": np.nan, "total_ml": volumes.total_ml(scan_ids)})
    measures["asymmetry"] = np.nan
    if len(scan_ids) < LEAST_SCANS:
        return Outliers(measures, [], sides_differ=False)
    total = np.sum([chunk.sum(axis=0) for chunk in volumes.chunks(scan_ids)], axis=0)
    chunks = [
        (_with_others(chunk, total), _with_others(_asymmetry(chunk), _asymmetry(total[None])[0]))
        for chunk in volumes.chunks(scan_ids)
    ]
    measures["correlation"], measures["asymmetry"] = (np.concatenate(part) for part in zip(*chunks, strict=True))
    sides_differ = bool(measures["asymmetry"].median() >= LEAST_ASYMMETRY)
    found = [*_unlike(measures, sites, volumes, total), *_of_other_size(measures, sites)]
    found += _mirrored(measures, sites) if sides_differ else []
    return Outliers(measures, sorted(found, key=lambda outlier: outlier.scan_id), sides_differ)


def _with_others(volumes: _Floats, total: _Floats) -> NDArray[np.float64]:
    """The correlation of each of volumes [N, X, Y, Z] with what the total [X, Y, Z] has without it; 0 of constants."""
    ones = volumes.reshape(len(volumes), -1)
    others = total.reshape(1, -1) - ones
    ones, others = (part - part.mean(axis=1, keepdims=True) for part in (ones, others))
    norms = np.linalg.norm(ones, axis=1) * np.linalg.norm(others, axis=1)
    return np.divide((ones * others).sum(axis=1), norms, out=np.zeros(len(ones)), where=norms > 0)


def _asymmetry(volumes: _Floats) -> _Floats:
    """Volumes minus their mirror images, [N, X / 2, Y, Z]: the other half is the same with the other sign."""
    return (volumes - volumes[:, ::-1])[:, : _SIDE // 2]


def _robust_z(values: _Floats, sites: NDArray[np.object_], least_sd: float) -> tuple[_Floats, _Floats]:
    """The median that each value [N] is compared with, and its robust z."""
    usual = np.full(len(values), np.median(values))
    for site in np.unique(sites):
        if (sites == site).sum() >= LEAST_SCANS:
            usual[sites == site] = np.median(values[sites == site])
    differences = values - usual
    sd = 1.4826 * np.median(np.abs(differences - np.median(differences)))
    return usual, differences / max(sd, least_sd)


def _fisher(correlations: pd.Series) -> _Floats:
    return np.arctanh(correlations.clip(-0.999999, 0.999999).to_numpy())


def _unlike(
    measures: pd.DataFrame, sites: NDArray[np.object_], volumes: CoarseVolumes, total: _Floats
) -> Iterator[Outlier]:
    usual, z = _robust_z(_fisher(measures["correlation"]), sites, _LEAST_SD["correlation"])
    for row in np.flatnonzero(z < -THRESHOLD):
        scan_id, value, median = (
            measures["scan_id"][row],
            float(measures["correlation"][row]),
            float(np.tanh(usual[row])),
        )
        volume = next(volumes.chunks([scan_id]))[0]
        change, changed = _best_change(volume, total - volume)
        # A change that takes half of the difference away explains it.
        explained = changed - value > (median - value) / 2
        meaning = (
            f"it would be {changed:.2f} {change}" if explained else "damaged, badly registered, or an unusual brain"
        )
        yield Outlier(scan_id, "correlation", value, median, float(z[row]), meaning)


def _best_change(volume: _Floats, others: _Floats) -> tuple[str, float]:
    """The order and direction of axes in which a volume is most like others, and the correlation; left is right here.

    With the centres of mass put together, since exchanged axes move the brain too.
    """
    best = ("", -1.0)
    for order in itertools.permutations(range(3)):
        for back, down in itertools.product((1, -1), repeat=2):
            turned = volume.transpose(order)[:, ::back, ::down]
            voxels = np.rint(_centre(others) - _centre(turned)).astype(int)
            moved = np.roll(turned, voxels, (0, 1, 2))
            correlation = float(_with_others(moved[None], others + moved)[0])
            if correlation > best[1]:
                signs = ("", "-" if back < 0 else "", "-" if down < 0 else "")
                axes = ", ".join(f"{sign}{'xyz'[axis]}" for sign, axis in zip(signs, order, strict=True))
                millimetres = ", ".join(f"{_VOXEL_MM * step:.0f}" for step in voxels)
                moves = f"if it were moved by about ({millimetres}) mm"
                best = (moves if axes == "x, y, z" else f"if its axes x, y, z were read as {axes}", correlation)
    return best


def _centre(volume: _Floats) -> NDArray[np.float64]:
    """The centre of mass, in voxels; of an empty volume the middle."""
    weights = volume if volume.any() else None
    return np.array([np.average(indices, weights=weights) for indices in np.indices(volume.shape)])


def _of_other_size(measures: pd.DataFrame, sites: NDArray[np.object_]) -> Iterator[Outlier]:
    usual, z = _robust_z(np.log(measures["total_ml"].to_numpy()), sites, _LEAST_SD["total_ml"])
    for row in np.flatnonzero(np.abs(z) > THRESHOLD):
        value, median = float(measures["total_ml"][row]), float(np.exp(usual[row]))
        of = "its site" if (sites == sites[row]).sum() >= LEAST_SCANS else "the cohort"
        cause = "tissue that is missing" if value < median else "tissue that is not grey matter"
        meaning = f"{value / median:.2g} times the median of {of}; another unit or scale, or {cause}"
        yield Outlier(measures["scan_id"][row], "total_ml", value, median, float(z[row]), meaning)


def _mirrored(measures: pd.DataFrame, sites: NDArray[np.object_]) -> Iterator[Outlier]:
    usual, z = _robust_z(_fisher(measures["asymmetry"]), sites, _LEAST_SD["asymmetry"])
    # A flipped volume is as far below 0 as it was above, if not as far as most; one that lies elsewhere is about 0.
    below = measures["asymmetry"] < -measures["asymmetry"].median() / 3
    for row in np.flatnonzero((z < -THRESHOLD) & below):
        value, median = float(measures["asymmetry"][row]), float(np.tanh(usual[row]))
        meaning = "left and right may be exchanged"
        yield Outlier(measures["scan_id"][row], "asymmetry", value, median, float(z[row]), meaning)
