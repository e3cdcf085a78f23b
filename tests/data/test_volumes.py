"""Volumes: every voxel keeps its place in the brain, every fault has its message, the cache is what was read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine

from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, read_tsv, write_json
from sepclr_neuro.data import volume_files
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.volume_files import load_volume
from tests.data.small_volumes import SMALL, cohort_of, make_cohort, run, save_small
from tests.data.test_volume_files import VOXEL_FAULTS


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


def test_a_full_disk_is_noticed_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="GB are needed for the volumes"):
        run(tmp_path, make_cohort(tmp_path))
    assert not (tmp_path / "results" / "volumes" / "volumes.npy").exists()


def test_progress_is_plain_lines_in_a_log(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    run(tmp_path, make_cohort(tmp_path))
    assert "volumes: 4 of 4" in said.messages


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    cohort = make_cohort(tmp_path)
    cache = VolumeCache(run(tmp_path, cohort))
    for row, path in enumerate(cohort["volume"]):
        np.testing.assert_array_equal(cache.array[row], load_volume(path, SMALL)[0].astype(np.float16))


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
