"""Charts of a run as a whole: the volumes, training, and the probes' scores."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

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

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.images import as_image
from sepclr_neuro.report.findings import method_title, target_label
from sepclr_neuro.report.pictures import INK, SPACE_COLOURS, Picture, data_uri, drawn, lines_of, wrapped

__all__ = ["leakage_figure", "nulls_figure", "scores_figure", "training_figure", "volume_figure"]

_COLUMNS = 3  # of the scores' panels
_LINE = 26  # characters in a line of a method's name
_LONG_LINE = 36  # characters in a line of what is written small
_SHORT = 13  # characters beside a panel for which it has room
_INCH = {9: 0.08, 7: 0.065}  # inches of a character, by size
_ENTRY = 1.3  # inches of a legend's entry
_CHUNK = 8  # volumes read at a time


def _panels(count: int, columns: int, height: float, beside: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Axes of panels, the figure as much wider as names beside the first of a row need."""
    columns = min(columns, count)
    rows = ceil(count / columns)
    size = (_width(columns) * columns + beside, height * rows)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.12))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def _width(columns: int) -> float:
    return min(3.4, 10.4 / columns)


def _beside(names: Iterable[str], size: int) -> float:
    """Inches that names beside a panel need, above those that it has for them."""
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    return _INCH[size] * max(0, longest - _SHORT)


def _titled(ax: Axes, title: str, columns: int) -> None:
    ax.set_title(wrapped(title, _title_line(columns)), parse_math=False)


def _title_line(columns: int) -> int:
    """Characters in a line of a panel's title."""
    return int(_width(columns) / 0.12)


def _above(titles: Iterable[str], columns: int) -> float:
    """Inches that titles of panels need, above those of a line."""
    return 0.15 * (lines_of(titles, _title_line(columns)) - 1)


def training_figure(histories: Mapping[int, pd.DataFrame], method: str) -> Picture:
    """Loss terms by epoch, a panel a term: a thin line a fold, a thick one for their mean.

    Args:
        histories: fold to ``epoch``, ``loss`` and a column a loss term; ``seconds`` is not drawn.
        method: for the description.
    """
    terms = [column for column in next(iter(histories.values())).columns if column not in ("epoch", "seconds")]
    terms.sort(key=lambda term: term != "loss")
    mean = pd.concat(histories.values()).groupby("epoch")[terms].mean()

    def draw() -> Figure:
        figure, axes = _panels(len(terms), 4, 1.9)
        for ax, term in zip(axes, terms, strict=True):
            for history in histories.values():
                ax.plot(history["epoch"], history[term], color=SPACE_COLOURS["single"], linewidth=0.8, alpha=0.7)
            ax.plot(mean.index, mean[term], color=SPACE_COLOURS["common"], linewidth=1.8)
            _titled(ax, term.replace("_", " "), min(4, len(terms)))
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.locator_params("y", nbins=4)
        for ax in axes[-4:]:
            ax.set_xlabel("epoch")
        return figure

    first, last = mean["loss"].iloc[0], mean["loss"].iloc[-1]
    folds = f"{len(histories)} fold{'' if len(histories) == 1 else 's'}"
    alt = (
        f"Training curves of {method_title(method)}: {len(terms)} curves over {len(mean)} epochs, {folds}. "
        f"The mean loss goes from {first:.4g} to {last:.4g}."
    )
    return drawn(draw, alt)


