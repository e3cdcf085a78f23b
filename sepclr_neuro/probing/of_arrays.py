"""The workflow's probe of arrays: predictions of a phenotype from representations of held-out participants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, check_cv
from sklearn.utils import check_consistent_length, check_random_state

from sepclr_neuro.core.metrics import METRICS
from sepclr_neuro.core.statistics import Labels
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.probe_fits import Answer, Fit, fit_in_parallel, refits
from sepclr_neuro.probing.questions import Question, confound_features
from sepclr_neuro.probing.verdicts import judge, on_permutations, predictions_of

__all__ = ["ProbeResult", "probe"]


@dataclass(frozen=True)
class ProbeResult:
    """A probe's figure beside what chance does.

    Attributes:
        metric: ``"bacc"`` or ``"auc"`` (0 to 1), ``"mae"`` (in the unit of the truth) or ``"r2"``.
        value: of held-out participants, the mean over folds.
        chance: of guessing, or of always predicting the training median.
        p: one-sided, how often chance is as good.
        null: the value where participants exchange their answers, [permutations].
        interval: 95 %, of all held-out predictions together, when participants are drawn anew.
        increment: what the representation adds to the confounds, positive for better; NaN without confounds.
        predictions: ``row fold truth prediction score``, a row a held-out participant and fold.
    """

    metric: str
    value: float
    chance: float
    p: float
    null: NDArray[np.float64]
    interval: tuple[float, float]
    increment: float
    predictions: pd.DataFrame


def probe(
    representations: ArrayLike | Sequence[ArrayLike],
    truth: ArrayLike,
    *,
    cv: Any = 5,
    groups: ArrayLike | None = None,
    kind: Literal["classification", "regression"] | None = None,
    metric: Literal["bacc", "auc", "mae", "r2"] | None = None,
    confounds: pd.DataFrame | None = None,
    within: ArrayLike | None = None,
    permutations: int = 1000,
    bootstraps: int = 1000,
    random_state: Any = None,
) -> ProbeResult:
    """Predicts a phenotype of held-out participants with the probe of the workflow.

    Logistic regression of classes, or ridge regression of numbers, its penalty chosen among training people:
    :func:`~sepclr_neuro.probing.probe_fits.fit_probe`.
    Participants without a truth (NaN, None) are left out.

    Args:
        representations: [N, d], of an encoder that has seen none of these participants; or a list of [N, d], one a fold
            of ``cv``, of encoders that were fitted on that fold's training participants.
        truth: of each participant, [N].
        cv: how many folds, a splitter of scikit-learn, or pairs of training and test rows.
        groups: the participant of each row, where participants have several, [N].
        kind: by default numbers of more than two values are for a regression, all else are classes.
        metric: by default balanced accuracy of classes, mean absolute error of numbers. ``"auc"`` is for two classes.
        confounds: a table beside which the representation must add something, without missing values.
        within: of each participant what answers are exchanged within, such as the site, [N]; None: among all.
        permutations: exchanges of answers, for the null.
        bootstraps: samples of participants, for the interval.
        random_state: of folds, exchanges and samples.

    Raises:
        ValueError: if a participant is on both sides of a fold, the metric is not one of the kind, or no fold can be
        probed.

    >>> rng = np.random.default_rng(0)
    >>> age = rng.normal(40, 10, 80)
    >>> found = probe(np.outer(age, [1, 2]) + rng.normal(size=(80, 2)), age, permutations=99, random_state=0)
    >>> found.metric, found.value < found.chance / 10, found.p
    ('mae', True, 0.01)
    """
    answers = pd.Series(np.asarray(truth))
    person = pd.Series(answers.index if groups is None else np.asarray(groups)).astype(str)
    strata = np.zeros(len(answers)) if within is None else np.asarray(within)
    per_fold = isinstance(representations, list) and np.ndim(representations[0]) == 2
    features: list[Any] = list(representations) if per_fold else [np.asarray(representations)]  # type: ignore[arg-type]
    check_consistent_length(answers, person, strata, *features, *([] if confounds is None else [confounds]))
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    ids = answers.index.astype(str)
    question = _question(answers.set_axis(ids).dropna(), kind)
    name = metric or question.metrics[0]
    if name not in question.metrics:
        raise ValueError(f"metric: {name!r} is none of {', '.join(question.metrics)}, those of this {question.kind}")
    folds = _folds(question, person.set_axis(ids), cv, seed)
    if per_fold and len(folds) != len(features):
        raise ValueError(f"representations: {len(features)} of them for {len(folds)} folds of cv")
    tables = [pd.DataFrame(np.asarray(of), ids) for of in features]
    fits = [Fit({}, question, tables[fold.fold if per_fold else 0], fold) for fold in folds]
    people = dict(zip(ids, person, strict=True))
    pairs = list(zip(fits, fit_in_parallel(fits, people), strict=True))
    known = [(fit, answer) for fit, answer in pairs if answer is not None]
    if not known:
        raise ValueError("truth: no fold has two training participants of two classes and a held-out one")
    position = question.truth.index.astype(int)
    labels = Labels.draw(
        question.numbers(question.truth.index),
        person.to_numpy(str)[position],
        strata[position],
        question.kind == "classification",
        permutations,
        bootstraps,
        seed,
    )
    penalty = {fit.fold.fold: answer.penalty for fit, answer in known}
    nulls = on_permutations(labels, [fit for fit, _ in known], penalty) if refits(question) else None
    verdict = judge(labels, question, [predictions_of(fit, answer) for fit, answer in known], nulls)[name]
    return ProbeResult(
        metric=name,
        value=verdict.mean,
        chance=float(np.mean([answer.chance[name] for _, answer in known])),
        p=verdict.p,
        null=verdict.null,
        interval=(verdict.ci_low, verdict.ci_high),
        increment=np.nan if confounds is None else _increment(confounds.set_axis(ids), fits, people, name),
        predictions=pd.concat([_predictions(fit, answer) for fit, answer in known], ignore_index=True),
    )


def _question(truth: pd.Series, kind: str | None) -> Question:
    """Classes become text, as in the tables of a run."""
    numeric = pd.api.types.is_numeric_dtype(truth) and not pd.api.types.is_bool_dtype(truth)
    if kind == "regression" or (kind is None and numeric and truth.nunique() > 2):
        return Question("truth", "regression", truth.astype(float), ())
    labels = truth.map(lambda value: f"{value:g}") if numeric else truth.astype(str)
    return Question("truth", "classification", labels, tuple(sorted(set(labels))))


def _folds(question: Question, person: pd.Series, cv: Any, seed: int) -> list[Fold]:
    """The folds of all participants, those without a truth included, so that rows are those of the caller."""
    if isinstance(cv, int):
        by_class = question.kind == "classification"
        cv = (StratifiedGroupKFold if by_class else GroupKFold)(cv, shuffle=True, random_state=seed)
    elif not hasattr(cv, "split"):
        cv = list(cv)
    truth = question.truth.reindex(person.index)
    if question.kind == "classification":
        truth = truth.fillna("")
    found = []
    for number, (train, test) in enumerate(check_cv(cv).split(np.zeros(len(person)), truth, person)):
        train, test = person.index[train], person.index[test]
        both = set(person[train]) & set(person[test])
        if both:
            raise ValueError(f"cv: {sorted(both)[0]} is among training and held-out participants of fold {number}")
        found.append(Fold(number, tuple(train), tuple(test)))
    return found


def _increment(confounds: pd.DataFrame, fits: Sequence[Fit], people: dict[str, str], name: str) -> float:
    """The gain of a probe of confounds and representation over one of confounds alone, the mean over folds."""
    pairs = []
    for fit in fits:
        alone = confound_features(confounds.assign(scan_id=confounds.index), list(confounds.columns), fit.train)
        pairs += [Fit({}, fit.question, alone, fit.fold), replace(fit, beside=alone)]
    values = np.array([answer.values[name] if answer else np.nan for answer in fit_in_parallel(pairs, people)])
    gained = np.nanmean(values[1::2] - values[::2])
    return float(gained if METRICS[name].higher_is_better else -gained)


def _predictions(fit: Fit, answer: Answer) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": [int(scan) for scan in fit.test],
            "fold": fit.fold.fold,
            "truth": fit.question.truth[fit.test].to_numpy(),
            "prediction": answer.prediction,
            "score": answer.score,
        }
    )
