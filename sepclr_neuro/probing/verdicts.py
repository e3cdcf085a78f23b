"""Each figure of a probe tested against chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.metrics import METRICS as METRIC
from sepclr_neuro.core.metrics import mean_of_known
from sepclr_neuro.core.progress import Progress
from sepclr_neuro.core.statistics import Labels, Verdict, parts
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.probing.probe_fits import Answer, Fit, refit, refits
from sepclr_neuro.probing.questions import Question, all_questions, people_of
from sepclr_neuro.probing.representations import Represented, read_all_spaces

__all__ = ["draw_labels", "judge", "judge_probes", "on_permutations", "predictions_of", "write_verdicts"]

PROBE = ["regime", "method", "target", "metric", "space"]

VERDICTS = [*PROBE, "pooled", "null95", "p", "ci_low", "ci_high", "n", "missing"]

PERCENTILES = list(range(101))


def write_verdicts(config: Config, results: Results) -> None:
    """Tests every figure of the probes against chance: the tables verdicts.tsv and nulls.tsv.

    Raises:
        InputError: as :func:`~sepclr_neuro.probing.probes.write_probes` does.
    """
    cohort = load_cohort(results.cohort)
    questions = all_questions(config, cohort)
    represented = read_all_spaces(config, results, people_of(cohort))
    predictions = read_tsv(results.predictions, text=("scan_id", "truth", "prediction"))
    verdicts, nulls = judge_probes(config, cohort, questions, represented, read_tsv(results.scores), predictions)
    write_tsv(results.verdicts, verdicts)
    write_tsv(results.nulls, nulls)


def judge_probes(
    config: Config,
    cohort: pd.DataFrame,
    questions: Sequence[Question],
    represented: Represented,
    scores: pd.DataFrame,
    predictions: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test and interval of every figure of every probe, and the percentiles of its null.

    The whole probe is fitted anew on every permutation, with the penalty that it has; docs/evaluation.md has how often
    chance then passes for more. Predictions of a probe that cannot be fitted so stay as they are.

    Args:
        cohort: rows of ``cohort.tsv``.
        questions: those of ``scores`` and ``predictions``.
        scores: the table scores.tsv.
        predictions: the table predictions.tsv, classes as text.

    Returns:
        the tables verdicts.tsv and nulls.tsv.
    """
    by_probe = dict(iter(predictions.groupby(["regime", "method", "target", "space"])))
    rows, nulls = [], []
    of_probes = scores.groupby([column for column in PROBE if column != "metric"])
    progress, done = Progress("tests of probes", of_probes.ngroups), 0
    for question in questions:
        # The site may be predicted by the diagnosis, and the other way round.
        labels = draw_labels(config, cohort, question, "group" if question.target == "site" else "site")
        of_question = (scores["regime"] == question.regime) & (scores["target"] == question.target)
        for (method, space), found in scores[of_question].groupby(["method", "space"], sort=False):
            method, space = str(method), str(space)
            key = {"regime": question.regime, "method": method, "target": question.target, "space": space}
            of_probe = _in_numbers(question, by_probe.get(tuple(key.values()), predictions[:0]))
            nulls_of_probe = None
            if refits(question):
                penalty = dict(zip(found["fold"], found["penalty"], strict=True))
                fits = [
                    Fit(key, question, spaces[space], fold)
                    for of_method, fold, spaces in represented
                    if of_method == method and not np.isnan(penalty[fold.fold])
                ]
                nulls_of_probe = on_permutations(labels, fits, penalty)
            for name, verdict in judge(labels, question, [of_probe], nulls_of_probe).items():
                figures = {column: getattr(verdict, column) for column in VERDICTS if hasattr(verdict, column)}
                rows.append(key | {"metric": name} | figures | {"missing": question.missing})
                known = verdict.null[~np.isnan(verdict.null)]
                shape = np.percentile(known, PERCENTILES) if len(known) else np.full(len(PERCENTILES), np.nan)
                nulls.append(key | {"metric": name} | {f"percentile_{i}": value for i, value in enumerate(shape)})
            done += 1
            progress.at(done)
    return pd.DataFrame(rows)[VERDICTS], pd.DataFrame(nulls)[[*PROBE, *(f"percentile_{i}" for i in PERCENTILES)]]


