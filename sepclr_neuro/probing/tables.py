"""The paper's table of probes, as data, Markdown and LaTeX; and comparisons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.metrics import METRICS as METRIC
from sepclr_neuro.core.statistics import corrected_t_test, false_discovery_rate
from sepclr_neuro.core.storage import read_tsv, write_text, write_tsv
from sepclr_neuro.core.words import spread
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.probing.demographics import demographics
from sepclr_neuro.probing.published import beside_published
from sepclr_neuro.probing.questions import METRICS, Regime, answers, probed_participants, with_cohort_defaults
from sepclr_neuro.probing.verdicts import PROBE

__all__ = [
    "PaperTable",
    "arrow",
    "compare",
    "headline",
    "paper_table",
    "summarise",
    "summarise_increments",
    "write_tables",
]

SPACES = ("common", "salient")
METRIC_LABELS = {"bacc": "balanced accuracy, %", "mae": "MAE"}
SUMMARY = [
    *("method", "target", "metric", "space", "mean", "sd", "folds", "chance", "null95", "p", "q"),
    *("ci_low", "ci_high", "n", "missing", "pooled", "train", "gap"),
]
TESTED = ["sd", "folds", "t", "p", "q", "ci_low", "ci_high"]
COMPARISONS = ["target", "metric", "method", "space", "other_method", "other_space", "difference", *TESTED]
CONFOUNDS = ["method", "target", "metric", "space", "confounds", "combined", "increment", *TESTED]
REGIMES: dict[Regime, str] = {
    "standard": "Linear probes of held-out participants",
    "paper": "Linear probes of held-out participants, fitted as in the paper's released scripts (scikit-learn's "
    "defaults on unscaled representations, of the target group alone except for the diagnosis)",
}


class Column(NamedTuple):
    """One column of figures of the paper's table."""

    target: str
    heading: str
    space: str
    arrow: str

    @property
    def name(self) -> str:
        return f"{self.heading}, {self.space} {self.arrow}"


@dataclass(frozen=True)
class PaperTable:
    """The paper's table, ready to be shown. All of it is plain text: its caller escapes it."""

    table: pd.DataFrame
    """Text. ``Method``, then one column a target and space; one row a method, and last the row of chance."""
    caption: str
    notes: list[str]


def arrow(metric: str, expected_in: str, space: str) -> str:
    """Which way is better: the space that should predict the target does so well, the other one badly.

    >>> arrow("mae", expected_in="common", space="common"), arrow("mae", expected_in="common", space="salient")
    ('↓', '↑')
    """
    return "↑" if (metric == "bacc") == (expected_in == space) else "↓"


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the paper's table has: balanced accuracy and MAE, of the standard regime where both are there."""
    rows = table["metric"].isin([metrics[0] for metrics in METRICS.values()])
    if "regime" in table:
        rows &= table["regime"] == "standard"
    return table[rows]


def summarise(scores: pd.DataFrame, verdicts: pd.DataFrame, regime: Regime = "standard") -> pd.DataFrame:
    """Each figure of a regime over folds, beside chance. ``bacc`` and ``auc`` in percent.

    Args:
        scores: the table scores.tsv.
        verdicts: the table verdicts.tsv.

    Returns:
        ``method target metric space mean sd folds chance null95 p q ci_low ci_high n missing pooled train gap``, in
        the order of ``scores``: mean and SD (n - 1) over the folds that have a value; q within the figures of the
        paper's table, and within the others (AUC, R²) apart; ``train`` is the mean over folds of the participants that
        the probe was fitted on, ``gap`` how much better that is. docs/evaluation.md explains each.
    """
    scores = scores[scores["regime"] == regime]
    by = scores.groupby(PROBE, sort=False)
    table = by.agg(
        mean=("value", "mean"),
        sd=("value", "std"),
        folds=("value", "count"),
        chance=("chance", "mean"),
        train=("train_value", "mean"),
    ).reset_index()
    table = table.merge(verdicts, how="left", on=PROBE)
    higher = table["metric"].map({name: metric.higher_is_better for name, metric in METRIC.items()})
    table["gap"] = (table["train"] - table["mean"]) * np.where(higher, 1, -1)
    first = {metrics[0] for metrics in METRICS.values()}
    table["q"] = false_discovery_rate(table["p"].to_numpy(float), table["metric"].isin(first).to_numpy())
    scale = table["metric"].map({name: metric.scale for name, metric in METRIC.items()})
    for column in ("mean", "sd", "chance", "null95", "ci_low", "ci_high", "pooled", "train", "gap"):
        table[column] *= scale
    return table[SUMMARY]


