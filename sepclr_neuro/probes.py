"""Linear probes: what each space holds, asked of held-out people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.cohort import load_cohort
from sepclr_neuro.config import Config, ProbeTarget
from sepclr_neuro.embedding import Representations, read_representations
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.splits import Fold, read_fold
from sepclr_neuro.storage import read_json, write_json, write_tsv

__all__ = [
    "Answer",
    "Question",
    "asked_people",
    "balanced_accuracy",
    "fit_probe",
    "inner_folds",
    "questions",
    "refuse_leaks",
    "write_probes",
]

# Both grids run from strong to weak: among equal inner scores, the first and so the simplest probe is taken.
LOGISTIC_C = [1e-3, 1e-2, 1e-1, 1.0, 10.0]
RIDGE_ALPHA = [1e4, 1e3, 1e2, 10.0, 1.0]
INNER_FOLDS = 5

SCORES = ["method", "fold", "target", "metric", "space", "value", "chance", "n_train", "n_test"]
PREDICTIONS = ["method", "fold", "target", "space", "scan_id", "truth", "prediction", "score"]
METRICS = {"classification": "bacc", "regression": "mae"}


def balanced_accuracy(truth: np.ndarray, prediction: np.ndarray) -> float:
    """The mean, over the classes present in ``truth`` [N], of the share of their members that is found; 0 to 1."""
    return float(np.mean([np.mean(prediction[truth == label] == label) for label in np.unique(truth)]))


@dataclass(frozen=True)
class Question:
    """A probe target with the answers that are known: nobody without a value is in it."""

    target: str
    kind: Literal["classification", "regression"]
    truth: pd.Series
    """By scan id: the class as text, or the number."""
    classes: tuple[str, ...]
    """All classes; of two, the second is the positive one. Empty for regression."""

    @property
    def metric(self) -> str:
        return METRICS[self.kind]


def asked_people(cohort: pd.DataFrame, target: ProbeTarget) -> pd.DataFrame:
    """The rows of the cohort that a target asks about, with or without a value."""
    return cohort if target.people == "all" else cohort[cohort["group"] == target.people]


def questions(config: Config, cohort: pd.DataFrame) -> list[Question]:
    """All questions that ``config.probes.targets`` asks, in that order.

    Diagnosis, asked of all people, means the side a person is on: the diagnoses of a side count as one class, named
    after them. The target group is the positive class.

    Raises:
        InputError: where a column's values do not suit the kind of probe.
    """
    found, problems = [], []
    for name, target in config.probes.targets.items():
        people = asked_people(cohort, target)
        truth = people.set_index("scan_id")[name].dropna()
        classes: tuple[str, ...] = ()
        numeric = pd.api.types.is_numeric_dtype(truth)
        if name == "diagnosis" and target.people == "all" and target.kind == "classification":
            classes = ("+".join(config.cohort.background), "+".join(config.cohort.target))
            sides = dict(zip(("background", "target"), classes, strict=True))
            truth = people.set_index("scan_id")["group"].map(sides)
        elif target.kind == "classification":
            if numeric and not np.all(truth == np.round(truth)):
                problems.append(
                    f"probes.targets.{name}.kind: a classification needs classes, but the column holds numbers such as "
                    f"{truth[truth != np.round(truth)].iloc[0]:g}; use `kind: regression`."
                )
            truth = truth.map(lambda value: f"{value:g}") if numeric else truth
            classes = tuple(sorted(set(truth)))
        elif not numeric and len(truth):
            problems.append(
                f"probes.targets.{name}.kind: a regression needs numbers, but the column holds text such as "
                f"{truth.iloc[0]!r}; use `kind: classification`."
            )
        found.append(Question(name, target.kind, truth, classes))
    if problems:
        raise InputError(problems)
    return found


def inner_folds(truth: np.ndarray, people: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers (train, test) of the inner folds of a fold's training side: people kept together, truth balanced.

    People are sorted by truth (of their first scan) and dealt to the folds in turn, so that each fold gets its share
    of each class, or of low and high values; a class of at least two people is in every inner training side.

    Args:
        truth: [N], numbers.
        people: [N], the person of each row.
    """
    _, first, person = np.unique(people, return_index=True, return_inverse=True)
    count = min(INNER_FOLDS, len(first))
    dealt = np.empty(len(first), dtype=int)
    dealt[np.argsort(truth[first], kind="stable")] = np.arange(len(first)) % count
    fold = dealt[person]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]


