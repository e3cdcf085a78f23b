"""Finds each person's volume; where there is none, looks at what is there and proposes the pattern that would fit."""

from __future__ import annotations

import difflib
import os
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sepclr_neuro.data.patterns import Field, Folder, Pattern, broken_link, link_advice

__all__ = ["Fault", "FoundVolumes", "Row", "find_volumes"]

Row = Mapping[str, str | None]
"""Columns of a table and their text, None where it is missing."""

# An archive may hold millions of files, on a slow disk.
_MOST_ENTRIES = 100_000
_MOST_SECONDS = 5.0
_MOST_PEOPLE = 40  # from whose files patterns are made; they are tried on all
_MOST_FILES = 200  # of one of these people
_MOST_TRIED = 60  # patterns
_VOLUME = (".nii", ".nii.gz", ".npy")

# What CAT12 and SPM put in front of a name, or others at its end.
_KIND = re.compile(r"(?:^|_)((?:s\d*)?(?:m0?w[pc][1-6]|w?[pc][0-6]|r[pc][1-6]|wm))(?=[_.{*]|sub-|$)")
_PREFIX = re.compile(r"^(?:s\d*)?(?:m0?w[pc][1-6]|w?[pc][0-6]|r[pc][1-6]|wm)")
_MEANINGS = (
    (r"mw[pc]1", "modulated grey matter"),
    (r"(m0?)?w?[pc]2", "white matter"),
    (r"(m0?)?w?[pc]3", "cerebrospinal fluid"),
    (r"m0w[pc]1", "grey matter, modulated for the non-linear part alone"),
    (r"w[pc]1", "grey matter that is not modulated"),
    (r"r?[pc]1", "grey matter in the person's own space"),
    (r"wm", "the whole T1 image"),
)


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
        matches, fault = _named(number, row, folder, pattern)
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
        cause = _Look(folder, pattern, people, ids).advice([rows[number] for number, *_ in wanting], len(paths))
    faults += [Fault(number, sentence, kind, cause, absent=kind == "no volume") for number, sentence, kind in wanting]
    unnamed = folder.files(pattern.of_anybody()) - named
    return FoundVolumes(paths, sorted(faults, key=lambda fault: fault.row), len(unnamed))


def _named(number: int, row: Row, folder: Folder, pattern: Pattern) -> tuple[set[str], Fault | None]:
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


# --- what is there -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Listing:
    """Volumes in a folder, from it on; ``whole`` unless looking took too long; folders that may not be opened."""

    files: list[str]
    whole: bool
    closed: list[str]


def _listing(root: Path, first: str) -> _Listing:
    """Breadth first, so that a deep archive does not hide what lies beside it; ``first`` before the rest."""
    files: list[str] = []
    closed: list[str] = []
    seen: set[tuple[int, int]] = set()  # folders, which links may reach twice or in circles
    entries, end = 0, time.monotonic() + _MOST_SECONDS
    for top in dict.fromkeys((first, "")):
        queue = deque([top])
        while queue:
            place = queue.popleft()
            if entries >= _MOST_ENTRIES or time.monotonic() > end:
                return _Listing(files, False, closed)
            try:
                status = (root / place).stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(root / place) as found:
                    here = sorted((entry.name, entry.is_dir()) for entry in islice(found, _MOST_ENTRIES - entries))
            except PermissionError:
                closed.append(place)
                continue
            except OSError:
                continue
            entries += len(here)
            for name, is_folder in here:
                path = os.path.join(place, name)
                if is_folder and not name.startswith("."):
                    queue.append(path)
                elif not is_folder and name.lower().endswith(_VOLUME):
                    files.append(path)
    return _Listing(files, True, closed)


# --- which pattern would fit -------------------------------------------------------------------------------------


