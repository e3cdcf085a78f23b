"""Pictures and viewers as text that an HTML page can hold, and as files for a paper: nothing is ever fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from nilearn import plotting

from sepclr_neuro.storage import atomic_path
from sepclr_neuro.volumes import as_image

__all__ = ["FAINT", "INK", "MANY_POINTS", "SPACE_COLOURS", "Picture", "data_uri", "drawn", "picture_file", "viewer"]

# Okabe and Ito's colours, which colour-blind readers tell apart.
SPACE_COLOURS = {"common": "#0072b2", "salient": "#d55e00", "single": "#6e7781"}
INK = "#1f2328"
FAINT = "#d0d7de"
# From here on points are pixels in the SVG, so that its size does not grow with the cohort.
MANY_POINTS = 150
# What each colour of a chart is on a dark page; no other colour of a chart may be one of the keys.
_DARK = {"#0072b2": "#56b4e9", "#d55e00": "#e69f00", "#6e7781": "#9aa4af", INK: "#e6edf3", FAINT: "#3d444d"}
_STYLE: Any = {
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "svg.hashsalt": "sepclr_neuro",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Picture:
    """One picture for a page and for a paper.

    Attributes:
        light: data URI for a light page and for paper.
        dark: data URI for a dark page.
        alt: what it shows, in words.
        files: by suffix, the content of the files that :meth:`save` writes.
    """

    light: str
    dark: str
    alt: str
    files: dict[str, bytes] = field(default_factory=dict, repr=False)

    def save(self, folder: Path, name: str) -> None:
        """Writes ``<name>.svg`` and ``<name>.png``, as far as the picture has them, into a folder."""
        for suffix, content in self.files.items():
            with atomic_path(folder / f"{name}.{suffix}") as temporary:
                temporary.write_bytes(content)


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a URI of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def drawn(draw: Callable[[], Figure], alt: str) -> Picture:
    """Draws a chart, vector and PNG, on white for paper; equal input gives equal bytes.

    The chart for a dark page is the same drawing in other colours, since drawing twice takes twice as long.
    """
    with matplotlib.rc_context(_STYLE):
        figure = draw()
        vector, raster = io.BytesIO(), io.BytesIO()
        figure.savefig(vector, format="svg", transparent=True, dpi=150, metadata={"Date": None})
        # What was laid out stays where it is: to find the places takes longer than to draw.
        figure.set_layout_engine("none")
        figure.savefig(raster, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    light = vector.getvalue()
    dark = light
    for on_white, on_black in _DARK.items():
        dark = dark.replace(on_white.encode(), on_black.encode())
    kind = "image/svg+xml"
    return Picture(data_uri(light, kind), data_uri(dark, kind), alt, {"svg": light, "png": raster.getvalue()})


def picture_file(path: Path, alt: str) -> Picture:
    """A PNG file as it is, for both themes."""
    uri = data_uri(path.read_bytes(), "image/png")
    return Picture(uri, uri, alt)


def viewer(path: Path, description: str) -> str:
    """An interactive viewer of a map's strongest tenth on the MNI template, as a frame that needs no network.

    Args:
        path: a NIfTI map.
        description: what a screen reader says; the viewer itself is given no text, since nilearn does not escape it.

    Returns:
        HTML, or an empty string for a map without any value to show.
    """
    image = nib.nifti1.load(path)
    values = image.get_fdata(dtype=np.float32)
    strength = np.abs(values[values != 0])
    if not strength.size:
        return ""
    # In parts of what ends the picture's colour bar: the viewer prints few digits, and the values are small.
    limit, shown = np.quantile(strength, 0.999), np.quantile(strength, 0.9)
    relative = as_image(values / limit, image.affine)
    view = plotting.view_img(relative, threshold=shown / limit, vmax=1, cmap="RdBu_r", black_bg=True, title=None)
    view.html = view.html.replace("<head>", "<head><style>body{margin:0;background:#000}</style>", 1)
    frame = view.get_iframe()
    size = f'style="aspect-ratio: {view.width} / {view.height}" title="{escape(description, quote=True)}"'
    return frame.replace("<iframe ", f'<iframe class="viewer" {size} ', 1)
