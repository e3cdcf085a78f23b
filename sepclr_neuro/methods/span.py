r"""Linear maps of the voxels in the span of the training volumes.

Any linear encoder that is learned with weight decay is a weighted sum of the N training volumes (the representer
theorem). So everything is computed from the coordinates of the training participants on an orthonormal basis of this
span, N numbers for each of N participants, however many voxels there are.

Of many participants only the largest principal components are kept, so that codes, and the time of all that reads them,
grow with the number of participants, not with its square or cube. Of more than some thousand, the basis spans random
weighted sums of the volumes that lie near these components.

Source of the latter: Halko, Martinsson, Tropp, SIAM Review 2011, https://doi.org/10.1137/090771806, algorithm 4.1 (the
range of :math:`X \Omega`) and section 5.4 (the Nystroem method).
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepclr_neuro.config.methods.base import MethodSettings
from sepclr_neuro.config.methods.linear import INNER_FOLDS
from sepclr_neuro.config.network import Network
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.methods.adjustment import covariate_weights
from sepclr_neuro.methods.base import ClosedFormMethod, Read, planes_at_once
from sepclr_neuro.methods.erasure import erasing_weights

__all__ = [
    "Axes",
    "LinearMaps",
    "Matrix",
    "TrainingSet",
    "VoxelMaps",
    "centred",
    "equal_variance_rotation",
    "oriented",
    "principal_axes",
    "stratified_folds",
    "unexplained_variance",
]

logger = logging.getLogger(__name__)

Matrix = NDArray[np.float64]

MOST_DIMENSIONS = 1000
"""Dimensions that are kept of the span."""
EXACT_UP_TO = 3000
"""Training participants whose components are exact: a matrix of 70 MB, and seconds for its eigenvectors."""
_ROUNDING = 1e-7
"""Of the largest variance: volumes have float32 accuracy, and smaller variances are rounding errors."""
_NOTHING = 1e-10
"""The same before centring, where the largest sum of squares may be the mean volume's."""


class VoxelMaps(NamedTuple):
    """A linear representation r = K B x - F a of a volume x with covariates a; B [r, V] is the basis of the span."""

    weights: Matrix
    """K [d, r]: the voxel map of each dimension in coordinates on the basis."""
    covariates: Matrix
    """F [d, k]: the effect of each covariate on each dimension, which is subtracted."""


class Axes(NamedTuple):
    """Principal axes of volumes with coordinates D, in order of decreasing variance."""

    weights: Matrix
    """K [q, r]: the axes in coordinates on the basis, orthonormal."""
    variances: Matrix
    """Sum of squares of D along each axis, [q]."""
    scores: Matrix
    """Scores on the axes, D K', [N, q]."""


@dataclass(frozen=True)
class TrainingSet:
    """The training data of a linear method, of N scans.

    Attributes:
        coordinates: of the standardised volumes on an orthonormal basis of their span, [N, r].
        target: whether each participant is a patient, [N].
        covariates: [N, k], centred; k = 0 without adjustment.
        seed: of the random numbers.
        person: the participant of each scan, [N], numbered; None if each scan has its own.
        effects_of_controls: whether the effects of covariates are learned from the controls alone.
        attributes: known attributes of the participants, each [N] in 0 to 1, NaN where a value is missing.
    """

    coordinates: Matrix
    target: NDArray[np.bool_]
    covariates: Matrix
    seed: int
    person: NDArray[np.intp] | None = None
    effects_of_controls: bool = False
    attributes: Mapping[str, Matrix] = field(default_factory=dict)

    @cached_property
    def covariate_effects(self) -> Matrix:
        """[k, r]: the effects of the covariates within groups, or within controls, in coordinates on the basis."""
        some = ~self.target if self.effects_of_controls else np.ones(len(self.target), dtype=bool)
        return covariate_weights(self.covariates[some], self.target[some]) @ self.coordinates[some]

    @cached_property
    def adjusted_coordinates(self) -> Matrix:
        """The coordinates of the adjusted volumes, [N, r]."""
        return self.coordinates - self.covariates @ self.covariate_effects

    @cached_property
    def axes(self) -> Axes:
        """Principal axes of the unadjusted volumes, centred."""
        return principal_axes(centred(self.coordinates))

    @cached_property
    def adjusted_axes(self) -> Axes:
        """Principal axes of the adjusted volumes, centred."""
        return principal_axes(centred(self.adjusted_coordinates))

    def subset(self, rows: NDArray[np.intp]) -> TrainingSet:
        """The participants of some rows, with covariates centred on them alone."""
        covariates = self.covariates[rows] - self.covariates[rows].mean(axis=0)
        person = None if self.person is None else self.person[rows]
        return replace(
            self,
            coordinates=self.coordinates[rows],
            target=self.target[rows],
            covariates=covariates,
            person=person,
            attributes={name: values[rows] for name, values in self.attributes.items()},
        )

    def adjusted(self, weights: Matrix) -> VoxelMaps:
        """The representation K B e of adjusted volumes e, for weights K [d, r]."""
        return VoxelMaps(weights, weights @ self.covariate_effects.T)

    def unadjusted(self, weights: Matrix) -> VoxelMaps:
        """The representation K B x of unadjusted volumes x, for weights K [d, r]."""
        return VoxelMaps(weights, np.zeros((len(weights), self.covariates.shape[1])))

    def represent(self, maps: VoxelMaps) -> Matrix:
        """The representations of the training participants, [N, d]; not centred."""
        return self.coordinates @ maps.weights.T - self.covariates @ maps.covariates.T

    def erased(self, common: VoxelMaps, salient: VoxelMaps) -> VoxelMaps:
        """The common maps, of the volume alone, minus what salient codes predict of them in adjusted volumes."""
        e = erasing_weights(self.represent(self.adjusted(common.weights)), self.represent(salient))
        return self.unadjusted(common.weights - e @ salient.weights)


