"""What figures are worth beside chance."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.config.model import Config
from sepclr_neuro.core import statistics
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.statistics import Labels, Verdict
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing import linear_probes
from sepclr_neuro.probing.probe_fits import Fit, refit
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.questions import Question
from sepclr_neuro.probing.representations import read_representations
from sepclr_neuro.probing.verdicts import judge, on_permutations, write_verdicts
from tests.oracles import probe_scores as oracle
from tests.oracles import statistics as statistics_oracle
from tests.probing.probed_run import METHOD, make_cohort, only, read_predictions, read_scores, read_verdicts, write_run


def test_factors_in_a_space_are_predicted_above_chance_and_others_are_not(run: tuple[Config, Results]) -> None:
    verdicts = read_verdicts(run[1])
    for target, metric, space in (
        ("sex", "bacc", "common"),
        ("sex", "auc", "common"),
        ("site", "bacc", "common"),
        ("age", "mae", "common"),
        ("age", "r2", "common"),
        ("saps", "mae", "salient"),
        ("diagnosis", "bacc", "salient"),
        ("diagnosis", "auc", "salient"),
    ):
        assert verdicts.loc[(target, metric, space), "p"] == pytest.approx(1 / 1001, rel=1e-4)
    for target, metric, space in (
        ("sex", "bacc", "salient"),
        ("diagnosis", "bacc", "common"),
        ("saps", "r2", "common"),
    ):
        assert verdicts.loc[(target, metric, space), "p"] > 0.05
    for target, counts in (("sans", [27, 3]), ("saps", [30, 0]), ("age", [60, 0])):
        assert (verdicts.xs(target, level="target")[["n", "missing"]] == counts).all(axis=None)


def test_a_null_is_that_of_the_mean_over_folds_with_labels_permuted_within_site(run: tuple[Config, Results]) -> None:
    """Written once more with scikit-learn, as a loop over permutations."""
    cohort = make_cohort().set_index("scan_id")
    scores = read_tsv(run[1].scores).set_index(["regime", "fold", "target", "space", "metric"])
    rng = np.random.default_rng(1)
    means = []
    for _ in range(200):
        shuffled = cohort["diagnosis"].copy()
        for _, members in cohort.groupby("site"):
            shuffled[members.index] = rng.permutation(members["diagnosis"])
        folds = []
        for number in range(2):
            found = read_representations(run[1].representations(METHOD, number), run[1].model_folder(METHOD, number))
            values, side = found.spaces["common"], np.array(found.side)
            given = shuffled[list(found.scan_ids)].to_numpy()
            penalty = scores.loc[("standard", number, "diagnosis", "common", "bacc"), "penalty"]
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, class_weight="balanced"))
            model.fit(values[side == "train"], given[side == "train"])
            told = model.predict(values[side == "test"])
            folds.append(oracle.balanced_accuracy(pd.Series(given[side == "test"]), pd.Series(told)))
        means.append(np.mean(folds))
    nulls = read_tsv(run[1].nulls).set_index(["regime", "target", "metric", "space"])
    null = nulls.loc[("standard", "diagnosis", "bacc", "common")]
    assert null[["percentile_5", "percentile_50", "percentile_95"]].tolist() == pytest.approx(
        np.percentile(means, [5, 50, 95]), abs=0.03
    )
    verdict = read_verdicts(run[1]).loc[("diagnosis", "bacc", "common")]
    assert verdict["null95"] == pytest.approx(np.quantile(means, 0.95), abs=0.03)
    observed = read_scores(run[1])["value"].xs("diagnosis", level="target").xs("common", level="space").mean()
    assert verdict["p"] == pytest.approx((np.sum(np.array(means) >= observed - 1e-9) + 1) / 201, abs=0.05)


def test_site_is_permuted_within_diagnosis(tmp_path: Path) -> None:
    """Site equals diagnosis here: a space that predicts the diagnosis does not predict the site beyond it."""
    cohort = make_cohort()
    cohort["site"] = np.where(cohort["group"] == "target", "rome", "oslo")
    config, results = write_run(tmp_path, cohort)
    write_probes(only(config, "site", "diagnosis"), results)
    write_verdicts(only(config, "site", "diagnosis"), results)
    verdicts = read_verdicts(results)
    assert verdicts.loc[("site", "bacc", "salient"), "p"] == 1
    assert verdicts.loc[("diagnosis", "bacc", "salient"), "p"] == 1


# --- chance ------------------------------------------------------------------------------------------------------


def noise(
    seed: int, effect: float = 0.0, regime: str = "standard", people: int = 60, classes: int = 0
) -> tuple[Labels, list[Fit]]:
    """A number or class at random on two sites, and a representation that holds ``effect`` times it, the same in each
    of five folds."""
    rng = np.random.default_rng([seed, 2])  # [seed, 0] and [seed, 1] are those of `Labels`
    ids = pd.Index([f"s{k}" for k in range(people)])
    names = tuple("abcd"[:classes])
    answer = rng.integers(0, classes, people) if classes else rng.normal(40, 10, people)
    truth = pd.Series(np.array(names)[answer] if classes else answer, index=ids)
    kind = "classification" if classes else "regression"
    question = Question("saps", kind, truth, names, regime)  # type: ignore[arg-type]
    values = rng.normal(size=(people, 4))
    values[:, 0] += effect * answer / (1 if classes else 10)
    features = pd.DataFrame(values, index=ids)
    side = rng.permutation(people) % 5
    folds = [Fold(number, tuple(ids[side != number]), tuple(ids[side == number])) for number in range(5)]
    sites = np.arange(people) % 2
    numbers = question.numbers(ids)
    labels = Labels.draw(numbers, ids.to_numpy(str), sites, classes > 0, 99, 99, seed)
    return labels, [Fit({}, question, features, fold) for fold in folds]


def judged(labels: Labels, fits: list[Fit], penalty: float) -> dict[str, Verdict]:
    tables = []
    for fit in fits:
        train, test = (fit.features.loc[scans].to_numpy() for scans in (fit.train, fit.test))
        answers = fit.question.numbers(pd.Index(fit.train))[None]
        found = refit(fit.question, train, answers, test, penalty)
        score = found["score"][0] if "score" in found else np.nan
        tables.append(
            pd.DataFrame(
                {"scan_id": fit.test, "fold": fit.fold.fold, "prediction": found["prediction"][0], "score": score}
            )
        )
    penalties = {fit.fold.fold: penalty for fit in fits}
    return judge(labels, fits[0].question, tables, on_permutations(labels, fits, penalties))


def test_p_of_numbers_is_uniform_under_the_null() -> None:
    """With a penalty that leaves little but each fold's training mean: with predictions that stay as they are while
    answers are exchanged, half of these p were above 0.9."""
    found = [judged(*noise(seed), 1000.0) for seed in range(200)]
    for name in ("mae", "r2"):
        p = np.array([verdicts[name].p for verdicts in found])
        for level, slack in ((0.05, 0.045), (0.2, 0.085), (0.5, 0.11), (0.8, 0.085), (0.95, 0.045)):
            assert abs(np.mean(p <= level) - level) < slack, (name, level)


def test_p_of_classes_is_uniform_under_the_null() -> None:
    """With the same representation in all folds, where predictions that stay as they are while answers are exchanged
    make p small too often (benchmarks/null_calibration.py)."""
    found = [judged(*noise(seed, classes=2), 1.0) for seed in range(200)]
    for name in ("bacc", "auc"):
        p = np.array([verdicts[name].p for verdicts in found])
        for level, slack in ((0.05, 0.045), (0.2, 0.085), (0.5, 0.11), (0.8, 0.085)):
            assert abs(np.mean(p <= level) - level) < slack, (name, level, np.mean(p <= level))


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_a_null_in_parts_is_that_at_once(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, fits = noise(6, effect=0.5, classes=classes)
    penalty = {fit.fold.fold: 1.0 for fit in fits}
    whole = on_permutations(labels, fits, penalty)
    monkeypatch.setattr(statistics, "NUMBERS_AT_ONCE", 48 * max(1, classes) * 10)  # ten of 99 at once
    for name, null in on_permutations(labels, fits, penalty).items():
        # Steps of a part have the length that its own answers allow, so that one may end beside another.
        np.testing.assert_allclose(null, whole[name], atol=0.05 if classes else 1e-9)
        assert np.corrcoef(null, whole[name])[0, 1] > 0.98


def test_scores_of_all_permutations_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and scores of 99 permutations of 5,000 participants take 10 MB, those of a part 2 MB."""
    labels, fits = noise(7, people=5000, classes=4)
    monkeypatch.setattr(statistics, "NUMBERS_AT_ONCE", 50_000)
    monkeypatch.setattr(linear_probes, "_AT_ONCE", 50_000)
    tracemalloc.start()
    on_permutations(labels, fits[:1], {0: 1.0})
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 4e6


