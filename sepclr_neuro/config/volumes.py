"""The section `volumes` of ``config.yaml``."""

from __future__ import annotations

from pydantic import Field, field_validator

from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.config.section import Section

__all__ = ["Volumes"]


class Volumes(Section):
    """How a volume is brought to the grid that networks see. Nothing here is learned from participants."""

    shape: tuple[int, int, int] = Field(
        (128, 128, 128), description="Voxels after crop and pad, each a multiple of 16. The paper's: 128³."
    )
    resample_mm: float | None = Field(
        None, gt=0, description="Isotropic voxel size to resample to. Null: keep the volumes' own grid."
    )
    smoothing_mm: float = Field(
        0.0, ge=0, description="Gaussian FWHM in mm. 0, our choice: networks smooth as they learn; VBM uses 4 to 8."
    )
    tiv_column: CohortColumn | None = Field(
        None, description="Column of total intracranial volume in ml: volumes are scaled by 1500/TIV. Null: not."
    )
    maximum: float = Field(
        2.0, gt=0, le=1000, description="A voxel above it means another unit (0-255). Modulated maps may exceed 1."
    )

    @field_validator("shape")
    @classmethod
    def _divisible(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        for size in shape:
            if size < 32 or size % 16:
                raise ValueError(f"each size must be a multiple of 16 and at least 32, got {size}")
        return shape
