r"""Base class of networks with a common and a salient encoder: covariate adjustment and erasure.

The input of the salient encoder is adjusted volumes :math:`e = z - B^T a`, without the effects of covariates a (age,
sex, site, head size) within groups (:mod:`sepclr_neuro.methods.adjustment`); that of the common encoder is the volumes
z. After training, what the salient codes predict of the common representation is subtracted from it
(:mod:`sepclr_neuro.methods.erasure`); it stays a function of the volume alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sepclr_neuro.methods.adjustment import covariate_weights
from sepclr_neuro.methods.base import GradientMethod, Read, planes_at_once
from sepclr_neuro.methods.erasure import erasing_weights

__all__ = ["TwoEncoders"]


class TwoEncoders(GradientMethod):
    """A common and a salient encoder; adjustment and erasure are learned from the training participants.

    A subclass implements :meth:`common_codes` and :meth:`salient_codes`; :meth:`represent` applies adjustment and
    erasure in the same way for all subclasses.
    """

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    has_salient_norm: ClassVar[bool] = True

    settings: Any
    """With ``erase``: whether the salient codes are erased from the common space."""
    covariate_maps: Tensor
    """Effect of one unit of each covariate on a standardised volume, [k, C, *spatial]."""
    erasing: Tensor
    """E [c, d]: E @ the salient codes of the unadjusted volume are subtracted from the common ones; [0, 0] at first."""

    def __init__(self, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("covariate_maps", torch.zeros(0, *input_shape))
        self.register_buffer("erasing", torch.zeros(0, 0))

    @abstractmethod
    def common_codes(self, volumes: Tensor) -> Tensor:
        """Outputs [B, c] of the common encoder for volumes [B, C, *spatial], before erasure."""

    @abstractmethod
    def salient_codes(self, volumes: Tensor) -> Tensor:
        """Outputs [B, d] of the salient encoder for volumes [B, C, *spatial], adjusted or not."""

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        adjusted = self.adjust(volumes, covariates)
        common, salient = self.common_codes(volumes), self.salient_codes(adjusted)
        if self.erasing.numel():
            # Not the adjusted codes, which would bring the covariates into the common space.
            unadjusted = salient if adjusted is volumes else self.salient_codes(volumes)
            common = common - unadjusted @ self.erasing.T
        return {"common": common, "salient": salient}

    def adjust(self, volumes: Tensor, covariates: Tensor | None) -> Tensor:
        """Volumes [B, C, *spatial] minus the effects of covariates [B, k]; None: covariates at the training mean."""
        effects = self.effects(covariates)
        return volumes if effects is None else volumes - effects

    def effects(self, covariates: Tensor | None) -> Tensor | None:
        """Effects of covariates [B, k] on each volume, [B, C, *spatial]; None without adjustment."""
        if covariates is None or not len(self.covariate_maps):
            return None
        return torch.tensordot(covariates.to(self.covariate_maps), self.covariate_maps, dims=1)

    def learn_effects(self, read: Read, rows: Sequence[int], target: Tensor, covariates: Tensor) -> None:
        """Estimates the covariates' effects within groups of training participants, a few planes in memory at a time.

        Args:
            read: reads planes of their standardised volumes.
            rows: of the N training participants.
            target: whether each is a patient, [N] bool.
            covariates: [N, k], centred.
        """
        weights = torch.from_numpy(covariate_weights(covariates.double().numpy(), target.numpy()))
        shape = self.covariate_maps.shape[1:]
        maps = torch.zeros(covariates.shape[1], *shape)
        for planes in planes_at_once(shape, len(rows)) if len(maps) else ():
            maps[:, :, planes] = torch.tensordot(weights, read(rows, planes).double(), dims=1).float()
        self.covariate_maps = maps

    def learn_erasure(self, common: Tensor, salient: Tensor) -> None:
        """Estimates how the salient codes predict the common ones in adjusted volumes.

        Args:
            common: encoder outputs of the training participants' adjusted volumes, before erasure, [N, c].
            salient: the same of the salient encoder, [N, d].
        """
        weights = erasing_weights(*(of.double().cpu().numpy() for of in (common, salient)))
        self.erasing = torch.from_numpy(np.ascontiguousarray(weights)).to(self.covariate_maps)
