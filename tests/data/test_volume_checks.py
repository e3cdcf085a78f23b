"""What is wrong with a cohort's volumes."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.affines import from_matvec

from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volume_checks import check_volumes
from tests.data.small_volumes import SMALL, brain, cohort_of, make_cohort, run, small_grid
from tests.data.test_grid import CAT12_GRIDS


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
