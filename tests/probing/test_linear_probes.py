"""Ridge and logistic regression for every penalty at once, against scikit-learn run to its end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.probing import linear_probes
from sepclr_neuro.probing.linear_probes import (
    logistic_path,
    logistic_scores,
    ridge_path,
    ridge_predictions,
    scaling,
    softmax_path,
)
from sepclr_neuro.probing.probe_fits import LOGISTIC_C, RIDGE_ALPHA

# Participants and dimensions: more participants, more dimensions, one dimension.
SHAPES = [(60, 5), (24, 40), (30, 1)]


def data(people: int, dimensions: int, separable: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(people)
    x = rng.normal(size=(people, dimensions)) * rng.uniform(0.5, 3, dimensions)
    y = (x[:, 0] + (0 if separable else 2) * rng.normal(size=people) > 0.7).astype(np.int64)
    return x, y


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_logistic_regression_is_scikit_learns(shape: tuple[int, int], separable: bool) -> None:
    x, y = data(*shape, separable)
    weights, intercepts = logistic_path(x, y, LOGISTIC_C)
    for penalty, w, b in zip(LOGISTIC_C, weights, intercepts, strict=True):
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=100_000, tol=1e-10).fit(x, y)
        assert w == pytest.approx(model.coef_[0], abs=1e-5)
        assert b == pytest.approx(model.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("shape", [(90, 5), (40, 60)])
def test_logistic_regression_of_several_classes_is_scikit_learns(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=shape) * rng.uniform(0.1, 3, shape[1]) + 2 * rng.normal(size=(shape[0], 1))
    y = np.digitize(x[:, 0] + 2 * rng.normal(size=len(x)), [-1, 2, 4])
    weights, intercepts = softmax_path(x, y, LOGISTIC_C)
    for penalty, w, b in zip(LOGISTIC_C, weights, intercepts, strict=True):
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=100_000, tol=1e-9).fit(x, y)
        assert w == pytest.approx(model.coef_, abs=3e-3)
        assert b - b.mean() == pytest.approx(model.intercept_ - model.intercept_.mean(), abs=3e-3)


def test_each_penalty_is_solved_alone_as_after_others() -> None:
    x, y = data(40, 8, separable=True)
    together = logistic_path(x, y, LOGISTIC_C)[0]
    for number, penalty in enumerate(LOGISTIC_C):
        assert logistic_path(x, y, [penalty])[0][0] == pytest.approx(together[number], abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_ridge_is_scikit_learns(shape: tuple[int, int]) -> None:
    x, _ = data(*shape, separable=False)
    y = 30 + 4 * x[:, 0] + np.random.default_rng(0).normal(size=len(x))
    weights, intercepts = ridge_path(x, y, RIDGE_ALPHA)
    for penalty, w, b in zip(RIDGE_ALPHA, weights, intercepts, strict=True):
        model = Ridge(penalty).fit(x, y)
        assert w == pytest.approx(model.coef_, abs=1e-9)
        assert b == pytest.approx(model.intercept_, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_ridge_of_many_answers_is_scikit_learns(shape: tuple[int, int]) -> None:
    x, _ = data(*shape, separable=False)
    rng = np.random.default_rng(1)
    answers, others = rng.normal(40, 10, size=(7, len(x))), rng.normal(size=(5, x.shape[1]))
    expected = Ridge(10.0).fit(x, answers.T).predict(others).reshape(5, 7).T
    assert ridge_predictions(x, answers, others, 10.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", [87, 112, 194, 202])
def test_a_whole_step_that_goes_too_far_is_shortened(seed: int) -> None:
    x, y = 100 * np.random.default_rng(seed).standard_cauchy(size=(7, 3)), np.array([0, 1, 0, 1, 0, 1, 1])
    (weights,), (intercept,) = logistic_path(x, y, [10.0])
    wrong = expit(-(2 * y - 1) * (x @ weights + intercept))
    pull = 10.0 * len(y) / (2 * np.bincount(y)[y]) * (2 * y - 1) * wrong
    # At the least value nothing pulls any more.
    assert weights == pytest.approx(x.T @ pull, abs=1e-6)
    assert pull.sum() == pytest.approx(0, abs=1e-6)


def test_scaling_is_scikit_learns_also_of_what_is_constant_but_for_rounding() -> None:
    x = np.random.default_rng(0).normal(5, 2, size=(30, 4))
    x[:, 1], x[:, 2] = 0.1 + 0.2, 1e6 + 1e-11 * x[:, 0]
    mean, scale = scaling(x)
    expected = StandardScaler().fit(x)
    assert mean == pytest.approx(expected.mean_)
    assert scale == pytest.approx(expected.scale_)
    assert scale[1] == scale[2] == 1


@pytest.mark.parametrize("people", [60, 200])
def test_probes_of_many_answers_are_nearly_those_at_their_optimum(people: int) -> None:
    rng = np.random.default_rng(8)
    x, others = rng.normal(size=(people, 20)), rng.normal(size=(50, 20))
    answers = (rng.random((30, people)) < 0.3).astype(np.int64)  # unbalanced classes
    for penalty in (0.001, 0.1, 1.0):
        found = logistic_scores(x, answers, others, penalty)
        assert found.shape == (30, 50, 2)
        paths = [logistic_path(x, given, [penalty]) for given in answers]
        exact = np.array([others @ weights[0] + intercept[0] for weights, intercept in paths])
        assert ((found.argmax(-1) == 1) == (exact > 0)).mean() > 0.98
        np.testing.assert_allclose(found[..., 1] - found[..., 0], exact, atol=0.15 * np.abs(exact).max())


def test_answers_in_parts_are_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    x, others, answers = rng.normal(size=(40, 3)), rng.normal(size=(7, 3)), rng.integers(0, 3, (10, 40))
    whole = logistic_scores(x, answers, others, 1.0)
    monkeypatch.setattr(linear_probes, "_AT_ONCE", 40 * 3 * 4)
    np.testing.assert_allclose(logistic_scores(x, answers, others, 1.0), whole, atol=1e-4)


def test_answers_of_one_class_alone_are_scored_as_two() -> None:
    rng = np.random.default_rng(10)
    found = logistic_scores(rng.normal(size=(12, 3)), np.zeros((4, 12), np.int64), rng.normal(size=(5, 3)), 1.0)
    assert found.shape == (4, 5, 2)
    assert (found.argmax(-1) == 0).all()
