"""Settings of linear methods with two spaces, each default with its source."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from sepclr_neuro.config.methods.base import Reference, TwoSpaceSettings
from sepclr_neuro.config.methods.sepclr import SepCLRTerms
from sepclr_neuro.config.methods.terms import TERMS
from sepclr_neuro.config.names import NameOf

__all__ = ["GCPCASettings", "LinearSepCLRSettings", "RidgeDiscriminantSettings"]

_FROM_SEVERAL = (
    "Numbers of salient dimensions to choose from, in place of `salient_dim`: the one with which the distance from the "
    "controls predicts the group best (area under the ROC curve), in five inner folds of the training data."
)
_COMMON = "The common space holds all principal components of the training volumes."


class LinearSepCLRSettings(SepCLRTerms):
    """SepCLR with linear encoders, trained in the span of the training participants."""

    salient_dim: int = Field(
        8,
        ge=1,
        description="Dimensions of the salient space. 8: better than 2 on four development cohorts.",
    )
    salient_dims: list[PositiveInt] = Field([], description=_FROM_SEVERAL)
    salient_projector: bool = Field(False, description="Whether the salient terms read a projection of the space.")
    independence: Annotated[
        str, NameOf(TERMS, lambda term: not term.estimated, "is estimated by networks, which this method has none of")
    ] = Field(
        "k-jem",
        description="The term between the spaces, of those that no network estimates.",
    )
    noise: float = Field(
        1.25,
        gt=0,
        description="SD of the noise that makes a view, over the root mean square of the coordinates: the ridge of the "
        "encoders. 1.25: of 0.6, 1.25 and 1.9 the best on four development cohorts.",
    )
    steps: int = Field(300, ge=1, description="Steps of Adam, all training participants in each.")
    learning_rate: float = Field(3e-3, gt=0, description="Of Adam.")

    def describe(self, **options: Any) -> str:
        between, term = "", TERMS[self.independence]
        if term.in_words:
            between = f", {term.in_words} {self.independence_weight:g}"
        return (
            "SepCLR (Louiset et al., 2024) with linear encoders was trained on the coordinates of all training "
            f"participants on the principal axes of their volumes, {self.steps} steps of Adam (learning rate "
            f"{self.learning_rate:g}), with {_dimensions(self)}; a common head of "
            f"{self.common_dim} dimensions serves the loss alone; a view is the coordinates with noise of "
            f"{self.noise:g} times their root mean square; temperature {self.temperature:g}; "
            f"weights: uniformity {self.uniformity_weight:g}, salient terms {self.salient_weight:g}, "
            f"information-less term {self.informationless_weight:g}{between}. "
            f"{_COMMON}"
        )


def _dimensions(settings: LinearSepCLRSettings | GCPCASettings) -> str:
    """The number of salient dimensions, or how it is chosen, in words."""
    if not settings.salient_dims:
        return f"{settings.salient_dim} salient dimensions"
    *most, last = map(str, sorted(set(settings.salient_dims)))
    several = f"{', '.join(most)} or {last}" if most else last
    return (
        f"{several} salient dimensions, whichever number let the distance from controls predict the group best in five "
        "inner folds of the training participants"
    )


class RidgeDiscriminantSettings(TwoSpaceSettings):
    """Fisher's discriminant with a ridge: the one direction in which the groups differ."""

    ridge: float = Field(
        2.0, gt=0, description="Of the covariance within groups, in mean variances of an axis. Our choice."
    )

    def describe(self, **options: Any) -> str:
        return (
            "A ridge discriminant: the one salient direction is Fisher's, with a ridge of "
            f"{self.ridge:g} mean variances of an axis. {_COMMON}"
        )


class GCPCASettings(TwoSpaceSettings):
    """Generalised contrastive PCA (de Oliveira et al., 2025)."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "de Oliveira EF, Garg P, Hjerling-Leffler J, Batista-Brito R, Sjulson L (2025). Identifying patterns "
            "differing between high-dimensional datasets with generalized contrastive PCA. PLoS Computational Biology.",
            "https://doi.org/10.1371/journal.pcbi.1012747",
        ),
    )

    salient_dim: int = Field(8, ge=1, description="Dimensions of the salient space. Our choice: as linear SepCLR's.")
    salient_dims: list[PositiveInt] = Field([], description=_FROM_SEVERAL)
    ridge: float = Field(
        4.0, gt=0, description="Of the controls' covariance, in mean variances of an axis. Our choice."
    )
    about: Literal["controls", "own"] = Field(
        "controls",
        description="The point about which patients' moment is taken: `controls`, their mean, so that a shift of all "
        "patients counts; `own`, as published.",
    )

    def describe(self, **options: Any) -> str:
        about = "the controls' mean" if self.about == "controls" else "their own mean"
        return (
            f"Generalised contrastive PCA (de Oliveira et al., 2025), with {_dimensions(self)}: directions in which "
            f"the patients' second moment about {about} is largest beside the controls' covariance, with a ridge of "
            f"{self.ridge:g} mean variances of an axis. {_COMMON}"
        )
