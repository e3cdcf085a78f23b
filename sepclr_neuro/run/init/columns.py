"""Which column of the joined tables is which fact, what its codes mean, and which of these stay open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from sepclr_neuro.config.model import OPEN
from sepclr_neuro.data.facts import SEXES
from sepclr_neuro.data.participants import is_number
from sepclr_neuro.run.init.entries import Entry, Tree, scalar
from sepclr_neuro.run.init.scores import numbers_in, score_columns
from sepclr_neuro.run.init.tables import FACTS, MISSING, Table, counts_of, named, plain

__all__ = ["Diagnoses", "column_of", "columns_of", "diagnoses_of", "missing_texts", "tiv_of", "values_of"]

_CONTROL = re.compile(
    r"hcs?|hv|nc|cn|td|cont|controls?|ctr?ls?|con|norm(al)?|healthy\b.*|.*\b(healthy|controls?)|.*_controls?|typical.*|"
    r"no[ _-](diagnosis|disorder|psychiatric.*)|unaffected",
    re.IGNORECASE,
)
_VOLUME = r"(v|vols?|volumes?)?(ml|cm3|mm3|l)?"
_TISSUES = tuple(rf"(total)?({names}){_VOLUME}" for names in ("gm|gr[ea]ymatter", "wm|whitematter", "csf"))
_MOST_DIAGNOSES = 12
_MOST_AGES_IN_WORDS = 10
_CODES_OF_DIAGNOSES = MISSING - {"none", "unknown", "unk"}  # which may be diagnoses


@dataclass(frozen=True)
class Diagnoses:
    """What distinguishes patients from controls.

    Attributes:
        column: of the tables; None where the user has to choose.
        entry: how the configuration names it.
        meanings: of codes that are numbers, by the JSON file beside the table.
        controls, others: diagnoses by their meanings, the commonest first; nobody is among the controls of a table
            whose codes say nothing.
        counts: participants by diagnosis.
    """

    column: str | None
    entry: Entry
    meanings: dict[str, str] = field(default_factory=dict)
    controls: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def in_background(self, rows: pd.DataFrame) -> pd.Series:
        """Rows of controls, as far as they are known."""
        if self.column is None:
            return pd.Series(False, index=rows.index)
        return rows[self.column].map(lambda code: self.meanings.get(code, code)).isin(self.controls)

    def groups(self) -> Tree:
        """The keys `background` and `target`."""
        listed = ", ".join(f"{name} ({count})" for name, count in self.counts.items())
        if self.controls:
            background = Entry(list(self.controls), f"healthy controls by their name; of {listed}", True)
        elif listed:
            background = Entry([OPEN], f"which of these values is that of healthy controls: {listed}?")
        else:
            background = Entry([OPEN], "which value of the diagnosis column is that of healthy controls?")
        if self.controls and len(self.others) == 1:
            return {"background": background, "target": Entry(list(self.others), "all the others", True)}
        choices = [[other] for other in self.others[:5]] + ([self.others] if self.controls else [])
        lines = tuple(f"target: [{', '.join(map(scalar, choice))}]" for choice in choices if choice)
        patients = ", ".join(f"{name} ({count})" for name, count in self.counts.items() if name in self.others)
        why = "which values of the diagnosis column are those of patients?"
        if patients:
            why = f"which of these values are those of patients: {patients}?"
        return {"background": background, "target": Entry([OPEN], why, others=lines)}


def column_of(rows: pd.DataFrame, fact: str) -> str | None:
    """The column with a usual name for a fact, and with values; the likeliest by its name."""
    return next((column for column in named(rows.columns, fact) if rows[column].notna().any()), None)


def missing_texts(rows: pd.DataFrame) -> list[str]:
    """Texts that mean missing: codes of the field where a number, a sex or a diagnosis is expected.

    One that is a site as well is none of them, since a study's `missing` holds for all of its columns.
    """
    sites = {text for column in named(rows.columns, "site") for text in rows[column].dropna()}
    scores = [where for _, where in score_columns(list(rows.columns)).values()]
    numeric = [*named(rows.columns, "age"), *named(rows.columns, "tiv")]
    numeric += [column for where in scores for column in ([where] if isinstance(where, str) else where)]
    codes = dict.fromkeys((*numeric, *named(rows.columns, "sex")), MISSING)
    codes |= dict.fromkeys(named(rows.columns, "diagnosis"), _CODES_OF_DIAGNOSES)
    texts = (text for column, known in codes.items() for text in rows[column].dropna() if text.casefold() in known)
    return sorted({*texts} - sites)


# --- diagnoses ----------------------------------------------------------------------------------------------------


def _levels(column: str, tables: Sequence[Table]) -> dict[str, str]:
    return {code: meaning for table in tables for code, meaning in table.levels(column).items()}


def diagnoses_of(rows: pd.DataFrame, tables: Sequence[Table]) -> Diagnoses:
    """The column of diagnoses: with a usual name and controls among its values, or the only one with such a name."""

    def has_controls(column: str) -> bool:
        levels = _levels(column, tables)
        return any(_CONTROL.fullmatch(text) for code in rows[column].dropna() for text in (code, levels.get(code, "")))

    few = [column for column in rows.columns if 1 <= rows[column].nunique() <= _MOST_DIAGNOSES]
    by_name = [column for column in named(rows.columns, "diagnosis") if column in few]
    others = [column for column in few if column not in by_name and not _is_another_fact(column, rows)]
    certain = [column for column in by_name if has_controls(column)] or [*filter(has_controls, others)]
    likely = certain or by_name
    if not likely:
        lines = tuple(f"diagnosis: {scalar(column)} # {counts_of(rows[column])}" for column in others[:6])
        why = (
            "no column of the tables has a usual name for a diagnosis, or controls among its values. For a cohort "
            "without diagnoses, `source: implanted` puts a known effect into volumes; remove `diagnosis`, `background` "
            "and `target` then"
        )
        return Diagnoses(None, Entry(OPEN, why, others=lines))
    alike = [column for column in likely if _same_division(rows[column], rows[likely[0]])]
    lines = tuple(f"diagnosis: {scalar(column)} # {counts_of(rows[column])}" for column in likely[1:])
    if len(alike) < len(likely):
        lines = (f"diagnosis: {scalar(likely[0])} # {counts_of(rows[likely[0]])}", *lines)
        return Diagnoses(None, Entry(OPEN, "several columns may be the diagnosis", others=lines))
    column = likely[0]
    levels = _levels(column, tables)
    codes = list(rows[column].value_counts().index)
    meanings = {code: levels[code] for code in codes if is_number(code) and code in levels}
    people = rows.drop_duplicates([*named(rows.columns, "participant_id")[:1], column])[column]
    names = people.map(lambda code: meanings.get(code, code))
    controls = [
        name
        for name in dict.fromkeys(meanings.get(code, code) for code in codes)
        if _CONTROL.fullmatch(name) or _CONTROL.fullmatch(levels.get(name, ""))
    ]
    patients = [name for name in dict.fromkeys(meanings.get(code, code) for code in codes) if name not in controls]
    how = "by its name and values" if column in by_name else "not by its name, but controls are among its values"
    why = f"{how}: {counts_of(rows[column])}"
    counts = {str(name): int(count) for name, count in names.value_counts().items()}
    return Diagnoses(column, Entry(column, why, True, lines), meanings, controls, patients, counts)


def _is_another_fact(column: str, rows: pd.DataFrame) -> bool:
    return any(column in named([column], fact) for fact in FACTS if fact != "diagnosis") or (
        column in [item for _, where in score_columns(list(rows.columns)).values() for item in where]
    )


def _same_division(one: pd.Series, other: pd.Series) -> bool:
    """Whether two columns divide participants alike, whatever they call the parts."""
    pairs = pd.DataFrame({"one": one, "other": other}).drop_duplicates()
    return len(pairs) == one.nunique(dropna=False) == other.nunique(dropna=False)


# --- other facts --------------------------------------------------------------------------------------------------


def columns_of(rows: pd.DataFrame, participant: str, session: str | None, repeated: bool, diagnoses: Diagnoses) -> Tree:
    """The key `columns`.

    Args:
        rows: of all participants, text.
        participant: the column that names participants.
        session: the one that names their sessions.
        repeated: whether participants have several rows.
    """
    entries = {"participant_id": Entry(participant)}
    if repeated and session is not None:
        why = (
            "participants have several rows; all scans are used, those of one participant on the same side of each "
            f"fold: {counts_of(rows[session])}"
        )
        entries["session_id"] = Entry(session, why, True)
    elif repeated:
        entries["session_id"] = Entry(OPEN, "participants have several rows; which column identifies the session?")
    entries["diagnosis"] = diagnoses.entry
    for fact in ("age", "sex", "site"):
        columns = [column for column in named(rows.columns, fact) if rows[column].notna().any()]
        if columns:
            numbers = numbers_in(rows[columns[0]]) if fact == "age" else pd.Series()
            years = f"{numbers.min():.3g} to {numbers.max():.3g}" if len(numbers) else counts_of(rows[columns[0]])
            hint = "; these look like months: divide them by 12" if len(numbers) and numbers.median() > 120 else ""
            lines = tuple(f"{fact}: {scalar(column)} # {counts_of(rows[column])}" for column in columns[1:])
            entries[fact] = Entry(columns[0], f"by its name; {years}{hint}", columns[0] != fact or bool(lines), lines)
    return entries


def values_of(rows: pd.DataFrame, tables: Sequence[Table], diagnoses: Diagnoses) -> Tree:
    """The key `values`: meanings by the JSON files, numbers that are text, and codes of sex that are left open."""
    entries: dict[str, Entry] = {}
    if diagnoses.meanings:
        known = {code: Entry(meaning) for code, meaning in diagnoses.meanings.items()}
        entries["diagnosis"] = Entry(known, "by the JSON file beside the table")
    sex = column_of(rows, "sex")
    codes = sorted({code for code in rows[sex].dropna() if code.casefold() not in SEXES}) if sex else []
    if sex and 0 < len(codes) <= _MOST_DIAGNOSES:
        levels = {code: _sex_called(meaning) for code, meaning in _levels(sex, tables).items()}
        entries["sex"] = Entry(
            {
                code: Entry(levels[code], "by the JSON file beside the table")
                if levels.get(code)
                else Entry(OPEN, f"female, male, other or n/a? {(rows[sex] == code).sum()} rows have this code")
                for code in codes
            }
        )
    age = column_of(rows, "age")
    texts = sorted({text for text in rows[age].dropna() if not is_number(text)}) if age else []
    if 0 < len(texts) <= _MOST_AGES_IN_WORDS:
        numbers = {text: re.fullmatch(r"[<>=≥≤~]*\s*(\d+(\.\d+)?)\s*\+?", text) for text in texts}
        by_text = {text: Entry(number[1] if number else OPEN) for text, number in numbers.items()}
        entries["age"] = Entry(by_text, "ages that are no plain numbers, in years", True)
    return entries


def _sex_called(meaning: str) -> str:
    words = re.findall(r"[a-z]+", meaning.casefold())
    return SEXES.get(words[0], "") if words else ""


def tiv_of(rows: pd.DataFrame, tables: Sequence[Table]) -> tuple[Tree, Tree]:
    """Total intracranial volume: what `columns` and `volumes` get of it; nothing unless all rows have it in ml."""
    column = column_of(rows, "tiv")
    if column is None:
        where = _tissues(tables) or "CAT12: report/cat_*.xml"
        why = f"Scale volumes by total intracranial volume? Add it to your tables in ml ({where})"
        return {}, {"tiv_column": Entry(None, why)}
    values = numbers_in(rows[column])
    there = f"{values.min():g} to {values.max():g} in {len(values)} of {len(rows)} rows"
    if len(values) == len(rows) and values.between(500, 3000).all():
        kept = Entry(column, f"total intracranial volume in ml, by its name and values: {there}", True)
        why = "modulated volumes are larger in larger heads, so they are scaled by 1500/TIV; null: not"
        return {"others": Entry({"tiv": kept})}, {"tiv_column": Entry("tiv", why, True)}
    why = (
        f"the column {column!r} is not used: for scaling, each participant needs a volume in ml (500 to 3000); {there}"
    )
    return {}, {"tiv_column": Entry(None, why)}


def _tissues(tables: Sequence[Table]) -> str:
    """Which table has the volumes of the three tissues, whose sum is TIV, and by what their sum is to be multiplied."""
    for table in tables:
        columns = [
            next((column for column in table.rows.columns if re.fullmatch(tissue, plain(column))), None)
            for tissue in _TISSUES
        ]
        known = [column for column in columns if column is not None]
        if len(known) < len(_TISSUES):
            continue
        median = sum(numbers_in(table.rows[column]).median() for column in known)
        for unit, lowest, hint in (("litres", 0.5, ", times 1000"), ("ml", 500, ""), ("mm³", 5e5, ", divided by 1000")):
            if lowest <= median <= 6 * lowest:
                return (
                    f"{table.path}: the sum of {', '.join(known)}, which is in {unit} by its median, {median:.4g}{hint}"
                )
    return ""