class _Look:
    """A look at a folder on behalf of people without a volume.

    Args:
        people: rows of everybody who needs one.
        ids: as in :func:`find_volumes`.
    """

    def __init__(self, folder: Folder, pattern: Pattern, people: Sequence[Row], ids: Sequence[str]) -> None:
        self.folder, self.pattern, self.people, self.ids = folder, pattern, people, ids
        literal = next(iter(pattern.parts), "")
        inside = folder.inside(os.path.dirname(literal)) if isinstance(literal, str) else None
        self.listing = _listing(folder.root, "" if inside in (None, ".") else str(inside))
        self.files = set(self.listing.files)
        self.lowered = {path: path.lower() for path in self.listing.files}
        self.end = time.monotonic() + _MOST_SECONDS

    def advice(self, wanting: Sequence[Row], found: int) -> str:
        """What is likely wrong, and what would find more than the ``found`` volumes."""
        looked = "" if self.listing.whole else f" among the {_MOST_ENTRIES:,} entries or {_MOST_SECONDS:g} s looked at"
        best = self._best(wanting, found) if self.files else None
        if best is not None:
            fits = self._fitting(best)
            sample = next((row for row in wanting if row in fits), wanting[0])
            reasons = "; ".join(_differences(self.pattern, best, sample))
            others = [row for row in self.people if row not in fits]
            rest = f", not {self._names(others)}" if others else ""
            return f"{reasons}: `{best}` would find {len(fits)} of {len(self.people)}{rest}"
        if self.listing.closed:
            closed = self.folder.root / self.listing.closed[0]
            return f"The folder {closed} may not be opened; ask for the permission to read it"
        if not self.files:
            return (
                f"No file there ends in {', '.join(_VOLUME)}{looked}; correct `volumes_root`, or copy the volumes there"
            )
        own = next((path for row in wanting[:_MOST_PEOPLE] for path in self._of(row, alone=True)), None)
        if own is None:
            example = f"{len(self.files)} volumes there{looked}, such as {min(self.files)}"
            return f"None of the {example}, has the id of {self._names(wanting)} in its name"
        meaning = _meaning(_kind(own))
        return f"There is {own}{f' ({meaning})' if meaning else ''}, but no one pattern finds more people's volumes"

    def _names(self, rows: Sequence[Row]) -> str:
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        return ", ".join(" ".join(str(row[name]) for name in self.ids) for row in rows[:3]) + more

    def _best(self, wanting: Sequence[Row], found: int) -> Pattern | None:
        """The pattern that finds most people, if it finds more than ``found``."""
        votes: Counter[str] = Counter()
        for row in _spread(wanting, _MOST_PEOPLE):
            for path in islice(self._of(row), _MOST_FILES):
                votes.update(self._templates(path, row))
            if time.monotonic() > self.end:
                break
        tried = {str(self.pattern): found}
        for text, _ in votes.most_common(_MOST_TRIED):
            tried.setdefault(text, self._count(self._parsed(text)))
            if time.monotonic() > self.end:
                break
        tried |= self._merged(tried)
        best = self._parsed(max(tried, key=lambda text: self._worth(text, tried)))
        return best if tried[str(best)] > found and len(self._fitting(best)) > found else None

    def _parsed(self, text: str) -> Pattern:
        return Pattern.of(text, self.people[0].keys())[0]

    def _worth(self, text: str, tried: Mapping[str, int]) -> tuple[bool, bool, int, int, float]:
        """The kind of map that was asked for, then modulated grey matter, then how many people, then plainness."""
        asked, kind = _kind(str(self.pattern)), _kind(text)
        enough = 2 * tried[text] >= max(tried.values())
        likeness = difflib.SequenceMatcher(None, text, str(self.pattern)).ratio()
        return (
            enough and asked in (kind, "") and kind != "",
            enough and kind == "mwp1",
            tried[text],
            -text.count("*"),
            likeness,
        )

    def _count(self, pattern: Pattern) -> int:
        """For how many people the listing has a file of their own."""
        filled = (pattern.filled(row) for row in self.people if None not in map(row.get, pattern.columns))
        return len(self.files.intersection(filled))

    def _fitting(self, pattern: Pattern) -> list[Row]:
        """The people of whom the pattern finds one file on the disk, which nobody else has."""
        owners: dict[str, Row] = {}
        for row in self.people:
            matches = _named(0, row, self.folder, pattern)[0]
            if len(matches) == 1:
                owners.setdefault(min(matches), row)
        return list(owners.values())

    def _merged(self, tried: Mapping[str, int]) -> dict[str, int]:
        """Of each kind of map the best with a ``*`` where patterns of other people differ from it."""
        merged: dict[str, int] = {}
        ranked = sorted(tried, key=lambda text: self._worth(text, tried), reverse=True)
        for kind in dict.fromkeys((_kind(str(self.pattern)), "mwp1", _kind(ranked[0]))):
            best, *others = [text for text in ranked if _kind(text) == kind] or [""]
            for other in others:
                number = merged.get(best, tried.get(best, 0))
                if number == len(self.people) or time.monotonic() > self.end:
                    break
                both = _merge(best, other)
                if both is None or both in merged or both in tried:
                    continue
                merged[both] = len(self._fitting(self._parsed(both)))
                best = both if merged[both] > number else best
        return merged

    # --- patterns of one file ------------------------------------------------------------------------------------

    def _of(self, row: Row, alone: bool = False) -> Iterator[str]:
        """Files whose path holds a row's id, or its value in another column of the pattern; ``alone``: as a word."""
        names = dict.fromkeys((self.ids[0], *self.pattern.columns))
        for value in (row[name] for name in names if name not in self.ids[1:]):
            if value is not None:
                needle, expression = _needle(value), _expression(value, "sub-")
                for path in (path for path, lowered in self.lowered.items() if needle in lowered):
                    marked = _marked(path)
                    spans = [match.span() for match in expression.finditer(marked)]
                    if any(not alone or not _adjoins(marked, *span) for span in spans):
                        yield path

    def _templates(self, path: str, row: Row) -> list[str]:
        """A file's path with fields where a row's values are: wherever they may be, and where they stand alone."""
        if set("{}*") & set(path):
            return []
        marked, spans = _marked(path), list[tuple[int, int, str]]()
        for column in dict.fromkeys((*self.ids, *self.pattern.columns)):
            value = row[column]
            for start, end, text in _fields(marked, column, value, column in self.ids[1:]) if value else ():
                if all(end <= other_start or other_end <= start for other_start, other_end, _ in spans):
                    spans.append((start, end, text))
        alone = [span for span in spans if not _adjoins(marked, *span[:2])]
        both = [_replaced(marked, chosen) for chosen in (spans, alone) if chosen]
        return list(dict.fromkeys(both))


