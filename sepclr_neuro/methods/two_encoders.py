r"""What networks with a common and a salient encoder share: adjusted volumes for one, erased codes from the other.

The salient encoder reads volumes :math:`e = z - B^T a`, from which the effects of covariates a (age, sex, site, head
size), learned within groups, are taken out (:mod:`sepclr_neuro.methods.adjustment`); the common one reads volumes z
as they are. After training, the common representation loses what the salient one predicts of it
(:mod:`sepclr_neuro.methods.erasure`).
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
    """A common and a salient encoder, with effects of covariates and the erasure, from training participants.

    A subclass represents volumes by :meth:`encoders_of`; what :meth:`represent` adds is the same for all.
    """

    spaces: ClassVar[tuple[str, ...]] = ("common", "salient")
    has_salient_norm: ClassVar[bool] = True

    settings: Any
    """With ``erase``, whether the common space loses the salient codes."""
    covariate_maps: Tensor
    """What one unit of each covariate adds to a standardised volume, [k, C, *spatial]."""
    erasing: Tensor
    """E [c, d]: the common representation less E @ the salient one is what probes read; [0, 0] before it is learned."""

    def __init__(self, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("covariate_maps", torch.zeros(0, *input_shape))
        self.register_buffer("erasing", torch.zeros(0, 0))

    @abstractmethod
    def encoders_of(self, volumes: Tensor, adjusted: Tensor) -> dict[str, Tensor]:
        """The common representation of volumes and the salient one of adjusted volumes, [B, C, *spatial] both."""

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        both = self.encoders_of(volumes, self.adjust(volumes, covariates))
        if self.erasing.numel():
            both["common"] = both["common"] - both["salient"] @ self.erasing.T
        return both

    def adjust(self, volumes: Tensor, covariates: Tensor | None) -> Tensor:
        """Volumes [B, C, *spatial] without the effects of covariates [B, k], None for those of the average one."""
        effects = self.effects(covariates)
        return volumes if effects is None else volumes - effects

    def effects(self, covariates: Tensor | None) -> Tensor | None:
        """What covariates [B, k] add to each volume, [B, C, *spatial]; None where nothing is adjusted for."""
        if covariates is None or not len(self.covariate_maps):
            return None
        return torch.tensordot(covariates.to(self.covariate_maps), self.covariate_maps, dims=1)

    def learn_effects(self, read: Read, rows: Sequence[int], target: Tensor, covariates: Tensor) -> None:
        """Learns the covariates' effects within groups of training participants, a few planes in memory at a time.

        Args:
            read: their volumes.
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
        """Learns from training participants' representations [N, c] and [N, d] how salient codes predict common ones.

        The common ones are those before anything is erased.
        """
        weights = erasing_weights(*(of.double().cpu().numpy() for of in (common, salient)))
        self.erasing = torch.from_numpy(np.ascontiguousarray(weights)).to(self.covariate_maps)
