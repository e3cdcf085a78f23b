"""Subtypes of patients in the salient space: what is claimed, what the clusters go with, and a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sepclr_neuro.core.statistics import false_discovery_rate
from sepclr_neuro.core.words import listed
from sepclr_neuro.report.embeddings import CLASS_STYLES
from sepclr_neuro.report.findings import ALPHA, method_title, p_and_q
from sepclr_neuro.report.pictures import Picture, dots, drawn
from sepclr_neuro.report.reading import Run

__all__ = ["said_of_subtypes", "subtypes_of"]


def subtypes_of(run: Run, charts: dict[str, Picture]) -> dict[str, Any] | None:
    """Subtypes of all methods: ``table``, ``associations``, ``said``, and the ``picture`` of the clearest clusters.

    None where none were looked for.
    """
    tables = {method: run.method_tables.get((method, "subtypes")) for method in run.config.methods}
    found = [table.assign(method=method) for method, table in tables.items() if table is not None]
    if not found:
        return None
    table = pd.concat(found, ignore_index=True)
    table["q"] = false_discovery_rate(table["p"].to_numpy(float), np.zeros(len(table)))
    best = table.sort_values(["q", "p", "separation"], ascending=[True, True, False], kind="stable").iloc[0]
    method, count = str(best["method"]), int(best["clusters"])
    beside = run.method_tables.get((method, "associations"))
    beside = None if beside is None else beside[beside["clusters"] == count].drop(columns="clusters")
    members, picture = run.method_tables.get((method, "members")), None
    if members is not None and f"of_{count}" in members:
        picture = charts.setdefault("subtypes", _figure(members, count, method_title(method)))
    first = ["method", "clusters", "separation", "null95", "p", "q"]
    readable = table.assign(method=[method_title(str(name)) for name in table["method"]])
    return {
        "table": readable[first + [name for name in table if name not in first]].dropna(axis="columns", how="all"),
        "associations": beside,
        "method": method_title(method),
        "clusters": count,
        "said": said_of_subtypes(best, beside, method_title(method)),
        "picture": picture,
    }


def said_of_subtypes(best: pd.Series, beside: pd.DataFrame | None, title: str) -> list[str]:
    """Sentences by plain rules from q: whether there are subtypes, how stable, and what else may explain them.

    Args:
        best: the clearest clusters: ``clusters separation null95 p q stability stability_null95 smallest people`` and
            ``rand_with_truth``, where it is known.
        beside: ``variable explained p q`` of these clusters.
        title: of the method.
    """
    if np.isnan(best["q"]):
        return [
            "Subtypes are not looked for: they need two salient dimensions, and in a fold ten held-out patients and "
            f"eight controls; {best['people']:.0f} patients were held out in such folds."
        ]
    figures = (
        f"{best['clusters']:.0f} clusters explain {100 * best['separation']:.0f} % of the directions in which "
        f"{best['people']:.0f} held-out patients differ from controls; patients of one kind reach "
        f"{100 * best['null95']:.0f} % in one of twenty samples ({p_and_q(best)})"
    )
    if best["q"] >= ALPHA:
        return [f"No subtypes are shown: in {title}, the clearest case, {figures}."]
    said = [
        f"Patients are of more than one kind: in the salient space of {title}, {figures}.",
        f"Four fifths of the patients are divided alike (adjusted Rand index {best['stability']:.2f}; patients of one "
        f"kind up to {best['stability_null95']:.2f}); the smallest cluster has {best['smallest']:.0f} patients.",
    ]
    gone = [] if beside is None else [f"{row['variable']} ({p_and_q(row)})" for _, row in beside.iterrows()]
    with_them = [words for words, q in zip(gone, [] if beside is None else beside["q"], strict=True) if q < ALPHA]
    if with_them:
        said.append(
            f"The clusters go with {listed(with_them)}: a variable that is not of the disease, such as the site, may "
            "be what divides the patients."
        )
    elif gone:
        names = listed([str(name) for name in beside["variable"]] if beside is not None else [], "or")
        said.append(f"The clusters are not shown to go with {names}.")
    if "rand_with_truth" in best and not np.isnan(best["rand_with_truth"]):
        said.append(f"The true subtypes are known: the adjusted Rand index with them is {best['rand_with_truth']:.2f}.")
    return said


def _figure(members: pd.DataFrame, count: int, title: str) -> Picture:
    """The first fold's held-out patients on the two axes along which they deviate most, by cluster."""

    members = members[members["fold"] == members["fold"].min()]

    def draw() -> Figure:
        figure = Figure(figsize=(5.2, 4.2), layout="constrained")
        ax = figure.add_subplot()
        ax.axhline(0, color="#c0c0c0", linewidth=0.8)
        ax.axvline(0, color="#c0c0c0", linewidth=0.8)
        for number in range(1, count + 1):
            chosen = members[members[f"of_{count}"] == number]
            colour, marker = CLASS_STYLES[(number - 1) % len(CLASS_STYLES)]
            label = f"cluster {number} ({len(chosen)})"
            x, y = chosen["axis_1"], chosen["axis_2"]
            dots(ax, x, y, colour, size=16, alpha=0.85, of=len(members), marker=marker, label=label)
        ax.set_xlabel("first axis, SD of controls")
        ax.set_ylabel("second axis, SD of controls")
        ax.legend(fontsize=8, frameon=False)
        return figure

    return drawn(
        draw,
        f"{title}: {len(members)} held-out patients on the two axes of largest deviation from the mean control "
        f"(0), coloured by {count} clusters of directions.",
    )
