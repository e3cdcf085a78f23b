"""Regions of the brain: an atlas of the user's on the grid of the volumes, or cubes where there is none."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel
import numpy as np
import pandas as pd
from nibabel.filebasedimages import ImageFileError
from nilearn.image import resample_img
from numpy.typing import NDArray

from sepclr_neuro.config import saliency as settings_of
from sepclr_neuro.core.errors import InputError, taken_from

__all__ = ["Atlas", "cubes", "load_atlas", "read_atlas", "region_table"]

# Share of an atlas that must lie in the brain of the volumes; an atlas in another space hardly meets it.
_LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class Atlas:
    """Regions on a grid.

    Attributes:
        regions: number of each voxel's region, int32 [X, Y, Z]; 0 is none.
        names: by number.
    """

    regions: NDArray[np.int32]
    names: dict[int, str]

    def within(self, brain: NDArray[np.bool_]) -> Atlas:
        """The same without what lies outside the brain [X, Y, Z]; regions of which nothing is left are gone."""
        regions = np.where(brain, self.regions, 0)
        return Atlas(regions, {number: self.names[number] for number in map(int, np.unique(regions)) if number})


def read_atlas(settings: settings_of.Atlas) -> tuple[nibabel.Nifti1Image, dict[int, str]]:
    """Reads an atlas as it is on disk.

    Returns:
        its image, and its regions' names by number.

    Raises:
        InputError: with every problem of the image and of the table of labels.
    """
    problems: list[str] = []
    names = _read_labels(settings, problems)
    image = _read_image(settings, problems)
    if image is not None and names:
        numbers = set(map(int, np.unique(np.asanyarray(image.dataobj)))) - {0}
        unnamed = sorted(numbers - set(names))
        if unnamed:
            shown = ", ".join(map(str, unnamed[:5]))
            problems.append(
                f"{settings.labels}: has no name for {len(unnamed)} of the {len(numbers)} numbers in {settings.image} "
                f"({shown}); add a row for each"
            )
    if problems or image is None:
        raise InputError(problems)
    return image, names


def _read_labels(settings: settings_of.Atlas, problems: list[str]) -> dict[int, str]:
    try:
        # The separator is found out: both kinds are about.
        table = pd.read_csv(settings.labels, sep=None, engine="python", dtype="str", keep_default_na=False)
    except (OSError, ValueError) as error:
        problems.append(
            f"{settings.labels}: cannot be read as a table ({error}){taken_from(settings.labels)}; give a .tsv or .csv"
        )
        return {}
    missing = [name for name in ("index", "name") if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        problems.append(
            f"{settings.labels}: has no column {' and no column '.join(missing)}; found {found}; expected "
            "`index` (the number in the image) and `name`"
        )
        return {}
    names: dict[int, str] = {}
    for row, (number, name) in enumerate(zip(table["index"], table["name"], strict=True), start=2):
        if not number.strip().isdecimal():
            problems.append(f"{settings.labels}, row {row}: the index {number!r} is not a whole number from 0 on")
        elif int(number) in names:
            problems.append(f"{settings.labels}, row {row}: the index {number} was given to {names[int(number)]!r}")
        else:
            names[int(number)] = name
    return names


def _read_image(settings: settings_of.Atlas, problems: list[str]) -> nibabel.Nifti1Image | None:
    try:
        image = nibabel.Nifti1Image.from_filename(settings.image)
        values = np.asanyarray(image.dataobj)
    except (OSError, ImageFileError, EOFError) as error:
        problems.append(f"{settings.image}: cannot be read as NIfTI ({error}){taken_from(settings.image)}")
        return None
    if values.ndim != 3:
        problems.append(f"{settings.image}: has {values.ndim} axes; expected 3, with one number a voxel")
    elif not np.array_equal(values, np.round(values)) or values.min() < 0:
        problems.append(f"{settings.image}: has values that are not whole numbers from 0 on, so it is no atlas")
    else:
        return image
    return None


def load_atlas(settings: settings_of.Atlas, brain: NDArray[np.bool_], affine: NDArray[np.float64]) -> Atlas:
    """Brings an atlas to a grid, each voxel taking the number of the nearest, and cuts it to the brain.

    Args:
        settings: where it is.
        brain: whether a voxel can be mapped, [X, Y, Z].
        affine: of the grid, to mm of MNI space.

    Raises:
        InputError: as :func:`read_atlas`, or if the atlas lies elsewhere.
    """
    image, names = read_atlas(settings)
    moved = resample_img(image, affine, brain.shape, interpolation="nearest", copy_header=True, force_resample=True)
    regions = np.round(moved.get_fdata()).astype(np.int32)
    inside = (regions != 0) & brain
    if inside.sum() < _LEAST_OVERLAP * brain.sum():
        raise InputError(
            f"{settings.image}: covers {100 * inside.sum() / brain.sum():.1f} % of the brain of the volumes; expected "
            f"an atlas in their space (MNI) that covers at least {100 * _LEAST_OVERLAP:.0f} %"
        )
    return Atlas(regions, names).within(brain)


def cubes(side_mm: float, brain: NDArray[np.bool_], affine: NDArray[np.float64]) -> Atlas:
    """Cubes that know no anatomy, cut to the brain; none of them lies on both sides of the midline.

    Args:
        side_mm: of a cube.
        brain: whether a voxel can be mapped, [X, Y, Z].
        affine: of the grid, diagonal, to mm of MNI space.
    """
    places = [np.floor((affine[k, 3] + affine[k, k] * np.arange(n)) / side_mm) for k, n in enumerate(brain.shape)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 3)
    corners, number = np.unique(grid, axis=0, return_inverse=True)
    centres = (corners + 0.5) * side_mm
    names = {k + 1: "cube at {:g}, {:g}, {:g}".format(*centre) for k, centre in enumerate(centres)}
    return Atlas((number.reshape(brain.shape) + 1).astype(np.int32), names).within(brain)


def region_table(values: NDArray[np.floating], atlas: Atlas, affine: NDArray[np.float64]) -> pd.DataFrame:
    """Values of a map in each region.

    Args:
        values: the map, [X, Y, Z].
        atlas: on the same grid.
        affine: of the grid, to mm of MNI space.

    Returns:
        ``region voxels mean peak x y z mass_percent``, strongest mass first: the mean, the value of largest strength
        with its place in mm, and the region's share of the sum of strengths over all regions.
    """
    strength = np.where(atlas.regions > 0, np.abs(values), 0).astype(np.float64)
    total = strength.sum()
    rows = []
    for number, name in atlas.names.items():
        inside = atlas.regions == number
        voxel = np.unravel_index(np.where(inside, np.abs(values), -1).argmax(), values.shape)
        x, y, z = affine[:3, :3] @ voxel + affine[:3, 3]
        mass = 100 * strength[inside].sum() / total if total else np.nan
        row = {"region": name, "voxels": int(inside.sum()), "mean": values[inside].mean(), "peak": values[voxel]}
        rows.append(row | {"x": x, "y": y, "z": z, "mass_percent": mass})
    columns = ["region", "voxels", "mean", "peak", "x", "y", "z", "mass_percent"]
    return pd.DataFrame(rows, columns=columns).sort_values("mass_percent", ascending=False, kind="stable")
