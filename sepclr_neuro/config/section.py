"""The model of every section, and the kinds of values that several use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["NAME", "Fraction", "Name", "NotNegative", "PlainPath", "PositiveFraction", "Range", "Section", "ordered"]


class Section(BaseModel):
    """A part of ``config.yaml``: unknown keys are errors, values do not change after validation.

    A number where text is expected, such as the code 1 of a table, is the text that was written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


def ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuses bounds of which the upper one comes first."""
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]} is above the upper bound {bounds[1]}; swap them")
    return bounds


def _without_braces(path: Path) -> Path:
    if {"{", "}"} & {*str(path)}:
        raise ValueError(
            f"the path {path} holds braces, which Snakemake takes for wildcards; rename the folder or file"
        )
    return path


PlainPath = Annotated[Path, AfterValidator(_without_braces)]
Range = Annotated[tuple[float, float], AfterValidator(ordered)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME)]
