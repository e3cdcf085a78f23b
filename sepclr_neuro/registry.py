"""The methods that ``config.yaml`` may name: their settings, each default with its source, and where they live.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = [
    "METHODS",
    "EstimatedSepCLRSettings",
    "IndependenceTerm",
    "MethodEntry",
    "MethodSettings",
    "SepCLRSettings",
    "TrainedSettings",
]


class Section(BaseModel):
    """A part of ``config.yaml``: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reference(NamedTuple):
    """A publication, as the report lists it."""

    text: str
    url: str


SEPCLR = Reference(
    "Louiset R, Duchesnay E, Grigis A, Gori P (2024). Separating common from salient patterns with contrastive "
    "representation learning. ICLR.",
    "https://arxiv.org/abs/2402.11928",
)


class MethodSettings(Section):
    """What every method's settings can tell. Their keys are the method's own."""

    trained: ClassVar[bool] = False
    """Whether the sections `network`, `augmentation` and `training` apply to the method."""

    references: ClassVar[tuple[Reference, ...]] = ()
    """What a text that uses the method cites."""

    def describe(self, **options: Any) -> str:
        """What was done, in sentences for a methods section.

        Args:
            options: those of the method's registry entry.
        """
        raise NotImplementedError

    def columns(self) -> dict[str, Literal["continuous", "discrete"]]:
        """The cohort's columns that the method learns from beside volumes and groups, and how they are to be taken."""
        return {}


