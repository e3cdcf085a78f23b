"""New participants: a table with covariates and no group, and where their volumes are.

Table and volumes are read by the functions of the cohort stage, with the cohort's own column names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config.cohort import Cohort, Columns, Inclusion, Study
from sepclr_neuro.config.messages import validate
from sepclr_neuro.core.errors import Alike, InputError, nearest
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.data.cohort import join_people
from sepclr_neuro.data.covariates import CovariateCoding
from sepclr_neuro.data.inclusion import NO_VOLUME, people_of_study
from sepclr_neuro.data.participants import is_number, read_study
from sepclr_neuro.data.problems import Problems
from sepclr_neuro.data.table_files import read_table

__all__ = ["NewPeople", "folder_and_pattern", "marked", "read_people"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewPeople:
    """Participants who have a volume.

    Attributes:
        rows: ``scan_id participant_id session_id age sex site <other covariates> volume``, a row a scan; numbers float,
            labels text, missing NaN.
        cells: all columns of the table as it has them, text, in the same order.
    """

    rows: pd.DataFrame
    cells: pd.DataFrame


def read_people(path: Path, pattern: str, coding: CovariateCoding, tiv_column: str | None = None) -> NewPeople:
    """Reads a table of new participants and finds their volumes.

    Those without a volume are left out, with a warning, as long as somebody has one.

    Args:
        path: a ``.tsv`` or ``.csv`` with ``participant_id``, ``session_id`` where participants were scanned more than
            once, and the covariates; a diagnosis is not read.
        pattern: of the volumes' paths, as ``cohort.studies[].volumes``; relative ones begin in the table's folder.
        coding: of the covariates that the model needs.
        tiv_column: the column of total intracranial volume by which volumes are scaled; None: they are not.

    Raises:
        InputError: if a column or a value that the model needs is missing, or a table or path is wrong.
    """
    root, pattern = folder_and_pattern(path, pattern)
    given = {"name": "participants", "participants": path, "volumes": pattern, "volumes_root": root}
    try:
        study = validate(Study, given, "apply")
    except ValueError as error:
        raise InputError(str(error)) from error
    with _advising_on_the_table():
        there = read_table(path, study).columns
    needed = list(dict.fromkeys([*coding.names, *([tiv_column] if tiv_column else [])]))
    missing = [name for name in needed if name not in there]
    if missing:
        known = nearest(missing[0], there, listed=True)
        raise InputError(
            f"{path}: has no column {listed([repr(name) for name in missing])}; the model needs {listed(needed)} of "
            f"each participant, called so.{known}{' Values may be missing, the model fills them in' * coding.impute}"
        )
    # What the model does not need may be absent, or coded in any way.
    unread = {name: f"({name}, not read)" for name in ("age", "sex") if name not in needed}
    constants = dict.fromkeys([*unread.values(), *([] if "site" in there else ["site"])], "n/a")
    columns = Columns(
        **unread,
        session_id="session_id" if "session_id" in there else None,
        others={name: name for name in needed if name not in ("age", "sex", "site")},
    )
    # A cohort to implant into is one whose diagnoses are not read.
    settings = Cohort(
        source="implanted",
        studies=[study.model_copy(update={"constants": constants})],
        columns=columns,
        include=Inclusion(require=["volume"]),
    )
    with _advising_on_the_table():
        tables = read_study(settings.studies[0], columns)
        problems = Problems({NO_VOLUME}, tables.rows["participant_id"])
        facts = join_people([people_of_study(tables, settings, problems)], settings, problems)
    kept = facts["rule"].isna()
    if not kept.all():
        names = facts.loc[~kept, "participant_id"].tolist()
        more = ", ..." if len(names) > 3 else ""
        logger.warning(f"{counted(len(names), 'scan')} left out, without a volume: {', '.join(names[:3])}{more}")
    rows = _typed(facts[kept].drop(columns=["study", "rule", "value", "diagnosis", "group"]), coding, tiv_column, path)
    return NewPeople(rows.reset_index(drop=True), tables.rows[kept.to_numpy()].reset_index(drop=True))


def folder_and_pattern(table: Path, pattern: str) -> tuple[Path, str]:
    """The folder that a pattern of volumes begins in, and the pattern from there on.

    >>> folder_and_pattern(Path("new/participants.tsv"), "vbm/{participant_id}.nii")[0].as_posix()
    'new'
    >>> root, pattern = folder_and_pattern(Path("new.tsv"), "/data/vbm/{participant_id}/*.nii")
    >>> root.as_posix(), pattern
    ('/data/vbm', '{participant_id}/*.nii')
    """
    parts = Path(pattern).parts
    if not Path(pattern).is_absolute():
        return table.parent, pattern
    plain = 1
    while plain < len(parts) - 1 and not set("{*") & set(parts[plain]):
        plain += 1
    return Path(*parts[:plain]), Path(*parts[plain:]).as_posix()


def marked(people: NewPeople, condition: str) -> NDArray[np.bool_]:
    """Whom ``COLUMN=VALUE`` is true of, [N].

    Raises:
        InputError: if it is no such condition, there is no such column, or nobody has the value.
    """
    column, equals, value = condition.partition("=")
    if not equals or not column or not value:
        raise InputError(f"--calibrate-with {condition}: expected COLUMN=VALUE, such as group=control")
    if column not in people.cells:
        known = nearest(column, people.cells.columns, listed=True)
        raise InputError(f"--calibrate-with {condition}: the table has no column {column!r}.{known}")
    cells = people.cells[column]
    chosen = (cells == value).to_numpy(bool)
    if not chosen.any():
        known = nearest(value, sorted(cells.dropna().unique()), listed=True)
        raise InputError(f"--calibrate-with {condition}: nobody with a volume has that value.{known}")
    return chosen


def _typed(facts: pd.DataFrame, coding: CovariateCoding, tiv_column: str | None, path: Path) -> pd.DataFrame:
    """Covariates as the model codes them, numbers as float; every missing one that it needs is an error."""
    problems: list[str] = []
    numeric = [column["column"] for column in coding.columns if "levels" not in column]
    required = [] if coding.impute else coding.names
    for name in dict.fromkeys([*numeric, *([tiv_column] if tiv_column else [])]):
        if facts[name].dtype != "float64":
            wrong = facts[name].notna() & ~facts[name].fillna("0").map(is_number)
            problems += _each(facts[wrong], f"{path}: column {name!r}: is not a number", f"{name}: numbers")
            facts = facts.assign(**{name: facts[name].mask(wrong).astype("float64")})
            if wrong.any():
                required = [other for other in required if other != name]
        if name == "tiv":
            wrong = facts[name] <= 0
            problems += _each(facts[wrong], f"{path}: column {name!r}: is not above 0", f"{name}: positive")
    for name in required:
        absent = facts[facts[name].isna()]
        sentence = f"{path}: column {name!r}: is missing; the model adjusts for it. Fill it in, or leave the row out"
        problems += _each(absent, sentence, f"{name}: missing")
    if problems:
        raise InputError(problems)
    return facts


def _each(facts: pd.DataFrame, sentence: str, kind: str) -> list[str]:
    return [Alike(f"participant {name}: {sentence}", name, kind) for name in facts["participant_id"]]


@contextmanager
def _advising_on_the_table() -> Iterator[None]:
    """Completes errors whose advice names keys of config.yaml, which `apply` does not read."""
    try:
        yield
    except InputError as error:
        raise InputError([_advice_on_the_table(problem) for problem in error.problems]) from error


def _advice_on_the_table(problem: str) -> str:
    if "cohort." not in problem:
        return problem
    sentence = f"{problem} (`apply` reads no configuration: change the table itself)"
    return Alike(sentence, problem.subject, problem.kind, problem.cause) if isinstance(problem, Alike) else sentence
