"""Settings of linear methods with two spaces, each default with its source."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sepclr_neuro.config.messages import explain
from sepclr_neuro.config.methods.base import TwoSpaceSettings
from sepclr_neuro.config.methods.sepclr import SepCLRTerms
from sepclr_neuro.config.methods.terms import TERMS
from sepclr_neuro.config.names import NameOf
from sepclr_neuro.config.section import WrongKeyError
from sepclr_neuro.core.errors import nearest
from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.words import listed

__all__ = [
    "INNER_FOLDS",
    "CLVMSettings",
    "ChosenByInnerFolds",
    "GCPCASettings",
    "LinearSepCLRSettings",
    "NormativeSettings",
    "RidgeDiscriminantSettings",
]

INNER_FOLDS = 5
"""Inner folds of the training participants, by which settings are chosen; fewer where a group is smaller."""

_COMMON = "The common space holds all principal components of the training volumes (at most the 1,000 largest)."


class ChosenByInnerFolds(TwoSpaceSettings):
    """A linear method of which some settings can be chosen by inner folds of the training participants."""

    can_be_chosen: ClassVar[tuple[str, ...]] = ()
    """The settings that `choose` may name."""

    choose: dict[str, list[float]] = Field(
        {},
        description="Values of settings to choose from, such as `{salient_dim: [2, 8]}`: those with which the distance "
        "from the controls predicts the group best (area under the ROC curve), in up to five inner folds of the "
        "training participants. Of several settings each combination is tried.",
    )

    @model_validator(mode="after")
    def _can_choose(self) -> Self:
        for name, values in self.choose.items():
            if name not in self.can_be_chosen:
                raise WrongKeyError(f"choose.{name}", f"unknown key.{nearest(name, self.can_be_chosen, listed=True)}")
            if not values:
                raise WrongKeyError(f"choose.{name}", "no value to choose from; list some, such as [2, 8]")
            for value in values:
                self._with(name, value)
        return self

    def _with(self, name: str, value: float) -> Self:
        try:
            return type(self).model_validate(self.model_dump(exclude={"choose"}) | {name: value})
        except ValidationError as error:
            (said, *_) = explain(error, type(self))
            raise WrongKeyError(f"choose.{name}", said.removeprefix(f"{name}: ")) from None

    def candidates(self) -> list[dict[str, Any]]:
        """All combinations of the values to choose from, the smallest first; `[{}]` where nothing is to be chosen."""
        valid = [[getattr(self._with(name, v), name) for v in sorted(set(vs))] for name, vs in self.choose.items()]
        return [dict(zip(self.choose, values, strict=True)) for values in product(*valid)]

    @property
    def trainings(self) -> int:
        """Each candidate once for each inner fold, then the chosen one; a single candidate needs no choice."""
        count = len(self.candidates())
        return 1 if count == 1 else count * INNER_FOLDS + 1

    def _in_words(self, name: str) -> str:
        """A setting's value, or those that it is chosen from."""
        return listed([f"{value:g}" for value in sorted(set(self.choose.get(name, [getattr(self, name)])))], "or")

    def _how_chosen(self) -> str:
        if not self.choose:
            return ""
        return (
            " Where several values are given, the one with which the distance from the controls predicted the group "
            "best in up to five inner folds of the training participants was taken."
        )


class LinearSepCLRSettings(SepCLRTerms, ChosenByInnerFolds):
    """SepCLR with linear encoders, trained in the span of the training participants."""

    can_be_chosen: ClassVar[tuple[str, ...]] = ("salient_dim", "noise", "informationless_weight")

    salient_dim: int = Field(
        8,
        ge=1,
        description="Dimensions of the salient space. 8: better than 2 on four development cohorts.",
    )
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
        between, term, owned = "", TERMS[self.independence], ""
        if self.attributes:
            owned = (
                f" Each of {', '.join(self.attributes)} owned one salient dimension, in which training patients were "
                f"aligned by their values (weight {self.attribute_weight:g})."
            )
        if term.in_words:
            between = f", {term.in_words} {self.independence_weight:g}"
        return (
            "SepCLR (Louiset et al., 2024) with linear encoders was trained on the coordinates of all training "
            f"participants on the principal axes of their volumes, {self.steps} steps of Adam (learning rate "
            f"{self.learning_rate:g}), with {self._in_words('salient_dim')} salient dimensions; a common head of "
            f"{self.common_dim} dimensions serves the loss alone; a view is the coordinates with noise of "
            f"{self._in_words('noise')} times their root mean square; temperature {self.temperature:g}; "
            f"weights: uniformity {self.uniformity_weight:g}, salient terms {self.salient_weight:g}, "
            f"information-less term {self._in_words('informationless_weight')}{between}.{owned} "
            f"{_COMMON}{self._how_chosen()}"
        )


