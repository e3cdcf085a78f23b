"""Results: interpretation, tables, training curves, predictions, both spaces, site leakage."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from sepclr_neuro.config.probes import Probes
from sepclr_neuro.probing.published import published_schizophrenia
from sepclr_neuro.probing.tables import headline, paper_table
from sepclr_neuro.report import embeddings, figures, predictions
from sepclr_neuro.report.findings import method_title, results_table, sentences, target_label
from sepclr_neuro.report.pictures import Picture
from sepclr_neuro.report.reading import Run
from sepclr_neuro.report.summary import meaning, site_warnings, uncertainties

__all__ = ["interpretation", "results_of", "training_curves"]

logger = logging.getLogger(__name__)

_FURTHER = {
    "comparisons": "Method against method: differences over folds that share training data, by a corrected test",
    "confounds": "What each space adds to age, sex, site and the other confounds alone",
    "paper": "The same probes, fitted as in the paper's released scripts",
    "beside_published": "This run and the published figures: another cohort, other splits",
}
_TESTS = ["null95", "p", "q", "ci_low", "ci_high", "n"]


def training_curves(run: Run, problems: list[str], charts: dict[str, Picture]) -> list[dict[str, Any]]:
    """A chart of training curves for each method that was trained in epochs; a single point would be no curve."""
    curves, methods = [], run.config.methods
    for number, method in enumerate(methods, 1):
        logger.info(f"report: training curves of {method_title(method)}, method {number} of {len(methods)}")
        histories = {fold: history for (name, fold), history in run.histories.items() if name == method}
        for fold, history in histories.items():
            # What is solved in closed form may have no loss.
            if "loss" in history and history["loss"].isna().any():
                problems.append(f"{method_title(method)}, fold {fold}: the loss is not a number in some epochs.")
        if any(len(history) > 1 for history in histories.values()):
            picture = charts.setdefault(f"training_{method}", figures.training_figure(histories, method))
            curves.append({"method": method_title(method), "picture": picture})
    return curves


def interpretation(run: Run) -> dict[str, Any]:
    """The main result in words: two sentences, warnings about the site, and uncertainty."""
    targets, tables = run.config.probes.targets, run.tables
    return {
        "meaning": meaning(run.figures, targets),
        "site_warnings": site_warnings(tables.get("site_leakage"), run.figures),
        "uncertain": uncertainties(run.figures, targets, tables.get("comparisons"), tables.get("confounds")),
    }


def results_of(run: Run, problems: list[str], charts: dict[str, Picture]) -> dict[str, Any]:
    """The table of the paper's layout and, where there is one, the published one, in words and as charts; tests,
    leakage, comparisons."""
    config, table, whole, scores = run.config, run.figures, run.probes, headline(run.scores)
    logger.info(f"report: {len(table)} figures of {table['target'].nunique()} targets: table, sentences, charts")
    nulls = run.tables.get("nulls")
    targets = config.probes.targets
    for row in scores[scores["value"].isna()].itertuples():
        problems.append(
            f"{method_title(str(row.method))}, fold {row.fold}: {target_label(str(row.target), targets)} "
            f"could not be scored in the {row.space} space."
        )
    tested = scores.drop_duplicates(["fold", "target"]).groupby("target")["n_test"].sum() / config.splits.repeats
    counts = {str(target): round(count) for target, count in tested.items()}
    said = sentences(table, scores, targets)
    published = published_schizophrenia() if config.cohort.is_published else None
    return {
        "results": results_table(table, targets, counts),
        "results_data": whole,
        "tests": whole if set(_TESTS) & set(whole) else None,
        "nulls_picture": None
        if nulls is None
        else charts.setdefault("nulls", figures.nulls_figure(headline(nulls), table, targets)),
        "notes": paper_table(config, run.cohort, run.scores, run.verdicts).notes,
        "sentences": {method_title(method): lines for method, lines in said.items()},
        "scores_picture": charts.setdefault("scores", figures.scores_figure(table, scores, targets)),
        "published": None if published is None else results_table(published, Probes().targets),
        "published_data": published,
        "further": [
            (f"{config.cohort.table_name}_paper" if name == "paper" else name, caption, run.tables[name])
            for name, caption in _FURTHER.items()
            if name in run.tables
        ],
        **_leakage(run.tables.get("site_leakage"), charts),
        **_predictions_and_spaces(run, charts),
    }


def _leakage(table: pd.DataFrame | None, charts: dict[str, Picture]) -> dict[str, Any]:
    picture = None if table is None else charts.setdefault("site_leakage", figures.leakage_figure(table))
    return {"site_leakage": table, "leakage_picture": picture}


def _predictions_and_spaces(run: Run, charts: dict[str, Picture]) -> dict[str, Any]:
    """The probes' predictions, and both spaces in two dimensions, of the first fold."""
    config, cohort = run.config, run.cohort.set_index("scan_id")
    table = whole = run.tables.get("predictions")
    if table is not None and "regime" in table:
        table = table[table["regime"] == "standard"]
    predicted, spaces = [], []
    for number, method in enumerate(config.methods, 1):
        title = method_title(method)
        logger.info(
            f"report: predictions of the probes and spaces of {title}, method {number} of {len(config.methods)}"
        )
        if table is not None and (table["method"] == method).any():
            of_method = table[table["method"] == method]
            picture = predictions.predictions_figure(of_method, cohort, config.probes.targets, title)
            predicted.append({"method": title, "picture": charts.setdefault(f"predictions_{method}", picture)})
        if method in run.representations:
            fold, representations = run.representations[method]
            described = f"{title}, fold {fold}"
            picture = embeddings.embedding_figure(representations, cohort, config.probes.targets, described)
            picture = charts.setdefault(f"spaces_{method}", picture)
            spaces.append({"method": title, "fold": fold, "picture": picture})
    return {
        "predicted": predicted,
        "spaces": spaces,
        "predictions": whole if config.report.participant_ids else None,
    }
