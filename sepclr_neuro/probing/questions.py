"""The questions of the probes: targets, their participants, and the known values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import PROBES, ProbeTarget
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.facts import OTHER_SEX

__all__ = [
    "Question",
    "all_questions",
    "answers",
    "confound_features",
    "left_out_lines",
    "people_of",
    "probed_participants",
    "questions",
    "with_cohort_defaults",
]

Regime = Literal["standard", "paper", "nonlinear"]
# Of classes and of numbers; the first is the paper's, and chooses the penalty.
METRICS = {True: ("bacc", "auc"), False: ("mae", "r2")}


@dataclass(frozen=True)
class Question:
    """A probe target with its known values; participants without a value are not in it."""

    target: str
    kind: str
    truth: pd.Series
    """By scan id: the class as text, or the number."""
    classes: tuple[str, ...]
    """All classes; of two, the second is the positive one. Empty for regression."""
    regime: Regime = "standard"
    missing: int = 0
    """Participants of the target who have no value."""

    @property
    def of_classes(self) -> bool:
        return PROBES[self.kind].of_classes

    @property
    def metrics(self) -> tuple[str, ...]:
        """Area under the curve is for two classes."""
        return METRICS[self.of_classes][:1] if len(self.classes) > 2 else METRICS[self.of_classes]

    def numbers(self, scans: Iterable[str]) -> np.ndarray:
        """The values as numbers, classes as their positions: [N] for N scans."""
        truth = self.truth[list(scans)]
        if not self.of_classes:
            return truth.to_numpy(np.float64)
        return np.array([self.classes.index(label) for label in truth], dtype=np.int64)


def probed_participants(cohort: pd.DataFrame, name: str, target: ProbeTarget) -> pd.DataFrame:
    """The rows of the cohort that a target is probed in, with or without a value."""
    if target.people == "known":
        return cohort[answers(cohort, name).notna()]
    return cohort if target.people == "all" else cohort[cohort["group"] == target.people]


def people_of(cohort: pd.DataFrame) -> dict[str, str]:
    """The participant of each scan."""
    return dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))


def answers(people: pd.DataFrame, name: str) -> pd.Series:
    """Values of a target. A sex that is neither female nor male counts as missing: its probe has two classes."""
    return people[name].where(people[name] != OTHER_SEX) if name == "sex" else people[name]


def with_cohort_defaults(config: Config, cohort: pd.DataFrame) -> Config:
    """The configuration whose defaults follow the cohort: no target or confound without variation, and no confound with
    missing values.

    Other targets and confounds, which the configuration lists, stay as they are.
    """
    probes, saliency = config.probes, config.saliency
    changed: dict[str, Any] = {}
    if config.has_default_questions:
        listed = saliency.targets if "targets" in saliency.model_fields_set else []
        kept = {
            name: target
            for name, target in probes.targets.items()
            if name in listed or answers(probed_participants(cohort, name, target), name).nunique() > 1
        }
        changed["targets"] = kept
        mapped = [name for name in saliency.targets if name in kept]
        mapping = saliency.model_copy(update={"targets": mapped})
        if "targets" not in saliency.model_fields_set:
            mapping.model_fields_set.discard("targets")  # nobody wrote it, so that no report lists it as a change
        config = config.model_copy(update={"saliency": mapping})
    if config.has_default_confounds:
        whole = [name for name in probes.confounds if cohort[name].notna().all()]
        changed["confounds"] = [name for name in whole if cohort[name].nunique() > 1]
    probes = probes.model_copy(update=changed)
    probes.model_fields_set.difference_update(changed)
    return config.model_copy(update={"probes": probes})


def left_out_lines(config: Config, cohort: pd.DataFrame) -> list[str]:
    """Lines on targets and confounds that are left out: without variation, with missing values, or without scores."""
    left = with_cohort_defaults(config, cohort).probes
    gone = set(config.probes.confounds) - set(left.confounds)
    unknown = {name: int(cohort[name].isna().sum()) for name in gone if cohort[name].nunique() > 1}
    names = [*config.probes.targets.keys() - left.targets.keys(), *gone - set(unknown)]
    said = []
    for name in sorted(set(names)):
        known = answers(cohort, name).dropna().unique()
        said.append(f"{name} (all have {known[0]})" if len(known) else f"{name} (no value)")
    lines = [f"neither probed nor a confound, since all participants have one value: {', '.join(said)}"] if said else []
    if unknown:
        missing = ", ".join(f"{name} ({count} scans lack it)" for name, count in sorted(unknown.items()))
        lines.append(f"no confound by default, since it is missing in places: {missing}")
    if not config.scores and config.has_default_questions:
        lines.append("`cohort.scores` lists no symptom score, so that none is probed or mapped")
    return lines


def questions(config: Config, cohort: pd.DataFrame, regime: Regime = "standard") -> list[Question]:
    """The questions of all targets, in that order, after :func:`with_cohort_defaults`.

    The diagnosis of all participants means their group: the diagnoses of a group count as one class, named after them.
    The target group is the positive class. The paper's regime probes all other targets in the target group.

    Raises:
        InputError: where a column's values do not suit the kind of probe, or a confound has missing values.
    """
    found, problems, config = [], [], with_cohort_defaults(config, cohort)
    for name, target in config.probes.targets.items():
        people = probed_participants(cohort, name, target)
        sides_only = name == "diagnosis" and target.people == "all" and target.of_classes
        if regime == "paper" and not sides_only and target.people == "all":
            people = people[people["group"] == "target"]
        truth = answers(people.set_index("scan_id"), name).dropna()
        classes: tuple[str, ...] = ()
        numeric = pd.api.types.is_numeric_dtype(truth)
        if sides_only:
            classes = ("+".join(config.cohort.background), "+".join(config.cohort.target_names))
            sides = dict(zip(("background", "target"), classes, strict=True))
            truth = people.set_index("scan_id")["group"].map(sides)
        elif target.of_classes:
            if numeric and not np.all(truth == np.round(truth)):
                problems.append(
                    f"probes.targets.{name}.kind: a classification needs classes, but the column holds numbers such as "
                    f"{truth[truth != np.round(truth)].iloc[0]:g}; use `kind: regression`."
                )
            truth = truth.map(lambda value: f"{value:g}") if numeric else truth
            classes = tuple(sorted(set(truth)))
        elif not numeric and len(truth):
            problems.append(
                f"probes.targets.{name}.kind: a regression needs numbers, but the column holds text such as "
                f"{truth.iloc[0]!r}; use `kind: classification`."
            )
        person = people.set_index("scan_id")["participant_id"]
        missing = person.nunique() - person[truth.index].nunique()
        found.append(Question(name, target.kind, truth, classes, regime, missing))
    for name in config.probes.confounds:
        without = cohort.loc[cohort[name].isna(), "participant_id"].tolist()
        if without:
            problems.append(
                f"probes.confounds: {name} is missing for {len(without)} scans (participant {without[0]} first); "
                f"leave such participants out by `cohort.include`, or take {name} out of the confounds."
            )
    if problems:
        raise InputError(problems)
    return found


def all_questions(config: Config, cohort: pd.DataFrame) -> list[Question]:
    """The questions of every regime of the configuration. Raises as :func:`questions` does."""
    return questions(config, cohort) + (questions(config, cohort, "paper") if config.probes.paper_regime else [])


def confound_features(cohort: pd.DataFrame, names: Sequence[str], train: Collection[str]) -> pd.DataFrame:
    """Confounds as a probe reads them, [N, k] by scan id: numbers as they are, a column for each training class.

    Args:
        names: columns of the cohort, without missing values.
        train: scans of which the classes are taken; a class that they lack is 0 in every column.
    """
    table = cohort.set_index("scan_id")
    features = pd.DataFrame(index=table.index)
    for name in names:
        if pd.api.types.is_numeric_dtype(table[name]):
            features[name] = table[name]
        else:
            for label in sorted(table.loc[list(train), name].unique()):
                features[f"{name}={label}"] = (table[name] == label).astype(float)
    return features
