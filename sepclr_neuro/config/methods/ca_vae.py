"""Settings of contrastive-analysis autoencoders, each default with its source."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from sepclr_neuro.config.methods.base import TrainedSettings, TwoSpaceSettings
from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.words import counted

__all__ = ["CVAESettings", "ConVAESettings", "MMcVAESettings", "SepVAESettings"]

_NO_VIEWS: dict[str, Any] = {
    "crop_probability": 0.0,
    "affine_probability": 0.0,
    "flip_probability": 0.0,
    "blur_probability": 0.0,
    "noise_probability": 0.0,
    "cutout_probability": 0.0,
}


class CVAESettings(TrainedSettings, TwoSpaceSettings):
    """A contrastive-analysis variational autoencoder (Abid and Zou, 2019). All its terms are sums, as released."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Abid A, Zou J",
            2019,
            "Contrastive variational autoencoder enhances salient features",
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
            "salient part. The loss sums, over voxels, dimensions and participants, the squared error of "
            f"reconstruction and, by weight: {self.weights()}."
        )


class ConVAESettings(CVAESettings):
    """cVAE with a total correlation between the spaces of patients (Aglinskas et al., 2022)."""

    references: ClassVar[tuple[Reference, ...]] = (
        *CVAESettings.references,
        Reference(
            "Aglinskas A, Hartshorne JK, Anzellotti S",
            2022,
            "Contrastive machine learning reveals the structure of neuroanatomical variation within autism",
            "https://doi.org/10.1126/science.abm2461",
            "Science",
            "376",
            "1070–1074",
            "article",
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
            "Weinberger E, Beebe-Wang N, Lee SI",
            2022,
            "Moment matching deep contrastive latent variable models",
            "https://arxiv.org/abs/2202.10560",
            "AISTATS",
            kind="inproceedings",
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
            "Louiset R, Duchesnay E, Grigis A, Dufumier B, Gori P",
            2023,
            "SepVAE: a contrastive VAE to separate pathological patterns from healthy ones",
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
        description="Of the cross-entropy of patients against controls, predicted from the salient code. Released: "
        "5e-10, which hardly moves anything.",
    )

    def weights(self) -> str:
        return (
            f"{super().weights().replace('both divergences', 'common divergence')}, salient divergence "
            f"{self.salient_beta:g} (precision of controls' prior {self.alpha:g}), classification of the groups from "
            f"the salient code {self.gamma:g}"
        )
