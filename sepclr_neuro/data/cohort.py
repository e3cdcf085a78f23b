"""Participants and phenotype tables -> one validated cohort table, with everybody left out and why.

The tables decide nothing by accident: cells are read as text, what a code means is written in the configuration, and
whatever is odd is an :class:`~sepclr_neuro.core.errors.InputError` that lists all problems at once.

Decisions:

- Ids stay as the participants table writes them and are compared without their ``sub-`` or ``ses-``.
- Missing is ``n/a`` (BIDS), an empty cell or what the study's ``missing`` lists, and nothing else: ``NA`` may well be a
  site.
- Sex is understood as BIDS spells it, unless ``values`` says otherwise. ``other`` is kept: a class of its own where sex
  is held constant, and nobody's answer where probes ask for it.
- Who stays in is asked first; what is wrong with people who do not is nobody's concern. A value that is wrong leaves
  nobody out: no rule can judge it.
- A score with any missing item is missing; it is never filled in and never 0. Its patient stays in the cohort. Where
  only patients have a score, the lowest possible one of anybody else says that there is none.
- A missing value of a required fact, quality measure, session or volume leaves a scan out under a rule of its own,
  while a *wrong* value is an error, unless ``on_error: exclude`` says to leave such people out, with the reason:
  leaving people out is the configuration's decision, never this module's.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sepclr_neuro.config.model import Cohort, Columns, Config, Score, Study
from sepclr_neuro.core.errors import Alike, InputError, nearest
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import is_formula, read_tsv, write_tsv
from sepclr_neuro.data.finding import Row, find_volumes
from sepclr_neuro.data.participants import (
    ERROR,
    Problems,
    StudyTables,
    id_keys,
    is_number,
    lists_every_code,
    read_study,
)
from sepclr_neuro.data.patterns import Folder, Pattern, broken_link, link_advice

__all__ = ["OTHER_SEX", "CohortTables", "build_cohort", "dataset_volume", "load_cohort", "write_cohort"]

Look = Callable[[pd.DataFrame], Mapping[str, str]]
"""From rows of ``cohort.tsv`` to what is wrong with a scan's volume, by ``scan_id``."""

LABELS = ("scan_id", "participant_id", "session_id", "diagnosis", "group", "sex", "site", "volume")
NO_VOLUME = "no volume"
_WITHOUT = ". People who have none are left out by `volume` in `cohort.include.require`"
OTHER_SEX = "other"
# As BIDS writes it, in capitals or small letters.
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male", "o": OTHER_SEX, "other": OTHER_SEX}
# Likeness (difflib) from which an unknown diagnosis is taken for a misspelling: it is 0.93 for `controls`, 0.57 for
# `schizoaffective` against `schizophrenia`.
MISSPELLING = 0.8
# SANS has 25 items and SAPS 34, each 0 to 5.
DATASET_SCORES = {"sans": Score(column="sans", range=(0, 125)), "saps": Score(column="saps", range=(0, 170))}


@dataclass(frozen=True)
class CohortTables:
    """A cohort and how it came about.

    Attributes:
        cohort: one row a scan, sorted by ``scan_id``: ``scan_id participant_id session_id diagnosis group age sex site
            <scores> <others> volume``. Ages in years; scores and all-numeric others are floats; missing is NaN.
        exclusions: one row for each scan left out: ``participant_id session_id study rule value``.
        flow: ``step rule removed remaining``. ``start`` and ``exclude`` rows, read downwards, subtract from all scans
            that any table lists to the cohort. A ``count`` row removes nobody: its ``remaining`` is how many its rule
            describes, e.g. the patients who stay in without a score.
        faults: what is wrong with each of those whom `on_error: exclude` leaves out.
    """

    cohort: pd.DataFrame
    exclusions: pd.DataFrame
    flow: pd.DataFrame
    faults: list[Alike]


def write_cohort(config: Config, results: Results, look: Look | None = None) -> None:
    """Writes ``cohort.tsv``, ``exclusions.tsv`` and ``flow.tsv``, or nothing if anything is wrong.

    Args:
        look: reads volumes; asked with ``on_error: exclude`` only.

    Raises:
        InputError: with every problem of the tables.
    """
    tables = build_cohort(config.cohort, None if config.cohort.source == "files" else results.dataset, look)
    # Six digits, as in all tables, would change numbers that were given with more.
    numbers = tables.cohort.select_dtypes("float")
    digits = numbers.apply(lambda column: column.map("{:.15g}".format, na_action="ignore").astype("str"))
    write_tsv(results.exclusions, tables.exclusions)
    write_tsv(results.flow, tables.flow)
    write_tsv(results.cohort, tables.cohort.assign(**digits))


