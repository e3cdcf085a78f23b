"""Figures of a map: peaks, similarity to another map, and its share in the truly affected regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import spearmanr

__all__ = ["find_peaks", "localisation", "peak_voxel", "similarity", "strength_correlation"]

Map = NDArray[np.floating]

# Peaks of one sign that are listed, and their least distance along each axis.
PEAKS = 5
PEAK_DISTANCE_MM = 15.0


def localisation(values: Map, region: NDArray[np.bool_], brain: NDArray[np.bool_]) -> dict[str, float | str]:
    """How much of a map lies where the truth lies.

    Args:
        values: the map, [X, Y, Z].
        region: whether a voxel is truly affected, [X, Y, Z].
        brain: whether a voxel could be mapped, [X, Y, Z].

    Returns:
        ``relevance_share``: share of the sum of absolute values that lies in the region (relevance mass accuracy);
        ``volume_share``: share of the brain's voxels that does, which a map that knows nothing reaches; ``ratio`` of
        the two; ``rank_share``: of the K strongest voxels, K as many as the region has, the share that lies in it
        (relevance rank accuracy; by chance the volume's share); ``peak_in_region``: whether the strongest voxel does,
        yes or no. ``n/a`` for a map of zeros.

    Source: Arras et al., *CLEVR-XAI*, Information Fusion 2022 (arXiv 2003.07258).
    """
    relevance = np.abs(values[brain]).astype(np.float64)
    inside = region[brain]
    volume_share = float(inside.mean())
    if not relevance.any():
        nothing = dict.fromkeys(("relevance_share", "ratio", "rank_share"), np.nan)
        return {**nothing, "volume_share": volume_share, "peak_in_region": "n/a"}
    relevance_share = float(relevance[inside].sum() / relevance.sum())
    strongest = np.argsort(-relevance, kind="stable")[: inside.sum()]
    return {
        "relevance_share": relevance_share,
        "volume_share": volume_share,
        "ratio": relevance_share / volume_share if volume_share else np.nan,
        "rank_share": float(inside[strongest].mean()) if len(strongest) else np.nan,
        "peak_in_region": "yes" if inside[relevance.argmax()] else "no",
    }


def peak_voxel(values: Map) -> int:
    """The number of the strongest voxel, of either sign, in the flattened map."""
    return int(np.abs(values).argmax())


def similarity(one: Map, other: Map, brain: NDArray[np.bool_]) -> dict[str, float]:
    """Rank correlations of two maps over the brain's voxels; NaN where a map is the same everywhere.

    Returns:
        ``spearman`` of the signed values and ``spearman_absolute`` of their strengths.
    """
    a, b = one[brain], other[brain]
    found = {}
    for name, (x, y) in {"spearman": (a, b), "spearman_absolute": (np.abs(a), np.abs(b))}.items():
        found[name] = float(spearmanr(x, y).statistic) if np.ptp(x) > 0 and np.ptp(y) > 0 else np.nan
    return found


def strength_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Pearson's r of two maps' absolute values [V]; NaN where a map is the same everywhere."""
    if not np.ptp(one) or not np.ptp(other):
        return float("nan")
    return float(np.corrcoef(np.abs(one), np.abs(other))[0, 1])


def find_peaks(values: Map, affine: NDArray[np.float64]) -> pd.DataFrame:
    """The largest local maxima of either sign, at least ``PEAK_DISTANCE_MM`` apart along an axis.

    Args:
        values: the map, [X, Y, Z].
        affine: voxels to mm of MNI space, [4, 4].

    Returns:
        ``sign x y z value``: positive, then negative, each from the largest on; x, y and z in mm.
    """
    reach = np.round(PEAK_DISTANCE_MM / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    rows = []
    for sign, name in ((1, "positive"), (-1, "negative")):
        height = sign * values
        voxels = np.argwhere((height > 0) & (height == ndimage.maximum_filter(height, tuple(2 * reach + 1))))
        highest = sorted(voxels.tolist(), key=lambda voxel: -height[tuple(voxel)])[:PEAKS]
        for voxel in highest:
            x, y, z = affine[:3, :3] @ voxel + affine[:3, 3]
            rows.append({"sign": name, "x": x, "y": y, "z": z, "value": values[tuple(voxel)]})
    return pd.DataFrame(rows, columns=["sign", "x", "y", "z", "value"])
