"""A chart of ages and volumes by site and group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from sepclr_neuro.report.embeddings import CLASS_STYLES
from sepclr_neuro.report.pictures import INK, Picture, dots, drawn, wrapped

__all__ = ["distributions_figure"]

GROUPS = ("background", "target")
_LINE = 24  # characters in a line of a site's name


def distributions_figure(people: pd.DataFrame, measures: Mapping[str, str]) -> Picture:
    """A panel a measure, a row a site, and one of all: a point is a participant, a tick a group's median.

    Args:
        people: a row each: ``group site`` and the measures.
        measures: columns of numbers, and what the axes call them.
    """
    people = people.assign(site=people["site"].fillna("n/a").astype(str))
    sites = sorted(people["site"].unique())
    rows = [("all", people)] if len(sites) == 1 else [("all", people), *people.groupby("site", sort=True)]
    names = [wrapped(str(name), _LINE) for name, _ in rows]
    styles = dict(zip(GROUPS, CLASS_STYLES, strict=False))

    def draw() -> Figure:
        height = 1.0 + sum(0.55 + 0.15 * name.count("\n") for name in names)
        figure = Figure(figsize=(10.4, height), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.12))
        spread = np.random.default_rng(0)
        for number, (ax, (column, label)) in enumerate(
            zip(figure.subplots(1, len(measures), squeeze=False)[0], measures.items(), strict=True)
        ):
            for place, (_, members) in enumerate(rows):
                for below, (group, (colour, marker)) in enumerate(styles.items()):
                    values = members.loc[members["group"] == group, column].dropna()
                    if values.empty:
                        continue
                    middle = place + 0.4 * below - 0.2
                    y = middle + spread.uniform(-0.13, 0.13, len(values))
                    dots(ax, values, y, colour, size=9, alpha=0.6, of=len(people), marker=marker)
                    ax.vlines(values.median(), middle - 0.19, middle + 0.19, color=INK, linewidth=2)
            ax.set_xlabel(label)
            ax.set_yticks(range(len(rows)), names if number == 0 else [""] * len(rows), parse_math=False)
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.tick_params(axis="y", length=0)
            ax.locator_params("x", nbins=6)
            ax.grid(visible=False, axis="y")
        handles = [
            Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=group)
            for group, (colour, marker) in styles.items()
        ]
        handles.append(Line2D([], [], color=INK, marker="|", linestyle="", markeredgewidth=2, label="median"))
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
        return figure

    medians = "; ".join(
        f"{label}: "
        + ", ".join(f"{group} {people.loc[people['group'] == group, column].median():.3g}" for group in GROUPS)
        for column, label in measures.items()
    )
    return drawn(draw, f"Points by site and group. Medians of all sites: {medians}.")
