"""Charts of the probes' predictions for held-out participants: numbers, two classes, many classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.report.embeddings import CLASS_STYLES
from sepclr_neuro.report.findings import target_label
from sepclr_neuro.report.pictures import (
    INK,
    SPACE_COLOURS,
    Picture,
    below,
    dots,
    drawn,
    lines_of,
    name_entries,
    wrapped,
)

__all__ = ["line_with_interval", "predictions_figure"]

DRAWS = 500  # of the bootstrap
_CLASSES = 8  # most classes of a table that is drawn with its figures
_LINE = 16  # characters in a line of a title or a class below a table
_LONG_LINE = 26  # characters in a line of a class beside a table or below a chart
_TITLE_LINE = 0.15  # inches
_SHORT = 6  # characters of a class for which a panel has room


def predictions_figure(
    predictions: pd.DataFrame, cohort: pd.DataFrame, targets: Mapping[str, ProbeTarget], title: str
) -> Picture:
    """A row a space, a column a target: what a method's probes predicted for held-out participants, all folds together.

    Numbers: truth against prediction, with the line of perfect predictions and a fitted line with its interval. Two
    classes: the probes' scores by true class, folds apart, since encoders of different folds share no scale. More
    classes: the share of each true class that was predicted as each.

    Args:
        predictions: ``fold target space scan_id truth prediction score`` of one method.
        cohort: rows of ``cohort.tsv``, indexed by scan id.
        targets: the probes' targets, in the order of the columns; those without predictions are left out.
        title: of the method, for the description.
    """
    shown = {name: target for name, target in targets.items() if (predictions["target"] == name).any()}
    spaces = list(dict.fromkeys(predictions["space"]))
    of_classes = [name for name, target in shown.items() if target.of_classes]
    names = predictions.loc[predictions["target"].isin(of_classes), "truth"].astype(str).unique()
    line = max((len(part) for name in names for part in wrapped(name, _LONG_LINE).split("\n")), default=0)
    room = 0.05 * max(0, line - _SHORT)
    head = _TITLE_LINE * lines_of((target_label(name, targets) for name in shown), _LINE)
    foot = 0.25 * lines_of(names, _LONG_LINE)

    def draw() -> Figure:
        size = ((2.0 + room) * max(1, len(shown)) + 0.4, (2.0 + room + foot) * max(1, len(spaces)) + 0.2 + head)
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.07))
        axes = figure.subplots(max(1, len(spaces)), max(1, len(shown)), squeeze=False)
        for column, (name, target) in enumerate(shown.items()):
            for row, space in enumerate(spaces):
                ax = axes[row][column]
                ax.tick_params(labelsize=7)
                chosen = predictions[(predictions["target"] == name) & (predictions["space"] == space)]
                if not target.of_classes:
                    people = cohort["participant_id"].reindex(chosen["scan_id"]).to_numpy()
                    _numbers(ax, chosen, people, SPACE_COLOURS.get(space, INK))
                elif chosen["score"].notna().any():
                    _two_classes(ax, chosen)
                else:
                    _many_classes(ax, chosen)
                if column == 0:
                    ax.set_ylabel(f"{space}\n{ax.get_ylabel()}")
            axes[0][column].set_title(wrapped(target_label(name, targets), _LINE), parse_math=False)
        return figure

    labels = ", ".join(target_label(name, targets) for name in shown) or "no target"
    return drawn(draw, f"{title}: predictions of the probes for held-out participants, by space: {labels}.")


def line_with_interval(
    truth: NDArray[Any], prediction: NDArray[Any], people: NDArray[Any], at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of prediction on truth, with a 95 % interval: a bootstrap over participants, scans of one together.

    Args:
        truth: [N].
        prediction: [N].
        people: [N], the participant of each.
        at: [M], where the line is wanted.

    Returns:
        the line, its lower and its upper end, each [M].
    """
    _, person = np.unique(people.astype(str), return_inverse=True)
    count = int(person.max()) + 1
    counts = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    weights = np.vstack([np.ones(len(truth)), counts[:, person]])
    total = weights.sum(axis=1)
    x, y = weights @ truth / total, weights @ prediction / total
    spread = weights @ truth**2 / total - x**2
    # A draw of participants who are all alike has no slope.
    slope = np.divide(weights @ (truth * prediction) / total - x * y, spread, where=spread > 1e-12, out=0 * spread)
    lines = y[:, None] + slope[:, None] * (at - x[:, None])
    low, high = np.quantile(lines[1:], [0.025, 0.975], axis=0)
    return lines[0], low, high