def load_cohort(results: Results) -> pd.DataFrame:
    """Reads ``cohort.tsv`` as :func:`build_cohort` gave it: labels ``str``, numbers ``float``, missing NaN.

    Raises:
        InputError: if the cohort stage has not run.
    """
    if not results.cohort.is_file():
        raise InputError(f"{results.cohort}: not found; run the cohort stage first")
    names = tuple(read_tsv(results.cohort).columns)
    return _typed(read_tsv(results.cohort, text=names))


def dataset_volume(dataset: Path, participant_id: str, scan_id: str) -> Path:
    """Where a simulated or implanted data set keeps a scan's volume."""
    return dataset / participant_id / "anat" / f"{scan_id}_mwp1.nii.gz"


def build_cohort(settings: Cohort, dataset: Path | None, look: Look | None = None) -> CohortTables:
    """Reads, joins, checks and filters the tables of a cohort.

    Args:
        settings: the section ``cohort`` of the configuration.
        dataset: the folder of the simulated or implanted data set; None for ``source: files``. With ``source:
            implanted``, None gives the people to implant into, without diagnosis, group and scores.
        look: reads the volumes of those who would stay in; asked with ``on_error: exclude`` only.

    Raises:
        InputError: with every problem of the tables.
    """
    if dataset is not None and not (dataset / "participants.tsv").is_file():
        raise InputError(f"{dataset / 'participants.tsv'}: not found; run the dataset stage first")
    if settings.source == "simulated":
        if dataset is None:
            raise ValueError("a simulated cohort needs its data set")
        settings = _simulated(settings, dataset)

    rules = {NO_VOLUME} if "volume" in settings.include.require else set()
    problems = Problems({ERROR, NO_VOLUME} if settings.on_error == "exclude" else rules)
    parts: list[_People] = []
    for study in settings.studies:
        try:
            tables = read_study(study, settings.columns)
        except InputError as error:
            problems += error.problems
        else:
            of_study = Problems(problems.rules, tables.rows[settings.columns.participant_id])
            parts.append(_people(tables, settings, of_study))
            problems += of_study
            problems.left_out += of_study.left_out
    if parts:
        facts = pd.concat([part.facts for part in parts], ignore_index=True)
        problems.ids = facts["participant_id"]
        _check_across_studies(facts, settings, problems)
        _leave_out(facts, problems)
        _check_items(parts, problems)
    if problems:
        raise InputError(problems)
    if look is not None and ERROR in problems.rules:
        wrong = look(facts[facts["rule"].isna()])
        for row in facts.index[facts["rule"].isna() & facts["scan_id"].isin(wrong)]:
            problems.of_person(row, wrong[facts.loc[row, "scan_id"]])
        _leave_out(facts, problems)

    out = facts["rule"].notna()
    kept, excluded = facts[~out], facts[out]
    cohort = kept.drop(columns=["study", "rule", "value"])
    if settings.source == "implanted":
        cohort = cohort.drop(columns=["diagnosis", "group"])
        if dataset is not None:
            cohort = _with_implant(cohort, settings, dataset)
    exclusions = excluded[["participant_id", "session_id", "study", "rule", "value"]]
    exclusions = pd.concat([exclusions, *(part.tables.orphans for part in parts)], ignore_index=True)
    flow = _flow(parts, facts, cohort, settings)
    _check_groups(cohort, flow)
    cohort = _typed(cohort[_column_order(cohort)].sort_values("scan_id", ignore_index=True))
    exclusions = exclusions.sort_values(["participant_id", "session_id"], ignore_index=True)
    return CohortTables(cohort, exclusions, flow, problems.left_out)


# --- what the columns mean ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _People:
    """The scans of one study.

    Attributes:
        facts: a row a scan: the columns of ``cohort.tsv``, ``study``, and ``rule`` and ``value`` of who is left out.
        rules: by which a scan may be left out, in the order that they are asked.
        counts: those of the tables, and what was found on the way.
        items: the summed columns of each score that anybody here has.
    """

    tables: StudyTables
    facts: pd.DataFrame
    rules: list[str]
    counts: list[tuple[str, int]]
    items: dict[str, frozenset[str]]


