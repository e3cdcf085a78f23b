"""A cohort's volumes, checked, brought to one grid and kept in one array, which is read through a ``VolumeCache``."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config import volumes as settings_of
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, exclusive, fingerprint, read_json, sha256, write_json, write_tsv
from sepclr_neuro.core.threads import in_parallel
from sepclr_neuro.data.cache import voxels_sha256
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.grid import bring_to_grid, final_affine
from sepclr_neuro.data.volume_checks import check_volumes, quick_digest, refuse_twins, scans_of, volume_fault
from sepclr_neuro.data.volume_files import canonical_header, read_checked

__all__ = ["preprocessing", "write_volumes"]

# To be raised whenever a volume would become other voxels than before: cached rows are then read afresh.
_PREPROCESSING_VERSION = 1


def preprocessing(settings: settings_of.Volumes) -> str:
    """A fingerprint of what becomes of a volume: ``settings`` of ``grid.json``."""
    return fingerprint(_PREPROCESSING_VERSION, settings.model_dump(mode="json"))


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
    cohort, settings = load_cohort(results.cohort), config.volumes
    problems = check_volumes(cohort, settings)
    if problems:
        raise InputError(problems)
    scans = [(scan_id, path, tiv) for scan_id, path, tiv in scans_of(cohort, settings) if path is not None]
    paths = [path for _, path, _ in scans]
    _, affine = canonical_header(paths[0], settings)

    checksums = in_parallel(sha256, paths, "checksums")
    rules = settings.model_dump(mode="json", exclude={"tiv_column"})
    keys = [
        fingerprint(_PREPROCESSING_VERSION, rules, checksum, tiv)
        for checksum, (_, _, tiv) in zip(checksums, scans, strict=True)
    ]
    scan_ids = [scan_id for scan_id, _, _ in scans]
    refuse_twins(scan_ids, checksums, "their files are identical")

    state = results.volumes.with_name("rows.json")
    earlier, rows = _earlier(results.volumes, state, settings)
    if earlier is None or list(rows) != keys:
        built = _build(results.volumes, [state, results.index, results.grid], scans, keys, settings, earlier, rows)
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
    grid = {"shape": list(settings.shape), "affine": final_affine(affine, settings).tolist()}
    write_json(results.grid, grid | {"settings": preprocessing(settings)})
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
    path: Path, state: Path, settings: settings_of.Volumes
) -> tuple[NDArray[np.float16] | None, dict[str, _Row]]:
    """The array of an earlier run and, by key, those of its rows that are as they were written; None if unusable."""
    try:
        entries = read_json(state)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
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


def _build(
    path: Path,
    outdated: Sequence[Path],
    scans: list[tuple[str, Path, float | None]],
    keys: list[str],
    settings: settings_of.Volumes,
    earlier: NDArray[np.float16] | None,
    rows: dict[str, _Row],
) -> list[_Row]:
    """Writes ``volumes.npy`` to a path, and deletes the files that describe an earlier one."""
    import torch

    shape = (len(scans), *settings.shape)
    _check_space(path, int(np.prod(shape)) * 2)
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            start, lock = file.tell(), threading.Lock()

            def fill(row: int) -> tuple[_Row, list[str]]:
                scan_id, source, tiv = scans[row]
                if earlier is not None and keys[row] in rows:
                    old = rows[keys[row]]
                    digest, values = old.digest, np.asarray(earlier[old.number])
                else:
                    try:
                        data, affine = read_checked(source, settings)
                    except InputError as error:
                        return _Row(row, "", ""), [volume_fault(scan_id, source, str(error)).after(f"{scan_id}: ")]
                    digest = quick_digest(data)
                    # torch converts several times as fast as numpy.
                    on_grid = torch.from_numpy(bring_to_grid(data, affine, settings, tiv))
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
        refuse_twins([scan_id for scan_id, _, _ in scans], [row.digest for row in built], "their voxels are identical")
        for stale in outdated:
            stale.unlink(missing_ok=True)
    return built


def _check_space(path: Path, needed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed + 2**20:
        raise InputError(
            f"{path.parent}: {needed / 1e9:.3g} GB are needed for the volumes, {free / 1e9:.3g} GB are free; "
            "make room, or set `output` to a larger disk"
        )
