"""Pictures and viewers as text that an HTML page can hold, and as files for a paper: nothing is ever fetched."""

from __future__ import annotations

import base64
import gc
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation
from nibabel.nifti1 import Nifti1Image
from nilearn import plotting
from numpy.typing import NDArray
from PIL import Image

from sepclr_neuro.core.storage import atomic_path
from sepclr_neuro.data.images import as_image

__all__ = [
    "FAINT",
    "INK",
    "SPACE_COLOURS",
    "Picture",
    "below",
    "data_uri",
    "dots",
    "drawn",
    "grey",
    "lines_of",
    "name_entries",
    "smaller",
    "view_of",
    "viewer",
    "wrapped",
]

# Okabe and Ito's colours, which colour-blind readers can distinguish.
SPACE_COLOURS = {"common": "#0072b2", "salient": "#d55e00", "single": "#6e7781"}
INK = "#1f2328"
FAINT = "#d0d7de"
# From here on points are pixels in the SVG, so that its size does not grow with the cohort.
_MANY_POINTS = 150
_PNG = re.compile("data:image/png;base64,([A-Za-z0-9+/=]+)")
_STYLE: Any = {
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    # At once, not beyond whatever else is above axes, which is nothing here and looked for at each drawing.
    "axes.titley": 1.0,
    "figure.facecolor": "none",
    "font.size": 9,
    # Each text of an SVG has the whole list.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    # Letters stay letters: smaller than outlines, and a paper's editor may change them.
    "svg.fonttype": "none",
    "svg.hashsalt": "sepclr_neuro",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Picture:
    """One picture for a page and for a paper.

    Attributes:
        uri: the picture itself, as a data URI.
        alt: what it shows, in words.
        chart: whether it is ink on nothing, which a dark page turns into light on nothing (style.css).
        files: by suffix, the content of the files that :meth:`save` writes.
    """

    uri: str
    alt: str
    chart: bool = False
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
    """Draws a chart, vector and PNG, on white for paper; equal input gives equal bytes."""
    with matplotlib.rc_context(_STYLE), _no_collection():
        figure = draw()
        figure.set(dpi=150)
        vector, raster = io.BytesIO(), io.BytesIO()
        # `savefig` draws all of a figure that is laid out once more, to find places that drawing itself finds.
        FigureCanvasSVG(figure).print_svg(vector, metadata={"Date": None})
        # What was laid out stays where it is: to find the places takes longer than to draw.
        figure.set_layout_engine("none")
        figure.set(dpi=150, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        # Without opacity, which is whole, packing takes half of the time to the same size.
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
        Image.fromarray(pixels).save(raster, format="PNG", dpi=(150, 150), compress_level=3)
    files = {"svg": vector.getvalue(), "png": raster.getvalue()}
    return Picture(data_uri(files["svg"], "image/svg+xml"), alt, chart=True, files=files)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Leaves garbage for later: a chart makes so many objects that looking for it takes a quarter of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def dots(
    ax: Axes, x: Any, y: Any, colour: str, *, size: float, alpha: float, of: int, marker: str = "o", label: Any = None
) -> None:
    """Points without an edge; where all of a chart, ``of``, are many, they are pixels in the SVG."""
    options: Any = {"marker": marker, "label": label, "linewidths": 0, "rasterized": of > _MANY_POINTS}
    ax.scatter(x, y, s=size, c=colour, alpha=alpha, **options)


def wrapped(name: str, width: int) -> str:
    """A name in lines of at most so many characters: all of it, a longer word in parts.

    >>> wrapped("schizophrenia or schizoaffective", 16), wrapped("north_western_site", 8)
    ('schizophrenia or\\nschizoaffective', 'north_we\\nstern_si\\nte')
    """
    return "\n".join(textwrap.wrap(name, width))


def lines_of(names: Iterable[str], width: int) -> int:
    """The most lines that one of the names takes.

    >>> lines_of(["III", "schizophrenia or schizoaffective"], 16)
    2
    """
    return max((wrapped(name, width).count("\n") + 1 for name in names), default=1)


def below(ax: Axes, inches: float) -> dict[str, Any]:
    """The place of a legend below axes: a distance that does not change while axes make room for it."""
    down = ScaledTranslation(0, -inches, ax.figure.dpi_scale_trans)
    return {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": ax.transAxes + down}


def name_entries(legend: Legend, names: Sequence[str], width: int) -> None:
    """Gives a legend's entries their names, which as labels would be left out if they begin with an underscore, and be
    read as mathematics between dollars."""
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=wrapped(name, width), parse_math=False)


def smaller(png: bytes, alt: str) -> Picture:
    """A PNG file made smaller for a page that holds many: a seventh of its size, and hardly another picture.

    By a quick method: the slower ones, twice as slow, save 5 %.
    """
    return Picture(_webp(png, quality=80, method=2), alt)


def grey(values: NDArray[np.floating], white: float, alt: str) -> Picture:
    """Values [down, right] as a picture, black at 0 and white at ``white`` and above."""
    shades = np.rint(255 * np.clip(values / white, 0, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, format="WEBP", quality=80, method=2)
    return Picture(data_uri(buffer.getvalue(), "image/webp"), alt)


def _webp(png: bytes, **settings: Any) -> str:
    """A PNG's content as the data URI of a WebP, a format that all browsers read."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.save(buffer, format="WEBP", **settings)
    return data_uri(buffer.getvalue(), "image/webp")


def view_of(image: Nifti1Image) -> tuple[str, float] | None:
    """An interactive viewer of a map's strongest tenth on the MNI template, as a document that needs no network.

    It is given no text, since nilearn does not escape it.

    Returns:
        HTML, and the value that its colour bar calls 1; None for a map without any value to show.
    """
    found = _view(image)
    return None if found is None else (str(found[0].html), found[1])


def viewer(image: Nifti1Image, description: str) -> str:
    """An interactive viewer of a map's strongest tenth on the MNI template, as a frame that needs no network.

    Args:
        image: a map.
        description: what a screen reader says.

    Returns:
        HTML, or an empty string for a map without any value to show.
    """
    found = _view(image)
    if found is None:
        return ""
    view = found[0]
    frame = view.get_iframe()
    size = f'style="aspect-ratio: {view.width} / {view.height}" title="{escape(description, quote=True)}"'
    return str(frame.replace("<iframe ", f'<iframe class="viewer" {size} ', 1))


def _view(image: Nifti1Image) -> tuple[Any, float] | None:
    """nilearn's view, whose pictures are packed, and the value at the end of its colour bar."""
    values = image.get_fdata(dtype=np.float32)
    strength = np.abs(values[values != 0])
    if not strength.size:
        return None
    # In parts of what ends the picture's colour bar: the viewer prints few digits, and the values are small.
    limit, shown = np.quantile(strength, 0.999), np.quantile(strength, 0.9)
    relative = as_image(values / limit, image.affine)
    view = plotting.view_img(relative, threshold=shown / limit, vmax=1, cmap="RdBu_r", black_bg=True, title=None)
    view.html = view.html.replace("<head>", "<head><style>body{margin:0;background:#000}</style>", 1)
    # To the last bit the same pixels, since the viewer reads values from colours, in a third of the size.
    view.html = _PNG.sub(lambda found: _webp(base64.b64decode(found[1]), lossless=True, exact=True), view.html)
    return view, float(limit)
