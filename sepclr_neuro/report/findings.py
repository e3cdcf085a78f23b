"""Results in the paper's layout, and sentences made from them by fixed rules."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.statistics import ALPHA
from sepclr_neuro.core.words import counted, listed, spread
from sepclr_neuro.probing.tables import METRIC_LABELS, SPACES, arrow

__all__ = [
    "ALPHA",
    "Cell",
    "ResultsTable",
    "figure_in_words",
    "figures_in_words",
    "is_better_than_chance",
    "method_title",
    "p_and_q",
    "results_table",
    "sentences",
    "target_label",
]


@dataclass(frozen=True)
class Cell:
    """A figure of the table.

    Args:
        text: mean and SD.
        test: p and q in words, empty where there is no test.
        mark: ``as-meant`` where, by q, the space that should predict a variable does so better than chance,
            ``not-meant`` where the other one does; otherwise empty.
    """

    text: str
    test: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class ResultsTable:
    """A table in the paper's layout: a pair of columns (common, salient) a target.

    Args:
        targets: heading of each pair and the metric below it.
        arrows: for each target, the arrow of the common and of the salient column.
        rows: title of a row and, for each target, its cells: two, or one that spans both columns.
    """

    targets: list[tuple[str, str]]
    arrows: list[list[str]]
    rows: list[tuple[str, list[list[Cell]]]]


def method_title(method: str) -> str:
    """The method's name for readers; a method that only the paper has keeps its short name."""
    return METHODS[method].title if method in METHODS else method


def target_label(target: str, targets: Mapping[str, ProbeTarget]) -> str:
    """The target's label from the configuration, or its column's name."""
    return (targets[target].label if target in targets else None) or target


def is_better_than_chance(row: Any) -> bool:
    """Whether a probe's figure is better than chance by q; one without a test is not."""
    return bool(row["q"] < ALPHA)


def _probability(value: float) -> str:
    """Two or three digits, never rounded up to the limit that words go by.

    >>> [_probability(p) for p in (0.00099, 0.0123, 0.0496, 0.0504, 0.3333, 1.0)]
    ['0.001', '0.012', '<0.05', '0.0504', '0.33', '1.00']
    """
    text = f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
    if float(text) == ALPHA and value != ALPHA:
        return f"<{ALPHA}" if value < ALPHA else f"{value:.4f}"
    return "<0.001" if float(text) == 0 else text


def p_and_q(row: Any) -> str:
    """p and q of a figure, in words."""
    if math.isnan(row["q"]):
        return "no test"
    return f"p {_probability(row['p'])}, q {_probability(row['q'])}"


def figure_in_words(value: float, metric: str) -> str:
    """A mean: percent, or the target's unit."""
    return "n/a" if math.isnan(value) else f"{value:.1f} %" if metric == "bacc" else f"{value:.2f}"


def _baseline(metric: str) -> str:
    return "chance" if metric == "bacc" else "predicting the median"


def figures_in_words(row: Any) -> str:
    """A figure with its baseline.

    >>> figures_in_words(pd.Series({"mean": 64.0, "metric": "bacc", "chance": 50.0, "p": 0.001, "q": 0.02}))
    '64.0 % (chance 50.0 %, p 0.001, q 0.020)'
    """
    metric, unit = row["metric"], "" if row["metric"] == "bacc" else "an error of "
    chance = f"{_baseline(metric)} {figure_in_words(row['chance'], metric)}"
    return f"{unit}{figure_in_words(row['mean'], metric)} ({chance}, {p_and_q(row)})"


def _cell(row: pd.Series, expected_in: str = "") -> Cell:
    """Mean and SD, a line may break before ±; a dagger where an error is above that of predicting the median."""
    if math.isnan(row["mean"]):
        return Cell("n/a")
    text = f"{row['mean']:.2f}"
    if row["metric"] == "mae" and row["mean"] > row.get("chance", math.nan):
        text += "†"
    text += spread(row["mean"], row["sd"]).replace("± ", "±\N{NO-BREAK SPACE}")
    if math.isnan(row.get("q", math.nan)):
        return Cell(text)
    # As papers write them, without the zero: columns are narrow.
    short = (re.sub(r"\b0\.", ".", _probability(row[name])) for name in ("p", "q"))
    test = tuple(f"{name}\N{NO-BREAK SPACE}{number}" for name, number in zip("pq", short, strict=True))
    meant = row["space"] in (expected_in, "single")
    return Cell(text, test, ("as-meant" if meant else "not-meant") if is_better_than_chance(row) else "")