class LinearMaps(ClosedFormMethod):
    r"""Linear maps of the voxels, computed from coordinates of the N training volumes X on a basis of their span.

    Volumes are read a few planes of all participants at a time. With a sketch Q [N, q], whose columns weight the
    participants (the identity up to some thousand of them), one reading gives :math:`Y = XX^TQ`. From the largest
    eigenvalues of :math:`Q^TY` and their eigenvectors V the basis is :math:`\Lambda^{-1/2}V^TQ^TX`, and the coordinates
    are :math:`YV\Lambda^{-1/2}`. One reading more gives the voxel maps.
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
        return np.ones(len(training.target), dtype=bool)

    @abstractmethod
    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        """The maps of each space, and figures of the fit for the training history."""

    def fit(
        self,
        read: Read,
        rows: Sequence[int],
        target: Tensor,
        covariates: Tensor | None = None,
        seed: int = 0,
        participants: Sequence[str] | None = None,
        attributes: Mapping[str, Sequence[float]] | None = None,
    ) -> dict[str, float]:
        rows = list(rows)
        coordinates, basis = self._span(read, rows, seed)
        a = np.zeros((len(rows), 0))
        if covariates is not None and covariates.numel():
            a = covariates.double().numpy()
        person = None if participants is None else np.unique(participants, return_inverse=True)[1]
        known = {name: np.asarray(values, dtype=float) for name, values in (attributes or {}).items()}
        training = TrainingSet(coordinates, target.numpy(), a, seed, person, attributes=known)
        spaces, figures = self.solve(training)
        weights = {space: torch.from_numpy(maps.weights @ basis) for space, maps in spaces.items()}
        # Made whole at once: at 128³ the common space's are gigabytes, which parts to be joined would take twice.
        directions = {space: torch.empty(len(weights[space]), len(self.voxels)) for space in spaces}
        start = 0
        for _, x in self._slabs(read, rows):
            for space in spaces:
                directions[space][:, start : start + x.shape[1]] = weights[space] @ x
            start += x.shape[1]
        for space, maps in spaces.items():
            offset = training.represent(maps)[self.origin(space, training)].mean(axis=0)
            setattr(self, f"{space}_directions", directions[space])
            setattr(self, f"{space}_offset", torch.from_numpy(offset).float())
            setattr(self, f"{space}_covariates", torch.from_numpy(maps.covariates).float())
        return figures | ({"dimensions": len(basis)} if len(rows) > MOST_DIMENSIONS else {})

    def _span(self, read: Read, rows: list[int], seed: int) -> tuple[Matrix, Matrix]:
        """Coordinates [N, r] on an orthonormal basis, and the weights [r, N] with which volumes are summed to it."""
        sketch = None
        if len(rows) > MOST_DIMENSIONS:
            logger.info(f"{len(rows)} training volumes: {MOST_DIMENSIONS} dimensions of their span are kept")
        if len(rows) > EXACT_UP_TO:
            sketch = self._sketch(read, rows, seed)
        products, voxels = torch.zeros(len(rows), len(rows) if sketch is None else sketch.shape[1]).double(), []
        for positions, x in self._slabs(read, rows):
            products += x @ x.T if sketch is None else x @ (x.T @ sketch)
            voxels.append(positions)
        self.voxels = torch.cat(voxels)
        y, q = products.numpy(), np.eye(len(rows)) if sketch is None else sketch.numpy()
        values, vectors = np.linalg.eigh(q.T @ y)
        kept = np.flatnonzero(values > _NOTHING * values.max())[-MOST_DIMENSIONS:]
        turn = vectors[:, kept] / np.sqrt(values[kept])
        turn *= _signs((q @ turn).T)
        return y @ turn, (q @ turn).T

    def _sketch(self, read: Read, rows: list[int], seed: int) -> Tensor:
        """Orthonormal weights of participants, [N, q], whose sums of volumes are near the largest components."""
        random = torch.Generator().manual_seed(seed)
        sketch = torch.zeros(len(rows), MOST_DIMENSIONS).double()
        for _, x in self._slabs(read, rows):
            sketch += x @ torch.randn(x.shape[1], MOST_DIMENSIONS, generator=random).double()
        return torch.linalg.qr(sketch).Q

    def _slabs(self, read: Read, rows: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Slab by slab, the voxels that are not 0 in all participants: their positions [k] and values [N, k]."""
        places = torch.arange(math.prod(self.input_shape)).reshape(self.input_shape)
        for planes in planes_at_once(self.input_shape, len(rows)):
            x = read(rows, planes).flatten(start_dim=1)
            present = (x != 0).any(dim=0)
            yield places[:, planes].flatten()[present], x[:, present].double()


