"""Participants and phenotype tables -> one validated cohort table, with all exclusions and their reasons.

The tables decide nothing by accident: cells are read as text, what a code means is written in the configuration, and
whatever is odd is an :class:`~sepclr_neuro.core.errors.InputError` that lists all problems at once.

Decisions:

- Ids stay as the participants table writes them and are compared without their ``sub-`` or ``ses-``.
- Missing is ``n/a`` (BIDS), an empty cell or what the study's ``missing`` lists, and nothing else: ``NA`` may well be a
  site.
- Sex is understood as BIDS spells it, unless ``values`` says otherwise. ``other`` is kept: a class of its own where sex
  is held constant, and missing for its probe.
- Inclusion comes first; errors of excluded participants do not matter. A wrong value excludes no participant: no rule
  can judge it.
- A score with any missing item is missing; it is never filled in and never 0. Its patient stays in the cohort. Where
  only patients have a score, the lowest possible one of others means that there is none.
- A missing value of a required fact, quality measure, session or volume leaves a scan out under a rule of its own,
  while a *wrong* value is an error, unless ``on_error: exclude`` says to leave such participants out, with the reason:
  leaving participants out is the configuration's decision, never this module's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sepclr_neuro.config.cohort import Cohort, Columns, Score, Study
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import Alike, InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.facts import OTHER_SEX, disease_columns, groups_of, score_of
from sepclr_neuro.data.inclusion import NO_VOLUME, People, check_across_studies, check_items, leave_out, people_of_study
from sepclr_neuro.data.participants import StudyTables, id_keys, is_number, read_study
from sepclr_neuro.data.problems import ERROR, Problems

__all__ = [
    "CohortTables",
    "build_cohort",
    "cohort_tables",
    "dataset_volume",
    "join_people",
    "load_cohort",
    "write_cohort",
]

Look = Callable[[pd.DataFrame], Mapping[str, str]]
"""From rows of ``cohort.tsv`` to what is wrong with a scan's volume, by ``scan_id``."""

LABELS = ("scan_id", "participant_id", "session_id", "diagnosis", "group", "sex", "site", "volume")

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
            that any table lists to the cohort. A ``count`` row removes none: its ``remaining`` is how many its rule
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
        look: reads volumes; called with ``on_error: exclude`` only.

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


def load_cohort(path: Path) -> pd.DataFrame:
    """Reads ``cohort.tsv`` as :func:`build_cohort` gave it: labels ``str``, numbers ``float``, missing NaN.

    Raises:
        InputError: if the cohort stage has not run.
    """
    if not path.is_file():
        raise InputError(f"{path}: not found; run the cohort stage first")
    names = tuple(read_tsv(path).columns)
    return _typed(read_tsv(path, text=names))


def dataset_volume(dataset: Path, participant_id: str, scan_id: str) -> Path:
    """The path of a scan's volume in a simulated or implanted data set."""
    return dataset / participant_id / "anat" / f"{scan_id}_mwp1.nii.gz"


