r"""Linear maps of the voxels that lie in the span of the training people, found from their Gram matrix.

Any linear encoder that is learned with weight decay is a weighted sum of the N training volumes, so that N x N matrices
say all, however many voxels there are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    "TrainingPeople",
    "VoxelMaps",
    "centring",
    "equal_variance_rotation",
    "inner_folds",
    "left_out",
    "oriented",
    "principal_axes",
]

Matrix = NDArray[np.float64]


class VoxelMaps(NamedTuple):
    """A linear representation of d dimensions, r = K X x - F a, by the training people and covariates that make it."""

    people: Matrix
    """K [d, N]: how much of each training person's volume is in each dimension's voxel map."""
    covariates: Matrix
    """F [d, k]: what each covariate adds to a dimension by way of the voxels, and is taken off again."""


class Axes(NamedTuple):
    """Principal axes of D = T X, the largest first."""

    people: Matrix
    """K [r, N]: directions K X, orthonormal in voxel space."""
    variances: Matrix
    """Sums of squares of D along each, [r]."""
    scores: Matrix
    """The training people's coordinates D (K X)', [N, r]."""


@dataclass(frozen=True)
class TrainingPeople:
    """All that a linear method learns from.

    Attributes:
        gram: inner products of standardised volumes, [N, N].
        target: whether each is a patient, [N].
        covariates: [N, k], centred; k = 0 where nothing is adjusted for.
        seed: of whatever is drawn at random.
    """

    gram: Matrix
    target: NDArray[np.bool_]
    covariates: Matrix
    seed: int

    @cached_property
    def covariate_weights(self) -> Matrix:
        """P [k, N]: the covariates' effects within groups are the voxel maps P X."""
        return covariate_weights(self.covariates, self.target)

    @cached_property
    def residual_maker(self) -> Matrix:
        """M [N, N]: adjusted volumes are M X."""
        return np.eye(len(self.gram)) - self.covariates @ self.covariate_weights

    def part(self, rows: NDArray[np.intp]) -> TrainingPeople:
        """Some of these people, as if there were no others."""
        covariates = self.covariates[rows] - self.covariates[rows].mean(axis=0)
        return TrainingPeople(self.gram[np.ix_(rows, rows)], self.target[rows], covariates, self.seed)

    def adjusted(self, people: Matrix) -> VoxelMaps:
        """The representation K X e of adjusted volumes e = x - B'a, for people's weights K [d, N]."""
        return VoxelMaps(people, people @ self.gram @ self.covariate_weights.T)

    def plain(self, people: Matrix) -> VoxelMaps:
        """The representation K X x of volumes as they are."""
        return VoxelMaps(people, np.zeros((len(people), self.covariates.shape[1])))

    def represent(self, maps: VoxelMaps) -> Matrix:
        """Of the training people themselves, [N, d], centred."""
        values = self.gram @ maps.people.T - self.covariates @ maps.covariates.T
        return values - values.mean(axis=0)

    def erased(self, common: VoxelMaps, salient: VoxelMaps) -> VoxelMaps:
        """The common representation without what the salient codes predict of it in the training people."""
        e = erasing_weights(self.represent(common), self.represent(salient))
        return VoxelMaps(common.people - e @ salient.people, common.covariates - e @ salient.covariates)


class LinearMaps(ClosedFormMethod):
    r"""Linear maps of the voxels, found from the Gram matrix :math:`G = XX^T` of the N training people.

    A direction in voxel space that training people span is :math:`k^T X` with a coefficient a person. Volumes are read
    a few planes of everybody at a time, each plane twice: for its part of G, and for its part of the directions.
    """

    voxels: Tensor
    """Positions, in the flattened volume, of voxels that are not 0 in everybody, slab by slab."""

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

    def origin(self, space: str, people: TrainingPeople) -> NDArray[np.bool_]:
        """The training people whose mean is the origin of a space, [N]."""
        return np.ones(len(people.gram), dtype=bool)

    @abstractmethod
    def solve(self, people: TrainingPeople) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        """The maps of each space, and figures of the fit beside the variance that the spaces leave out."""

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
        people = TrainingPeople(gram, target.numpy(), a, seed)
        spaces, figures = self.solve(people)
        directions: dict[str, list[Tensor]] = {space: [] for space in spaces}
        for _, x in self._slabs(read, rows):
            for space, maps in spaces.items():
                directions[space].append((torch.from_numpy(maps.people) @ x).float())
        for space, maps in spaces.items():
            of = self.origin(space, people)
            offset = maps.people @ gram[:, of].mean(axis=1) - maps.covariates @ a[of].mean(axis=0)
            setattr(self, f"{space}_directions", torch.cat(directions[space], dim=1))
            setattr(self, f"{space}_offset", torch.from_numpy(offset).float())
            setattr(self, f"{space}_covariates", torch.from_numpy(maps.covariates).float())
        return figures

    def _slabs(self, read: Read, rows: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Of some planes of everybody, the voxels that are not 0 in all: their positions [k], and values [N, k]."""
        places = torch.arange(math.prod(self.input_shape)).reshape(self.input_shape)
        for planes in planes_at_once(self.input_shape, len(rows)):
            x = read(rows, planes).flatten(start_dim=1)
            present = (x != 0).any(dim=0)
            yield places[:, planes].flatten()[present], x[:, present].double()


def inner_folds(people: TrainingPeople) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows (others, left out) of five folds of the training people, each with its share of both groups."""
    random, fold = np.random.default_rng([people.seed, 1]), np.empty(len(people.target), dtype=int)
    for group in (False, True):
        members = random.permutation(np.flatnonzero(people.target == group))
        fold[members] = np.arange(len(members)) % 5
    for number in range(5):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def left_out(people: TrainingPeople, spaces: dict[str, VoxelMaps]) -> dict[str, float]:
    """The share of the training people's variance that orthonormal maps do not represent, the mean over spaces."""
    centred = centring(np.ones(len(people.gram), dtype=bool))
    variance = np.trace(centred @ people.gram @ centred)
    kept = [np.square(people.represent(maps)).sum() / variance for maps in spaces.values()]
    return {"loss": float(1 - np.mean(kept))}


def centring(members: NDArray[np.bool_]) -> Matrix:
    """T X is X less the members' mean in the members' rows and 0 in the others: [N, N]."""
    chosen = members.astype(float)
    return np.diag(chosen) - np.outer(chosen, chosen) / chosen.sum()


def principal_axes(gram: Matrix, transform: Matrix) -> Axes:
    """The principal axes of D = T X, from the Gram matrix of X [N, N] and T [N, N]."""
    values, u = np.linalg.eigh(transform @ gram @ transform.T)
    order = np.argsort(-values, kind="stable")
    # Float32 volumes: what is below is rounding, not variance.
    order = order[values[order] > 1e-7 * values.max()]
    values, u = values[order], u[:, order]
    k = (u / np.sqrt(values)).T @ transform
    sign = _signs(k)
    return Axes(k * sign[:, None], values, u * sign * np.sqrt(values))


def _signs(k: Matrix) -> Matrix:
    """An eigenvector's sign is anybody's: here the largest coefficient is positive."""
    return np.sign(k[np.arange(len(k)), np.abs(k).argmax(axis=1)])


def oriented(k: Matrix) -> Matrix:
    """Rows [d, N] with the sign at which the largest coefficient is positive."""
    return k * _signs(k)[:, None]


def equal_variance_rotation(variances: Matrix) -> Matrix:
    """A rotation R [r, r] after which uncorrelated variables of these variances [r] have one variance each.

    Each step turns the largest and the smallest against each other until the larger one is at the mean.

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