def stratified_folds(training: TrainingSet) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows (training, held out) of random inner folds, five or as many as the smaller group has participants.

    The scans of a participant stay together, and each fold has participants of both groups.

    Raises:
        InputError: if a group has fewer than two participants.
    """
    person = np.arange(len(training.target)) if training.person is None else training.person
    _, first, person = np.unique(person, return_index=True, return_inverse=True)
    target = training.target[first]
    fewest = int(min(target.sum(), (~target).sum()))
    if fewest < 2:
        raise InputError(
            f"choose: inner folds need two training participants of each group, one group has {fewest}; give the "
            "setting one value in place of `choose`"
        )
    count = min(INNER_FOLDS, fewest)
    random, fold = np.random.default_rng([training.seed, 1]), np.empty(len(target), dtype=int)
    for group in (False, True):
        members = random.permutation(np.flatnonzero(target == group))
        fold[members] = np.arange(len(members)) % count
    for number in range(count):
        yield np.flatnonzero(fold[person] != number), np.flatnonzero(fold[person] == number)


def unexplained_variance(training: TrainingSet, spaces: dict[str, VoxelMaps]) -> dict[str, float]:
    """The proportion of variance that orthonormal maps do not explain, averaged over spaces.

    Of the training volumes; where some dimensions of their span are kept, of what these hold.
    """
    variance = np.square(centred(training.coordinates)).sum()
    kept = [np.square(centred(training.represent(maps))).sum() / variance for maps in spaces.values()]
    return {"loss": float(1 - np.mean(kept))}


def centred(x: Matrix) -> Matrix:
    """Rows minus their mean: [N, r] -> [N, r]."""
    return x - x.mean(axis=0)


def principal_axes(coordinates: Matrix) -> Axes:
    """The principal axes of volumes with these coordinates D [N, r], as they are: neither centred nor scaled."""
    values, vectors = np.linalg.eigh(coordinates.T @ coordinates)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > _ROUNDING * values.max()]
    weights = vectors[:, order].T
    # By its largest score, an axis has the same sign whatever the basis is.
    weights *= _signs((coordinates @ weights.T).T)[:, None]
    return Axes(weights, values[order], coordinates @ weights.T)


def oriented(k: Matrix) -> Matrix:
    """Rows [d, n], each with the sign that makes its largest coefficient positive, since eigenvectors have none."""
    return k * _signs(k)[:, None]


def _signs(k: Matrix) -> Matrix:
    return np.sign(k[np.arange(len(k)), np.abs(k).argmax(axis=1)])


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
