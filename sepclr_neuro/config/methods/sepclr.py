"""Settings of SepCLR, each default with its source."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.config.methods.base import TrainedSettings, TwoSpaceSettings
from sepclr_neuro.config.methods.terms import TERMS
from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.words import counted

__all__ = ["EstimatedSepCLRSettings", "SepCLRSettings", "SepCLRTerms"]

SEPCLR = Reference(
    "Louiset R, Duchesnay E, Grigis A, Gori P",
    2024,
    "Separating common from salient patterns with contrastive representation learning",
    "https://arxiv.org/abs/2402.11928",
    "ICLR",
    kind="inproceedings",
)


class SepCLRTerms(TwoSpaceSettings):
    """Dimensions and terms of the loss of SepCLR, whatever its encoders are."""

    common_dim: int = Field(32, ge=1, description="Dimensions of the common space. Released: 32 (CIFAR-MNIST).")
    salient_dim: int = Field(32, ge=1, description="Dimensions of the salient space. Released: 32 (CIFAR-MNIST).")
    salient_projector: bool = Field(
        True, description="Whether the salient terms read a projection of the salient space, as released, or itself."
    )
    projector_width: int = Field(128, ge=1, description="Hidden units of both projectors. Released: 128.")
    temperature: float = Field(0.5, gt=0, description="tau of every kernel. Released: 0.5.")
    kernel_width: Literal["fixed", "median"] = Field(
        "fixed",
        description="Of the kernels of k-JEM and k-MI: `temperature`, as released, or in each space and batch half the "
        "median squared distance.",
    )
    kernel_diagonal: bool = Field(
        True,
        description="Whether k-JEM and k-MI count a participant as their own neighbour, as released; at small batches "
        "that is a floor without gradient.",
    )
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

    attributes: dict[CohortColumn, Literal["continuous", "discrete"]] = Field(
        {},
        description="Columns of the cohort, e.g. `{sans: continuous, saps: continuous}`, each of which owns one of the "
        "first salient dimensions, in this order (the paper's supervised form). Patients without a value are left out "
        "of that term alone.",
    )
    attribute_weight: float = Field(
        100.0, ge=0, description="Of the attributes' terms, where there are attributes. Released: 100 (dSprites)."
    )

    references: ClassVar[tuple[Reference, ...]] = (SEPCLR,)
    own_choices: ClassVar[str] = (
        "The authors published no 3D code of their experiment on brain volumes: encoders, augmentation and settings "
        "for volumes are choices of this implementation."
    )

    @model_validator(mode="after")
    def _dimensions_suffice(self) -> Self:
        if len(self.attributes) > self.salient_dim:
            raise ValueError(
                f"`attributes`: {len(self.attributes)} of them cannot each own one of {self.salient_dim} salient "
                "dimensions; raise `salient_dim`"
            )
        return self

    def columns(self) -> dict[str, Literal["continuous", "discrete"]]:
        return self.attributes


class SepCLRSettings(SepCLRTerms, TrainedSettings):
    """SepCLR (Louiset et al., ICLR 2024). Released settings: the authors' 2D scripts; none exists for 3D."""

    def describe(self, **options: Any) -> str:
        projected, owned = "each followed by a projector", ""
        if not self.salient_projector:
            projected = "the common one followed by a projector"
        weights = f"salient terms {self.salient_weight:g}, information-less term {self.informationless_weight:g}"
        weights = f"uniformity {self.uniformity_weight:g}, {weights}"
        if self.attributes:
            weights = f"uniformity of the common space 1, of the salient one {weights.removeprefix('uniformity ')}"
            if len(self.attributes) == self.salient_dim:
                projected, weights = "the common one followed by a projector", "uniformity of the common space 1"
            owned = (
                f" Each of {', '.join(self.attributes)} owned one salient dimension, which has no projector: there, "
                f"patients were aligned by their values (weight {self.attribute_weight:g})."
            )
        return (
            "SepCLR (Louiset et al., 2024) was trained with two separate encoders, giving a common representation of "
            f"{self.common_dim} and a salient one of {self.salient_dim} dimensions, {projected} with "
            f"{self.projector_width} hidden units. The temperature was {self.temperature:g}, the weights: {weights}."
            f"{owned} {self._between(options.get('independence', 'k-jem'))}"
        )

    def _between(self, term: str) -> str:
        entry = TERMS[term]
        if not entry.in_words:
            return "There was no term between the spaces."
        kernels = ""
        if entry.by_kernels:
            median = "half the median squared distance in a batch"
            width = median if self.kernel_width == "median" else "the temperature"
            neighbours = "counted" if self.kernel_diagonal else "not counted"
            kernels = f", by kernels as wide as {width}, participants {neighbours} as their own neighbours"
        return f"The term between the spaces was {entry.in_words}, its weight {self.independence_weight:g}{kernels}."


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
            f"{counted(self.estimator_steps, 'step')} a batch by an Adam of its own, learning rate "
            f"{self.estimator_learning_rate:g}, before the encoders took theirs."
        )
