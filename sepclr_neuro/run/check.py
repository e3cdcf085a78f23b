"""A look at a configuration and its data before anything is computed: ``sepclr-neuro check``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from sepclr_neuro.config.cohort import among_patients
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.simulation import Implant
from sepclr_neuro.core.errors import Alike, InputError, by_kind
from sepclr_neuro.core.statistics import ALPHA
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.cohort import CohortTables, build_cohort
from sepclr_neuro.data.effects import simulated_grid
from sepclr_neuro.data.facts import disease_columns, groups_of
from sepclr_neuro.data.sampling import planned_batches, seed_of, smaller_batch
from sepclr_neuro.data.simulated_people import implant_people, simulate_people
from sepclr_neuro.data.splits import make_splits, read_list, stratified_lines
from sepclr_neuro.data.volume_checks import check_volumes, faulty_volumes, padding
from sepclr_neuro.maps.atlases import read_atlas
from sepclr_neuro.maps.cohort_look import CohortLook, Looked
from sepclr_neuro.maps.designs import nuisance
from sepclr_neuro.probing.questions import left_out_lines, questions, with_cohort_defaults

__all__ = ["Findings", "check", "refuse_wrong_tables"]


@dataclass(frozen=True)
class Findings:
    """Results of the check.

    Attributes:
        lines: counts and planned work.
        errors: what stops a run, or would make it wrong.
        warnings: what does not, but needs a second look.
        sides: of each fold, ``fold side scan_id participant_id group``; None where participants
            cannot be split.
        people: rows of ``cohort.tsv`` of those who take part, as far as they exist; None where tables cannot be read.
        tables: the cohort as tables have it, before volumes are looked at; None of one to be simulated.
        looked: what volumes look like; None where they were not read.
    """

    lines: list[str]
    errors: list[str]
    warnings: list[str]
    sides: pd.DataFrame | None = None
    people: pd.DataFrame | None = None
    tables: CohortTables | None = None
    looked: Looked | None = None

    def text(self) -> str:
        """All of it for a terminal, one line a kind, errors last, where they are seen."""
        text, alike = list(self.lines), False
        for severity, found in (("warning", self.warnings), ("error", self.errors)):
            lines = by_kind(found)
            kinds = f" of {len(lines)} kind{'s' if len(lines) > 1 else ''}" if len(lines) < len(found) else ""
            alike = alike or bool(kinds)
            if found:
                count = f"{len(found)} {severity}{'s' if len(found) > 1 else ''}{kinds}:"
                text += ["", count, *(f"  - {line}" for line in lines)]
        if alike:
            text += ["", "`--tsv FILE` writes a table of all of them, one a row"]
        return "\n".join(text)

    def table(self) -> pd.DataFrame:
        """One row an error or warning: ``severity problem``."""
        rows = [("error", line) for line in self.errors] + [("warning", line) for line in self.warnings]
        return pd.DataFrame(rows, columns=["severity", "problem"], dtype="str")


def refuse_wrong_tables(config: Config) -> None:
    """Looks at all but the volumes, which takes no longer than reading the tables.

    Raises:
        InputError: with everything that would stop a run.
    """
    errors = check(config, volumes="none").errors
    if errors:
        raise InputError(errors)


def check(config: Config, *, volumes: Literal["voxels", "headers", "none"] = "voxels") -> Findings:
    """Reads the tables and all volumes, tries splits, batches and probes' questions, writes nothing.

    Participants who are yet to be made are those whom the stage ``dataset`` will make. Where tables have errors, the
    rest is checked for all others, so that all problems come at once.

    Args:
        volumes: what is read of them; headers take seconds where voxels take minutes. Whether there are any is looked
            at anyway.
    """
    found = Findings(["configuration: valid"], [], [])
    if config.cohort.source == "simulated":
        people = simulate_people(config.cohort, config.seed)
        people = _with_groups(people.assign(scan_id=people["participant_id"]), config)
        found.errors.extend(_unlike_simulated(config))
        found.lines.append(f"cohort: {len(people)} participants to be simulated{_groups(people)}")
    else:
        tables = _look_at_tables(config, found)
        if tables is None:
            return found
        people, looked = _look_at_volumes(tables, config, found, volumes)
        found = replace(found, tables=tables, looked=looked)
        if config.cohort.source == "implanted":
            drawn = implant_people(people, config.cohort, config.cohort.implant or Implant(), config.seed)
            people = _with_groups(people.merge(drawn, on="participant_id"), config)
            found.lines.append(f"an effect to be implanted into participants drawn at random{_groups(people)}")
        found.warnings.extend(_odd_sites(people, config.splits.folds))
        found.warnings.extend(_sex_is_the_group(people))
    found.lines.extend(left_out_lines(config, people))
    found.lines.extend(stratified_lines(people, config.splits))
    for look in (questions, nuisance):
        try:
            look(config, people)
        except InputError as error:
            found.errors.extend(error.problems)
    found.warnings.extend(_too_few_permutations(with_cohort_defaults(config, people)))
    sides = _look_at_batches(config, people, found)
    if config.saliency.atlas is not None:
        try:
            read_atlas(config.saliency.atlas)
        except InputError as error:
            found.errors.extend(error.problems)
    if not found.errors:
        found.lines.extend(_plan(with_cohort_defaults(config, people)))
    return replace(found, sides=sides, people=people)


def _look_at_tables(config: Config, found: Findings) -> CohortTables | None:
    """The cohort; without single participants with errors; None where the tables cannot be read at all."""
    tables = None
    try:
        tables = build_cohort(config.cohort, None)
    except InputError as error:
        found.errors.extend(error.problems)
        try:
            tables = build_cohort(config.cohort.model_copy(update={"on_error": "exclude"}), None)
        except InputError:
            return None
    people = tables.cohort
    found.lines.append(
        f"cohort: {people['participant_id'].nunique()} participants, {len(people)} scans{_groups(people)}"
    )
    for step, rule, removed, remaining in tables.flow.to_numpy().tolist():
        if removed:
            found.lines.append(f"  left out, {rule}: {removed}")
        elif step == "count" and remaining and ("volumes on disk" in rule or "without" in rule):
            found.warnings.append(f"{remaining} {rule}")
    found.warnings.extend(fault.after("left out: ") for fault in tables.faults if fault not in found.errors)
    return tables


def _look_at_volumes(
    tables: CohortTables, config: Config, found: Findings, volumes: str
) -> tuple[pd.DataFrame, Looked | None]:
    """Those whose volume may be used, and what volumes look like, where they are read."""
    people = tables.cohort
    if volumes != "none":
        found.warnings.extend(padding(people, config.volumes))
    if volumes != "voxels":
        found.errors.extend(check_volumes(people, config.volumes) if volumes == "headers" else [])
        return people, None
    look = CohortLook(people)
    faults, of_all = faulty_volumes(people, config.volumes, look.add)
    found.errors.extend(of_all)
    sentences = [fault.after(f"{scan_id}: ") for scan_id, fault in faults.items()]
    if config.cohort.on_error == "exclude":
        found.warnings.extend(sentence.after("left out: ") for sentence in sentences)
        people = people[~people["scan_id"].isin(faults)].reset_index(drop=True)
    else:
        found.errors.extend(sentences)
    unprotected = [path for path in people["volume"].dropna() if not path.endswith(".gz")]
    if unprotected:
        found.warnings.append(
            f"{unprotected[0]} and {len(unprotected) - 1} more are not compressed: without gzip's checksum a bit that "
            "flipped before the first reading cannot be seen"
        )
    if of_all:
        return people, None
    looked = look.seen(people, config.volumes)
    found.warnings.extend(outlier.warning() for outlier in looked.outliers.found)
    return people, looked


def _odd_sites(people: pd.DataFrame, folds: int) -> list[str]:
    """Sites with few participants, or with one group alone."""
    odd: list[str] = []
    for site, members in people.drop_duplicates("participant_id").groupby("site"):
        groups = members["group"].unique().tolist() if "group" in members else []
        if len(members) == 1:
            odd.append(Alike(f"site {site!r}: has one participant", str(site), "one participant"))
        elif len(groups) == 1:
            what = f"all its participants are in the {groups[0]} group, so site and group are confounded"
            odd.append(Alike(f"site {site!r}: {what}", str(site), what))
        if 1 < len(members) < folds:
            what = f"has {len(members)} participants, fewer than folds ({folds})"
            odd.append(Alike(f"site {site!r}: {what}", str(site), "fewer participants than folds"))
    return odd


def _sex_is_the_group(people: pd.DataFrame) -> list[str]:
    """Whether each sex is in one group alone, as where the groups are the sexes."""
    if "group" not in people or people["sex"].nunique() < 2 or people["group"].nunique() < 2:
        return []
    if people.groupby("sex")["group"].nunique().max() > 1:
        return []
    groups = people.drop_duplicates("sex").dropna(subset=["sex"]).set_index("sex")["group"]
    listed = ", ".join(f"{sex} is all {group}" for sex, group in groups.sort_index().items())
    return [
        f"sex: {listed}, so that sex and diagnosis are one question, with opposite answers expected of the spaces: "
        "leave `sex` out of probes.targets, probes.confounds and adjust_for"
    ]


_A_FEW = 5


def _too_few_permutations(config: Config) -> list[str]:
    """Numbers of permutations with which a q below the report's level takes more than a few tests at the smallest p."""
    spaces = [2 if config.for_method(name).adjusts else 1 for name in config.methods]
    diseases = len(config.cohort.diseases)
    rows_of_patterns = 4 + (diseases + len(among_patients(config.cohort.diseases)) + 1 if diseases else 0)
    families = [
        ("probes", config.probes.permutations, sum(spaces) * len(config.probes.targets)),
        ("patterns", config.saliency.permutations, rows_of_patterns * spaces.count(2)),
    ]
    said = []
    for table, count, tests in families:
        smallest = 1 / (count + 1)
        needed = int(tests * smallest / ALPHA) + 1  # q is p times tests, over the number of tests with such a p
        if count == 0 or tests == 0 or needed <= min(_A_FEW, tests):
            continue
        key = "saliency.permutations" if table == "patterns" else "probes.permutations"
        which = "none can have" if needed > tests else f"{needed} must reach it before any has"
        said.append(
            f"{key}: with {count} the smallest p is {smallest:.2g}, and of the {tests} tests in the table of {table} "
            f"{which} a q below {ALPHA}; with {round(tests / ALPHA)} permutations a single one can have it"
        )
    return said


