"""One volume's file: its header and its voxels, read with every check, and brought to the grid.

A volume is a modulated grey-matter map (CAT12's ``mwp1``), as NIfTI in any orientation or as an OpenBHB-style ``.npy``
array.
"""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from isal import igzip, isal_zlib
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from sepclr_neuro.config import volumes as settings_of
from sepclr_neuro.core.errors import InputError, taken_from
from sepclr_neuro.data.grid import Affine, Shape, bring_to_grid, check_inside, describe, final_affine
from sepclr_neuro.data.patterns import broken_link, link_advice

__all__ = ["canonical_header", "load_volume", "read_checked"]

# CAT12 stores x from right to left, as SPM does. An array without an affine is taken to be as CAT12 wrote it.
_CAT12_AFFINES: dict[Shape, Affine] = {
    (121, 145, 121): nibabel.affines.from_matvec(np.diag([-1.5, 1.5, 1.5]), [90.0, -126.0, -72.0]),
    (113, 137, 113): nibabel.affines.from_matvec(np.diag([-1.5, 1.5, 1.5]), [84.0, -120.0, -72.0]),
}

_MOST_VOXELS = 512**3
# isal's stubs call the class an exception itself.
_DAMAGED: tuple[type[Exception], ...] = (EOFError, isal_zlib.IsalError, gzip.BadGzipFile)  # type: ignore[assignment]
_FURTHEST_VOXEL = 2**26  # byte at which voxels begin at the latest: notes of programs come between header and voxels

_SMALL_NEGATIVE = -1e-3
_LEAST_ERROR = 30  # nibabel's scale: 10 for a wrong bitpix, 30 for an unknown sform code, 40 for an unknown data type


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
    canonical_header(path, settings)
    data, affine = read_checked(path, settings)
    try:
        return bring_to_grid(data, affine, settings, tiv), final_affine(affine, settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


# --- header ----------------------------------------------------------------------------------------------------


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
        raise InputError(
            f"{path}: there is no such file{taken_from(path)}; correct the path in the tables or the pattern"
        ) from error
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
            f"{path}: this is DataLad's pointer to a volume that is not on this machine; `datalad get {path}`"
        )
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: this is Git LFS's pointer to a volume that is not on this machine; `git lfs pull`")
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
            f"{path}: neither sform nor qform is set, so left and right are unknown; write the affine with the "
            "tool that made the volume"
        )
    affine = np.asarray(sform if sform_code else qform, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise InputError(f"{path}: the affine is singular or not finite; write it again")
    if sform_code and qform_code and np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise InputError(f"{path}: sform and qform disagree about left and right; correct the one that is wrong")
    sizes = nibabel.affines.voxel_sizes(affine)
    if sizes.min() < 0.2 or sizes.max() > 20:
        raise InputError(f"{path}: the affine has {describe(affine)}; expected sizes in mm between 0.2 and 20")
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


def canonical_header(path: Path, settings: settings_of.Volumes) -> tuple[Shape, Affine]:
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


# --- voxels ----------------------------------------------------------------------------------------------------


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


def read_checked(path: Path, settings: settings_of.Volumes) -> tuple[NDArray[np.float32], Affine]:
    data, affine = _read(path, settings)
    check_inside(path, data, affine, settings)
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
