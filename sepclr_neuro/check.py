"""A look at a configuration and its data before anything is computed: ``sepclr-neuro check``."""

from __future__ import annotations

import math

import pandas as pd

from sepclr_neuro import cohort, volumes
from sepclr_neuro.config import Config, Implant, Simulation
from sepclr_neuro.errors import InputError
from sepclr_neuro.registry import METHODS

__all__ = ["check"]


def check(config: Config) -> str:
    """Reads the tables and the headers of all volumes, writes nothing.

    Returns:
        what was found and what would run, as lines of text.

    Raises:
        InputError: with every problem that tables, headers, splits and batches have.
    """
    lines = [f"configuration: valid, results go to {config.output}/"]
    if config.cohort.source == "simulated":
        simulation = config.cohort.simulation or Simulation()
        people = simulation.participants
        patients = round(people * simulation.patient_fraction)
        lines.append(f"cohort: {people} people to be simulated, {patients} of them patients")
        counts = {"background": people - patients, "target": patients}
        problems = []
    else:
        tables = cohort.build_cohort(config.cohort, None)
        lines += _counts(tables.cohort, tables.flow)
        problems = volumes.check_volumes(tables.cohort, config.volumes)
        if config.cohort.source == "implanted":
            implant = config.cohort.implant or Implant()
            people = tables.cohort["participant_id"].nunique()
            patients = round(people * implant.patient_fraction)
            lines.append(f"an effect to be implanted into {patients} of them, drawn at random")
            counts = {"background": people - patients, "target": patients}
        else:
            counts = tables.cohort.groupby("group")["participant_id"].nunique().to_dict()
    problems += _impossible(config, counts)
    if problems:
        raise InputError(problems)
    return "\n".join(lines + _plan(config))


def _counts(people: pd.DataFrame, flow: pd.DataFrame) -> list[str]:
    lines = [f"cohort: {people['participant_id'].nunique()} people, {len(people)} scans"]
    if "group" in people and people["group"].notna().any():
        sizes = people.groupby(["group", "site"], dropna=False)["participant_id"].nunique()
        lines += [f"  {group}, {site}: {size}" for (group, site), size in sizes.items()]
    lines += [f"  {row.step}: {row.rule}: {row.removed} removed" for row in flow.itertuples() if row.removed]
    return lines


def _impossible(config: Config, counts: dict[str, int]) -> list[str]:
    """Splits and batches that so many people (a group) cannot fill."""
    problems = []
    for group in ("background", "target"):
        people = counts.get(group, 0)
        if people < config.splits.folds:
            problems.append(
                f"splits.folds: {config.splits.folds} folds need as many {group} people, the cohort has {people}; "
                "take fewer folds"
            )
            continue
        for method in config.methods:
            settings, _, _, training = config.for_method(method)
            if not settings.trained:
                continue
            trained = (people - math.ceil(people / config.splits.folds)) * (1 - training.validation_fraction)
            if trained < training.batch_size // 2:
                problems.append(
                    f"training.batch_size: half of {training.batch_size} must be {group} people, but a fold of "
                    f"{method} trains on about {trained:.0f}; take {2 * int(trained)} or less"
                )
    return problems


def _plan(config: Config) -> list[str]:
    shape = " x ".join(map(str, config.volumes.shape))
    lines = [f"volumes: {shape} voxels", f"splits: {config.splits.count} ({config.splits.folds} folds)"]
    for method in config.methods:
        settings, _, _, training = config.for_method(method)
        if not settings.trained:
            lines.append(f"method {method} ({METHODS[method].title}): {config.splits.count} fits")
            continue
        lines.append(
            f"method {method} ({METHODS[method].title}): {config.splits.count} trainings of {training.epochs} epochs, "
            f"batches of {training.batch_size}"
        )
    return [*lines, f"probes: {', '.join(config.probes.targets)}"]