def compare(scores: pd.DataFrame) -> pd.DataFrame:
    """Method against method in one space, and space against space in one method, by the corrected resampled t-test.

    A method with one space is compared with either space of the others. Differences are of the paper's figures,
    ``bacc`` in percent, and above 0 where the first one predicts the target better.

    Args:
        scores: the table scores.tsv.

    Returns:
        ``target metric method space other_method other_space difference sd folds t p q ci_low ci_high``.
    """
    scores = headline(scores)
    rows = []
    for (target, name), part in scores.groupby(["target", "metric"], sort=False):
        values = part.set_index("fold").groupby(["method", "space"], sort=False)["value"]
        ratio = float((part["n_test"] / part["n_train"]).mean())
        sign = METRIC[str(name)].scale * (1 if METRIC[str(name)].higher_is_better else -1)
        for (one, values_of_one), (other, values_of_other) in combinations(list(values), 2):
            same_method, spaces = one[0] == other[0], {one[1], other[1]}
            if not same_method and spaces == {"common", "salient"}:
                continue
            found = corrected_t_test((sign * (values_of_one - values_of_other)).to_numpy(float), ratio)
            named = dict(zip(["method", "space", "other_method", "other_space"], [*one, *other], strict=True))
            figures = {"difference": found.mean} | found._asdict()
            rows.append({"target": target, "metric": name} | named | figures)
    table = pd.DataFrame(rows, columns=[column for column in COMPARISONS if column != "q"])
    table["q"] = false_discovery_rate(table["p"].to_numpy(float), np.zeros(len(table)))
    return table[COMPARISONS]


def summarise_increments(increments: pd.DataFrame) -> pd.DataFrame:
    """Figures of confounds alone, of confounds with a space, and their difference; ``bacc`` in percent.

    Args:
        increments: the table increments.tsv.

    Returns:
        ``method target metric space confounds combined increment sd folds t p q ci_low ci_high``: means over folds;
        the increment is above 0 where the space helps, tested by the corrected resampled t-test.
    """
    rows = []
    for key, part in increments.groupby(["method", "target", "metric", "space"], sort=False):
        scale = METRIC[str(key[2])].scale
        ratio = float((part["n_test"] / part["n_train"]).mean())
        found = corrected_t_test(scale * part["increment"].to_numpy(float), ratio)
        named = dict(zip(["method", "target", "metric", "space"], key, strict=True))
        means = {name: scale * part[name].mean() for name in ("confounds", "combined")}
        rows.append(named | means | {"increment": found.mean} | found._asdict())
    table = pd.DataFrame(rows, columns=[column for column in CONFOUNDS if column != "q"])
    table["q"] = false_discovery_rate(table["p"].to_numpy(float), np.zeros(len(table)))
    return table[CONFOUNDS]


def _columns(config: Config) -> list[Column]:
    columns = []
    for name, target in config.probes.targets.items():
        metric = METRICS[target.of_classes][0]
        heading = f"{target.label or name} ({METRIC_LABELS[metric]})"
        columns += [Column(name, heading, space, arrow(metric, target.expected_in, space)) for space in SPACES]
    return columns