@dataclass(frozen=True)
class Answer:
    """A fitted probe on held-out people. The metric's natural unit: balanced accuracy 0 to 1, or the score's own."""

    value: float
    chance: float
    prediction: np.ndarray
    """[N test]: class or number."""
    score: np.ndarray
    """[N test]: log-odds of the positive of two classes, otherwise NaN."""
    weights: np.ndarray | None = None
    """[d], acting on the representation as it is: the scaler is folded in. None for more than two classes."""
    intercept: float = float("nan")


def fit_probe(question: Question, train: pd.DataFrame, test: pd.DataFrame, person: Mapping[str, str]) -> Answer | None:
    """Fits a probe on training scans and scores it on held-out ones; all of them must have a value.

    Classification is a logistic regression with balanced class weights, regression is ridge; both on standardised
    dimensions, with the strength of the penalty chosen by inner cross-validation of the metric that is reported.
    Balanced accuracy is over the classes present among held-out people; a class that the training side lacks counts
    as never found. Chance is 1 / (number of training classes), or the error of the training median.

    Args:
        train: [N, d], representations, one row a scan, indexed by scan id.
        test: [M, d], likewise.
        person: the participant of each training scan.

    Returns:
        None where there is nothing to learn (fewer than two people with a value, or for a classification fewer than
        two classes of at least two people) or nobody to score.
    """
    truth, test_truth = question.truth[train.index].to_numpy(), question.truth[test.index].to_numpy()
    people = np.array([person[scan] for scan in train.index])
    if len(test) == 0 or len(set(people)) < 2:
        return None
    if question.kind == "regression":
        y, grid = truth.astype(np.float64), {"ridge__alpha": RIDGE_ALPHA}
        scorer = make_scorer(mean_absolute_error, greater_is_better=False)
        model = Ridge()
    else:
        classes = [label for label in question.classes if label in truth]
        if sum(len(set(people[truth == label])) > 1 for label in classes) < 2:
            return None
        y, grid = np.array([classes.index(label) for label in truth]), {"logisticregression__C": LOGISTIC_C}
        scorer = make_scorer(balanced_accuracy)
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
    search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, scoring=scorer, cv=inner_folds(y, people))
    # Double precision: solvers stop earlier and less alike in single.
    x, x_test = train.to_numpy(np.float64), test.to_numpy(np.float64)
    scaler, fitted = search.fit(x, y).best_estimator_

    prediction = search.predict(x_test)
    score = np.full(len(test), np.nan)
    if question.kind == "regression":
        value = mean_absolute_error(test_truth, prediction)
        chance = mean_absolute_error(test_truth, np.full(len(test), np.median(y)))
    else:
        prediction = np.array(classes)[prediction]
        value, chance = balanced_accuracy(test_truth, prediction), 1 / len(classes)
        if len(question.classes) > 2:
            return Answer(value, chance, prediction, score)
        score = search.decision_function(x_test)
    weights = np.ravel(fitted.coef_) / scaler.scale_
    intercept = float(np.ravel(fitted.intercept_)[0] - scaler.mean_ @ weights)
    return Answer(value, chance, prediction, score, weights, intercept)


