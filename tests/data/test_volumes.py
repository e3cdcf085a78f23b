"""Volumes: every voxel keeps its place in the brain, every fault has its message, the cache is what was read."""

from __future__ import annotations

import gzip
import itertools
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine, from_matvec
from nibabel.orientations import apply_orientation, inv_ornt_aff
from numpy.typing import NDArray

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data import volume_files
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volume_checks import check_volumes
from sepclr_neuro.data.volume_files import load_volume
from sepclr_neuro.data.volumes import write_volumes

SMALL = Volumes(shape=(32, 32, 32))
CAT12_GRIDS = {(121, 145, 121): (90.0, -126.0, -72.0), (113, 137, 113): (84.0, -120.0, -72.0)}


def brain(shape: tuple[int, ...], affine: NDArray[Any], seed: int = 0) -> NDArray[np.float32]:
    """An ellipsoid in MNI space, the size of the brain, every voxel told from others by its place (and by ``seed``)."""
    x, y, z = np.moveaxis(apply_affine(affine, np.stack(np.indices(shape), axis=-1)), -1, 0)
    inside = (x / 72) ** 2 + ((y + 18) / 90) ** 2 + ((z - 6) / 76) ** 2 < 1
    values = 0.5 + 0.2 * np.sin(x / 11 + seed) + 0.1 * np.cos(y / 7) + 0.1 * np.sin(z / 5)
    return np.where(inside, values, 0).astype(np.float32)