def build_cohort(settings: Cohort, dataset: Path | None, look: Look | None = None) -> CohortTables:
    """Reads, joins, checks and filters the tables of a cohort.

    Args:
        settings: the section ``cohort`` of the configuration.
        dataset: the folder of the simulated or implanted data set; None for ``source: files``. With ``source:
            implanted``, None gives the participants to implant into, without diagnosis, group and scores.
        look: reads the volumes of those who would be included; called with ``on_error: exclude`` only.

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
    parts: list[People] = []
    for study in settings.studies:
        try:
            tables = read_study(study, settings.columns)
        except InputError as error:
            problems += error.problems
        else:
            of_study = Problems(problems.rules, tables.rows[settings.columns.participant_id])
            parts.append(people_of_study(tables, settings, of_study))
            problems += of_study
            problems.left_out += of_study.left_out
    facts = join_people(parts, settings, problems, look)
    drawn = None
    if settings.source == "implanted" and dataset is not None:
        drawn = read_study(
            Study(name="implanted", participants=dataset / "participants.tsv"),
            Columns(session_id="session_id" if settings.columns.session_id else None),
        )
    return cohort_tables(parts, facts, settings, problems.left_out, drawn)


def join_people(
    parts: Sequence[People], settings: Cohort, problems: Problems, look: Look | None = None
) -> pd.DataFrame:
    """The participants of all studies, checked against each other.

    Args:
        parts: the participants of each study.
        settings: the section ``cohort`` of the configuration.
        problems: errors of any study, to which others are added.
        look: as for :func:`build_cohort`.

    Returns:
        the facts of all parts, a row a scan; ``rule`` and ``value`` of those who are left out.

    Raises:
        InputError: with every problem.
    """
    if parts:
        facts = pd.concat([part.facts for part in parts], ignore_index=True)
        problems.ids = facts["participant_id"]
        check_across_studies(facts, settings, problems)
        leave_out(facts, problems)
        check_items(parts, problems)
    if problems:
        raise InputError(problems)
    if look is not None and ERROR in problems.rules:
        wrong = look(facts[facts["rule"].isna()])
        for row in facts.index[facts["rule"].isna() & facts["scan_id"].isin(wrong)]:
            problems.of_person(row, wrong[facts.loc[row, "scan_id"]])
        leave_out(facts, problems)
    return facts


def cohort_tables(
    parts: Sequence[People],
    facts: pd.DataFrame,
    settings: Cohort,
    left_out: Sequence[Alike] = (),
    drawn: StudyTables | None = None,
) -> CohortTables:
    """The cohort, with its flow and exclusions.

    Args:
        parts: the participants of each study.
        facts: of all of them, from :func:`join_people`.
        settings: the section ``cohort`` of the configuration.
        left_out: what is wrong with those whom ``on_error: exclude`` leaves out.
        drawn: the participants table of an implanted data set, whose diagnoses, scores and volumes take the place of
            the participants' own.

    Raises:
        InputError: if a group has fewer than two participants, or the implanted data set is of other participants.
    """
    out = facts["rule"].notna()
    kept, excluded = facts[~out], facts[out]
    cohort = kept.drop(columns=["study", "rule", "value"])
    if settings.source == "implanted":
        cohort = cohort.drop(columns=["diagnosis", "group"])
        if drawn is not None:
            cohort = _with_implant(cohort, settings, drawn)
    exclusions = excluded[["participant_id", "session_id", "study", "rule", "value"]]
    exclusions = pd.concat([exclusions, *(part.tables.orphans for part in parts)], ignore_index=True)
    flow = _flow(parts, facts, cohort, settings)
    _check_groups(cohort, flow, facts.loc[out & facts["group"].isna(), "diagnosis"].dropna())
    cohort = _typed(cohort[_column_order(cohort)].sort_values("scan_id", ignore_index=True))
    exclusions = exclusions.sort_values(["participant_id", "session_id"], ignore_index=True)
    return CohortTables(cohort, exclusions, flow, list(left_out))


def _flow(parts: Sequence[People], facts: pd.DataFrame, cohort: pd.DataFrame, settings: Cohort) -> pd.DataFrame:
    """Participant flow: listed, excluded by each rule, and counts of those included."""
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
        flow.append(("count", "without female or male as sex, left out by the probe of sex", 0, others))
    if settings.columns.session_id is not None:
        flow.append(("count", "different participants", 0, cohort["participant_id"].nunique()))
    if "group" in cohort.columns:
        for group in ("background", "target"):
            flow.append(("count", f"in the {group} group", 0, int((cohort["group"] == group).sum())))
        for name in settings.diseases:
            flow.append(("count", f"in the target group, with {name}", 0, int((cohort["disease"] == name).sum())))
        scores = DATASET_SCORES if settings.source == "implanted" else settings.scores
        for name, score in scores.items():
            people = cohort if score.people == "all" else cohort[cohort["group"] == "target"]
            group = "" if score.people == "all" else "in the target group, "
            flow.append(("count", f"{group}without {name}", 0, int(people[name].isna().sum())))
    return pd.DataFrame(flow, columns=["step", "rule", "removed", "remaining"])


def _check_groups(cohort: pd.DataFrame, flow: pd.DataFrame, others: pd.Series) -> None:
    """Both groups need participants; without, the reader needs to know where they went.

    Args:
        others: the diagnoses of scans that are in neither group.
    """
    if "group" in cohort.columns:
        people = cohort.drop_duplicates("participant_id")["group"].value_counts()
        small = [group for group in ("background", "target") if people.get(group, 0) < 2]
    else:
        small = [] if len(cohort) >= 2 else ["implanted"]
    if small:
        steps = flow[(flow["step"] == "exclude") & (flow["removed"] > 0)]
        lost = "; ".join(f"{row.removed} left out: {row.rule}" for row in steps.itertuples())
        raise InputError(
            f"fewer than 2 participants are in the {' and the '.join(small)} group, of {flow['remaining'].iloc[0]} "
            f"listed ({lost or 'none was left out'}){_names_of(others)}; check `cohort.background`, `cohort.target`, "
            "`cohort.values` and `cohort.include`"
        )


def _names_of(others: pd.Series) -> str:
    """The commonest diagnoses of neither group, with how many scans have them.

    >>> _names_of(pd.Series(["SCZ", "SCZ", "SZA"])), _names_of(pd.Series([], dtype=str))
    ("; the tables also have the diagnoses 'SCZ' (2), 'SZA' (1)", '')
    """
    counts = others.value_counts()
    if counts.empty:
        return ""
    named = ", ".join(f"{name!r} ({count})" for name, count in counts.head(6).items())
    return f"; the tables also have the diagnoses {named}{', ...' if len(counts) > 6 else ''}"


# --- simulated and implanted -----------------------------------------------------------------------------------


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


def _with_implant(people: pd.DataFrame, settings: Cohort, tables: StudyTables) -> pd.DataFrame:
    """Diagnoses, scores and volumes of an implanted data set, in place of the participants' own."""
    columns, problems = tables.columns, Problems()
    path = tables.study.participants
    drawn = pd.DataFrame({"diagnosis": tables.text("diagnosis", "the implanted diagnosis", problems)})
    for name, score in DATASET_SCORES.items():
        drawn[name], _, _ = score_of(tables, name, score, settings, problems)
    problems.settle(drawn["diagnosis"].notna())
    problems += [repeated for repeated, _ in tables.repeated]
    if problems:
        raise InputError(problems)
    drawn["group"] = groups_of(drawn["diagnosis"], settings)
    drawn = drawn.assign(**disease_columns(drawn["diagnosis"], settings))
    drawn.index = pd.Index(id_keys(tables.rows, "participant_id", columns.session_id))
    keys = id_keys(people, "participant_id", columns.session_id)
    if set(drawn.index) != set(keys) or drawn["group"].isna().any():
        raise InputError(
            f"{path}: was made for other participants or diagnoses than the configuration now has; "
            f"delete {path.parent} and run again"
        )
    people = pd.concat([people, drawn.loc[keys].set_axis(people.index)], axis=1)
    return people.assign(
        volume=[
            str(dataset_volume(path.parent, participant, scan))
            for participant, scan in zip(people["participant_id"], people["scan_id"], strict=True)
        ],
    )


# --- the table -------------------------------------------------------------------------------------------------


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
