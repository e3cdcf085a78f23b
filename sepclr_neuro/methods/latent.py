r"""The linear contrastive latent variable model: what controls and patients vary by, and what only patients vary by.

.. math:: y = \mu + S z + \epsilon \qquad x = \mu + S z + W t + \epsilon \qquad \epsilon \sim N(0, \sigma^2 I)

y is a control, x a patient, z and t are standard normal; :math:`\mu` is the controls' mean. The likelihood depends on
the volumes only by the controls' covariance and by the patients' second moment about :math:`\mu`.

Source: Severson, Ghosh, Ng, AAAI 2019, https://doi.org/10.1609/aaai.v33i01.33014862, equations 1 and 2, with the point
estimates of S and W that expectation maximisation finds; taking the controls' mean for both groups, so that a shift of
all patients is a salient dimension, is a choice of this project.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sepclr_neuro.config.methods.linear import CLVMSettings
from sepclr_neuro.methods.linear import TwoLinearSpaces, second_moment
from sepclr_neuro.methods.span import Axes, Matrix, TrainingSet

__all__ = ["ContrastiveLatentVariables", "Latent", "latent_variables"]

_CONVERGED = 1e-6
"""Of the negative log-likelihood of a participant and dimension: a smaller change ends the steps."""


class Latent(NamedTuple):
    """The parameters of the model of r-dimensional data."""

    common: Matrix
    """S, [r, q]."""
    salient: Matrix
    """W, [r, d]."""
    variance: float
    """sigma squared."""
    loss: float
    """Negative log-likelihood of a participant and dimension, without the constant log(2 pi) / 2."""


class ContrastiveLatentVariables(TwoLinearSpaces):
    """The expectation of the patients' latent variables, E[t | x], as the salient space.

    A control has one too: what it would be if the control were a patient.
    """

    settings: CLVMSettings

    def directions(self, axes: Axes, training: TrainingSet, settings: Any) -> tuple[Matrix, dict[str, float]]:
        controls, patients = axes.scores[~training.target], axes.scores[training.target]
        moments = (second_moment(controls), second_moment(patients, controls.mean(axis=0)))
        dims = settings.common_dim, settings.salient_dim
        found = latent_variables(moments, (len(controls), len(patients)), dims, settings.steps)
        return _expectation(found)[found.common.shape[1] :], {"loss": found.loss}


def latent_variables(
    moments: tuple[Matrix, Matrix], counts: tuple[int, int], dims: tuple[int, int], steps: int
) -> Latent:
    """Fits the model by expectation maximisation.

    Args:
        moments: second moments about the controls' mean, of the controls and of the patients, [r, r] each.
        counts: numbers of controls and of patients.
        dims: dimensions of z and of t; together fewer than r, else they are cut to what r leaves.
        steps: at most; they end where the likelihood hardly changes.
    """
    of_controls, of_patients = moments
    n, r = counts, len(of_controls)
    d = min(dims[1], max(1, r // 2))
    q = max(0, min(dims[0], r - d - 1))
    values, vectors = np.linalg.eigh(of_controls)
    variance = max(float(values[: r - q].mean()), 1e-6 * float(values.mean()))
    s = vectors[:, r - q :] * np.sqrt(np.maximum(values[r - q :] - variance, variance))
    values, vectors = np.linalg.eigh(of_patients - of_controls)
    w = vectors[:, r - d :] * np.sqrt(np.maximum(values[r - d :], variance))
    groups = [(n[0], of_controls, q), (n[1], of_patients, q + d)]  # a control has the first q latent variables alone
    total = n[0] * np.trace(of_controls) + n[1] * np.trace(of_patients)
    loadings, loss = np.hstack([s, w]), _loss(np.hstack([s, w]), variance, groups)
    for _ in range(steps):
        # Expectation: sums over participants of zz' and xz', where z are the latent variables.
        a, b = np.zeros((q + d, q + d)), np.zeros((r, q + d))
        for count, moment, k in groups:
            m = np.linalg.inv(loadings[:, :k].T @ loadings[:, :k] + variance * np.eye(k))
            cross = moment @ loadings[:, :k] @ m
            a[:k, :k] += count * (variance * m + m @ loadings[:, :k].T @ cross)
            b[:, :k] += count * cross
        # Maximisation: least squares.
        loadings = b @ np.linalg.inv(a)
        variance = float(total - np.sum(b * loadings)) / (sum(n) * r)
        before, loss = loss, _loss(loadings, variance, groups)
        if before - loss < _CONVERGED:
            break
    return Latent(loadings[:, :q], loadings[:, q:], variance, loss)


def _loss(loadings: Matrix, variance: float, groups: list[tuple[int, Matrix, int]]) -> float:
    """Negative log-likelihood, by inverses and determinants of k x k matrices (Woodbury)."""
    loss, values = 0.0, 0
    for count, moment, k in groups:
        part, r = loadings[:, :k], len(moment)
        inner = part.T @ part + variance * np.eye(k)
        log_determinant = (r - k) * np.log(variance) + np.linalg.slogdet(inner)[1]
        explained = np.sum(np.linalg.solve(inner, part.T) * (moment @ part).T)
        loss += count * (log_determinant + (np.trace(moment) - explained) / variance) / 2
        values += count * r
    return float(loss / values)


def _expectation(found: Latent) -> Matrix:
    """K [q + d, r], by which E[(z, t) | x] = K (x - mu)."""
    loadings = np.hstack([found.common, found.salient])
    inner = loadings.T @ loadings + found.variance * np.eye(loadings.shape[1])
    return np.asarray(np.linalg.solve(inner, loadings.T), np.float64)