class RidgeDiscriminantSettings(ChosenByInnerFolds):
    """Fisher's discriminant with a ridge: the one direction in which the groups differ."""

    can_be_chosen: ClassVar[tuple[str, ...]] = ("ridge",)
    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Friedman JH",
            1989,
            "Regularized discriminant analysis",
            "https://doi.org/10.1080/01621459.1989.10478752",
            "Journal of the American Statistical Association",
            "84",
            "165–175",
            "article",
        ),
    )

    ridge: float = Field(
        2.0, gt=0, description="Of the covariance within groups, in mean variances of an axis. Our choice."
    )

    def describe(self, **options: Any) -> str:
        return (
            "A ridge discriminant (after Friedman, 1989): the one salient direction is Fisher's, with a ridge of "
            f"{self._in_words('ridge')} mean variances of an axis. {_COMMON}{self._how_chosen()}"
        )


class GCPCASettings(ChosenByInnerFolds):
    """Generalised contrastive PCA (de Oliveira et al., 2025)."""

    can_be_chosen: ClassVar[tuple[str, ...]] = ("salient_dim", "ridge")

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "de Oliveira EF, Garg P, Hjerling-Leffler J, Batista-Brito R, Sjulson L",
            2025,
            "Identifying patterns differing between high-dimensional datasets with generalized contrastive PCA",
            "https://doi.org/10.1371/journal.pcbi.1012747",
            "PLoS Computational Biology",
            kind="article",
        ),
    )

    salient_dim: int = Field(8, ge=1, description="Dimensions of the salient space. Our choice: as linear SepCLR's.")
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
            "Generalised contrastive PCA (de Oliveira et al., 2025), with "
            f"{self._in_words('salient_dim')} salient dimensions: directions in which the patients' second moment "
            f"about {about} is largest beside the controls' covariance, with a ridge of "
            f"{self._in_words('ridge')} mean variances of an axis. {_COMMON}{self._how_chosen()}"
        )


class NormativeSettings(ChosenByInnerFolds):
    """Deviations from a normative model of the controls."""

    effects_of_controls: ClassVar[bool] = True
    can_be_chosen: ClassVar[tuple[str, ...]] = ("salient_dim",)
    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Marquand AF, Rezek I, Buitelaar J, Beckmann CF",
            2016,
            "Understanding heterogeneity in clinical cohorts using normative models: beyond case-control studies",
            "https://doi.org/10.1016/j.biopsych.2015.12.023",
            "Biological Psychiatry",
            "80",
            "552–561",
            "article",
        ),
    )

    salient_dim: int = Field(8, ge=1, description="Dimensions of the salient space. Our choice: as linear SepCLR's.")

    def describe(self, **options: Any) -> str:
        return (
            "A normative model (after Marquand et al., 2016), linear and of the training controls alone, predicts each "
            "voxel from the covariates that the salient space is adjusted for; the salient space has the "
            f"{self._in_words('salient_dim')} principal axes of the patients' deviations from it, each in units of the "
            f"controls' standard deviation. {_COMMON}{self._how_chosen()}"
        )


class CLVMSettings(ChosenByInnerFolds):
    """The linear contrastive latent variable model (Severson et al., 2019)."""

    can_be_chosen: ClassVar[tuple[str, ...]] = ("salient_dim", "common_dim")
    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Severson KA, Ghosh S, Ng K",
            2019,
            "Unsupervised learning with contrastive latent variable models",
            "https://doi.org/10.1609/aaai.v33i01.33014862",
            "AAAI Conference on Artificial Intelligence",
            "33",
            "4862–4869",
            "inproceedings",
        ),
    )

    salient_dim: int = Field(8, ge=1, description="Latent variables of the patients. Our choice: as linear SepCLR's.")
    common_dim: int = Field(32, ge=1, description="Latent variables of both groups. Our choice.")
    steps: int = Field(1000, ge=1, description="Steps of expectation maximisation, at most.")

    def describe(self, **options: Any) -> str:
        return (
            "The linear contrastive latent variable model (Severson et al., 2019), by expectation maximisation, about "
            f"the controls' mean, with {self._in_words('common_dim')} latent variables of both groups and "
            f"{self._in_words('salient_dim')} of the patients, whose expectation is the salient space. "
            f"{_COMMON}{self._how_chosen()}"
        )
