"""The section `site_leakage` of ``config.yaml``."""

from __future__ import annotations

from pydantic import Field

from sepclr_neuro.config.section import Section

__all__ = ["SiteLeakage"]


class SiteLeakage(Section):
    """How much of the site each space tells, and how far the spaces depend on each other."""

    voxel_components: int | None = Field(
        32,
        ge=1,
        description="Principal components of training people's voxels that the site is read from too, for comparison. "
        "Null: not, which saves reading all volumes twice a fold.",
    )
    combat: bool = Field(
        False,
        description="Also read site and diagnosis after ComBat, fitted on training people, which needs the extra "
        "`combat` of this package. It is not told the diagnosis; where sites differ in their share of patients, it "
        "therefore removes disease with site (Nieto et al. 2024, arXiv 2410.19643).",
    )
