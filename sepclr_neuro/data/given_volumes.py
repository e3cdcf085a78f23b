"""Volumes as Python code has them: an array, NIfTI files, images, or the array of a workflow's run."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import pandas as pd
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike, NDArray

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.grid import Affine, describe, same_grid

__all__ = ["Volumes", "are_volumes"]


class Volumes:
    """Volumes of some participants on one grid, of which a part is read at a time.

    Files are read once, into a file without a name in the folder of temporary files (``TMPDIR``): 4 bytes a voxel.
    ``volumes[rows]`` are some participants', without a copy, so that cross-validation reads nothing twice.

    Args:
        source: an array [N, X, Y, Z] or [N, V]; paths of NIfTI files or nibabel images, all on one grid, or an image
            [X, Y, Z, N]; or the :class:`~sepclr_neuro.data.cache.VolumeCache` of a run, in the order of its
            ``scan_ids``.
        mask: of the voxels that count, a path, an image or an array [X, Y, Z]; others read as 0. None: all do.
        covariates: of the same participants, a table or numbers [N, k], which then go wherever these volumes go.

    Attributes:
        affine: (4, 4), voxel indices to mm; None of an array.
        grid: voxels a side; (V,) of a matrix [N, V].

    Raises:
        InputError: if a file cannot be read, has another grid than the first, or a voxel that is no number.

    >>> volumes = Volumes(np.zeros((5, 4, 4, 4)))
    >>> volumes.shape, volumes[[0, 2]].shape
    ((5, 4, 4, 4), (2, 4, 4, 4))
    """

    def __init__(self, source: Any, mask: Any = None, covariates: pd.DataFrame | ArrayLike | None = None) -> None:
        self.affine: Affine | None = None
        if isinstance(source, VolumeCache):
            self._source: Any = source
            self.affine, self.grid, count = source.affine, source.shape, len(source.scan_ids)
        elif _are_images(source):
            self._source, self.affine = _read_all(list(source))
            self.grid, count = self._source.shape[1:], len(self._source)
        else:
            if isinstance(source, SpatialImage):
                self.affine, source = source.affine, np.moveaxis(np.asanyarray(source.dataobj), -1, 0)
            self._source = np.asarray(source)
            self.grid, count = self._source.shape[1:], len(self._source)
        self._rows = np.arange(count)
        self._mask = None if mask is None else _voxels(mask) != 0
        self.covariates = covariates if isinstance(covariates, pd.DataFrame | None) else np.asarray(covariates)
        if self.covariates is not None and len(self.covariates) != count:
            raise InputError(f"covariates: {len(self.covariates)} rows for {count} participants")
        if self._mask is not None and self._mask.shape != self.grid:
            raise InputError(f"mask: has {_sides(self._mask.shape)} voxels, the volumes have {_sides(self.grid)}")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Participants, then voxels a side."""
        return (len(self), *self.grid)

    def __getitem__(self, rows: Any) -> Volumes:
        if isinstance(rows, tuple):  # scikit-learn asks for volumes[rows, ...]
            rows = rows[0]
        kept = np.atleast_1d(np.arange(len(self))[rows])
        chosen = copy.copy(self)
        chosen._rows = self._rows[kept]
        if isinstance(self.covariates, pd.DataFrame):
            chosen.covariates = self.covariates.iloc[kept]
        elif self.covariates is not None:
            chosen.covariates = self.covariates[kept]
        return chosen

    def read(self, rows: Sequence[int], planes: slice = slice(None)) -> NDArray[np.floating]:
        """Some participants' volumes [B, X, Y, Z], or these planes along the first axis."""
        chosen = self._rows[list(rows)]
        if isinstance(self._source, VolumeCache):
            volumes = self._source.read(chosen.tolist(), planes=planes)[:, 0].numpy()
        else:
            volumes = self._source[:, planes][chosen]
        return volumes if self._mask is None else np.where(self._mask[planes], volumes, 0)


def are_volumes(X: Any) -> bool:
    """Whether these are volumes, and no matrix [N, voxels]."""
    return isinstance(X, Volumes | VolumeCache) or _are_images(X) or getattr(X, "ndim", 0) == 4


def _are_images(X: Any) -> bool:
    if isinstance(X, str) or not hasattr(X, "__len__") or not len(X) or getattr(X, "ndim", 1) != 1:
        return False
    return all(isinstance(each, str | PathLike | SpatialImage) for each in X)


def _read_all(images: list[Any]) -> tuple[NDArray[np.float32], Affine]:
    """The voxels of all images, in a memory-mapped file that goes when it is no longer needed, and their affine."""
    first = _opened(images[0])
    grid, affine = _grid_of(first), np.asarray(first.affine, dtype=np.float64)
    with tempfile.TemporaryFile() as file:
        array = np.memmap(file, np.float32, "w+", shape=(len(images), *grid))
    for row, each in enumerate(images):
        image, name = _opened(each), _name(each, row)
        if _grid_of(image) != grid or not same_grid(image.affine, affine, grid):
            raise InputError(
                f"{name}: has {_sides(_grid_of(image))} {describe(image.affine)}, but {_name(images[0], 0)} has "
                f"{_sides(grid)} {describe(affine)}; bring all to one grid (nilearn.image.resample_to_img)"
            )
        array[row] = np.asanyarray(image.dataobj).reshape(grid)
        if not np.isfinite(array[row]).all():
            raise InputError(f"{name}: voxels are NaN or infinite; write 0 where nothing was measured")
    return array, affine


def _opened(image: Any) -> Any:
    if isinstance(image, SpatialImage):
        return image
    try:
        return cast(SpatialImage, nibabel.load(image))
    except (OSError, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"{image}: cannot be read as an image ({error})") from error


def _voxels(mask: Any) -> NDArray[Any]:
    is_image = isinstance(mask, str | Path | SpatialImage)
    return np.asanyarray(_opened(mask).dataobj if is_image else mask)


def _grid_of(image: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in image.shape)
    return shape[:3] if all(size == 1 for size in shape[3:]) else shape


def _name(image: Any, row: int) -> str:
    return str(image) if not isinstance(image, SpatialImage) else image.get_filename() or f"image {row} of X"


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
