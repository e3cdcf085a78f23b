"""Methods for comparison: a network without groups, one that is trained on them, and linear models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch.nn.functional as functional
from torch import Tensor, nn

from sepclr_neuro.config.methods.controls import CPCASettings, PCASettings, SimCLRSettings, SupervisedSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.base import Batch, GradientMethod, by_person, by_view
from sepclr_neuro.methods.losses import info_nce, outside_autocast, precise
from sepclr_neuro.methods.networks import Projector, build_encoder
from sepclr_neuro.methods.span import (
    LinearMaps,
    TrainingPeople,
    VoxelMaps,
    centring,
    equal_variance_rotation,
    left_out,
    oriented,
    principal_axes,
)

__all__ = ["PCA", "ContrastivePCA", "SimCLR", "Supervised", "VoxelLinear"]

# --- networks ----------------------------------------------------------------------------------------------------


class SimCLR(GradientMethod):
    """One encoder, trained to recognise each participant's two views among all views; groups play no part.

    Source: Chen et al., ICML 2020, https://arxiv.org/abs/2002.05709.
    """

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def __init__(self, settings: SimCLRSettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = build_encoder(network, input_shape, settings.dim)
        self.projector = Projector(settings.dim, settings.projector_width)

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
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

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        return {"single": self.encoder(volumes)}

    def codes(self, part: Batch) -> dict[str, Tensor]:
        return by_person(self.represent(part.all_views()))

    @outside_autocast
    def losses(self, encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = self.classifier(precise(by_view(encoded)["single"]))[:, 0]
        target = batch.target.repeat(2).to(logits.dtype)
        return {"loss": functional.binary_cross_entropy_with_logits(logits, target)}


# --- closed forms ------------------------------------------------------------------------------------------------


class PCA(LinearMaps):
    """The first principal components of all training participants."""

    spaces: ClassVar[tuple[str, ...]] = ("single",)
    settings: PCASettings

    def solve(self, people: TrainingPeople) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        axes = principal_axes(people.gram, centring(np.ones(len(people.gram), dtype=bool)))
        spaces = {"single": people.plain(axes.people[: self.settings.dim])}
        return spaces, left_out(people, spaces)


class ContrastivePCA(LinearMaps):
    r"""Salient: the first eigenvectors of :math:`S_{target} - a\,S_{background}`; common: those of the background.

    The common space is a choice of this project, since the original has none: it holds the components whose variance
    is subtracted, without what the salient codes predict of them. S are covariances of adjusted volumes.

    Source: Abid et al., Nature Communications 2018, https://doi.org/10.1038/s41467-018-04608-8.
    """

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    settings: CPCASettings

    def solve(self, people: TrainingPeople) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        target = people.target
        sides = {side: centring(target == side) / math.sqrt((target == side).sum()) for side in (False, True)}
        # With rows of both groups centred and scaled, D = A X, the matrix is D' diag(1 or -a) D. Q = K X is an
        # orthonormal basis of D's rows, in which D are the scores.
        basis, _, d = principal_axes(people.gram, (sides[False] + sides[True]) @ people.residual_maker)
        sign = np.where(target, 1.0, -self.settings.contrast)
        values, vectors = np.linalg.eigh(d.T @ (sign[:, None] * d))
        first = vectors[:, np.argsort(-values, kind="stable")[: self.settings.salient_dim]]
        common = people.plain(principal_axes(people.gram, sides[False]).people[: self.settings.common_dim])
        salient = people.adjusted(oriented(first.T @ basis))
        figures = left_out(people, {"common": common, "salient": people.plain(salient.people)})
        if self.settings.erase:
            common = people.erased(common, salient)
        return {"common": common, "salient": salient}, figures


class VoxelLinear(LinearMaps):
    """All principal component scores, turned so that each has the same variance.

    Nothing is lost: a probe with an L2 penalty on these scores is that probe on the voxels, since rotations leave
    the penalty as it is. They are turned because probes scale each dimension to variance 1 first, which would change
    the penalty of principal components as they come, and leaves it alone where all have one variance. This holds to
    the digit for a probe that is fitted on all training participants, and nearly for one fitted on some of them.
    """

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def solve(self, people: TrainingPeople) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        axes = principal_axes(people.gram, centring(np.ones(len(people.gram), dtype=bool)))
        spaces = {"single": people.plain(equal_variance_rotation(axes.variances) @ axes.people)}
        return spaces, left_out(people, spaces)
