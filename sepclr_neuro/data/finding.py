"""Finds each participant's volume, and says what is wrong where there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sepclr_neuro.data.matching import Fault, Row, files_of
from sepclr_neuro.data.patterns import Folder, Pattern
from sepclr_neuro.data.proposing import FolderLook

__all__ = ["FoundVolumes", "find_volumes"]


@dataclass(frozen=True)
class FoundVolumes:
    """Each row's volume, what is wrong with the others that are kept, and how many files no row names."""

    paths: dict[int, Path]
    faults: list[Fault]
    unnamed: int


def find_volumes(
    folder: Folder, pattern: Pattern, rows: Sequence[Row], kept: Sequence[bool], ids: Sequence[str]
) -> FoundVolumes:
    """The one file of each row that the pattern names.

    Args:
        rows: of the tables, one a scan.
        kept: who needs a volume.
        ids: the columns that name a scan: the participant's and, if there is one, the session's.
    """
    faults: list[Fault] = []
    wanting: list[tuple[int, str, str]] = []
    named, paths, owners = set[str](), dict[int, Path](), dict[str, int]()
    for number, row in enumerate(rows):
        matches, fault = files_of(number, row, folder, pattern)
        named |= matches
        if not kept[number]:
            continue
        if fault is not None:
            faults.append(fault)
        elif len(matches) != 1:
            found = f"{len(matches)} ({', '.join(sorted(matches)[:3])})" if matches else "none"
            sentence = f": expected one volume called {pattern.shown(row)} in {folder.root}, found {found}"
            wanting.append((number, sentence, "several volumes" if matches else "no volume"))
        else:
            path = folder.root / min(matches)
            owner = owners.setdefault(os.path.realpath(path), number)
            if owner != number:
                what = f" has the volume of participant {rows[owner][ids[0]]}, {path}; each scan needs its own"
                faults.append(Fault(number, what, "a shared volume", owner=owner))
            paths[number] = path
    cause = ""
    if wanting:
        people = [row for number, row in enumerate(rows) if kept[number]]
        cause = FolderLook(folder, pattern, people, ids).advice([rows[number] for number, *_ in wanting], len(paths))
    faults += [Fault(number, sentence, kind, cause, absent=kind == "no volume") for number, sentence, kind in wanting]
    unnamed = folder.files(pattern.of_anybody()) - named
    return FoundVolumes(paths, sorted(faults, key=lambda fault: fault.row), len(unnamed))
