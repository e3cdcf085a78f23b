"""The grid that networks see: where its voxels are in the brain, what fits, and volumes brought to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from sepclr_neuro.config import volumes as settings_of
from sepclr_neuro.core.errors import InputError

__all__ = [
    "BRAIN_BOX_MM",
    "Affine",
    "Shape",
    "bring_to_grid",
    "check_inside",
    "checked_tiv",
    "describe",
    "final_affine",
    "grid_affine",
    "mostly_padding",
    "same_grid",
    "too_small",
]

Affine = NDArray[np.float64]
Shape = tuple[int, ...]

# The middle of the box of the MNI152 brain, on the 1.5 mm and the 3 mm lattice of CAT12's templates.
_BRAIN_CENTRE_MM = np.array([0.0, -16.5, 6.0])
BRAIN_BOX_MM = (144, 181, 156)  # of the MNI152 template, about that middle

_MOST_OUTSIDE = 0.01
# Grey matter thins out towards the box of the brain. A grid that holds this share of one side cuts off 5, 3 or 1.4 %
# of the MNI152 template's (x, y, z): more than the share above.
_LEAST_OF_BOX = 0.85

_MUCH_PADDING = 3  # the paper's 128³ of 1.5 mm is 1.5 times what fits

_MEAN_TIV_ML = 1500.0


def grid_affine(shape: Sequence[int], voxel_mm: float) -> Affine:
    """The affine of the project's own grid: axes along RAS, voxel ``size // 2`` at the middle of the MNI brain.

    Args:
        shape: voxels along x, y, z.
        voxel_mm: side of a voxel in mm.

    Returns:
        (4, 4), voxel indices to MNI mm.

    >>> grid_affine((128, 128, 128), 1.5)[:3, 3].tolist()
    [-96.0, -112.5, -90.0]
    """
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = _BRAIN_CENTRE_MM - voxel_mm * (np.asarray(shape) // 2)
    return affine


def final_affine(affine: Affine, settings: settings_of.Volumes) -> Affine:
    """The affine that a volume with this canonical ``affine`` has after resampling, crop and pad."""
    if settings.resample_mm is not None:
        return grid_affine(settings.shape, settings.resample_mm)
    final = affine.copy()
    final[:3, 3] = nibabel.affines.apply_affine(affine, _crop_start(affine, settings.shape))
    return final


def _crop_start(affine: Affine, shape: Shape) -> NDArray[np.int64]:
    """The voxel (may be negative: padding) of a volume that becomes voxel 0 of the final grid."""
    middle = nibabel.affines.apply_affine(np.linalg.inv(affine), _BRAIN_CENTRE_MM)
    # The extra thousandth keeps a tie (on a 3 mm lattice, say) from being decided by an affine's rounding.
    nearest = np.floor(middle + 0.501).astype(np.int64)
    return nearest - np.asarray(shape) // 2


def same_grid(one: Affine, other: Affine, shape: Shape) -> bool:
    corners = np.array([[0, 0, 0], np.asarray(shape) - 1])
    distances = nibabel.affines.apply_affine(one, corners) - nibabel.affines.apply_affine(other, corners)
    return bool(np.abs(distances).max() < 0.1)


def describe(affine: Affine) -> str:
    sizes = " x ".join(f"{size:.4g}" for size in nibabel.affines.voxel_sizes(affine))
    origin = ", ".join(f"{value:.4g}" for value in affine[:3, 3])
    return f"voxels of {sizes} mm from ({origin}) mm"


# --- what fits --------------------------------------------------------------------------------------------------


def check_inside(path: Path, data: NDArray[np.float32], affine: Affine, settings: settings_of.Volumes) -> None:
    """Refuses to cut away grey matter."""
    final = final_affine(affine, settings)
    mapping = np.linalg.inv(final) @ affine
    if np.abs(mapping[:3, :3] - np.diag(np.diag(mapping[:3, :3]))).max() < 1e-6:
        # Grids with the same axes: what is inside is a box, which costs nothing to cut out.
        box = []
        for axis, size in enumerate(settings.shape):
            position = mapping[axis, axis] * np.arange(data.shape[axis]) + mapping[axis, 3]
            inside = np.flatnonzero((position >= -0.5) & (position <= size - 0.5))
            box.append(slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0))
        # Sums along lines are in float32, which numpy sums in pairs; lines are then summed in float64.
        within, whole = (part.sum(axis=2).sum(dtype=np.float64) for part in (data[tuple(box)], data))
        share = float(1 - within / whole)
    else:
        voxels = np.argwhere(data > 0)
        position = nibabel.affines.apply_affine(mapping, voxels)
        outside = ((position < -0.5) | (position > np.asarray(settings.shape) - 0.5)).any(axis=1)
        share = float(data[tuple(voxels[outside].T)].sum(dtype=np.float64) / data.sum(dtype=np.float64))
    if share > _MOST_OUTSIDE:
        sides = " x ".join(map(str, settings.shape))
        raise InputError(
            f"{path}: {share:.0%} of the grey matter is outside the grid of {sides} voxels ({describe(final)}). "
            f"{_larger_grid(settings)}, or, if the volume is not in MNI space, normalise it"
        )


def _larger_grid(settings: settings_of.Volumes) -> str:
    return f"Set volumes.resample_mm ({192 / min(settings.shape):g} fits the brain), enlarge volumes.shape"


def too_small(stored: Shape, affine: Affine, settings: settings_of.Volumes) -> list[str]:
    """Whether the grid is clearly smaller than the part of the brain's box that a volume can hold, by its header."""
    held = nibabel.affines.voxel_sizes(affine) * stored
    grid = nibabel.affines.voxel_sizes(final_affine(affine, settings)) * settings.shape
    if (grid >= _LEAST_OF_BOX * np.minimum(held, BRAIN_BOX_MM)).all():
        return []
    size, extent, box = (" x ".join(f"{side:g}" for side in sides) for sides in (settings.shape, grid, BRAIN_BOX_MM))
    return [
        f"volumes.shape: {size} voxels hold {extent} mm, but the brain is {box} mm. {_larger_grid(settings)}, or both"
    ]