def _with_groups(people: pd.DataFrame, config: Config) -> pd.DataFrame:
    diagnoses, cohort = people["diagnosis"], config.cohort
    return people.assign(group=groups_of(diagnoses, cohort), **disease_columns(diagnoses, cohort))


def _unlike_simulated(config: Config) -> list[str]:
    """Settings that do not suit simulated volumes."""
    problems = []
    try:
        simulated_grid(config.volumes)
    except InputError as error:
        problems += error.problems
    if config.volumes.tiv_column not in (None, "tiv"):
        problems.append(
            f"volumes.tiv_column: a simulated cohort has no column {config.volumes.tiv_column!r}; its own is 'tiv'"
        )
    return problems


def _groups(people: pd.DataFrame) -> str:
    if "group" not in people:
        return ""
    sizes = people.drop_duplicates("participant_id")["group"].value_counts().sort_index()
    return f" ({', '.join(f'{size} {group}' for group, size in sizes.items())})"


def _look_at_batches(config: Config, people: pd.DataFrame, found: Findings) -> pd.DataFrame | None:
    """Finds why participants cannot be split, or a fold's training participants do not fill a method's batches.

    Returns:
        who is on which side of each fold, as in :class:`Findings`.
    """
    try:
        splits = make_splits(people, config.splits, config.seed, read_list(config.splits))
    except InputError as error:
        found.errors.extend(error.problems)
        return None
    sides = splits.merge(people[["scan_id", "group"]], on="scan_id")
    train = sides[sides["side"] == "train"]
    for method in config.methods:
        configured = config.for_method(method)
        training = configured.training
        if not configured.settings.trained:
            continue
        for fold in range(config.splits.count):
            members = train[train["fold"] == fold]
            seed = seed_of(config.seed, fold)
            try:
                possible, _ = planned_batches(members, training.batch_size, training.validation_fraction, seed)
            except InputError as error:
                found.errors.append(Alike(str(error), f"{method}, fold {fold}").after(f"{method}, fold {fold}: "))
                continue
            if possible < training.batch_size:
                sentence = smaller_batch(training.batch_size, possible)
                found.warnings.append(Alike(sentence, f"{method}, fold {fold}").after(f"{method}, fold {fold}: "))
    return sides


def _plan(config: Config) -> list[str]:
    lines = [f"volumes: {' x '.join(map(str, config.volumes.shape))} voxels", f"folds: {config.splits.count}"]
    for method in config.methods:
        configured, folds = config.for_method(method), config.splits.count
        settings = configured.settings
        line = f"method {method} ({configured.entry.title}): {counted(folds * settings.trainings, 'training')}"
        if settings.trained:
            line += f" of {counted(configured.training.epochs, 'epoch')}"
        if settings.trainings > 1:
            line += f", {folds * (settings.trainings - 1)} of them in inner folds to choose settings"
        lines.append(line)
    return [*lines, f"probes: {', '.join(config.probes.targets)}", f"results: {config.output}/"]
