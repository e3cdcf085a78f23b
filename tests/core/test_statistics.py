"""Statistics: each against an independent transcription or a well-kept library, and calibrated where nothing is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from sepclr_neuro.core import statistics
from sepclr_neuro.core.dependence import dependence_test, distance_correlation
from sepclr_neuro.core.metrics import (
    METRICS,
    area_under_curve,
    balanced_accuracy,
    mean_absolute_error,
    mean_over_folds,
    r_squared,
)
from sepclr_neuro.core.statistics import (
    Labels,
    Verdict,
    corrected_t_test,
    false_discovery_rate,
    permutation_p,
    permuted_rows,
    resampled_counts,
)
from tests.oracles import probe_scores
from tests.oracles import statistics as oracle


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --- metrics -----------------------------------------------------------------------------------------------------


def test_metrics_equal_the_oracles_and_scikit_learn(rng: np.random.Generator) -> None:
    truth, told = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    assert balanced_accuracy(truth, told) == pytest.approx(probe_scores.balanced_accuracy(truth, told))
    two, score = rng.integers(0, 2, 60), rng.normal(size=60).round(1)
    assert area_under_curve(two, score) == pytest.approx(oracle.auc(two, score))
    assert area_under_curve(two, score) == pytest.approx(reference.roc_auc_score(two, score))
    many = np.stack([score, np.round(score, 1)])  # with ties
    given = np.stack([two, two[::-1]])
    of_each = [reference.roc_auc_score(*pair) for pair in zip(given, many, strict=True)]
    np.testing.assert_allclose(area_under_curve(given, many), of_each)
    np.testing.assert_allclose(area_under_curve(given, many[1]), [oracle.auc(row, many[1]) for row in given])
    np.testing.assert_allclose(area_under_curve(two, score, np.ones(len(two))), oracle.auc(two, score))
    y, z = rng.normal(40, 10, 60), rng.normal(40, 10, 60)
    assert mean_absolute_error(y, z) == pytest.approx(reference.mean_absolute_error(y, z))
    assert r_squared(y, z) == pytest.approx(oracle.r_squared(y, z)) == pytest.approx(reference.r2_score(y, z))


def test_no_matrix_of_all_pairs_is_held(rng: np.random.Generator) -> None:
    """Of 100,000 scores it would take 80 GB, the differences of 500 representations 0.25 GB."""
    tracemalloc.start()
    truth, score = rng.integers(0, 2, 100_000), rng.integers(0, 1000, 100_000)
    weighted = area_under_curve(truth, score, np.ones((1, len(truth))))
    np.testing.assert_allclose(weighted, [area_under_curve(truth, score)])
    distance_correlation(rng.normal(size=(500, 128)), rng.normal(size=(500, 2)))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 120e6


@pytest.mark.parametrize("name", list(METRICS))
def test_weights_count_rows_and_leading_dimensions_are_evaluated_one_by_one(
    name: str, rng: np.random.Generator
) -> None:
    metric = METRICS[name].value
    truth = rng.integers(0, 2, (5, 30)) if name in ("bacc", "auc") else rng.normal(size=(5, 30))
    told = rng.integers(0, 2, 30) if name == "bacc" else rng.normal(size=30)
    weights = rng.integers(0, 3, (5, 30))
    together = metric(truth, told, weights)
    for row in range(5):
        repeated = np.repeat(np.arange(30), weights[row])
        assert together[row] == pytest.approx(metric(truth[row][repeated], told[repeated]))


def test_what_cannot_be_scored_is_missing() -> None:
    assert np.isnan(area_under_curve(np.ones(4, int), np.arange(4.0)))
    assert np.isnan(r_squared(np.ones(4), np.arange(4.0)))
    assert balanced_accuracy(np.array([1, 1, 2]), np.array([1, 2, 2]), np.array([1, 1, 0])) == 0.5


def test_mean_over_folds_leaves_out_folds_without_a_value() -> None:
    truth, score = np.array([0, 1, 0, 1, 1, 1]), np.array([0.0, 1.0, 1.0, 0.0, 5.0, 6.0])
    fold = np.array([0, 0, 1, 1, 2, 2])
    assert mean_over_folds(METRICS["auc"], truth, score, fold) == 0.5


# --- permutations ------------------------------------------------------------------------------------------------


def test_permutations_stay_within_strata_and_keep_a_participants_rows_together(rng: np.random.Generator) -> None:
    people = np.array(["a", "a", "b", "b", "c", "d", "e", "f", "f"])
    strata = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    permuted = permuted_rows(people, strata, 200, rng)
    assert (np.sort(permuted, axis=1) == np.arange(9)).all()
    assert (strata[permuted] == strata).all()
    # a and b exchange both rows in their order, c and d exchange theirs, e and f differ in their number of scans.
    assert {tuple(row) for row in permuted[:, :4].tolist()} == {(0, 1, 2, 3), (2, 3, 0, 1)}
    assert {tuple(row) for row in permuted[:, 4:6].tolist()} == {(4, 5), (5, 4)}
    assert (permuted[:, 6:] == [6, 7, 8]).all()


def test_resamples_draw_participants_not_rows(rng: np.random.Generator) -> None:
    people = np.array(["a", "a", "b", "c", "c", "d"])
    counts = resampled_counts(people, 500, rng)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, [0, 2, 3, 5]].sum(axis=1) == 4).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


@pytest.mark.parametrize("name", list(METRICS))
def test_permutations_and_samples_in_parts_are_those_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 40) if METRICS[name].of_score or name == "bacc" else rng.normal(size=40)
    told, people = rng.integers(0, 2, 40).astype(float), np.arange(40) // 2

    def verdict() -> Verdict:
        labels = Labels.draw(truth, people, people % 3, name in ("bacc", "auc"), 99, 99, 0)
        return labels.judge(name, np.arange(40), told, people % 4)

    whole = verdict()
    monkeypatch.setattr(statistics, "NUMBERS_AT_ONCE", 7 * 40)
    in_parts = verdict()
    np.testing.assert_allclose(in_parts.null, whole.null, rtol=1e-12)
    assert (in_parts.ci_low, in_parts.ci_high) == pytest.approx((whole.ci_low, whole.ci_high))


def test_p_counts_the_observed_one_and_ties() -> None:
    null = np.array([0.4, 0.5, 0.6, 0.7])
    assert permutation_p(0.6, null) == 3 / 5
    assert permutation_p(0.9, null) == 1 / 5
    assert permutation_p(0.5, null, higher_is_better=False) == 3 / 5
    assert np.isnan(permutation_p(float("nan"), null))
    assert np.isnan(permutation_p(0.5, np.array([])))
    # A permutation without a value may have been as good.
    unknown = np.array([0.4, float("nan"), 0.6, float("nan")])
    assert permutation_p(0.9, unknown) == 3 / 5
    assert permutation_p(0.5, unknown, higher_is_better=False) == 4 / 5
    assert permutation_p(0.9, np.full(4, np.nan)) == 1


def judge(labels: np.ndarray, told: np.ndarray, name: str, sites: np.ndarray | None = None, seed: int = 0, **more):
    n = len(labels)
    strata = np.zeros(n, int) if sites is None else sites
    drawn = Labels.draw(labels, np.arange(n), strata, name in ("bacc", "auc"), 499, 499, seed)
    return drawn.judge(name, np.arange(n), told, more.get("fold", np.arange(n) % 4))


@pytest.mark.parametrize("name", list(METRICS))
def test_p_is_uniform_under_the_null(name: str, rng: np.random.Generator) -> None:
    """Over 200 null data sets p is below 0.05, 0.2 and 0.5 about that often."""
    p = []
    for seed in range(200):
        labels = rng.integers(0, 2, 60) if name in ("bacc", "auc") else rng.normal(size=60)
        told = rng.integers(0, 2, 60) if name == "bacc" else rng.normal(size=60)
        p.append(judge(labels, told, name, seed=seed).p)
    for level, slack in ((0.05, 0.045), (0.2, 0.085), (0.5, 0.11)):
        assert abs(np.mean(np.array(p) <= level) - level) < slack


@pytest.mark.parametrize("name", list(METRICS))
def test_an_effect_is_found_and_its_interval_holds_the_pooled_value(name: str, rng: np.random.Generator) -> None:
    labels = rng.integers(0, 2, 80) if name in ("bacc", "auc") else rng.normal(size=80)
    told = np.where(rng.random(80) < 0.85, labels, 1 - labels) if name == "bacc" else labels + rng.normal(size=80)
    verdict = judge(labels, told, name)
    assert verdict.p == 1 / 500
    assert verdict.n == 80
    assert verdict.ci_low < verdict.pooled < verdict.ci_high
    better = verdict.mean > verdict.null95 if METRICS[name].higher_is_better else verdict.mean < verdict.null95
    assert better
    share = np.mean(
        verdict.null >= verdict.null95 if METRICS[name].higher_is_better else verdict.null <= verdict.null95
    )
    assert share == pytest.approx(0.05, abs=0.03)


def test_a_site_effect_alone_is_not_significant_within_site(rng: np.random.Generator) -> None:
    """Diagnosis goes with site, and the probe reads nothing but the site."""
    sites = np.repeat([0, 1], 50)
    labels = (rng.random(100) < np.where(sites == 1, 0.8, 0.2)).astype(int)
    assert judge(labels, sites, "bacc").p < 0.01
    within = judge(labels, sites, "bacc", sites=sites)
    assert within.p > 0.05


def test_a_fold_of_one_class_counts_only_when_pooled() -> None:
    labels, told = np.array([0, 1, 0, 1, 1, 1, 1, 1]), np.array([0, 1, 0, 1, 0, 0, 0, 0])
    verdict = judge(labels, told, "bacc", fold=np.repeat([0, 1], 4))
    assert verdict.mean == 1
    assert verdict.pooled == pytest.approx((1 + 2 / 6) / 2)
    one_class = judge(np.ones(8, int), told, "bacc")
    assert np.isnan([one_class.mean, one_class.pooled, one_class.p, one_class.null95]).all()


def test_scores_are_never_pooled() -> None:
    """Each fold ranks perfectly, on a scale of its own."""
    labels, told = np.array([0, 1, 0, 1]), np.array([0.0, 1.0, 10.0, 11.0])
    verdict = judge(labels, told, "auc", fold=np.array([0, 0, 1, 1]))
    assert verdict.mean == verdict.pooled == 1


def test_repeats_share_their_permutations() -> None:
    """A duplicated prediction adds no information: the null must not become narrower."""
    rng = np.random.default_rng(3)
    labels, told = rng.normal(size=40), rng.normal(size=40)
    drawn = Labels.draw(labels, np.arange(40), np.zeros(40), False, 299, 99, 0)
    once = drawn.judge("mae", np.arange(40), told, np.arange(40) % 4)
    twice = drawn.judge("mae", np.tile(np.arange(40), 2), np.tile(told, 2), np.concatenate([np.arange(40) % 4] * 2))
    np.testing.assert_allclose(once.null, twice.null)
    assert (once.ci_low, once.n) == pytest.approx((twice.ci_low, twice.n))


def test_the_bootstrap_interval_covers(rng: np.random.Generator) -> None:
    """Of 200 samples of known mean absolute error, about 95 % of the intervals hold it."""
    truth = float(np.sqrt(2 / np.pi))
    inside = 0
    for seed in range(200):
        verdict = judge(np.zeros(60), rng.normal(size=60), "mae", seed=seed)
        inside += verdict.ci_low < truth < verdict.ci_high
    assert 0.89 < inside / 200 < 0.99


# --- families, comparisons ---------------------------------------------------------------------------------------


def test_q_is_benjamini_and_hochbergs_in_each_family(rng: np.random.Generator) -> None:
    p = rng.random(12) ** 3
    family = np.array(["a"] * 7 + ["b"] * 5)
    q = false_discovery_rate(np.append(p, np.nan), np.append(family, "a"))
    assert q[:7] == pytest.approx(oracle.benjamini_hochberg(p[:7]))
    assert q[7:12] == pytest.approx(oracle.benjamini_hochberg(p[7:]))
    assert np.isnan(q[12])


def test_the_corrected_t_test(rng: np.random.Generator) -> None:
    d = rng.normal(1, 1, 10)
    found = corrected_t_test(np.append(d, np.nan), 20 / 80)
    assert found.t == pytest.approx(oracle.corrected_t(d, 20, 80))
    assert found.folds == 10
    plain = corrected_t_test(d, 0.0)
    expected = stats.ttest_1samp(d, 0)
    assert (plain.t, plain.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (plain.ci_low, plain.ci_high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.ci_high - found.ci_low > plain.ci_high - plain.ci_low
    assert np.isnan(corrected_t_test(np.array([1.0]), 0.5).p)
    assert np.isnan(corrected_t_test(np.array([1.0, 1.0]), 0.5).p)


# --- dependence --------------------------------------------------------------------------------------------------


def test_distance_correlation_equals_the_oracle(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 5))
    y[:, 0] += x[:, 0]
    assert distance_correlation(x, y) == pytest.approx(oracle.u_centred_distance_correlation(x, y))
    assert distance_correlation(x, 2 * x + 1) == pytest.approx(1)
    assert np.isnan(distance_correlation(x[:3], y[:3]))


def test_independent_spaces_of_many_dimensions_have_a_distance_correlation_near_zero(rng: np.random.Generator) -> None:
    """Where the plain squared form is about a half."""
    values = [distance_correlation(rng.normal(size=(120, 32)), rng.normal(size=(120, 32))) for _ in range(20)]
    assert abs(np.mean(values)) < 0.01


def test_dependence_has_a_p(rng: np.random.Generator) -> None:
    def fold(strength: float) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(30, 4))
        return x, strength * x[:, :2] + rng.normal(size=(30, 2))

    observed, null = dependence_test([fold(2.0), fold(2.0)], 199, 0)
    assert permutation_p(observed, null) == 1 / 200
    p = []
    for seed in range(60):
        observed, null = dependence_test([fold(0.0), fold(0.0)], 99, seed)
        p.append(permutation_p(observed, null))
    assert 0.3 < np.mean(np.array(p) <= 0.5) < 0.7
    assert np.isnan(dependence_test([(np.zeros((3, 2)), np.zeros((3, 2)))], 9, 0)[0])
