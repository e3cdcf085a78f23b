"""Grey-matter volumes: checked, brought to one grid, kept in one memory-mapped array.

A volume is a modulated grey-matter map (CAT12's ``mwp1``), as NIfTI in any orientation or as an OpenBHB-style ``.npy``
array. :func:`load_volume` reads one; :func:`write_volumes` reads a cohort into the cache that every later stage reads
through :class:`VolumeCache`.
"""

from __future__ import annotations

import gc
import gzip
import io
import os
import shutil
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import nibabel
import numpy as np
import pandas as pd
from isal import igzip, isal_zlib
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter
from tqdm import tqdm

from sepclr_neuro.config import volumes as settings_of
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import Alike, InputError, shape_of
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import say
from sepclr_neuro.core.storage import (
    atomic_path,
    exclusive,
    fingerprint,
    read_json,
    read_tsv,
    sha256,
    write_json,
    write_tsv,
)
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.patterns import broken_link, link_advice

# Imported where it is needed: several stages use this module and no torch, which takes longer than they do.
if TYPE_CHECKING:
    import torch

__all__ = [
    "BRAIN_BOX_MM",
    "VolumeCache",
    "as_image",
    "check_volumes",
    "faulty_volumes",
    "grid_affine",
    "in_parallel",
    "load_volume",
    "quick_images",
    "voxels_sha256",
    "write_volumes",
]

Affine = NDArray[np.float64]
Shape = tuple[int, ...]

# The middle of the box of the MNI152 brain, on the 1.5 mm and the 3 mm lattice of CAT12's templates.
_BRAIN_CENTRE_MM = np.array([0.0, -16.5, 6.0])
BRAIN_BOX_MM = (144, 181, 156)  # of the MNI152 template, about that middle

# CAT12 stores x from right to left, as SPM does. An array without an affine is taken to be as CAT12 wrote it.
_CAT12_AFFINES: dict[Shape, Affine] = {
    (121, 145, 121): nibabel.affines.from_matvec(np.diag([-1.5, 1.5, 1.5]), [90.0, -126.0, -72.0]),
    (113, 137, 113): nibabel.affines.from_matvec(np.diag([-1.5, 1.5, 1.5]), [84.0, -120.0, -72.0]),
}

# To be raised whenever a volume would become other voxels than before: cached rows are then read afresh.
_PREPROCESSING_VERSION = 1

_MOST_VOXELS = 512**3
# isal's stubs call the class an exception itself.
_DAMAGED: tuple[type[Exception], ...] = (EOFError, isal_zlib.IsalError, gzip.BadGzipFile)  # type: ignore[assignment]
_FURTHEST_VOXEL = 2**26  # byte at which voxels begin at the latest: notes of programs come between header and voxels
_MOST_OUTSIDE = 0.01
# Grey matter thins out towards the box of the brain. A grid that holds this share of one side cuts off 5, 3 or 1.4 %
# of the MNI152 template's (x, y, z): more than the share above.
_LEAST_OF_BOX = 0.85
_MOST_GRIDS = 10  # of programs that normalise, each has a few at most
_SMALL_NEGATIVE = -1e-3
_LEAST_ERROR = 30  # nibabel's scale: 10 for a wrong bitpix, 30 for an unknown sform code, 40 for an unknown data type
_MEAN_TIV_ML = 1500.0


# --- grids -------------------------------------------------------------------------------------------------------


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


def _final_affine(affine: Affine, settings: settings_of.Volumes) -> Affine:
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


def _same_grid(one: Affine, other: Affine, shape: Shape) -> bool:
    corners = np.array([[0, 0, 0], np.asarray(shape) - 1])
    distances = nibabel.affines.apply_affine(one, corners) - nibabel.affines.apply_affine(other, corners)
    return bool(np.abs(distances).max() < 0.1)


def _describe(affine: Affine) -> str:
    sizes = " x ".join(f"{size:.4g}" for size in nibabel.affines.voxel_sizes(affine))
    origin = ", ".join(f"{value:.4g}" for value in affine[:3, 3])
    return f"voxels of {sizes} mm from ({origin}) mm"


# --- one volume: header ------------------------------------------------------------------------------------------


