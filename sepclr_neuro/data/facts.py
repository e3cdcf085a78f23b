"""Facts from the columns of a study's tables: diagnosis, age, sex, site, scores and further columns."""

from __future__ import annotations

import difflib
import json
import re

import pandas as pd

from sepclr_neuro.config.cohort import Cohort, Score
from sepclr_neuro.core.errors import Alike, nearest
from sepclr_neuro.core.storage import is_formula
from sepclr_neuro.data.participants import StudyTables, is_number, lists_every_code
from sepclr_neuro.data.problems import Problems

__all__ = [
    "OTHER_SEX",
    "SEXES",
    "cells_of",
    "disease_columns",
    "groups_of",
    "is_global_rating",
    "numbers_of",
    "read_facts",
    "score_of",
]

OTHER_SEX = "other"
# As BIDS writes it, in capitals or small letters.
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male", "o": OTHER_SEX, "other": OTHER_SEX}
# Likeness (difflib) from which an unknown diagnosis is taken for a misspelling: it is 0.93 for `controls`, 0.57 for
# `schizoaffective` against `schizophrenia`.
MISSPELLING = 0.8


def read_facts(
    tables: StudyTables, settings: Cohort, problems: Problems
) -> tuple[pd.DataFrame, dict[str, pd.Series], dict[str, frozenset[str]]]:
    """Facts of all participants; by score, who has only part of its items, and the columns that were summed."""
    columns = settings.columns
    facts = pd.DataFrame({"participant_id": tables.rows[columns.participant_id]})
    facts["scan_id"], facts["session_id"] = facts["participant_id"], tables.missing()
    if columns.session_id is not None:
        facts["session_id"] = tables.text(columns.session_id, "cohort.columns.session_id", problems)
        facts["scan_id"] += "_" + facts["session_id"].fillna("")
    facts["study"] = tables.study.name
    facts["diagnosis"] = facts["group"] = tables.missing()
    if settings.source != "implanted":
        facts["diagnosis"] = _label(tables, columns.diagnosis, "diagnosis", settings, problems)
        facts["group"] = groups_of(facts["diagnosis"], settings)
        _check_diagnoses(tables, facts, settings, problems)
        facts = facts.assign(**disease_columns(facts["diagnosis"], settings))
    facts["age"] = _ages(tables, settings, problems)
    facts["sex"] = _sexes(tables, settings, problems)
    facts["site"] = _label(tables, columns.site, "site", settings, problems)
    partial, items = {}, {}
    for name, score in settings.scores.items():
        facts[name], partial[name], items[name] = score_of(tables, name, score, settings, problems)
        if score.people == "target":
            _refuse_misplaced(tables, facts, name, score.range[0], problems)
            others = facts["diagnosis"].notna() & (facts["group"] != "target")
            facts[name] = facts[name].mask(others)
            partial[name] &= ~others
    for name, column in columns.others.items():
        facts[name] = _label(tables, column, name, settings, problems)
    return facts, partial, items


def cells_of(
    tables: StudyTables, facts: pd.DataFrame, fact: str, key: str, settings: Cohort, problems: Problems
) -> pd.Series:
    """A fact of the cohort or any other column of the tables, as text."""
    if fact in settings.known and fact in facts and (fact != "diagnosis" or settings.source != "implanted"):
        return facts[fact].map("{:g}".format, na_action="ignore") if facts[fact].dtype == "float64" else facts[fact]
    column = settings.columns.names.get(fact, fact)
    cells = tables.coded(column, key, settings.values.get(fact, {}), problems)
    _refuse_formulas(tables, column, cells, fact, "correct it in the table", problems)
    return cells


def numbers_of(
    tables: StudyTables, facts: pd.DataFrame, fact: str, key: str, settings: Cohort, problems: Problems
) -> pd.Series:
    """The same as numbers."""
    if fact == "age" or fact in settings.scores:
        return facts[fact]
    column = settings.columns.names.get(fact, fact)
    # That no table has it was said already.
    known = problems if tables.column(column) is not None else Problems()
    return tables.numbers(column, key, settings.values.get(fact, {}), fact, known)


def _label(tables: StudyTables, column: str, name: str, settings: Cohort, problems: Problems) -> pd.Series:
    """A column of text: the meaning of its codes by ``cohort.values``, or the codes where that says nothing."""
    key = f"cohort.columns.{'others.' if name in settings.columns.others else ''}{name}"
    meanings = settings.values.get(name)
    labels = tables.coded(column, key, meanings or {}, problems)
    if meanings is not None:
        codes = tables.text(column, key, Problems())
        if name == "sex":
            codes = codes.mask(codes.str.casefold().isin(SEXES))
        elif name in settings.columns.others and not lists_every_code(meanings):
            codes = codes.mask(codes.fillna("").map(is_number))
        tables.refuse_unlisted(codes, column, meanings, name, problems)
    _refuse_formulas(tables, column, labels, name, f"give it another name in `cohort.values.{name}`", problems)
    return labels


