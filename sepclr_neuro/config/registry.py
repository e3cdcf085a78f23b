"""The methods that ``config.yaml`` may name: their settings, each default with its source, and where they live.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.core.words import counted

__all__ = [
    "METHODS",
    "TERMS_IN_WORDS",
    "CPCASettings",
    "CVAESettings",
    "ConVAESettings",
    "EstimatedSepCLRSettings",
    "GCPCASettings",
    "IndependenceTerm",
    "LinearSepCLRSettings",
    "MMcVAESettings",
    "MethodEntry",
    "MethodSettings",
    "PCASettings",
    "Reference",
    "RidgeDiscriminantSettings",
    "SepCLRSettings",
    "SepCLRTerms",
    "SepVAESettings",
    "SimCLRSettings",
    "SupervisedSettings",
    "TrainedSettings",
    "VoxelLinearSettings",
]


class Section(BaseModel):
    """A part of ``config.yaml``: unknown keys are errors, values do not change after validation.

    A number where text is expected, such as the code 1 of a table, is the text that was written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


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

    augmented: ClassVar[bool] = False
    """Whether what it sees of images are random views."""

    trained: ClassVar[bool] = False
    """Whether the sections `network`, `augmentation` and `training` apply to the method."""

    references: ClassVar[tuple[Reference, ...]] = ()
    """What a text that uses the method cites."""

    own_choices: ClassVar[str] = ""
    """A sentence on what of the networks is nobody's but this project's, which a text says once for all methods."""

    def describe(self, **options: Any) -> str:
        """What was done, in sentences for a methods section; one that is true of several methods is the same in all.

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
    augmented: ClassVar[bool] = True

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
    "dcor",
]

TERMS_IN_WORDS: Mapping[str, str] = {
    "k-jem": "kernel joint entropy (k-JEM)",
    "k-mi": "kernel mutual information (k-MI)",
    "mmd": "maximum mean discrepancy (MMD)",
    "tc": "total correlation (TC)",
    "vclub-sym": "vCLUB bound in both directions",
    "vclub-c2s": "vCLUB bound from common to salient",
    "vclub-s2c": "vCLUB bound from salient to common",
    "vl1o-sym": "vL1O bound in both directions",
    "vl1o-c2s": "vL1O bound from common to salient",
    "vl1o-s2c": "vL1O bound from salient to common",
    "vub-sym": "vUB bound in both directions",
    "vub-c2s": "vUB bound from common to salient",
    "vub-s2c": "vUB bound from salient to common",
    "dcor": "distance correlation",
    "common_alignment": "alignment of the common space",
    "common_uniformity": "uniformity of the common space",
    "salient_alignment": "alignment of the salient space",
    "salient_uniformity": "uniformity of the salient space",
    "informationless": "information-less term",
    "independence": "independence of the spaces",
    "common_divergence": "divergence of the common code from its prior",
    "salient_divergence": "divergence of patients' salient code from its prior",
    "controls_divergence": "divergence of controls' salient code from its prior",
    "common_matching": "MMD between the groups' common codes",
    "salient_matching": "MMD between controls' salient codes and zero",
    "classification": "classification of the groups",
}
"""What texts call an independence term, or a term of the loss as models record it, if its name is not the field's."""


class SepCLRTerms(MethodSettings):
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
        description="Whether k-JEM and k-MI count a person as their own neighbour, as released; at small batches that "
        "is a floor at which they move nobody.",
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
        "The authors published no 3D code of their schizophrenia experiment: encoders, augmentation and settings for "
        "volumes are choices of this implementation."
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
        if term == "none":
            return "There was no term between the spaces."
        kernels = ""
        if term in ("k-jem", "k-mi"):
            median = "half the median squared distance in a batch"
            width = median if self.kernel_width == "median" else "the temperature"
            neighbours = "counted" if self.kernel_diagonal else "not counted"
            kernels = f", by kernels as wide as {width}, people {neighbours} as their own neighbours"
        return (
            f"The term between the spaces was {TERMS_IN_WORDS[term]}, its weight {self.independence_weight:g}{kernels}."
        )


ADJUST_FOR: Any = Field(
    None,
    description="Columns of the cohort that the salient space is adjusted for, within groups; by default those of the "
    "key `adjust_for` of the configuration.",
)
ERASE: Any = Field(
    True,
    description="Whether the common space is left without what the salient codes predict of it (least squares). The "
    "paper's form is `false`.",
)


class LinearTwoSpaceSettings(MethodSettings):
    """A linear method with a common and a salient space."""

    adjust_for: list[CohortColumn] | None = ADJUST_FOR
    erase: bool = ERASE