def _people(tables: StudyTables, settings: Cohort, problems: Problems) -> _People:
    """Reads the facts of one study, asks every rule of who stays in, and then what is wrong with those."""
    facts, partial, items = _facts(tables, settings, problems)
    for told, about in tables.repeated:

        def sentence(rows: pd.Series, told: Alike = told) -> Alike:
            return told

        problems.of_code(about, "participant_id", sentence)
    facts["rule"] = facts["value"] = tables.missing()
    rules = []
    for rule, leaves_out, values in _rules(tables, facts, settings, problems):
        new = leaves_out & facts["rule"].isna()
        facts.loc[new, "rule"] = rule
        facts.loc[new, "value"] = values[new]
        rules.append(rule)
    problems.settle(facts["rule"].isna())
    for _, about in tables.repeated:  # these stop the run, and nothing more is said of them
        facts.loc[about & facts["rule"].isna(), "rule"] = ERROR
    _leave_out(facts, problems)
    facts["volume"], unnamed = _volumes(tables, facts["rule"].isna(), settings, problems)
    _leave_out(facts, problems)
    rules += [rule for rule in (NO_VOLUME, ERROR) if rule in problems.rules and rule not in rules]

    kept, name_of_study, counts = facts["rule"].isna(), tables.study.name, list(tables.counts)
    for name, score in settings.scores.items():
        if score.items is not None:
            number = int((partial[name] & kept).sum())
            counts.append((f"without {name} although some items are given, in {name_of_study}", number))
    if unnamed is not None:
        counts.append((f"volumes on disk that no row of {name_of_study} names", unnamed))
    items = {name: summed for name, summed in items.items() if facts.loc[kept, name].notna().any()}
    return _People(tables, facts, rules, counts, items)


def _facts(
    tables: StudyTables, settings: Cohort, problems: Problems
) -> tuple[pd.DataFrame, dict[str, pd.Series], dict[str, frozenset[str]]]:
    """What the tables say of everybody; by score, who has only part of its items, and the columns that were summed."""
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
        facts["group"] = _groups(facts["diagnosis"], settings)
        _check_diagnoses(tables, facts, settings, problems)
    facts["age"] = _ages(tables, settings, problems)
    facts["sex"] = _sexes(tables, settings, problems)
    facts["site"] = _label(tables, columns.site, "site", settings, problems)
    partial, items = {}, {}
    for name, score in settings.scores.items():
        facts[name], partial[name], items[name] = _score(tables, name, score, settings, problems)
        if score.people == "target":
            _refuse_misplaced(tables, facts, name, score.range[0], problems)
            others = facts["diagnosis"].notna() & (facts["group"] != "target")
            facts[name] = facts[name].mask(others)
            partial[name] &= ~others
    for name, column in columns.others.items():
        facts[name] = _label(tables, column, name, settings, problems)
    return facts, partial, items


def _leave_out(facts: pd.DataFrame, problems: Problems) -> None:
    """Leaves out who has something wrong and is not left out already."""
    new = facts.index[facts["rule"].isna()].intersection(list(problems.people))
    facts.loc[new, "rule"] = [problems.people[row][0] for row in new]
    facts.loc[new, "value"] = [str(problems.people[row][1]) for row in new]
    problems.left_out += [problems.people[row][1] for row in new]


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
    told = labels.notna() if meanings is None else labels.isin(meanings.values())
    for label in sorted(labels[told & sexes.isna()].unique()):

        def sentence(rows: pd.Series, label: str = label) -> Alike:
            return Alike(
                f"{tables.where(column)}: {label!r} ({tables.who(rows)}) must be said to mean `female`, `male`, "
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
                    f"{tables.where(column)}: {text!r} ({tables.who(rows)}) holds control characters or would run as a "
                    f"formula in a spreadsheet; {advice}",
                    repr(text),
                    f"{tables.where(column)}: a formula",
                )

            problems.of_code(texts == text, fact, sentence)


def _groups(diagnoses: pd.Series, settings: Cohort) -> pd.Series:
    sides = dict.fromkeys(settings.background, "background") | dict.fromkeys(settings.target, "target")
    return diagnoses.map(sides).astype("str")


