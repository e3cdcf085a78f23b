"""One probe, fitted on training participants, its penalty chosen among them, and scored on held-out ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed, parallel_config
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sepclr_neuro.config.probes import PROBES
from sepclr_neuro.core.devices import given_threads
from sepclr_neuro.core.metrics import METRICS as METRIC
from sepclr_neuro.core.progress import followed
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.linear_probes import (
    logistic_path,
    logistic_scores,
    ridge_path,
    ridge_predictions,
    scaling,
    softmax_path,
)
from sepclr_neuro.probing.questions import Question

__all__ = [
    "Answer",
    "Fit",
    "LinearModel",
    "ProbeModels",
    "fit_in_parallel",
    "fit_probe",
    "logistic",
    "participant_folds",
    "refit",
    "refits",
    "ridge",
]

# All grids run from strong to weak: among equal inner scores, the first and so the simplest probe is taken.
LOGISTIC_C = [1e-3, 1e-2, 1e-1, 1.0, 10.0]
RIDGE_ALPHA = [1e4, 1e3, 1e2, 10.0, 1.0]
SVM_C = [0.1, 1.0, 10.0]
SVM_SCANS = 2000
"""The most that a support vector machine is fitted on: its time grows faster than with the square of their number."""
WIDE = 500
"""Dimensions beyond which a probe of several classes is fitted by our own solver in place of scikit-learn's."""
INNER_FOLDS = 5


