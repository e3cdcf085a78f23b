"""Linear probes: what each space holds, asked of held-out people, and what each figure is worth beside chance."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed, parallel_config
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.core.devices import given_threads
from sepclr_neuro.core.errors import Alike, InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import say
from sepclr_neuro.core.statistics import METRICS as METRIC
from sepclr_neuro.core.statistics import Labels, Verdict
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.cohort import OTHER_SEX, load_cohort
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.probing.linear_probes import logistic_path, ridge_path, ridge_predictions, scaling
from sepclr_neuro.probing.representations import Representations, read_representations

__all__ = [
    "Answer",
    "Fit",
    "Question",
    "answers",
    "as_asked",
    "asked_people",
    "confound_features",
    "draw_labels",
    "fit_in_parallel",
    "fit_probe",
    "inner_folds",
    "judge",
    "not_asked",
    "on_permutations",
    "questions",
    "read_spaces",
    "refit",
    "refuse_leaks",
    "told",
    "write_probes",
    "write_verdicts",
]

# All grids run from strong to weak: among equal inner scores, the first and so the simplest probe is taken.
LOGISTIC_C = [1e-3, 1e-2, 1e-1, 1.0, 10.0]
RIDGE_ALPHA = [1e4, 1e3, 1e2, 10.0, 1.0]
SVM_C = [0.1, 1.0, 10.0]
INNER_FOLDS = 5

Regime = Literal["standard", "paper", "nonlinear"]
# Of each kind of probe; the first is the paper's, and chooses the penalty.
METRICS = {"classification": ("bacc", "auc"), "regression": ("mae", "r2")}
PROBE = ["regime", "method", "target", "metric", "space"]
SCORES = [
    *("regime", "method", "fold", "target", "metric", "space", "value", "chance", "train_value"),
    *("n_train", "n_test", "penalty"),
]
PREDICTIONS = ["regime", "method", "fold", "target", "space", "scan_id", "truth", "prediction", "score"]
VERDICTS = [*PROBE, "pooled", "null95", "p", "ci_low", "ci_high", "n", "missing"]
INCREMENTS = ["method", "fold", "target", "metric", "space", "confounds", "combined", "increment", "n_train", "n_test"]
PERCENTILES = list(range(101))


# --- questions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """A probe target with the answers that are known: nobody without a value is in it."""

    target: str
    kind: Literal["classification", "regression"]
    truth: pd.Series
    """By scan id: the class as text, or the number."""
    classes: tuple[str, ...]
    """All classes; of two, the second is the positive one. Empty for regression."""
    regime: Regime = "standard"
    missing: int = 0
    """People who are asked about and have no value."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Area under the curve is for two classes."""
        return METRICS[self.kind][:1] if len(self.classes) > 2 else METRICS[self.kind]

    def numbers(self, scans: Iterable[str]) -> np.ndarray:
        """The answers as numbers, classes as their positions: [N] for N scans."""
        truth = self.truth[list(scans)]
        if self.kind == "regression":
            return truth.to_numpy(np.float64)
        return np.array([self.classes.index(label) for label in truth], dtype=np.int64)


def asked_people(cohort: pd.DataFrame, target: ProbeTarget) -> pd.DataFrame:
    """The rows of the cohort that a target asks about, with or without a value."""
    return cohort if target.people == "all" else cohort[cohort["group"] == target.people]


def answers(people: pd.DataFrame, name: str) -> pd.Series:
    """What people answer to a target. A sex that is neither female nor male is none: a probe tells two apart."""
    return people[name].where(people[name] != OTHER_SEX) if name == "sex" else people[name]


def as_asked(config: Config, cohort: pd.DataFrame) -> Config:
    """The configuration whose defaults follow the cohort: nothing is asked in which people do not differ, and no
    confound is taken that somebody lacks.

    Targets and confounds that the configuration lists stay as they are.
    """
    probes, saliency = config.probes, config.saliency
    changed: dict[str, Any] = {}
    if "targets" not in probes.model_fields_set:
        listed = saliency.targets if "targets" in saliency.model_fields_set else []
        kept = {
            name: target
            for name, target in probes.targets.items()
            if name in listed or answers(asked_people(cohort, target), name).nunique() > 1
        }
        changed["targets"] = kept
        mapped = [name for name in saliency.targets if name in kept]
        config = config.model_copy(update={"saliency": saliency.model_copy(update={"targets": mapped})})
    if "confounds" not in probes.model_fields_set:
        whole = [name for name in probes.confounds if cohort[name].notna().all()]
        changed["confounds"] = [name for name in whole if cohort[name].nunique() > 1]
    return config.model_copy(update={"probes": probes.model_copy(update=changed)})