def paper_table(
    config: Config,
    cohort: pd.DataFrame,
    scores: pd.DataFrame,
    verdicts: pd.DataFrame,
    regime: Regime = "standard",
) -> PaperTable:
    """The layout of the paper: methods by target and space, mean ± SD over folds, arrows, and a row of chance.

    A method with one space has its figure in both columns of a target, and says so beside its name.
    """
    summary = headline(summarise(scores, verdicts, regime))
    config = with_cohort_defaults(config, cohort)
    columns = _columns(config)
    cells = [_figure(mean, sd) for mean, sd in zip(summary["mean"], summary["sd"], strict=True)]
    figures = dict(zip(zip(summary["method"], summary["target"], summary["space"], strict=True), cells, strict=True))
    rows, single = [], False
    for method in config.methods:
        one_space = "single" in set(summary.loc[summary["method"] == method, "space"])
        single |= one_space
        row = {"Method": config.for_method(method).title + (" (single space)" if one_space else "")}
        for column in columns:
            row[column.name] = figures[method, column.target, "single" if one_space else column.space]
        rows.append(row)
    chance = summary.groupby("target")["chance"].mean()
    rows.append({"Method": "Chance"} | {column.name: _figure(chance[column.target]) for column in columns})
    folds = config.splits.count
    what = "of one split" if folds == 1 else f"mean ± SD over {folds} folds"
    caption = f"{REGIMES[regime]}, {what}. An arrow says which way is better. {config.cohort.kind_said}"
    return PaperTable(pd.DataFrame(rows), caption, _notes(config, cohort, summary, single))


def _figure(mean: float, sd: float = float("nan")) -> str:
    if pd.isna(mean):
        return "n/a"
    return f"{mean:.2f}{spread(mean, sd)}"


def _notes(config: Config, cohort: pd.DataFrame, summary: pd.DataFrame, single: bool) -> list[str]:
    notes = [
        "Chance is 100 / (number of classes) for balanced accuracy; for MAE it is the error of always predicting the "
        "median of the training participants.",
        "An MAE worse than predicting the median is overfitting of the probe, not separation.",
        "The SD is over folds, which share training participants: it is no confidence interval. Intervals, with p and "
        "q, are in the tables' .tsv files.",
    ]
    if not config.splits.probe_fraction and any(config.for_method(method).adjusted for method in config.methods):
        notes.append(
            "Adjusted salient codes of training participants are uncorrelated with the covariates by construction. "
            "Probes that are fitted on them can miss what is left of age, sex or site in others; "
            "`splits.probe_fraction: 0.2` fits probes on participants whom no encoder has seen."
        )
    for name, target in config.probes.targets.items():
        people = probed_participants(cohort, name, target)
        known, all_scans = int(answers(people, name).notna().sum()), len(people)
        if known < all_scans:
            group = "" if target.people == "all" else f" of the {target.people} group"
            notes.append(
                f"{target.label or name}: {known} of {all_scans} scans{group} have a value; the other "
                f"{all_scans - known} are left out, never counted as 0."
            )
    shown = summary[summary["mean"].notna()]
    if not all(spread(mean, sd) for mean, sd in zip(shown["mean"], shown["sd"], strict=True)):
        notes.append("A figure without ± is that of one fold, or the same in all of them.")
    if single:
        notes.append("A method with a single space has one representation, whose figure is that of both columns.")
    if (summary["folds"] < config.splits.count).any():
        notes.append(
            "Some folds have too few participants with a value to probe; n/a: no fold has enough. The numbers are in "
            "probes/scores.tsv."
        )
    return notes


