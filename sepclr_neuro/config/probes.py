"""The section `probes` of ``config.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.config.names import NameOf
from sepclr_neuro.config.section import Section
from sepclr_neuro.core.registry import LateEntry, Registry

__all__ = ["DEFAULT_TARGETS", "PROBES", "Probe", "ProbeTarget", "Probes"]


@dataclass(frozen=True)
class Probe(LateEntry):
    """A kind of probe. Its implementation, called without arguments, gives a
    :class:`~sepclr_neuro.probing.probe_fits.ProbeModels`.

    Attributes:
        of_classes: whether it predicts classes, and is scored by balanced accuracy and area under the curve; otherwise
            numbers, scored by absolute error and R2.
    """

    of_classes: bool


PROBES: Registry[Probe] = Registry(
    "probes",
    {
        "classification": Probe(
            "Logistic regression of classes", "sepclr_neuro.probing.probe_fits:logistic", of_classes=True
        ),
        "regression": Probe("Ridge regression of numbers", "sepclr_neuro.probing.probe_fits:ridge", of_classes=False),
    },
)


class ProbeTarget(Section):
    """One variable that a probe predicts from a space."""

    kind: Annotated[str, NameOf(PROBES)] = Field(
        description="Of classes (text, or whole numbers as codes), or of numbers."
    )
    people: Literal["all", "target", "background", "known"] = Field(
        "all",
        description="Participants whose values are probed. `known`: all who have a value, so that no value counts as "
        "missing.",
    )
    expected_in: Literal["common", "salient"] = Field(description="The space that should predict it: sets the arrows.")
    label: str | None = Field(None, description="Its name in tables. Null: its column's name.")

    @property
    def of_classes(self) -> bool:
        return PROBES[self.kind].of_classes

    @property
    def question(self) -> tuple[str, str]:
        """What is asked of whom: the kind of probe and the participants, without what tables alone show."""
        return self.kind, self.people


DEFAULT_TARGETS = {
    "age": ProbeTarget(kind="regression", expected_in="common", label="Age"),
    "sex": ProbeTarget(kind="classification", expected_in="common", label="Sex"),
    "site": ProbeTarget(kind="classification", expected_in="common", label="Site"),
    "sans": ProbeTarget(kind="regression", people="target", expected_in="salient", label="SANS"),
    "saps": ProbeTarget(kind="regression", people="target", expected_in="salient", label="SAPS"),
    "diagnosis": ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis"),
}


class Probes(Section):
    """Linear probes: fitted on a fold's training participants, scored on its held-out participants."""

    targets: dict[CohortColumn, ProbeTarget] = Field(
        DEFAULT_TARGETS,
        min_length=1,
        description="Cohort columns to probe. Default: age, sex, site, diagnosis and the cohort's symptom scores; not "
        "variables without variation.",
    )
    paper_regime: bool = Field(
        True,
        description="Also probe as the paper's released scripts do: scikit-learn's defaults on unscaled "
        "representations, and of patients alone except for the diagnosis.",
    )
    confounds: list[CohortColumn] = Field(
        ["age", "sex", "site"],
        description="Predictors of a probe without any image, beside which a space must add something. By "
        "default no variables without variation. Reviewers expect `tiv` too, where the cohort has it. A target is not "
        "its own confound.",
    )
    permutations: int = Field(
        1000, ge=99, description="Exchanges of values between participants, for the null of each figure."
    )
    bootstraps: int = Field(
        1000, ge=99, description="Bootstrap samples of participants, for the interval of each figure."
    )

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [target.label or name for name, target in self.targets.items()]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two targets are called {label!r} in tables; give one of them another `label`")
        return self
