"""The tables of one study: read as text, checked and joined, before anybody asks what their columns mean.

Nothing is converted on the way in: pandas by itself turns participant ``01`` into 1 and site ``NA`` into a missing
value, shifts a line with too many values, and renames the second of two equal columns.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Columns, Study
from sepclr_neuro.core.errors import Alike, InputError, nearest
from sepclr_neuro.core.storage import read_bytes

__all__ = ["ERROR", "Problems", "StudyTables", "id_keys", "is_number", "lists_every_code", "read_study"]

SEPARATORS = {".tsv": ("\t", "tabs"), ".csv": (",", "commas")}
_WIDE = ("utf-16", "utf-32")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# The name of a column that no table can have.
KEY = "\0key"
ERROR = "error in the data"
"""The rule of exclusions.tsv of those whom `on_error: exclude` leaves out."""


class Problems(list[str]):
    """What is wrong, a sentence each, and whom a rule leaves out instead.

    What cells have wrong waits until it is known who stays in (:meth:`settle`): it stops nobody's run when it is of
    people who are left out anyway. Only what single people's cells or files have wrong can be left out with them. What
    concerns a table, a code's meaning or the configuration stays a sentence that stops the run: it would silently take
    whole groups away.

    Args:
        rules: those that leave out whom something is wrong with, rather than stop the run.
        ids: of the participants, by row, for the line that tells of several at once.

    Attributes:
        people: why a row is to be left out, by its label in the table at hand: the rule, and what is wrong.
        left_out: why those who were left out were.
    """

    def __init__(self, rules: Collection[str] = (), ids: pd.Series | None = None) -> None:
        super().__init__()
        self.rules = rules
        self.ids = ids
        self.people: dict[int, tuple[str, Alike]] = {}
        self.left_out: list[Alike] = []
        self._waiting: list[_OfCells] = []

    def of_people(self, rows: pd.Series, fact: str, sentence: Callable[[pd.Series], str]) -> None:
        """Notes what is wrong with each row of a mask; ``sentence`` says it of a mask that is not empty."""
        self._waiting.append(_OfCells(rows, fact, sentence, each=True))

    def of_code(self, rows: pd.Series, fact: str, sentence: Callable[[pd.Series], str]) -> None:
        """The same of a code that all rows of a mask have, whose meaning nobody may leave out with them."""
        self._waiting.append(_OfCells(rows, fact, sentence, each=False))

    def wrong(self, fact: str, rows: pd.Index) -> pd.Series:
        """Of whom a fact is wrong, so that no rule can judge it."""
        masks = [waiting.rows for waiting in self._waiting if waiting.fact == fact]
        return pd.Series(np.logical_or.reduce(masks) if masks else False, index=rows, dtype=bool)

    def settle(self, kept: pd.Series) -> None:
        """Tells of those who stay in what waited, and forgets the rest."""
        for waiting in self._waiting:
            rows = waiting.rows & kept
            if not rows.any():
                continue
            kind = waiting.sentence(rows)
            if not waiting.each and kind not in self:
                self.append(kind)
            for row in rows.index[rows] if waiting.each else ():
                self.of_person(row, waiting.sentence(pd.Series(rows.index == row, rows.index)), kind)
        self._waiting.clear()

    def of_person(self, row: int, sentence: str, kind: str = "", cause: str = "", rule: str = ERROR) -> None:
        """Notes what is wrong with one row; ``kind`` is equal, and ``cause`` told once, for all who have the same."""
        who = "" if self.ids is None else str(self.ids[row])
        told = sentence if isinstance(sentence, Alike) else Alike(sentence, who, kind, cause)
        if rule in self.rules:
            self.people.setdefault(row, (rule, told))
        elif told not in self:
            self.append(told)


@dataclass(frozen=True)
class _OfCells:
    """Something wrong with the cells of some rows: one sentence for ``each`` row, or one of all."""

    rows: pd.Series
    fact: str
    sentence: Callable[[pd.Series], str]
    each: bool


@dataclass(frozen=True)
class StudyTables:
    """The joined tables of one study, every column still as its table has it.

    Attributes:
        rows: text, one row a scan, missing NaN.
        files: the table that each column came from.
        repeated: what is wrong with scans that a table has several lines of, each with a mask of their rows.
        orphans: scans of phenotype tables that the participants table lacks, as rows of ``exclusions.tsv``.
        counts: what else is worth knowing, and for how many scans.
    """

    study: Study
    columns: Columns
    rows: pd.DataFrame
    files: dict[str, Path]
    repeated: list[tuple[Alike, pd.Series]]
    orphans: pd.DataFrame
    counts: list[tuple[str, int]]

    def where(self, column: str) -> str:
        """How messages call a column."""
        column = self.column(column) or column
        return f"{self.files[column]}: column {column!r}"

    def who(self, chosen: pd.Series) -> str:
        """How messages call the rows of a mask: the first few participants and how many more."""
        people = self.rows.loc[chosen, self.columns.participant_id].tolist()
        more = f" and {len(people) - 3} more" if len(people) > 3 else ""
        return f"participant{'s' if len(people) > 1 else ''} {', '.join(people[:3])}{more}"

    def missing(self) -> pd.Series:
        """A column of missing text."""
        return pd.Series(math.nan, index=self.rows.index, dtype="str")

    def column(self, name: str) -> str | None:
        """The tables' name of a column that is called by it or by the cohort's; None where no table has it."""
        return next((column for column in (name, self.columns.names.get(name)) if column in self.rows.columns), None)

    def text(self, name: str, key: str, problems: Problems) -> pd.Series:
        """A column; a problem that names ``key`` of the configuration, and all missing, where the tables lack it."""
        column = self.column(name)
        if column is not None:
            return self.rows[column]
        problems.append(
            f"{self.study.participants}: neither it nor a phenotype table of {self.study.name} has the column {name!r}"
            f" ({key}).{nearest(name, self.rows.columns, listed=True)} If this study has no such thing, say so in its "
            f"`constants`: `{name}: n/a`"
        )
        return self.missing()

    def coded(self, name: str, key: str, meanings: Mapping[str, str], problems: Problems) -> pd.Series:
        """The same with the meanings of codes in place of those that are listed, of others the codes."""
        texts = self.text(name, key, problems)
        known = {code: math.nan if meaning == "n/a" else meaning for code, meaning in meanings.items()}
        return texts.map(lambda text: known.get(text, text)).astype("str") if known else texts

    def numbers(self, name: str, key: str, meanings: Mapping[str, str], fact: str, problems: Problems) -> pd.Series:
        """A column as float, missing NaN; a problem for each value that is not a finite number.

        Args:
            meanings: of its codes, by ``cohort.values``. Numbers need not be listed unless some are codes of others.
            fact: what the cohort calls it.
        """
        texts = self.text(name, key, problems)
        if lists_every_code(meanings):
            self.refuse_unlisted(texts, name, meanings, fact, problems)
        values = self.coded(name, key, meanings, Problems())
        wrong = values.notna() & ~values.fillna("0").map(is_number)

        def sentence(rows: pd.Series) -> str:
            value = values[rows].iloc[0]
            hint = "; decimals are written with a point" if "," in value else ""
            return (
                f"{self.where(name)}: {value!r} ({self.who(rows)}) is not a finite number{hint}; if it means missing, "
                f"list it in the study's `missing`; if it means a number, in `cohort.values.{fact}`"
            )

        with_comma = values.str.contains(",", regex=False, na=False)
        problems.of_people(wrong & with_comma, fact, sentence)
        problems.of_people(wrong & ~with_comma, fact, sentence)
        return values.mask(wrong).astype("float64")

    def refuse_unlisted(
        self, codes: pd.Series, name: str, meanings: Mapping[str, str], fact: str, problems: Problems
    ) -> None:
        """A code without a meaning, where others have one, is a problem: nothing is guessed."""
        for code in codes.dropna().unique():
            if code not in meanings:

                def sentence(rows: pd.Series, code: str = code) -> Alike:
                    return Alike(
                        f"{self.where(name)}: {code!r} ({self.who(rows)}) is not listed in `cohort.values.{fact}`; add "
                        f"it.{nearest(code, meanings)}",
                        repr(code),
                        f"{self.where(name)}: not listed",
                    )

                problems.of_code(codes == code, fact, sentence)


def read_study(study: Study, columns: Columns) -> StudyTables:
    """Reads a study's participants table and joins its phenotype tables on participant (and session).

    Where only a phenotype table has sessions, a participant's row becomes one row a session.

    Raises:
        InputError: with every problem of the files, their ids and the join.
    """
    problems: list[str] = []
    tables: dict[Path, pd.DataFrame] = {}
    several: dict[Path, dict[tuple[str, str | None], Alike]] = {}
    for path in (study.participants, *study.phenotypes):
        try:
            tables[path] = _read_table(path, study)
            several[path] = _repeated(tables[path], path, columns)
            _check_ids(tables[path], path, columns)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError([*problems, *(sentence for scans in several.values() for sentence in scans.values())])

    participant = columns.participant_id
    rows = tables.pop(study.participants)
    files = dict.fromkeys(rows.columns, study.participants)
    orphans: dict[str, tuple[str, str, str]] = {}
    counts = []
    for path, table in tables.items():
        table = table[~_scans(table, columns).duplicated()]
        both_have_sessions = columns.session_id in rows.columns and columns.session_id in table.columns
        session = columns.session_id if both_have_sessions else None
        keys = [name for name in (participant, session) if name is not None]
        twice = [name for name in table.columns if name in rows.columns and name not in keys]
        problems += [f"{path}: the column {name!r} is in {files[name]} too; rename or remove one" for name in twice]
        rows = rows.assign(**{KEY: id_keys(rows, participant, session)})
        table = table.assign(**{KEY: id_keys(table, participant, session)})
        in_rows = table[KEY].isin(rows[KEY])
        if not in_rows.any():
            problems.append(
                f"{path}: none of its participants (first: {table[participant].iloc[0]!r}) is in "
                f"{study.participants} (first: {rows[participant].iloc[0]!r}); ids must agree"
            )
        absent = int((~rows[KEY].isin(table[KEY])).sum())
        counts.append((f"in {study.participants.name} of {study.name} but not in {path.name}", absent))
        for _, row in table[~in_rows].iterrows():
            session_id = row.get(columns.session_id, math.nan)
            orphans.setdefault(row[KEY], (row[participant], session_id, path.name))
        rows = rows.merge(table.drop(columns=[*keys, *twice]), how="left", on=KEY).drop(columns=KEY)
        files |= {name: path for name in table.columns if name not in files}

    for given, value in study.constants.items():
        name = columns.names.get(given, given)
        if name in rows.columns:
            problems.append(f"{study.name}: the constant {name!r} is a column of {files[name]} too; remove one")
        rows[name] = pd.Series(math.nan if value in ("", "n/a") else value, index=rows.index, dtype="str")
        files[name] = study.participants
    if problems:
        raise InputError(problems)
    listed = pd.DataFrame(
        [(*ids, study.name, "not in the participants table", table_name) for *ids, table_name in orphans.values()],
        columns=["participant_id", "session_id", "study", "rule", "value"],
        dtype="str",
    )
    rows = rows.reset_index(drop=True)
    scans = _scans(rows, columns)
    repeated = []
    for of_table in several.values():
        for (person, session), sentence in of_table.items():
            about = scans.map(lambda scan, one=(person, session): scan[0] == one[0] and one[1] in (None, scan[1]))
            if about.any():
                repeated.append((sentence, about))
    return StudyTables(study, columns, rows, files, repeated, listed, counts)


def id_keys(table: pd.DataFrame, participant: str, session: str | None) -> pd.Series:
    """Ids without their BIDS prefix, so that ``sub-01`` and ``01`` are one participant.

    >>> id_keys(pd.DataFrame({"id": ["sub-01", "02"], "visit": ["ses-1", "1"]}), "id", "visit").tolist()
    ['01\\t1', '02\\t1']
    """
    keys = table[participant].str.removeprefix("sub-")
    return keys if session is None else keys + "\t" + table[session].fillna("").str.removeprefix("ses-")


def is_number(text: str) -> bool:
    """Whether text is a finite decimal number. Python's ``float`` takes ``1_000``, ``nan`` and ``inf`` too.

    >>> [is_number(text) for text in ("-1.5", "2e3", "1_000", "nan", "1e999", "1,5")]
    [True, True, False, False, False, False]
    """
    return NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def lists_every_code(meanings: Mapping[str, str]) -> bool:
    """Whether the meanings of a column list all of its codes, rather than the odd text among numbers.

    >>> [lists_every_code(meanings) for meanings in ({"89+": "90", "-9": "n/a"}, {"1": "25", "2": "35"})]
    [False, True]
    """
    return any(meaning != "n/a" and (is_number(code) or not is_number(meaning)) for code, meaning in meanings.items())


def _read_table(path: Path, study: Study) -> pd.DataFrame:
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
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path in `cohort.studies`") from error
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
    likely = _likely_encoding(content)
    raise InputError(
        f"{path}: line {line} is not UTF-8{'' if said == 'utf-8' else f', nor {encoding}'} (byte "
        f"0x{content[mistake.start]:02x}); it is likely {likely}, as which it reads "
        f"{(before[-1] + after[0]).decode(likely)!r}: set `encoding: {likely}` of its study. Where letters are wrong, "
        "try cp1250 (Central Europe) or cp1251 (Cyrillic)"
    )


def _likely_encoding(content: bytes) -> str:
    """Of Windows and old Macs, in which other characters than ASCII's are letters rather than signs."""
    letters = {}
    for name in ("cp1252", "mac_roman"):  # the latter has a character for each byte
        with suppress(UnicodeDecodeError):
            letters[name] = sum(character.isalpha() and not character.isascii() for character in content.decode(name))
    return max(letters, key=lambda name: letters[name])


