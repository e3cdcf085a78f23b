"""Linear probes: what each space holds, asked of held-out people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import say
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.probing.increments import find_increments
from sepclr_neuro.probing.probe_fits import Answer, Fit, fit_in_parallel
from sepclr_neuro.probing.questions import not_asked, questions
from sepclr_neuro.probing.representations import read_spaces

__all__ = ["write_probes"]

SCORES = [
    *("regime", "method", "fold", "target", "metric", "space", "value", "chance", "train_value"),
    *("n_train", "n_test", "penalty"),
]
PREDICTIONS = ["regime", "method", "fold", "target", "space", "scan_id", "truth", "prediction", "score"]


def write_probes(config: Config, results: Results) -> None:
    """Probes every method, fold, target and space.

    Values and chance are in natural units: ``bacc`` from 0 to 1, ``mae`` in the target's unit. A target that cannot be
    probed in a fold has ``n/a`` for both. ``n_train`` and ``n_test`` count scans with a value. Files, columns and
    keys: docs/architecture.md and docs/evaluation.md; ``classes`` of a coefficient is empty for regression, and
    [negative, positive] otherwise.

    Raises:
        InputError: if a target does not suit its column, a confound has missing values, a held-out person was trained
            on, or a representation is not finite.
    """
    cohort = load_cohort(results)
    for line in not_asked(config, cohort):
        say(line)
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    asked = questions(config, cohort)
    if config.probes.paper_regime:
        asked += questions(config, cohort, "paper")
    # All are read before any is probed: what is wrong in the last fold is told within seconds.
    folds = [read_fold(results, number) for number in range(config.splits.count)]
    read = [(method, fold, read_spaces(results, method, fold, person)) for method in config.methods for fold in folds]
    probes = [
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
        for method, fold, spaces in read
        for question in asked
        for space, values in spaces.items()
    ]
    answers = fit_in_parallel(probes, person)
    found = _Found()
    for fit, answer in zip(probes, answers, strict=True):
        found.add(fit, answer)
    write_tsv(results.scores, pd.DataFrame(found.scores)[SCORES])
    write_tsv(results.predictions, pd.concat(found.predictions)[PREDICTIONS])
    write_json(results.coefficients, found.coefficients)
    write_tsv(results.increments, find_increments(config, cohort, probes, answers, person))


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