def _sexes(tables: StudyTables, settings: Cohort, problems: Problems) -> pd.Series:
    """``female``, ``male`` or ``other``."""
    column = settings.columns.sex
    labels = _label(tables, column, "sex", settings, problems)
    sexes = labels.str.casefold().map(SEXES).astype("str")
    # A code that `cohort.values` lacks is said to lack there.
    meanings = settings.values.get("sex")
    known = labels.notna() if meanings is None else labels.isin(meanings.values())
    for label in sorted(labels[known & sexes.isna()].unique()):

        def sentence(rows: pd.Series, label: str = label) -> Alike:
            return Alike(
                f"{tables.where(column)}: {label!r} ({tables.named(rows)}) needs a meaning, `female`, `male`, "
                "`other` or `n/a` in `cohort.values.sex`; nothing is guessed",
                repr(label),
                f"{tables.where(column)}: sex",
            )

        problems.of_code(labels == label, "sex", sentence)
    return sexes


def _refuse_formulas(
    tables: StudyTables, column: str, texts: pd.Series, fact: str, advice: str, problems: Problems
) -> None:
    for text in texts.dropna().unique():
        if not text.isprintable() or is_formula(text):

            def sentence(rows: pd.Series, text: str = text) -> Alike:
                return Alike(
                    f"{tables.where(column)}: {text!r} ({tables.named(rows)}) holds control characters or would run as "
                    f"a formula in a spreadsheet; {advice}",
                    repr(text),
                    f"{tables.where(column)}: a formula",
                )

            problems.of_code(texts == text, fact, sentence)


# --- diagnoses and ages ----------------------------------------------------------------------------------------


def groups_of(diagnoses: pd.Series, settings: Cohort) -> pd.Series:
    sides = dict.fromkeys(settings.background, "background") | dict.fromkeys(settings.target, "target")
    return diagnoses.map(sides).astype("str")


def disease_columns(diagnoses: pd.Series, settings: Cohort) -> dict[str, pd.Series]:
    """Of several diseases the column ``disease``, and for each contrast of one a column: yes, no, or missing where a
    participant is on neither side. No column without diseases."""
    if not settings.diseases:
        return {}
    of_diagnosis = {diagnosis: name for name, of_one in settings.diseases.items() for diagnosis in of_one}
    disease, group = diagnoses.map(of_diagnosis).astype("str"), groups_of(diagnoses, settings)
    columns = {"disease": disease}
    for name, (own, others) in settings.contrasts.items():
        has_it = disease == own
        side = pd.Series("no", index=diagnoses.index, dtype="str").mask(has_it, "yes")
        columns[name] = side.where(has_it | (group == others))
    return columns


def _check_diagnoses(tables: StudyTables, facts: pd.DataFrame, settings: Cohort, problems: Problems) -> None:
    """An unknown diagnosis leaves participants out, unless it looks like a misspelling of one that counts."""
    # Saying `x: x` declares that a diagnosis is meant as it is spelled.
    declared = {code for code, meaning in settings.values.get("diagnosis", {}).items() if code == meaning}
    known = {name.casefold(): name for name in (*settings.background, *settings.target)}
    unknown = facts.loc[facts["group"].isna(), "diagnosis"].dropna().unique()
    for label in sorted({*unknown} - declared):
        near = difflib.get_close_matches(label.casefold(), known, n=1, cutoff=MISSPELLING)
        if near:

            def sentence(rows: pd.Series, label: str = label, meant: str = known[near[0]]) -> str:
                return (
                    f"{tables.where(settings.columns.diagnosis)}: is {label!r} ({tables.named(rows)}) meant to be "
                    f"{meant!r}? Correct it, or say what it means in `cohort.values.diagnosis` (`{label}: {label}` if "
                    "it is another diagnosis)"
                )

            problems.of_code(facts["diagnosis"] == label, "diagnosis", sentence)


def _ages(tables: StudyTables, settings: Cohort, problems: Problems) -> pd.Series:
    """Ages in years."""
    column = tables.columns.age
    ages = tables.numbers(column, "cohort.columns.age", settings.values.get("age", {}), "age", problems)
    wrong = ages.notna() & ~ages.between(0, 120, inclusive="neither")
    hint = "; these look like months, which must be divided by 12" if ages.median() > 120 else ""

    def sentence(rows: pd.Series) -> str:
        age = ages[rows].iloc[0]
        code = "; if it means missing, list it in the study's `missing`" if age < 0 else ""
        return (
            f"{tables.where(column)}: {tables.named(rows)} has the age {age:g}, expected years above 0 and below 120"
            f"{hint}{code}"
        )

    problems.of_people(wrong, "age", sentence)
    return ages


# --- scores ----------------------------------------------------------------------------------------------------


