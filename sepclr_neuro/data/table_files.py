"""A table, read as text and checked; nothing is converted on the way.

By itself pandas turns participant ``01`` into 1 and site ``NA`` into a missing value, shifts a line with too many
values, and renames the second of two equal columns.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from contextlib import suppress
from pathlib import Path

import pandas as pd

from sepclr_neuro.config.cohort import Study
from sepclr_neuro.core.errors import Alike, InputError, taken_from
from sepclr_neuro.core.storage import read_bytes

__all__ = ["likely_encoding", "read_table"]

SEPARATORS = {".tsv": ("\t", "tabs"), ".csv": (",", "commas")}
_WIDE = ("utf-16", "utf-32")


def read_table(path: Path, study: Study) -> pd.DataFrame:
    """One table as text: cells stripped, missing ones NaN, its index the line that each row ends on.

    Raises:
        InputError: if it is not a table in the study's encoding with one value a column in each line.
    """
    if path.suffix.lower() not in SEPARATORS:
        raise InputError(f"{path}: expected a table whose name ends in .tsv (tabs) or .csv (commas)")
    separator, separator_name = SEPARATORS[path.suffix.lower()]
    try:
        content = read_bytes(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}){taken_from(path)}; check the path in `cohort.studies`"
        ) from error
    text = _decoded(content, path, study.encoding)

    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append(reader.line_num)
                rows.append([cell.strip() for cell in cells])
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num} has a stray quotation mark ({error})") from error
    if len(rows) < 2:
        raise InputError(
            f"{path}: expected a line of column names and at least one participant, found {len(rows)} lines"
        )

    header = rows[0]
    others = [mark for mark in "\t,;" if mark != separator and mark in header[0]]
    if len(header) == 1 and others:
        names = {"\t": "tabs", ",": "commas", ";": "semicolons"}
        raise InputError(
            f"{path}: its columns are separated by {names[others[0]]}, but a {path.suffix} file has {separator_name}; "
            f"save it with {separator_name}" + (" or name it .csv" if others[0] == "," else "")
        )
    problems = [
        f"{path}: two columns are called {name!r}" for name in sorted({n for n in header if header.count(n) > 1})
    ]
    if "" in header:
        problems.append(f"{path}: column {header.index('') + 1} has no name")
    problems += [
        Alike(
            f"{path}: line {line} has {len(cells)} values, expected {len(header)} as in the first line",
            f"line {line}",
            f"{path}: ragged",
        )
        for line, cells in zip(lines[1:], rows[1:], strict=True)
        if len(cells) != len(header)
    ]
    if problems:
        raise InputError(problems)
    table = pd.DataFrame(rows[1:], columns=header, index=lines[1:], dtype="str")
    return table.where(~table.isin(["", "n/a", *study.missing]))


def _decoded(content: bytes, path: Path, encoding: str) -> str:
    """The text of a table. One that is UTF-8, which hardly any other text is, is read as such whatever is said.

    Raises:
        InputError: if it is neither; the message names the encoding that it is likely in.
    """
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content
    said = codecs.lookup(encoding).name
    if wide and not said.startswith(_WIDE):
        raise InputError(
            f"{path}: is UTF-16 or not text (it holds NUL bytes); if it is UTF-16, set `encoding: utf-16` of its study"
        )
    known = [] if said.startswith(_WIDE) and not wide else [said]
    for name in known if wide or (known and content.isascii()) else dict.fromkeys(["utf-8-sig", *known]):
        try:
            return content.decode(name).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            mistake = error
    line = content.count(b"\n", 0, mistake.start) + 1
    before, after = re.split(rb"[\s,;]", content[: mistake.start]), re.split(rb"[\s,;]", content[mistake.start :])
    likely = likely_encoding(content)
    raise InputError(
        f"{path}: line {line} is not UTF-8{'' if said == 'utf-8' else f', nor {encoding}'} (byte "
        f"0x{content[mistake.start]:02x}); it is likely {likely}, as which it reads "
        f"{(before[-1] + after[0]).decode(likely)!r}: set `encoding: {likely}` of its study. Where letters are wrong, "
        "try cp1250 (Central Europe) or cp1251 (Cyrillic)"
    )


def likely_encoding(content: bytes) -> str:
    """Of Windows and old Macs, in which other characters than ASCII's are letters rather than signs."""
    letters = {}
    for name in ("cp1252", "mac_roman"):  # the latter has a character for each byte
        with suppress(UnicodeDecodeError):
            letters[name] = sum(character.isalpha() and not character.isascii() for character in content.decode(name))
    return max(letters, key=lambda name: letters[name])
