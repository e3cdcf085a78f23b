"""The section `augmentation` of ``config.yaml``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sepclr_neuro.config.section import Fraction, NotNegative, PositiveFraction, Section, ordered

__all__ = ["MOST_RAW_NOISE", "Augmentation"]

# Our choice: without standardisation, noise is added to grey matter of 0 to 1, which the default SDs would drown.
MOST_RAW_NOISE = 0.1


class Augmentation(Section):
    """Random changes that make two views of one volume. Ranges are ours, kinds are the authors' for VBM maps."""

    crop_probability: Fraction = Field(1.0, description="How often a view is cropped.")
    crop_scale: Annotated[tuple[PositiveFraction, PositiveFraction], AfterValidator(ordered)] = Field(
        (0.75, 1.0), description="Side of the random crop, as a share; resized back."
    )
    affine_probability: Fraction = Field(
        0.25, description="Rotation and shift. Not oftener, since a rotation costs more than all the rest."
    )
    rotation_degrees: float = Field(5.0, ge=0, le=45, description="Largest rotation about each axis.")
    translation_share: float = Field(0.03, ge=0, le=0.5, description="Largest shift, as a share of the side.")
    flip_probability: Fraction = Field(0.0, description="Left-right. Off: what a disease does need not be symmetric.")
    blur_probability: Fraction = Field(0.5, description="How often a view is blurred.")
    blur_sigma_voxels: Annotated[tuple[NotNegative, NotNegative], AfterValidator(ordered)] = Field(
        (0.1, 1.0), description="SD of the Gaussian blur, in voxels."
    )
    noise_probability: Fraction = Field(0.5, description="How often noise is added to a view.")
    noise_sd: float = Field(
        0.3,
        ge=0,
        description="Largest SD of Gaussian noise, in SDs of the input; with `standardisation.intensity: none` in raw "
        f"units of grey matter (0 to 1), and then {MOST_RAW_NOISE} at most.",
    )
    cutout_probability: Fraction = Field(0.5, description="How often a box of a view is set to 0.")
    cutout_share: Annotated[tuple[Fraction, Fraction], AfterValidator(ordered)] = Field(
        (0.1, 0.3), description="Side of the box set to 0, as a share of the side."
    )