def mostly_padding(affine: Affine, settings: settings_of.Volumes) -> list[str]:
    """Whether the grid has several times the voxels that the brain's box needs, and which shape would fit.

    >>> mostly_padding(np.diag([6.0, 6.0, 6.0, 1.0]), settings_of.Volumes(shape=(64, 64, 64)))[0][:69]
    'volumes.shape: 64 x 64 x 64 voxels of 6 x 6 x 6 mm are mostly padding'
    >>> mostly_padding(np.diag([1.5, 1.5, 1.5, 1.0]), settings_of.Volumes(shape=(128, 128, 128)))
    []
    """
    sides = nibabel.affines.voxel_sizes(final_affine(affine, settings))
    fitting = [max(32, 16 * int(np.ceil(box / side / 16))) for box, side in zip(BRAIN_BOX_MM, sides, strict=True)]
    times = np.prod(settings.shape) / np.prod(fitting)
    if times < _MUCH_PADDING:
        return []
    size, side, held, box = (
        " x ".join(f"{value:g}" for value in values)
        for values in (settings.shape, sides, np.asarray(settings.shape) * sides, BRAIN_BOX_MM)
    )
    return [
        f"volumes.shape: {size} voxels of {side} mm are mostly padding: they hold {held} mm, and the brain is {box} "
        f"mm. {fitting} would fit, with {times:.0f} times fewer voxels to store and to compute on"
    ]


# --- voxels ----------------------------------------------------------------------------------------------------


def bring_to_grid(
    data: NDArray[np.float32], affine: Affine, settings: settings_of.Volumes, tiv: float | None
) -> NDArray[np.float32]:
    """Smoothing, scaling by TIV, then resampling or crop and pad."""
    if settings.smoothing_mm:
        sigma = settings.smoothing_mm / np.sqrt(8 * np.log(2)) / nibabel.affines.voxel_sizes(affine)
        data = gaussian_filter(data, sigma, mode="constant")
    if settings.tiv_column is not None:
        data = data * np.float32(_MEAN_TIV_ML / checked_tiv(tiv))
    if settings.resample_mm is not None:
        mapping = np.linalg.inv(affine) @ grid_affine(settings.shape, settings.resample_mm)
        return affine_transform(data, mapping, output_shape=settings.shape, order=1, mode="constant")
    start = _crop_start(affine, settings.shape)
    result = np.zeros(settings.shape, dtype=np.float32)
    source, target = [], []
    for begin, size, available in zip(start, settings.shape, data.shape, strict=True):
        first, last = max(begin, 0), min(begin + size, available)
        source.append(slice(first, last))
        target.append(slice(first - begin, last - begin))
    result[tuple(target)] = data[tuple(source)]
    return result


def checked_tiv(tiv: float | None) -> float:
    if tiv is None or not 500 <= tiv <= 3000:
        found = "missing or not a number" if tiv is None or np.isnan(tiv) else f"{tiv:g}"
        raise InputError(f"the total intracranial volume is {found}; expected ml, between 500 and 3000")
    return float(tiv)
