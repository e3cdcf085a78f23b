"""The studies of a folder: which table names the participants, which others belong to it, and their joined rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sepclr_neuro.config.cohort import Columns, Study
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.matching import Row
from sepclr_neuro.data.participants import join_study
from sepclr_neuro.run.init.entries import scalar
from sepclr_neuro.run.init.scores import score_columns
from sepclr_neuro.run.init.tables import Table, named

__all__ = ["StudyTables", "studies_of"]

_FACTS = ("diagnosis", "age", "sex", "site")


@dataclass(frozen=True)
class StudyTables:
    """The tables of one study.

    Attributes:
        root: the folder that they and the volumes are in, from the folder that was looked at on; empty for itself.
        people: the table that names the participants.
        phenotypes: those that are joined to it.
        rows: the joined rows, text.
        ids: the columns that name a scan.
        repeated: whether participants have several rows.
        remarks: tables that were not used, and why.
    """

    root: str
    people: Table
    phenotypes: list[Table]
    rows: pd.DataFrame
    ids: list[str]
    repeated: bool
    remarks: list[str] = field(default_factory=list)

    @property
    def keys(self) -> pd.Series:
        """The ids of each row as one value."""
        return self.rows[self.ids].fillna("").apply(tuple, axis=1)

    @property
    def scans(self) -> list[Row]:
        """The ids of each scan, once."""
        known = self.rows.dropna(subset=self.ids[:1])[self.ids].drop_duplicates()
        return [
            {str(name): None if pd.isna(value) else value for name, value in row.items()}
            for row in known.to_dict("records")
        ]


def studies_of(tables: Sequence[Table]) -> list[StudyTables]:
    """The studies that tables are of: as many as folders side by side have a table called participants."""
    roots = {os.path.dirname(table.path) for table in tables if _is_called_participants(table)}
    own = {root for root in roots if "derivatives" not in Path(root).parts} or roots
    top = [
        root
        for root in sorted(own)
        if not any(Path(root) != Path(one) and Path(root).is_relative_to(one) for one in own)
    ]
    if len(top) < 2:
        return [_study("", tables)] if tables else []
    return [_study(root, [table for table in tables if Path(table.path).is_relative_to(root)]) for root in top]


def _is_called_participants(table: Table) -> bool:
    return Path(table.path).stem.casefold() == "participants"


def _study(root: str, tables: Sequence[Table]) -> StudyTables:
    def worth(table: Table) -> tuple[bool, bool, int, bool, int]:
        facts = sum(bool(named(table.rows.columns, fact)) for fact in _FACTS)
        derived = "derivatives" in Path(table.path).parts
        return not derived, _is_called_participants(table), facts, not _repeats(table), -table.path.count("/")

    people = max(tables, key=worth)
    participant = named(people.rows.columns, "participant_id")[0]
    session = next(iter(named(people.rows.columns, "session_id")), None)
    known, phenotypes, remarks = set(people.people(participant)), list[Table](), list[str]()
    columns = set(people.rows.columns)
    for table in tables:
        if table is people:
            continue
        ids = {participant, session} & {*table.rows.columns}
        brings = _new_facts(table, columns)
        twice = sorted((columns & {*table.rows.columns}) - ids)
        if participant not in ids:
            other = named(table.rows.columns, "participant_id")[0]
            if known & set(table.people(other)):
                remarks.append(
                    f"{table.path}: names participants in {other!r}, {people.path} in {participant!r}; tables are "
                    "joined where both have one name"
                )
        elif not known & set(table.people(participant)) or not brings:
            remarks.append(_not_needed(table, people, participant))
        elif twice:
            remarks.append(
                f"{table.path}: has {', '.join(brings)}, but not joined, since the column {twice[0]!r} is in "
                f"{people.path} too; rename or remove one"
            )
        else:
            phenotypes.append(table)
            columns |= {*table.rows.columns}
            session = session or next(iter(named(table.rows.columns, "session_id")), None)
    rows = people.rows
    try:
        rows = _joined(people, phenotypes, participant, session)
    except InputError as error:
        remarks += error.problems
    repeated = bool(rows[participant].dropna().duplicated().any())
    return StudyTables(root, people, phenotypes, rows, [participant, *filter(None, [session])], repeated, remarks)


def _not_needed(table: Table, people: Table, participant: str) -> str:
    """Why a table is not read; how to use it where it has the same facts of each session."""
    session = next(iter(named(table.rows.columns, "session_id")), None)
    if session and _repeats(table) and {*people.rows.columns} <= {*table.rows.columns}:
        return (
            f"{table.path}: not used: it has a row for each session, {people.path} one for each participant. To use "
            f"all sessions, name it in `participants`, add `session_id: {scalar(session)}` to `columns`, and write "
            f"{{{session}}} for the session in `volumes`"
        )
    own = [column for column in table.rows.columns if column not in people.rows.columns] or [*table.rows.columns]
    return f"{table.path}: not needed ({len(table.rows)} rows; {', '.join(own[:6])})"


def _repeats(table: Table) -> bool:
    return bool(table.people(named(table.rows.columns, "participant_id")[0]).duplicated().any())


def _new_facts(table: Table, columns: set[str]) -> list[str]:
    """What a table has that others lack."""
    names = [column for column in table.rows.columns if column not in columns]
    facts = [fact for fact in (*_FACTS, "tiv") if named(names, fact) and not named(columns, fact)]
    return [*facts, *(name for name in score_columns(names) if name not in score_columns(sorted(columns)))]


def _joined(people: Table, phenotypes: Sequence[Table], participant: str, session: str | None) -> pd.DataFrame:
    paths = [Path(table.path) for table in (people, *phenotypes)]
    study = Study(name="study", participants=paths[0], phenotypes=paths[1:])
    columns = Columns(participant_id=participant, session_id=session)
    tables = {path: table.rows for path, table in zip(paths, (people, *phenotypes), strict=True)}
    tables = {path: rows.dropna(subset=[participant]) for path, rows in tables.items()}
    return join_study(study, columns, tables, {}).rows
