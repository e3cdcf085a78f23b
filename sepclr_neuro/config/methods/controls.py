"""Settings of the methods to compare with, each default with its source."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from sepclr_neuro.config.methods.base import MethodSettings, TrainedSettings, TwoSpaceSettings
from sepclr_neuro.core.references import Reference

__all__ = ["CPCASettings", "PCASettings", "SimCLRSettings", "SupervisedSettings", "VoxelLinearSettings"]


class SimCLRSettings(TrainedSettings):
    """SimCLR (Chen et al., 2020): one space, no groups, to see what contrast between participants alone finds."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Chen T, Kornblith S, Norouzi M, Hinton G",
            2020,
            "A simple framework for contrastive learning of visual representations",
            "https://arxiv.org/abs/2002.05709",
            "ICML",
            kind="inproceedings",
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
    """A network trained on the diagnosis: how well it can be predicted at all."""

    dim: int = Field(32, ge=1, description="Dimensions before the classifier. Our choice: as many as SepCLR's.")

    def describe(self, **options: Any) -> str:
        return (
            f"A supervised network, one encoder giving {self.dim} dimensions and a linear classifier on them, was "
            "trained by the cross-entropy of patients against controls."
        )


class PCASettings(MethodSettings):
    """Principal components of the voxels, without a network."""

    dim: int = Field(32, ge=1, description="Components. Our choice: as many as each of SepCLR's spaces has.")

    def describe(self, **options: Any) -> str:
        return f"The first {self.dim} principal components of the training participants' voxels."


class CPCASettings(TwoSpaceSettings):
    """Contrastive PCA (Abid et al., 2018)."""

    references: ClassVar[tuple[Reference, ...]] = (
        Reference(
            "Abid A, Zhang MJ, Bagaria VK, Zou J",
            2018,
            "Exploring patterns enriched in a dataset with contrastive principal component analysis",
            "https://doi.org/10.1038/s41467-018-04608-8",
            "Nature Communications",
            "9",
            "2134",
            "article",
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
            "The voxel-wise linear model: all principal component scores of the training participants (at most the "
            "1,000 largest), turned so that each has the same variance; a linear probe with an L2 penalty on "
            "them is the probe on the voxels themselves."
        )
