r"""Contrastive analysis by linear maps of the voxels: SepCLR, a ridge discriminant, generalised contrastive PCA.

The salient space reads volumes that are adjusted for covariates within groups; the common space keeps all principal
components of the volumes as they are, less what the salient codes predict of them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor, nn

from sepclr_neuro.config.methods.linear import GCPCASettings, LinearSepCLRSettings, RidgeDiscriminantSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.core.statistics import area_under_curve
from sepclr_neuro.methods.base import Batch, by_person
from sepclr_neuro.methods.sepclr import SepCLR
from sepclr_neuro.methods.span import (
    Axes,
    LinearMaps,
    Matrix,
    TrainingPeople,
    VoxelMaps,
    centring,
    equal_variance_rotation,
    inner_folds,
    oriented,
    principal_axes,
)

__all__ = ["GeneralisedContrastivePCA", "LinearSepCLR", "RidgeDiscriminant"]


class TwoLinearSpaces(LinearMaps):
    """A few salient directions in adjusted volumes; as common space, all components without what those predict."""

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    has_salient_norm: ClassVar[bool] = True

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        return self.represent(volumes, covariates)["salient"].square().sum(dim=1)

    @abstractmethod
    def directions(self, axes: Axes, people: TrainingPeople, settings: Any) -> tuple[Matrix, dict[str, float]]:
        """The salient directions [d, r] on the axes of the adjusted volumes, and figures of the fit."""

    def origin(self, space: str, people: TrainingPeople) -> NDArray[np.bool_]:
        return ~people.target if space == "salient" else super().origin(space, people)

    def solve(self, people: TrainingPeople) -> tuple[dict[str, VoxelMaps], dict[str, float]]:
        settings, chosen = self.settings, {}
        if several := sorted(set(getattr(settings, "salient_dims", []))):
            auc = {dim: self._inner_auc(people, settings.model_copy(update={"salient_dim": dim})) for dim in several}
            dim = max(several, key=auc.__getitem__)  # of equals the smallest
            settings, chosen = settings.model_copy(update={"salient_dim": dim}), {"salient_dim": dim, "auc": auc[dim]}
        salient, figures = self._salient(people, settings)
        return {"common": _without(salient, people, settings.erase), "salient": salient}, figures | chosen

    def _salient(self, people: TrainingPeople, settings: Any) -> tuple[VoxelMaps, dict[str, float]]:
        everybody = centring(np.ones(len(people.gram), dtype=bool))
        axes = principal_axes(people.gram, everybody @ people.residual_maker)
        w, figures = self.directions(axes, people, settings)
        return people.adjusted(w @ axes.people), figures

    def _inner_auc(self, people: TrainingPeople, settings: Any) -> float:
        """How well the distance from the controls' mean predicts the group of training people who are left out.

        Salient dimensions are learned from the others alone; voxels were standardised with all training people.
        """
        found = []
        for rest, held_out in inner_folds(people):
            learned = people.part(rest)
            maps, _ = self._salient(learned, settings)
            codes = people.gram[:, rest] @ maps.people.T - (
                people.covariates - people.covariates[rest].mean(axis=0)
            ) @ (maps.covariates.T)
            distance = np.linalg.norm(codes - codes[rest][~learned.target].mean(axis=0), axis=1)[held_out]
            found.append(float(area_under_curve(people.target[held_out].astype(int), distance)))
        return float(np.mean(found))


def _without(salient: VoxelMaps, people: TrainingPeople, erase: bool) -> VoxelMaps:
    """All components of the volumes as they are, without what the salient codes predict, turned to one variance."""
    axes = principal_axes(people.gram, centring(np.ones(len(people.gram), dtype=bool)))
    common = people.plain(axes.people)
    if erase:
        common = people.erased(common, salient)
    scores = people.represent(common)
    variances, turns = np.linalg.eigh(scores.T @ scores)
    kept = variances > 1e-7 * variances.max()
    rotation = equal_variance_rotation(variances[kept]) @ turns[:, kept].T
    return VoxelMaps(rotation @ common.people, rotation @ common.covariates)


class RidgeDiscriminant(TwoLinearSpaces):
    r"""One salient direction, that of Fisher's discriminant with a ridge: :math:`(S_{within} + \lambda I)^{-1} \delta`.

    :math:`\delta` is the patients' mean less the controls', :math:`\lambda` `ridge` times the mean variance of an axis.

    Source: Friedman, JASA 1989, https://doi.org/10.1080/01621459.1989.10478752.
    """

    settings: RidgeDiscriminantSettings

    def directions(self, axes: Axes, people: TrainingPeople, settings: Any) -> tuple[Matrix, dict[str, float]]:
        patients, controls = axes.scores[people.target], axes.scores[~people.target]
        within = (len(patients) * _moment(patients) + len(controls) * _moment(controls)) / len(axes.scores)
        difference = patients.mean(axis=0) - controls.mean(axis=0)
        w = np.linalg.solve(within + _ridge(within, settings.ridge), difference)
        return w[None] / np.linalg.norm(w), {}


class GeneralisedContrastivePCA(TwoLinearSpaces):
    r"""Directions in which patients vary most for how much controls do.

    .. math:: \max_w\; w^T M w \,/\, w^T (S + \lambda I) w

    M is the patients' second moment about the controls' mean, or about their own with ``about: own``, which does not
    see a shift of all patients; S the controls' covariance, :math:`\lambda` `ridge` times the mean variance of an axis.

    Source: de Oliveira et al., PLoS Computational Biology 2025, https://doi.org/10.1371/journal.pcbi.1012747; the
    second moment about the controls' mean is a choice of this project.
    """

    settings: GCPCASettings

    def directions(self, axes: Axes, people: TrainingPeople, settings: Any) -> tuple[Matrix, dict[str, float]]:
        patients, controls = axes.scores[people.target], axes.scores[~people.target]
        about = controls.mean(axis=0) if settings.about == "controls" else patients.mean(axis=0)
        background = _moment(controls)
        values, vectors = eigh(_moment(patients, about), background + _ridge(background, settings.ridge))
        first = vectors[:, np.argsort(-values, kind="stable")[: settings.salient_dim]].T
        return oriented(first / np.linalg.norm(first, axis=1, keepdims=True)), {}


def _moment(x: Matrix, about: Matrix | None = None) -> Matrix:
    """The mean of (x - about)(x - about)', about the mean where no point is given: [N, r] -> [r, r]."""
    centred = x - (x.mean(axis=0) if about is None else about)
    return centred.T @ centred / len(x)


