"""Static pictures of maps: slices of the MNI152 template, left on the left, as PNG and SVG."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from nilearn.datasets import load_mni152_template
from numpy.typing import NDArray

from sepclr_neuro.core.storage import atomic_path

__all__ = ["mosaic", "prepare"]

# Slices of every mosaic, in mm of MNI space: the same ones in all, so that pictures can be compared.
CUTS_MM = {
    "z": (-40, -25, -10, 5, 20, 35, 50),
    "y": (-80, -60, -40, -20, 0, 20, 40),
    "x": (-55, -40, -25, 0, 25, 40, 55),
}
# Of MNI space: what runs to the right, what runs up, and what a slice is cut through.
AXES = {"z": (0, 1, 2), "y": (0, 2, 1), "x": (1, 2, 0)}
# The template's brain lies within.
BOX_MM = ((-73, 73), (-108, 75), (-72, 84))
# White on both sides of a slice, since brains of neighbouring slices would touch, or cut each other.
MARGIN_MM = 10
PIXEL_MM = 2
# From blue over white to red, which colour-blind readers can distinguish.
COLOURS = "RdBu_r"

_Floats = NDArray[np.floating]


def mosaic(image: nibabel.Nifti1Image, path: Path, title: str, subtitle: str, unit: str) -> None:
    """Draws a map on slices of the MNI152 template, left on the left. Weak values let the anatomy through.

    nilearn's pictures of slices have an axis system each, which takes ten times as long.

    Args:
        image: the map, in MNI space.
        path: of the PNG; the SVG, whose letters are letters and whose rows of slices are pictures, lies beside it.
        title: any text; nothing in it is interpreted.
        subtitle: likewise.
        unit: of the colour bar.
    """
    values = np.nan_to_num(image.get_fdata(dtype=np.float32))
    strength = np.abs(values)
    # A few voxels of extreme value must not pale all others.
    bound = float(np.quantile(strength[strength > 0], 0.999)) if strength.any() else 1.0
    colour = ScalarMappable(Normalize(-bound, bound), colormaps[COLOURS])
    figure = Figure(figsize=(12, 6.8), facecolor="white")
    for row, axis in enumerate(CUTS_MM):
        _draw_row(figure, (0.0, 0.60 - 0.29 * row, 0.88, 0.27), axis, values, image.affine, colour, bound)
    figure.colorbar(colour, cax=figure.add_axes((0.9, 0.2, 0.012, 0.6)), extend="both", label=unit)
    figure.text(0.01, 0.955, title, fontsize=13, weight="bold", parse_math=False)
    figure.text(0.01, 0.915, subtitle, fontsize=10, parse_math=False)
    with atomic_path(path) as temporary:
        # Packed less than it could be, a tenth larger and in half of the time: a run has hundreds of them.
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    with (
        atomic_path(path.with_suffix(".svg")) as temporary,
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sepclr_neuro"}),
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def prepare() -> None:
    """Loads what every mosaic needs, the template and letters, in a process from which those that draw are forked."""
    for axis in CUTS_MM:
        _anatomy(axis)
    figure = Figure()
    figure.text(0, 0, "letters")
    figure.savefig(io.BytesIO(), format="png")


def _draw_row(
    figure: Figure,
    place: tuple[float, float, float, float],
    axis: str,
    values: _Floats,
    affine: NDArray[np.float64],
    colour: ScalarMappable,
    bound: float,
) -> None:
    """All slices through one axis, as one picture, and what each is called."""
    found = np.hstack(list(_nearest(values, affine, _points_mm(axis))))
    opacity = np.clip(2 * np.abs(found) / bound, 0, 1)[..., None]
    picture = _anatomy(axis)[..., None] * (1 - opacity) + colour.to_rgba(found)[..., :3] * opacity
    picture = np.rint(255 * picture).astype(np.uint8)
    height, width = found.shape
    row = figure.add_axes(place)
    row.set_axis_off()
    row.imshow(picture, origin="lower", extent=(0, width, 0, height), aspect="auto", interpolation="none")
    # As many mm an inch up as to the right.
    shown = width * (place[3] * figure.get_figheight()) / (place[2] * figure.get_figwidth())
    row.set(xlim=(0, width), ylim=((height - shown) / 2, (height + shown) / 2))
    cell = width / len(CUTS_MM[axis])
    for number, cut in enumerate(CUTS_MM[axis]):
        row.text(number * cell, 0, f"{axis}={cut}", fontsize=12)
        if axis != "x" and number == 0:  # all slices of a row lie alike
            for side, at in (("L", 0.1), ("R", 0.9)):
                row.text((number + at) * cell, height - MARGIN_MM / PIXEL_MM, side, fontsize=12, ha="center", va="top")


@cache
def _points_mm(axis: str) -> NDArray[np.float64]:
    """MNI coordinates of the pixels of an axis's slices, [slices, up, right, 3]."""
    right, up, through = AXES[axis]
    cuts = np.array(CUTS_MM[axis])
    ups = np.arange(BOX_MM[up][0], BOX_MM[up][1] + 1, PIXEL_MM)
    rights = np.arange(BOX_MM[right][0] - MARGIN_MM, BOX_MM[right][1] + MARGIN_MM + 1, PIXEL_MM)
    points = np.empty((len(cuts), len(ups), len(rights), 3))
    points[..., through], points[..., up], points[..., right] = np.meshgrid(cuts, ups, rights, indexing="ij")
    return points


@cache
def _anatomy(axis: str) -> _Floats:
    """The template's slices side by side, [up, right]: light greys, so that colours show; white around the brain."""
    template = load_mni152_template(resolution=1)
    found = np.hstack(list(_nearest(template.get_fdata(dtype=np.float32), template.affine, _points_mm(axis))))
    return np.where(found > 0, 0.3 + 0.7 * found, 1.0)


def _nearest(values: _Floats, affine: NDArray[np.float64], points: NDArray[np.float64]) -> _Floats:
    """The values [X, Y, Z] of the voxels in which points [..., 3] in mm lie; 0 outside."""
    inverse = np.linalg.inv(affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((voxels >= 0) & (voxels < values.shape)).all(-1)
    return np.where(inside, values[tuple(np.moveaxis(np.where(inside[..., None], voxels, 0), -1, 0))], 0)
