"""The array of all volumes, as it is read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from tests.data.small_volumes import make_cohort, run


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
