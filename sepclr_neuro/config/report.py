"""The section `report` of ``config.yaml``."""

from __future__ import annotations

from pydantic import Field

from sepclr_neuro.config.section import Section

__all__ = ["Report"]


class Report(Section):
    """The HTML report."""

    viewers: int = Field(6, ge=0, description="Most interactive viewers to embed; further maps are static pictures.")
    maps: int = Field(
        24, ge=0, description="Most maps of the page `maps.html`, to bound its size and time; further ones are listed."
    )
    participant_ids: bool = Field(
        False,
        description="Whether the page lists the ids of excluded participants and offers each prediction with its "
        "scan id. Off, so that it can be sent around.",
    )
