"""The section `subtypes` of ``config.yaml``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sepclr_neuro.config.section import Section

__all__ = ["Subtypes"]


class Subtypes(Section):
    """Whether held-out patients fall into kinds that differ from the controls in different directions."""

    clusters: list[Annotated[int, Field(ge=2, le=8)]] = Field(
        [], description="Numbers of kinds to look for, e.g. `[2, 3, 4]`. []: none are looked for."
    )
    nulls: int = Field(
        199, ge=19, description="Samples of patients of one kind, of either null; the smallest p is 1 / (nulls + 1)."
    )
    resamples: int = Field(20, ge=5, description="Subsamples of four fifths of the patients, for the stability.")
