"""Known effects on grey matter: where they are, how large they are, and their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nilearn.datasets import load_mni152_gm_template
from nilearn.image import resample_img, smooth_img
from numpy.typing import NDArray

from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.grid import BRAIN_BOX_MM, grid_affine

__all__ = [
    "AGE",
    "AGE_GLOBAL_LOSS",
    "AGE_REGIONAL_LOSS",
    "DISEASE",
    "DISEASE_REGIONS",
    "NOISE_SD",
    "SEX",
    "SEX_DIFFERENCE",
    "SITE_FWHM",
    "SITE_SD",
    "VARIATION",
    "Array",
    "Region",
    "disease_maps",
    "grey_template",
    "region_map",
    "simulated_grid",
]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """An ellipsoid on each side of the brain, full effect in its middle and none from its surface on.

    ``centre`` is the right one's, ``radii`` are its half-axes, both in mm of MNI space (x right, y front, z up).
    ``left`` and ``right`` are the relative sizes of the effect on the two sides.
    """

    name: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    left: float
    right: float


# `left` and `right` are Cohen's d of schizophrenia, patients minus controls, as published by ENIGMA and distributed
# with the ENIGMA Toolbox (BSD-3-Clause; Larivière et al. 2021, Nature Methods 18:698): cortical thickness from
# van Erp et al. 2018 (Biological Psychiatry 84:644), subcortical volume from van Erp et al. 2016 (Molecular Psychiatry
# 21:547). Names are FreeSurfer's, centres and radii are ours. Which region belongs to which kind of symptom is a
# simplification of ours too, so that the two kinds differ.
DISEASE_REGIONS: dict[str, dict[str, tuple[Region, ...]]] = {
    "frontal-temporal": {
        "disease_negative": (
            Region("insula", (38, 6, 0), (10, 19, 14), -0.408, -0.406),
            Region("superiorfrontal", (9, 46, 30), (10, 20, 22), -0.425, -0.397),
            Region("rostralanteriorcingulate", (6, 36, 4), (7, 12, 12), -0.182, -0.120),
            Region("lateralorbitofrontal", (28, 32, -14), (14, 14, 9), -0.398, -0.358),
            Region("parsopercularis", (50, 16, 16), (11, 12, 14), -0.375, -0.424),
            Region("thalamusproper", (12, -19, 8), (10, 14, 9), -0.300, -0.270),
        ),
        "disease_positive": (
            Region("superiortemporal", (58, -18, 2), (11, 28, 11), -0.440, -0.438),
            Region("middletemporal", (60, -34, -10), (10, 24, 9), -0.444, -0.379),
            Region("hippocampus", (27, -22, -15), (9, 17, 9), -0.430, -0.430),
            Region("amygdala", (23, -4, -19), (8, 7, 8), -0.300, -0.270),
            Region("fusiform", (38, -52, -17), (10, 24, 9), -0.491, -0.536),
        ),
    },
    # For methods that were chosen on the first pattern to be judged on another one.
    "parietal-occipital": {
        "disease_negative": (
            Region("inferiorparietal", (44, -56, 42), (12, 18, 14), -0.362, -0.348),
            Region("supramarginal", (56, -34, 34), (11, 16, 14), -0.395, -0.386),
            Region("precuneus", (9, -62, 42), (10, 16, 18), -0.301, -0.304),
            Region("posteriorcingulate", (6, -38, 32), (7, 16, 10), -0.298, -0.310),
            Region("caudalmiddlefrontal", (38, 12, 50), (12, 16, 12), -0.363, -0.317),
        ),
        "disease_positive": (
            Region("lateraloccipital", (34, -86, 4), (14, 12, 18), -0.331, -0.342),
            Region("lingual", (14, -72, -4), (11, 20, 9), -0.349, -0.386),
            Region("cuneus", (9, -82, 22), (8, 12, 16), -0.203, -0.226),
            Region("parahippocampal", (24, -34, -14), (9, 14, 9), -0.277, -0.285),
            Region("postcentral", (44, -26, 54), (14, 12, 16), -0.261, -0.281),
        ),
    },
}
# The other two pairs, for diseases that share a part.
_FRONTAL_TEMPORAL, _PARIETAL_OCCIPITAL = DISEASE_REGIONS["frontal-temporal"], DISEASE_REGIONS["parietal-occipital"]
DISEASE_REGIONS |= {
    "frontal-occipital": _FRONTAL_TEMPORAL | {"disease_positive": _PARIETAL_OCCIPITAL["disease_positive"]},
    "parietal-temporal": _PARIETAL_OCCIPITAL | {"disease_positive": _FRONTAL_TEMPORAL["disease_positive"]},
}
DISEASE = ("disease_negative", "disease_positive")

# Regions of faster loss with age, after Good et al. 2001 (NeuroImage 14:21). Relative sizes are ours.
AGE = (
    Region("insula", (38, 6, 0), (10, 19, 14), -1.0, -1.0),
    Region("superior parietal", (26, -58, 56), (18, 18, 14), -1.0, -1.0),
    Region("central sulcus", (40, -22, 52), (16, 14, 18), -1.0, -1.0),
    Region("cingulate sulcus", (7, 14, 40), (8, 26, 12), -0.8, -0.8),
)

# Regions of more (positive) or less grey matter in men, after Ruigrok et al. 2014 (Neuroscience & Biobehavioral
# Reviews 39:34). Relative sizes are ours.
SEX = (
    Region("amygdala and hippocampus", (25, -12, -18), (9, 16, 9), 1.0, 1.0),
    Region("putamen", (26, 4, 2), (8, 16, 10), 0.8, 0.8),
    Region("cerebellum", (24, -62, -34), (18, 16, 12), 0.8, 0.8),
    Region("frontal pole", (26, 58, 6), (14, 12, 16), -1.0, -1.0),
    Region("pars triangularis", (48, 30, 8), (11, 12, 12), -0.8, -0.8),
)

# Sizes of effects on log grey matter, set once by what a voxel-wise linear model finds, never by what a network finds:
# the aims and the figures are in docs/simulated_cohort.md.
DISEASE_LOSS = 0.23  # at Cohen's d = 1 and severity 1, the mean of patients
AGE_GLOBAL_LOSS = 0.003  # a year
AGE_REGIONAL_LOSS = 0.009  # a year, on top, in the middle of a region
SEX_DIFFERENCE = 0.13  # beyond head size, in the middle of a region
SITE_SD = 0.02  # of a site's smooth bias
SITE_FWHM = 50.0  # mm
TEXTURE_FWHM = 8.0  # mm, of what a disease of the texture varies

VARIATION = ((8.0, 0.06), (20.0, 0.08))  # (FWHM in mm, SD on log grey matter) of individual anatomy
NOISE_SD = 0.02  # of measurement, a voxel
BRAIN = 0.05  # template's grey matter above which there are effects and noise


# --- maps ------------------------------------------------------------------------------------------------------


def simulated_grid(settings: Volumes) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine of simulated volumes: what the volumes stage makes of them, so that it changes no voxel.

    A voxel measures ``resample_mm``, or else 192 mm over the smallest size: 1.5 mm at 128, 3 mm at 64, 6 mm at 32.

    Raises:
        InputError: if the brain does not fit.
    """
    size = settings.resample_mm or 192 / min(settings.shape)
    if np.any(size * np.array(settings.shape) < BRAIN_BOX_MM):
        raise InputError(
            f"volumes.resample_mm: {settings.shape} voxels of {size:g} mm do not hold the brain "
            f"({BRAIN_BOX_MM} mm); set it to {192 / min(settings.shape):g} or enlarge volumes.shape"
        )
    return settings.shape, grid_affine(settings.shape, size)