class TrainedSettings(MethodSettings):
    """Settings of a method that is trained by gradients: its own values for keys of the sections that all share."""

    trained: ClassVar[bool] = True

    network: dict[str, Any] = Field({}, description="Keys of the section `network` that differ for this method.")
    augmentation: dict[str, Any] = Field({}, description="Keys of `augmentation` that differ for this method.")
    training: dict[str, Any] = Field({}, description="Keys of `training` that differ for this method.")

    @field_validator("network", "augmentation", "training")
    @classmethod
    def _beside_the_methods_own(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """A key that the user gives leaves the method's other defaults as they are."""
        return {**cls.model_fields[str(info.field_name)].default, **given}


IndependenceTerm = Literal[
    "none",
    "k-jem",
    "k-mi",
    "mmd",
    "tc",
    "vclub-sym",
    "vclub-c2s",
    "vclub-s2c",
    "vl1o-sym",
    "vl1o-c2s",
    "vl1o-s2c",
    "vub-sym",
    "vub-c2s",
    "vub-s2c",
]


class SepCLRSettings(TrainedSettings):
    """SepCLR (Louiset et al., ICLR 2024). Released settings: the authors' 2D scripts; none exists for 3D."""

    common_dim: int = Field(32, ge=1, description="Dimensions of the common space. Released: 32 (CIFAR-MNIST).")
    salient_dim: int = Field(32, ge=1, description="Dimensions of the salient space. Released: 32 (CIFAR-MNIST).")
    projector_width: int = Field(128, ge=1, description="Hidden units of both projectors. Released: 128.")
    temperature: float = Field(0.5, gt=0, description="tau of every kernel. Released: 0.5.")
    uniformity_weight: float = Field(2.0, ge=0, description="Weight of uniformity beside alignment. Released: 2.")
    salient_weight: float = Field(
        1.0, ge=0, description="b_S, of the salient terms. Released: 1 for medical images (CheXpert, ODIR)."
    )
    informationless_weight: float = Field(
        10.0, ge=0, description="b_R, pins controls to s'. Released: 10 for chest X-rays (CheXpert)."
    )
    independence_weight: float = Field(
        10.0,
        ge=0,
        description="lambda, of the independence term. Released: 10, for k-JEM; the same for the other terms is our "
        "choice, so that rows of a table differ in nothing but the term.",
    )

    references: ClassVar[tuple[Reference, ...]] = (SEPCLR,)

    def describe(self, **options: Any) -> str:
        term = options.get("independence", "k-jem")
        between = (
            "no term between the spaces" if term == "none" else f"independence ({term}) {self.independence_weight:g}"
        )
        return (
            "SepCLR (Louiset et al., 2024) was trained with two separate encoders, giving a common representation of "
            f"{self.common_dim} and a salient one of {self.salient_dim} dimensions, each followed by a projector with "
            f"{self.projector_width} hidden units; temperature {self.temperature:g}; weights: uniformity "
            f"{self.uniformity_weight:g}, salient terms {self.salient_weight:g}, information-less term "
            f"{self.informationless_weight:g}; {between}. The authors published no 3D code of their schizophrenia "
            "experiment: encoders, augmentation and settings for volumes are choices of this implementation."
        )


class EstimatedSepCLRSettings(SepCLRSettings):
    """SepCLR with an independence term that is estimated by networks of its own. None of these was released."""

    estimator_width: int = Field(
        64, ge=1, description="Hidden units of the estimator. Our choice: twice the dimensions that it reads."
    )
    estimator_steps: int = Field(
        5,
        ge=1,
        description="Steps of the estimator a batch. Our choice, because a bound holds only for an estimator that fits "
        "encoders which move.",
    )
    estimator_learning_rate: float = Field(
        1e-3, gt=0, description="Of the estimator's Adam. Our choice: Adam's usual one, above the encoders'."
    )

    def describe(self, **options: Any) -> str:
        return (
            f"{super().describe(**options)} The term's estimator ({self.estimator_width} hidden units) took "
            f"{self.estimator_steps} steps a batch by an Adam of its own, learning rate "
            f"{self.estimator_learning_rate:g}, before the encoders took theirs."
        )


@dataclass(frozen=True)
class MethodEntry:
    """One method: the class that implements it, as ``module:Class``, and the model of its settings.

    Attributes:
        title: how tables and figures call it.
        options: what sets it apart from other methods of the same class: keyword arguments of the class.
    """

    implementation: str
    settings: type[MethodSettings]
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def describe(self, settings: MethodSettings) -> str:
        """The method with these settings, in sentences for a methods section."""
        return settings.describe(**self.options)

    def load(self) -> Callable[[MethodSettings, Any, Sequence[int]], Any]:
        """Imports the implementation (and torch with it): a function of settings, network and shape of the input."""
        module, name = self.implementation.split(":")
        return partial(getattr(importlib.import_module(module), name), **self.options)


def _sepclr(term: IndependenceTerm, title: str, settings: type[SepCLRSettings] = SepCLRSettings) -> MethodEntry:
    return MethodEntry("sepclr_neuro.methods.sepclr:SepCLR", settings, f"SepCLR, {title}", {"independence": term})


METHODS: dict[str, MethodEntry] = {
    "sepclr-k-jem": _sepclr("k-jem", "k-JEM"),
    "sepclr-no-k-jem": _sepclr("none", "no k-JEM"),
    "sepclr-k-mi": _sepclr("k-mi", "k-MI"),
    "sepclr-mmd": _sepclr("mmd", "MMD"),
    "sepclr-tc": _sepclr("tc", "TC", EstimatedSepCLRSettings),
    "sepclr-vclub-sym": _sepclr("vclub-sym", "vCLUB, both ways", EstimatedSepCLRSettings),
    "sepclr-vclub-c2s": _sepclr("vclub-c2s", "vCLUB, common to salient", EstimatedSepCLRSettings),
    "sepclr-vclub-s2c": _sepclr("vclub-s2c", "vCLUB, salient to common", EstimatedSepCLRSettings),
    "sepclr-vl1o-sym": _sepclr("vl1o-sym", "vL1O, both ways", EstimatedSepCLRSettings),
    "sepclr-vl1o-c2s": _sepclr("vl1o-c2s", "vL1O, common to salient", EstimatedSepCLRSettings),
    "sepclr-vl1o-s2c": _sepclr("vl1o-s2c", "vL1O, salient to common", EstimatedSepCLRSettings),
    "sepclr-vub-sym": _sepclr("vub-sym", "vUB, both ways", EstimatedSepCLRSettings),
    "sepclr-vub-c2s": _sepclr("vub-c2s", "vUB, common to salient", EstimatedSepCLRSettings),
    "sepclr-vub-s2c": _sepclr("vub-s2c", "vUB, salient to common", EstimatedSepCLRSettings),
}