def not_asked(config: Config, cohort: pd.DataFrame) -> list[str]:
    """A line each on scores that the configuration has none of, and on what is left out since people do not differ."""
    left = as_asked(config, cohort).probes
    gone = set(config.probes.confounds) - set(left.confounds)
    unknown = {name: int(cohort[name].isna().sum()) for name in gone if cohort[name].nunique() > 1}
    names = [*config.probes.targets.keys() - left.targets.keys(), *gone - set(unknown)]
    said = []
    for name in sorted(set(names)):
        known = answers(cohort, name).dropna().unique()
        said.append(f"{name} (all have {known[0]})" if len(known) else f"{name} (nobody has one)")
    lines = [f"not probed and no confound, since people do not differ in it: {', '.join(said)}"] if said else []
    if unknown:
        missing = ", ".join(f"{name} ({count} scans lack it)" for name, count in sorted(unknown.items()))
        lines.append(f"no confound, since `probes.confounds` does not list it and it is missing in places: {missing}")
    if not config.scores and "targets" not in config.probes.model_fields_set:
        lines.append("`cohort.scores` lists no symptom score, so that none is probed or mapped")
    return lines


def questions(config: Config, cohort: pd.DataFrame, regime: Regime = "standard") -> list[Question]:
    """All questions that the probes' targets ask, in that order, after :func:`as_asked`.

    Diagnosis, asked of all people, means the side a person is on: the diagnoses of a side count as one class, named
    after them. The target group is the positive class. The paper's regime asks everything else of the target group.

    Raises:
        InputError: where a column's values do not suit the kind of probe, or a confound has missing values.
    """
    found, problems, config = [], [], as_asked(config, cohort)
    for name, target in config.probes.targets.items():
        people = asked_people(cohort, target)
        sides_only = name == "diagnosis" and target.people == "all" and target.kind == "classification"
        if regime == "paper" and not sides_only and target.people == "all":
            people = people[people["group"] == "target"]
        truth = answers(people.set_index("scan_id"), name).dropna()
        classes: tuple[str, ...] = ()
        numeric = pd.api.types.is_numeric_dtype(truth)
        if sides_only:
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
        person = people.set_index("scan_id")["participant_id"]
        missing = person.nunique() - person[truth.index].nunique()
        found.append(Question(name, target.kind, truth, classes, regime, missing))
    for name in config.probes.confounds:
        without = cohort.loc[cohort[name].isna(), "participant_id"].tolist()
        if without:
            problems.append(
                f"probes.confounds: {name} is missing for {len(without)} scans (participant {without[0]} first); "
                f"leave such people out by `cohort.include`, or take {name} out of the confounds."
            )
    if problems:
        raise InputError(problems)
    return found


def confound_features(cohort: pd.DataFrame, names: Sequence[str], train: Collection[str]) -> pd.DataFrame:
    """Confounds as a probe reads them, [N, k] by scan id: numbers as they are, a column for each training class.

    Args:
        names: columns of the cohort, without missing values.
        train: scans of which the classes are taken; a class that they lack is 0 in every column.
    """
    table = cohort.set_index("scan_id")
    features = pd.DataFrame(index=table.index)
    for name in names:
        if pd.api.types.is_numeric_dtype(table[name]):
            features[name] = table[name]
        else:
            for label in sorted(table.loc[list(train), name].unique()):
                features[f"{name}={label}"] = (table[name] == label).astype(float)
    return features


