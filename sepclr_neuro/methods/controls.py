"""What a contrastive analysis is held against: a network without groups, one that is told them, and linear models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from sepclr_neuro.config.model import Network
from sepclr_neuro.config.registry import CPCASettings, MethodSettings, PCASettings, SimCLRSettings, SupervisedSettings
from sepclr_neuro.methods.base import Batch, ClosedFormMethod, GradientMethod, by_person, by_view
from sepclr_neuro.methods.losses import info_nce, outside_autocast, precise
from sepclr_neuro.methods.networks import Projector, build_encoder

__all__ = ["PCA", "ContrastivePCA", "SimCLR", "Supervised", "VoxelLinear", "equal_variance_rotation"]

Matrix = NDArray[np.float64]
Read = Callable[[Sequence[int], slice], Tensor]

VOXELS_AT_ONCE = 16 * 128**3
"""Bounds memory while a closed form is solved: as much as 16 volumes of 128³, or one plane of each training person."""


# --- networks ----------------------------------------------------------------------------------------------------


class SimCLR(GradientMethod):
    """One encoder, trained to know each person's two views among everybody's; groups play no part.

    Source: Chen et al., ICML 2020, https://arxiv.org/abs/2002.05709.
    """

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def __init__(self, settings: SimCLRSettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = build_encoder(network, input_shape, settings.dim)
        self.projector = Projector(settings.dim, settings.projector_width)

    def represent(self, volumes: Tensor) -> dict[str, Tensor]:
        return {"single": self.encoder(volumes)}

    def codes(self, part: Batch) -> dict[str, Tensor]:
        return by_person(self.represent(part.all_views()))

    @outside_autocast
    def losses(self, encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        first, second = self.projector(precise(by_view(encoded)["single"])).chunk(2)
        return {"loss": info_nce(first, second, self.settings.temperature)}


class Supervised(GradientMethod):
    """One encoder and a linear classifier of patients against controls, by cross-entropy, on both views."""

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def __init__(self, settings: SupervisedSettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.encoder = build_encoder(network, input_shape, settings.dim)
        self.classifier = nn.Linear(settings.dim, 1)

    def represent(self, volumes: Tensor) -> dict[str, Tensor]:
        return {"single": self.encoder(volumes)}

    def codes(self, part: Batch) -> dict[str, Tensor]:
        return by_person(self.represent(part.all_views()))

    @outside_autocast
    def losses(self, encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = self.classifier(precise(by_view(encoded)["single"]))[:, 0]
        target = batch.target.repeat(2).to(logits.dtype)
        return {"loss": functional.binary_cross_entropy_with_logits(logits, target)}


# --- closed forms ------------------------------------------------------------------------------------------------


class _Projection(ClosedFormMethod):
    r"""Linear maps of the voxels, found from the Gram matrix :math:`G = XX^T` of the N training people.

    A direction in voxel space that training people span is :math:`k^T X` with a coefficient a person, so that N x N
    matrices say all. Volumes are read a few planes of everybody at a time, each plane twice: for its part of G, and
    for its part of the directions.
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

    def represent(self, volumes: Tensor) -> dict[str, Tensor]:
        x = volumes.flatten(start_dim=1)[:, self.voxels]
        return {
            space: x @ getattr(self, f"{space}_directions").T - getattr(self, f"{space}_offset")
            for space in self.spaces
        }

    def coefficients(self, gram: Matrix, target: NDArray[np.bool_]) -> dict[str, Matrix]:
        """For each space the coefficients [d, N] of its directions, orthonormal in voxel space."""
        raise NotImplementedError

    def fit(self, read: Read, rows: Sequence[int], target: Tensor) -> dict[str, float]:
        rows = list(rows)
        gram, voxels = np.zeros((len(rows), len(rows))), []
        for positions, x in self._slabs(read, rows):
            gram += (x @ x.T).numpy()
            voxels.append(positions)
        self.voxels = torch.cat(voxels)
        spaces = self.coefficients(gram, target.numpy())
        directions: dict[str, list[Tensor]] = {space: [] for space in spaces}
        for _, x in self._slabs(read, rows):
            for space, k in spaces.items():
                directions[space].append((torch.from_numpy(k) @ x).float())
        for space, k in spaces.items():
            setattr(self, f"{space}_directions", torch.cat(directions[space], dim=1))
            setattr(self, f"{space}_offset", torch.from_numpy(k @ gram.mean(axis=1)).float())
        centred = _centring(np.ones(len(rows), dtype=bool))
        variance = np.trace(centred @ gram @ centred)
        kept = [np.square(centred @ gram @ k.T).sum() / variance for k in spaces.values()]
        return {"loss": float(1 - np.mean(kept))}

    def _slabs(self, read: Read, rows: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Of some planes of everybody, the voxels that are not 0 in all: their positions [k], and values [N, k]."""
        places = torch.arange(math.prod(self.input_shape)).reshape(self.input_shape)
        thickness = max(1, VOXELS_AT_ONCE // (len(rows) * places[:, 0].numel()))
        for start in range(0, self.input_shape[1], thickness):
            planes = slice(start, start + thickness)
            x = read(rows, planes).flatten(start_dim=1)
            present = (x != 0).any(dim=0)
            yield places[:, planes].flatten()[present], x[:, present].double()


class PCA(_Projection):
    """The first principal components of all training people."""

    spaces: ClassVar[tuple[str, ...]] = ("single",)
    settings: PCASettings

    def coefficients(self, gram: Matrix, target: NDArray[np.bool_]) -> dict[str, Matrix]:
        everybody = np.ones(len(gram), dtype=bool)
        return {"single": _principal(gram, _centring(everybody))[0][: self.settings.dim]}


class ContrastivePCA(_Projection):
    r"""Salient: the first eigenvectors of :math:`S_{target} - a\,S_{background}`; common: those of the background.

    The common space is a choice of this project, since the original has none: it holds the components whose variance
    is subtracted.

    Source: Abid et al., Nature Communications 2018, https://doi.org/10.1038/s41467-018-04608-8.
    """

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    settings: CPCASettings

    def coefficients(self, gram: Matrix, target: NDArray[np.bool_]) -> dict[str, Matrix]:
        sides = {side: _centring(target == side) / math.sqrt((target == side).sum()) for side in (False, True)}
        # With rows of both groups centred and scaled, D = A X, the matrix is D' diag(1 or -a) D. Q = K X is an
        # orthonormal basis of D's rows, in which D is U sqrt(L).
        basis, variances, u = _principal(gram, sides[False] + sides[True])
        d = u * np.sqrt(variances)
        sign = np.where(target, 1.0, -self.settings.contrast)
        values, vectors = np.linalg.eigh(d.T @ (sign[:, None] * d))
        first = vectors[:, np.argsort(-values, kind="stable")[: self.settings.salient_dim]]
        salient = _oriented(first.T @ basis)
        return {"common": _principal(gram, sides[False])[0][: self.settings.common_dim], "salient": salient}


class VoxelLinear(_Projection):
    """All principal component scores, turned so that each has the same variance.

    Nothing is lost: a probe with an L2 penalty on these scores is that probe on the voxels, since rotations leave
    the penalty as it is. They are turned because probes scale each dimension to variance 1 first, which would change
    the penalty of principal components as they come, and leaves it alone where all have one variance. This holds to
    the digit for a probe that is fitted on all training people, and nearly for one fitted on some of them.
    """

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def coefficients(self, gram: Matrix, target: NDArray[np.bool_]) -> dict[str, Matrix]:
        k, variances, _ = _principal(gram, _centring(np.ones(len(gram), dtype=bool)))
        return {"single": equal_variance_rotation(variances) @ k}


def _centring(members: NDArray[np.bool_]) -> Matrix:
    """A X is X less the members' mean in the members' rows and 0 in the others: [N, N]."""
    chosen = members.astype(float)
    return np.diag(chosen) - np.outer(chosen, chosen) / chosen.sum()


def _principal(gram: Matrix, transform: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Of D = A X, largest first: directions as coefficients K [r, N] of X, their sums of squares [r], and U [N, r]."""
    values, u = np.linalg.eigh(transform @ gram @ transform.T)
    order = np.argsort(-values, kind="stable")
    # Float32 volumes: what is below is rounding, not variance.
    order = order[values[order] > 1e-7 * values.max()]
    values, u = values[order], u[:, order]
    k = (u / np.sqrt(values)).T @ transform
    sign = _signs(k)
    return k * sign[:, None], values, u * sign


def _signs(k: Matrix) -> Matrix:
    """An eigenvector's sign is anybody's: here the largest coefficient is positive."""
    return np.sign(k[np.arange(len(k)), np.abs(k).argmax(axis=1)])


def _oriented(k: Matrix) -> Matrix:
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