def small_grid() -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Odd sizes, 6 mm voxels, not centred on the brain."""
    return (29, 35, 31), from_matvec(np.diag([6.0, 6.0, 6.0]), [-84.0, -118.5, -90.0])


def save_small(path: Path, seed: int = 0) -> Path:
    shape, affine = small_grid()
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(as_image(brain(shape, affine, seed), affine), path)
    return path


# --- grid --------------------------------------------------------------------------------------------------------


def test_all_48_orientations_give_the_same_volume(tmp_path: Path) -> None:
    shape, affine = small_grid()
    values = brain(shape, affine)
    reference, reference_affine = load_volume(save_small(tmp_path / "ras.nii"), SMALL)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product([1, -1], repeat=3):
            orientation = np.array(list(zip(axes, flips, strict=True)))
            turned = np.ascontiguousarray(apply_orientation(values, orientation))
            path = tmp_path / "turned.nii"
            nibabel.save(as_image(turned, affine @ inv_ornt_aff(orientation, shape)), path)
            loaded, loaded_affine = load_volume(path, SMALL)
            np.testing.assert_array_equal(loaded, reference)
            np.testing.assert_allclose(loaded_affine, reference_affine, atol=1e-5)


def test_crop_and_pad_keep_each_voxel_in_its_place(tmp_path: Path) -> None:
    shape, affine = small_grid()
    settings = Volumes(shape=(32, 48, 32))
    loaded, loaded_affine = load_volume(save_small(tmp_path / "a.nii.gz"), settings)
    assert loaded.shape == settings.shape
    assert loaded.dtype == np.float32
    assert loaded_affine.dtype == np.float64
    np.testing.assert_allclose(loaded, brain(settings.shape, loaded_affine), atol=1e-5)
    assert loaded.sum() == pytest.approx(brain(shape, affine).sum(), rel=1e-5)


@pytest.mark.parametrize("shape", CAT12_GRIDS)
def test_both_cat12_grids_land_on_one_grid_with_the_whole_brain(tmp_path: Path, shape: tuple[int, ...]) -> None:
    affine = from_matvec(np.diag([-1.5, 1.5, 1.5]), CAT12_GRIDS[shape])
    values = brain(shape, affine)
    nibabel.save(as_image(values, affine), tmp_path / "a.nii")
    loaded, loaded_affine = load_volume(tmp_path / "a.nii", Volumes())
    np.testing.assert_allclose(loaded_affine, grid_affine((128, 128, 128), 1.5), atol=1e-6)
    np.testing.assert_allclose(loaded, brain((128, 128, 128), grid_affine((128, 128, 128), 1.5)), atol=1e-5)
    assert np.count_nonzero(loaded) == np.count_nonzero(values)

    coarse, coarse_affine = load_volume(tmp_path / "a.nii", Volumes(shape=(64, 64, 64), resample_mm=3))
    np.testing.assert_allclose(coarse_affine, grid_affine((64, 64, 64), 3), atol=1e-6)
    np.testing.assert_allclose(coarse, loaded[::2, ::2, ::2], atol=1e-5)


def test_a_grid_of_16_multiples_is_centred_on_the_brain() -> None:
    affine = grid_affine((128, 96, 64), 2)
    np.testing.assert_allclose(apply_affine(affine, [64, 48, 32]), [0, -16.5, 6])


def test_resampling_is_trilinear(tmp_path: Path) -> None:
    settings = Volumes(shape=(64, 64, 64), resample_mm=3)
    affine = from_matvec(np.diag([2.5, 4.0, 3.5]), [-100.0, -120.0, -80.0])
    shape = (80, 60, 60)
    x, y, z = np.moveaxis(apply_affine(affine, np.stack(np.indices(shape), axis=-1)), -1, 0)
    ramp = ((x + y + 2 * z + 450) / 1000).astype(np.float32)
    # Zero outside a box, so that nothing is cut.
    box = (np.abs(x) < 75) & (np.abs(y + 16.5) < 75) & (np.abs(z - 6) < 75)
    nibabel.save(as_image(np.where(box, ramp, 0), affine), tmp_path / "a.nii")
    loaded, final = load_volume(tmp_path / "a.nii", settings)
    x, y, z = np.moveaxis(apply_affine(final, np.stack(np.indices(settings.shape), axis=-1)), -1, 0)
    well_inside = (np.abs(x) < 65) & (np.abs(y + 16.5) < 65) & (np.abs(z - 6) < 65)
    np.testing.assert_allclose(loaded[well_inside], ((x + y + 2 * z + 450) / 1000)[well_inside], atol=1e-4)


def test_a_rotated_volume_needs_resampling(tmp_path: Path) -> None:
    angle = np.deg2rad(10)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = from_matvec(rotation) @ from_matvec(np.diag([3.0, 3.0, 3.0]), [-105.0, -130.0, -90.0])
    nibabel.save(as_image(brain((72, 80, 66), turned), turned), tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"set volumes\.resample_mm"):
        load_volume(tmp_path / "a.nii", SMALL)
    loaded, final = load_volume(tmp_path / "a.nii", Volumes(shape=(32, 32, 32), resample_mm=6))
    expected = brain((32, 32, 32), final)
    assert np.corrcoef(loaded.ravel(), expected.ravel())[0, 1] > 0.98


def test_smoothing_has_the_width_in_mm_that_was_asked_for(tmp_path: Path) -> None:
    affine = from_matvec(np.diag([2.0, 4.0, 2.0]), [-64.0, -80.5, -58.0])
    values = np.zeros((64, 32, 64), dtype=np.float32)
    values[32, 16, 32] = 1
    nibabel.save(as_image(values, affine), tmp_path / "a.nii")
    loaded, final = load_volume(tmp_path / "a.nii", Volumes(shape=(64, 32, 64), smoothing_mm=12))
    assert loaded.sum() == pytest.approx(1, rel=1e-3)
    position = apply_affine(final, np.stack(np.indices(loaded.shape), axis=-1))
    for axis, middle in enumerate(apply_affine(affine, [32, 16, 32])):
        variance = float((loaded * (position[..., axis] - middle) ** 2).sum() / loaded.sum())
        assert np.sqrt(8 * np.log(2) * variance) == pytest.approx(12, rel=0.02)


def test_cutting_grey_matter_away_is_refused(tmp_path: Path) -> None:
    affine = from_matvec(np.diag([-1.5, 1.5, 1.5]), CAT12_GRIDS[113, 137, 113])
    nibabel.save(as_image(brain((113, 137, 113), affine), affine), tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"% of the grey matter is outside .* Set volumes\.resample_mm \(3 fits"):
        load_volume(tmp_path / "a.nii", Volumes(shape=(64, 64, 64)))


def test_volumes_are_scaled_by_tiv(tmp_path: Path) -> None:
    path = save_small(tmp_path / "a.nii")
    plain, _ = load_volume(path, SMALL)
    settings = Volumes(shape=(32, 32, 32), tiv_column="tiv")
    scaled, _ = load_volume(path, settings, 1200.0)
    np.testing.assert_allclose(scaled, plain * 1.25, rtol=1e-6)
    for tiv in (None, float("nan"), 1.4, 1_400_000.0):
        with pytest.raises(InputError, match="expected ml"):
            load_volume(path, settings, tiv)


def test_small_negative_values_of_interpolation_become_zero(tmp_path: Path) -> None:
    shape, affine = small_grid()
    nibabel.save(as_image(brain(shape, affine) - np.float32(5e-4), affine), tmp_path / "a.nii")
    assert load_volume(tmp_path / "a.nii", SMALL)[0].min() == 0


def test_an_image_says_that_it_is_in_mni_space(tmp_path: Path) -> None:
    affine = grid_affine((4, 5, 6), 2)
    nibabel.save(as_image(np.ones((4, 5, 6)), affine), tmp_path / "a.nii.gz")
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.float32
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 4
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-5)
    np.testing.assert_allclose(image.affine, affine)


# --- formats -----------------------------------------------------------------------------------------------------


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


# --- faults of files ---------------------------------------------------------------------------------------------


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


# --- a cohort ----------------------------------------------------------------------------------------------------


def make_cohort(folder: Path, count: int = 4) -> pd.DataFrame:
    paths = [save_small(folder / "data" / f"{number:02d}.nii.gz", seed=number) for number in range(count)]
    return cohort_of(paths)


def cohort_of(paths: list[Path]) -> pd.DataFrame:
    scan_ids = [path.name.split(".")[0] for path in paths]
    return pd.DataFrame(
        {
            "scan_id": scan_ids,
            "participant_id": scan_ids,
            "session_id": "n/a",
            "diagnosis": "control",
            "group": "background",
            "age": 30.5,
            "sex": "female",
            "site": "1",
            "tiv": 1500.0,
            "volume": [str(path) for path in paths],
        }
    )


def run(folder: Path, cohort: pd.DataFrame, settings: Volumes = SMALL) -> Results:
    results = Results(folder / "results")
    write_tsv(results.cohort, cohort)
    write_volumes(Config(volumes=settings), results)
    return results


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose voxels were read."""
    names: list[str] = []
    real = volume_files._read

    def watched(path: Path, settings: Volumes) -> Any:
        names.append(path.name)
        return real(path, settings)

    monkeypatch.setattr(volume_files, "_read", watched)
    return names