# --- one probe ---------------------------------------------------------------------------------------------------


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
    """A fitted probe on held-out people. Figures by metric, in its natural unit; NaN where held-out people have none.

    Attributes:
        values: of held-out people.
        chance: of a classifier that guesses, or of always predicting the training median.
        train_values: of the people that the probe was fitted on.
        prediction: [N test], class or number.
        score: [N test], log-odds of the positive of two classes, otherwise NaN.
        penalty: that the probe was fitted with: alpha of a ridge, C of the others.
        weights: [d], acting on the representation as it is: the scaler is folded in. None for more than two classes
            and outside the standard regime.
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
class _Linear:
    """Ridge regression, or logistic regression of two classes: weights [d] and intercept."""

    weights: np.ndarray
    intercept: float
    classes: bool

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weights + self.intercept

    def predict(self, x: np.ndarray) -> np.ndarray:
        told = self.decision_function(x)
        return (told > 0).astype(np.int64) if self.classes else told


class _Chosen:
    """Scaling and model, the strength of whose penalty inner folds chose: all of it from training people."""

    def __init__(self, question: Question, people: np.ndarray) -> None:
        self.people, self.question, self.metric = people, question, METRIC[question.metrics[0]]
        self.penalties = RIDGE_ALPHA if question.kind == "regression" else LOGISTIC_C
        if question.regime == "nonlinear":
            self.penalties = SVM_C

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        sums = np.zeros(len(self.penalties))
        for train, test in inner_folds(y, self.people):
            mean, scale = scaling(x[train])
            z, z_test = (x[train] - mean) / scale, (x[test] - mean) / scale
            models = self._models(z, y[train], self.penalties)
            sums += [self.metric.value(y[test], model.predict(z_test)) for model in models]
        # Among equals the first and so the simplest one.
        self.penalty = self.penalties[int(sums.argmax() if self.metric.higher_is_better else sums.argmin())]
        self.mean, self.scale = scaling(x)
        (self.model,) = self._models(self._scaled(x), y, [self.penalty])

    def _models(self, z: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> Sequence[Any]:
        """A fitted model for each penalty."""
        if self.question.regime == "nonlinear":
            _, position, members = np.unique(y, return_inverse=True, return_counts=True)
            # What `class_weight="balanced"` is, of which scikit-learn checks more than it computes.
            share = (len(y) / (len(members) * members))[position]
            return [SVC(C=c).fit(z, y, share) for c in penalties]
        if self.question.kind == "regression":
            return [_Linear(*found, False) for found in zip(*ridge_path(z, y, penalties), strict=True)]
        if y.max() > 1:
            return [LogisticRegression(C=c, class_weight="balanced", max_iter=1000).fit(z, y) for c in penalties]
        return [_Linear(*found, True) for found in zip(*logistic_path(z, y, penalties), strict=True)]

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(self._scaled(x))

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return self.model.decision_function(self._scaled(x))

    def raw(self) -> tuple[np.ndarray, float]:
        """Weights [d] and intercept on dimensions as they are."""
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
    nonlinear one, for classes, is a support vector machine with a Gaussian kernel in place of logistic regression.
    Balanced accuracy is over the classes present among held-out people, and needs two; a class that the training side
    lacks counts as never found. Chance is 1 / (number of training classes), or the error of the training median.

    Args:
        train: [N, d], representations, one row a scan, indexed by scan id.
        test: [M, d], likewise.
        person: the participant of each training scan.

    Returns:
        None where there is nothing to learn (fewer than two people with a value, or for a classification fewer than
        two classes of at least two people) or nobody to score (for a classification, nobody of a training class).
    """
    truth, test_truth = question.truth[train.index].to_numpy(), question.truth[test.index].to_numpy()
    people = np.array([person[scan] for scan in train.index])
    if len(test) == 0 or len(set(people)) < 2:
        return None
    classes = [label for label in question.classes if label in truth]
    if question.kind == "classification":
        if sum(len(set(people[truth == label])) > 1 for label in classes) < 2 or not set(classes) & set(test_truth):
            return None
        y = np.array([classes.index(label) for label in truth])
    else:
        y = truth.astype(np.float64)
    # Double precision: solvers stop earlier and less alike in single.
    x, x_test = train.to_numpy(np.float64), test.to_numpy(np.float64)
    fitted: Any = _Chosen(question, people)
    if question.regime == "paper":
        fitted = LogisticRegression() if question.kind == "classification" else Ridge()
    # Checked when representations are read, and thousands of times again otherwise.
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        # scikit-learn's default of 100 iterations is part of the paper's regime, reached or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(x, y)

    told: dict[str, dict[str, np.ndarray]] = {}
    for side, rows in (("train", x), ("test", x_test)):
        prediction = fitted.predict(rows)
        score = np.full(len(rows), np.nan)
        if question.kind == "classification":
            # A fold may lack a class, so that its own numbers are not the question's.
            prediction = np.array([question.classes.index(label) for label in classes])[prediction]
            if len(question.classes) == 2:
                score = fitted.decision_function(rows)
        told[side] = {"prediction": prediction, "score": score}
    baseline = np.full(len(test), np.median(y)) if question.kind == "regression" else np.empty(0)
    numbers = {"train": question.numbers(train.index), "test": question.numbers(test.index)}
    values: dict[str, dict[str, float]] = {"train": {}, "test": {}, "chance": {}}
    for name in question.metrics:
        metric = METRIC[name]
        for side, found in told.items():
            scorable = question.kind == "regression" or len(np.unique(numbers[side])) > 1
            value = metric.value(numbers[side], found["score" if metric.of_score else "prediction"])
            values[side][name] = float(value) if scorable else float("nan")
    if question.kind == "regression":
        values["chance"] = {"mae": float(METRIC["mae"].value(numbers["test"], baseline)), "r2": 0.0}
        prediction = told["test"]["prediction"]
    else:
        values["chance"] = {"bacc": 1 / len(classes), "auc": 0.5}
        prediction = np.array(question.classes)[told["test"]["prediction"]]
    weights, intercept = None, float("nan")
    if question.regime == "standard" and len(question.classes) <= 2:
        weights, intercept = fitted.raw()
    if question.regime == "paper":
        penalty = fitted.alpha if question.kind == "regression" else fitted.C
    else:
        penalty = fitted.penalty
    score = told["test"]["score"]
    return Answer(
        values["test"], values["chance"], values["train"], prediction, score, float(penalty), weights, intercept
    )