class LinearSepCLRSettings(SepCLRTerms, LinearTwoSpaceSettings):
    """SepCLR with linear encoders, trained in the span of the training people."""

    salient_dim: int = Field(
        8,
        ge=1,
        description="Dimensions of the salient space. 8: better than 2 on four development cohorts.",
    )
    salient_projector: bool = Field(False, description="Whether the salient terms read a projection of the space.")
    independence: Literal["none", "k-jem", "k-mi", "mmd", "dcor"] = Field(
        "k-jem",
        description="The term between the spaces, of those that no network estimates.",
    )
    noise: float = Field(
        1.25,
        gt=0,
        description="SD of the noise that makes a view, over the root mean square of the coordinates: the ridge of the "
        "encoders. 1.25: of 0.6, 1.25 and 1.9 the best on four development cohorts.",
    )
    steps: int = Field(300, ge=1, description="Steps of Adam, all training people in each.")
    learning_rate: float = Field(3e-3, gt=0, description="Of Adam.")

    def describe(self, **options: Any) -> str:
        between = ""
        if self.independence != "none":
            between = f", {TERMS_IN_WORDS[self.independence]} {self.independence_weight:g}"
        return (
            "SepCLR (Louiset et al., 2024) with linear encoders was trained on the coordinates of all training people "
            f"on the principal axes of their volumes, {self.steps} steps of Adam (learning rate "
            f"{self.learning_rate:g}), with {self.salient_dim} salient dimensions; a common head of "
            f"{self.common_dim} dimensions serves the loss alone; a view is the coordinates with noise of "
            f"{self.noise:g} times their root mean square; temperature {self.temperature:g}; "
            f"weights: uniformity {self.uniformity_weight:g}, salient terms {self.salient_weight:g}, "
            f"information-less term {self.informationless_weight:g}{between}. "
            f"{_common_of_linear(self.erase)}"
        )


class RidgeDiscriminantSettings(LinearTwoSpaceSettings):
    """Fisher's discriminant with a ridge: the one direction in which the groups differ."""

    ridge: float = Field(
        2.0, gt=0, description="Of the covariance within groups, in mean variances of an axis. Our choice."
    )

    def describe(self, **options: Any) -> str:
        return (
            "A ridge discriminant: the one salient direction is Fisher's, with a ridge of "
            f"{self.ridge:g} mean variances of an axis. {_common_of_linear(self.erase)}"
        )


class GCPCASettings(LinearTwoSpaceSettings):
    """Generalised contrastive PCA (de Oliveira et al., 2025)."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "de Oliveira EF, Garg P, Hjerling-Leffler J, Batista-Brito R, Sjulson L (2025). Identifying patterns "
            "differing between high-dimensional datasets with generalized contrastive PCA. PLoS Computational Biology.",
            "https://doi.org/10.1371/journal.pcbi.1012747",
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
            f"Generalised contrastive PCA (de Oliveira et al., 2025): {self.salient_dim} salient directions in which "
            f"the patients' second moment about {about} is largest beside the controls' covariance, with a ridge of "
            f"{self.ridge:g} mean variances of an axis. {_common_of_linear(self.erase)}"
        )


def _common_of_linear(erase: bool) -> str:
    erased = ", less what the salient codes predict of them" if erase else ""
    return f"The common space holds all principal components of the training volumes{erased}."


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


_NO_VIEWS: dict[str, Any] = {
    "crop_probability": 0.0,
    "affine_probability": 0.0,
    "flip_probability": 0.0,
    "blur_probability": 0.0,
    "noise_probability": 0.0,
    "cutout_probability": 0.0,
}


class CVAESettings(TrainedSettings):
    """A contrastive-analysis variational autoencoder (Abid and Zou, 2019). All its terms are sums, as released."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Abid A, Zou J (2019). Contrastive variational autoencoder enhances salient features.",
            "https://arxiv.org/abs/1902.04601",
        ),
    )
    own_choices: ClassVar[str] = (
        "Networks for volumes are choices of this implementation, since the authors published none."
    )
    source: ClassVar[str] = "cVAE (Abid and Zou, 2019)"
    augmented: ClassVar[bool] = False

    augmentation: dict[str, Any] = Field(
        _NO_VIEWS,
        description="Keys of `augmentation` that differ. None happens by default: the released code reconstructs "
        "the images as they are.",
    )
    training: dict[str, Any] = Field(
        {"learning_rate": 1e-4},
        description="Keys of `training` that differ. Learning rate 1e-4: the authors' other VBM code; SepVAE's "
        "released 1e-3 is for 64² images.",
    )
    common_dim: int = Field(32, ge=1, description="Dimensions of the common space. Our choice: as many as SepCLR's.")
    salient_dim: int = Field(32, ge=1, description="Dimensions of the salient space. Our choice: as many as SepCLR's.")
    beta: float = Field(
        1.0, ge=0, description="Of both divergences from the prior. 1: the evidence bound itself (Abid and Zou)."
    )

    def weights(self) -> str:
        """The terms beside the reconstruction, with their weights, in words."""
        return f"both divergences {self.beta:g}"

    def describe(self, **options: Any) -> str:
        return (
            f"{self.source} was trained with two encoders, giving a common representation of {self.common_dim} and a "
            f"salient one of {self.salient_dim} dimensions, and one decoder, which is given zeros for controls' "
            "salient part. The loss sums, over voxels, dimensions and people, the squared error of reconstruction and, "
            f"by weight: {self.weights()}."
        )


