"""Shared by all maps of a run: title, files, and the truth that they are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, write_json
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.effects import DISEASE
from sepclr_neuro.data.images import as_image
from sepclr_neuro.maps.about import About, with_header
from sepclr_neuro.maps.mosaics import mosaic

__all__ = [
    "SALIENT_NORM",
    "beside",
    "map_files",
    "picture_heading",
    "save_image",
    "save_map",
    "true_map",
    "true_region",
    "write_map",
]

SALIENT_NORM = "salient-norm"
"""Stands in the place of a target where the squared distance of the salient head from s' is mapped."""

# The ground truth that each target is compared with: a file of ``Results.truth``.
TRUTHS = {
    "diagnosis": "disease_mask",
    SALIENT_NORM: "disease_mask",
    "sans": "disease_negative",
    "saps": "disease_positive",
}


def picture_heading(config: Config, *parts: str) -> str:
    """The title of a map's picture, which says first whose data these are. A target is called as the cohort's column
    is, not by its label in tables, so that another label makes no map anew."""
    source = [] if config.cohort.source == "files" else [config.cohort.source.upper()]
    return " · ".join([*source, *(part.replace(SALIENT_NORM, "Distance from s'") for part in parts)])


def save_image(path: Path, values: NDArray[np.floating], affine: NDArray[np.float64]) -> None:
    """Writes a map [X, Y, Z] as float32 NIfTI in MNI space."""
    with atomic_path(path) as temporary:
        nibabel.save(as_image(values, affine), temporary)


def save_map(
    path: Path, values: NDArray[np.floating], affine: NDArray[np.float64], about: About, config: Config
) -> None:
    """Writes a map of a run as NIfTI, with what it is in its header and in a JSON file beside it."""
    with atomic_path(path) as temporary:
        nibabel.save(with_header(as_image(values, affine), about, config), temporary)
    write_json(beside(path, ".json"), about.to_json(config))


def write_map(
    path: Path,
    values: NDArray[np.floating],
    affine: NDArray[np.float64],
    title: str,
    subtitle: str,
    about: About,
    config: Config,
) -> None:
    """Writes a map as :func:`save_map` does, with its picture as PNG and SVG beside it."""
    save_map(path, values, affine, about, config)
    mosaic(as_image(values, affine), beside(path, ".png"), title, subtitle, about.unit)


def beside(path: Path, suffix: str) -> Path:
    """The file of a map's name that ends in another way.

    >>> beside(Path("vbm/sans.nii.gz"), ".json").as_posix()
    'vbm/sans.json'
    """
    return path.with_name(path.name.removesuffix(".nii.gz") + suffix)


def map_files(results: Results) -> Iterator[Path]:
    """The maps of a run: t-maps, patterns, saliency; none of single participants."""
    for folder in ("vbm", "patterns", "saliency"):
        yield from sorted((results.root / folder).rglob("*.nii.gz"))


def true_region(config: Config, truth: Path, target: str, cache: VolumeCache) -> NDArray[np.bool_] | None:
    """Whether a voxel is truly affected, [X, Y, Z], by the maps in a folder; None where that is not known.

    Raises:
        InputError: if ground truth and volumes lie on different grids.
    """
    path = truth / f"{TRUTHS.get(target)}.nii.gz"
    # A real cohort has no truth, whatever an earlier run of another cohort left in the folder.
    if config.cohort.source == "files" or not path.is_file():
        return None
    image = nibabel.Nifti1Image.from_filename(path)
    if image.shape != cache.shape or not np.allclose(image.affine, cache.affine, atol=1e-3):
        raise InputError(
            f"{path}: lies on another grid ({image.shape}) than the volumes ({cache.shape}); delete the folder "
            f"{truth.parent} and run the workflow again"
        )
    region: NDArray[np.bool_] = np.asarray(image.dataobj) != 0
    return region


def true_map(config: Config, truth: Path, cache: VolumeCache) -> NDArray[np.float64] | None:
    """Effect of a disease of severity 1 on log grey matter, [X, Y, Z]; None where that is not known.

    Raises:
        InputError: if ground truth and volumes lie on different grids.
    """
    if true_region(config, truth, "diagnosis", cache) is None:
        return None
    images = [nibabel.Nifti1Image.from_filename(truth / f"{name}.nii.gz") for name in DISEASE]
    change: NDArray[np.float64] = np.sum([image.get_fdata() for image in images], axis=0)
    return change
