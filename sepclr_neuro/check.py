"""A look at a configuration and its data before anything is computed: ``sepclr-neuro check``."""

from __future__ import annotations

import math

import pandas as pd

from sepclr_neuro.cohort import build_cohort
from sepclr_neuro.config import Config, Implant, Simulation
from sepclr_neuro.errors import InputError
from sepclr_neuro.registry import METHODS
from sepclr_neuro.volumes import check_volumes

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
        tables = build_cohort(config.cohort, None)
        lines += _counts(tables.cohort, tables.flow)
        problems = check_volumes(tables.cohort, config.volumes)
        if config.cohort.source == "implanted":
            implant = config.cohort.implant or Implant()
            people = tables.cohort["participant_id"].nunique()
            patients = round(people * implant.patient_fraction)
            lines.append(f"an effect to be implanted into {patients} of them, drawn at random")
            counts = {"background": people - patients, "target": patients}
        else:
            sizes = tables.cohort.groupby("group")["participant_id"].nunique()
            counts = {str(group): int(number) for group, number in sizes.items()}
    problems += _impossible(config, counts)
    if problems:
        raise InputError(problems)
    return "\n".join(lines + _plan(config))


def _counts(people: pd.DataFrame, flow: pd.DataFrame) -> list[str]:
    lines = [f"cohort: {people['participant_id'].nunique()} people, {len(people)} scans"]
    if "group" in people and people["group"].notna().any():
        sizes = people.groupby(["group", "site"], dropna=False)["participant_id"].nunique().reset_index(name="people")
        lines += [f"  {group}, {site}: {number}" for group, site, number in sizes.to_numpy().tolist()]
    steps = flow.loc[flow["removed"] > 0, ["step", "rule", "removed"]].to_numpy().tolist()
    lines += [f"  {step}: {rule}: {removed} removed" for step, rule, removed in steps]
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
            training = config.for_method(method)[3]
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
        training = config.for_method(method)[3]
        lines.append(
            f"method {method} ({METHODS[method].title}): {config.splits.count} trainings of {training.epochs} epochs, "
            f"batches of {training.batch_size}"
        )
    return [*lines, f"probes: {', '.join(config.probes.targets)}"]