def _check_diagnoses(tables: StudyTables, facts: pd.DataFrame, settings: Cohort, problems: Problems) -> None:
    """An unknown diagnosis leaves people out, unless it looks like a misspelling of one that counts."""
    # Saying `x: x` declares that a diagnosis is meant as it is spelled.
    declared = {code for code, meaning in settings.values.get("diagnosis", {}).items() if code == meaning}
    known = {name.casefold(): name for name in (*settings.background, *settings.target)}
    unknown = facts.loc[facts["group"].isna(), "diagnosis"].dropna().unique()
    for label in sorted({*unknown} - declared):
        near = difflib.get_close_matches(label.casefold(), known, n=1, cutoff=MISSPELLING)
        if near:

            def sentence(rows: pd.Series, label: str = label, meant: str = known[near[0]]) -> str:
                return (
                    f"{tables.where(settings.columns.diagnosis)}: is {label!r} ({tables.who(rows)}) meant to be "
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
            f"{tables.where(column)}: {tables.who(rows)} has the age {age:g}, expected years above 0 and below 120"
            f"{hint}{code}"
        )

    problems.of_people(wrong, "age", sentence)
    return ages


def _score(
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
    # A sum over no columns would be 0 for everybody.
    total = values.sum(axis=1, skipna=False) if names else tables.missing().astype("float64")
    wrong = total.notna() & ~total.between(lowest, highest)
    problems.of_people(
        wrong,
        name,
        lambda rows: (
            f"{tables.study.participants}: {tables.who(rows)} has a {name} of {total[rows].iloc[0]:g}, outside "
            f"{lowest:g} to {highest:g} (`{key}.range`); if it means missing, list it in the study's `missing`"
        ),
    )
    return total, values.notna().any(axis=1) & total.isna(), frozenset(names)


def _refuse_negative(tables: StudyTables, item: pd.Series, score: str, lowest: float, problems: Problems) -> None:
    problems.of_people(
        item < 0,
        score,
        lambda rows: (
            f"{tables.where(str(item.name))}: {tables.who(rows)} has {item[rows].iloc[0]:g}, but the items of a "
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
            f"{tables.study.participants}: {tables.who(rows)} ({facts.loc[rows, 'diagnosis'].iloc[0]}) has a {score} "
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
    # A global rating repeats the items of its domain. Whoever lists the items by name means them.
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
    if "global" in item.casefold() or not sidecar.is_file():
        return "global" in item.casefold()
    try:
        described = json.loads(sidecar.read_bytes())
    except ValueError as error:
        problem = f"{sidecar}: is not valid JSON ({error}); correct it, since it says what the items are"
        if problem not in problems:
            problems.append(problem)
        return False
    return isinstance(described, dict) and "global rating" in json.dumps(described.get(item)).casefold()


# --- who stays in ------------------------------------------------------------------------------------------------


def _rules(
    tables: StudyTables, facts: pd.DataFrame, settings: Cohort, problems: Problems
) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """Each rule in order: its words, whom it leaves out, and the values that it judged."""
    columns, include = settings.columns, settings.include

    def judged(fact: str, leaves_out: pd.Series) -> pd.Series:
        """Whom a rule may judge by the fact: nobody, where no table has its column."""
        there = fact in settings.scores or tables.column(columns.names.get(fact, fact)) is not None
        return leaves_out & ~problems.wrong(fact, facts.index) & there

    if columns.session_id is not None:
        yield "session missing", judged("session_id", facts["session_id"].isna()), facts["session_id"]
    if settings.source != "implanted":
        yield "diagnosis missing", judged("diagnosis", facts["diagnosis"].isna()), facts["diagnosis"]
        unknown = judged("diagnosis", facts["group"].isna())
        yield "diagnosis neither background nor target", unknown, facts["diagnosis"]
    for name in include.require:
        fact = settings.known_as(name)
        if fact == "volume":
            continue  # looked for once it is known who needs one
        if fact.casefold() in ("volume", "volumes") and tables.column(columns.names.get(fact, fact)) is None:
            problems.append(
                f"cohort.include.require: {name!r} is no column of {tables.study.name}. Did you mean 'volume', which "
                "leaves out people whose volume is not found?"
            )
            continue
        without = _cells(tables, facts, fact, "cohort.include.require", settings, problems).isna()
        if fact in settings.scores and settings.scores[fact].people == "target":
            without &= facts["group"] == "target"
        yield f"{name} missing", judged(fact, without), tables.missing()
    if include.age is not None:
        outside = judged("age", facts["age"].notna() & ~facts["age"].between(*include.age))
        yield "age outside {:g} to {:g}".format(*include.age), outside, facts["age"].map("{:g}".format)
    for number, rule in enumerate(include.quality):
        fact, key = settings.known_as(rule.column), f"cohort.include.quality.{number}.column"
        values = _cells(tables, facts, fact, key, settings, problems)
        good = values.notna()
        demands = []
        if rule.keep is not None:
            codes = tables.rows.get(columns.names.get(fact, fact), values)
            good &= values.isin(rule.keep) | codes.isin(rule.keep)
            demands.append(f"one of {', '.join(rule.keep)}")
        numbers = _numbers(tables, facts, fact, key, settings, problems) if rule.has_bounds else values
        if rule.minimum is not None:
            good &= numbers >= rule.minimum
            demands.append(f"at least {rule.minimum:g}")
        if rule.maximum is not None:
            good &= numbers <= rule.maximum
            demands.append(f"at most {rule.maximum:g}")
        yield f"{rule.column} not {' and '.join(demands)}", judged(fact, ~good), values
    if columns.volume is not None:
        without = pd.Series(False, index=facts.index)
        if tables.study.volumes is None:
            without = judged("volume", tables.text(columns.volume, "cohort.columns.volume", problems).isna())
        yield NO_VOLUME, without, tables.missing()


def _cells(
    tables: StudyTables, facts: pd.DataFrame, fact: str, key: str, settings: Cohort, problems: Problems
) -> pd.Series:
    """A fact of the cohort or any other column of the tables, as text."""
    if fact in settings.known and fact in facts and (fact != "diagnosis" or settings.source != "implanted"):
        return facts[fact].map("{:g}".format, na_action="ignore") if facts[fact].dtype == "float64" else facts[fact]
    column = settings.columns.names.get(fact, fact)
    cells = tables.coded(column, key, settings.values.get(fact, {}), problems)
    _refuse_formulas(tables, column, cells, fact, "correct it in the table", problems)
    return cells


def _numbers(
    tables: StudyTables, facts: pd.DataFrame, fact: str, key: str, settings: Cohort, problems: Problems
) -> pd.Series:
    """The same as numbers."""
    if fact == "age" or fact in settings.scores:
        return facts[fact]
    column = settings.columns.names.get(fact, fact)
    # That no table has it was said already.
    known = problems if tables.column(column) is not None else Problems()
    return tables.numbers(column, key, settings.values.get(fact, {}), fact, known)


def _volumes(
    tables: StudyTables, kept: pd.Series, settings: Cohort, problems: Problems
) -> tuple[pd.Series, int | None]:
    """The volume of each scan that stays in, and how many files of the study's pattern no row names."""
    study, rows, found = tables.study, tables.rows, tables.missing()
    root = study.volumes_root or study.participants.parent
    if study.volumes is not None:
        text = study.volumes
    elif tables.columns.volume in rows.columns:
        text = f"{{{tables.columns.volume}}}"
    else:
        if "volume" in settings.include.require:
            problems.append(
                f"{study.name}: `cohort.include.require` asks for volumes, but neither the study's `volumes` nor "
                "`cohort.columns.volume` says where they are"
            )
        return found, None
    own = {name: rows[column] for name, column in tables.columns.names.items() if column in rows.columns}
    rows = rows.assign(**{name: cells for name, cells in own.items() if name not in rows.columns})
    pattern, wrong = Pattern.of(text, rows.columns)
    wrong = [f"the pattern of its volumes has {problem}" for problem in wrong]
    if not root.is_dir():
        link = broken_link(root)
        wrong.append(f"the folder of its volumes, {root}, does not exist{f'; {link_advice(link)}' if link else ''}")
    if wrong:
        problems += [f"{study.name}: {problem}" for problem in wrong]
        return found, None

    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    asked: list[Row] = [{str(name): cell for name, cell in record.items()} for record in records]
    ids = [name for name in (tables.columns.participant_id, tables.columns.session_id) if name and name in rows.columns]
    looked = find_volumes(Folder(root), pattern, asked, kept.tolist(), ids)
    for fault in looked.faults:
        sentence = f"{study.participants}: participant {rows[ids[0]].iloc[fault.row]}{fault.sentence}"
        # Of a volume that two have, nobody knows whose it is.
        for row in (fault.row, *([] if fault.owner is None or ERROR not in problems.rules else [fault.owner])):
            # Where nobody has one it is the pattern that is wrong.
            absent = fault.absent and len(looked.paths) > 0
            cause = f"{fault.cause}{_WITHOUT}" if absent and NO_VOLUME not in problems.rules else fault.cause
            problems.of_person(row, sentence, f"{study.name}: {fault.kind}", cause, NO_VOLUME if absent else ERROR)
    for row, path in looked.paths.items():
        found.iloc[row] = str(path)
    return found, None if study.volumes is None else looked.unnamed


# --- all studies together ----------------------------------------------------------------------------------------


def _check_across_studies(facts: pd.DataFrame, settings: Cohort, problems: Problems) -> None:
    """A person is in one study and has one sex and diagnosis; a scan id names one scan; a site has one name."""
    facts = facts[facts["rule"].isna()]
    for _, person in facts.groupby(facts["participant_id"].str.removeprefix("sub-")):
        participant = person["participant_id"].iloc[0]
        for name, place in (("study", "studies"), ("sex", "sexes"), ("diagnosis", "diagnoses")):
            different = person[name].dropna().unique()
            if len(different) > 1:
                sentence = f"participant {participant} has several {place}: {', '.join(different)}; expected one"
                for row in person.index if ERROR in problems.rules else person.index[:1]:
                    problems.of_person(row, sentence, f"several {place}")
    scans = facts["scan_id"]
    for scan in scans[scans.duplicated()].unique():
        if facts.loc[facts["scan_id"] == scan, "participant_id"].nunique() > 1:
            sentence = f"two participants make the same scan id {scan!r} of participant and session; rename one"
            problems.append(Alike(sentence, scan, "one scan id of two"))
    spellings: dict[str, set[str]] = {}
    for site in facts["site"].dropna().unique():
        spellings.setdefault(str(float(site)) if is_number(site) else site.casefold(), set()).add(site)
    for names in spellings.values():
        if len(names) > 1:
            listed = ", ".join(map(repr, sorted(names)))
            sentence = (
                f"column {settings.columns.site!r}: {listed} look like one site; map them in `cohort.values.site`"
            )
            problems.append(Alike(sentence, listed, "sites of several spellings"))


def _check_items(parts: Sequence[_People], problems: Problems) -> None:
    """Totals of different items cannot be compared."""
    first: dict[str, _People] = {}
    for part in parts:
        for name, items in part.items.items():
            other = first.setdefault(name, part)
            different = sorted(items ^ other.items[name])
            if different:
                problems.append(
                    f"cohort.scores.{name}: {other.tables.study.name} and {part.tables.study.name} do not sum the same "
                    f"items ({', '.join(different)} only in one); totals could not be compared"
                )


def _flow(parts: Sequence[_People], facts: pd.DataFrame, cohort: pd.DataFrame, settings: Cohort) -> pd.DataFrame:
    """Who was there, who was left out by which rule, and what is known of those who stay in."""
    listed = {part.tables.study.name: len(part.facts) + len(part.tables.orphans) for part in parts}
    remaining = sum(listed.values())
    flow: list[tuple[str, str, int, int]] = [("start", "listed in the tables", 0, remaining)]
    flow += [("count", f"listed in the tables of {name}", 0, number) for name, number in listed.items()]
    flow += [("count", text, 0, number) for part in parts for text, number in part.counts]
    removed = {"not in the participants table": sum(len(part.tables.orphans) for part in parts)}
    removed |= {rule: int((facts["rule"] == rule).sum()) for rule in parts[0].rules}
    for rule, number in removed.items():
        remaining -= number
        flow.append(("exclude", rule, number, remaining))
    others = int((cohort["sex"] == OTHER_SEX).sum())
    if others:
        flow.append(("count", "without female or male as sex, whom the sex probe does not ask", 0, others))
    if settings.columns.session_id is not None:
        flow.append(("count", "different participants", 0, cohort["participant_id"].nunique()))
    if "group" in cohort.columns:
        for group in ("background", "target"):
            flow.append(("count", f"in the {group} group", 0, int((cohort["group"] == group).sum())))
        scores = DATASET_SCORES if settings.source == "implanted" else settings.scores
        for name, score in scores.items():
            people = cohort if score.people == "all" else cohort[cohort["group"] == "target"]
            who = "" if score.people == "all" else "in the target group, "
            flow.append(("count", f"{who}without {name}", 0, int(people[name].isna().sum())))
    return pd.DataFrame(flow, columns=["step", "rule", "removed", "remaining"])


def _check_groups(cohort: pd.DataFrame, flow: pd.DataFrame) -> None:
    """Both groups need people; without, the reader needs to know where they went."""
    if "group" in cohort.columns:
        people = cohort.drop_duplicates("participant_id")["group"].value_counts()
        small = [group for group in ("background", "target") if people.get(group, 0) < 2]
    else:
        small = [] if len(cohort) >= 2 else ["implanted"]
    if small:
        steps = flow[(flow["step"] == "exclude") & (flow["removed"] > 0)]
        lost = "; ".join(f"{row.removed} left out: {row.rule}" for row in steps.itertuples())
        raise InputError(
            f"fewer than 2 people are in the {' and the '.join(small)} group, of {flow['remaining'].iloc[0]} listed "
            f"({lost or 'nobody was left out'}); check `cohort.background`, `cohort.target`, `cohort.values` and "
            "`cohort.include`"
        )


# --- simulated and implanted -------------------------------------------------------------------------------------


def _simulated(settings: Cohort, dataset: Path) -> Cohort:
    """A simulated data set is one study with the standard column names."""
    study = Study(
        name="simulated",
        participants=dataset / "participants.tsv",
        volumes=str(dataset_volume(Path(), "{participant_id}", "{participant_id}")),
    )
    return settings.model_copy(
        update={
            "source": "files",
            "simulation": None,
            "studies": [study],
            "columns": Columns(others={"tiv": "tiv"}),
            "scores": DATASET_SCORES,
        }
    )


def _with_implant(people: pd.DataFrame, settings: Cohort, dataset: Path) -> pd.DataFrame:
    """Diagnoses, scores and volumes of an implanted data set, in place of the people's own."""
    columns = Columns(session_id="session_id" if settings.columns.session_id else None)
    study = Study(name="implanted", participants=dataset / "participants.tsv")
    tables = read_study(study, columns)
    problems = Problems()
    drawn = pd.DataFrame({"diagnosis": tables.text("diagnosis", "the implanted diagnosis", problems)})
    for name, score in DATASET_SCORES.items():
        drawn[name], _, _ = _score(tables, name, score, settings, problems)
    problems.settle(drawn["diagnosis"].notna())
    problems += [told for told, _ in tables.repeated]
    if problems:
        raise InputError(problems)
    drawn["group"] = _groups(drawn["diagnosis"], settings)
    drawn.index = pd.Index(id_keys(tables.rows, "participant_id", columns.session_id))
    keys = id_keys(people, "participant_id", columns.session_id)
    if set(drawn.index) != set(keys) or drawn["group"].isna().any():
        raise InputError(
            f"{study.participants}: was made for other people or diagnoses than the configuration now has; "
            f"delete {dataset} and run again"
        )
    people = pd.concat([people, drawn.loc[keys].set_axis(people.index)], axis=1)
    return people.assign(
        volume=[
            str(dataset_volume(dataset, participant, scan))
            for participant, scan in zip(people["participant_id"], people["scan_id"], strict=True)
        ],
    )


# --- the table ---------------------------------------------------------------------------------------------------


def _column_order(cohort: pd.DataFrame) -> list[str]:
    standard = ["scan_id", "participant_id", "session_id", "diagnosis", "group", "age", "sex", "site"]
    standard = [name for name in standard if name in cohort.columns]
    return [*standard, *(name for name in cohort.columns if name not in (*standard, "volume")), "volume"]


def _typed(cohort: pd.DataFrame) -> pd.DataFrame:
    """Every column that is no label becomes float where all its values are numbers."""
    for name in cohort.columns:
        values = cohort[name]
        if name not in LABELS and values.dtype != "float64" and values.dropna().map(is_number).all():
            cohort = cohort.assign(**{name: values.astype("float64")})
    return cohort
