"""Paths of volumes: a pattern that a table's row fills, text that may not lead out, links that may."""

from __future__ import annotations

import errno
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepclr_neuro.core.errors import nearest

__all__ = ["Field", "Folder", "ListedFolder", "Pattern", "broken_link", "link_advice"]

_WILD = "\0"  # the pattern's own `*` while a path is put together: no table, path or configuration holds this character
_FORM = re.compile(r"label|upper|lower|0\d+")


@dataclass(frozen=True)
class Field:
    """A ``{column}`` or ``{column:form}`` of a pattern."""

    column: str
    form: str = ""

    def of(self, value: str) -> str:
        """The value in this form: ``label`` without ``sub-`` or ``ses-``, ``03`` with a last number of three digits.

        >>> [Field("id", form).of("sub-a7") for form in ("", "label", "upper", "03")]
        ['sub-a7', 'a7', 'SUB-A7', 'sub-a007']
        >>> [Field("id", form).of("007.0") for form in ("01", "04")]
        ['7', '0007']
        """
        if self.form == "label":
            return re.sub("^(sub|ses)-", "", value)
        if self.form.startswith("0"):
            # A program that took ids for numbers may have written 7.0 for 007.
            return re.sub(r"(\d+)(\.0+)?$", lambda number: number[1].lstrip("0").zfill(int(self.form)), value)
        return {"upper": value.upper(), "lower": value.lower()}.get(self.form, value)

    def __str__(self) -> str:
        return f"{{{self.column}{':' if self.form else ''}{self.form}}}"


@dataclass(frozen=True)
class Pattern:
    """A path pattern.

    Attributes:
        parts: literal text, fields and ``*``, in turn.
    """

    parts: tuple[str | Field, ...]

    @classmethod
    def of(cls, text: str, columns: Collection[str]) -> tuple[Pattern, list[str]]:
        """The pattern of a configuration, and what its braces have that no table or form is called."""
        parts: list[str | Field] = []
        problems = []
        for part in re.split(r"(\{[^{}]*\}|\*)", text):
            if part[:1] != "{":
                parts.append(part)
                continue
            name = part[1:-1]
            column, _, form = (
                (name, "", "") if name in columns else name.rpartition(":") if ":" in name else (name, "", "")
            )
            if column not in columns:
                problems.append(f"{part}, which no table has.{nearest(column, columns, listed=True)}")
            elif form and not _FORM.fullmatch(form):
                problems.append(f"{part}; the form of a column is `label`, `upper`, `lower` or a width such as `03`")
            parts.append(Field(column, form))
        return cls(tuple(part for part in parts if part)), problems

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    @property
    def columns(self) -> list[str]:
        """The columns that a row must have a value in."""
        return list(dict.fromkeys(part.column for part in self.parts if isinstance(part, Field)))

    def filled(self, values: Mapping[str, str | None]) -> str:
        """The path of a row that has a value in all of the columns, as :meth:`Folder.inside` takes it."""
        return "".join(
            part.of(values[part.column] or "") if isinstance(part, Field) else _WILD if part == "*" else part
            for part in self.parts
        )

    def shown(self, values: Mapping[str, str | None]) -> str:
        """The path of a row, as messages have it."""
        return self.filled(values).replace(_WILD, "*")

    def of_anybody(self) -> str:
        """The path of any row, as :meth:`Folder.inside` takes it."""
        return "".join(_WILD if isinstance(part, Field) or part == "*" else part for part in self.parts)


class Folder:
    """The folder that volumes are in. Links in it lead where the user wants; a path's *text* may not lead out.

    Each folder on the way is listed once, however many participants are looked for: archives are large, and disks slow.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bases = dict.fromkeys((os.path.abspath(root), os.path.realpath(root)))
        self._listed: dict[str, list[str]] = {}
        self._found: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def inside(self, filled: str) -> str | None:
        """The same place from the folder on, ``..`` taken out of its text; None if the text leads out."""
        for base in self._bases:
            path = os.path.normpath(os.path.join(base, filled))
            if Path(path).is_relative_to(base):
                return os.path.relpath(path, base)
        return None

    def files(self, filled: str) -> set[str]:
        """Existing paths, from the folder on, broken links included. Nothing outside is read."""
        inside = self.inside(filled)
        if inside is None:
            return set()
        if _WILD not in inside:
            return {inside} if os.path.lexists(os.path.join(self.root, inside)) else set()
        *folders, last = inside.split(os.sep)
        return set(_called(self._below(tuple(folders)), last))

    def _below(self, folders: tuple[str, ...]) -> list[tuple[str, str]]:
        """By name what lies in the folders that these parts of a path name, each with its path."""
        if folders not in self._found:
            plain = not any(_WILD in part for part in folders)
            places = [os.path.join("", *folders)] if plain else _called(self._below(folders[:-1]), folders[-1])
            self._found[folders] = sorted(
                (name, os.path.join(place, name)) for place in places for name in self._names(place)
            )
        return self._found[folders]

    def _names(self, place: str) -> list[str]:
        if place not in self._listed:
            try:
                self._listed[place] = os.listdir(os.path.join(self.root, place))
            except OSError:  # no folder, or one that may not be opened
                self._listed[place] = []
        return self._listed[place]


class ListedFolder(Folder):
    """A folder that holds nothing but the given files, whatever is on the disk.

    Args:
        root: the folder.
        files: paths from it on.
    """

    def __init__(self, root: Path, files: Collection[str]) -> None:
        super().__init__(root)
        self._files = set(files)
        entries: dict[str, set[str]] = {}
        for path in files:
            place = path
            while place:
                place, name = os.path.split(place)
                entries.setdefault(place, set()).add(name)
        self._listed = {place: sorted(names) for place, names in entries.items()}

    def files(self, filled: str) -> set[str]:
        return super().files(filled) & self._files

    def _names(self, place: str) -> list[str]:
        return self._listed.get(place, [])


def _called(entries: Sequence[tuple[str, str]], part: str) -> list[str]:
    """The paths of those whose name is this part of a path; a ``*`` at its beginning finds nothing that is hidden."""
    literal, *rest = part.split(_WILD)
    start, end = (bisect_left(entries, (literal + after,)) for after in ("", chr(sys.maxunicode) if rest else "\0"))
    if not rest:
        return [path for _, path in entries[start:end]]
    expression = re.compile(".*".join(map(re.escape, [literal, *rest])), re.DOTALL)
    return [
        path
        for name, path in entries[start:end]
        if (literal or not name.startswith(".")) and expression.fullmatch(name)
    ]


def broken_link(path: Path) -> Path | None:
    """The first link on the way to ``path``, itself included, that leads to nothing."""
    for place in (*reversed(path.parents), path):
        try:
            place.stat()
        except OSError as error:
            return place if error.errno in (errno.ENOENT, errno.ELOOP) and place.is_symlink() else None
    return None


def link_advice(link: Path) -> str:
    """The message about a link that leads to nothing."""
    target = os.readlink(link)
    if "/annex/objects/" in Path(target).as_posix():
        return f"{link} is a link of DataLad whose content is not on this machine; fetch it: `datalad get {link}`"
    return (
        f"{link} is a link to {target}, where nothing is; mount the disk or archive of that name, or correct the link"
    )
