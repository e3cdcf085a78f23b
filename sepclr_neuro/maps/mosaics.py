"""Static pictures of maps: slices of the MNI152 template, left on the left, as PNG and SVG."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from nilearn import plotting
from nilearn.datasets import load_mni152_template

from sepclr_neuro.core.storage import atomic_path
from sepclr_neuro.data.volumes import as_image

__all__ = ["mosaic"]

# Slices of every mosaic, in mm of MNI space: the same ones in all, so that pictures can be compared.
CUTS_MM = {
    "z": (-40, -25, -10, 5, 20, 35, 50),
    "y": (-80, -60, -40, -20, 0, 20, 40),
    "x": (-55, -40, -25, 0, 25, 40, 55),
}
# White on both sides of a slice, since brains of neighbouring slices would touch, or cut each other.
MARGIN_MM = 10.0
# From blue over white to red, which colour-blind readers tell apart.
COLOURS = "RdBu_r"


def mosaic(image: nibabel.Nifti1Image, path: Path, title: str, subtitle: str, unit: str) -> None:
    """Draws a map on slices of the MNI152 template, left on the left. Weak values let the anatomy through.

    Args:
        image: the map, in MNI space.
        path: of the PNG; the SVG, whose letters are letters and whose slices are pictures, lies beside it.
        title: any text; nothing in it is interpreted.
        subtitle: likewise.
        unit: of the colour bar.
    """
    strength = np.abs(image.get_fdata(dtype=np.float32))
    # A few voxels of extreme value must not pale all others.
    bound = float(np.quantile(strength[strength > 0], 0.999)) if strength.any() else 1.0
    # nilearn refuses an opacity that is 0 everywhere.
    opacity = as_image(np.clip(2 * strength / bound, 0, 1), image.affine) if strength.any() else None
    figure = Figure(figsize=(12, 6.8), facecolor="white")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="empty mask")  # a map of zeros
        background = load_mni152_template(resolution=2)
        for row, (axis, cuts) in enumerate(CUTS_MM.items()):
            display = plotting.plot_stat_map(
                image,
                bg_img=background,
                display_mode=axis,
                cut_coords=cuts,
                figure=figure,
                axes=figure.add_axes((0.0, 0.60 - 0.29 * row, 0.88, 0.27)),
                colorbar=False,
                cmap=COLOURS,
                vmin=-bound,
                vmax=bound,
                transparency=opacity,
                transparency_range=[0, 1],
                black_bg=False,
                radiological=False,
            )
            for cut in display.axes.values():
                left, right = cut.ax.get_xlim()
                cut.ax.set_xlim(left - MARGIN_MM, right + MARGIN_MM)
    bar = ScalarMappable(Normalize(-bound, bound), colormaps[COLOURS])
    figure.colorbar(bar, cax=figure.add_axes((0.9, 0.2, 0.012, 0.6)), extend="both", label=unit)
    figure.text(0.01, 0.955, title, fontsize=13, weight="bold", parse_math=False)
    figure.text(0.01, 0.915, subtitle, fontsize=10, parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
    with (
        atomic_path(path.with_suffix(".svg")) as temporary,
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sepclr_neuro"}),
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None})