def _numbers(ax: Axes, chosen: pd.DataFrame, people: NDArray[Any], colour: str) -> None:
    truth, prediction = (chosen[c].astype(float).to_numpy(np.float64) for c in ("truth", "prediction"))
    dots(ax, truth, prediction, colour, size=7, alpha=0.5, of=len(truth))
    ends = (truth.min(), truth.max())
    ax.plot(ends, ends, color=INK, linestyle="--", linewidth=0.8)
    ax.locator_params(nbins=4)
    if ends[1] > ends[0]:
        at = np.linspace(*ends, 40)
        line, low, high = line_with_interval(truth, prediction, people, at)
        ax.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
        ax.plot(at, line, color=colour, linewidth=1.5)
    ax.set_xlabel("truth", fontsize=8)
    ax.set_ylabel("prediction", fontsize=8)


def _two_classes(ax: Axes, chosen: pd.DataFrame) -> None:
    classes, folds = sorted(chosen["truth"].unique()), sorted(chosen["fold"].unique())
    # By score, so that the class that a high score means comes last.
    classes.sort(key=lambda label: (chosen.loc[chosen["prediction"] == label, "score"] > 0).mean())
    for number, label in enumerate(classes):
        colour, marker = CLASS_STYLES[number]
        rows = chosen[chosen["truth"] == label]
        side = 0.18 if number else -0.18
        place = np.array([folds.index(fold) for fold in rows["fold"]]) + side
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(rows))
        entry = f"class {number}"
        dots(ax, place + spread, rows["score"], colour, size=6, alpha=0.6, of=len(chosen), marker=marker, label=entry)
    ax.axhline(0, color=INK, linestyle="--", linewidth=0.8)
    ax.set_xticks(range(len(folds)), [str(fold) for fold in folds])
    ax.set_xlabel("fold", fontsize=8)
    ax.set_ylabel("log-odds", fontsize=8)
    ax.locator_params("y", nbins=4)
    ax.grid(visible=False, axis="x")
    # Below: a long name would hide points.
    legend = ax.legend(fontsize=6.5, frameon=False, handletextpad=0, borderpad=0.1, **below(ax, 0.38))
    name_entries(legend, classes, _LONG_LINE)


def _many_classes(ax: Axes, chosen: pd.DataFrame) -> None:
    table = pd.crosstab(chosen["truth"], chosen["prediction"], normalize="index")
    classes = sorted({*table.index, *table.columns})
    shares = 100 * table.reindex(index=classes, columns=classes).fillna(0).to_numpy()
    ax.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    if len(classes) <= _CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            colour = "black" if share > 55 else "white"
            ax.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    labels = [wrapped(label, _LINE) for label in classes]
    style: Any = {"fontsize": 6.5, "parse_math": False}
    if any("\n" in label for label in labels):
        ax.set_xticks(range(len(classes)), labels, rotation=90, **style)
    else:
        ax.set_xticks(range(len(classes)), labels, rotation=45, ha="right", rotation_mode="anchor", **style)
    ax.set_yticks(range(len(classes)), [wrapped(label, _LONG_LINE) for label in classes], **style)
    ax.grid(visible=False)
    ax.set_xlabel("prediction,\n% of a true class", fontsize=8)
    ax.set_ylabel("truth", fontsize=8)