@pytest.mark.parametrize("regime", ["standard", "paper"])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_null_of_classes_is_that_of_probes_fitted_on_exchanged_answers(classes: int, regime: str) -> None:
    """Written once more with scikit-learn, permutation by permutation and fold by fold."""
    labels, fits = noise(5, effect=0.5, classes=classes, regime=regime)
    features, means = fits[0].features, []
    for order in labels.permuted[:40]:
        given = pd.Series(labels.truth[order], index=features.index)
        found = []
        for fit in fits:
            train, test = list(fit.fold.train), list(fit.fold.test)
            weight = "balanced" if regime == "standard" else None
            model = LogisticRegression(C=0.1, class_weight=weight, max_iter=2000)
            scale = StandardScaler(with_mean=regime == "standard", with_std=regime == "standard")
            model.fit(scale.fit_transform(features.loc[train].to_numpy()), given[train])
            predicted = model.predict(scale.transform(features.loc[test].to_numpy()))
            found.append(recall_score(given[test], predicted, average="macro", labels=np.unique(given[test])))
        means.append(np.mean(found))
    null = judged(labels, fits, 0.1)["bacc"].null[:40]
    # A participant at the border of two classes may be predicted as either.
    assert np.corrcoef(null, means)[0, 1] > 0.98
    np.testing.assert_allclose(null, means, atol=0.05)


