"""Formats of volumes, and their faults."""

from __future__ import annotations

import gzip
import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import from_matvec
from numpy.typing import NDArray

from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volume_checks import check_volumes
from sepclr_neuro.data.volume_files import load_volume
from tests.data.small_volumes import SMALL, brain, save_small, small_grid
from tests.data.test_grid import CAT12_GRIDS


@pytest.mark.parametrize("leading", [(), (1, 1)])
def test_an_array_is_read_as_cat12_writes_it(tmp_path: Path, leading: tuple[int, ...]) -> None:
    shape = (121, 145, 121)
    affine = from_matvec(np.diag([-1.5, 1.5, 1.5]), CAT12_GRIDS[shape])
    values = brain(shape, affine)
    np.save(tmp_path / "a.npy", values.reshape(leading + shape).astype(np.float64))
    nibabel.save(as_image(values, affine), tmp_path / "a.nii")
    loaded, loaded_affine = load_volume(tmp_path / "a.npy", Volumes())
    expected, expected_affine = load_volume(tmp_path / "a.nii", Volumes())
    np.testing.assert_array_equal(loaded, expected)
    np.testing.assert_allclose(loaded_affine, expected_affine)


def test_32_bit_floats_are_read_in_either_byte_order_and_scaled(tmp_path: Path) -> None:
    shape = (32, 32, 32)  # a plane is 4096 bytes: copied plane by plane
    values = np.random.default_rng(0).uniform(-5e-4, 1, shape).astype(np.float32)
    affine = grid_affine(shape, 6.0)
    for order, (slope, intercept) in itertools.product("<>", [(1.0, 0.0), (0.5, 0.0), (1.0, 0.25)]):
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(f"{order}f4")
        image = nibabel.Nifti1Image((values - np.float32(intercept)) / np.float32(slope), affine, header)
        image.header.set_slope_inter(slope, intercept)
        image.header.set_sform(affine, code="mni")
        nibabel.save(image, tmp_path / "a.nii.gz")
        stored = nibabel.load(tmp_path / "a.nii.gz")
        assert (stored.header.endianness, stored.dataobj.slope, stored.dataobj.inter) == (order, slope, intercept)
        loaded, loaded_affine = load_volume(tmp_path / "a.nii.gz", SMALL)
        np.testing.assert_allclose(loaded, np.maximum(values, 0), rtol=0, atol=1e-7)
        np.testing.assert_allclose(loaded_affine, affine)


def test_nifti_2_scaled_integers_and_a_trailing_axis_are_read(tmp_path: Path) -> None:
    shape, affine = small_grid()
    values = brain(shape, affine)
    expected, _ = load_volume(save_small(tmp_path / "a.nii"), SMALL)
    nibabel.save(nibabel.Nifti2Image(values[..., None], affine), tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(load_volume(tmp_path / "two.nii.gz", SMALL)[0], expected)
    image = nibabel.Nifti1Image(values, affine)
    image.set_data_dtype(np.uint8)
    nibabel.save(image, tmp_path / "eight.nii.gz")
    np.testing.assert_allclose(load_volume(tmp_path / "eight.nii.gz", SMALL)[0], expected, atol=1 / 255)


def _array(values: NDArray[Any]) -> Callable[[Path], None]:
    return lambda path: np.save(path, values)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_array(np.zeros((128, 128, 128))), "only CAT12's 1.5 mm grids"),
        (_array(np.array([{}], dtype=object)), "not a whole .npy array"),
        (_array(np.zeros((113, 137, 113), dtype=complex)), "one real number a voxel"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"not an array"), "not a whole .npy array"),
    ],
)
def test_faulty_arrays(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / "a.npy")
    with pytest.raises(InputError, match="a.npy: .*" + message):
        load_volume(tmp_path / "a.npy", Volumes())


# --- faults ------------------------------------------------------------------------------------------------------


def _with_header(path: Path, change: Callable[[bytearray], None]) -> None:
    """A whole small volume whose header's bytes were changed."""
    raw = bytearray(gzip.decompress(save_small(path).read_bytes()))
    change(raw)
    path.write_bytes(gzip.compress(raw, compresslevel=1))


def _put(offset: int, form: str, *values: float) -> Callable[[Path], None]:
    return lambda path: _with_header(path, lambda raw: struct.pack_into("<" + form, raw, offset, *values))


