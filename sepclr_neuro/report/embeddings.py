"""Charts of both spaces in two dimensions: held-out participants of one fold, coloured by each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.probing.representations import Representations
from sepclr_neuro.report.findings import target_label
from sepclr_neuro.report.pictures import INK, Picture, below, dots, drawn, lines_of, name_entries, wrapped

__all__ = ["CLASS_STYLES", "embedding_figure", "plane"]

# Paul Tol's bright colours, which colour-blind readers can distinguish, each with a marker of its own.
CLASS_STYLES = list(
    zip(("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"), "o^sDvPX", strict=True)
)
_LEGEND = 6  # classes that a legend names
_TITLE_LINE = 0.15  # inches
_SHORT = 9  # characters of names of which two stand in one line of a legend
_LINE = 18  # characters in a line of a legend or a title


def plane(representations: Representations, space: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The plane of most variance of the *training* participants, with held-out participants projected into it.

    Returns:
        coordinates of the held-out scans, [N test, 2], and the share of the training participants' variance that each
        of the two axes has, [2]; an axis that a space lacks is 0.
    """
    values = representations.spaces[space]
    train, test = (values[representations.side == side] for side in ("train", "test"))
    centre = train.mean(axis=0)
    _, spread, axes = np.linalg.svd(train - centre, full_matrices=False)
    axes, variance = axes[:2], spread**2
    coordinates, shares = np.zeros((len(test), 2)), np.zeros(2)
    coordinates[:, : len(axes)] = (test - centre) @ axes.T
    # A space in which all participants are at one point has no variance to share.
    shares[: len(axes)] = variance[: len(axes)] / (variance.sum() or 1)
    return coordinates, shares


def embedding_figure(
    representations: Representations, cohort: pd.DataFrame, targets: Mapping[str, ProbeTarget], title: str
) -> Picture:
    """A row a space, a column a target: each point is a held-out scan, grey where the value is not known.

    One fold alone, since each fold has another encoder, whose axes mean nothing in the others.

    Args:
        representations: of the fold.
        cohort: rows of ``cohort.tsv``, indexed by scan id.
        targets: probe targets; their columns are what points are coloured by.
        title: of the fold and method, for the description.
    """
    people = cohort.loc[np.array(representations.scan_ids)[representations.side == "test"]]
    planes = {space: plane(representations, space) for space in representations.spaces}
    lines = max((_lines(people, name) for name, target in targets.items() if target.of_classes), default=2)
    head = _TITLE_LINE * lines_of((target_label(name, targets) for name in targets), _LINE)

    def draw() -> Figure:
        rows, columns = len(planes), len(targets)
        size = (1.85 * columns + 0.4, 1.85 * rows + 0.35 + 0.13 * lines + head)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
        axes = figure.subplots(rows, columns, squeeze=False)
        for column, (name, target) in enumerate(targets.items()):
            for row, (space, (points, shares)) in enumerate(planes.items()):
                ax = axes[row][column]
                ax.set_xticks([])
                ax.set_yticks([])
                ax.set_xlabel(f"{100 * shares[0]:.0f} % of variance", fontsize=7)
                first = f"{space}\n" if column == 0 else ""
                ax.set_ylabel(f"{first}{100 * shares[1]:.0f} %", fontsize=9 if column == 0 else 7)
                if target.of_classes:
                    _classes(ax, points, _classes_of(people, name), legend=row == rows - 1)
                else:
                    _numbers(figure, ax, points, people[name], bar=[axes[r][column] for r in range(rows)][row:])
            axes[0][column].set_title(wrapped(target_label(name, targets), _LINE), parse_math=False)
        return figure

    labels = ", ".join(target_label(name, targets) for name in targets)
    return drawn(
        draw,
        f"{title}: {len(people)} held-out scans in the plane of most variance of the "
        f"{' and the '.join(planes)} space, coloured by {labels}.",
    )


def _classes_of(people: pd.DataFrame, target: str) -> pd.Series:
    """Each participant's class; of the diagnosis the sides, as its probe has them."""
    return people["group" if target == "diagnosis" else target]


def _known(values: pd.Series) -> list[object]:
    return sorted(values.dropna().unique(), key=str)


def _columns(names: Sequence[str]) -> int:
    return 2 if max(map(len, names), default=0) <= _SHORT else 1


def _lines(people: pd.DataFrame, target: str) -> float:
    """Lines of text in the legend of a target's classes."""
    names = [str(value) for value in _known(_classes_of(people, target))]
    shown = names[:_LEGEND]
    lines = sum(wrapped(name, _LINE).count("\n") + 1 for name in shown) / _columns(shown)
    return lines + (len(names) > _LEGEND)


def _classes(ax: Axes, points: NDArray[np.float64], values: pd.Series, legend: bool) -> None:
    known = _known(values)
    for number, value in enumerate(known):
        colour, marker = CLASS_STYLES[number % len(CLASS_STYLES)]
        chosen = points[(values == value).to_numpy()]
        label = f"class {number}" if number < _LEGEND else None
        x, y = chosen.T
        dots(ax, x, y, colour, size=11, alpha=0.85, of=len(points), marker=marker, label=label)
    _unknown(ax, points[values.isna().to_numpy()])
    if legend and known:
        further = f"and {len(known) - _LEGEND} more" if len(known) > _LEGEND else None
        names = [str(value) for value in known[:_LEGEND]]
        entries = ax.legend(
            **below(ax, 0.2),
            ncols=_columns(names),
            fontsize=7,
            frameon=False,
            handletextpad=0.1,
            columnspacing=0.6,
            title=further,
            title_fontsize=7,
        )
        name_entries(entries, names, _LINE)


def _numbers(figure: Figure, ax: Axes, points: NDArray[np.float64], values: pd.Series, bar: list[Axes]) -> None:
    known = values.notna().to_numpy()
    _unknown(ax, points[~known])
    low, high = (values.min(), values.max()) if known.any() else (0.0, 1.0)
    drawn_points = ax.scatter(
        points[known, 0],
        points[known, 1],
        s=11,
        c=values[known],
        cmap="viridis",
        vmin=low,
        vmax=high,
        linewidths=0.2,
        edgecolors=INK,
    )
    if len(bar) == 1:
        scale = figure.colorbar(drawn_points, ax=ax, location="bottom", shrink=0.9, aspect=14, pad=0.03)
        scale.ax.tick_params(labelsize=7)


def _unknown(ax: Axes, points: NDArray[np.float64]) -> None:
    dots(ax, points[:, 0], points[:, 1], "#c0c0c0", size=5, alpha=0.6, of=len(points))