def test_the_cache_holds_what_was_loaded(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    cache = VolumeCache(run(tmp_path, cohort))
    assert cache.scan_ids == ["00", "01", "02", "03"]
    assert cache.shape == (32, 32, 32)
    assert cache.array.dtype == np.float16
    tensor = cache.read(cache.rows(["03", "01"]))
    assert tensor.shape == (2, 1, 32, 32, 32)
    for position, scan_id in enumerate(["03", "01"]):
        expected, affine = load_volume(cohort.set_index("scan_id").loc[scan_id, "volume"], SMALL)
        np.testing.assert_allclose(tensor[position, 0].numpy(), expected, rtol=5e-4, atol=1e-7)
        np.testing.assert_allclose(cache.affine, affine)
    with pytest.raises(InputError, match="has no scan '99'"):
        cache.rows(["00", "99"])


def test_the_index_names_each_source(tmp_path: Path) -> None:
    results = run(tmp_path, make_cohort(tmp_path))
    index = read_tsv(results.index, text=("scan_id", "sha256", "source"))
    assert index.columns.tolist() == ["scan_id", "row", "sha256", "source", "voxels_sha256"]
    assert index["sha256"].nunique() == 4
    assert index["source"].str.endswith("02.nii.gz").tolist() == [False, False, True, False]
    assert read_json(results.grid)["shape"] == [32, 32, 32]


def test_only_new_and_changed_files_are_read_again(tmp_path: Path, read_files: list[str]) -> None:
    cohort = make_cohort(tmp_path)
    results = run(tmp_path, cohort)
    before = VolumeCache(results).array.copy()
    assert sorted(read_files) == ["00.nii.gz", "01.nii.gz", "02.nii.gz", "03.nii.gz"]

    read_files.clear()
    save_small(tmp_path / "data" / "01.nii.gz", seed=11)
    new = save_small(tmp_path / "data" / "04.nii.gz", seed=4)
    changed = pd.concat([cohort.iloc[[3, 1, 0]], cohort_of([new])])
    cache = VolumeCache(run(tmp_path, changed))
    assert sorted(read_files) == ["01.nii.gz", "04.nii.gz"]
    assert cache.scan_ids == ["03", "01", "00", "04"]
    np.testing.assert_array_equal(cache.array[[0, 2]], before[[3, 0]])
    assert (cache.array[1] != before[1]).any()

    read_files.clear()
    run(tmp_path, changed, Volumes(shape=(32, 32, 32), smoothing_mm=8))
    assert len(read_files) == 4


def test_tiv_is_part_of_what_a_row_is(tmp_path: Path, read_files: list[str]) -> None:
    settings = Volumes(shape=(32, 32, 32), tiv_column="tiv")
    cohort = make_cohort(tmp_path)
    plain = VolumeCache(run(tmp_path, cohort, settings)).array.astype(np.float32)
    read_files.clear()
    cohort.loc[2, "tiv"] = 1000.0
    scaled = VolumeCache(run(tmp_path, cohort, settings)).array.astype(np.float32)
    assert read_files == ["02.nii.gz"]
    np.testing.assert_allclose(scaled[2], plain[2] * 1.5, rtol=2e-3)


def test_another_tiv_is_another_row_to_whoever_reads_it(tmp_path: Path) -> None:
    """The file is the same and so is the grid: checkpoints and maps must know the voxels themselves."""
    settings = Volumes(shape=(32, 32, 32), tiv_column="tiv")
    cohort = make_cohort(tmp_path)
    before = VolumeCache(run(tmp_path, cohort, settings)).checksums
    cohort.loc[2, "tiv"] = 1000.0
    after = VolumeCache(run(tmp_path, cohort, settings)).checksums
    assert [one != other for one, other in zip(before, after, strict=True)] == [False, False, True, False]


def test_an_unchanged_cohort_leaves_the_array_alone(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    before = run(tmp_path, cohort).volumes.stat()
    after = run(tmp_path, cohort.assign(age=31.0)).volumes.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_flipped_bit_in_the_cache_is_noticed_and_repaired(tmp_path: Path, read_files: list[str]) -> None:
    cohort = make_cohort(tmp_path)
    results = run(tmp_path, cohort)
    whole = results.volumes.read_bytes()
    place = len(whole) - 3 * 32**3 * 2 + 32**3  # in the middle of row 1
    results.volumes.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    cache = VolumeCache(results)
    cache.read([0, 2, 3])
    with pytest.raises(InputError, match="the voxels of 01 are not those that were written; run the stage `volumes`"):
        cache.read([1])
    read_files.clear()
    run(tmp_path, cohort)
    assert read_files == ["01.nii.gz"]
    assert results.volumes.read_bytes() == whole


def test_without_its_state_file_the_array_is_built_anew(tmp_path: Path, read_files: list[str]) -> None:
    cohort = make_cohort(tmp_path)
    results = run(tmp_path, cohort)
    results.volumes.with_name("rows.json").unlink()
    np.save(results.volumes, np.zeros((4, 32, 32, 32), dtype=np.float16))
    read_files.clear()
    assert VolumeCache(run(tmp_path, cohort)).array.max() > 0.5
    assert len(read_files) == 4


def test_a_state_file_of_other_digests_is_none(tmp_path: Path, read_files: list[str]) -> None:
    cohort = make_cohort(tmp_path)
    state = run(tmp_path, cohort).volumes.with_name("rows.json")
    entries = [{"read" if name == "digest" else name: value for name, value in row.items()} for row in read_json(state)]
    write_json(state, entries)
    read_files.clear()
    run(tmp_path, cohort)
    assert len(read_files) == 4


def test_every_problem_is_reported_and_the_earlier_cache_stays(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    results = run(tmp_path, cohort)
    before = {path.name: path.read_bytes() for path in results.volumes.parent.iterdir()}
    for number, fault in ((1, "NaN"), (3, "no trailer")):
        VOXEL_FAULTS[fault][0](tmp_path / "data" / f"{number:02d}.nii.gz")
    with pytest.raises(InputError) as error:
        run(tmp_path, cohort)
    assert [problem[:4] for problem in error.value.problems] == ["01: ", "03: "]
    assert {path.name: path.read_bytes() for path in results.volumes.parent.iterdir()} == before


def test_the_header_check_reports_every_scan(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path).astype({"volume": "str"})
    (tmp_path / "data" / "00.nii.gz").unlink()
    (tmp_path / "data" / "01.nii.gz").write_bytes(b"")
    cohort.loc[2, "volume"] = np.nan
    problems = check_volumes(cohort, SMALL)
    assert [problem.split(": ")[0] for problem in problems] == ["00", "01", "02"]
    assert "has no volume" in problems[2]


def test_tiv_is_checked_with_the_headers(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    settings = Volumes(shape=(32, 32, 32), tiv_column="tiv")
    cohort["tiv"] = [1500.0, np.nan, 1.5, 1400.0]
    problems = check_volumes(cohort, settings)
    assert [problem.split(": ")[0] for problem in problems] == ["01", "02"]
    assert "no column 'tiv'" in check_volumes(cohort.drop(columns="tiv"), settings)[0]


def test_two_grids_are_refused_unless_resampled(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    shape, affine = small_grid()
    shifted = affine.copy()
    shifted[0, 3] += 2
    path = tmp_path / "data" / "02.nii.gz"
    nibabel.save(as_image(brain(shape, shifted, 2), shifted), path)
    with pytest.raises(InputError, match=r"02.nii.gz has .*, but .*00.nii.gz has .* Set volumes\.resample_mm"):
        run(tmp_path, cohort)
    cache = VolumeCache(run(tmp_path, cohort, Volumes(shape=(32, 32, 32), resample_mm=6)))
    np.testing.assert_allclose(cache.affine, grid_affine((32, 32, 32), 6))


@pytest.mark.parametrize(("shape", "fits"), [((64, 64, 64), False), ((96, 112, 96), True), ((128, 128, 128), True)])
def test_a_grid_too_small_for_the_brain_shows_in_the_headers(
    tmp_path: Path, shape: tuple[int, int, int], fits: bool
) -> None:
    paths = []
    for number, (stored, origin) in enumerate(CAT12_GRIDS.items()):
        paths.append(tmp_path / f"{number}.nii")
        affine = from_matvec(np.diag([-1.5, 1.5, 1.5]), origin)
        nibabel.Nifti1Image(np.zeros(stored, dtype=np.uint8), affine).to_filename(paths[-1])
    problems = check_volumes(cohort_of(paths), Volumes(shape=shape))
    if fits:
        assert problems == []
    else:
        (problem,) = problems
        assert "volumes.shape: 64 x 64 x 64 voxels hold 96 x 96 x 96 mm, but the brain is 144 x 181 x 156" in problem
        assert "volumes.resample_mm (3 fits the brain)" in problem
        assert check_volumes(cohort_of(paths), Volumes(shape=shape, resample_mm=3)) == []
        assert len(check_volumes(cohort_of(paths), Volumes(shape=shape, resample_mm=2))) == 1


def test_a_volume_that_holds_less_than_the_grid_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "slab.nii"
    affine = from_matvec(np.diag([1.5, 1.5, 1.5]), [-45.0, -60.0, -40.0])
    nibabel.Nifti1Image(np.zeros((60, 60, 60), dtype=np.uint8), affine).to_filename(path)
    assert check_volumes(cohort_of([path]), Volumes(shape=(64, 64, 64))) == []


def test_rounded_affines_are_one_grid(tmp_path: Path) -> None:
    """On a 3 mm lattice the middle of the brain is half-way between voxels; rounding must not decide."""
    paths = []
    for number, offset in enumerate((-1e-4, 0, 1e-4)):
        affine = from_matvec(np.diag([3.0, 3.0, 3.0]), [-90 + offset, -126 + offset, -72 + offset])
        paths.append(tmp_path / f"{number}.nii")
        nibabel.save(as_image(brain((61, 73, 61), affine, number), affine), paths[-1])
    assert check_volumes(cohort_of(paths), Volumes(shape=(64, 64, 64))) == []


def test_the_same_file_or_the_same_voxels_under_two_ids(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path)
    shutil.copy(tmp_path / "data" / "00.nii.gz", tmp_path / "data" / "03.nii.gz")
    with pytest.raises(InputError, match=r"00 and 03 have the same volume \(their files are identical\)"):
        run(tmp_path, cohort)
    raw = gzip.decompress((tmp_path / "data" / "00.nii.gz").read_bytes())
    (tmp_path / "data" / "03.nii.gz").write_bytes(gzip.compress(raw, compresslevel=2))
    with pytest.raises(InputError, match=r"00 and 03 have the same volume \(their voxels are identical\)"):
        run(tmp_path, cohort)


def test_a_full_disk_is_noticed_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="GB are needed for the volumes"):
        run(tmp_path, make_cohort(tmp_path))
    assert not (tmp_path / "results" / "volumes" / "volumes.npy").exists()


def test_progress_is_plain_lines_in_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, make_cohort(tmp_path))
    assert "volumes: 4 of 4\n" in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    cohort = make_cohort(tmp_path)
    cache = VolumeCache(run(tmp_path, cohort))
    for row, path in enumerate(cohort["volume"]):
        np.testing.assert_array_equal(cache.array[row], load_volume(path, SMALL)[0].astype(np.float16))


def test_opening_the_cache_reads_no_voxel(tmp_path: Path) -> None:
    """168 GB of volumes, as a file with a hole: reading it would take minutes and more memory than there is."""
    results = run(tmp_path, make_cohort(tmp_path))
    count = 10_000
    with results.volumes.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (count, 256, 256, 128)}
        np.lib.format.write_array_header_1_0(file, header)
        try:
            file.truncate(file.tell() + count * 2 * 256 * 256 * 128)
        except OSError:
            pytest.skip("the file system has no room for a file with a hole")
    ids = [str(number) for number in range(count)]
    empty = voxels_sha256(np.zeros((256, 256, 128), dtype=np.float16))
    index = pd.DataFrame({"scan_id": ids, "row": range(count), "sha256": "0", "source": "a", "voxels_sha256": empty})
    write_tsv(results.index, index)
    write_json(results.grid, read_json(results.grid) | {"shape": [256, 256, 128]})
    cache = VolumeCache(results)
    assert cache.array.shape == (count, 256, 256, 128)
    assert float(cache.read([count - 1]).abs().max()) == 0


def test_the_cache_travels_to_worker_processes_without_its_volumes(tmp_path: Path) -> None:
    cache = VolumeCache(run(tmp_path, make_cohort(tmp_path)))
    packed = pickle.dumps(cache)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed).array, cache.array)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    results = run(tmp_path, make_cohort(tmp_path))
    index = read_tsv(results.index, text=("scan_id",))
    for wrong in (index.iloc[:-1], index.iloc[::-1]):
        write_tsv(results.index, wrong)
        with pytest.raises(InputError, match="run the stage `volumes` again"):
            VolumeCache(results)
    write_tsv(results.index, index)
    results.volumes.write_bytes(results.volumes.read_bytes()[:-10])
    with pytest.raises(InputError, match="is damaged"):
        VolumeCache(results)
    results.volumes.unlink()
    with pytest.raises(InputError, match="is missing"):
        VolumeCache(results)