def _read_header(path: Path) -> tuple[Shape, Affine, Any]:
    """Shape (X, Y, Z) as stored, affine, and the NIfTI image class (None for ``.npy``), after every check of them.

    Raises:
        InputError: one message, the first thing that is wrong.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if not start:
            raise InputError(f"{path}: the file is empty; copy or make it again")
        if path.name.endswith(".npy"):
            return *_read_array_header(path), None
        if not path.name.endswith((".nii", ".nii.gz")):
            raise InputError(f"{path}: a volume is a .nii, .nii.gz or .npy file")
        _check_start(path, start)
        with _opened(path) as stream:
            raw = stream.read(540)
    except FileNotFoundError as error:
        link = broken_link(path)
        if link is not None:
            raise InputError(f"{path}: {link_advice(link)}") from error
        raise InputError(f"{path}: there is no such file; correct the path in the tables or the pattern") from error
    except _DAMAGED as error:
        raise InputError(f"{path}: the gzip stream is damaged ({error}); copy the file again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error

    image_class = _nifti_class(path, raw)
    try:
        header = image_class.header_class.from_fileobj(io.BytesIO(raw), check=False)
        # From this level on nibabel would repair a header in its own way, and read other voxels or another place.
        header.check_fix(error_level=_LEAST_ERROR)
        stored = tuple(int(size) for size in header.get_data_shape())
        dtype = header.get_data_dtype()
        offset = int(header.get_data_offset())
        header.get_slope_inter()
    except (
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
        ValueError,
        OverflowError,
    ) as error:
        raise InputError(f"{path}: the NIfTI header is not valid ({error})") from error
    if offset > _FURTHEST_VOXEL:
        raise InputError(f"{path}: the header says that voxels begin at byte {offset}; copy or make the file again")
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: voxels are of type {dtype}; expected one real number a voxel")
    shape = stored[:3]
    if len(stored) < 3 or any(size != 1 for size in stored[3:]):
        raise InputError(f"{path}: the image is {' x '.join(map(str, stored))}; expected one 3D volume")
    if min(shape) < 1 or np.prod(shape, dtype=float) > _MOST_VOXELS:
        raise InputError(f"{path}: the header claims {' x '.join(map(str, shape))} voxels, which no brain volume has")
    return shape, _header_affine(path, header), image_class


def _check_start(path: Path, start: bytes) -> None:
    """Refuses files that are not what their name says."""
    zipped = start.startswith(b"\x1f\x8b")
    if b"/annex/objects/" in start:
        raise InputError(
            f"{path}: this is DataLad's note of a volume that is not on this machine; `datalad get {path}`"
        )
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: this is Git LFS's note of a volume that is not on this machine; `git lfs pull`")
    if start.lstrip().startswith(b"<"):
        raise InputError(f"{path}: this is a web page, not a volume; the download failed, repeat it")
    if path.name.endswith(".nii") and zipped:
        raise InputError(f"{path}: the file is compressed; rename it to {path.name}.gz")
    if path.name.endswith(".gz") and not zipped:
        if struct.unpack("<i", start[:4].ljust(4, b"\0"))[0] in (348, 540):
            raise InputError(f"{path}: the file is not compressed; rename it to {path.stem} or gzip it")
        raise InputError(f"{path}: the file is not gzip, and not a NIfTI either; copy or make it again")


def _opened(path: Path) -> igzip.IGzipFile | io.BufferedReader:
    return igzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


def _nifti_class(path: Path, raw: bytes) -> Any:
    if len(raw) < 4:
        raise InputError(f"{path}: the file ends within its header; copy it again")
    sizes = {struct.unpack(order + "i", raw[:4])[0] for order in "<>"}
    if 348 in sizes and raw[344:347] == b"n+1":
        return nibabel.Nifti1Image
    if 540 in sizes and raw[4:7] == b"n+2" and len(raw) == 540:
        return nibabel.Nifti2Image
    raise InputError(f"{path}: this is not a single-file NIfTI-1 or NIfTI-2 image; convert it to .nii.gz")


def _header_affine(path: Path, header: Any) -> Affine:
    """The sform, or the qform where there is no sform, as the standard says."""
    try:
        sform, sform_code = header.get_sform(coded=True)
        qform, qform_code = header.get_qform(coded=True)
    except (nibabel.spatialimages.HeaderDataError, ValueError) as error:
        raise InputError(f"{path}: the qform is not valid ({error}); write the affine again") from error
    if not sform_code and not qform_code:
        raise InputError(
            f"{path}: neither sform nor qform is set, so nobody knows left from right; write the affine with the "
            "tool that made the volume"
        )
    affine = np.asarray(sform if sform_code else qform, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise InputError(f"{path}: the affine is singular or not finite; write it again")
    if sform_code and qform_code and np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise InputError(f"{path}: sform and qform disagree about left and right; correct the one that is wrong")
    sizes = nibabel.affines.voxel_sizes(affine)
    if sizes.min() < 0.2 or sizes.max() > 20:
        raise InputError(f"{path}: the affine has {_describe(affine)}; expected sizes in mm between 0.2 and 20")
    return affine


def _read_array_header(path: Path) -> tuple[Shape, Affine]:
    """Shape as stored without axes of length 1, and the CAT12 affine that goes with it."""
    array = _open_array(path)
    shape = tuple(size for size in array.shape if size != 1)
    if shape not in _CAT12_AFFINES:
        known = " and ".join(" x ".join(map(str, grid)) for grid in _CAT12_AFFINES)
        raise InputError(
            f"{path}: the array is {' x '.join(map(str, array.shape))}. A .npy file has no affine, so only CAT12's "
            f"1.5 mm grids ({known}) are understood; give other volumes as NIfTI"
        )
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: voxels are of type {array.dtype}; expected one real number a voxel")
    return shape, _CAT12_AFFINES[shape]


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: this is not a whole .npy array of numbers ({error}); copy it again") from error


def _canonical_header(path: Path, settings: settings_of.Volumes) -> tuple[Shape, Affine]:
    """Shape and affine after reorientation to RAS, from the header alone."""
    shape, affine, _ = _read_header(path)
    orientation = io_orientation(affine)
    affine = affine @ inv_ornt_aff(orientation, shape)
    turned = np.abs(affine[:3, :3] - np.diag(np.diag(affine[:3, :3]))).max() > 1e-3
    if turned and settings.resample_mm is None:
        raise InputError(
            f"{path}: the volume is rotated against the MNI axes; set volumes.resample_mm, which turns it back"
        )
    order = np.argsort(orientation[:, 0])
    return tuple(shape[int(axis)] for axis in order), affine


# --- one volume: voxels ------------------------------------------------------------------------------------------


def _read(path: Path, settings: settings_of.Volumes) -> tuple[NDArray[np.float32], Affine]:
    """The voxels in canonical RAS order, every value checked, and their affine."""
    shape, affine, image_class = _read_header(path)
    if image_class is None:
        stored = np.asarray(_open_array(path), dtype=np.float32).reshape(shape)
    else:
        stored = _read_nifti(path, image_class).reshape(shape)
    _check_values(path, stored, settings)
    orientation = io_orientation(affine)
    return _not_negative(apply_orientation(stored, orientation)), affine @ inv_ornt_aff(orientation, shape)


def _not_negative(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """A contiguous copy, with 0 in place of negative voxels."""
    if data.strides[2] % 4096:
        return np.maximum(data, 0, order="C")
    # Voxels this far apart, as in NIfTI those of 128³ are along z, compete for the same few places in the processor's
    # cache. Plane by plane they take about half the time.
    copy = np.empty(data.shape, np.float32)
    for y in range(data.shape[1]):
        copy[:, y] = np.maximum(data[:, y], 0)
    return copy


def _read_checked(path: Path, settings: settings_of.Volumes) -> tuple[NDArray[np.float32], Affine]:
    data, affine = _read(path, settings)
    _check_inside(path, data, affine, settings)
    return data, affine


def _read_nifti(path: Path, image_class: Any) -> NDArray[np.float32]:
    """Reads to the end of the file: nibabel stops at the last voxel, before gzip's checksum."""
    try:
        with _opened(path) as stream:
            header = image_class.header_class.from_fileobj(io.BytesIO(stream.read(540)))
            stream.seek(0)
            count = int(np.prod(header.get_data_shape(), dtype=float))
            expected = int(header.get_data_offset()) + count * header.get_data_dtype().itemsize
            raw = stream.read(expected)
            while stream.read(2**20):
                pass
    except _DAMAGED as error:
        raise InputError(f"{path}: the gzip stream is damaged ({error}); copy the file again") from error
    if len(raw) < expected:
        raise InputError(f"{path}: the file is truncated: {len(raw)} of {expected} bytes; copy it again")
    if header.get_data_dtype() == np.float32 and header.get_slope_inter() in ((None, None), (1, 0)):
        # As CAT12 writes them: nibabel would copy the voxels twice.
        return np.ndarray(header.get_data_shape(), np.float32, raw, header.get_data_offset(), order="F")
    return image_class.from_bytes(raw).get_fdata(dtype=np.float32, caching="unchanged")


