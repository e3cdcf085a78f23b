r"""Linear maps of the voxels in the span of the training volumes, computed from their Gram matrix.

Any linear encoder that is learned with weight decay is a weighted sum of the N training volumes (the representer
theorem), so that N x N matrices suffice, however many voxels there are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepclr_neuro.config.methods.base import MethodSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.adjustment import covariate_weights
from sepclr_neuro.methods.base import ClosedFormMethod, Read, planes_at_once
from sepclr_neuro.methods.erasure import erasing_weights

__all__ = [
    "Axes",
    "LinearMaps",
    "Matrix",
    "TrainingSet",
    "VoxelMaps",
    "centring",
    "equal_variance_rotation",
    "oriented",
    "principal_axes",
    "stratified_folds",
    "unexplained_variance",
]

Matrix = NDArray[np.float64]


class VoxelMaps(NamedTuple):
    """A linear representation r = K X x - F a of a volume x with covariates a; X are the training volumes, [N, V]."""

    weights: Matrix
    """K [d, N]: the voxel map of each dimension as a weighted sum of the training volumes."""
    covariates: Matrix
    """F [d, k]: the effect of each covariate on each dimension, which is subtracted."""


class Axes(NamedTuple):
    """Principal axes of D = T X, in order of decreasing variance."""

    weights: Matrix
    """K [r, N]: the axes are the rows of K X, orthonormal in voxel space."""
    variances: Matrix
    """Sum of squares of D along each axis, [r]."""
    scores: Matrix
    """Scores of the training participants on the axes, D (K X)', [N, r]."""


@dataclass(frozen=True)
class TrainingSet:
    """The training data of a linear method, for N participants.

    Attributes:
        gram: inner products of the standardised volumes, X X', [N, N].
        target: whether each participant is a patient, [N].
        covariates: [N, k], centred; k = 0 without adjustment.
        seed: of the random numbers.
        effects_of_controls: whether the effects of covariates are learned from the controls alone.
    """

    gram: Matrix
    target: NDArray[np.bool_]
    covariates: Matrix
    seed: int
    effects_of_controls: bool = False

    @cached_property
    def covariate_weights(self) -> Matrix:
        """P [k, N]: P X are the voxel maps of the covariates' effects within groups, or within controls."""
        if not self.effects_of_controls:
            return covariate_weights(self.covariates, self.target)
        controls, weights = ~self.target, np.zeros((self.covariates.shape[1], len(self.gram)))
        weights[:, controls] = covariate_weights(self.covariates[controls], self.target[controls])
        return weights

    @cached_property
    def residual_maker(self) -> Matrix:
        """M [N, N]: M X are the adjusted volumes."""
        return np.eye(len(self.gram)) - self.covariates @ self.covariate_weights

    def subset(self, rows: NDArray[np.intp]) -> TrainingSet:
        """The participants of some rows, with covariates centred on them alone."""
        covariates = self.covariates[rows] - self.covariates[rows].mean(axis=0)
        return replace(self, gram=self.gram[np.ix_(rows, rows)], target=self.target[rows], covariates=covariates)

    def adjusted(self, weights: Matrix) -> VoxelMaps:
        """The representation K X e of adjusted volumes e = x - B'a, for weights K [d, N] of the training volumes."""
        return VoxelMaps(weights, weights @ self.gram @ self.covariate_weights.T)

    def unadjusted(self, weights: Matrix) -> VoxelMaps:
        """The representation K X x of unadjusted volumes, for weights K [d, N] of the training volumes."""
        return VoxelMaps(weights, np.zeros((len(weights), self.covariates.shape[1])))

    def represent(self, maps: VoxelMaps) -> Matrix:
        """The representations of the training participants, [N, d], centred."""
        values = self.gram @ maps.weights.T - self.covariates @ maps.covariates.T
        return values - values.mean(axis=0)

    def erased(self, common: VoxelMaps, salient: VoxelMaps) -> VoxelMaps:
        """The common maps minus their linear prediction from the salient ones, fitted on the training participants."""
        e = erasing_weights(self.represent(common), self.represent(salient))
        return VoxelMaps(common.weights - e @ salient.weights, common.covariates - e @ salient.covariates)