def scores_figure(results: pd.DataFrame, scores: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> Picture:
    """Common beside salient, a panel a target: bars are means, dots are folds, a dashed line is chance.

    Where the table has them, a line is the interval of all held-out participants together, and a tick ends the null.

    Args:
        results: ``method target metric space mean chance`` and, if known, ``null95 ci_low ci_high``; ``bacc`` in
            percent.
        scores: ``method fold target space value``; ``bacc`` as a share.
        targets: the probes' targets, in the order of the panels.
    """
    shown = [target for target in targets if results.loc[results["target"] == target, "mean"].notna().any()]
    methods = list(dict.fromkeys(results["method"]))
    present = [space for space in SPACE_COLOURS if (results["space"] == space).any()]
    interval, null = {"ci_low", "ci_high"} <= set(results), "null95" in results

    titles = [wrapped(method_title(method), _LINE) for method in methods]

    def draw() -> Figure:
        columns = max(1, min(_COLUMNS, len(shown)))
        height = (1.2 if columns > 1 else 1.6) + 0.42 * len(methods)
        height += _above((target_label(target, targets) for target in shown), columns)
        figure, axes = _panels(max(1, len(shown)), columns, height, _beside(titles, 9))
        for number, (ax, target) in enumerate(zip(axes, shown, strict=False)):
            scale = 100 if targets[target].of_classes else 1
            unit = "balanced accuracy, %" if scale == 100 else "mean absolute error"
            bars = _bars(results[results["target"] == target], methods, present)
            folds = scores[scores["target"] == target].merge(bars[["method", "space", "y"]])
            for space in present:
                colour, rows = SPACE_COLOURS[space], bars[bars["space"] == space]
                ax.barh(rows["y"], rows["mean"], 0.9 * rows["height"], color=colour, alpha=0.75)
                dots = folds[folds["space"] == space]
                ax.plot(dots["value"] * scale, dots["y"], "o", color=INK, markersize=2.5, alpha=0.8)
                if interval:
                    ax.hlines(rows["y"], rows["ci_low"], rows["ci_high"], color=INK, linewidth=1)
                if null:
                    half = rows["height"] / 2
                    ax.vlines(rows["null95"], rows["y"] - half, rows["y"] + half, color=INK, linewidth=2)
            chance = results.loc[results["target"] == target, "chance"].mean()
            ax.axvline(chance, color=INK, linestyle="--", linewidth=1)
            _titled(ax, target_label(target, targets), columns)
            ax.set_xlabel(unit)
            ax.set_yticks(range(len(methods)), titles if number % columns == 0 else [""] * len(titles))
            ax.set_ylim(len(methods) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            ax.grid(visible=False, axis="y")
        handles: list[Artist] = [Patch(color=SPACE_COLOURS[space], alpha=0.75, label=space) for space in present]
        handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1, label="chance"))
        if interval:
            handles.append(Line2D([], [], color=INK, linewidth=1, label="95 % interval"))
        if null:
            handles.append(
                Line2D([], [], color=INK, marker="|", linestyle="", markeredgewidth=2, label="end of the null")
            )
        entries = min(len(handles), int(figure.get_figwidth() / _ENTRY))
        figure.legend(handles=handles, loc="outside upper center", ncols=entries, frameon=False)
        return figure

    names = ", ".join(target_label(target, targets) for target in shown) or "no target"
    return drawn(
        draw, f"Bars of the probes' scores in each space, with chance lines: {names}. Same values as the table."
    )


def _bars(results: pd.DataFrame, methods: Sequence[str], spaces: Sequence[str]) -> pd.DataFrame:
    """Rows of one target with ``y`` and ``height`` of their bars: the spaces of a method share a row of the chart."""
    rows = results.drop_duplicates(["method", "space"])
    of_method = rows["space"].map(spaces.index).groupby(rows["method"])
    count = of_method.transform("size")
    height = 0.72 / count
    y = rows["method"].map(methods.index) + (of_method.rank() - 1 - (count - 1) / 2) * height
    return rows.assign(y=y, height=height)