def _check_values(path: Path, data: NDArray[np.float32], settings: settings_of.Volumes) -> None:
    lowest, highest = float(data.min()), float(data.max())  # NaN if any voxel is
    if not np.isfinite([lowest, highest]).all():
        infinite = data.size - np.isfinite(data).sum()
        raise InputError(f"{path}: {infinite} voxels are NaN or infinite; expected 0 where there is no grey matter")
    if lowest == highest:
        what = "all voxels are 0" if highest == 0 else f"all voxels are {highest:g}"
        raise InputError(f"{path}: {what}; there is no brain in it, make it again")
    if lowest < _SMALL_NEGATIVE:
        raise InputError(f"{path}: the lowest voxel is {lowest:g}; grey matter is not negative. Is it another map?")
    if highest > settings.maximum:
        raise InputError(
            f"{path}: the highest voxel is {highest:g}, above volumes.maximum ({settings.maximum:g}); grey matter is "
            "about 0 to 1 a voxel. Rescale a map in another unit (0-255, say), or raise volumes.maximum"
        )


def _check_inside(path: Path, data: NDArray[np.float32], affine: Affine, settings: settings_of.Volumes) -> None:
    """Refuses to cut away grey matter."""
    final = _final_affine(affine, settings)
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
            f"{path}: {share:.0%} of the grey matter is outside the grid of {sides} voxels ({_describe(final)}). "
            f"{_larger_grid(settings)}, or, if the volume is not in MNI space, normalise it"
        )


