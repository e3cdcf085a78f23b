"""The tables of one study: checked and joined, before their columns are interpreted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sepclr_neuro.config.cohort import Columns, Study
from sepclr_neuro.core.errors import Alike, InputError, nearest
from sepclr_neuro.data.problems import Problems
from sepclr_neuro.data.table_files import read_table

__all__ = ["StudyTables", "id_keys", "is_number", "join_study", "lists_every_code", "read_study"]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# The name of a column that no table can have.
KEY = "\0key"


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

    def named(self, chosen: pd.Series) -> str:
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
            f" ({key}).{nearest(name, self.rows.columns, listed=True)} If it is the same for all of this study, say so "
            f"in its `constants`, as in `{name}: one`; if this study has no such thing, `{name}: n/a` there, and no "
            f"{name} in `cohort.include.require`, which would leave out all of the study"
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
                f"{self.where(name)}: {value!r} ({self.named(rows)}) is not a finite number{hint}; if it means "
                f"missing, list it in the study's `missing`; if it means a number, in `cohort.values.{fact}`"
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
                        f"{self.where(name)}: {code!r} ({self.named(rows)}) is not listed in `cohort.values.{fact}`; "
                        f"add it.{nearest(code, meanings)}",
                        repr(code),
                        f"{self.where(name)}: not listed",
                    )

                problems.of_code(codes == code, fact, sentence)


def read_study(study: Study, columns: Columns) -> StudyTables:
    """Reads a study's tables and joins them, as :func:`join_study` does.

    Raises:
        InputError: with every problem of the files, their ids and the join.
    """
    problems: list[str] = []
    tables: dict[Path, pd.DataFrame] = {}
    several: dict[Path, dict[tuple[str, str | None], Alike]] = {}
    for path in (study.participants, *study.phenotypes):
        try:
            tables[path] = read_table(path, study)
            several[path] = _repeated(tables[path], path, columns)
            _check_ids(tables[path], path, columns)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError([*problems, *(sentence for scans in several.values() for sentence in scans.values())])
    return join_study(study, columns, tables, several)


def join_study(
    study: Study,
    columns: Columns,
    tables: Mapping[Path, pd.DataFrame],
    several: Mapping[Path, Mapping[tuple[str, str | None], Alike]],
) -> StudyTables:
    """Joins a study's phenotype tables to its participants table on participant (and session).

    Where only a phenotype table has sessions, a participant's row becomes one row a session.

    Args:
        tables: text, missing cells NaN, by the path of each.
        several: what is wrong with scans that a table has several lines of, by participant and session.

    Raises:
        InputError: with every problem of the join.
    """
    problems: list[str] = []
    participant = columns.participant_id
    rows = tables[study.participants].copy()
    files = dict.fromkeys(rows.columns, study.participants)
    orphans: dict[str, tuple[str, str, str]] = {}
    counts = []
    for path, table in tables.items():
        if path == study.participants:
            continue
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
    """Errors of scans of which a table has several lines, by participant and session, without prefixes."""
    if columns.participant_id not in table.columns:
        return {}
    known = table.dropna(subset=[columns.participant_id])
    scans, found = _scans(known, columns), {}
    repeated = known[scans.duplicated(keep=False)]
    for scan, same in repeated.groupby(scans[repeated.index]):
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
