"""Volumes on the grid that networks see."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine, from_matvec
from nibabel.orientations import apply_orientation, inv_ornt_aff

from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volume_files import load_volume
from tests.data.small_volumes import SMALL, brain, save_small, small_grid

CAT12_GRIDS = {(121, 145, 121): (90.0, -126.0, -72.0), (113, 137, 113): (84.0, -120.0, -72.0)}


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
