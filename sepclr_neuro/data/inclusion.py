"""Inclusion in the cohort, and the rule of each exclusion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sepclr_neuro.config.cohort import Cohort
from sepclr_neuro.core.errors import Alike, taken_from
from sepclr_neuro.data.facts import cells_of, numbers_of, read_facts
from sepclr_neuro.data.finding import find_volumes
from sepclr_neuro.data.matching import Row
from sepclr_neuro.data.participants import StudyTables, is_number
from sepclr_neuro.data.patterns import Folder, Pattern, broken_link, link_advice
from sepclr_neuro.data.problems import ERROR, Problems

__all__ = ["NO_VOLUME", "People", "check_across_studies", "check_items", "leave_out", "people_of_study"]

NO_VOLUME = "no volume"
_WITHOUT = ". Participants who have none are left out by `volume` in `cohort.include.require`"


@dataclass(frozen=True)
class People:
    """The scans of one study.

    Attributes:
        facts: a row a scan: the columns of ``cohort.tsv``, ``study``, and ``rule`` and ``value`` of who is left out.
        rules: by which a scan may be left out, in the order that they are applied.
        counts: those of the tables, and what was found on the way.
        items: the summed columns of each score that any participant here has.
    """

    tables: StudyTables
    facts: pd.DataFrame
    rules: list[str]
    counts: list[tuple[str, int]]
    items: dict[str, frozenset[str]]


def people_of_study(tables: StudyTables, settings: Cohort, problems: Problems) -> People:
    """Reads the facts of one study, applies every rule of inclusion, and then finds errors of included rows."""
    facts, partial, items = read_facts(tables, settings, problems)
    for repeated, about in tables.repeated:

        def sentence(rows: pd.Series, repeated: Alike = repeated) -> Alike:
            return repeated

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
    leave_out(facts, problems)
    facts["volume"], unnamed = _volumes(tables, facts["rule"].isna(), settings, problems)
    leave_out(facts, problems)
    rules += [rule for rule in (NO_VOLUME, ERROR) if rule in problems.rules and rule not in rules]

    kept, name_of_study, counts = facts["rule"].isna(), tables.study.name, list(tables.counts)
    for name, score in settings.scores.items():
        if score.items is not None:
            number = int((partial[name] & kept).sum())
            counts.append((f"without {name} although some items are given, in {name_of_study}", number))
    if unnamed is not None:
        counts.append((f"volumes on disk that no row of {name_of_study} names", unnamed))
    items = {name: summed for name, summed in items.items() if facts.loc[kept, name].notna().any()}
    return People(tables, facts, rules, counts, items)


def leave_out(facts: pd.DataFrame, problems: Problems) -> None:
    """Leaves out who has something wrong and is not left out already."""
    new = facts.index[facts["rule"].isna()].intersection(list(problems.people))
    facts.loc[new, "rule"] = [problems.people[row][0] for row in new]
    facts.loc[new, "value"] = [str(problems.people[row][1]) for row in new]
    problems.left_out += [problems.people[row][1] for row in new]


def _rules(
    tables: StudyTables, facts: pd.DataFrame, settings: Cohort, problems: Problems
) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """Each rule in order: its words, whom it leaves out, and the values that it judged."""
    columns, include = settings.columns, settings.include

    def judged(fact: str, leaves_out: pd.Series) -> pd.Series:
        """Rows that a rule may judge by the fact: none, where no table has its column."""
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
                "leaves out participants whose volume is not found?"
            )
            continue
        without = cells_of(tables, facts, fact, "cohort.include.require", settings, problems).isna()
        if fact in settings.scores and settings.scores[fact].people == "target":
            without &= facts["group"] == "target"
        yield f"{name} missing", judged(fact, without), tables.missing()
    if include.age is not None:
        outside = judged("age", facts["age"].notna() & ~facts["age"].between(*include.age))
        yield "age outside {:g} to {:g}".format(*include.age), outside, facts["age"].map("{:g}".format)
    for number, rule in enumerate(include.quality):
        fact, key = settings.known_as(rule.column), f"cohort.include.quality.{number}.column"
        values = cells_of(tables, facts, fact, key, settings, problems)
        good = values.notna()
        demands = []
        if rule.keep is not None:
            codes = tables.rows.get(columns.names.get(fact, fact), values)
            good &= values.isin(rule.keep) | codes.isin(rule.keep)
            demands.append(f"one of {', '.join(rule.keep)}")
        numbers = numbers_of(tables, facts, fact, key, settings, problems) if rule.has_bounds else values
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
                f"{study.name}: `cohort.include.require` requires volumes, but neither the study's `volumes` nor "
                "`cohort.columns.volume` says where they are"
            )
        return found, None
    own = {name: rows[column] for name, column in tables.columns.names.items() if column in rows.columns}
    rows = rows.assign(**{name: cells for name, cells in own.items() if name not in rows.columns})
    pattern, wrong = Pattern.of(text, rows.columns)
    wrong = [f"the pattern of its volumes has {problem}" for problem in wrong]
    if not root.is_dir():
        link = broken_link(root)
        advice = f"; {link_advice(link)}" if link else ""
        wrong.append(f"the folder of its volumes, {root}, does not exist{taken_from(root)}{advice}")
    if wrong:
        problems += [f"{study.name}: {problem}" for problem in wrong]
        return found, None

    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    needed: list[Row] = [{str(name): cell for name, cell in record.items()} for record in records]
    ids = [name for name in (tables.columns.participant_id, tables.columns.session_id) if name and name in rows.columns]
    looked = find_volumes(Folder(root), pattern, needed, kept.tolist(), ids)
    for fault in looked.faults:
        sentence = f"{study.participants}: participant {rows[ids[0]].iloc[fault.row]}{fault.sentence}"
        # A volume of two participants may be of either.
        for row in (fault.row, *([] if fault.owner is None or ERROR not in problems.rules else [fault.owner])):
            # Where none has one, the pattern is wrong.
            absent = fault.absent and len(looked.paths) > 0
            cause = f"{fault.cause}{_WITHOUT}" if absent and NO_VOLUME not in problems.rules else fault.cause
            problems.of_person(row, sentence, f"{study.name}: {fault.kind}", cause, NO_VOLUME if absent else ERROR)
    for row, path in looked.paths.items():
        found.iloc[row] = str(path)
    return found, None if study.volumes is None else looked.unnamed


# --- all studies together --------------------------------------------------------------------------------------


def check_across_studies(facts: pd.DataFrame, settings: Cohort, problems: Problems) -> None:
    """A participant is in one study and has one sex and diagnosis; a scan id names one scan; a site has one name."""
    facts = facts[facts["rule"].isna()]
    people = facts["participant_id"].str.removeprefix("sub-")
    # Most were scanned once, and a loop over all of a large cohort takes minutes.
    scanned_twice = facts[people.duplicated(keep=False)]
    for _, person in scanned_twice.groupby(people[scanned_twice.index]):
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


def check_items(parts: Sequence[People], problems: Problems) -> None:
    """Totals of different items cannot be compared."""
    first: dict[str, People] = {}
    for part in parts:
        for name, items in part.items.items():
            other = first.setdefault(name, part)
            different = sorted(items ^ other.items[name])
            if different:
                problems.append(
                    f"cohort.scores.{name}: {other.tables.study.name} and {part.tables.study.name} do not sum the same "
                    f"items ({', '.join(different)} only in one); totals could not be compared"
                )
