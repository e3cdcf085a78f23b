r"""Contrastive analysis by linear maps of the voxels: SepCLR, a ridge discriminant, generalised contrastive PCA.

The salient space is computed from volumes that are adjusted for covariates within groups. The common space holds all
principal components of the unadjusted volumes, minus their linear prediction from the salient codes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor, nn

from sepclr_neuro.config.methods.linear import (
    GCPCASettings,
    LinearSepCLRSettings,
    NormativeSettings,
    RidgeDiscriminantSettings,
)
from sepclr_neuro.config.network import Network
from sepclr_neuro.core.metrics import area_under_curve
from sepclr_neuro.methods.base import Batch, by_participant
from sepclr_neuro.methods.sepclr import SepCLR
from sepclr_neuro.methods.span import (
    Axes,
    LinearMaps,
    Matrix,
    TrainingSet,
    VoxelMaps,
    centred,
    equal_variance_rotation,
    oriented,
    stratified_folds,
)

__all__ = [
    "GeneralisedContrastivePCA",
    "LinearSepCLR",
    "NormativeDeviation",
    "RidgeDiscriminant",
    "TwoLinearSpaces",
    "second_moment",
]


AT_ONCE = 2048
"""Participants in a step of linear SepCLR, whose kernels take a matrix of all pairs; of more, some at random."""


class TwoLinearSpaces(LinearMaps):
    """A few salient directions in adjusted volumes; all components as common space, minus what the former predict."""

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    has_salient_norm: ClassVar[bool] = True

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        return self.represent(volumes, covariates)["salient"].square().sum(dim=1)

    @abstractmethod
    def directions(self, axes: Axes, training: TrainingSet, settings: Any) -> tuple[Matrix, dict[str, float]]:
        """The salient directions [d, r] on the axes of the adjusted volumes, and figures of the fit."""

    def origin(self, space: str, training: TrainingSet) -> NDArray[np.bool_]:
        return ~training.target if space == "salient" else super().origin(space, training)

    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        chosen, of_choice = self._choose(training)
        salient, figures = self._salient(training, self.settings.model_copy(update=chosen))
        return {"common": _common(salient, training, self.settings.erase), "salient": salient}, figures | of_choice

    def _choose(self, training: TrainingSet) -> tuple[dict[str, Any], dict[str, float]]:
        """The values of `choose` with the largest AUC in inner folds; as figures, they and the AUC."""
        candidates = self.settings.candidates()
        if len(candidates) == 1:
            return candidates[0], candidates[0]
        auc = self._inner_aucs(training, [self.settings.model_copy(update=values) for values in candidates])
        best = int(np.argmax(auc))  # of ties the first, which has fewer dimensions
        return candidates[best], candidates[best] | {"auc": auc[best]}

    def _salient(self, training: TrainingSet, settings: Any) -> tuple[VoxelMaps, dict[str, float]]:
        w, figures = self.directions(training.adjusted_axes, training, settings)
        return training.adjusted(w @ training.adjusted_axes.weights), figures

    def _inner_aucs(self, training: TrainingSet, several: Sequence[Any]) -> list[float]:
        """AUC of patients against controls by distance from the controls' mean, averaged over inner held-out folds.

        One for each of several settings, which share a fold's axes.

        Salient dimensions are learned without the held-out fold. Voxels were standardised, and the basis of the span
        made, on all training participants, without their groups.
        """
        of_folds = []
        for rest, held_out in stratified_folds(training):
            learned, truth = training.subset(rest), training.target[held_out].astype(int)
            codes = [training.represent(self._salient(learned, settings)[0]) for settings in several]
            beyond = [x[held_out] - x[rest][~learned.target].mean(axis=0) for x in codes]
            of_folds.append([float(area_under_curve(truth, np.linalg.norm(x, axis=1))) for x in beyond])
        auc: list[float] = np.mean(of_folds, axis=0).tolist()
        return auc


def _common(salient: VoxelMaps, training: TrainingSet, erase: bool) -> VoxelMaps:
    """The common space: all components of the unadjusted volumes, rotated to equal variance.

    With ``erase``, minus their linear prediction from the salient codes.
    """
    common = training.unadjusted(training.axes.weights)
    if erase:
        common = training.erased(common, salient)
    scores = centred(training.represent(common))
    variances, turns = np.linalg.eigh(scores.T @ scores)
    kept = variances > 1e-7 * variances.max()
    rotation = equal_variance_rotation(variances[kept]) @ turns[:, kept].T
    return training.unadjusted(rotation @ common.weights)


class RidgeDiscriminant(TwoLinearSpaces):
    r"""One salient direction, that of Fisher's discriminant with a ridge: :math:`(S_{within} + \lambda I)^{-1} \delta`.

    :math:`\delta` is the patients' mean minus the controls' mean; :math:`\lambda` is `ridge` times the mean variance
    per axis.

    Source: Friedman, JASA 1989, https://doi.org/10.1080/01621459.1989.10478752.
    """

    settings: RidgeDiscriminantSettings

    def directions(self, axes: Axes, training: TrainingSet, settings: Any) -> tuple[Matrix, dict[str, float]]:
        patients, controls = axes.scores[training.target], axes.scores[~training.target]
        within = (len(patients) * second_moment(patients) + len(controls) * second_moment(controls)) / len(axes.scores)
        difference = patients.mean(axis=0) - controls.mean(axis=0)
        w = np.linalg.solve(within + _ridge(within, settings.ridge), difference)
        return w[None] / np.linalg.norm(w), {}


class GeneralisedContrastivePCA(TwoLinearSpaces):
    r"""Directions with the largest ratio of the patients' variance to the controls'.

    .. math:: \max_w\; w^T M w \,/\, w^T (S + \lambda I) w

    M is the patients' second moment about the controls' mean, or about their own mean with ``about: own``, which
    ignores a shift of all patients; S is the controls' covariance, :math:`\lambda` is `ridge` times its mean variance
    per axis.

    Source: de Oliveira et al., PLoS Computational Biology 2025, https://doi.org/10.1371/journal.pcbi.1012747; the
    second moment about the controls' mean is a choice of this project.
    """

    settings: GCPCASettings

    def directions(self, axes: Axes, training: TrainingSet, settings: Any) -> tuple[Matrix, dict[str, float]]:
        patients, controls = axes.scores[training.target], axes.scores[~training.target]
        about = controls.mean(axis=0) if settings.about == "controls" else patients.mean(axis=0)
        background = second_moment(controls)
        values, vectors = eigh(second_moment(patients, about), background + _ridge(background, settings.ridge))
        first = vectors[:, np.argsort(-values, kind="stable")[: settings.salient_dim]].T
        return oriented(first / np.linalg.norm(first, axis=1, keepdims=True)), {}


class NormativeDeviation(TwoLinearSpaces):
    r"""Principal axes of the patients' deviations from what a normative model of the controls predicts.

    The model regresses the volumes of the training controls on the covariates; a deviation is a volume minus its
    prediction. Its axes are those of the patients' second moment about the controls' mean, each in units of the
    controls' SD.

    Source: Marquand et al., Biological Psychiatry 2016, https://doi.org/10.1016/j.biopsych.2015.12.023; a linear model,
    and principal axes as the salient space, are choices of this project.
    """

    settings: NormativeSettings

    def solve(self, training: TrainingSet) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        return super().solve(replace(training, effects_of_controls=self.settings.effects_of_controls))

    def directions(self, axes: Axes, training: TrainingSet, settings: Any) -> tuple[Matrix, dict[str, float]]:
        patients, controls = axes.scores[training.target], axes.scores[~training.target]
        values, vectors = np.linalg.eigh(second_moment(patients, controls.mean(axis=0)))
        first = vectors[:, np.argsort(-values, kind="stable")[: settings.salient_dim]].T
        variances = np.einsum("dr,rs,ds->d", first, second_moment(controls), first)
        # Where controls hardly vary, an axis would blow up what is left of rounding.
        sd = np.sqrt(np.maximum(variances, 1e-6 * np.trace(second_moment(controls)) / len(vectors)))
        return oriented(first / sd[:, None]), {}


def second_moment(x: Matrix, about: Matrix | None = None) -> Matrix:
    """Second moment, the mean of (x - about)(x - about)', by default about the mean: [N, r] -> [r, r]."""
    deviations = centred(x) if about is None else x - about
    return deviations.T @ deviations / len(x)


