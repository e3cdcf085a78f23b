"""Proposes a pattern where participants have no volume, from the files that exist."""

from __future__ import annotations

import difflib
import os
import re
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sepclr_neuro.data.differences import differences, kind_of, meaning_of
from sepclr_neuro.data.matching import Row, files_of
from sepclr_neuro.data.patterns import Field, Folder, Pattern

__all__ = ["VOLUME_ENDINGS", "FolderLook", "Listing", "list_files"]

# An archive may hold millions of files, on a slow disk.
_MOST_ENTRIES = 100_000
_MOST_SECONDS = 5.0
_MOST_PEOPLE = 40  # from whose files patterns are made; they are tried on all
_MOST_FILES = 200  # of one of these participants
_MOST_TRIED = 60  # patterns
VOLUME_ENDINGS = (".nii", ".nii.gz", ".npy")

# What CAT12 and SPM put in front of a name.
_PREFIX = re.compile(r"^(?:s\d*)?(?:m0?w[pc][1-6]|w?[pc][0-6]|r[pc][1-6]|wm)")


@dataclass(frozen=True)
class Listing:
    """Files in a folder, from it on; ``whole`` unless looking took too long; folders that may not be opened."""

    files: list[str]
    whole: bool
    closed: list[str]


def list_files(
    root: Path,
    first: str = "",
    endings: tuple[str, ...] = VOLUME_ENDINGS,
    skipped: Collection[str] = (),
    patience: int = 1,
) -> Listing:
    """Breadth first, so that a deep archive does not hide what lies beside it; links are followed, once each.

    Args:
        first: a folder that is looked at before the rest.
        endings: of the files that are listed, in small letters.
        skipped: names of folders that are not opened.
        patience: how many times the usual number of entries and of seconds it may take.
    """
    files: list[str] = []
    closed: list[str] = []
    seen: set[tuple[int, int]] = set()  # folders, which links may reach twice or in circles
    most, entries, end = patience * _MOST_ENTRIES, 0, time.monotonic() + patience * _MOST_SECONDS
    for top in dict.fromkeys((first, "")):
        queue = deque([top])
        while queue:
            place = queue.popleft()
            if entries >= most or time.monotonic() > end:
                return Listing(files, False, closed)
            try:
                status = (root / place).stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(root / place) as found:
                    here = sorted((entry.name, entry.is_dir()) for entry in islice(found, most - entries))
            except PermissionError:
                closed.append(place)
                continue
            except OSError:
                continue
            entries += len(here)
            for name, is_folder in here:
                path = os.path.join(place, name)
                if is_folder and not name.startswith(".") and name not in skipped:
                    queue.append(path)
                elif not is_folder and name.lower().endswith(endings):
                    files.append(path)
    return Listing(files, True, closed)


# --- which pattern would fit -----------------------------------------------------------------------------------