def grey_template(shape: Sequence[int], affine: NDArray[np.float64]) -> Array:
    """The MNI152 grey-matter template (ICBM152 symmetric 2009a, of nilearn) on a grid, in 0 to 1, small values 0."""
    image = smooth_img(load_mni152_gm_template(), float(affine[0, 0]))
    image = resample_img(image, affine, shape, interpolation="linear", copy_header=True, force_resample=True)
    template = image.get_fdata(dtype=np.float32)
    return np.where(template > BRAIN, np.clip(template, 0, 1), 0).astype(np.float32)


def region_map(regions: Sequence[Region], shape: Sequence[int], affine: NDArray[np.float64]) -> Array:
    """Relative size of an effect, [X, Y, Z]: where ellipsoids overlap, the stronger of them. The affine is diagonal."""
    x, y, z = (affine[axis, 3] + affine[axis, axis] * np.arange(shape[axis]) for axis in range(3))
    effect = np.zeros(shape, np.float32)
    for region in regions:
        for side, size in ((-1, region.left), (1, region.right)):
            squared = (
                (((x - side * region.centre[0]) / region.radii[0]) ** 2)[:, None, None]
                + (((y - region.centre[1]) / region.radii[1]) ** 2)[None, :, None]
                + (((z - region.centre[2]) / region.radii[2]) ** 2)[None, None, :]
            )
            bump = (size * np.clip(1 - squared, 0, None)).astype(np.float32)
            effect = np.where(np.abs(bump) > np.abs(effect), bump, effect)
    return effect


def disease_maps(
    template: Array, affine: NDArray[np.float64], disease_effect: float, regions: str = "frontal-temporal"
) -> dict[str, Array]:
    """Change of log grey matter at severity 1, [X, Y, Z] for each kind of symptom.

    Args:
        template: of :func:`grey_template`, [X, Y, Z]; there is no effect where it is 0.
        affine: of the template, diagonal, [4, 4].
        disease_effect: multiplies the calibrated size; 0 gives maps of 0.
        regions: a key of ``DISEASE_REGIONS``.
    """
    brain = template > 0
    return {
        name: (disease_effect * DISEASE_LOSS * brain * region_map(where, template.shape, affine)).astype(np.float32)
        for name, where in DISEASE_REGIONS[regions].items()
    }
