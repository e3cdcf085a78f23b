"""Checks of a cohort's volumes: one by one, and as a set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from isal import isal_zlib
from numpy.typing import NDArray

from sepclr_neuro.config import volumes as settings_of
from sepclr_neuro.core.errors import Alike, InputError, shape_of
from sepclr_neuro.core.threads import in_parallel
from sepclr_neuro.data.grid import Affine, checked_tiv, describe, final_affine, mostly_padding, same_grid, too_small
from sepclr_neuro.data.volume_files import canonical_header, read_checked

__all__ = ["check_volumes", "faulty_volumes", "padding", "quick_digest", "refuse_twins", "scans_of", "volume_fault"]

Look = Callable[[str, NDArray[np.float32], Affine], None]
"""Sees a scan's id, its voxels as stored but in RAS order [X, Y, Z], and their affine."""

_MOST_GRIDS = 10  # of programs that normalise, each has a few at most


def check_volumes(cohort: pd.DataFrame, settings: settings_of.Volumes) -> list[str]:
    """Every problem that shows without reading voxels: files, headers, grids, TIV.

    Args:
        cohort: rows of ``cohort.tsv``.
        settings: the section ``volumes``.
    """
    by_scan, of_all = _header_faults(cohort, settings)
    return [*(fault.after(f"{scan_id}: ") for scan_id, fault in by_scan.items()), *of_all]


def faulty_volumes(
    cohort: pd.DataFrame, settings: settings_of.Volumes, look: Look | None = None
) -> tuple[dict[str, Alike], list[str]]:
    """As :func:`check_volumes`, with every voxel read: what is wrong with a scan's volume, and with all together.

    Args:
        look: also sees each volume that can be read, from several threads.

    Returns:
        by ``scan_id`` the first thing that is wrong with its volume; problems of grids and settings.
    """
    faults, of_all = _header_faults(cohort, settings)
    scans = [(scan_id, path) for scan_id, path, _ in scans_of(cohort, settings) if path and scan_id not in faults]
    if of_all:
        return faults, of_all

    def examine(scan: tuple[str, Path]) -> tuple[str, str]:
        try:
            data, affine = read_checked(scan[1], settings)
        except InputError as error:
            return "", str(error)
        if look is not None:
            look(scan[0], data, affine)
        return quick_digest(data), ""

    looked = {scan_id: found for (scan_id, _), found in zip(scans, in_parallel(examine, scans, "volumes"), strict=True)}
    faults |= {
        scan_id: volume_fault(scan_id, path, looked[scan_id][1]) for scan_id, path in scans if looked[scan_id][1]
    }
    digests = {scan_id: digest for scan_id, (digest, _) in looked.items() if digest}
    for one, other, sentence in twins(list(digests), list(digests.values()), "their voxels are identical"):
        faults |= {scan_id: Alike(sentence, scan_id, "twins") for scan_id in (one, other)}  # it may be of either
    return faults, of_all


def padding(cohort: pd.DataFrame, settings: settings_of.Volumes) -> list[str]:
    """A sentence where the grid is mostly padding, by the first volume whose header can be read."""
    for _, path, _ in scans_of(cohort, settings):
        if path is not None:
            try:
                return mostly_padding(canonical_header(path, settings)[1], settings)
            except InputError:
                continue  # said by the other checks
    return []


def _header_faults(cohort: pd.DataFrame, settings: settings_of.Volumes) -> tuple[dict[str, Alike], list[str]]:
    column = settings.tiv_column
    if column is not None and column not in cohort:
        return {}, [f"volumes.tiv_column: the cohort has no column {column!r}; add it under cohort.columns.others"]
    faults: dict[str, Alike] = {}
    problems: list[str] = []
    grids: list[tuple[str, Affine, list[str]]] = []
    for scan_id, path, tiv in scans_of(cohort, settings):
        if path is None:
            faults[scan_id] = Alike("has no volume; set cohort.studies[].volumes or cohort.columns.volume", scan_id)
            continue
        try:
            if column is not None:
                checked_tiv(tiv)
            stored, affine = canonical_header(path, settings)
        except InputError as error:
            faults[scan_id] = volume_fault(scan_id, path, str(error))
            continue
        final = final_affine(affine, settings)
        for _, known, members in grids:
            if same_grid(known, final, settings.shape):
                members.append(str(path))
                break
        else:
            grids.append((str(path), final, [str(path)]))
            problems += [
                Alike(f"{path}: {problem}", scan_id, "a grid too small")
                for problem in too_small(stored, affine, settings)
            ]
    cause = (
        "With so many grids, are these volumes in each participant's own space? Normalise them to MNI space then"
        if len(grids) > _MOST_GRIDS
        else ""
    )
    for path_text, final, members in grids[1:]:
        sentence = (
            f"{path_text} has {describe(final)}, but {grids[0][0]} has {describe(grids[0][1])}; volumes on another "
            f"grid than the latter: {len(members)}. Set volumes.resample_mm, which brings all to one grid"
        )
        problems.append(Alike(sentence, Path(path_text).name, "another grid", cause))
    return faults, problems


def scans_of(cohort: pd.DataFrame, settings: settings_of.Volumes) -> Iterator[tuple[str, Path | None, float | None]]:
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


def volume_fault(scan_id: str, path: Path, fault: str) -> Alike:
    """An error of a scan's volume; sentences that differ in names and numbers alone are of one kind."""
    target = os.readlink(path) if path.is_symlink() else ""
    return Alike(fault, scan_id, shape_of(fault, scan_id, str(path), path.name, path.stem, target))


def quick_digest(data: NDArray[np.float32]) -> str:
    """Tells apart volumes that were read: 64 bits, which guard against chance alone, in a fifth of SHA-256's time."""
    return f"{isal_zlib.crc32(data):08x}{isal_zlib.adler32(data):08x}"


def twins(scan_ids: Sequence[str], digests: Sequence[str], what: str) -> list[tuple[str, str, str]]:
    """Scans with the same volume: one, the other, and the sentence about them."""
    first: dict[str, str] = {}
    return [
        (first[digest], scan_id, f"{first[digest]} and {scan_id} have the same volume ({what}); remove or replace one")
        for scan_id, digest in zip(scan_ids, digests, strict=True)
        if first.setdefault(digest, scan_id) != scan_id
    ]


def refuse_twins(scan_ids: Sequence[str], digests: Sequence[str], what: str) -> None:
    problems = [Alike(sentence, other, "twins") for _, other, sentence in twins(scan_ids, digests, what)]
    if problems:
        raise InputError(problems)
