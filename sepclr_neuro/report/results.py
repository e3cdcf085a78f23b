"""What was found: the answer in words, tables, training curves, the probes' answers, both spaces, site leakage."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import Probes
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.probing.published import published_schizophrenia
from sepclr_neuro.probing.representations import read_representations
from sepclr_neuro.probing.tables import headline, read_paper_table
from sepclr_neuro.report import answers, embeddings, figures
from sepclr_neuro.report.findings import method_title, results_table, sentences, target_label
from sepclr_neuro.report.shown import Figures, optional_table
from sepclr_neuro.report.summary import meaning, site_warnings, uncertainties

__all__ = ["what_it_means", "what_was_found", "what_was_trained"]

logger = logging.getLogger(__name__)


_TESTS = ["null95", "p", "q", "ci_low", "ci_high", "n"]


def what_was_trained(config: Config, results: Results, problems: list[str], kept: Figures) -> list[dict[str, Any]]:
    """A chart of training curves for each method that was trained in epochs; a single point would be no curve."""
    curves = []
    for number, method in enumerate(config.methods, 1):
        logger.info(f"report: training curves of {method_title(method)}, method {number} of {len(config.methods)}")
        histories = {}
        for fold in range(config.splits.count):
            history = optional_table(results.model_folder(method, fold) / "history.tsv", ())
            if history is None:
                continue
            histories[fold] = history
            # What is solved in closed form may have no loss.
            if "loss" in history and history["loss"].isna().any():
                problems.append(f"{method_title(method)}, fold {fold}: the loss is not a number in some epochs.")
        if any(len(history) > 1 for history in histories.values()):
            picture = kept.keep(f"training_{method}", figures.training_figure(histories, method))
            curves.append({"method": method_title(method), "picture": picture})
    return curves


def what_it_means(config: Config, results: Results, table: pd.DataFrame) -> dict[str, Any]:
    """The answer in words: two sentences, warnings about the site, and what is uncertain.

    Args:
        table: the headline rows of the table of probes.
    """
    targets = config.probes.targets
    comparisons, confounds, leakage = (
        optional_table(results.table(name, "tsv")) for name in ("comparisons", "confounds", "site_leakage")
    )
    return {
        "meaning": meaning(table, targets),
        "site_warnings": site_warnings(leakage, table),
        "uncertain": uncertainties(table, targets, comparisons, confounds),
    }


def what_was_found(
    config: Config, results: Results, table: pd.DataFrame, problems: list[str], kept: Figures
) -> dict[str, Any]:
    """The table of the paper's layout and, where there is one, the published one, in words and as charts; tests,
    leakage, comparisons.

    Args:
        table: the headline rows of the table of probes.
    """
    whole, scores = read_tsv(results.table(config.cohort.table_name, "tsv")), headline(read_tsv(results.scores))
    logger.info(f"report: {len(table)} figures of {table['target'].nunique()} targets: table, sentences, charts")
    nulls = optional_table(results.nulls)
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
        else kept.keep("nulls", figures.nulls_figure(headline(nulls), table, targets)),
        "notes": read_paper_table(config, results).notes,
        "sentences": {method_title(method): lines for method, lines in said.items()},
        "scores_picture": kept.keep("scores", figures.scores_figure(table, scores, targets)),
        "published": None if published is None else results_table(published, Probes().targets),
        "published_data": published,
        "further": [
            (name, caption, found)
            for name, caption in _further_tables(config).items()
            if (found := optional_table(results.table(name, "tsv"))) is not None
        ],
        **_leakage(results, kept),
        **_answers_and_spaces(config, results, kept),
    }


def _further_tables(config: Config) -> dict[str, str]:
    """What the tables beside that of probes hold, by their names."""
    captions = {
        "comparisons": "Method against method: differences over folds that share training people, by a corrected test",
        "confounds": "What each space adds to age, sex, site and the other confounds alone",
        f"{config.cohort.table_name}_paper": "The same probes as the paper's released scripts fit them",
    }
    if config.cohort.is_published:
        captions["beside_published"] = "This run beside the published figures: another cohort, other splits"
    return captions


def _leakage(results: Results, kept: Figures) -> dict[str, Any]:
    table = optional_table(results.table("site_leakage", "tsv"))
    picture = None if table is None else kept.keep("site_leakage", figures.leakage_figure(table))
    return {"site_leakage": table, "leakage_picture": picture}


def _answers_and_spaces(config: Config, results: Results, kept: Figures) -> dict[str, Any]:
    """What probes answered, and both spaces in two dimensions: of the first fold."""
    cohort = load_cohort(results.cohort).set_index("scan_id")
    predictions = whole = optional_table(results.predictions, ("scan_id", "truth", "prediction"))
    if predictions is not None and "regime" in predictions:
        predictions = predictions[predictions["regime"] == "standard"]
    answered, spaces = [], []
    for number, method in enumerate(config.methods, 1):
        title = method_title(method)
        logger.info(f"report: answers of the probes and spaces of {title}, method {number} of {len(config.methods)}")
        if predictions is not None and (predictions["method"] == method).any():
            of_method = predictions[predictions["method"] == method]
            picture = answers.answers_figure(of_method, cohort, config.probes.targets, title)
            answered.append({"method": title, "picture": kept.keep(f"answers_{method}", picture)})
        for fold in range(config.splits.count):
            path, model = results.representations(method, fold), results.model_folder(method, fold)
            if path.is_file() and (model / "model.json").is_file():
                representations = read_representations(path, model)
                described = f"{title}, fold {fold}"
                picture = embeddings.embedding_figure(representations, cohort, config.probes.targets, described)
                spaces.append({"method": title, "fold": fold, "picture": kept.keep(f"spaces_{method}", picture)})
                break
    return {
        "answers": answered,
        "spaces": spaces,
        "predictions": whole if config.report.participant_ids else None,
    }