class FolderLook:
    """A look at a folder on behalf of participants without a volume.

    Args:
        people: rows of all who need one.
        ids: as in :func:`find_volumes`.
        listing: the volumes to choose from; by default those in the folder, near the pattern's first part first.
    """

    def __init__(
        self,
        folder: Folder,
        pattern: Pattern,
        people: Sequence[Row],
        ids: Sequence[str],
        listing: Listing | None = None,
    ) -> None:
        self.folder, self.pattern, self.people, self.ids = folder, pattern, people, ids
        literal = next(iter(pattern.parts), "")
        inside = folder.inside(os.path.dirname(literal)) if isinstance(literal, str) else None
        self.listing = listing or list_files(folder.root, "" if inside in (None, ".") else str(inside))
        self.files = set(self.listing.files)
        self.lowered = {path: path.lower() for path in self.listing.files}
        self.end = time.monotonic() + _MOST_SECONDS

    def advice(self, wanting: Sequence[Row], found: int) -> str:
        """The likely error, and a pattern that would find more than the ``found`` volumes."""
        looked = "" if self.listing.whole else f" among the {_MOST_ENTRIES:,} entries or {_MOST_SECONDS:g} s looked at"
        best = self.best(wanting, found) if self.files else None
        if best is not None:
            fits = self.fitting(best)
            sample = next((row for row in wanting if row in fits), wanting[0])
            reasons = "; ".join(differences(self.pattern, best, sample))
            others = [row for row in self.people if row not in fits]
            rest = f", not {self._names(others)}" if others else ""
            return f"{reasons}: `{best}` would find {len(fits)} of {len(self.people)}{rest}"
        if self.listing.closed:
            closed = self.folder.root / self.listing.closed[0]
            return f"The folder {closed} may not be opened; ask for the permission to read it"
        if not self.files:
            return (
                f"No file there ends in {', '.join(VOLUME_ENDINGS)}{looked}; correct `volumes_root`, or copy the "
                "volumes there"
            )
        own = next((path for row in wanting[:_MOST_PEOPLE] for path in self._of(row, alone=True)), None)
        if own is None:
            example = f"{len(self.files)} volumes there{looked}, such as {min(self.files)}"
            return f"None of the {example}, has the id of {self._names(wanting)} in its name"
        meaning = meaning_of(kind_of(own))
        return f"There is {own}{f' ({meaning})' if meaning else ''}, but no single pattern finds more volumes"

    def _names(self, rows: Sequence[Row]) -> str:
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        return ", ".join(" ".join(str(row[name]) for name in self.ids) for row in rows[:3]) + more

    def best(self, wanting: Sequence[Row], found: int) -> Pattern | None:
        """The pattern that finds most participants, if it finds more than ``found``."""
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
        return best if tried[str(best)] > found and len(self.fitting(best)) > found else None

    def _parsed(self, text: str) -> Pattern:
        return Pattern.of(text, self.people[0].keys())[0]

    def _worth(self, text: str, tried: Mapping[str, int]) -> tuple[bool, bool, int, int, float]:
        """The kind of the given map, then modulated grey matter, then how many participants, then plainness."""
        given, kind = kind_of(str(self.pattern)), kind_of(text)
        enough = 2 * tried[text] >= max(tried.values())
        likeness = difflib.SequenceMatcher(None, text, str(self.pattern)).ratio()
        return (
            enough and given in (kind, "") and kind != "",
            enough and kind == "mwp1",
            tried[text],
            -text.count("*"),
            likeness,
        )

    def _count(self, pattern: Pattern) -> int:
        """For how many participants the listing has a file of their own."""
        filled = (pattern.filled(row) for row in self.people if None not in map(row.get, pattern.columns))
        return len(self.files.intersection(filled))

    def fitting(self, pattern: Pattern) -> list[Row]:
        """The participants of whom the pattern finds one file on the disk, and of no other one."""
        owners: dict[str, Row] = {}
        for row in self.people:
            matches = files_of(0, row, self.folder, pattern)[0]
            if len(matches) == 1:
                owners.setdefault(min(matches), row)
        return list(owners.values())

    def _merged(self, tried: Mapping[str, int]) -> dict[str, int]:
        """Of each kind of map the best with a ``*`` where patterns of other participants differ from it."""
        merged: dict[str, int] = {}
        ranked = sorted(tried, key=lambda text: self._worth(text, tried), reverse=True)
        for kind in dict.fromkeys((kind_of(str(self.pattern)), "mwp1", kind_of(ranked[0]))):
            best, *others = [text for text in ranked if kind_of(text) == kind] or [""]
            for other in others:
                number = merged.get(best, tried.get(best, 0))
                if number == len(self.people) or time.monotonic() > self.end:
                    break
                both = _merge(best, other)
                if both is None or both in merged or both in tried:
                    continue
                merged[both] = len(self.fitting(self._parsed(both)))
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
    """Text that is in every path of :func:`_expression`, in small letters."""
    head, number = _cut(value, "sub-")
    return max(head.lower(), number.lstrip("0"), key=len)


def _expression(value: str, entity: str) -> re.Pattern[str]:
    """Finds a value with or without its entity, however many zeros its last number begins with, in either case."""
    head, number = _cut(value, entity)
    before = r"(?<![A-Za-z])" if head[:1].isalpha() else r"(?<!\d)" if (head or number)[:1].isdigit() else ""
    core = re.escape(head) + (f"0*{number.lstrip('0') or '0'}(?!\\d)" if number else r"(?![A-Za-z])")
    return re.compile(f"{before}(?P<core>{core})", re.IGNORECASE)


def _fields(marked: str, column: str, value: str, is_session: bool) -> Iterator[tuple[int, int, str]]:
    """The place of a row's value in a path, and the field that writes it so."""
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
    """One pattern for both, with ``*`` where they differ; None if they do in depth or in what identifies a participant.

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
