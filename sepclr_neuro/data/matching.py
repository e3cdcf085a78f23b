"""The files that a pattern names for a row of a table, or why it cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sepclr_neuro.data.patterns import Folder, Pattern, broken_link, link_advice

__all__ = ["Fault", "Row", "files_of"]

Row = Mapping[str, str | None]
"""Columns of a table and their text, None where it is missing."""


@dataclass(frozen=True)
class Fault:
    """Why a row has no volume: a sentence that follows its participant, its kind, and what is to be said once a kind.

    Attributes:
        owner: the row that has the same volume, if that is the fault.
        absent: whether the fault is that there is none.
    """

    row: int
    sentence: str
    kind: str
    cause: str = ""
    owner: int | None = None
    absent: bool = False


def files_of(number: int, row: Row, folder: Folder, pattern: Pattern) -> tuple[set[str], Fault | None]:
    """The files that the pattern names for a row, or why it cannot."""
    empty = [name for name in pattern.columns if row[name] is None]
    if empty:
        sentence = f" has no {empty[0]}, which the path of volumes, {pattern}, needs"
        return set(), Fault(number, sentence, f"no {empty[0]}", absent=True)
    filled, shown = pattern.filled(row), pattern.shown(row)
    if folder.inside(filled) is None:
        outside = os.path.normpath(folder.root / shown)
        sentence = f": {shown} leads out of {folder.root}, to {outside}; set `volumes_root` to a folder of both"
        return set(), Fault(number, sentence, "out of its folder")
    matches = folder.files(filled)
    link = None if matches else broken_link(folder.root / shown)
    if link is not None:
        return set(), Fault(number, f": {link_advice(link)}", "a broken link")
    return matches, None
