"""Calibration of probes' p under the null: its distribution on noise, for each kind of target and of split.

    python -m benchmarks.null_calibration [--quick] [--output p.tsv]

100 participants of 4 sites have random values of the target and random representations of 16 dimensions. Probes are
fitted and tested as in a run, with permutations within site. Representations are independent between folds, as of
unrelated encoders, or the same in all folds, as of identical encoders: real ones lie between. If calibrated, 5 % of p
are at most 0.05, half are at most 0.5 and 5 % are above 0.95. For numbers it also prints p of the null with fixed
predictions, for which only held-out values are permuted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold

from benchmarks.rows import Rows, run
from sepclr_neuro.core.statistics import Labels
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.probe_fits import Fit
from sepclr_neuro.probing.questions import Question
from sepclr_neuro.probing.verdicts import judge, on_permutations, predictions_of

__all__ = ["p_of_noise"]

PEOPLE, SITES, DIM, FOLDS, PERMUTATIONS = 100, 4, 16, 5, 199
Scheme = Literal["k-fold", "3 repeats", "leave-site-out"]


def p_of_noise(
    kind: Literal["classification", "regression"],
    seed: int,
    *,
    regime: Literal["standard", "paper"] = "standard",
    scheme: Scheme = "k-fold",
    alike: bool = False,
    effect: float = 0.0,
    permutations: int = PERMUTATIONS,
) -> dict[str, float]:
    """The p of each metric of one probe on noise; for numbers also ``<metric>, fixed``, with fixed predictions.

    Args:
        alike: whether participants have the same representation in all folds.
        effect: effect of the target on the first dimension, per SD; 0 for noise alone.
    """
    rng = np.random.default_rng([seed, 2])  # [seed, 0] and [seed, 1] are those of `Labels`
    ids = pd.Index([f"p{number:03d}" for number in range(PEOPLE)])
    answer = rng.normal(size=PEOPLE) if kind == "regression" else rng.integers(0, 2, PEOPLE)
    truth = pd.Series(answer if kind == "regression" else np.array(["a", "b"])[answer], index=ids)
    question = Question("noise", kind, truth, ("a", "b") if kind == "classification" else (), regime)
    sites = rng.integers(0, SITES, PEOPLE)
    labels = Labels.draw(question.numbers(ids), ids.to_numpy(str), sites, kind != "regression", permutations, 99, seed)
    common = rng.normal(size=(PEOPLE, DIM))
    fits = []
    for number, (train, test) in enumerate(
        _divisions(scheme, answer if kind == "classification" else sites, sites, seed)
    ):
        values = common.copy() if alike else rng.normal(size=(PEOPLE, DIM))
        values[:, 0] += effect * answer / answer.std()
        fold = Fold(number, tuple(ids[train]), tuple(ids[test]))
        fits.append(Fit({}, question, pd.DataFrame(values, index=ids), fold))
    person = dict(zip(ids, ids, strict=True))
    answers = [fit.answer(person) for fit in fits]
    known = [(fit, found) for fit, found in zip(fits, answers, strict=True) if found is not None]
    told_of_folds = [predictions_of(fit, found) for fit, found in known]
    fixed = judge(labels, question, told_of_folds)
    penalty = {fit.fold.fold: found.penalty for fit, found in known}
    judged = judge(labels, question, told_of_folds, on_permutations(labels, [fit for fit, _ in known], penalty))
    return {name: verdict.p for name, verdict in judged.items()} | {
        f"{name}, fixed": verdict.p for name, verdict in fixed.items()
    }


def _divisions(scheme: Scheme, strata: np.ndarray, sites: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    if scheme == "leave-site-out":
        return list(LeaveOneGroupOut().split(sites, groups=sites))
    repeats = [
        StratifiedKFold(FOLDS, shuffle=True, random_state=10 * seed + repeat).split(strata, strata)
        for repeat in range(3 if scheme == "3 repeats" else 1)
    ]
    return list(itertools.chain.from_iterable(repeats))


def measure(rows: Rows, quick: bool) -> None:
    cases: Sequence[tuple[str, str, Scheme]] = [
        ("regression", "standard", "k-fold"),
        ("regression", "standard", "3 repeats"),
        ("regression", "standard", "leave-site-out"),
        ("regression", "paper", "k-fold"),
        ("classification", "standard", "k-fold"),
        ("classification", "paper", "k-fold"),
    ]
    for (kind, regime, scheme), alike in itertools.product(cases, (False, True)):
        title = f"{kind}, {regime}, {scheme}, {'alike' if alike else 'own'}"
        if rows.has(f"{title}: done"):
            continue
        given = {"regime": regime, "scheme": scheme, "alike": alike}
        count = 4 if quick else 200
        found = Parallel(n_jobs=-1)(delayed(p_of_noise)(kind, seed, **given) for seed in range(count))
        for name, p in pd.DataFrame(found).items():
            for level in (0.05, 0.5, 0.95):
                rows.add(f"{title}: {name}, p at most {level:g}", 100 * float((p <= level).mean()), "%")
            rows.add(f"{title}: {name}, median p", float(p.median()), "")
        rows.add(f"{title}: done", count, "repetitions")


if __name__ == "__main__":
    run(__doc__, measure)
