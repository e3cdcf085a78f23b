"""The volume cache: building against reading alone, adding participants, reading in a step, memory; MONAI's data sets.

python -m benchmarks.cache [--quick]
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nibabel
import numpy as np
import pandas as pd
import torch

from benchmarks.measuring import best_of, held_memory, in_new_process, mean_of
from benchmarks.rows import Rows, run
from benchmarks.steps import Step
from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, write_json, write_tsv
from sepclr_neuro.core.threads import free_cores
from sepclr_neuro.data import volumes
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from sepclr_neuro.data.cohort import load_cohort, write_cohort
from sepclr_neuro.data.simulation import write_dataset
from sepclr_neuro.data.volumes import write_volumes

BATCH_SIZE = 8


def measure(rows: Rows, quick: bool) -> None:
    side, people = (64, 10) if quick else (128, 40)
    with tempfile.TemporaryDirectory() as folder:
        if not rows.has("cache_build_ratio_keeping_memory", "cache_ten_more_built", "monai_cache_disk"):
            config = _dataset(Path(folder) / "run", side, people + 10)
            _building(rows, config, people)
            _beside_monai(rows, config, Path(folder))
        if not rows.has("cache_read_share", "cache_first_read_share"):
            _reading(rows, _sparse(Path(folder) / "small", side, 64), side)
        for count in (100, 1_000 if quick else 10_000):
            if not rows.has(f"cache_memory_{count}"):
                results = _sparse(Path(folder) / f"sparse-{count}", side, count)
                rows.add(
                    f"cache_memory_{count}",
                    in_new_process(_read_many, results.root, 8, keep_memory=True),
                    "MiB beyond the page cache",
                )


def _dataset(folder: Path, side: int, people: int) -> Config:
    cohort = {"source": "simulated", "simulation": {"participants": people}}
    config = parse_config({"output": str(folder), "cohort": cohort, "volumes": {"shape": [side] * 3}})
    write_dataset(config, Results(config.output))
    write_cohort(config, Results(config.output))
    for path in load_cohort(Results(config.output).cohort)["volume"]:
        image = nibabel.load(path)
        # With as many digits as CAT12 writes; those of the simulation are fewer and compress better.
        nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine), path)
    return config


def _drop_page_cache(paths: list[Path]) -> None:
    """Drops files from the page cache, so that all readers start from the disk; macOS and Windows cannot do that."""
    if not hasattr(os, "posix_fadvise"):
        return
    os.sync()  # data that is not written yet cannot be dropped
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _building(rows: Rows, config: Config, people: int) -> None:
    results = Results(config.output)
    everybody = load_cohort(results.cohort)
    paths = [Path(path) for path in everybody["volume"][:people]]
    write_tsv(results.cohort, everybody[:people])

    # Reading alone with default memory settings, and with those of this program, which keeps freed memory.
    timed = {
        "build": partial(in_new_process, _build, config, paths, keep_memory=True),
        "": partial(in_new_process, _read_alone, paths),
        "_keeping_memory": partial(in_new_process, _read_alone, paths, keep_memory=True),
    }
    rounds = [{name: measured() for name, measured in timed.items()} for _ in range(3)]
    seconds = {name: min(of_round[name] for of_round in rounds) for name in timed}
    rows.add("cache_build", people / seconds["build"], "volumes/s")
    for how in ("", "_keeping_memory"):
        ratio = seconds[how] / seconds["build"]
        rows.add(f"cache_build_ratio{how}", ratio, "times the speed of nibabel and gzip alone")
    _build_again(rows, "cache_second_run", config, results)
    write_tsv(results.cohort, everybody)
    _build_again(rows, "cache_ten_more", config, results)


def _build_again(rows: Rows, name: str, config: Config, results: Results) -> None:
    """Builds the cache again and adds rows with the number of volumes read, and the time."""
    original = volumes.read_checked
    started = time.perf_counter()
    with patch.object(volumes, "read_checked", side_effect=original) as read:
        write_volumes(config, results)
    rows.add(name, time.perf_counter() - started, "s")
    rows.add(f"{name}_built", read.call_count, "volumes")


def _sparse(folder: Path, side: int, people: int) -> Results:
    """A finished cache of empty volumes, as a sparse file."""
    results, shape = Results(folder), (people, side, side, side)
    ids = [f"sub-{number:05d}" for number in range(people)]
    empty = voxels_sha256(np.zeros(shape[1:], np.float16))
    index = pd.DataFrame(
        {"scan_id": ids, "row": range(people), "sha256": "", "source": "empty", "voxels_sha256": empty}
    )
    write_tsv(results.index, index)
    write_json(results.grid, {"shape": list(shape[1:]), "affine": np.eye(4).tolist()})
    with atomic_path(results.volumes) as temporary, temporary.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * 2)
    return results


def _reading(rows: Rows, results: Results, side: int) -> None:
    """Reading volumes from the page cache; the first time a process reads a volume includes checking its checksum."""
    cache, batch = VolumeCache(results), list(range(BATCH_SIZE))
    step = mean_of(Step(side=side, batch_size=BATCH_SIZE), 10, warm_up=8)
    opened = [VolumeCache(results) for _ in range(11)]
    for name, function in (
        ("cache_read", lambda: cache.read(batch, np.float16)),
        ("cache_first_read", lambda: opened.pop().read(batch, np.float16)),
    ):
        seconds = mean_of(function, 10)
        rows.add(name, seconds, "s a batch of 8")
        rows.add(f"{name}_share", 100 * seconds / step, "% of a step")


# --- in processes of their own -------------------------------------------------------------------------------------


def _read_alone(paths: list[Path]) -> float:
    """Seconds that nibabel and gzip take on all cores, with an empty page cache."""

    def read() -> None:
        with ThreadPoolExecutor(free_cores()) as threads:
            list(threads.map(lambda path: np.asarray(nibabel.load(path).dataobj, dtype=np.float32), paths))

    return _from_disk(read, paths)


def _build(config: Config, paths: list[Path]) -> float:
    """Seconds to build the cache of the same volumes."""
    results = Results(config.output)

    def clear() -> None:
        shutil.rmtree(results.volumes.parent, ignore_errors=True)

    return _from_disk(partial(write_volumes, config, results), paths, clear)


def _from_disk(read: Callable[[], None], paths: list[Path], before: Callable[[], None] = lambda: None) -> float:
    """Seconds of the fastest of some calls, each with an empty page cache; ``before`` is not included."""
    seconds = []
    for _ in range(3):
        before()
        _drop_page_cache(paths)
        seconds.append(best_of(read, 1, warm_up=0))
    return min(seconds)


def _read_many(folder: Path, batches: int) -> float:
    """MiB of memory that a process needs to open a cache and read some batches."""
    before = held_memory("RssAnon")
    cache, rng, most = VolumeCache(Results(folder)), np.random.default_rng(0), 0.0
    for _ in range(batches):
        read = cache.read(rng.choice(len(cache.scan_ids), BATCH_SIZE, replace=False).tolist(), np.float16)
        most = max(most, held_memory("RssAnon") - before)
        del read
    return most


def _beside_monai(rows: Rows, config: Config, folder: Path) -> None:
    results = Results(config.output)
    paths = load_cohort(results.cohort)["volume"].tolist()
    shape = list(config.volumes.shape)
    kinds: dict[str, Callable[..., dict[str, float]]] = {
        "ours": partial(_epochs_of_ours, config),
        "monai_persistent": partial(_epochs_of_monai, "PersistentDataset", paths, shape, folder / "persistent"),
        "monai_cache": partial(_epochs_of_monai, "CacheDataset", paths, shape, None),
    }
    for name, function in kinds.items():
        _drop_page_cache([Path(path) for path in paths])
        for part, value in in_new_process(function).items():
            units = {"first_epoch": "s", "later_epoch": "s", "memory": "MiB beyond the page cache", "disk": "MiB"}
            rows.add(f"{name}_{part}", value, units[part])


def _epochs(read: Callable[[int], Any], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        read(number)
    return time.perf_counter() - started


def _epochs_of_ours(config: Config) -> dict[str, float]:
    """The first epoch builds the cache."""
    results, before = Results(config.output), held_memory("RssAnon")
    shutil.rmtree(results.volumes.parent)
    started = time.perf_counter()
    write_volumes(config, results)
    cache = VolumeCache(results)
    count = len(cache.scan_ids)
    first = time.perf_counter() - started + _epochs(lambda row: cache.read([row], np.float16), count)
    later = _epochs(lambda row: cache.read([row], np.float16), count)
    memory = held_memory("RssAnon") - before
    return {
        "first_epoch": first,
        "later_epoch": later,
        "memory": memory,
        "disk": results.volumes.stat().st_size / 2**20,
    }


def _epochs_of_monai(kind: str, paths: list[str], shape: list[int], folder: Path | None) -> dict[str, float]:
    from monai import data
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, ResizeWithPadOrCropd

    before, started = held_memory("RssAnon"), time.perf_counter()
    steps = [LoadImaged("volume"), EnsureChannelFirstd("volume"), Orientationd("volume", "RAS", labels=None)]
    whole = Compose([*steps, ResizeWithPadOrCropd("volume", shape)])
    people = [{"volume": path} for path in paths]
    if folder is not None:
        dataset = getattr(data, kind)(people, whole, folder)
    else:
        dataset = getattr(data, kind)(people, whole, num_workers=free_cores(), progress=False)
    first = time.perf_counter() - started + _epochs(lambda row: dataset[row]["volume"].shape, len(paths))
    later = _epochs(lambda row: dataset[row]["volume"].sum(), len(paths))
    disk = 0.0 if folder is None else sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    return {"first_epoch": first, "later_epoch": later, "memory": held_memory("RssAnon") - before, "disk": disk}


if __name__ == "__main__":
    torch.set_num_threads(free_cores())
    run(__doc__, measure)