def _ridge(covariance: Matrix, ridge: float) -> Matrix:
    return ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


class LinearSepCLR(TwoLinearSpaces):
    r"""SepCLR with linear encoders, trained in the span of the training participants: all in each step, in seconds.

    Both encoders read coordinates on the principal axes of the training volumes, the salient one on those of adjusted
    volumes, scaled together to a root mean square of 1; a view is the coordinates with Gaussian noise, which acts as a
    ridge on the weights. The loss is that of :class:`~sepclr_neuro.methods.sepclr.SepCLR`, whose salient head has no
    projector here. The learned common head takes part in it; represented as common space is all that the salient codes
    do not predict.
    """

    settings: LinearSepCLRSettings

    def directions(self, axes: Axes, people: TrainingPeople, settings: Any) -> tuple[Matrix, dict[str, float]]:
        everybody = centring(np.ones(len(people.gram), dtype=bool))
        plain, adjusted = _scaled(principal_axes(people.gram, everybody).scores), _scaled(axes.scores)
        torch.manual_seed(people.seed)
        encoders = (
            nn.Linear(plain.shape[1], settings.common_dim),
            nn.Linear(adjusted.shape[1], settings.salient_dim),
        )
        model = SepCLR(settings, Network(), (), settings.independence, encoders)
        figures = self._descend(model, plain, adjusted, Batch(torch.empty(0), torch.from_numpy(people.target)))
        return encoders[1].weight.detach().double().numpy(), figures

    def _descend(self, model: SepCLR, plain: Tensor, adjusted: Tensor, batch: Batch) -> dict[str, float]:
        """Trains both encoders on all participants in each step; the loss terms of the last one."""
        optimizer = torch.optim.Adam(model.parameters(), lr=self.settings.learning_rate)
        losses: dict[str, Tensor] = {}
        for _ in range(self.settings.steps):
            views = {
                "common": torch.cat([model.common_encoder(self._view(plain)) for _ in range(2)]),
                "salient": torch.cat([model.salient_encoder(self._view(adjusted)) for _ in range(2)]),
            }
            losses = model.losses(model.heads(by_person(views), batch), batch)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
        return {name: value.item() for name, value in losses.items()}

    def _view(self, coordinates: Tensor) -> Tensor:
        return coordinates + self.settings.noise * torch.randn_like(coordinates)


def _scaled(scores: Matrix) -> Tensor:
    """Coordinates with a root mean square of 1, [N, r]."""
    return torch.from_numpy(scores / np.sqrt(np.square(scores).mean())).float()