def _check_ids(table: pd.DataFrame, path: Path, columns: Columns) -> None:
    """Ids become parts of paths and keys of joins: present and harmless."""
    if columns.participant_id not in table.columns:
        raise InputError(
            f"{path}: has no column {columns.participant_id!r} (cohort.columns.participant_id)."
            f"{nearest(columns.participant_id, table.columns, listed=True)}"
        )
    session = columns.session_id if columns.session_id in table.columns else None
    problems: list[str] = []
    for name in filter(None, (columns.participant_id, session)):
        for line, cell in table[name].dropna().items():
            if "/" in cell or "\\" in cell or ".." in cell or cell[0] in "=+-@." or not cell.isprintable():
                sentence = (
                    f"{path}: line {line}: {name} is {cell!r}; an id must not hold '/', '\\', '..' or control "
                    "characters, nor start with one of = + - @ ."
                )
                problems.append(Alike(sentence, f"line {line}", f"{path}: {name}"))
    for line in table.index[table[columns.participant_id].isna()]:
        sentence = f"{path}: line {line} has no {columns.participant_id}"
        problems.append(Alike(sentence, f"line {line}", f"{path}: no id"))
    if problems:
        raise InputError(problems)


def _repeated(table: pd.DataFrame, path: Path, columns: Columns) -> dict[tuple[str, str | None], Alike]:
    """What is wrong with each scan that a table has several lines of, by participant and session, without prefixes."""
    if columns.participant_id not in table.columns:
        return {}
    known = table.dropna(subset=[columns.participant_id])
    found = {}
    for scan, same in known.groupby(_scans(known, columns)):
        if len(same) > 1:
            hint = "" if columns.session_id else "; if these are several scans, set cohort.columns.session_id"
            ids = ", ".join(dict.fromkeys(same[columns.participant_id]))
            sentence = f"{path}: lines {', '.join(map(str, same.index))} are all about participant {ids}{hint}"
            found[scan] = Alike(sentence, same[columns.participant_id].iloc[0], f"{path}: several lines")
    return found


def _scans(table: pd.DataFrame, columns: Columns) -> pd.Series:
    """Participant and session of each row, without prefixes; None in a table that has no sessions."""
    people = id_keys(table, columns.participant_id, None)
    if columns.session_id not in table.columns:
        return people.map(lambda person: (person, None))
    sessions = table[columns.session_id].fillna("").str.removeprefix("ses-")
    return pd.Series(list(zip(people, sessions, strict=True)), index=table.index)