def _marked(path: str) -> str:
    """A path with a mark between what CAT12 puts in front of a name and the name, which may begin with a number."""
    head, slash, name = path.rpartition("/")
    return f"{head}{slash}{_PREFIX.sub(lambda prefix: prefix[0] + chr(1), name)}"


def _cut(value: str, entity: str) -> tuple[str, str]:
    """A value without its entity, cut before its last number."""
    label = re.sub(f"^{entity}", "", value, flags=re.IGNORECASE)
    parts = re.fullmatch(r"(.*?)(\d+)(?:\.0+)?", label, flags=re.DOTALL)
    return (parts[1], parts[2]) if parts else (label, "")


def _needle(value: str) -> str:
    """What every path that :func:`_expression` finds holds in small letters."""
    head, number = _cut(value, "sub-")
    return max(head.lower(), number.lstrip("0"), key=len)


def _expression(value: str, entity: str) -> re.Pattern[str]:
    """Finds a value with or without its entity, however many zeros its last number begins with, in either case."""
    head, number = _cut(value, entity)
    before = r"(?<![A-Za-z])" if head[:1].isalpha() else r"(?<!\d)" if (head or number)[:1].isdigit() else ""
    core = re.escape(head) + (f"0*{number.lstrip('0') or '0'}(?!\\d)" if number else r"(?![A-Za-z])")
    return re.compile(f"{before}(?P<core>{core})", re.IGNORECASE)


def _fields(marked: str, column: str, value: str, is_session: bool) -> Iterator[tuple[int, int, str]]:
    """Where a path has a row's value, and the field that writes it so."""
    entity = "ses-" if is_session else "sub-"
    for match in _expression(value, entity).finditer(marked):
        start, end = match.span("core")
        in_front = marked[max(0, start - len(entity)) : start]
        has_entity = in_front.lower() == entity
        # The numbers of sessions are too short to be looked for anywhere else.
        if is_session and not has_entity and not re.search("[A-Za-z]", match["core"]):
            continue
        digits = len(re.search(r"\d*$", match["core"])[0])  # type: ignore[index]
        for form in ("", "label", "upper", "lower", f"0{digits}"):
            written = Field(column, form).of(value)
            if has_entity and written == in_front + match["core"]:
                yield start - len(entity), end, str(Field(column, form))
                break
            if written == match["core"]:
                yield start, end, str(Field(column, form))
                break


def _adjoins(marked: str, start: int, end: int) -> bool:
    """Whether a letter or digit is on either side."""
    return marked[start - 1 : start].isalnum() or marked[end : end + 1].isalnum()


def _replaced(marked: str, spans: Sequence[tuple[int, int, str]]) -> str:
    for start, end, text in sorted(spans, reverse=True):
        marked = marked[:start] + text + marked[end:]
    return marked.replace(chr(1), "")


