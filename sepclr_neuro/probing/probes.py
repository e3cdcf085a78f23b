"""Linear probes: predictions from each space, for held-out participants."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.probing.increments import find_increments
from sepclr_neuro.probing.probe_fits import Answer, Fit, fit_in_parallel
from sepclr_neuro.probing.questions import Question, all_questions, left_out_lines, people_of
from sepclr_neuro.probing.representations import Represented, read_all_spaces

__all__ = ["ProbeTables", "probe", "write_probes"]

logger = logging.getLogger(__name__)

SCORES = [
    *("regime", "method", "fold", "target", "metric", "space", "value", "chance", "train_value"),
    *("n_train", "n_test", "penalty"),
]
PREDICTIONS = ["regime", "method", "fold", "target", "space", "scan_id", "truth", "prediction", "score"]


@dataclass(frozen=True)
class ProbeTables:
    """Results of the probes, each as its file has it; docs/architecture.md lists the columns and the keys.

    Values and chance are in natural units: ``bacc`` from 0 to 1, ``mae`` in the target's unit. A target that cannot be
    probed in a fold has NaN for both. ``n_train`` and ``n_test`` count scans with a value. ``classes`` of a coefficient
    is empty for regression, and [negative, positive] otherwise.
    """

    scores: pd.DataFrame
    predictions: pd.DataFrame
    coefficients: list[dict[str, Any]]
    increments: pd.DataFrame


def write_probes(config: Config, results: Results) -> None:
    """Probes every method, fold, target and space, and writes :class:`ProbeTables`, NaN as ``n/a``.

    Raises:
        InputError: if a target does not suit its column, a confound has missing values, a held-out participant was
            trained on, or a representation is not finite.
    """
    cohort = load_cohort(results.cohort)
    for line in left_out_lines(config, cohort):
        logger.warning(line)
    questions = all_questions(config, cohort)
    represented = read_all_spaces(config, results, people_of(cohort))
    tables = probe(config, cohort, questions, represented)
    write_tsv(results.scores, tables.scores)
    write_tsv(results.predictions, tables.predictions)
    write_json(results.coefficients, tables.coefficients)
    write_tsv(results.increments, tables.increments)


def probe(config: Config, cohort: pd.DataFrame, questions: Sequence[Question], represented: Represented) -> ProbeTables:
    """Fits and scores a probe for every question and space.

    Args:
        cohort: rows of ``cohort.tsv``.
        questions: as :func:`~sepclr_neuro.probing.questions.all_questions` found them.
    """
    person = people_of(cohort)
    fits = [
        Fit(
            {
                "regime": question.regime,
                "method": method,
                "fold": fold.fold,
                "target": question.target,
                "space": space,
            },
            question,
            values,
            fold,
        )
        for method, fold, spaces in represented
        for question in questions
        for space, values in spaces.items()
    ]
    answers = fit_in_parallel(fits, person)
    found = _Found()
    for fit, answer in zip(fits, answers, strict=True):
        found.add(fit, answer)
    return ProbeTables(
        pd.DataFrame(found.scores)[SCORES],
        pd.concat(found.predictions)[PREDICTIONS],
        found.coefficients,
        find_increments(config, cohort, fits, answers, person),
    )


@dataclass
class _Found:
    """Rows of the files."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[pd.DataFrame] = field(default_factory=lambda: [pd.DataFrame(columns=PREDICTIONS)])
    coefficients: list[dict[str, Any]] = field(default_factory=list)

    def add(self, fit: Fit, answer: Answer | None) -> None:
        question, test = fit.question, fit.test
        counts = {"n_train": len(fit.train), "n_test": len(test)}
        for name in question.metrics:
            figures = dict.fromkeys(("value", "chance", "train_value", "penalty"), float("nan"))
            if answer is not None:
                figures = {
                    "value": answer.values[name],
                    "chance": answer.chance[name],
                    "train_value": answer.train_values[name],
                    "penalty": answer.penalty,
                }
            self.scores.append(fit.key | {"metric": name} | figures | counts)
        if answer is None:
            return
        self.predictions.append(
            pd.DataFrame(
                fit.key
                | {
                    "scan_id": test,
                    "truth": [_text(value) for value in question.truth[test]],
                    "prediction": [_text(value) for value in answer.prediction],
                    "score": answer.score,
                }
            )
        )
        if answer.weights is not None:
            function = {"weights": answer.weights.tolist(), "intercept": answer.intercept}
            key_of_probe = {name: value for name, value in fit.key.items() if name != "regime"}
            self.coefficients.append(key_of_probe | function | {"classes": list(question.classes)})


def _text(value: Any) -> str:
    """One column holds classes and numbers: numbers are written with the digits that all tables have."""
    return value if isinstance(value, str) else f"{value:.6g}"