def refuse_leaks(
    method: str, fold: Fold, representations: Representations, trained_on: Collection[str], person: Mapping[str, str]
) -> None:
    """Raises unless the sides are the fold's and no held-out person trained the model, in this scan or another.

    Args:
        trained_on: scan ids that the model was trained on.
        person: the participant of each scan.

    Raises:
        InputError: naming each scan.
    """
    where = f"{method}, fold {fold.fold}"
    planned = dict.fromkeys(fold.train, "train") | dict.fromkeys(fold.test, "test")
    seen = dict(zip(representations.scan_ids, representations.side.tolist(), strict=True))
    problems = [
        f"{where}: scan {scan!r} is on side {planned.get(scan, 'none')} in splits.tsv, but on side "
        f"{seen.get(scan, 'none')} in the representations; run the method again with the present splits."
        for scan in sorted(planned.keys() | seen.keys())
        if planned.get(scan) != seen.get(scan)
    ]
    trained_people = {person.get(scan, scan) for scan in trained_on}
    problems += [
        f"{where}: scan {scan!r} is held out, but the model was trained on this person; train the fold again."
        for scan in sorted(fold.test)
        if person.get(scan, scan) in trained_people
    ]
    if problems:
        raise InputError(problems)


def write_probes(config: Config, results: Results) -> None:
    """Probes every method, fold, target and space; writes scores.tsv, predictions.tsv and coefficients.json.

    Values and chance are in natural units: ``bacc`` from 0 to 1, ``mae`` in the target's unit. A target that cannot be
    probed in a fold has ``n/a`` for both. ``n_train`` and ``n_test`` count scans with a value. Columns and keys:
    docs/architecture.md; ``classes`` is empty for regression, and [negative, positive] otherwise.

    Raises:
        InputError: if a target does not suit its column, if a held-out person was trained on, or if a representation
            is not finite.
    """
    cohort = load_cohort(results)
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    asked = questions(config, cohort)
    # All are read before any is probed: what is wrong in the last fold is told within seconds.
    folds = [read_fold(results, number) for number in range(config.splits.count)]
    read = [(method, fold, _read_spaces(results, method, fold, person)) for method in config.methods for fold in folds]
    scores: list[dict[str, Any]] = []
    predictions = [pd.DataFrame(columns=PREDICTIONS)]
    coefficients: list[dict[str, Any]] = []
    for method, fold, spaces in read:
        for question in asked:
            train = [scan for scan in fold.train if scan in question.truth.index]
            test = [scan for scan in fold.test if scan in question.truth.index]
            for space, values in spaces.items():
                key = {"method": method, "fold": fold.fold, "target": question.target, "space": space}
                answer = fit_probe(question, values.loc[train], values.loc[test], person)
                figures = {"value": answer and answer.value, "chance": answer and answer.chance}
                scores.append(
                    key | {"metric": question.metric} | figures | {"n_train": len(train), "n_test": len(test)}
                )
                if answer is None:
                    continue
                truth = [_text(value) for value in question.truth[test]]
                prediction = [_text(value) for value in answer.prediction]
                told = {"scan_id": test, "truth": truth, "prediction": prediction, "score": answer.score}
                predictions.append(pd.DataFrame(key | told))
                if answer.weights is not None:
                    function = {"weights": answer.weights.tolist(), "intercept": answer.intercept}
                    coefficients.append(key | function | {"classes": list(question.classes)})
    write_tsv(results.scores, pd.DataFrame(scores)[SCORES])
    write_tsv(results.predictions, pd.concat(predictions))
    write_json(results.coefficients, coefficients)


def _read_spaces(results: Results, method: str, fold: Fold, person: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The representations [N, d] of a fold by space, indexed by scan id, refused where they leak or are not finite."""
    representations = read_representations(results, method, fold.fold)
    metadata = read_json(results.model_folder(method, fold.fold) / "model.json")
    refuse_leaks(method, fold, representations, metadata["train_scan_ids"], person)
    for space, values in representations.spaces.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"{method}, fold {fold.fold}: the {space} representation has values that are not finite, so the "
                "training diverged; lower `learning_rate` and train again."
            )
    return {
        space: pd.DataFrame(values, index=representations.scan_ids) for space, values in representations.spaces.items()
    }


def _text(value: Any) -> str:
    """One column holds classes and numbers: numbers are written with the digits that all tables have."""
    return value if isinstance(value, str) else f"{value:.6g}"
