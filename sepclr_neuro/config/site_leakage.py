"""The section `site_leakage` of ``config.yaml``."""

from __future__ import annotations

from pydantic import Field

from sepclr_neuro.config.section import Section

__all__ = ["SiteLeakage"]


class SiteLeakage(Section):
    """How well probes predict the site from each space, and how far the spaces depend on each other."""

    voxel_components: int | None = Field(
        32,
        ge=1,
        description="Principal components of training participants' voxels, from which the site is predicted too. "
        "Null: not, which saves reading all volumes twice a fold.",
    )
    combat: bool = Field(
        False,
        description="Also predict site and diagnosis after ComBat, fitted on training participants, which needs the "
        "extra `combat` of this package. It does not use the diagnosis; where sites differ in their share of patients, "
        "it therefore removes disease with site (Nieto et al. 2024, arXiv 2410.19643).",
    )