def test_an_effect_on_numbers_is_found() -> None:
    for seed in range(5):
        for penalty in (1.0, 10.0):
            assert judged(*noise(seed, effect=1.0), penalty)["mae"].p == 0.01


@pytest.mark.parametrize("regime", ["standard", "paper"])
def test_the_null_of_numbers_is_that_of_probes_fitted_on_exchanged_answers(regime: str) -> None:
    """Written once more, permutation by permutation and fold by fold."""
    labels, fits = noise(3, effect=0.3, regime=regime)
    answers, features = labels.truth, fits[0].features
    means = []
    for order in [np.arange(len(answers)), *labels.permuted]:
        given = pd.Series(answers[order], index=features.index)
        errors = []
        for fit in fits:
            train, test = list(fit.fold.train), list(fit.fold.test)
            x, x_new = features.loc[train].to_numpy(), features.loc[test].to_numpy()
            predicted = statistics_oracle.ridge(x, given[train], x_new, 10.0, scaled=regime == "standard")
            errors.append(np.mean(np.abs(given[test] - predicted)))
        means.append(np.mean(errors))
    verdict = judged(labels, fits, 10.0)["mae"]
    assert verdict.mean == pytest.approx(means[0])
    assert verdict.null == pytest.approx(means[1:])


def test_figures_of_numbers_are_those_of_the_probes(run: tuple[Config, Results]) -> None:
    """What verdicts are made of is fitted anew, and is what `scores.tsv` says."""
    for regime in ("standard", "paper"):
        verdicts = read_tsv(run[1].verdicts)
        predictions = read_predictions(run[1], regime)
        part = predictions[(predictions["target"] == "age") & (predictions["space"] == "common")]
        rows = verdicts[
            (verdicts[["regime", "target", "metric", "space"]] == [regime, "age", "mae", "common"]).all(axis=1)
        ]
        errors = (part["truth"].astype(float) - part["prediction"].astype(float)).abs()
        assert rows["pooled"].item() == pytest.approx(errors.mean(), rel=1e-4)


def test_figures_of_repeated_folds_count_each_prediction_once(tmp_path: Path) -> None:
    """A scan that several repeats hold out has a prediction in each, which is none of another fold."""
    config, results = write_run(tmp_path, make_cohort(), repeats=2)
    config = only(config, "age")
    write_probes(config, results)
    write_verdicts(config, results)
    verdicts, predictions = read_verdicts(results), read_predictions(results)
    for space in ("common", "salient"):
        part = predictions[predictions["space"] == space]
        assert (part.groupby("scan_id").size() == 2).all()
        errors = (part["truth"].astype(float) - part["prediction"].astype(float)).abs()
        assert verdicts.loc[("age", "mae", space), "pooled"] == pytest.approx(errors.mean(), rel=1e-4)


def test_without_exchangeable_numbers_nothing_is_significant() -> None:
    labels, fits = noise(0, effect=3.0)
    alone = Labels.draw(labels.truth, labels.people, np.arange(len(labels.truth)), False, 99, 99, 0)
    assert judged(alone, fits, 1.0)["mae"].p == 1