# --- real volumes ------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_real_volumes_keep_their_brain_and_its_place(shared_data: Path) -> None:
    oasis, *_ = sorted((shared_data / "real_vbm").glob("sub-OAS*_mwp1.nii.gz"))
    ixi, *_ = sorted((shared_data / "real_vbm").glob("sub-IXI*_mwp1.nii.gz"))
    for path in (oasis, ixi):
        image = nibabel.load(path)
        assert image.shape == (113, 137, 113)
        assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
        source = np.asarray(image.dataobj, dtype=np.float32)
        loaded, affine = load_volume(path, Volumes())
        assert np.count_nonzero(loaded) == np.count_nonzero(source)
        assert nibabel.aff2axcodes(affine) == ("R", "A", "S")
        voxels = np.argwhere(source > 0)[::1000]
        places = np.rint(apply_affine(np.linalg.inv(affine) @ image.affine, voxels)).astype(int)
        np.testing.assert_array_equal(loaded[tuple(places.T)], source[tuple(voxels.T)])

        coarse, coarse_affine = load_volume(path, Volumes(shape=(64, 64, 64), resample_mm=3, smoothing_mm=6))
        assert coarse.sum() * 8 == pytest.approx(source.sum(), rel=0.01)
        assert coarse_affine[0, 0] == 3