def participant_folds(truth: np.ndarray, people: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers (train, test) of the inner folds of a training side: participants kept together, truth balanced.

    Participants are sorted by truth (of their first scan) and dealt to the folds in turn, so that each fold gets its
    share of each class, or of low and high values; a class of at least two participants is in every inner training
    side.

    Args:
        truth: [N], numbers.
        people: [N], the participant of each row.
    """
    _, first, person = np.unique(people, return_index=True, return_inverse=True)
    count = min(INNER_FOLDS, len(first))
    dealt = np.empty(len(first), dtype=int)
    dealt[np.argsort(truth[first], kind="stable")] = np.arange(len(first)) % count
    fold = dealt[person]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]


@dataclass(frozen=True)
class Answer:
    """A fitted probe on held-out participants. Figures by metric, in its natural unit; NaN where there is none.

    Attributes:
        values: of held-out participants.
        chance: of a classifier that guesses, or of always predicting the training median.
        train_values: of the participants that the probe was fitted on.
        prediction: [N test], class or number.
        score: [N test], log-odds of the positive of two classes, otherwise NaN.
        penalty: that the probe was fitted with: alpha of a ridge, C of the others.
        weights: [d], acting on the representation as it is: the scaler is folded in. None for more than two classes,
            outside the standard regime and of a probe that is not linear.
        intercept: beside them.
    """

    values: dict[str, float]
    chance: dict[str, float]
    train_values: dict[str, float]
    prediction: np.ndarray
    score: np.ndarray
    penalty: float
    weights: np.ndarray | None = None
    intercept: float = float("nan")


@dataclass(frozen=True)
class LinearModel:
    """Ridge regression, or logistic regression of two classes: weights [d] and intercept."""

    weights: np.ndarray
    intercept: float
    classes: bool

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weights + self.intercept

    def predict(self, x: np.ndarray) -> np.ndarray:
        scores = self.decision_function(x)
        return (scores > 0).astype(np.int64) if self.classes else scores


@dataclass(frozen=True)
class SoftmaxModel:
    """Logistic regression of K classes: weights [K, d], intercepts [K], and the number of each class."""

    weights: np.ndarray
    intercepts: np.ndarray
    classes: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.classes[(x @ self.weights.T + self.intercepts).argmax(axis=1)]


@dataclass(frozen=True)
class ProbeModels:
    """How a kind of probe is fitted.

    Attributes:
        penalties: to choose from, from the strongest, which makes the simplest probe, to the weakest.
        fit: from features [N, d] on one scale, answers [N] (classes by their position) and penalties to a fitted model
            each, with ``predict`` and, of classes, ``decision_function`` for two of them. Only a :class:`LinearModel`
            has weights, and so maps.
        paper: the unfitted model of the paper's regime, as scikit-learn's, and the name of its penalty.
        refit: what the probe would predict if participants had other answers, numbers as :func:`ridge_predictions` or
            scores of classes as :func:`logistic_scores`; None leaves predictions as they are when the null is drawn.
        refit_paper: the same in the paper's regime.
    """

    penalties: Sequence[float]
    fit: Callable[[np.ndarray, np.ndarray, Sequence[float]], Sequence[Any]]
    paper: tuple[Callable[[], Any], str]
    refit: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray] | None = None
    refit_paper: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray] | None = None


def _ridges(z: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> Sequence[Any]:
    return [LinearModel(*found, False) for found in zip(*ridge_path(z, y, penalties), strict=True)]


def _logistics(z: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> Sequence[Any]:
    if y.max() > 1 and z.shape[1] > WIDE:
        present, y = np.unique(y, return_inverse=True)
        return [SoftmaxModel(*found, present) for found in zip(*softmax_path(z, y, penalties), strict=True)]
    if y.max() > 1:
        return [LogisticRegression(C=c, class_weight="balanced", max_iter=1000).fit(z, y) for c in penalties]
    return [LinearModel(*found, True) for found in zip(*logistic_path(z, y, penalties), strict=True)]


def _support_vectors(z: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> Sequence[Any]:
    if len(y) > SVM_SCANS:  # so many of each class that all keep their share
        some = np.argsort(y, kind="stable")[np.linspace(0, len(y) - 1, SVM_SCANS).astype(int)]
        z, y = z[some], y[some]
    _, position, members = np.unique(y, return_inverse=True, return_counts=True)
    # What `class_weight="balanced"` is, of which scikit-learn checks more than it computes.
    share = (len(y) / (len(members) * members))[position]
    return [SVC(C=c).fit(z, y, share) for c in penalties]


def ridge() -> ProbeModels:
    """Of the kind `regression`."""
    return ProbeModels(RIDGE_ALPHA, _ridges, (Ridge, "alpha"), ridge_predictions, ridge_predictions)


def logistic() -> ProbeModels:
    """Of the kind `classification`."""
    unweighted = partial(logistic_scores, balanced=False)
    return ProbeModels(LOGISTIC_C, _logistics, (LogisticRegression, "C"), logistic_scores, unweighted)


def _models_of(question: Question) -> ProbeModels:
    if question.regime == "nonlinear":
        return ProbeModels(SVM_C, _support_vectors, (SVC, "C"))
    return PROBES[question.kind].load()()


class _Chosen:
    """Scaling and model, the strength of whose penalty inner folds chose: all of it from training participants.

    scikit-learn's ``GridSearchCV`` on these folds chooses the same 63 penalties of 63 and takes 25 times as long;
    ``LogisticRegressionCV`` takes 8 times as long and scales by the inner held-out participants too; ``GroupKFold``
    deals by participants alone, so that an inner fold may lack a class.
    """

    def __init__(self, question: Question, people: np.ndarray) -> None:
        self.people, self.metric = people, METRIC[question.metrics[0]]
        models = _models_of(question)
        self.penalties, self._models = models.penalties, models.fit

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        sums = np.zeros(len(self.penalties))
        for train, test in participant_folds(y, self.people):
            mean, scale = scaling(x[train])
            z, z_test = (x[train] - mean) / scale, (x[test] - mean) / scale
            models = self._models(z, y[train], self.penalties)
            sums += [self.metric.value(y[test], model.predict(z_test)) for model in models]
        # Among equals the first and so the simplest one.
        self.penalty = self.penalties[int(sums.argmax() if self.metric.higher_is_better else sums.argmin())]
        self.mean, self.scale = scaling(x)
        (self.model,) = self._models(self._scaled(x), y, [self.penalty])

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(self._scaled(x))

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return self.model.decision_function(self._scaled(x))

    def raw(self) -> tuple[np.ndarray | None, float]:
        """Weights [d] and intercept on dimensions as they are; none of a model that is not linear."""
        if not isinstance(self.model, LinearModel):
            return None, float("nan")
        weights = self.model.weights / self.scale
        return weights, float(self.model.intercept - self.mean @ weights)


def fit_probe(
    question: Question,
    train: pd.DataFrame,
    test: pd.DataFrame,
    person: Mapping[str, str],
) -> Answer | None:
    """Fits a probe on training scans and scores it on held-out ones; all of them must have a value.

    In the standard regime, classification is a logistic regression with balanced class weights, regression is ridge;
    both on standardised dimensions, with the strength of the penalty chosen by inner cross-validation of the metric
    that is reported. In the paper's regime both are scikit-learn's defaults on the dimensions as they are. The
    nonlinear one, for classes, is a support vector machine with a Gaussian kernel in place of logistic regression,
    fitted on at most ``SVM_SCANS`` of the training scans.
    Balanced accuracy is over the classes present among held-out participants, and needs two; a class that the training
    side lacks counts as never found. Chance is 1 / (number of training classes), or the error of the training median.

    Args:
        train: [N, d], representations, one row a scan, indexed by scan id.
        test: [M, d], likewise.
        person: the participant of each training scan.

    Returns:
        None where there is nothing to learn (fewer than two participants with a value, or for a classification fewer
        than two classes of at least two participants) or none to score (for a classification, none of a training
        class).
    """
    truth, test_truth = question.truth[train.index].to_numpy(), question.truth[test.index].to_numpy()
    people = np.array([person[scan] for scan in train.index])
    if len(test) == 0 or len(set(people)) < 2:
        return None
    classes = [label for label in question.classes if label in truth]
    if question.of_classes:
        if sum(len(set(people[truth == label])) > 1 for label in classes) < 2 or not set(classes) & set(test_truth):
            return None
        y = np.array([classes.index(label) for label in truth])
    else:
        y = truth.astype(np.float64)
    # Double precision: solvers stop earlier and less alike in single.
    x, x_test = train.to_numpy(np.float64), test.to_numpy(np.float64)
    fitted: Any = _Chosen(question, people)
    if question.regime == "paper":
        fitted = _models_of(question).paper[0]()
    # Checked when representations are read, and thousands of times again otherwise.
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        # scikit-learn's default of 100 iterations is part of the paper's regime, reached or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(x, y)

    predicted: dict[str, dict[str, np.ndarray]] = {}
    for side, rows in (("train", x), ("test", x_test)):
        prediction = fitted.predict(rows)
        score = np.full(len(rows), np.nan)
        if question.of_classes:
            # A fold may lack a class, so that its own numbers are not the question's.
            prediction = np.array([question.classes.index(label) for label in classes])[prediction]
            if len(question.classes) == 2:
                score = fitted.decision_function(rows)
        predicted[side] = {"prediction": prediction, "score": score}
    baseline = np.empty(0) if question.of_classes else np.full(len(test), np.median(y))
    numbers = {"train": question.numbers(train.index), "test": question.numbers(test.index)}
    values: dict[str, dict[str, float]] = {"train": {}, "test": {}, "chance": {}}
    for name in question.metrics:
        metric = METRIC[name]
        for side, found in predicted.items():
            scorable = not question.of_classes or len(np.unique(numbers[side])) > 1
            value = metric.value(numbers[side], found["score" if metric.of_score else "prediction"])
            values[side][name] = float(value) if scorable else float("nan")
    if not question.of_classes:
        values["chance"] = {"mae": float(METRIC["mae"].value(numbers["test"], baseline)), "r2": 0.0}
        prediction = predicted["test"]["prediction"]
    else:
        values["chance"] = {"bacc": 1 / len(classes), "auc": 0.5}
        prediction = np.array(question.classes)[predicted["test"]["prediction"]]
    weights, intercept = None, float("nan")
    if question.regime == "standard" and len(question.classes) <= 2:
        weights, intercept = fitted.raw()
    penalty = getattr(fitted, _models_of(question).paper[1] if question.regime == "paper" else "penalty")
    score = predicted["test"]["score"]
    return Answer(
        values["test"], values["chance"], values["train"], prediction, score, float(penalty), weights, intercept
    )


def refits(question: Question) -> bool:
    """Whether the null of a question's figures is drawn by fitting its probes anew."""
    models = _models_of(question)
    return (models.refit_paper if question.regime == "paper" else models.refit) is not None


def refit(
    question: Question, train: np.ndarray, answers: np.ndarray, test: np.ndarray, penalty: float
) -> dict[str, np.ndarray]:
    """Predictions of a probe, refitted to other values of its training participants with the same penalty.

    Args:
        train: [N, d], representations.
        answers: [P, N], P times an answer of each.
        test: [M, d], representations of held-out participants.
        penalty: that the probe was fitted with.

    Returns:
        ``prediction`` [P, M], numbers or classes by their position, and of two classes the log-odds ``score`` [P, M].
    """
    models = _models_of(question)
    model = models.refit_paper
    if question.regime != "paper":
        mean, scale = scaling(train)
        train, test, model = (train - mean) / scale, (test - mean) / scale, models.refit
    if model is None:
        raise ValueError(f"a probe of the kind {question.kind} is not refitted")
    found = model(train, answers, test, penalty)
    if not question.of_classes:
        return {"prediction": found}
    predicted = {"prediction": found.argmax(axis=-1)}
    return predicted | ({"score": found[..., 1] - found[..., 0]} if len(question.classes) == 2 else {})


@dataclass(frozen=True)
class Fit:
    """One probe to be fitted: a question, with features [N, d] (by scan id) of the participants of a fold.

    ``beside`` [N, k] are more features, put before the others when the probe is fitted: many probes share a table.
    """

    key: dict[str, Any]
    question: Question
    features: pd.DataFrame
    fold: Fold
    beside: pd.DataFrame | None = None

    @property
    def train(self) -> list[str]:
        """Scans with a value to fit on."""
        return [scan for scan in self.fold.probed if scan in self.question.truth.index]

    @property
    def test(self) -> list[str]:
        """Held-out scans with a value."""
        return [scan for scan in self.fold.test if scan in self.question.truth.index]

    def answer(self, person: Mapping[str, str]) -> Answer | None:
        """See :func:`fit_probe`."""
        return fit_probe(self.question, self._of(self.train), self._of(self.test), person)

    def _of(self, scans: list[str]) -> pd.DataFrame:
        tables = [self.features] if self.beside is None else [self.beside, self.features]
        return pd.concat([table.loc[scans] for table in tables], axis=1)


def fit_in_parallel(fits: Sequence[Fit], person: Mapping[str, str], label: str = "probes") -> list[Answer | None]:
    """Fits probes side by side, a process a given thread; the answers are in the order of the probes.

    ``label`` names the work in messages about its progress.
    """
    workers = min(given_threads() or cpu_count(), len(fits) // 8 + 1)
    # A probe's matrices are so small that BLAS threads, of which Snakemake's OMP_NUM_THREADS would have some a process,
    # wait for each other.
    with threadpool_limits(1), parallel_config("loky", inner_max_num_threads=1):
        answers = Parallel(n_jobs=workers, return_as="generator")(delayed(fit.answer)(person) for fit in fits)
        return list(followed(answers, len(fits), label))
