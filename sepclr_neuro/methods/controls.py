"""Methods for comparison: an encoder trained without group labels, one trained to classify them, and linear models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch.nn.functional as functional
from torch import Tensor, nn

from sepclr_neuro.config.methods.controls import CPCASettings, PCASettings, SimCLRSettings, SupervisedSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.base import Batch, GradientMethod, by_participant, by_view
from sepclr_neuro.methods.losses import info_nce, outside_autocast, precise
from sepclr_neuro.methods.networks import Projector, build_encoder
from sepclr_neuro.methods.span import (
    LinearMaps,
    TrainingSet,
    VoxelMaps,
    centred,
    equal_variance_rotation,
    oriented,
    principal_axes,
    unexplained_variance,
)

__all__ = ["PCA", "ContrastivePCA", "SimCLR", "Supervised", "VoxelLinear"]

# --- networks ----------------------------------------------------------------------------------------------------


class SimCLR(GradientMethod):
    """One encoder, trained to match the two views of each participant among all views, without group labels.

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
        return by_participant(self.represent(part.all_views()))

    @outside_autocast
    def losses(self, encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        first, second = self.projector(precise(by_view(encoded)["single"])).chunk(2)
        return {"loss": info_nce(first, second, self.settings.temperature)}


class Supervised(GradientMethod):
    """One encoder and a linear classifier of patients against controls, trained by cross-entropy on both views."""

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def __init__(self, settings: SupervisedSettings, network: Network, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.encoder = build_encoder(network, input_shape, settings.dim)
        self.classifier = nn.Linear(settings.dim, 1)

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        return {"single": self.encoder(volumes)}

    def codes(self, part: Batch) -> dict[str, Tensor]:
        return by_participant(self.represent(part.all_views()))

    @outside_autocast
    def losses(self, encoded: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        logits = self.classifier(precise(by_view(encoded)["single"]))[:, 0]
        target = batch.target.repeat(2).to(logits.dtype)
        return {"loss": functional.binary_cross_entropy_with_logits(logits, target)}


# --- closed forms ------------------------------------------------------------------------------------------------


class PCA(LinearMaps):
    """The first principal components of the volumes of all training participants."""

    spaces: ClassVar[tuple[str, ...]] = ("single",)
    settings: PCASettings

    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        spaces = {"single": training.unadjusted(training.axes.weights[: self.settings.dim])}
        return spaces, unexplained_variance(training, spaces)


class ContrastivePCA(LinearMaps):
    r"""Salient: the first eigenvectors of :math:`S_{target} - a\,S_{background}`; common: those of the background.

    The common space is a choice of this project, since the original has none: it holds the principal components of the
    unadjusted background, minus their linear prediction from the salient codes. S are covariances of adjusted volumes.

    Source: Abid et al., Nature Communications 2018, https://doi.org/10.1038/s41467-018-04608-8.
    """

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    settings: CPCASettings

    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        target, adjusted = training.target, training.adjusted_coordinates
        # With both groups centred and scaled as D, the matrix is D' diag(1 or -a) D.
        d = np.zeros_like(adjusted)
        for side in (target, ~target):
            d[side] = centred(adjusted[side]) / math.sqrt(side.sum())
        sign = np.where(target, 1.0, -self.settings.contrast)
        values, vectors = np.linalg.eigh(d.T @ (sign[:, None] * d))
        first = vectors[:, np.argsort(-values, kind="stable")[: self.settings.salient_dim]]
        common = training.unadjusted(
            principal_axes(centred(training.coordinates[~target])).weights[: self.settings.common_dim]
        )
        salient = training.adjusted(oriented(first.T))
        figures = unexplained_variance(training, {"common": common, "salient": training.unadjusted(salient.weights)})
        if self.settings.erase:
            common = training.erased(common, salient)
        return {"common": common, "salient": salient}, figures


class VoxelLinear(LinearMaps):
    """All principal component scores, rotated so that each has the same variance.

    A probe with an L2 penalty on these scores is equivalent to that probe on the voxels, since a rotation does not
    change the penalty. They are rotated because probes first scale each dimension to variance 1, which would weight
    the penalty of unrotated scores by their variance. The equivalence is exact for a probe that is fitted on all
    training participants, and approximate for one fitted on some of them, or on more than 1,000 participants, of whose
    components the 1,000 largest are kept.
    """

    spaces: ClassVar[tuple[str, ...]] = ("single",)

    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        axes = training.axes
        spaces = {"single": training.unadjusted(equal_variance_rotation(axes.variances) @ axes.weights)}
        return spaces, unexplained_variance(training, spaces)
