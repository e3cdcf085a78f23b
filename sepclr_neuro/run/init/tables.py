"""Tables of a folder, and what their columns are by the names that the field gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sepclr_neuro.config.cohort import Study
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_bytes
from sepclr_neuro.data.participants import id_keys
from sepclr_neuro.data.table_files import likely_encoding, read_table

__all__ = ["FACTS", "MISSING", "TABLE_ENDINGS", "Table", "counts_of", "named", "plain", "read_tables"]

TABLE_ENDINGS = (".tsv", ".csv", ".xlsx", ".xls", ".ods")

# The names of columns, without case, spaces and signs, the likeliest first.
FACTS = {
    "participant_id": "participantid subjectid subject sub subid participant patientid srcsubjectid ptid bidsid id",
    "session_id": "sessionid session ses visit visitid timepoint wave",
    "diagnosis": "diagnosis dx diag dxgroup diagnosisgroup group patientgroup clinicalgroup patientstatus status type "
    "cohort condition casecontrol disease disorder phenotype participantgroup subjecttype",
    "age": "age ageyears ageyrs ageatscan scanage agescan ageinyears agey participantage demographicage",
    "sex": "sex gender biologicalsex sexmf demographicsex",
    "site": "site siteid sitename center centre centerid centreid scanner scannerid scansite studysite institution "
    "hospital location",
    "tiv": "tiv tivml tivcm3 icv icvml etiv estimatedtotalintracranialvol estimatedtotalintracranialvolume "
    "totalintracranialvolume intracranialvolume",
}

# What tables write where a value is missing, in small letters; `n/a` and an empty cell need no mention.
_CODES = (
    "na n.a. n.a nan null none missing unknown unk n.d. nd . - -- ? #n/a #null! "
    "-7 -8 -9 -99 -999 -9999 999 9999 -9.0 -99.0 -999.0 -9999.0 999.0 9999.0"
)
MISSING = frozenset(_CODES.split())

_MOST_TABLES = 40
_MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        path: from the folder on.
        rows: text, missing NaN.
        encoding: as the configuration calls it; empty for UTF-8.
        described: the JSON file beside it, as BIDS has it; empty if there is none.
    """

    path: str
    rows: pd.DataFrame
    encoding: str = ""
    described: Mapping[str, Any] | None = None

    def levels(self, column: str) -> dict[str, str]:
        """The meanings of a column's codes by the JSON file."""
        about = (self.described or {}).get(column)
        levels = about.get("Levels") if isinstance(about, dict) else None
        if not isinstance(levels, dict):
            return {}
        return {str(code): str(meaning) for code, meaning in levels.items() if isinstance(meaning, str)}

    def people(self, column: str) -> pd.Series:
        """The ids of a column without their prefix."""
        return id_keys(self.rows.dropna(subset=[column]), column, None)


def plain(name: str) -> str:
    """The name of a column without case, spaces and signs.

    >>> plain("Participant_ID")
    'participantid'
    """
    return re.sub(r"[\W_]", "", name).casefold()


def named(columns: Iterable[str], fact: str) -> list[str]:
    """The columns that may hold a fact by their names, the likeliest first.

    >>> named(["Group", "Age", "DX"], "diagnosis")
    ['DX', 'Group']
    """
    names = FACTS[fact].split()
    found = [column for column in columns if plain(column) in names]
    return sorted(found, key=lambda column: names.index(plain(column)))


def counts_of(values: pd.Series, most: int = 8) -> str:
    """The commonest values and how often each occurs.

    >>> counts_of(pd.Series(["Control", "Control", "Patient"]))
    'Control (2), Patient (1)'
    """
    counts = values.value_counts()
    listed = ", ".join(f"{value} ({count})" for value, count in counts.head(most).items())
    return listed + (f" and {len(counts) - most} more" if len(counts) > most else "")


def read_tables(root: Path, files: Sequence[str]) -> tuple[list[Table], list[str]]:
    """Reads small tables, those nearest to the folder first, but for those of single participants.

    Returns:
        the tables that name participants; why others were not read.
    """
    tables: list[Table] = []
    problems: list[str] = []
    own = [path for path in files if not re.search(r"(^|/)(sub|ses)-[^/]*(/|$)", path)]
    for path in sorted(own, key=lambda path: (path.count("/"), path)):
        if not path.lower().endswith((".tsv", ".csv")):
            problems.append(f"{path}: a spreadsheet; save it as .csv (commas) or .tsv (tabs), which the workflow reads")
        elif len(tables) < _MOST_TABLES:
            try:
                if (root / path).stat().st_size <= _MOST_BYTES:
                    tables.append(_read(root, path))
            except (InputError, OSError) as error:
                problems.append(str(error))
    with_people = [table for table in tables if named(table.rows.columns, "participant_id")]
    problems += [
        f"{table.path}: no column has a name such as participant_id or subject, so it was not used"
        for table in tables
        if table not in with_people
    ]
    return with_people, problems


def _read(root: Path, path: str) -> Table:
    content = read_bytes(root / path)
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
    if not encoding:
        try:
            content.decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = likely_encoding(content)
    study = Study(name="table", participants=Path("table.tsv"), encoding=encoding or "utf-8")
    described = None
    with suppress(OSError, ValueError):
        described = json.loads((root / path).with_suffix(".json").read_bytes())
    rows = read_table(root / path, study).reset_index(drop=True)
    return Table(path, rows, encoding, described if isinstance(described, dict) else None)