class LinearMaps(ClosedFormMethod):
    r"""Linear maps of the voxels, computed from the Gram matrix :math:`G = XX^T` of the N training volumes.

    A direction in the span of the training volumes is :math:`k^T X`, with one coefficient per participant. Volumes are
    read a few planes of all participants at a time, and each plane twice: for its part of G, then for its part of the
    directions.
    """

    voxels: Tensor
    """Positions, in the flattened volume, of the voxels that are not 0 in all participants, slab by slab."""

    def __init__(self, settings: MethodSettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.settings: Any = settings
        self.input_shape = tuple(input_shape)
        self.register_buffer("voxels", torch.zeros(0, dtype=torch.int64))
        for space in self.spaces:
            self.register_buffer(f"{space}_directions", torch.zeros(0, 0))
            self.register_buffer(f"{space}_offset", torch.zeros(0))
            self.register_buffer(f"{space}_covariates", torch.zeros(0, 0))

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        x = volumes.flatten(start_dim=1)[:, self.voxels]
        found = {}
        for space in self.spaces:
            values = x @ getattr(self, f"{space}_directions").T - getattr(self, f"{space}_offset")
            effects = getattr(self, f"{space}_covariates")
            found[space] = values - covariates @ effects.T if covariates is not None and effects.any() else values
        return found

    def origin(self, space: str, training: TrainingSet) -> NDArray[np.bool_]:
        """Whether each training participant counts in the mean that is the origin of a space, [N]."""
        return np.ones(len(training.gram), dtype=bool)

    @abstractmethod
    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        """The maps of each space, and figures of the fit for the training history."""

    def fit(
        self, read: Read, rows: Sequence[int], target: Tensor, covariates: Tensor | None = None, seed: int = 0
    ) -> dict[str, float]:
        rows = list(rows)
        gram, voxels = np.zeros((len(rows), len(rows))), []
        for positions, x in self._slabs(read, rows):
            gram += (x @ x.T).numpy()
            voxels.append(positions)
        self.voxels = torch.cat(voxels)
        a = np.zeros((len(rows), 0))
        if covariates is not None and covariates.numel():
            a = covariates.double().numpy()
        training = TrainingSet(gram, target.numpy(), a, seed)
        spaces, figures = self.solve(training)
        directions: dict[str, list[Tensor]] = {space: [] for space in spaces}
        for _, x in self._slabs(read, rows):
            for space, maps in spaces.items():
                directions[space].append((torch.from_numpy(maps.weights) @ x).float())
        for space, maps in spaces.items():
            of = self.origin(space, training)
            offset = maps.weights @ gram[:, of].mean(axis=1) - maps.covariates @ a[of].mean(axis=0)
            setattr(self, f"{space}_directions", torch.cat(directions[space], dim=1))
            setattr(self, f"{space}_offset", torch.from_numpy(offset).float())
            setattr(self, f"{space}_covariates", torch.from_numpy(maps.covariates).float())
        return figures

    def _slabs(self, read: Read, rows: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Slab by slab, the voxels that are not 0 in all participants: their positions [k] and values [N, k]."""
        places = torch.arange(math.prod(self.input_shape)).reshape(self.input_shape)
        for planes in planes_at_once(self.input_shape, len(rows)):
            x = read(rows, planes).flatten(start_dim=1)
            present = (x != 0).any(dim=0)
            yield places[:, planes].flatten()[present], x[:, present].double()


def stratified_folds(training: TrainingSet) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows (training, held out) of five random inner folds of the training participants, stratified by group."""
    random, fold = np.random.default_rng([training.seed, 1]), np.empty(len(training.target), dtype=int)
    for group in (False, True):
        members = random.permutation(np.flatnonzero(training.target == group))
        fold[members] = np.arange(len(members)) % 5
    for number in range(5):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def unexplained_variance(training: TrainingSet, spaces: dict[str, VoxelMaps]) -> dict[str, float]:
    """The proportion of variance of the training volumes that orthonormal maps do not explain, averaged over spaces."""
    centred = centring(np.ones(len(training.gram), dtype=bool))
    variance = np.trace(centred @ training.gram @ centred)
    kept = [np.square(training.represent(maps)).sum() / variance for maps in spaces.values()]
    return {"loss": float(1 - np.mean(kept))}


def centring(members: NDArray[np.bool_]) -> Matrix:
    """T [N, N] that centres the members of X on their mean and sets the rows of all others to 0 in T X."""
    chosen = members.astype(float)
    return np.diag(chosen) - np.outer(chosen, chosen) / chosen.sum()


def principal_axes(gram: Matrix, transform: Matrix) -> Axes:
    """The principal axes of D = T X, from the Gram matrix of X [N, N] and T [N, N]."""
    values, u = np.linalg.eigh(transform @ gram @ transform.T)
    order = np.argsort(-values, kind="stable")
    # Volumes are float32: smaller eigenvalues are rounding errors.
    order = order[values[order] > 1e-7 * values.max()]
    values, u = values[order], u[:, order]
    k = (u / np.sqrt(values)).T @ transform
    sign = _signs(k)
    return Axes(k * sign[:, None], values, u * sign * np.sqrt(values))


def _signs(k: Matrix) -> Matrix:
    """The sign of the coefficient of largest magnitude in each row, [d]; the sign of an eigenvector is arbitrary."""
    return np.sign(k[np.arange(len(k)), np.abs(k).argmax(axis=1)])


def oriented(k: Matrix) -> Matrix:
    """Rows [d, N] with signs that make the coefficient of largest magnitude positive."""
    return k * _signs(k)[:, None]


def equal_variance_rotation(variances: Matrix) -> Matrix:
    """A rotation R [r, r] after which uncorrelated variables of these variances [r] all have the same variance.

    Each step is a Givens rotation of the variables of largest and smallest variance that brings the former to the mean.

    >>> r = equal_variance_rotation(np.array([4.0, 1.0, 1.0]))
    >>> np.diag(r @ np.diag([4.0, 1.0, 1.0]) @ r.T).round(6).tolist()
    [2.0, 2.0, 2.0]
    """
    covariance, rotation = np.diag(variances.astype(float)), np.eye(len(variances))
    mean = float(np.mean(variances))
    left = list(range(len(variances)))
    while len(left) > 1:
        diagonal = covariance[left, left]
        i, j = left[int(diagonal.argmax())], left[int(diagonal.argmin())]
        above, below, both = covariance[i, i] - mean, covariance[j, j] - mean, covariance[i, j]
        if i != j and above > 0 > below:
            tangent = (-both + math.sqrt(both**2 - above * below)) / below
            cosine = 1 / math.sqrt(1 + tangent**2)
            turn = np.array([[cosine, tangent * cosine], [-tangent * cosine, cosine]])
            covariance[[i, j]] = turn @ covariance[[i, j]]
            covariance[:, [i, j]] = covariance[:, [i, j]] @ turn.T
            rotation[[i, j]] = turn @ rotation[[i, j]]
        left.remove(i)
    return rotation