def write_tables(config: Config, results: Results) -> None:
    """Writes the table of probes, called as the disorder: .tsv, .md and .tex (both regimes in the latter two), and
    _paper.tsv of the paper's regime; comparisons.tsv, confounds.tsv, demographics.tsv; and where the paper has a table
    of the same disorder, beside_published.tsv and .md."""
    scores, verdicts, cohort = read_tsv(results.scores), read_tsv(results.verdicts), load_cohort(results.cohort)
    config = with_cohort_defaults(config, cohort)
    name, summary = config.cohort.table_name, summarise(scores, verdicts)
    write_tsv(results.table(name, "tsv"), summary)
    # Empty without that regime, so that the files of a run do not depend on its settings.
    write_tsv(results.table(f"{name}_paper", "tsv"), summarise(scores, verdicts, "paper"))
    regimes: list[Regime] = ["standard", "paper"] if config.probes.paper_regime else ["standard"]
    papers = [paper_table(config, cohort, scores, verdicts, regime) for regime in regimes]
    write_text(results.table(name, "md"), _markdown(papers))
    write_text(results.table(name, "tex"), "\n".join(_latex(config, paper) for paper in papers))
    write_tsv(results.table("comparisons", "tsv"), compare(scores))
    write_tsv(results.table("confounds", "tsv"), summarise_increments(read_tsv(results.increments)))
    write_tsv(results.table("demographics", "tsv"), demographics(config, cohort))
    if config.cohort.is_published:
        registered = {method: config.for_method(method).method for method in config.methods}
        beside = beside_published(headline(summary), registered)
        write_tsv(results.table("beside_published", "tsv"), beside)
        write_text(results.table("beside_published", "md"), _beside_markdown(config, beside))


def _markdown(papers: list[PaperTable]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(_markdown_text(cell) for cell in cells) + " |"

    lines = ["# Predictions from the common and the salient space", ""]
    for paper in papers:
        head = list(paper.table.columns)
        lines += [_markdown_text(paper.caption), "", line(head), "|" + "---|" * len(head)]
        lines += [line(list(row)) for row in paper.table.itertuples(index=False)]
        lines += ["", *(f"- {_markdown_text(note)}" for note in paper.notes), ""]
    return "\n".join(lines)


def _beside_markdown(config: Config, beside: pd.DataFrame) -> str:
    """One row a method and target, each figure followed by the published one, which is of another cohort."""
    columns = {(column.target, column.space): column for column in _columns(config)}
    lines = [
        "# Beside the published figures",
        "",
        f"{config.cohort.kind_said} In the columns *published* stands what Louiset et al. (ICLR 2024) report for "
        "**another cohort**, which is no target to be reached: participants, sites and scores differ. Mean ± SD over "
        "folds.",
        "",
        "| Method | Target | common | published | salient | published |",
        "|---|---|---|---|---|---|",
    ]
    for (method, target), part in beside.groupby(["method", "target"], sort=False):
        rows = {row["space"]: row for row in part.to_dict("records")}
        cells = []
        for space in SPACES:
            row = rows["single" if "single" in rows else space]
            mark = columns[str(target), space].arrow
            cells.append(f"{_figure(row['mean'], row['sd'])} {mark}")
            published = row["published_mean"]
            cells.append("" if pd.isna(published) else _figure(published, row["published_sd"]))
        single = " (single space)" if "single" in rows else ""
        heading = columns[str(target), "common"].heading
        titles = [_markdown_text(text) for text in (config.for_method(str(method)).title + single, heading)]
        lines.append("| " + " | ".join([*titles, *cells]) + " |")
    return "\n".join([*lines, ""])


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
} | {character: "\\" + character for character in "&%$#_{}"}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _latex(config: Config, paper: PaperTable) -> str:
    """A table that needs the packages booktabs and graphicx; headings span the two spaces of a target."""
    columns = _columns(config)
    headings = [f"\\multicolumn{{2}}{{c}}{{{_latex_text(column.heading)}}}" for column in columns[:: len(SPACES)]]
    rules = " ".join(f"\\cmidrule(lr){{{first}-{first + 1}}}" for first in range(2, len(columns) + 2, len(SPACES)))
    spaces = [_latex_text(f"{column.space} {column.arrow}") for column in columns]
    *methods, chance = [
        " & ".join(_latex_text(cell) for cell in row) + r" \\" for row in paper.table.itertuples(index=False)
    ]
    text = " ".join(map(_latex_text, [paper.caption, *paper.notes]))
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{text}}}",
        r"\resizebox{\textwidth}{!}{%",
        f"\\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *headings]) + r" \\",
        rules,
        " & ".join(["Method", *spaces]) + r" \\",
        r"\midrule",
        *methods,
        r"\midrule",
        chance,
        r"\bottomrule",
        r"\end{tabular}%",
        "}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)
