"""Group maps: voxels in which the maps of single participants agree, or differ between groups, with covariates.

P-values come from permutations, yet each fold's participants were mapped through another encoder, so that maps within a
fold are alike for a reason that is not the participants: fold is a nuisance here, and the p-values describe more than
they prove.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import nibabel
import numpy as np
import pandas as pd
from nilearn.maskers import NiftiMasker
from nilearn.mass_univariate import permuted_ols
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import t as student

__all__ = ["CLUSTERS", "CoarseGrid", "GroupMap", "cluster_table", "group_map"]

# Of voxels, by themselves, that form clusters; both sides.
FORMING_P = 0.001
LEAST_CLUSTER_MM3 = 200.0
LISTED = 10
CLUSTERS = ["sign", "x", "y", "z", "peak_t", "size_mm3", "p_peak", "p_cluster", "clusters"]


@dataclass(frozen=True)
class CoarseGrid:
    """The grid of group inference: blocks of voxels, so that a thousand participants' maps fit in memory.

    Attributes:
        factor: voxels of a block along each axis.
        brain: whether a block is in the brain, [x, y, z].
        affine: of the blocks, to mm of MNI space.
    """

    factor: int
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]

    @classmethod
    def over(cls, brain: NDArray[np.bool_], affine: NDArray[np.float64], voxel_mm: float) -> CoarseGrid:
        """Blocks of about ``voxel_mm``, never smaller than the grid's own voxels; more than half of one is brain."""
        factor = max(1, round(voxel_mm / float(np.linalg.norm(affine[:3, 0]))))
        # Sizes are multiples of 16, so that only factors of 2 fit.
        factor = 2 ** int(np.log2(factor))
        coarse = affine.copy()
        coarse[:3, :3] *= factor
        coarse[:3, 3] += affine[:3, :3] @ np.full(3, (factor - 1) / 2)
        return cls(factor, _blocks(brain.astype(np.float64), factor) > 0.5, coarse)

    def reduce(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """The mean of a map [X, Y, Z] over each block in the brain: [V]."""
        return _blocks(values, self.factor)[self.brain].astype(np.float32)

    def fill(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """A value a block [V] on the whole grid of blocks, 0 outside the brain: [x, y, z]."""
        filled = np.zeros(self.brain.shape)
        filled[self.brain] = values
        return filled


def _blocks(values: NDArray[np.floating], factor: int) -> NDArray[np.floating]:
    x, y, z = (size // factor for size in values.shape)
    means: NDArray[np.floating] = values.reshape(x, factor, y, factor, z, factor).mean(axis=(1, 3, 5))
    return means


@dataclass(frozen=True)
class GroupMap:
    """Results of the permutations, each a map on the coarse grid [x, y, z].

    Attributes:
        t: of the contrast.
        p_peak: of a voxel, corrected for the family of all voxels (maximum t).
        p_cluster: of the cluster that a voxel is in, corrected likewise (maximum size); 1 outside clusters.
        people: how many maps.
        freedom: degrees of it.
    """

    t: NDArray[np.float64]
    p_peak: NDArray[np.float64]
    p_cluster: NDArray[np.float64]
    people: int
    freedom: int


def group_map(
    maps: NDArray[np.floating],
    grid: CoarseGrid,
    nuisance: pd.DataFrame,
    group: NDArray[np.floating] | None,
    permutations: int,
    seed: int,
) -> GroupMap | None:
    """Tests the mean of participants' maps, or the difference between two groups, in each voxel, on both sides.

    By nilearn's ``permuted_ols`` on the arrays; ``non_parametric_inference``, which wants an image a participant, gives
    the same digits in twice the time.

    Args:
        maps: one a participant, [n, V].
        grid: of the voxels.
        nuisance: centred columns, n rows.
        group: 1 or 0 for each participant: the difference is tested. None: the mean over all of them is, by flips
            of sign.
        permutations: how many; the smallest p is one over one more.
        seed: of the permutations.

    Returns:
        None where participants are too few for the design, a group is missing, no voxel is seen by all folds, or the
        maps of a fold are all alike, as those of a linear method are.
    """
    tested = np.ones((len(maps), 1)) if group is None else group[:, None]
    others = nuisance.to_numpy(np.float64)
    if group is not None:
        others = np.column_stack([np.ones(len(maps)), others])
    design = np.column_stack([tested, others])
    freedom = len(maps) - design.shape[1]
    if not grid.brain.any() or freedom < 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    residual = maps - design @ np.linalg.lstsq(design, maps, rcond=None)[0]
    # What rounding leaves is no variation between participants.
    varies = (residual**2).sum(axis=0) > 1e-8 * (maps.astype(np.float64) ** 2).sum(axis=0)
    if not varies.any():
        return None
    with warnings.catch_warnings():
        # About data types, which are not the reader's to change.
        warnings.simplefilter("ignore")
        found = permuted_ols(
            tested,
            maps * varies,
            others if others.shape[1] else None,
            model_intercept=False,
            n_perm=permutations,
            random_state=seed,
            masker=NiftiMasker(nibabel.Nifti1Image(grid.brain.astype(np.uint8), grid.affine)).fit(),
            threshold=FORMING_P,
        )
    t, peak, cluster = (grid.fill(found[name][0]) for name in ("t", "logp_max_t", "logp_max_size"))
    return GroupMap(np.nan_to_num(t), 10.0**-peak, 10.0**-cluster, len(maps), freedom)


def cluster_table(found: GroupMap, grid: CoarseGrid) -> pd.DataFrame:
    """Clusters of voxels beyond p = 0.001 (each by itself, both sides) that touch by their faces, and where they peak.

    The same clusters as nilearn's ``get_clusters_table``, which looks for further peaks in each: 361 clusters take it
    11 s, these 0.1 s.

    Returns:
        ``sign x y z peak_t size_mm3 p_peak p_cluster clusters``, positive ones first, largest |t| first: the strongest
        ``LISTED`` of each sign that measure 200 mm³ or more; ``clusters`` is how many of its sign do. Places in mm of
        MNI space, p-values corrected for the family of voxels.
    """
    threshold = float(student.ppf(1 - FORMING_P / 2, found.freedom))
    volume = abs(float(np.linalg.det(grid.affine[:3, :3])))
    rows = []
    for sign, name in ((1, "positive"), (-1, "negative")):
        labels, count = ndimage.label(sign * found.t > threshold)
        sizes = volume * np.bincount(labels.ravel(), minlength=count + 1)
        large = [number for number in range(1, count + 1) if sizes[number] >= LEAST_CLUSTER_MM3]
        peaks = ndimage.maximum_position(sign * found.t, labels, large) if large else []
        listed = sorted(zip(large, peaks, strict=True), key=lambda pair: -abs(found.t[pair[1]]))[:LISTED]
        for number, voxel in listed:
            place = grid.affine[:3, :3] @ voxel + grid.affine[:3, 3]
            row = {"sign": name, **dict(zip("xyz", place, strict=True)), "peak_t": found.t[voxel]}
            corrected = {"p_peak": found.p_peak[voxel], "p_cluster": found.p_cluster[voxel]}
            rows.append(row | {"size_mm3": sizes[number]} | corrected | {"clusters": len(large)})
    return pd.DataFrame(rows, columns=CLUSTERS)
