"""The section `separation` of ``config.yaml``: the benchmark whose factors are known."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from sepclr_neuro.config.cohort import Cohort
from sepclr_neuro.config.columns import with_columns
from sepclr_neuro.config.configured import check_method
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.section import Name, Section
from sepclr_neuro.config.simulation import Implant, Simulation
from sepclr_neuro.config.standardisation import Standardisation
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import nearest

__all__ = ["Recipe", "Separation", "SeparationCohort"]


class SeparationCohort(Section):
    """A cohort with known factors, half of whose participants are held out."""

    cohort: Cohort = Field(Cohort(simulation=Simulation(participants=240)), description="Simulated or implanted.")
    volumes: Volumes = Field(Volumes(shape=(64, 64, 64)), description="The grid that networks see.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.cohort.source == "files":
            raise ValueError("cohort.source: `files` has no known factors; say `simulated` or `implanted`")
        object.__setattr__(self, "volumes", with_columns(self.volumes, "volumes", self.cohort.own_column))
        return self

    def describe(self) -> str:
        """Number of participants, effect and confounding of a cohort, for the heading of its table."""
        made = self.cohort.simulation or self.cohort.implant or Implant()
        size = f"{made.participants} participants, " if isinstance(made, Simulation) else ""
        return (
            f"{size}{made.disease_kind.replace('-', ' ')}, effect {made.disease_effect:g}, {made.disease_regions} "
            f"regions, site confounding {made.site_confounding:g}"
            + (f", unrecorded bias {made.unrecorded:g}" if made.unrecorded else "")
        )


class Recipe(Section):
    """A method with all that it is trained with. What it does not say is as in the run's own sections."""

    method: str = Field(description="As in `methods`.")
    settings: dict[str, Any] = Field({}, description="Of the method, as below its name in `methods`.")
    standardisation: Standardisation | None = Field(None, description="Null: the run's own.")


_VAES = ("cvae", "convae", "mm-cvae", "sepvae")


class Separation(Section):
    """How far recipes separate known factors; `snakemake separation` runs it."""

    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        [10, 11, 12], min_length=1, description="Of the cohorts and of the training: each seed is another cohort."
    )
    cohorts: dict[Name, SeparationCohort] = Field({"simulated": SeparationCohort()}, description="By name.")
    recipes: dict[Name, Recipe] = Field(
        {"sepclr-k-jem": Recipe(method="sepclr-k-jem")}
        | {name: Recipe(method=name) for name in (*_VAES, "supervised")},
        description="By name.",
    )
    reference: str | None = Field(None, description="The recipe that others are compared with. Null: the first.")

    @property
    def reference_recipe(self) -> str:
        return self.reference or next(iter(self.recipes))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, recipe in self.recipes.items():
            check_method(recipe.method, f"separation.recipes.{name}.method")
            if METHODS[recipe.method].settings.trained is False and recipe.settings.get("training"):
                raise ValueError(
                    f"separation.recipes.{name}.settings.training: {recipe.method} is not trained in epochs"
                )
        if self.reference is not None and self.reference not in self.recipes:
            raise ValueError(
                f"separation.reference: {self.reference!r} is no recipe.{nearest(self.reference, self.recipes)}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("separation.seeds: a seed is given twice")
        return self