def _larger_grid(settings: settings_of.Volumes) -> str:
    return f"Set volumes.resample_mm ({192 / min(settings.shape):g} fits the brain), enlarge volumes.shape"


def _too_small(stored: Shape, affine: Affine, settings: settings_of.Volumes) -> list[str]:
    """Whether the grid is clearly smaller than the part of the brain's box that a volume can hold, by its header."""
    held = nibabel.affines.voxel_sizes(affine) * stored
    grid = nibabel.affines.voxel_sizes(_final_affine(affine, settings)) * settings.shape
    if (grid >= _LEAST_OF_BOX * np.minimum(held, BRAIN_BOX_MM)).all():
        return []
    size, extent, box = (" x ".join(f"{side:g}" for side in sides) for sides in (settings.shape, grid, BRAIN_BOX_MM))
    return [
        f"volumes.shape: {size} voxels hold {extent} mm, but the brain is {box} mm. {_larger_grid(settings)}, or both"
    ]


def _bring_to_grid(
    data: NDArray[np.float32], affine: Affine, settings: settings_of.Volumes, tiv: float | None
) -> NDArray[np.float32]:
    """Smoothing, scaling by TIV, then resampling or crop and pad."""
    if settings.smoothing_mm:
        sigma = settings.smoothing_mm / np.sqrt(8 * np.log(2)) / nibabel.affines.voxel_sizes(affine)
        data = gaussian_filter(data, sigma, mode="constant")
    if settings.tiv_column is not None:
        data = data * np.float32(_MEAN_TIV_ML / _checked_tiv(tiv))
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


def _checked_tiv(tiv: float | None) -> float:
    if tiv is None or not 500 <= tiv <= 3000:
        found = "missing or not a number" if tiv is None or np.isnan(tiv) else f"{tiv:g}"
        raise InputError(f"the total intracranial volume is {found}; expected ml, between 500 and 3000")
    return float(tiv)


