"""The methods that ``config.yaml`` may name: their settings, each default with its source, and where they live.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = ["METHODS", "MethodEntry", "MethodSettings", "SepCLRSettings", "TrainedSettings"]


class Section(BaseModel):
    """A part of ``config.yaml``: unknown keys are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MethodSettings(Section):
    """What every method's settings can tell. Their keys are the method's own."""

    trained: ClassVar[bool] = False
    """Whether the sections `network`, `augmentation` and `training` apply to the method."""

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
    independence: Literal["none", "k-jem"] = Field("k-jem", description="The term between the two spaces.")
    independence_weight: float = Field(10.0, ge=0, description="lambda, of the independence term. Released: 10.")


@dataclass(frozen=True)
class MethodEntry:
    """One method: the class that implements it, as ``module:Class``, and the model of its settings."""

    implementation: str
    settings: type[MethodSettings]
    title: str

    def load(self) -> type:
        """Imports the implementation (and torch with it)."""
        module, name = self.implementation.split(":")
        return getattr(importlib.import_module(module), name)


METHODS: dict[str, MethodEntry] = {
    "sepclr-k-jem": MethodEntry("sepclr_neuro.methods.sepclr:SepCLR", SepCLRSettings, "SepCLR, k-JEM"),
}
