"""Adjustment, erasure and linear contrastive methods on the voxels themselves, in float64 and without a Gram matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def adjusted(z: Matrix, y: NDArray[np.bool_], a: Matrix, new: Matrix, of_new: Matrix) -> Matrix:
    """Volumes minus covariates' effects, fitted on training participants by least squares with the group in the design.

    z [N, V], y [N], a [N, k] of training people; new [M, V] and of_new [M, k] of those to be adjusted.
    """
    design = np.column_stack([np.ones(len(z)), y, a])
    effects = np.linalg.lstsq(design, z, rcond=None)[0][2:]
    return new - of_new @ effects


def erased(common: Matrix, salient: Matrix, new_common: Matrix, new_salient: Matrix) -> Matrix:
    """Common representations minus their regression (with intercept) on training participants' salient codes."""
    design = np.column_stack([np.ones(len(salient)), salient])
    slope = np.linalg.lstsq(design, common, rcond=None)[0][1:]
    return new_common - (new_salient - salient.mean(axis=0)) @ slope


def ridge_discriminant(e: Matrix, y: NDArray[np.bool_], ridge: float) -> Matrix:
    """The direction (S + lambda I)^-1 (mean of patients less controls) in voxel space, of length 1.

    lambda is ridge times the mean variance within groups of the axes that the people span.
    """
    difference = e[y].mean(axis=0) - e[~y].mean(axis=0)
    within = sum(side.sum() * np.cov(e[side].T, bias=True) for side in (y, ~y)) / len(e)
    rank = np.linalg.matrix_rank(e - e.mean(axis=0))
    w = np.linalg.solve(within + ridge * np.trace(within) / rank * np.eye(len(within)), difference)
    return w / np.linalg.norm(w)


def contrast_ratio(e: Matrix, y: NDArray[np.bool_], ridge: float, w: Matrix) -> float:
    """What generalised contrastive PCA maximises: the patients' second moment about the controls' mean along w, over
    the controls' variance and the ridge (in mean variances of an axis)."""
    mean = e[~y].mean(axis=0)
    rank = np.linalg.matrix_rank(e - e.mean(axis=0))
    variance = np.square(e[~y] - mean).sum(axis=1).mean() / rank
    return float(
        np.square((e[y] - mean) @ w).mean() / (np.square((e[~y] - mean) @ w).mean() + ridge * variance * w @ w)
    )


def normative_deviations(z: Matrix, y: NDArray[np.bool_], a: Matrix, new: Matrix, of_new: Matrix) -> Matrix:
    """Volumes less what a regression of the training controls' volumes on their covariates predicts.

    z [N, V], y [N], a [N, k] of training people; new [M, V] and of_new [M, k] of those whose deviations are wanted.
    """
    design = np.column_stack([np.ones((~y).sum()), a[~y]])
    solution = np.linalg.lstsq(design, z[~y], rcond=None)[0]
    return new - np.column_stack([np.ones(len(new)), of_new]) @ solution


def contrastive_latent_loss(y: Matrix, x: Matrix, s: Matrix, w: Matrix, variance: float) -> float:
    """Negative log-likelihood of controls y [N, r] and patients x [M, r] about the controls' mean, without log(2 pi).

    Of a participant and dimension. Controls have the covariance SS' + variance, patients SS' + WW' + variance.
    """
    loss = 0.0
    for rows, k in ((y, s @ s.T), (x, s @ s.T + w @ w.T)):
        covariance = k + variance * np.eye(len(k))
        for row in rows - y.mean(axis=0):
            loss += (np.log(np.linalg.det(covariance)) + row @ np.linalg.inv(covariance) @ row) / 2
    return float(loss / (y.size + x.size))
