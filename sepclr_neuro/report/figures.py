"""Pictures and viewers as text that an HTML page can hold: nothing of them is ever fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from nilearn import plotting

from sepclr_neuro.config import ProbeTarget
from sepclr_neuro.report.findings import method_title, target_label
from sepclr_neuro.volumes import VolumeCache, as_image

__all__ = ["Picture", "picture_file", "scores_figure", "training_figure", "viewer", "volume_figure"]

# Okabe and Ito's colours, which colour-blind readers tell apart; the second of each pair is for a dark page.
_SPACES = {
    "common": ("#0072b2", "#56b4e9"),
    "salient": ("#d55e00", "#e69f00"),
    "single": ("#6e7781", "#9aa4af"),
}
_INK = ("#1f2328", "#e6edf3")
_FAINT = ("#d0d7de", "#3d444d")
_COLUMNS = 3  # of the scores' panels
_CHUNK = 8  # volumes read at a time


@dataclass(frozen=True)
class Picture:
    """One picture as data URIs for a light and a dark page, and what it shows in words."""

    light: str
    dark: str
    alt: str


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _themed(draw: Callable[[int], Figure], alt: str) -> Picture:
    """Draws once for a light (0) and once for a dark page (1); equal input gives equal bytes."""
    uris = []
    for theme in (0, 1):
        style: Any = {
            "axes.edgecolor": _FAINT[theme],
            "axes.grid": True,
            "axes.labelcolor": _INK[theme],
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": _INK[theme],
            "axes.titlesize": 10,
            "font.size": 9,
            "grid.color": _FAINT[theme],
            "grid.linewidth": 0.5,
            "svg.hashsalt": "sepclr_neuro",
            "text.color": _INK[theme],
            "xtick.color": _INK[theme],
            "ytick.color": _INK[theme],
        }
        with matplotlib.rc_context(style):
            figure = draw(theme)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        uris.append(_data_uri(buffer.getvalue(), "svg+xml"))
    return Picture(uris[0], uris[1], alt)


def _panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = ceil(count / columns)
    width = min(3.4, 10.4 / columns)
    engine = ConstrainedLayoutEngine(h_pad=0.1)
    figure = Figure(figsize=(width * columns, height * rows), layout=engine)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def picture_file(path: Path, alt: str) -> Picture:
    """A PNG file as it is, for both themes."""
    uri = _data_uri(path.read_bytes(), "png")
    return Picture(uri, uri, alt)


def training_figure(histories: Mapping[int, pd.DataFrame], method: str) -> Picture:
    """Loss terms by epoch, a panel a term: a thin line a fold, a thick one for their mean.

    Args:
        histories: fold to ``epoch``, ``loss`` and a column a loss term; ``seconds`` is not drawn.
        method: for the description.
    """
    terms = [column for column in next(iter(histories.values())).columns if column not in ("epoch", "seconds")]
    terms.sort(key=lambda term: term != "loss")
    mean = pd.concat(histories.values()).groupby("epoch")[terms].mean()

    def draw(theme: int) -> Figure:
        figure, axes = _panels(len(terms), 4, 1.9)
        for ax, term in zip(axes, terms, strict=True):
            for history in histories.values():
                ax.plot(history["epoch"], history[term], color=_SPACES["single"][theme], linewidth=0.8, alpha=0.7)
            ax.plot(mean.index, mean[term], color=_SPACES["common"][theme], linewidth=1.8)
            ax.set_title(term.replace("_", " "), parse_math=False)
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        for ax in axes[-4:]:
            ax.set_xlabel("epoch")
        return figure

    first, last = mean["loss"].iloc[0], mean["loss"].iloc[-1]
    folds = f"{len(histories)} fold{'' if len(histories) == 1 else 's'}"
    alt = (
        f"Training curves of {method_title(method)}: {len(terms)} curves over {len(mean)} epochs, {folds}. "
        f"The mean loss goes from {first:.4g} to {last:.4g}."
    )
    return _themed(draw, alt)


def scores_figure(results: pd.DataFrame, scores: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> Picture:
    """Common beside salient, a panel a target: bars are means, dots are folds, a dashed line is chance.

    Args:
        results: ``method target metric space mean chance``; ``bacc`` in percent.
        scores: ``method fold target space value``; ``bacc`` as a share.
        targets: the probes' targets, in the order of the panels.
    """
    shown = [target for target in targets if results.loc[results["target"] == target, "mean"].notna().any()]
    methods = list(dict.fromkeys(results["method"]))
    present = [space for space in _SPACES if (results["space"] == space).any()]

    def draw(theme: int) -> Figure:
        figure, axes = _panels(max(1, len(shown)), _COLUMNS, 1.3 + 0.42 * len(methods))
        for number, (ax, target) in enumerate(zip(axes, shown, strict=False)):
            scale = 100 if targets[target].kind == "classification" else 1
            unit = "balanced accuracy, %" if scale == 100 else "mean absolute error"
            for position, method in enumerate(methods):
                rows = results[(results["method"] == method) & (results["target"] == target)]
                folds = scores[(scores["method"] == method) & (scores["target"] == target)]
                spaces = [space for space in present if (rows["space"] == space).any()]
                height = 0.72 / max(1, len(spaces))
                for offset, space in enumerate(spaces):
                    y = position + (offset - (len(spaces) - 1) / 2) * height
                    colour = _SPACES[space][theme]
                    ax.barh(y, rows.loc[rows["space"] == space, "mean"], height * 0.9, color=colour, alpha=0.75)
                    values = folds.loc[folds["space"] == space, "value"].to_numpy() * scale
                    ax.plot(values, np.full(len(values), y), "o", color=_INK[theme], markersize=2.5, alpha=0.8)
            chance = results.loc[results["target"] == target, "chance"].mean()
            ax.axvline(chance, color=_INK[theme], linestyle="--", linewidth=1)
            ax.set_title(target_label(target, targets), parse_math=False)
            ax.set_xlabel(unit)
            names = [method_title(method) if number % _COLUMNS == 0 else "" for method in methods]
            ax.set_yticks(range(len(methods)), names)
            ax.set_ylim(len(methods) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            ax.grid(visible=False, axis="y")
        handles: list[Artist] = [Patch(color=_SPACES[space][theme], alpha=0.75, label=space) for space in present]
        handles.append(Line2D([], [], color=_INK[theme], linestyle="--", linewidth=1, label="chance"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
        return figure

    names = ", ".join(target_label(target, targets) for target in shown) or "no target"
    return _themed(
        draw, f"Bars of the probes' scores in each space, with chance lines: {names}. Same values as the table."
    )


def volume_figure(cache: VolumeCache) -> Picture:
    """Mean and SD of all volumes, a few axial slices of each; nobody's own picture.

    Reads a few volumes at a time and sums in float64.
    """
    total = np.zeros(cache.shape)
    squares = np.zeros(cache.shape)
    count = len(cache.scan_ids)
    for start in range(0, count, _CHUNK):
        chunk = cache.read(range(start, min(start + _CHUNK, count)))[:, 0].numpy()
        total += chunk.sum(axis=0, dtype=np.float64)
        squares += np.square(chunk).sum(axis=0, dtype=np.float64)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares - count * mean**2, 0) / max(1, count - 1))

    figure = Figure(figsize=(10, 3.6), facecolor="black")
    for bottom, values in ((0.5, mean), (0.0, deviation)):
        plotting.plot_img(
            as_image(values.astype(np.float32), cache.affine),
            display_mode="z",
            cut_coords=[-40, -20, 0, 20, 40, 60],
            figure=figure,
            axes=(0.08, bottom, 0.9, 0.5),
            black_bg=True,
            cmap="gray" if bottom else "magma",
            vmin=0,
            vmax=float(np.quantile(values, 0.999)) or 1.0,
            colorbar=True,
        )
        figure.text(0.01, bottom + 0.25, "Mean" if bottom else "SD", color="white", fontsize=13, va="center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="black")
    uri = _data_uri(buffer.getvalue(), "png")
    alt = f"Axial slices of the mean of {count} grey-matter volumes and, below, of their standard deviation."
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
