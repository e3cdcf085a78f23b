"""The contrastive latent variable model, against its likelihood with whole covariance matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sepclr_neuro.config.methods.linear import CLVMSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.latent import ContrastiveLatentVariables, Latent, latent_variables
from sepclr_neuro.methods.linear import second_moment
from sepclr_neuro.methods.span import TrainingSet
from tests.oracles import linear as oracle

Groups = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture(scope="module")
def groups() -> Groups:
    """60 controls and 90 patients of 6 dimensions: both vary along the first two, patients along the third as well."""
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(60, 6)), rng.normal(size=(90, 6))
    for people in (y, x):
        people[:, :2] += rng.normal(size=(len(people), 2)) * [4, 3]
    x[:, 2] += 2 + 3 * rng.normal(size=90)
    return y, x


def fitted(groups: Groups, q: int, d: int, steps: int = 1000) -> Latent:
    y, x = groups
    return latent_variables((second_moment(y), second_moment(x, y.mean(axis=0))), (len(y), len(x)), (q, d), steps)


def test_the_likelihood_is_that_of_whole_covariance_matrices_and_at_its_maximum(groups: Groups) -> None:
    found = fitted(groups, 2, 1, 5000)
    parameters = [found.common, found.salient, found.variance]
    assert found.loss == pytest.approx(oracle.contrastive_latent_loss(*groups, *parameters), rel=1e-9)
    rng = np.random.default_rng(1)
    for _ in range(30):
        moved = [value * (1 + 0.05 * rng.normal(size=np.shape(value))) for value in parameters]
        assert oracle.contrastive_latent_loss(*groups, *moved) > found.loss - 1e-4


def test_each_step_raises_the_likelihood(groups: Groups) -> None:
    losses = [
        oracle.contrastive_latent_loss(*groups, f.common, f.salient, f.variance)
        for f in (fitted(groups, 2, 1, steps) for steps in range(12))
    ]
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] < losses[0]


def test_salient_is_what_patients_alone_vary_by(groups: Groups) -> None:
    found = fitted(groups, 2, 1)
    direction = found.salient[:, 0] / np.linalg.norm(found.salient)
    assert abs(direction[2]) > 0.95
    assert np.linalg.norm(np.linalg.qr(found.common)[0][:2]) ** 2 == pytest.approx(2, abs=0.1)


def test_codes_are_the_expectation_of_the_patients_latent_variables(groups: Groups) -> None:
    """By conditioning the joint normal distribution of t and x, whose covariances are W' and the whole matrix."""
    x = np.concatenate(groups)
    target = np.arange(len(x)) >= len(groups[0])
    training = TrainingSet(x, target, np.zeros((len(x), 0)), 0)
    method = ContrastiveLatentVariables(CLVMSettings(salient_dim=1, common_dim=2, erase=False), Network(), (1, 1, 1, 6))
    spaces, figures = method.solve(training)
    axes = training.adjusted_axes
    turned = tuple(x[some] @ axes.weights.T for some in (~target, target))
    found = fitted((turned[0], turned[1]), 2, 1)
    whole = found.common @ found.common.T + found.salient @ found.salient.T + found.variance * np.eye(6)
    expected = found.salient.T @ np.linalg.inv(whole) @ axes.weights
    np.testing.assert_allclose(spaces["salient"].weights, expected, atol=1e-8 * np.abs(expected).max())
    assert figures["loss"] == pytest.approx(found.loss)


@pytest.mark.parametrize("dims", [(32, 8), (1, 40)])
def test_more_latent_variables_than_dimensions_are_cut(groups: Groups, dims: tuple[int, int]) -> None:
    found = fitted(groups, *dims)
    assert found.common.shape[1] + found.salient.shape[1] < 6
    assert np.isfinite(found.loss)
    assert found.salient.shape[1] >= 1