def results_table(
    results: pd.DataFrame, targets: Mapping[str, ProbeTarget], counts: Mapping[str, int] | None = None
) -> ResultsTable:
    """Lays results out as the paper does.

    Args:
        results: ``method target metric space mean sd`` and, where known, ``chance p q``; ``bacc`` in percent.
        targets: the probes' targets, in the order of the columns; those without results are left out.
        counts: held-out scans of each target, for a last row.
    """
    present = [target for target in targets if (results["target"] == target).any()]
    metrics = {target: results.loc[results["target"] == target, "metric"].iloc[0] for target in present}
    headings = [(target_label(target, targets), METRIC_LABELS[metrics[target]]) for target in present]
    arrows = [[arrow(metrics[target], targets[target].expected_in, space) for space in SPACES] for target in present]

    rows = []
    for method, of_method in results.groupby("method", sort=False):
        cells = []
        for target in present:
            of_target = of_method[of_method["target"] == target]
            by_space = {row["space"]: _cell(row, targets[target].expected_in) for _, row in of_target.iterrows()}
            if set(by_space) <= set(SPACES):
                cells.append([by_space.get(space, Cell("n/a")) for space in SPACES])
            else:
                cells.append(list(by_space.values()))
        rows.append((method_title(str(method)), cells))
    if "chance" in results:
        chance = results.groupby("target")["chance"].mean()
        rows.append(
            (
                "Chance",
                [
                    [_cell(pd.Series({"mean": chance[target], "sd": math.nan, "metric": metrics[target]}))]
                    for target in present
                ],
            )
        )
    if counts is not None:
        rows.append(("Held-out scans", [[Cell(str(counts.get(target, "n/a")))] for target in present]))
    return ResultsTable(headings, arrows, rows)


def sentences(results: pd.DataFrame, scores: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> dict[str, list[str]]:
    """Each result in words. The rule, the same for any outcome:

    the mean over folds in both spaces with p and q, and chance; in how many folds the space that should predict the
    target does better than the other; and, by q alone, which space predicts it better than chance. A mean above chance
    shows nothing by itself.

    Args:
        results: ``method target metric space mean chance p q``; ``bacc`` in percent.
        scores: ``method fold target space value ...``, a row a fold.
        targets: the probes' targets.

    Returns:
        A list of sentences a method.

    >>> import pandas as pd
    >>> row = {"method": "m", "target": "diagnosis", "metric": "bacc", "chance": 50.0}
    >>> results = pd.DataFrame([{**row, "space": "common", "mean": 52.9, "p": 0.3, "q": 0.3},
    ...                         {**row, "space": "salient", "mean": 62.1, "p": 0.01, "q": 0.02}])
    >>> scores = pd.DataFrame([{"method": "m", "target": "diagnosis", "fold": 0, "space": "common", "value": 0.529},
    ...                        {"method": "m", "target": "diagnosis", "fold": 0, "space": "salient", "value": 0.621}])
    >>> target = ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis")
    >>> for line in sentences(results, scores, {"diagnosis": target})["m"][0].split("; "):
    ...     print(line)
    Diagnosis: salient 62.1 % (p 0.010, q 0.020) vs common 52.9 % (p 0.30, q 0.30), chance 50.0 %
    salient does better in 1 of 1 fold. Better than chance: salient. Not shown to be better than chance: common.
    """
    said: dict[str, list[str]] = {}
    for method, of_method in results.groupby("method", sort=False):
        folds = scores[scores["method"] == method]
        said[str(method)] = [
            _sentence(target_label(target, targets), question, rows, folds[folds["target"] == target])
            for target, question in targets.items()
            if not (rows := of_method[of_method["target"] == target]).empty
        ]
    return said


def _sentence(label: str, question: ProbeTarget, rows: pd.DataFrame, folds: pd.DataFrame) -> str:
    """One target of one method."""
    by_space = {str(row["space"]): row for _, row in rows.iterrows()}
    other = "salient" if question.expected_in == "common" else "common"
    spaces = [space for space in (question.expected_in, other, "single") if space in by_space]
    known = [space for space in spaces if not math.isnan(by_space[space]["mean"])]
    if not known:
        return f"{label}: n/a, no fold could be scored."
    metric, chance = str(rows["metric"].iloc[0]), float(rows["chance"].mean())
    values = " vs ".join(
        f"{space} {figure_in_words(by_space[space]['mean'], metric)}"
        + (f" ({p_and_q(by_space[space])})" if space in known else "")
        for space in spaces
    )
    named = label if metric == "bacc" else f"{label}, mean absolute error"
    line = f"{named}: {values}, {_baseline(metric)} {figure_in_words(chance, metric)}"
    if question.expected_in in known and other in known:
        wide = folds.pivot(index="fold", columns="space", values="value").dropna()
        ahead = (wide[question.expected_in] - wide[other]) * (1 if metric == "bacc" else -1)
        line += f"; {question.expected_in} does better in {int((ahead > 0).sum())} of {counted(len(ahead), 'fold')}"
    return f"{line}. {_by_q(by_space, known, metric, chance)}"


def _by_q(by_space: Mapping[str, pd.Series], known: Sequence[str], metric: str, chance: float) -> str:
    """Which spaces predict the target better than chance, which are not shown to, and which have no test."""
    better = [space for space in known if is_better_than_chance(by_space[space])]
    untested = [space for space in known if math.isnan(by_space[space]["q"])]
    groups = {
        "Better than chance": better,
        "Not shown to be better than chance": [space for space in known if space not in (*better, *untested)],
        "Not tested": untested,
        # Information that the null does not give may still be too little for a useful guess.
        "Yet with no lower error than predicting the median": [
            space for space in better if metric == "mae" and by_space[space]["mean"] >= chance
        ],
    }
    return " ".join(f"{title}: {listed(spaces)}." for title, spaces in groups.items() if spaces)
