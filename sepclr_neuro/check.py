"""A look at a configuration and its data before anything is computed: ``sepclr-neuro check``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sepclr_neuro.atlases import read_atlas
from sepclr_neuro.cohort import build_cohort
from sepclr_neuro.config import Config, Implant, Training
from sepclr_neuro.errors import InputError
from sepclr_neuro.probes import questions
from sepclr_neuro.registry import METHODS
from sepclr_neuro.sampling import check_batches, seed_of, set_apart
from sepclr_neuro.simulation import implant_people, simulate_people, simulated_grid
from sepclr_neuro.splits import make_splits
from sepclr_neuro.volumes import check_volumes

__all__ = ["check"]


def check(config: Config) -> str:
    """Reads tables, an atlas and the headers of all volumes, tries splits, batches and questions, writes nothing.

    People who are yet to be made are those whom the stage ``dataset`` will make.

    Returns:
        what was found and what would run, as lines of text.

    Raises:
        InputError: with every problem that was found.
    """
    lines, problems = ["configuration: valid"], []
    if config.cohort.source == "simulated":
        people = simulate_people(config.cohort, config.seed)
        people = _with_groups(people.assign(scan_id=people["participant_id"]), config)
        problems += _unlike_simulated(config)
        lines.append(f"cohort: {len(people)} people to be simulated{_groups(people)}")
    else:
        tables = build_cohort(config.cohort, None)
        people = tables.cohort
        problems += check_volumes(people, config.volumes)
        lines.append(f"cohort: {people['participant_id'].nunique()} people, {len(people)} scans{_groups(people)}")
        left_out = zip(tables.flow["rule"].tolist(), tables.flow["removed"].tolist(), strict=True)
        lines += [f"  left out, {rule}: {removed}" for rule, removed in left_out if removed]
        if config.cohort.source == "implanted":
            drawn = implant_people(people, config.cohort, config.cohort.implant or Implant(), config.seed)
            people = _with_groups(people.merge(drawn, on="participant_id"), config)
            lines.append(f"an effect to be implanted into people drawn at random{_groups(people)}")
    try:
        questions(config, people)
    except InputError as error:
        problems += error.problems
    problems += _impossible(config, people)
    if config.saliency.atlas is not None:
        try:
            read_atlas(config.saliency.atlas)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return "\n".join(lines + _plan(config))


def _with_groups(people: pd.DataFrame, config: Config) -> pd.DataFrame:
    return people.assign(group=np.where(people["diagnosis"].isin(config.cohort.target), "target", "background"))


def _unlike_simulated(config: Config) -> list[str]:
    """What simulated volumes cannot be or do not have."""
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


def _impossible(config: Config, people: pd.DataFrame) -> list[str]:
    """Why people cannot be split, or a fold's training people cannot fill a method's batches."""
    try:
        splits = make_splits(people, config.splits, config.seed)
    except InputError as error:
        return error.problems
    problems = []
    train = splits[splits["side"] == "train"].merge(people[["scan_id", "group"]], on="scan_id")
    for method in config.methods:
        settings, _, _, training = config.for_method(method)
        if not settings.trained:
            continue
        for fold in range(config.splits.count):
            members = train[train["fold"] == fold]
            try:
                _try_batches(members, training, seed_of(config.seed, fold))
            except InputError as error:
                problems.append(f"{method}, fold {fold}: {error}")
    return problems


def _try_batches(people: pd.DataFrame, training: Training, seed: int) -> None:
    """Sets people apart as training will, and fills batches with the others."""
    participants, target = people["participant_id"].tolist(), (people["group"] == "target").tolist()
    trained = list(range(len(people)))
    if training.validation_fraction > 0:
        trained, _ = set_apart(participants, target, training.validation_fraction, seed)
    check_batches([participants[i] for i in trained], [target[i] for i in trained], training.batch_size)


def _plan(config: Config) -> list[str]:
    lines = [f"volumes: {' x '.join(map(str, config.volumes.shape))} voxels", f"folds: {config.splits.count}"]
    for method in config.methods:
        settings, _, _, training = config.for_method(method)
        if not settings.trained:
            lines.append(f"method {method} ({METHODS[method].title}): {config.splits.count} fits")
            continue
        lines.append(
            f"method: {method} ({METHODS[method].title}), {config.splits.count} trainings of {training.epochs} epochs"
        )
    return [*lines, f"probes: {', '.join(config.probes.targets)}", f"results: {config.output}/"]