def _damage(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(change(save_small(path).read_bytes()))

    return write


def _saved(values: Callable[[NDArray[np.float32]], NDArray[Any]]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        shape, affine = small_grid()
        nibabel.save(nibabel.Nifti1Image(values(brain(shape, affine)), affine), path)

    return write


def _no_codes(raw: bytearray) -> None:
    struct.pack_into("<2h", raw, 252, 0, 0)


def _without_qform(row: tuple[float, ...]) -> Callable[[Path], None]:
    def change(raw: bytearray) -> None:
        struct.pack_into("<h", raw, 252, 0)
        struct.pack_into("<4f", raw, 280, *row)

    return lambda path: _with_header(path, change)


HEADER_FAULTS = {
    "missing": (lambda path: None, "there is no such file"),
    "a folder": (lambda path: path.mkdir(), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "web page": (lambda path: path.write_text("\n<!DOCTYPE html><html>404"), "this is a web page"),
    "a broken link": (lambda path: path.symlink_to("/mnt/gone/a.nii.gz"), "is a link to /mnt/gone/a.nii.gz, where"),
    "a link of DataLad": (lambda path: path.symlink_to("../.git/annex/objects/a"), "`datalad get .*`"),
    "a note of DataLad": (lambda path: path.write_text("/annex/objects/MD5E-s9--0.nii.gz\n"), "`datalad get .*`"),
    "a note of Git LFS": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "`git lfs pull`",
    ),
    "not gzip": (lambda path: path.write_bytes(b"plain text" * 100), "not gzip"),
    "not a NIfTI": (lambda path: path.write_bytes(gzip.compress(b"text" * 500)), "not a single-file NIfTI"),
    "ends in the header": (lambda path: path.write_bytes(gzip.compress(b"\x5c\x01\0\0" * 20)), "not a single-file"),
    "uncompressed": (_damage(gzip.decompress), "not compressed; rename it to sub-1.nii"),
    "header of a pair": (_put(344, "4s", b"ni1\0"), "not a single-file NIfTI"),
    "four volumes": (_saved(lambda values: np.stack([values] * 4, -1)), r"29 x 35 x 31 x 4; expected one 3D volume"),
    "flat": (_saved(lambda values: values[:, :, 0]), "29 x 35; expected one 3D volume"),
    "complex": (_saved(lambda values: values.astype(np.complex64)), "one real number a voxel"),
    "absurd size": (_put(42, "3h", 30000, 30000, 30000), "claims 30000 x 30000 x 30000 voxels"),
    "negative size": (_put(42, "3h", -3, 5, 5), "-3"),
    "unknown type": (_put(70, "h", 77), "header is not valid"),
    "unknown sform code": (_put(254, "h", 6), "sform_code 6 not valid"),
    "voxels far away": (_put(108, "f", 1.5e12), "voxels begin at byte 15000000"),
    "voxels at infinity": (_put(108, "f", float("inf")), "header is not valid"),
    "an infinite intercept": (_put(112, "2f", 1.0, float("inf")), "header is not valid"),
    "shifted voxels": (_put(108, "f", 352.5), "vox offset .* not divisible by 16"),
    "negative voxel size": (_put(80, "f", -6.0), "pixdim.* should be positive"),
    "no codes": (lambda path: _with_header(path, _no_codes), "neither sform nor qform is set"),
    "singular affine": (_without_qform((0.0, 0.0, 0.0, 0.0)), "singular or not finite"),
    "NaN affine": (_without_qform((float("nan"), 0.0, 0.0, 0.0)), "singular or not finite"),
    "metres": (_without_qform((0.006, 0.0, 0.0, -0.09)), "expected sizes in mm"),
    "mirrored sform": (_put(280, "4f", -6.0, 0.0, 0.0, 84.0), "disagree about left and right"),
}


VOXEL_FAULTS = {
    "truncated gzip": (_damage(lambda raw: raw[: len(raw) // 2]), "gzip stream is damaged"),
    "no trailer": (_damage(lambda raw: raw[:-8]), "gzip stream is damaged"),
    "wrong checksum": (_damage(lambda raw: raw[:-8] + b"\0\0\0\0" + raw[-4:]), "gzip stream is damaged .*CRC"),
    "flipped bits": (_damage(lambda raw: raw[:9000] + bytes(50) + raw[9050:]), "gzip stream is damaged"),
    "truncated voxels": (
        _damage(lambda raw: gzip.compress(gzip.decompress(raw)[:-1000])),
        "the file is truncated: 125212 of 126212 bytes",
    ),
    "NaN": (_saved(lambda values: np.where(values > 0.8, np.nan, values).astype(np.float32)), "NaN or infinite"),
    "infinite": (_saved(lambda values: np.where(values > 0.8, np.inf, values).astype(np.float32)), "NaN or infinite"),
    "all zero": (_saved(lambda values: values * 0), "all voxels are 0; there is no brain"),
    "constant": (_saved(lambda values: values * 0 + 0.5), "all voxels are 0.5; there is no brain"),
    "negative": (_saved(lambda values: values - 0.1), "the lowest voxel is -0.1"),
    "0 to 255": (_saved(lambda values: values * 255), r"above volumes\.maximum \(2\)"),
}


@pytest.mark.parametrize("name", HEADER_FAULTS)
def test_faults_that_show_in_the_header(tmp_path: Path, name: str) -> None:
    write, message = HEADER_FAULTS[name]
    path = tmp_path / "sub-1.nii.gz"
    write(path)
    cohort = pd.DataFrame({"scan_id": ["sub-1"], "volume": [str(path)]})
    (problem,) = check_volumes(cohort, SMALL)
    assert problem.startswith(f"sub-1: {path}: ")
    with pytest.raises(InputError, match=message) as error:
        load_volume(path, SMALL)
    assert problem == f"sub-1: {error.value}"


@pytest.mark.parametrize("name", VOXEL_FAULTS)
def test_faults_that_show_in_the_voxels(tmp_path: Path, name: str) -> None:
    write, message = VOXEL_FAULTS[name]
    path = tmp_path / "sub-1.nii.gz"
    write(path)
    with pytest.raises(InputError, match=message) as error:
        load_volume(path, SMALL)
    assert str(path) in str(error.value)


def test_a_compressed_file_called_nii_and_other_kinds_of_file(tmp_path: Path) -> None:
    save_small(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"rename it to a\.nii\.gz"):
        load_volume(tmp_path / "a.nii", SMALL)
    (tmp_path / "a.mgz").write_bytes(b"1")
    with pytest.raises(InputError, match=r"a volume is a \.nii, \.nii\.gz or \.npy file"):
        load_volume(tmp_path / "a.mgz", SMALL)
