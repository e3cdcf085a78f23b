"""The settings that every method has."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.config.section import Section
from sepclr_neuro.core.references import Reference

__all__ = ["MethodSettings", "TrainedSettings", "TwoSpaceSettings"]


class MethodSettings(Section):
    """Settings of a method, with what texts and training need of them. Their keys are the method's own."""

    augmented: ClassVar[bool] = False
    """Whether it sees images as random views."""

    trained: ClassVar[bool] = False
    """Whether the sections `network`, `augmentation` and `training` apply to the method."""

    references: ClassVar[tuple[Reference, ...]] = ()
    """Publications to cite with the method."""

    own_choices: ClassVar[str] = ""
    """A sentence on the networks that are this project's own choice, which a text says once for all methods."""

    def describe(self, **options: Any) -> str:
        """The method in sentences for a methods section; one that is true of several methods is the same in all.

        Args:
            options: those of the method's registry entry.
        """
        raise NotImplementedError

    @property
    def trainings(self) -> int:
        """How many times the method is trained in each fold."""
        return 1

    def columns(self) -> dict[str, Literal["continuous", "discrete"]]:
        """The cohort's columns that the method learns from beside volumes and groups, and how they are to be taken."""
        return {}


class TwoSpaceSettings(MethodSettings):
    """A method with a common and a salient space."""

    effects_of_controls: ClassVar[bool] = False
    """Whether covariates' effects are learned from the controls alone, in place of within groups."""

    adjust_for: list[CohortColumn] | None = Field(
        None,
        description="Columns of the cohort that the salient space is adjusted for, within groups; by default those of "
        "the key `adjust_for` of the configuration. Published forms adjust for nothing: `[]`.",
    )
    erase: bool = Field(
        True,
        description="Whether what the salient codes predict of the common space (least squares) is removed from it. "
        "Published forms erase nothing: `false`.",
    )


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