def load_volume(
    path: str | Path, settings: settings_of.Volumes, tiv: float | None = None
) -> tuple[NDArray[np.float32], Affine]:
    """Reads one volume, checks it and brings it to the grid that networks see.

    In this order: reorientation to RAS (a permutation of voxels, exact); Gaussian smoothing; scaling by 1500/TIV;
    trilinear resampling to :func:`grid_affine` if ``resample_mm`` is set, else crop and pad. Crop and pad keep every
    voxel's MNI position: the voxel nearest to the middle of the MNI brain (0, -16.5, 6 mm), wherever it is in the
    stored array, becomes voxel ``size // 2``. Centring on the array instead would shift CAT12's two grids, which
    reach up to 96 and 108 mm, against each other by 6 mm. 128³ voxels of 1.5 mm and 64³ of 3 mm hold the whole brain;
    more than 1 % of the grey matter cut away is an error. Trilinear resampling to larger voxels does not average
    over them; smoothing with about their size does.

    A ``.npy`` array carries no affine: its voxels are taken to be in the order in which CAT12 writes them (x from
    right to left), which nothing in the file can confirm. A flipped bit in an *uncompressed* file cannot be seen
    either; gzip's checksum is verified.

    Args:
        path: ``.nii``, ``.nii.gz`` (NIfTI-1 or -2, a trailing axis of 1 is fine) or ``.npy`` on a CAT12 1.5 mm grid.
        settings: the section ``volumes``.
        tiv: total intracranial volume in ml; needed if ``settings.tiv_column`` is set.

    Returns:
        Voxels, float32 [X, Y, Z], not negative, and their affine, float64 (4, 4), voxel indices to MNI mm.

    Raises:
        InputError: if the file is not a whole, plausible grey-matter map.
    """
    path = Path(path)
    _canonical_header(path, settings)
    data, affine = _read_checked(path, settings)
    try:
        return _bring_to_grid(data, affine, settings, tiv), _final_affine(affine, settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def as_image(array: NDArray[Any], affine: Affine) -> nibabel.Nifti1Image:
    """A float32 NIfTI image of an array [X, Y, Z] whose affine leads to MNI mm (qform and sform code 4)."""
    image = nibabel.Nifti1Image(np.asarray(array, dtype=np.float32), affine)
    image.set_qform(affine, code="mni")
    image.set_sform(affine, code="mni")
    image.header.set_xyzt_units("mm")
    return image


@contextmanager
def quick_images() -> Iterator[None]:
    """Lets nilearn work at once: it collects garbage at each access to an image, which looks at all that exists.

    What exists when it starts is left out of that. Not to be nested, since the inner end would end the outer one too.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


# --- a cohort's volumes ------------------------------------------------------------------------------------------


def _alike(scan_id: str, path: Path, fault: str) -> Alike:
    """What is wrong with a scan's volume; what reads the same but for names and numbers is of one kind."""
    target = os.readlink(path) if path.is_symlink() else ""
    return Alike(fault, scan_id, shape_of(fault, scan_id, str(path), path.name, path.stem, target))


def check_volumes(cohort: pd.DataFrame, settings: settings_of.Volumes) -> list[str]:
    """Every problem that shows without reading voxels: files, headers, grids, TIV.

    Args:
        cohort: rows of ``cohort.tsv``.
        settings: the section ``volumes``.
    """
    by_scan, of_all = _header_faults(cohort, settings)
    return [*(fault.after(f"{scan_id}: ") for scan_id, fault in by_scan.items()), *of_all]


def faulty_volumes(cohort: pd.DataFrame, settings: settings_of.Volumes) -> tuple[dict[str, Alike], list[str]]:
    """As :func:`check_volumes`, with every voxel read: what is wrong with a scan's volume, and with all together.

    Returns:
        by ``scan_id`` the first thing that is wrong with its volume; problems of grids and settings.
    """
    faults, of_all = _header_faults(cohort, settings)
    scans = [(scan_id, path) for scan_id, path, _ in _scans(cohort, settings) if path and scan_id not in faults]
    if of_all:
        return faults, of_all

    def look(scan: tuple[str, Path]) -> tuple[str, str]:
        try:
            return _quick_digest(_read_checked(scan[1], settings)[0]), ""
        except InputError as error:
            return "", str(error)

    looked = {scan_id: found for (scan_id, _), found in zip(scans, in_parallel(look, scans, "volumes"), strict=True)}
    faults |= {scan_id: _alike(scan_id, path, looked[scan_id][1]) for scan_id, path in scans if looked[scan_id][1]}
    digests = {scan_id: digest for scan_id, (digest, _) in looked.items() if digest}
    for one, other, sentence in _twins(list(digests), list(digests.values()), "their voxels are identical"):
        faults |= {scan_id: Alike(sentence, scan_id, "twins") for scan_id in (one, other)}  # nobody knows whose it is
    return faults, of_all


def _header_faults(cohort: pd.DataFrame, settings: settings_of.Volumes) -> tuple[dict[str, Alike], list[str]]:
    column = settings.tiv_column
    if column is not None and column not in cohort:
        return {}, [f"volumes.tiv_column: the cohort has no column {column!r}; add it under cohort.columns.others"]
    faults: dict[str, Alike] = {}
    problems: list[str] = []
    grids: list[tuple[str, Affine, list[str]]] = []
    for scan_id, path, tiv in _scans(cohort, settings):
        if path is None:
            faults[scan_id] = Alike("has no volume; set cohort.studies[].volumes or cohort.columns.volume", scan_id)
            continue
        try:
            if column is not None:
                _checked_tiv(tiv)
            stored, affine = _canonical_header(path, settings)
        except InputError as error:
            faults[scan_id] = _alike(scan_id, path, str(error))
            continue
        final = _final_affine(affine, settings)
        for _, known, members in grids:
            if _same_grid(known, final, settings.shape):
                members.append(str(path))
                break
        else:
            grids.append((str(path), final, [str(path)]))
            problems += [
                Alike(f"{path}: {problem}", scan_id, "a grid too small")
                for problem in _too_small(stored, affine, settings)
            ]
    cause = (
        "With so many grids, are these volumes in each person's own space? Normalise them to MNI space then"
        if len(grids) > _MOST_GRIDS
        else ""
    )
    for path_text, final, members in grids[1:]:
        sentence = (
            f"{path_text} has {_describe(final)}, but {grids[0][0]} has {_describe(grids[0][1])}; volumes on another "
            f"grid than the latter: {len(members)}. Set volumes.resample_mm, which brings all to one grid"
        )
        problems.append(Alike(sentence, Path(path_text).name, "another grid", cause))
    return faults, problems


def _scans(cohort: pd.DataFrame, settings: settings_of.Volumes) -> Iterator[tuple[str, Path | None, float | None]]:
    """Scan id, path of the volume and TIV in ml, row by row."""
    for row in cohort.to_dict("records"):
        path = None if pd.isna(row["volume"]) else Path(str(row["volume"]))
        tiv = None
        if settings.tiv_column is not None:
            value = row[settings.tiv_column]
            try:
                tiv = float(value)
            except ValueError:
                tiv = float("nan")
        yield str(row["scan_id"]), path, tiv


_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


def in_parallel(function: Callable[[_Item], _Value], items: Sequence[_Item], label: str) -> list[_Value]:
    """``function`` of each item in threads (decompression and filters release Python's lock), with progress."""
    cores = os.environ.get("OMP_NUM_THREADS", "")
    if cores.isdigit() and int(cores) > 0:
        threads = int(cores)
    else:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor = ThreadPoolExecutor(threads)
    try:
        return list(_progress(executor.map(function, items), len(items), label))
    finally:
        executor.shutdown(cancel_futures=True)


def _progress(values: Iterable[_Value], total: int, label: str) -> Iterator[_Value]:
    """A bar in a terminal, a line every tenth elsewhere (a log file)."""
    if sys.stderr.isatty():
        yield from tqdm(values, desc=label, total=total, unit="volume")
        return
    for count, value in enumerate(values, start=1):
        yield value
        if count * 10 // total > (count - 1) * 10 // total:
            say(f"{label}: {count} of {total}")


def write_volumes(config: Config, results: Results) -> None:
    """Reads the volumes of ``cohort.tsv`` into ``volumes.npy`` (float16 [N, X, Y, Z]), with its index and its grid.

    float16 keeps 11 significant bits: a voxel is off by at most 5e-4 of its value. A volume whose file and settings
    did not change is copied from the array of an earlier run (``rows.json`` beside it says what each of its rows
    is), unless its checksum says that it was damaged; if none changed, the array is left alone. All files are replaced
    at the end or, on an error, not at all.

    Raises:
        InputError: with every problem of every volume, two scans with the same file or the same voxels, too little
            space on the disk, or if another process is writing them.
    """
    with exclusive(results.volumes.with_suffix(".lock")):
        _write_volumes(config, results)


def _write_volumes(config: Config, results: Results) -> None:
    cohort, settings = load_cohort(results), config.volumes
    problems = check_volumes(cohort, settings)
    if problems:
        raise InputError(problems)
    scans = [(scan_id, path, tiv) for scan_id, path, tiv in _scans(cohort, settings) if path is not None]
    paths = [path for _, path, _ in scans]
    _, affine = _canonical_header(paths[0], settings)

    checksums = in_parallel(sha256, paths, "checksums")
    rules = settings.model_dump(mode="json", exclude={"tiv_column"})
    keys = [
        fingerprint(_PREPROCESSING_VERSION, rules, checksum, tiv)
        for checksum, (_, _, tiv) in zip(checksums, scans, strict=True)
    ]
    scan_ids = [scan_id for scan_id, _, _ in scans]
    _refuse_twins(scan_ids, checksums, "their files are identical")

    state = results.volumes.with_name("rows.json")
    earlier, rows = _earlier(results, state, settings)
    if earlier is None or list(rows) != keys:
        built = _build(results, state, scans, keys, settings, earlier, rows)
    else:
        built = list(rows.values())
    index = pd.DataFrame(
        {
            "scan_id": scan_ids,
            "row": range(len(scans)),
            "sha256": checksums,
            "source": [str(path) for path in paths],
            "voxels_sha256": [row.cached for row in built],
        }
    )
    write_tsv(results.index, index)
    grid = {"shape": list(settings.shape), "affine": _final_affine(affine, settings).tolist()}
    write_json(results.grid, grid | {"settings": fingerprint(_PREPROCESSING_VERSION, settings.model_dump(mode="json"))})
    # Last, so that it never describes another array than the one that is there.
    write_json(
        state, [{"key": key, "digest": row.digest, "cached": row.cached} for key, row in zip(keys, built, strict=True)]
    )


@dataclass(frozen=True)
class _Row:
    """A row of the array: its number, and the digests of the voxels that were read and of those that it holds."""

    number: int
    digest: str
    cached: str


def _earlier(
    results: Results, state: Path, settings: settings_of.Volumes
) -> tuple[NDArray[np.float16] | None, dict[str, _Row]]:
    """The array of an earlier run and, by key, those of its rows that are as they were written; None if unusable."""
    try:
        entries = read_json(state)
        array = np.load(results.volumes, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None, {}
    if array.shape != (len(entries), *settings.shape) or not all({"key", "digest", "cached"} <= {*e} for e in entries):
        return None, {}
    found = in_parallel(lambda row: voxels_sha256(array[row]), range(len(entries)), "volumes of an earlier run")
    return array, {
        entry["key"]: _Row(number, entry["digest"], entry["cached"])
        for number, (entry, cached) in enumerate(zip(entries, found, strict=True))
        if cached == entry["cached"]
    }


def voxels_sha256(row: NDArray[np.float16]) -> str:
    """The checksum of a row of the array, [X, Y, Z]."""
    return hash_of(np.ascontiguousarray(row, dtype="<f2").data).hexdigest()


def _quick_digest(data: NDArray[np.float32]) -> str:
    """Tells apart volumes that were read: 64 bits, which guard against chance alone, in a fifth of SHA-256's time."""
    return f"{isal_zlib.crc32(data):08x}{isal_zlib.adler32(data):08x}"


def _build(
    results: Results,
    state: Path,
    scans: list[tuple[str, Path, float | None]],
    keys: list[str],
    settings: settings_of.Volumes,
    earlier: NDArray[np.float16] | None,
    rows: dict[str, _Row],
) -> list[_Row]:
    """Writes ``volumes.npy``."""
    import torch

    shape = (len(scans), *settings.shape)
    _check_space(results.volumes, int(np.prod(shape)) * 2)
    with atomic_path(results.volumes) as temporary:
        with temporary.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start, lock = file.tell(), threading.Lock()

            def fill(row: int) -> tuple[_Row, list[str]]:
                scan_id, path, tiv = scans[row]
                if earlier is not None and keys[row] in rows:
                    old = rows[keys[row]]
                    digest, values = old.digest, np.asarray(earlier[old.number])
                else:
                    try:
                        data, affine = _read_checked(path, settings)
                    except InputError as error:
                        return _Row(row, "", ""), [_alike(scan_id, path, str(error)).after(f"{scan_id}: ")]
                    digest = _quick_digest(data)
                    # torch converts several times as fast as numpy.
                    on_grid = torch.from_numpy(_bring_to_grid(data, affine, settings, tiv))
                    values = on_grid.half().numpy().astype("<f2", copy=False)
                # Written, not mapped: on a full disk a mapped page ends the program without a word.
                with lock:
                    file.seek(start + row * values.nbytes)
                    file.write(values.data)
                return _Row(row, digest, voxels_sha256(values)), []

            outcome = in_parallel(fill, range(len(scans)), "volumes")
        problems = [problem for _, found in outcome for problem in found]
        if problems:
            raise InputError(problems)
        built = [row for row, _ in outcome]
        _refuse_twins([scan_id for scan_id, _, _ in scans], [row.digest for row in built], "their voxels are identical")
        for stale in (state, results.index, results.grid):
            stale.unlink(missing_ok=True)
    return built


def _twins(scan_ids: Sequence[str], digests: Sequence[str], what: str) -> list[tuple[str, str, str]]:
    """Scans with the same volume: one, the other, and the sentence about them."""
    first: dict[str, str] = {}
    return [
        (first[digest], scan_id, f"{first[digest]} and {scan_id} have the same volume ({what}); remove or replace one")
        for scan_id, digest in zip(scan_ids, digests, strict=True)
        if first.setdefault(digest, scan_id) != scan_id
    ]


def _refuse_twins(scan_ids: Sequence[str], digests: Sequence[str], what: str) -> None:
    problems = [Alike(sentence, other, "twins") for _, other, sentence in _twins(scan_ids, digests, what)]
    if problems:
        raise InputError(problems)


def _check_space(path: Path, needed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed + 2**20:
        raise InputError(
            f"{path.parent}: {needed / 1e9:.3g} GB are needed for the volumes, {free / 1e9:.3g} GB are free; "
            "make room, or set `output` to a larger disk"
        )


class VolumeCache:
    """The volumes that :func:`write_volumes` wrote. Opening it reads no voxel; memory is the system's page cache.

    Attributes:
        array: float16 [N, X, Y, Z], memory-mapped, read only.
        affine: float64 (4, 4), voxel indices to MNI mm, the same for all.
        shape: (X, Y, Z).
        scan_ids: of row 0, 1, ...
        checksums: SHA-256 of the voxels of each row, checked when a row is first read.

    Raises:
        InputError: if the cache is absent, or its files do not belong together.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        advice = "run the stage `volumes` again"
        for path in (results.volumes, results.index, results.grid):
            if not path.is_file():
                raise InputError(f"{path}: is missing; {advice}")
        index, grid = read_tsv(results.index, text=("scan_id", "source", "voxels_sha256")), read_json(results.grid)
        try:
            self.array: NDArray[np.float16] = np.load(results.volumes, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{results.volumes}: is damaged ({error}); {advice}") from error
        self.shape: tuple[int, int, int] = tuple(grid["shape"])
        self.affine: Affine = np.array(grid["affine"], dtype=np.float64)
        self.scan_ids: list[str] = index["scan_id"].tolist()
        if "voxels_sha256" not in index:
            raise InputError(f"{results.index}: has no checksums of voxels; {advice}")
        self.checksums: list[str] = index["voxels_sha256"].tolist()
        self._checked: set[int] = set()
        if self.array.shape != (len(index), *self.shape) or index["row"].tolist() != list(range(len(index))):
            raise InputError(
                f"{results.volumes}: holds {self.array.shape}, but {results.index.name} and {results.grid.name} "
                f"describe {(len(index), *self.shape)}; {advice}"
            )
        self._row = {scan_id: row for row, scan_id in enumerate(self.scan_ids)}

    def __reduce__(self) -> tuple[type[VolumeCache], tuple[Results]]:
        """Worker processes open the files again; pickling a memory map would copy every volume."""
        return VolumeCache, (self._results,)

    def rows(self, scan_ids: Iterable[str]) -> list[int]:
        """Rows of the array, in the order of ``scan_ids``."""
        scan_ids = list(scan_ids)
        missing = [scan_id for scan_id in scan_ids if scan_id not in self._row]
        if missing:
            raise InputError(f"{self._results.index}: has no scan {missing[0]!r}; run the stage `volumes` again")
        return [self._row[scan_id] for scan_id in scan_ids]

    def read(
        self, rows: Sequence[int], dtype: type[np.floating] = np.float32, planes: slice = slice(None)
    ) -> torch.Tensor:
        """Volumes [B, 1, X, Y, Z], or ``planes`` along their first axis, copied from the disk, which holds float16.

        Raises:
            InputError: if a row is not what was written.
        """
        for row in set(rows) - self._checked:
            if voxels_sha256(self.array[row]) != self.checksums[row]:
                raise InputError(
                    f"{self._results.volumes}: the voxels of {self.scan_ids[row]} are not those that were written; run "
                    "the stage `volumes` again, which repairs them"
                )
            self._checked.add(row)
        volumes = np.empty((len(rows), 1, *self.array[0, planes].shape), dtype)
        # One by one, since numpy keeps all other threads waiting while it indexes by a list.
        for volume, row in zip(volumes, rows, strict=True):
            volume[0] = self.array[row, planes]
        import torch

        return torch.from_numpy(volumes)
