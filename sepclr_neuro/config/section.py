"""The model of every section, and the kinds of values that several use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = [
    "NAME",
    "Fraction",
    "Name",
    "NotNegative",
    "PlainPath",
    "PositiveFraction",
    "Range",
    "Section",
    "WrongKeyError",
    "ordered",
]


class WrongKeyError(ValueError):
    """One key of a section does not suit another; the message about it names the key's whole path.

    Attributes:
        key: its path from the section.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Section(BaseModel):
    """A part of ``config.yaml``: unknown keys are errors, values do not change after validation.

    A number where text is expected, such as the code 1 of a table, is the text that was written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, given: Any, info: ValidationInfo) -> Any:
        """To Python ``true`` is 1: `epochs: true` would train for one epoch."""
        if info.field_name is not None and any(value is True or value is False for value in _values(given)):
            kinds = _kinds(cls.model_fields[info.field_name].annotation)
            if (int in kinds or float in kinds) and not (bool in kinds or str in kinds or Any in kinds):
                raise ValueError(
                    f"expected a number, got {json.dumps(given)}; YAML takes true and false for truth values"
                )
        return given


def _values(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation is made of."""
    inner = get_args(annotation)
    return [kind for one in inner for kind in _kinds(one)] if inner else [annotation]


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