def refit(question: Question, train: np.ndarray, answers: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
    """What a probe of numbers would predict if training people had other answers, the penalty being the same.

    Args:
        train: [N, d], representations.
        answers: [P, N], P times an answer of each.
        test: [M, d], representations of held-out people.
        penalty: alpha of the ridge.

    Returns:
        [P, M].
    """
    if question.regime != "paper":
        mean, scale = scaling(train)
        train, test = (train - mean) / scale, (test - mean) / scale
    return ridge_predictions(train, answers, test, penalty)


@dataclass(frozen=True)
class Fit:
    """One probe to be fitted: a question, asked of features [N, d] (by scan id) of the people of a fold."""

    key: dict[str, Any]
    question: Question
    features: pd.DataFrame
    fold: Fold

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
        train, test = self.features.loc[self.train], self.features.loc[self.test]
        return fit_probe(self.question, train, test, person)


def fit_in_parallel(fits: Sequence[Fit], person: Mapping[str, str]) -> list[Answer | None]:
    """Fits probes side by side, a process a given thread; the answers are in the order of the probes."""
    workers = min(given_threads() or cpu_count(), len(fits) // 8 + 1)
    # A probe's matrices are so small that BLAS threads, of which Snakemake's OMP_NUM_THREADS would have some a process,
    # wait for each other.
    with threadpool_limits(1), parallel_config("loky", inner_max_num_threads=1):
        return Parallel(n_jobs=workers)(delayed(fit.answer)(person) for fit in fits)


# --- leaks -------------------------------------------------------------------------------------------------------


def refuse_leaks(
    method: str, fold: Fold, representations: Representations, trained_on: Collection[str], person: Mapping[str, str]
) -> None:
    """Raises unless the sides are the fold's and no held-out person trained the model, in this scan or another.

    People who are kept from the model so that probes can be fitted on them count as held out.

    Args:
        trained_on: scan ids that the model was trained on.
        person: the participant of each scan.

    Raises:
        InputError: naming each scan.
    """
    where = f"{method}, fold {fold.fold}"
    planned = dict.fromkeys(fold.train, "train") | dict.fromkeys(fold.probe, "probe") | dict.fromkeys(fold.test, "test")
    seen = dict(zip(representations.scan_ids, representations.side.tolist(), strict=True))
    problems = [
        Alike(
            f"{where}: scan {scan!r} is on side {planned.get(scan, 'none')} in splits.tsv, but on side "
            f"{seen.get(scan, 'none')} in the representations; run the method again with the present splits.",
            scan,
            "another side",
        )
        for scan in sorted(planned.keys() | seen.keys())
        if planned.get(scan) != seen.get(scan)
    ]
    trained_people = {person.get(scan, scan) for scan in trained_on}
    problems += [
        Alike(
            f"{where}: scan {scan!r} is held out, but the model was trained on this person; train the fold again.",
            scan,
            "trained on",
        )
        for scan in sorted([*fold.probe, *fold.test])
        if person.get(scan, scan) in trained_people
    ]
    if problems:
        raise InputError(problems)


def read_spaces(results: Results, method: str, fold: Fold, person: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The representations [N, d] of a fold by space, indexed by scan id, refused where they leak or are not finite.

    Raises:
        InputError: if a held-out person was trained on, or a representation is not finite.
    """
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


# --- all probes --------------------------------------------------------------------------------------------------


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
    write_tsv(results.increments, _increments(config, cohort, probes, answers, person))


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


def told(fit: Fit, answer: Answer) -> pd.DataFrame:
    """What was told about held-out scans: ``scan_id fold prediction score``; classes as their positions."""
    prediction = answer.prediction
    if fit.question.kind == "classification":
        prediction = np.array([fit.question.classes.index(label) for label in prediction])
    return pd.DataFrame({"scan_id": fit.test, "fold": fit.fold.fold, "prediction": prediction, "score": answer.score})


def draw_labels(config: Config, cohort: pd.DataFrame, question: Question, within: str | None) -> Labels:
    """Permutations and bootstrap samples of a question's people, the same whatever else is asked.

    Args:
        within: the column of the cohort whose classes labels are exchanged in; None for all people alike.
    """
    scans = question.truth.index
    table = cohort.set_index("scan_id").loc[scans]
    strata = table[within].astype(str).to_numpy() if within else np.zeros(len(scans))
    return Labels.draw(
        question.numbers(scans),
        table["participant_id"].to_numpy(str),
        strata,
        question.kind == "classification",
        config.probes.permutations,
        config.probes.bootstraps,
        seed_of(config.seed, crc32(question.target.encode())),
    )


def judge(
    labels: Labels, question: Question, told: Sequence[pd.DataFrame], refitted: np.ndarray | None = None
) -> dict[str, Verdict]:
    """What each metric of a probe is worth.

    Args:
        told: from :func:`told`, of each fold that has an answer.
        refitted: [permutations, R], what probes predict that were fitted on each permutation, in the order of ``told``;
            None where predictions stay as they are.
    """
    nothing = pd.DataFrame({"scan_id": [], "fold": [], "prediction": [], "score": []})
    table = pd.concat(told) if told else nothing
    scan = question.truth.index.get_indexer(pd.Index(table["scan_id"]))
    fold = table["fold"].to_numpy(int)
    found = {}
    for name in question.metrics:
        values = table["score" if METRIC[name].of_score else "prediction"].to_numpy(float)
        found[name] = labels.judge(name, scan, values, fold, refitted)
    return found


def write_verdicts(config: Config, results: Results) -> None:
    """Judges every figure that :func:`write_probes` found beside chance: the tables verdicts.tsv and nulls.tsv.

    Of numbers the whole probe is fitted anew on every permutation, with the penalty that it has. Classes are judged by
    the predictions as they are; docs/evaluation.md says why, and how often chance then passes for more.

    Raises:
        InputError: as :func:`write_probes` does.
    """
    cohort = load_cohort(results)
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    asked = questions(config, cohort)
    if config.probes.paper_regime:
        asked += questions(config, cohort, "paper")
    folds = [read_fold(results, number) for number in range(config.splits.count)]
    spaces = {
        (method, fold.fold): read_spaces(results, method, fold, person) for method in config.methods for fold in folds
    }
    scores = read_tsv(results.scores)
    predictions = read_tsv(results.predictions, text=("scan_id", "truth", "prediction"))
    predictions_of = dict(iter(predictions.groupby(["regime", "method", "target", "space"])))
    rows, nulls = [], []
    for question in asked:
        # Whoever predicts the site could do so by the diagnosis, and the other way round.
        labels = draw_labels(config, cohort, question, "group" if question.target == "site" else "site")
        of_question = (scores["regime"] == question.regime) & (scores["target"] == question.target)
        for (method, space), found in scores[of_question].groupby(["method", "space"], sort=False):
            method, space = str(method), str(space)
            key = {"regime": question.regime, "method": method, "target": question.target, "space": space}
            if question.kind == "regression":
                penalty = dict(zip(found["fold"], found["penalty"], strict=True))
                fitted = [fold for fold in folds if not np.isnan(penalty[fold.fold])]
                fits = [Fit(key, question, spaces[method, fold.fold][space], fold) for fold in fitted]
                told_of_folds, refitted = on_permutations(labels, fits, penalty)
            else:
                of_probe = predictions_of.get(tuple(key.values()), predictions[:0])
                told_of_folds, refitted = [_in_numbers(question, of_probe)], None
            for name, verdict in judge(labels, question, told_of_folds, refitted).items():
                figures = {column: getattr(verdict, column) for column in VERDICTS if hasattr(verdict, column)}
                rows.append(key | {"metric": name} | figures | {"missing": question.missing})
                known = verdict.null[~np.isnan(verdict.null)]
                shape = np.percentile(known, PERCENTILES) if len(known) else np.full(len(PERCENTILES), np.nan)
                nulls.append(key | {"metric": name} | {f"percentile_{i}": value for i, value in enumerate(shape)})
    write_tsv(results.verdicts, pd.DataFrame(rows)[VERDICTS])
    write_tsv(results.nulls, pd.DataFrame(nulls)[[*PROBE, *(f"percentile_{i}" for i in PERCENTILES)]])


def _in_numbers(question: Question, predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of predictions.tsv of a classification as :func:`told` has them."""
    positions = predictions["prediction"].map(question.classes.index).astype(float)
    return predictions[["scan_id", "fold", "score"]].assign(prediction=positions)


def on_permutations(
    labels: Labels, fits: Sequence[Fit], penalty: Mapping[int, float]
) -> tuple[list[pd.DataFrame], np.ndarray]:
    """What probes of numbers tell of held-out scans, a table a fold, and what they would tell had people each other's
    answers, [permutations, R]."""
    told_of_folds, refitted = [], [np.zeros((len(labels.permuted), 0))]
    for fit in fits:
        rows = fit.question.truth.index.get_indexer(pd.Index(fit.train))
        answers = labels.truth[np.vstack([rows, labels.permuted[:, rows]])]
        train, test = (fit.features.loc[scans].to_numpy(np.float64) for scans in (fit.train, fit.test))
        predicted = refit(fit.question, train, answers, test, penalty[fit.fold.fold])
        scan_told = {"scan_id": fit.test, "fold": fit.fold.fold, "prediction": predicted[0], "score": np.nan}
        told_of_folds.append(pd.DataFrame(scan_told))
        refitted.append(predicted[1:])
    return told_of_folds, np.concatenate(refitted, axis=1)


def _increments(
    config: Config,
    cohort: pd.DataFrame,
    probes: Sequence[Fit],
    answers: Sequence[Answer | None],
    person: Mapping[str, str],
) -> pd.DataFrame:
    """The table increments.tsv: a probe of confounds alone, one of them and the space, and what the space adds."""
    fits: list[Fit] = []
    features: dict[tuple[str, int], pd.DataFrame] = {}
    listed = as_asked(config, cohort).probes.confounds
    for probe, answer in zip(probes, answers, strict=True):
        names = [name for name in listed if name != probe.question.target]
        if answer is None or probe.question.regime != "standard" or not names:
            continue
        where = (probe.question.target, probe.fold.fold)
        if where not in features:
            features[where] = confound_features(cohort, names, probe.fold.probed)
        confounds = features[where]
        alone = Fit(probe.key, probe.question, confounds, probe.fold)
        combined = pd.concat([confounds, probe.features], axis=1)
        fits += [alone, Fit(probe.key, probe.question, combined, probe.fold)]
    rows = []
    # What is read from confounds alone is the same for every method and space.
    distinct = {(fit.question.target, fit.fold.fold): fit for fit in fits[::2]}
    alone_answers = dict(zip(distinct, fit_in_parallel(list(distinct.values()), person), strict=True))
    for fit, combined_answer in zip(fits[1::2], fit_in_parallel(fits[1::2], person), strict=True):
        alone_answer = alone_answers[fit.question.target, fit.fold.fold]
        name = fit.question.metrics[0]
        before, after = (each.values[name] if each else float("nan") for each in (alone_answer, combined_answer))
        rows.append(
            {column: fit.key[column] for column in ("method", "fold", "target", "space")}
            | {"metric": name, "confounds": before, "combined": after}
            | {"increment": (after - before) * (1 if METRIC[name].higher_is_better else -1)}
            | {"n_train": len(fit.train), "n_test": len(fit.test)}
        )
    return pd.DataFrame(rows, columns=INCREMENTS)


def _text(value: Any) -> str:
    """One column holds classes and numbers: numbers are written with the digits that all tables have."""
    return value if isinstance(value, str) else f"{value:.6g}"