def _merge(one: str, other: str) -> str | None:
    """One pattern for both, with ``*`` where they differ; None if they do in depth or in what identifies a person.

    >>> _merge("a/{id}_x1.nii", "b/{id}_x2.nii.gz")
    '*/{id}_x*.nii*'
    """
    parts = [text.split("/") for text in (one, other)]
    if len(parts[0]) != len(parts[1]):
        return None
    merged = "/".join(_merge_names(*names) for names in zip(*parts, strict=True))
    return merged if re.findall(r"\{[^}]*\}", merged) == re.findall(r"\{[^}]*\}", one) else None


def _merge_names(one: str, other: str) -> str:
    tokens, others = (re.findall(r"\{[^}]*\}|\.nii|.", name) for name in (one, other))
    merged = ""
    for kind, start, end, _, _ in difflib.SequenceMatcher(None, tokens, others, autojunk=False).get_opcodes():
        merged += "".join(tokens[start:end]) if kind == "equal" else "*"
    return re.sub(r"\*+", "*", merged)


def _spread(rows: Sequence[Row], most: int) -> list[Row]:
    """Some of the rows, from first to last."""
    return [rows[number * len(rows) // min(most, len(rows))] for number in range(min(most, len(rows)))]


# --- how it differs ----------------------------------------------------------------------------------------------


def _kind(path: str) -> str:
    """``mwp1``, say, in a file's name, at its beginning or its end."""
    found = _KIND.search(path.rpartition("/")[2])
    return found[1] if found else ""


def _meaning(kind: str) -> str:
    kind = re.sub(r"^s\d*(?=[mwpcr])", "", kind)
    return next((meaning for form, meaning in _MEANINGS if re.fullmatch(form, kind)), "")


def _differences(asked: Pattern, fits: Pattern, row: Row) -> list[str]:
    """What is different between two patterns, in words; ``row`` for an example."""
    one, other = str(asked), str(fits)
    found = [*_of_ids(asked, fits, row)]
    kinds = [_kind(text) for text in (one, other)]
    if kinds[0] != kinds[1] and kinds[1]:
        meaning = f" ({_meaning(kinds[1])})" if _meaning(kinds[1]) else ""
        found.append(f"the files are {kinds[1]}{meaning}{f', not {kinds[0]}' if kinds[0] else ''}")
    ends = [re.search(r"\.(nii\*|nii\.gz|nii|npy)$", text, re.IGNORECASE) for text in (one, other)]
    if ends[1] and (ends[0] is None or ends[0][0].lower() != ends[1][0].lower()):
        found.append(f"the files end in {ends[1][0]}")
    sessions = [set(re.findall(r"ses-[^_/.]*", text)) for text in (one, other)]
    if sessions[0] != sessions[1]:
        names = " and ".join(sorted(sessions[1]))
        found.append(f"the files are of {names}" if names else "the files have no session in their names")
    if not found and one.lower() == other.lower():
        return ["Capital letters differ"]
    folders = [text.rpartition("/")[0] for text in (one, other)]
    plain = [re.sub(r"\{([^:}]*)[^}]*\}|ses-[^_/.]*|sub-", r"\1", folder).lower() for folder in folders]
    if plain[0].strip("/") != plain[1].strip("/"):
        found.append(f"the files are in {folders[1]}/" if folders[1] else "the files lie in no folder of their own")
    found = found or ["the files have other names"]
    return [found[0][0].upper() + found[0][1:], *found[1:]]


def _of_ids(asked: Pattern, fits: Pattern, row: Row) -> Iterator[str]:
    """How ids are written in the files and in the table."""
    written = {part.column: part for part in asked.parts if isinstance(part, Field)}
    told = set()
    for part in fits.parts:
        if not isinstance(part, Field) or part == written.get(part.column, Field(part.column)) or part in told:
            continue
        told.add(part)
        value = str(row[part.column])
        both = f"{value} in the table, {part.of(value)} in the files"
        if part.form == "label":
            yield f"the files' names lack the `{value[:4]}` of the ids"
        elif part.form[:1] == "0":
            yield f"leading zeros differ ({both}; Excel takes them away)"
        elif part.form:
            yield f"capital letters differ ({both})"
    if "sub-{" in str(fits) and "sub-{" not in str(asked):
        yield "the files' names have a `sub-` that the ids lack"