def nulls_figure(nulls: pd.DataFrame, results: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> Picture:
    """Null distributions beside the observed figures, a panel a target: the shape is the null, the dot the figure.

    Args:
        nulls: ``method target metric space percentile_0 ... percentile_100``; ``bacc`` as a share.
        results: ``method target metric space mean``, of which these are the nulls; ``bacc`` in percent.
        targets: the probes' targets, in the order of the panels.
    """
    key = ["method", "target", "metric", "space"]
    both = nulls.merge(results[[*key, "mean"]], on=key)
    percentiles = [name for name in map(str, nulls.columns) if name.startswith("percentile_")]
    both = both.dropna(subset=["mean", *percentiles]).copy()
    shown = [target for target in targets if (both["target"] == target).any()]
    longest = max([1, *both.groupby("target").size()])
    named = zip(both["method"], both["space"], strict=True)
    both["name"] = [wrapped(f"{method_title(method)}, {space}", _LONG_LINE) for method, space in named]

    def draw() -> Figure:
        columns = max(1, min(_COLUMNS, len(shown)))
        height = 1.0 + 0.3 * longest + _above((target_label(target, targets) for target in shown), columns)
        figure, axes = _panels(max(1, len(shown)), columns, height, _beside(both["name"], 7))
        for number, (ax, target) in enumerate(zip(axes, shown, strict=False)):
            rows = both[both["target"] == target].reset_index(drop=True)
            scale = 100 if targets[target].of_classes else 1
            for space, of_space in rows.groupby("space"):
                colour = SPACE_COLOURS.get(str(space), INK)
                values = scale * of_space[percentiles].to_numpy(np.float64)
                spread = np.ptp(values, axis=1) > 0  # a null that is always the same has no shape
                if spread.any():
                    parts = ax.violinplot(
                        list(values[spread]),
                        list(of_space.index[spread]),
                        orientation="horizontal",
                        widths=0.85,
                        showextrema=False,
                        points=40,
                    )
                    for body in parts["bodies"]:  # type: ignore[attr-defined]
                        body.set(facecolor=colour, alpha=0.35)
                ax.plot(of_space["mean"], of_space.index, "o", color=colour, markeredgecolor=INK, markersize=5)
            names = rows["name"] if number % columns == 0 else [""] * len(rows)
            ax.set_yticks(range(len(rows)), list(names), fontsize=7)
            ax.set_ylim(len(rows) - 0.5, -0.5)
            _titled(ax, target_label(target, targets), columns)
            ax.set_xlabel("balanced accuracy, %" if scale == 100 else "mean absolute error")
            ax.grid(visible=False, axis="y")
        return figure

    names = ", ".join(target_label(target, targets) for target in shown) or "no target"
    return drawn(
        draw, f"Null distribution of each probe beside its figure: {names}. Same values as the table of tests."
    )


def leakage_figure(leakage: pd.DataFrame) -> Picture:
    """Balanced accuracy of the site from each space, and of the diagnosis from the site, with intervals and nulls.

    A panel a group of participants, and a last one for the diagnosis.

    Args:
        leakage: ``method space people harmonised target probe mean null95 ci_low ci_high chance``, in percent;
            rows of harmonised features, and of the diagnosis from other features than the site, are left out.
    """
    plain = leakage[leakage["harmonised"] == "no"]
    site = plain[plain["target"] == "site"]
    titles = {"all": "site, all participants", "background": "site, within controls", "target": "site, within patients"}
    panels = [(titles.get(str(group), f"site, {group}"), rows) for group, rows in site.groupby("people", sort=False)]
    alone = plain[(plain["target"] == "diagnosis") & (plain["space"] == "site alone")]
    if len(alone):
        panels.append(("diagnosis from the site", alone))
    longest = max([1, *(len(rows) for _, rows in panels)])
    written = [_named(row) for _, rows in panels for row in rows.itertuples()]
    lines = max((name.count("\n") + 1 for name in written), default=1)

    def draw() -> Figure:
        count = max(1, len(panels))
        height = 0.8 + (0.05 + 0.12 * lines) * longest + _above((title for title, _ in panels), count)
        figure, axes = _panels(count, count, height, _beside(written, 7))
        for number, (ax, (title, panel)) in enumerate(zip(axes, panels, strict=False)):
            rows = panel.reset_index(drop=True)
            colours = rows["space"].map(SPACE_COLOURS).fillna(INK)
            ax.hlines(rows.index, rows["ci_low"], rows["ci_high"], color=colours, linewidth=1.5)
            for (colour, probe), alike in rows.groupby([colours, "probe"]):
                marker = "o" if probe == "linear" else "D"
                ax.plot(alike["mean"], alike.index, marker, color=str(colour), markersize=4.5)
            ax.plot(rows["null95"], rows.index, "|", color=INK, markersize=7, markeredgewidth=1.5)
            ax.axvline(rows["chance"].mean(), color=INK, linestyle="--", linewidth=1)
            names = [_named(row) for row in rows.itertuples()]
            labelled = number == 0  # the same rows follow, but for the last panel's
            ax.set_yticks(range(len(rows)) if labelled else [], names if labelled else [], fontsize=7)
            ax.set_ylim(len(rows) - 0.5, -0.5)
            _titled(ax, title, count)
            ax.set_xlabel("balanced accuracy, %")
            ax.grid(visible=False, axis="y")
        return figure

    alt = "How well probes predict the site from each space, and the diagnosis from the site, with chance and the null."
    return drawn(draw, alt)


def _named(row: Any) -> str:
    """The name of a row of site leakage."""
    return wrapped(f"{method_title(row.method)}, {row.space}, {row.probe}", _LONG_LINE)


def volume_figure(cache: VolumeCache) -> Picture:
    """Mean and SD of all volumes, a few axial slices of each; no participant's own picture.

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
    uri = data_uri(buffer.getvalue(), "image/png")
    alt = f"Axial slices of the mean of {count} grey-matter volumes and, below, of their standard deviation."
    return Picture(uri, alt, files={"png": buffer.getvalue()})