def score_of(
    tables: StudyTables, name: str, score: Score, settings: Cohort, problems: Problems
) -> tuple[pd.Series, pd.Series, frozenset[str]]:
    """Totals of a score, who has only part of its items, and the columns that were summed."""
    key = f"cohort.scores.{name}"
    lowest, highest = score.range
    names = [score.column] if score.column is not None else _items(tables, score, key, problems)
    of_all = settings.values.get(name, {})
    values = pd.DataFrame(
        {item: tables.numbers(item, key, settings.values.get(item, of_all), name, problems) for item in names},
        tables.rows.index,
    )
    for item in names if score.items is not None and lowest >= 0 else ():
        _refuse_negative(tables, values[item], name, lowest, problems)
    # A sum over no columns would be 0 for all.
    total = values.sum(axis=1, skipna=False) if names else tables.missing().astype("float64")
    wrong = total.notna() & ~total.between(lowest, highest)
    problems.of_people(
        wrong,
        name,
        lambda rows: (
            f"{tables.study.participants}: {tables.named(rows)} has a {name} of {total[rows].iloc[0]:g}, outside "
            f"{lowest:g} to {highest:g} (`{key}.range`); if it means missing, list it in the study's `missing`"
        ),
    )
    return total, values.notna().any(axis=1) & total.isna(), frozenset(names)


def _refuse_negative(tables: StudyTables, item: pd.Series, score: str, lowest: float, problems: Problems) -> None:
    problems.of_people(
        item < 0,
        score,
        lambda rows: (
            f"{tables.where(str(item.name))}: {tables.named(rows)} has {item[rows].iloc[0]:g}, but the items of a "
            f"{score} of at least {lowest:g} are not negative; if it means missing, list it in the study's `missing`"
        ),
    )


def _refuse_misplaced(tables: StudyTables, facts: pd.DataFrame, score: str, lowest: float, problems: Problems) -> None:
    """A control has no symptoms to score, or the lowest score that there is."""
    scores = facts[score]
    others = facts["diagnosis"].notna() & (facts["group"] != "target") & ~problems.wrong("diagnosis", facts.index)
    problems.of_people(
        others & scores.notna() & (scores != lowest),
        score,
        lambda rows: (
            f"{tables.study.participants}: {tables.named(rows)} ({facts.loc[rows, 'diagnosis'].iloc[0]}) has a {score} "
            f"of {scores[rows].iloc[0]:g}, which only the target group should have; check the diagnosis, or set "
            f"`cohort.scores.{score}.people: all`"
        ),
    )


def _items(tables: StudyTables, score: Score, key: str, problems: Problems) -> list[str]:
    """The columns that a score sums, nothing counted twice."""
    if not isinstance(score.items, str):
        matched = list(dict.fromkeys(tables.column(name) or name for name in score.items or ()))
    else:
        matched = [name for name in tables.rows.columns if re.fullmatch(score.items, name)]
        if not matched:
            problems.append(
                f"{tables.study.participants}: no column of {tables.study.name} matches {score.items!r} "
                f"(`{key}.items`); columns: {', '.join(tables.rows.columns)}. If this study lacks the items, name one "
                "in its `constants`, with the value n/a"
            )
    # A study that lacks the items says so by a constant; it has none to leave out.
    excluded = [tables.column(name) or name for name in score.exclude_items]
    for name in excluded if set(matched) - set(tables.study.constants) else ():
        if name not in matched:
            items = nearest(name, matched, listed=True)
            problems.append(f"{key}.exclude_items: {name!r} is no item in {tables.study.name}.{items}")
    kept = [name for name in matched if name not in excluded]
    # A global rating repeats the items of its domain. Items that are listed by name are meant.
    ratings = [name for name in kept if isinstance(score.items, str) and _is_global(tables, name, problems)]
    if ratings and len(ratings) < len(kept):
        problems.append(
            f"{key}.items: {', '.join(ratings)} of {tables.study.name} are global ratings, which count the other items "
            "a second time; put them into `exclude_items` (or list all items by name)"
        )
    return kept


def _is_global(tables: StudyTables, item: str, problems: Problems) -> bool:
    """Whether an item is a global rating, by its name or by the JSON file that describes its table (BIDS)."""
    sidecar = tables.files[item].with_suffix(".json")
    if not sidecar.is_file():
        return is_global_rating(item, None)
    try:
        described = json.loads(sidecar.read_bytes())
    except ValueError as error:
        problem = f"{sidecar}: is not valid JSON ({error}); correct it, since it says what the items are"
        if problem not in problems:
            problems.append(problem)
        return False
    return is_global_rating(item, described)


def is_global_rating(item: str, described: object) -> bool:
    """Whether an item is a global rating, by its name or by the content of the JSON file that describes its table.

    >>> is_global_rating("SANS_global_1", None), is_global_rating("Q7", {"Q7": "Global rating of alogia"})
    (True, True)
    """
    said = json.dumps(described.get(item)) if isinstance(described, dict) else ""
    return "global" in item.casefold() or "global rating" in said.casefold()
