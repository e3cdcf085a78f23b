"""A look at a configuration and its data before anything is computed: ``sepclr-neuro check``."""

from __future__ import annotations

import pandas as pd

from sepclr_neuro.cohort import build_cohort
from sepclr_neuro.config import Config, Implant, Simulation
from sepclr_neuro.errors import InputError
from sepclr_neuro.registry import METHODS
from sepclr_neuro.sampling import check_batches
from sepclr_neuro.splits import make_splits
from sepclr_neuro.volumes import check_volumes

__all__ = ["check"]


def check(config: Config) -> str:
    """Reads the tables and the headers of all volumes, tries splits and batches, writes nothing.

    Returns:
        what was found and what would run, as lines of text.

    Raises:
        InputError: with every problem that was found.
    """
    lines, problems = ["configuration: valid"], []
    if config.cohort.source == "simulated":
        simulation = config.cohort.simulation or Simulation()
        people = _stand_ins(simulation.participants, simulation.patient_fraction)
        lines.append(f"cohort: {len(people)} people to be simulated{_groups(people)}")
    else:
        tables = build_cohort(config.cohort, None)
        people = tables.cohort
        problems += check_volumes(people, config.volumes)
        lines.append(f"cohort: {people['participant_id'].nunique()} people, {len(people)} scans{_groups(people)}")
        left_out = zip(tables.flow["rule"].tolist(), tables.flow["removed"].tolist(), strict=True)
        lines += [f"  left out, {rule}: {removed}" for rule, removed in left_out if removed]
        if config.cohort.source == "implanted":
            implant = config.cohort.implant or Implant()
            people = _stand_ins(people["participant_id"].nunique(), implant.patient_fraction)
            lines.append(f"an effect to be implanted into people drawn at random{_groups(people)}")
    problems += _impossible(config, people)
    if problems:
        raise InputError(problems)
    return "\n".join(lines + _plan(config))


def _stand_ins(people: int, patient_fraction: float) -> pd.DataFrame:
    """As many people of each group as there will be; nothing else about them is known before they are made."""
    ids = [str(i) for i in range(people)]
    patients = round(people * patient_fraction)
    groups = ["target"] * patients + ["background"] * (people - patients)
    return pd.DataFrame({"scan_id": ids, "participant_id": ids, "group": groups, "diagnosis": groups})


def _groups(people: pd.DataFrame) -> str:
    if "group" not in people:
        return ""
    sizes = people.drop_duplicates("participant_id")["group"].value_counts().sort_index()
    return f" ({', '.join(f'{size} {group}' for group, size in sizes.items())})"


def _impossible(config: Config, people: pd.DataFrame) -> list[str]:
    """Why people cannot be split, or a fold's training people cannot fill a method's batches."""
    known = [name for name in config.splits.stratify_by if name in people]
    try:
        splits = make_splits(people, config.splits.model_copy(update={"stratify_by": known}), config.seed)
    except InputError as error:
        return error.problems
    problems = []
    train = splits[splits["side"] == "train"].merge(people[["scan_id", "group"]], on="scan_id")
    for method in config.methods:
        batch_size = config.for_method(method)[3].batch_size
        for fold, members in train.groupby("fold"):
            try:
                check_batches(members["participant_id"].tolist(), (members["group"] == "target").tolist(), batch_size)
            except InputError as error:
                problems.append(f"{method}, fold {fold}: {error}")
    return problems


def _plan(config: Config) -> list[str]:
    lines = [f"volumes: {' x '.join(map(str, config.volumes.shape))} voxels", f"folds: {config.splits.count}"]
    for method in config.methods:
        training = config.for_method(method)[3]
        lines.append(
            f"method: {method} ({METHODS[method].title}), {config.splits.count} trainings of {training.epochs} epochs"
        )
    return [*lines, f"probes: {', '.join(config.probes.targets)}", f"results: {config.output}/"]
