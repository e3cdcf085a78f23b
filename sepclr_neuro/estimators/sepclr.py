"""SepCLR as a scikit-learn estimator, with linear encoders or with networks of the workflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.messages import validate
from sepclr_neuro.config.methods.linear import LinearSepCLRSettings
from sepclr_neuro.config.methods.sepclr import SepCLRSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.training import Training
from sepclr_neuro.data.given_volumes import Volumes
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.estimators.base import Contrastive, Space
from sepclr_neuro.methods import linear, sepclr
from sepclr_neuro.methods.base import Method

__all__ = ["SepCLR"]


class SepCLR(Contrastive):
    """SepCLR: what patients share with controls, and what is theirs alone, by contrastive learning.

    Args:
        salient_dim: dimensions of the salient space.
        common_dim: of the common space of a network. With linear encoders, of the common head that training has; the
            common space itself is then all that the salient codes do not predict.
        independence: the term between the spaces.
        encoder: ``"linear"``, trained in the span of the training participants in seconds; or a network of the
            workflow, trained on volumes by its loop, on a GPU where there is one: ``"light"`` for CPUs, ``"strided"``,
            ``"resnet18"`` and ``"densenet121"``.
        noise: of linear encoders: SD of the noise that makes a view, over the root mean square of the coordinates.
        steps: of linear encoders: of Adam, all participants in each.
        epochs: of networks.
        batch_size: of networks.
        erase: whether the common space is left without what the salient codes predict of it.
        space: what :meth:`transform` returns by default.
        random_state: of the encoders' first weights and of the views.

    Source: Louiset et al., ICLR 2024, https://arxiv.org/abs/2402.11928.
    """

    def __init__(
        self,
        salient_dim: int = 8,
        common_dim: int = 32,
        independence: Literal["none", "k-jem", "k-mi", "mmd", "dcor"] = "k-jem",
        encoder: Literal["linear", "light", "strided", "resnet18", "densenet121"] = "linear",
        noise: float = 1.25,
        steps: int = 300,
        epochs: int = 100,
        batch_size: int = 16,
        erase: bool = True,
        space: Space = "salient",
        random_state: Any = None,
    ) -> None:
        self.salient_dim = salient_dim
        self.common_dim = common_dim
        self.independence = independence
        self.encoder = encoder
        self.noise = noise
        self.steps = steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.erase = erase
        self.space = space
        self.random_state = random_state

    def _method(self, shape: tuple[int, ...]) -> Method:
        given: dict[str, Any] = {"salient_dim": self.salient_dim, "common_dim": self.common_dim, "erase": self.erase}
        if self.encoder == "linear":
            given |= {"independence": self.independence, "noise": self.noise, "steps": self.steps}
            return linear.LinearSepCLR(validate(LinearSepCLRSettings, given, "SepCLR"), Network(), shape)
        network = validate(Network, {"name": self.encoder}, "encoder")
        if len(shape) != 4:
            raise ValueError(f"encoder: {self.encoder!r} needs volumes [N, X, Y, Z], not a matrix; use 'linear'")
        return sepclr.SepCLR(validate(SepCLRSettings, given, "SepCLR"), network, shape, self.independence)

    def _learn(self, volumes: Volumes, target: Tensor, covariates: Tensor, seed: int) -> dict[str, float]:
        if self.encoder == "linear":
            return super()._learn(volumes, target, covariates, seed)
        # Lightning takes seconds to import, which linear encoders need not wait for.
        from sepclr_neuro.learning.batches import Scans
        from sepclr_neuro.learning.fitting import fit
        from sepclr_neuro.learning.training import VolumeViews

        present = torch.from_numpy(np.isfinite(self.scale_))
        mean, sd = torch.from_numpy(self.mean_), torch.from_numpy(self.scale_)
        standardisation = Standardisation(mean.where(present, 0).float(), sd.where(present, 1).float(), present, ())
        people = [str(row) for row in range(len(volumes))]

        def read(rows: Sequence[int], planes: slice = slice(None)) -> Tensor:
            return torch.from_numpy(volumes.read(rows, planes).astype(np.float32))[:, None]

        with tempfile.TemporaryDirectory() as folder:
            history, _ = fit(
                self.method_,
                Scans(read, list(range(len(people))), people, target.tolist(), {}, covariates.float()),
                VolumeViews(standardisation, Augmentation()),
                validate(Training, {"epochs": self.epochs, "batch_size": self.batch_size}, "SepCLR"),
                seeds=(seed, 0),
                folder=Path(folder) / "checkpoints",
                identity="",
                title=type(self).__name__,
            )
        self.method_.float().eval()
        return history[-1]
