"""What the numbers say: results in the paper's layout, and sentences made from them by a plain rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from sepclr_neuro.config.model import ProbeTarget
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.probing.tables import METRIC_LABELS, SPACES, arrow

__all__ = ["ResultsTable", "method_title", "results_table", "sentences", "target_label"]


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
    rows: list[tuple[str, list[list[str]]]]


def method_title(method: str) -> str:
    """The method's name for readers; a method that only the paper has keeps its short name."""
    return METHODS[method].title if method in METHODS else method


def target_label(target: str, targets: Mapping[str, ProbeTarget]) -> str:
    """The target's label from the configuration, or its column's name."""
    return (targets[target].label if target in targets else None) or target


def _cell(row: pd.Series) -> str:
    """Mean and SD, a line may break before ±; a dagger where an error is above that of predicting the median."""
    if math.isnan(row["mean"]):
        return "n/a"
    text = f"{row['mean']:.2f}"
    if row["metric"] == "mae" and row["mean"] > row.get("chance", math.nan):
        text += "†"
    if not math.isnan(row["sd"]):
        text += f" ±\N{NO-BREAK SPACE}{row['sd']:.2f}"
    return text


def results_table(
    results: pd.DataFrame, targets: Mapping[str, ProbeTarget], counts: Mapping[str, int] | None = None
) -> ResultsTable:
    """Lays results out as the paper does.

    Args:
        results: ``method target metric space mean sd`` and, where known, ``chance``; ``bacc`` in percent.
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
            by_space = {row["space"]: _cell(row) for _, row in of_method[of_method["target"] == target].iterrows()}
            if set(by_space) <= set(SPACES):
                cells.append([by_space.get(space, "n/a") for space in SPACES])
            else:
                cells.append([" / ".join(by_space.values())])
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
        rows.append(("Held-out scans", [[str(counts.get(target, "n/a"))] for target in present]))
    return ResultsTable(headings, arrows, rows)


def sentences(results: pd.DataFrame, scores: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> dict[str, list[str]]:
    """Says each result in words. The rule, the same whatever comes out:

    the mean over folds in both spaces and chance; in how many folds the space that should hold the target does
    better than the other; and, where so, that a mean does no better than chance (or than predicting the median).

    Args:
        results: ``method target metric space mean sd folds chance``; ``bacc`` in percent.
        scores: ``method fold target space value ...``, a row a fold.
        targets: the probes' targets.

    Returns:
        A list of sentences a method.

    >>> import pandas as pd
    >>> row = {"method": "m", "target": "diagnosis", "metric": "bacc", "chance": 50.0}
    >>> results = pd.DataFrame([{**row, "space": "common", "mean": 60.3}, {**row, "space": "salient", "mean": 62.1}])
    >>> scores = pd.DataFrame([{"method": "m", "target": "diagnosis", "fold": 0, "space": "common", "value": 0.603},
    ...                        {"method": "m", "target": "diagnosis", "fold": 0, "space": "salient", "value": 0.621}])
    >>> target = ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis")
    >>> sentences(results, scores, {"diagnosis": target})["m"][0]
    'Diagnosis: salient 62.1 % vs common 60.3 % (chance 50.0 %); salient does better in 1 of 1 fold.'
    """
    said: dict[str, list[str]] = {}
    for method, of_method in results.groupby("method", sort=False):
        lines = said.setdefault(str(method), [])
        for target, question in targets.items():
            rows = of_method[of_method["target"] == target]
            if rows.empty:
                continue
            accuracy = question.kind == "classification"
            chance = float(rows["chance"].mean())
            other = "salient" if question.expected_in == "common" else "common"
            means = dict(zip(rows["space"], rows["mean"].astype(float), strict=True))
            spaces = [space for space in (question.expected_in, other, "single") if space in means]
            label = target_label(target, targets)
            known = [space for space in spaces if not math.isnan(means[space])]
            if not known:
                lines.append(f"{label}: n/a, no fold could be scored.")
                continue

            def say(value: float, accuracy: bool = accuracy) -> str:
                return "n/a" if math.isnan(value) else f"{value:.1f} %" if accuracy else f"{value:.2f}"

            values = " vs ".join(f"{space} {say(means[space])}" for space in spaces)
            baseline = "chance" if accuracy else "predicting the median"
            line = f"{label}{'' if accuracy else ', mean absolute error'}: {values} ({baseline} {say(chance)})"
            if question.expected_in in known and other in known:
                folds = scores[(scores["method"] == method) & (scores["target"] == target)]
                wide = folds.pivot(index="fold", columns="space", values="value").dropna()
                ahead = (
                    wide[question.expected_in] - wide[other] if accuracy else wide[other] - wide[question.expected_in]
                )
                plural = "fold" if len(ahead) == 1 else "folds"
                line += f"; {question.expected_in} does better in {int((ahead > 0).sum())} of {len(ahead)} {plural}"
            lost = [space for space in known if (means[space] <= chance if accuracy else means[space] >= chance)]
            line += "."
            if lost:
                line += f" No better than {baseline}: {' and '.join(lost)}."
            lines.append(line)
    return said