class ConVAESettings(CVAESettings):
    """cVAE with a total correlation between the spaces of patients (Aglinskas et al., 2022)."""

    references: ClassVar[tuple[Reference, ...]] = (
        *CVAESettings.references,
        Reference(
            "Aglinskas A, Hartshorne JK, Anzellotti S (2022). Contrastive machine learning reveals the structure of "
            "neuroanatomical variation within autism. Science 376:1070–1074.",
            "https://doi.org/10.1126/science.abm2461",
        ),
    )
    source: ClassVar[str] = "conVAE (Aglinskas et al., 2022)"

    kappa: float = Field(
        10.0, ge=0, description="Of the total correlation. 10: pneumonia in SepVAE's rerun, its medical data set."
    )
    estimator_width: int = Field(64, ge=1, description="Hidden units of the discriminator. Our choice.")
    estimator_steps: int = Field(
        1, ge=1, description="Steps of the discriminator a batch. 1: alternation, as released."
    )
    estimator_learning_rate: float = Field(
        1e-3, gt=0, description="Of the discriminator's Adam. Our choice: Adam's usual one, above the encoders'."
    )

    def weights(self) -> str:
        return (
            f"{super().weights()}, total correlation {self.kappa:g}, estimated by a discriminator with "
            f"{self.estimator_width} hidden units that took {counted(self.estimator_steps, 'step')} a batch, learning "
            f"rate {self.estimator_learning_rate:g}"
        )


class MMcVAESettings(CVAESettings):
    """cVAE with matched moments of the groups (Weinberger et al., 2022)."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Weinberger E, Beebe-Wang N, Lee SI (2022). Moment matching deep contrastive latent variable models. "
            "AISTATS.",
            "https://arxiv.org/abs/2202.10560",
        ),
    )
    source: ClassVar[str] = "MM-cVAE (Weinberger et al., 2022)"

    common_matching: float = Field(
        1e4, ge=0, description="l1, of the MMD between the groups' common codes. Released by the authors: 1e4."
    )
    salient_matching: float = Field(
        1e3, ge=0, description="l2, of the MMD between controls' salient codes and 0. Released by the authors: 1e3."
    )

    def weights(self) -> str:
        return (
            f"{super().weights()}, MMD between the groups' common codes {self.common_matching:g}, MMD between "
            f"controls' salient codes and zero {self.salient_matching:g}"
        )


class SepVAESettings(ConVAESettings):
    """SepVAE (Louiset et al., 2023). Released settings: pneumonia, 64²."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Louiset R, Duchesnay E, Grigis A, Dufumier B, Gori P (2023). SepVAE: a contrastive VAE to separate "
            "pathological patterns from healthy ones.",
            "https://arxiv.org/abs/2307.06206",
        ),
    )
    source: ClassVar[str] = "SepVAE (Louiset et al., 2023)"

    beta: float = Field(0.5, ge=0, description="beta_c, of the common divergence. Released: 0.5.")
    salient_beta: float = Field(0.1, ge=0, description="beta_s, of the salient divergence. Released: 0.1.")
    alpha: float = Field(20.0, gt=0, description="1 / variance of controls' salient prior. Released: 1/0.05.")
    kappa: float = Field(2.0, ge=0, description="Of the total correlation. Released: 2.")
    gamma: float = Field(
        5e-10,
        ge=0,
        description="Of the cross-entropy of patients against controls, read from the salient code. Released: 5e-10, "
        "which hardly moves anything.",
    )

    def weights(self) -> str:
        return (
            f"{super().weights().replace('both divergences', 'common divergence')}, salient divergence "
            f"{self.salient_beta:g} (precision of controls' prior {self.alpha:g}), classification of the groups from "
            f"the salient code {self.gamma:g}"
        )