def _ridge(covariance: Matrix, ridge: float) -> Matrix:
    return ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


class LinearSepCLR(TwoLinearSpaces):
    r"""SepCLR with linear encoders, trained on principal component scores, with all participants in each step.

    The common encoder's input is the scores on the principal axes of the training volumes, the salient encoder's those
    of adjusted volumes, each set scaled to a root mean square of 1. A view is the scores plus Gaussian noise, which
    acts as a ridge penalty on the weights. The loss is that of :class:`~sepclr_neuro.methods.sepclr.SepCLR`, without
    a projector on the salient head. The learned common head is used in the loss only: the common representation is
    the one that all methods of this file have. With ``attributes``, each owns one of the first salient dimensions, by
    the same terms as in networks.
    """

    settings: LinearSepCLRSettings

    def directions(self, axes: Axes, training: TrainingSet, settings: Any) -> tuple[Matrix, dict[str, float]]:
        coordinates = {
            "common": _scaled(training.axes.scores),
            "salient": _scaled(axes.scores),
        }
        torch.manual_seed(training.seed)
        encoders = {
            "common": nn.Linear(coordinates["common"].shape[1], settings.common_dim),
            "salient": nn.Linear(coordinates["salient"].shape[1], settings.salient_dim),
        }
        model = SepCLR(settings, Network(), (), settings.independence, (encoders["common"], encoders["salient"]))
        target = torch.from_numpy(training.target)
        attributes = {name: torch.from_numpy(values).float() for name, values in training.attributes.items()}
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        losses: dict[str, Tensor] = {}
        for _ in range(settings.steps):
            some = torch.randperm(len(target))[:AT_ONCE] if len(target) > AT_ONCE else slice(None)
            batch = Batch(torch.empty(0), target[some], {name: of_all[some] for name, of_all in attributes.items()})
            views = {
                space: _codes_of_views(encoder, coordinates[space][some], settings.noise)
                for space, encoder in encoders.items()
            }
            losses = model.losses(model.heads(by_participant(views), batch), batch)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
        figures = {name: value.item() for name, value in losses.items()}
        return encoders["salient"].weight.detach().double().numpy(), figures


def _codes_of_views(encoder: nn.Linear, coordinates: Tensor, noise: float) -> Tensor:
    """What a linear encoder with weights W [d, r] makes of two views of each participant: [2 N, d].

    A view is the coordinates [N, r] with Gaussian noise of this SD. Noise orthogonal to the rows of W changes no code,
    and its gradient is 0 on average: noise is drawn in the span of these rows alone, in d in place of r dimensions.
    """
    weight = encoder.weight
    rows = torch.linalg.qr(weight.detach().T).Q
    drawn = torch.randn(2, len(coordinates), rows.shape[1]) @ (weight @ rows).T
    return (encoder(coordinates) + noise * drawn).flatten(0, 1)


def _scaled(scores: Matrix) -> Tensor:
    """Scores, divided by their root mean square, [N, r]."""
    return torch.from_numpy(scores / np.sqrt(np.square(scores).mean())).float()