def _in_numbers(question: Question, predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of predictions.tsv as :func:`predictions_of` has them."""
    known = predictions["prediction"]
    positions = (known.map(question.classes.index) if question.of_classes else known).astype(float)
    return predictions[["scan_id", "fold", "score"]].assign(prediction=positions)


def on_permutations(labels: Labels, fits: Sequence[Fit], penalty: Mapping[int, float]) -> dict[str, np.ndarray]:
    """Figures of probes that were fitted on permuted values, averaged over folds.

    Predictions are scored some permutations at a time, and then forgotten.

    Args:
        fits: a probe of each fold.
        penalty: of each fold's probe.

    Returns:
        [permutations] by metric. A fold whose held-out participants are all of one class does not count.
    """
    figures: dict[str, list[np.ndarray]] = {}
    for fit in fits:
        question = fit.question
        train, test = (question.truth.index.get_indexer(pd.Index(scans)) for scans in (fit.train, fit.test))
        if question.of_classes and len(np.unique(labels.truth[test])) < 2:
            continue
        x, x_test = (fit.features.loc[scans].to_numpy(np.float64) for scans in (fit.train, fit.test))
        of_fold = {name: np.empty(len(labels.permuted)) for name in question.metrics}
        for some in parts(len(labels.permuted), max(len(train), len(test)) * max(1, len(question.classes))):
            permuted = labels.permuted[some]
            found = refit(question, x, labels.truth[permuted[:, train]], x_test, penalty[fit.fold.fold])
            for name, values in of_fold.items():
                metric = METRIC[name]
                told = found["score" if metric.of_score else "prediction"]
                values[some] = metric.value(labels.truth[permuted[:, test]], told)
        for name, values in of_fold.items():
            figures.setdefault(name, []).append(values)
    return {name: mean_of_known(np.array(of_folds)) for name, of_folds in figures.items()}


def predictions_of(fit: Fit, answer: Answer) -> pd.DataFrame:
    """Predictions for held-out scans: ``scan_id fold prediction score``; classes as their positions."""
    prediction = answer.prediction
    if fit.question.of_classes:
        prediction = np.array([fit.question.classes.index(label) for label in prediction])
    return pd.DataFrame({"scan_id": fit.test, "fold": fit.fold.fold, "prediction": prediction, "score": answer.score})


def draw_labels(config: Config, cohort: pd.DataFrame, question: Question, within: str | None) -> Labels:
    """Permutations and bootstrap samples of a question's participants, the same whatever else is probed.

    Args:
        within: the column of the cohort whose classes labels are exchanged in; None for all participants alike.
    """
    scans = question.truth.index
    table = cohort.set_index("scan_id").loc[scans]
    strata = table[within].astype(str).to_numpy() if within else np.zeros(len(scans))
    return Labels.draw(
        question.numbers(scans),
        table["participant_id"].to_numpy(str),
        strata,
        question.of_classes,
        config.probes.permutations,
        config.probes.bootstraps,
        seed_of(config.seed, crc32(question.target.encode())),
    )


def judge(
    labels: Labels,
    question: Question,
    predicted: Sequence[pd.DataFrame],
    nulls: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Verdict]:
    """Test and interval of each metric of a probe.

    Args:
        predicted: from :func:`predictions_of`, of each fold that has an answer.
        nulls: from :func:`on_permutations`; None where predictions stay as they are.
    """
    nothing = pd.DataFrame({"scan_id": [], "fold": [], "prediction": [], "score": []})
    table = pd.concat(predicted) if predicted else nothing
    scan = question.truth.index.get_indexer(pd.Index(table["scan_id"]))
    fold = table["fold"].to_numpy(int)
    found = {}
    for name in question.metrics:
        column = "score" if METRIC[name].of_score else "prediction"
        null = nulls.get(name) if nulls else None
        found[name] = labels.judge(name, scan, table[column].to_numpy(float), fold, null)
    return found