class SimCLRSettings(TrainedSettings):
    """SimCLR (Chen et al., 2020): one space, no groups, to see what contrast between people alone finds."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Chen T, Kornblith S, Norouzi M, Hinton G (2020). A simple framework for contrastive learning of visual "
            "representations. ICML.",
            "https://arxiv.org/abs/2002.05709",
        ),
    )

    dim: int = Field(32, ge=1, description="Dimensions of the space. Our choice: as many as each of SepCLR's.")
    projector_width: int = Field(128, ge=1, description="Hidden units of the projector. As released with SepCLR.")
    temperature: float = Field(0.5, gt=0, description="tau. Our choice: SepCLR's, which the paper has for CIFAR too.")

    def describe(self, **options: Any) -> str:
        return (
            f"SimCLR (Chen et al., 2020) was trained without groups, with one encoder, giving {self.dim} dimensions, "
            f"and a projector with {self.projector_width} hidden units; temperature {self.temperature:g}."
        )


class SupervisedSettings(TrainedSettings):
    """A network that is told the diagnosis: what is there to be found."""

    dim: int = Field(32, ge=1, description="Dimensions before the classifier. Our choice: as many as SepCLR's.")

    def describe(self, **options: Any) -> str:
        return (
            f"A supervised network, one encoder giving {self.dim} dimensions and a linear classifier on them, was "
            "trained by the cross-entropy of patients against controls."
        )


class PCASettings(MethodSettings):
    """Principal components of the voxels: what needs no network."""

    dim: int = Field(32, ge=1, description="Components. Our choice: as many as each of SepCLR's spaces has.")

    def describe(self, **options: Any) -> str:
        return f"The first {self.dim} principal components of the training people's voxels."


class CPCASettings(MethodSettings):
    """Contrastive PCA (Abid et al., 2018)."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Abid A, Zhang MJ, Bagaria VK, Zou J (2018). Exploring patterns enriched in a dataset with contrastive "
            "principal component analysis. Nature Communications 9:2134.",
            "https://doi.org/10.1038/s41467-018-04608-8",
        ),
    )

    common_dim: int = Field(32, ge=1, description="Components of the common space. Our choice: as SepCLR's.")
    salient_dim: int = Field(32, ge=1, description="Components of the salient space. Our choice: as SepCLR's.")
    contrast: float = Field(
        1.0, ge=0, description="a, of the background's covariance. The paper tries many; 1, our choice, takes it as is."
    )

    def describe(self, **options: Any) -> str:
        return (
            f"Contrastive PCA (Abid et al., 2018): the salient space is the first {self.salient_dim} eigenvectors of "
            f"the patients' covariance minus {self.contrast:g} times the controls'; as common space, which the "
            f"original does not have, the first {self.common_dim} principal components of the controls were taken."
        )


class VoxelLinearSettings(MethodSettings):
    """The voxel-wise linear model: no reduction at all."""

    def describe(self, **options: Any) -> str:
        return (
            "The voxel-wise linear model: all principal component scores of the training people, turned so that each "
            "has the same variance; a linear probe with an L2 penalty on them is the probe on the voxels themselves."
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
    "sepclr-dcor": _sepclr("dcor", "distance correlation"),
    "sepclr-linear": MethodEntry("sepclr_neuro.methods.linear:LinearSepCLR", LinearSepCLRSettings, "SepCLR, linear"),
    "ridge-discriminant": MethodEntry(
        "sepclr_neuro.methods.linear:RidgeDiscriminant", RidgeDiscriminantSettings, "Ridge discriminant"
    ),
    "gcpca": MethodEntry(
        "sepclr_neuro.methods.linear:GeneralisedContrastivePCA", GCPCASettings, "Generalised contrastive PCA"
    ),
    "cvae": MethodEntry("sepclr_neuro.methods.ca_vae:CVAE", CVAESettings, "cVAE"),
    "convae": MethodEntry("sepclr_neuro.methods.ca_vae:ConVAE", ConVAESettings, "conVAE"),
    "mm-cvae": MethodEntry("sepclr_neuro.methods.ca_vae:MMcVAE", MMcVAESettings, "MM-cVAE"),
    "sepvae": MethodEntry("sepclr_neuro.methods.ca_vae:SepVAE", SepVAESettings, "SepVAE"),
    "simclr": MethodEntry("sepclr_neuro.methods.controls:SimCLR", SimCLRSettings, "SimCLR"),
    "supervised": MethodEntry("sepclr_neuro.methods.controls:Supervised", SupervisedSettings, "Supervised"),
    "pca": MethodEntry("sepclr_neuro.methods.controls:PCA", PCASettings, "PCA"),
    "cpca": MethodEntry("sepclr_neuro.methods.controls:ContrastivePCA", CPCASettings, "Contrastive PCA"),
    "voxel-linear": MethodEntry("sepclr_neuro.methods.controls:VoxelLinear", VoxelLinearSettings, "Voxel-wise linear"),
}
