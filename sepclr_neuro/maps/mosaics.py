"""Static pictures of maps: slices of the MNI152 template, left on the left, as PNG and SVG."""

from __future__ import annotations

import base64
import io
from functools import cache
from html import escape
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from nilearn.datasets import load_mni152_template
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sepclr_neuro.core.storage import write_bytes, write_text
from sepclr_neuro.maps.slices import AXES, nearest

__all__ = ["mosaic", "prepare"]

# Slices of every mosaic, in mm of MNI space: the same ones in all, so that pictures can be compared.
CUTS_MM = {
    "z": (-40, -25, -10, 5, 20, 35, 50),
    "y": (-80, -60, -40, -20, 0, 20, 40),
    "x": (-55, -40, -25, 0, 25, 40, 55),
}
# The template's brain lies within.
BOX_MM = ((-73, 73), (-108, 75), (-72, 84))
# White on both sides of a slice, since brains of neighbouring slices would touch, or cut each other.
MARGIN_MM = 10
PIXEL_MM = 2
# From blue over white to red, which colour-blind readers can distinguish.
COLOURS = "RdBu_r"
# Of the picture, in pixels of the PNG and units of the SVG: all of it, its rows of slices, and the colour bar.
SIZE = (1200, 648)
ROW_WIDTH = 1056
FIRST_ROW, BELOW_ROW = 100, 36
BAR = (1080, 126, 14, 410)  # left, top, width, height
BAR_TIP = 16

_Floats = NDArray[np.floating]
_Colours = NDArray[np.uint8]


def mosaic(image: nibabel.Nifti1Image, path: Path, title: str, subtitle: str, unit: str) -> None:
    """Draws a map on slices of the MNI152 template, left on the left. Weak values let the anatomy through.

    Not by matplotlib, whose axes and letters take three times as long: a run has hundreds of these pictures.

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
    sheet = _Sheet()
    sheet.text(12, 30, title, size=18, bold=True)
    sheet.text(12, 58, subtitle, size=14)
    top = float(FIRST_ROW)
    for axis in CUTS_MM:
        top += _draw_row(sheet, top, axis, values, image.affine, bound) + BELOW_ROW
    _draw_bar(sheet, bound, unit)
    sheet.save(path)


def prepare() -> None:
    """Loads what every mosaic needs, the template and letters, in a process from which those that draw are forked."""
    for axis in CUTS_MM:
        _anatomy(axis)
    _Sheet().text(0, 0, "letters", size=14)


class _Sheet:
    """A white picture that is drawn twice at once: as pixels, and as SVG, in which letters stay letters."""

    def __init__(self) -> None:
        self._raster = Image.new("RGB", SIZE, "white")
        self._pen = ImageDraw.Draw(self._raster)
        self._vector: list[str] = []

    def text(self, x: float, y: float, text: str, *, size: int, anchor: str = "start", bold: bool = False) -> None:
        """One line, of which a point of the baseline is given: its ``start``, ``middle`` or ``end``."""
        text = " ".join(text.split())
        side = {"start": "l", "middle": "m", "end": "r"}[anchor]
        self._pen.text((x, y), text, fill="black", font=_font(size, bold), anchor=f"{side}s")
        weight = ' font-weight="bold"' if bold else ""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self._vector.append(f'<text {place} font-size="{size}"{weight}>{escape(text, quote=False)}</text>')

    def pixels(self, left: float, top: float, width: float, height: float, colours: _Colours) -> None:
        """A picture [down, right, 3], smoothly made as large as asked."""
        picture = Image.fromarray(colours)
        shown = picture.resize((round(width), round(height)), Image.Resampling.BICUBIC)
        self._raster.paste(shown, (round(left), round(top)))
        place = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
        content = base64.b64encode(_png(picture)).decode("ascii")
        self._vector.append(f'<image {place} preserveAspectRatio="none" xlink:href="data:image/png;base64,{content}"/>')

    def triangle(self, corners: list[tuple[float, float]], colour: _Colours) -> None:
        """Filled with a colour [3]."""
        self._pen.polygon(corners, fill=tuple(colour.tolist()))
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self._vector.append(f'<polygon points="{points}" fill="rgb({",".join(map(str, colour))})"/>')

    def save(self, path: Path) -> None:
        """Writes a PNG, and the SVG beside it."""
        width, height = SIZE
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Verdana, sans-serif">'
        )
        background = f'<rect width="{width}" height="{height}" fill="white"/>'
        write_bytes(path, _png(self._raster))
        write_text(path.with_suffix(".svg"), "\n".join([head, background, *self._vector, "</svg>\n"]))


def _png(picture: Image.Image) -> bytes:
    """Packed less than it could be, an eighth larger and in a third of the time."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """The letters of all other pictures, which matplotlib brings along."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def _coloured(values: _Floats, bound: float) -> _Floats:
    """The colour of each value between two bounds, [..., 3], from 0 to 1."""
    shades: _Floats = colormaps[COLOURS](Normalize(-bound, bound)(values))[..., :3]
    return shades


def _draw_row(
    sheet: _Sheet, top: float, axis: str, values: _Floats, affine: NDArray[np.float64], bound: float
) -> float:
    """All slices through one axis, as one picture, and what each is called.

    Returns:
        its height; what slices are called is below.
    """
    found = np.hstack(list(nearest(values, affine, _points_mm(axis))))
    opacity = np.clip(2 * np.abs(found) / bound, 0, 1)[..., None]
    picture = _anatomy(axis)[..., None] * (1 - opacity) + _coloured(found, bound) * opacity
    scale = ROW_WIDTH / found.shape[1]
    height = scale * found.shape[0]
    sheet.pixels(0, top, ROW_WIDTH, height, np.rint(255 * picture[::-1]).astype(np.uint8))
    cell = ROW_WIDTH / len(CUTS_MM[axis])
    for number, cut in enumerate(CUTS_MM[axis]):
        sheet.text(
            (number + 0.5) * cell,
            top + height + 16,
            f"{axis} = {cut}".replace("-", "\N{MINUS SIGN}"),
            size=14,
            anchor="middle",
        )
    if axis != "x":  # all slices of a row lie alike
        for side, at in (("L", 0.1), ("R", 0.9)):
            sheet.text(at * cell, top + 16, side, size=14, anchor="middle")
    return height


def _draw_bar(sheet: _Sheet, bound: float, unit: str) -> None:
    """The colours from the negative to the positive bound, with tips, since a few values are beyond."""
    left, top, width, height = BAR
    shades = np.rint(255 * _coloured(np.linspace(bound, -bound, 256), bound)).astype(np.uint8)
    sheet.pixels(left, top, width, height, shades[:, None])
    middle = left + width / 2
    for edge, tip, colour in ((top, top - BAR_TIP, shades[0]), (top + height, top + height + BAR_TIP, shades[-1])):
        sheet.triangle([(left, edge), (left + width, edge), (middle, tip)], colour)
    for tick in MaxNLocator(6).tick_values(-bound, bound):
        if abs(tick) > bound:
            continue
        at = top + height * (bound - tick) / (2 * bound)
        sheet.text(left + width + 8, at + 5, f"{tick:.6g}".replace("-", "\N{MINUS SIGN}"), size=14)
    sheet.text(SIZE[0] - 12, top - BAR_TIP - 14, unit, size=14, anchor="end")


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
    found = np.hstack(list(nearest(template.get_fdata(dtype=np.float32), template.affine, _points_mm(axis))))
    return np.where(found > 0, 0.3 + 0.7 * found, 1.0)
