r"""SepCLR: a common and a salient encoder, trained by alignment, uniformity and a term that keeps them independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from sepclr_neuro.config.methods.sepclr import EstimatedSepCLRSettings, SepCLRTerms
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.base import Batch, by_participant, by_view
from sepclr_neuro.methods.independence import TermSettings, build_independence
from sepclr_neuro.methods.losses import (
    alignment,
    attribute_alignment,
    informationless,
    outside_autocast,
    precise,
    uniformity,
)
from sepclr_neuro.methods.networks import Projector, build_encoder
from sepclr_neuro.methods.two_encoders import TwoEncoders

__all__ = ["Heads", "SepCLR"]


class Heads(NamedTuple):
    """Heads of both views, each [B, d]."""

    common: Sequence[Tensor]
    """L2-normalised."""
    salient: Sequence[Tensor]
    """Not normalised."""
    pinned: Sequence[Tensor]
    """Salient heads, with those of controls set to s' = 0."""
    pairs: Sequence[tuple[Tensor, Tensor]]
    """Input of the independence term for each view: common and salient, controls' salient set to 0."""


class SepCLR(TwoEncoders):
    r"""Separates what patients share with controls from what only patients have.

    .. math:: L = (A_C + 2 U_C) + b_S (A_S + 2 U_S) + b_R R + \lambda J

    with the terms of :mod:`sepclr_neuro.methods.losses`: alignment :math:`A_C` of all L2-normalised common
    heads and :math:`A_S` of patients' salient heads, which are not normalised; uniformity :math:`U_C` of the common
    heads and :math:`U_S` of the salient heads with controls set to :math:`s' = 0`, which thereby pushes patients away
    from it; :math:`R`, which pins controls' salient heads to :math:`s'`; and the independence term :math:`J`, one of
    :mod:`sepclr_neuro.methods.independence`, of pairs of common head and pinned salient head (for distance
    correlation: of representations, the input of probes). Uniformity, :math:`R` and :math:`J` are means over the two
    views.

    With ``attributes``, each attribute owns one of the first salient dimensions. There the loss is (alignment of
    patients by the attribute + R) / 2 + uniformity, averaged over attributes; the other, free dimensions keep the terms
    above. Two things are choices of this project: free and owned dimensions are combined (the paper's supervised form
    has no free ones), and owned dimensions have no projector, so that probes and maps use the same dimension as the
    loss.

    Source: Louiset et al., ICLR 2024, https://arxiv.org/abs/2402.11928. The authors published no 3D code of their
    schizophrenia experiment: encoders, dimensions and batch size for volumes are choices of this project.

    >>> from sepclr_neuro.config.methods.sepclr import SepCLRSettings
    >>> method = SepCLR(SepCLRSettings(), Network(channels=[8, 8]), (1, 32, 32, 32))
    >>> {space: tuple(r.shape) for space, r in method.represent(torch.zeros(2, 1, 32, 32, 32)).items()}
    {'common': (2, 32), 'salient': (2, 32)}
    """

    def __init__(
        self,
        settings: SepCLRTerms,
        network: Network,
        input_shape: Sequence[int],
        independence: str = "k-jem",
        encoders: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        super().__init__(input_shape)
        self.settings = settings
        self.common_encoder, self.salient_encoder = encoders or (
            build_encoder(network, input_shape, settings.common_dim),
            build_encoder(network, input_shape, settings.salient_dim),
        )
        self.common_projector = Projector(settings.common_dim, settings.projector_width)
        # Dimensions that an attribute owns bypass the projector, which would mix them before the loss.
        self.owned = list(settings.attributes.items())
        self.free = settings.salient_dim - len(self.owned)
        projected = self.free and settings.salient_projector
        self.salient_projector = Projector(self.free, settings.projector_width) if projected else None
        width = {}
        if isinstance(settings, EstimatedSepCLRSettings):
            self.estimator_steps = settings.estimator_steps
            self.estimator_learning_rate = settings.estimator_learning_rate
            width = {"width": settings.estimator_width}
        self.independence = build_independence(
            independence,
            TermSettings(
                settings.common_dim,
                settings.salient_dim,
                temperature=settings.temperature if settings.kernel_width == "fixed" else None,
                diagonal=settings.kernel_diagonal,
                **width,
            ),
        )

    def common_codes(self, volumes: Tensor) -> Tensor:
        return self.common_encoder(volumes)

    def salient_codes(self, volumes: Tensor) -> Tensor:
        return self.salient_encoder(volumes)

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        return self._salient_head(self.salient_codes(self.adjust(volumes, covariates))).square().sum(dim=1)

    def _salient_head(self, representation: Tensor) -> Tensor:
        """The salient head, [B, d], from the salient representation; s' is its origin."""
        owned, free = precise(representation).tensor_split([len(self.owned)], dim=1)
        projected = free if self.salient_projector is None else self.salient_projector(free)
        return torch.cat([owned, projected], dim=1)

    def codes(self, part: Batch) -> dict[str, Tensor]:
        common, salient = self.common_codes(part.all_views()), self.salient_codes(part.salient_views.flatten(0, 1))
        return by_participant({"common": common, "salient": salient})

    def heads(self, codes: dict[str, Tensor], batch: Batch) -> Heads:
        both = by_view(codes)
        # Heads in float32: bfloat16 is too coarse for distances between neighbours.
        with torch.autocast(batch.target.device.type, enabled=False):
            common = functional.normalize(self.common_projector(precise(both["common"])), dim=1).chunk(2)
            salient = self._salient_head(both["salient"]).chunk(2)
        pinned = [head * batch.target[:, None] for head in salient]
        pairs = list(zip(common, pinned, strict=True))
        if self.independence is not None and self.independence.reads_representations:
            c, s = (precise(both[space]).chunk(2) for space in ("common", "salient"))
            pairs = [(of_c, of_s * batch.target[:, None]) for of_c, of_s in zip(c, s, strict=True)]
        return Heads(common, salient, pinned, pairs)

    @outside_autocast
    def losses(self, encoded: Heads, batch: Batch) -> dict[str, Tensor]:
        s, tau = self.settings, self.settings.temperature
        common = encoded.common
        # In the supervised form the common space's uniformity has weight 1 too, as in the released script.
        uniformity_weight = 1.0 if self.owned else s.uniformity_weight
        terms = {
            "common_alignment": alignment(common[0], common[1], tau),
            "common_uniformity": _mean(uniformity(c, tau) for c in common),
        }
        loss = terms["common_alignment"] + uniformity_weight * terms["common_uniformity"]
        if self.free:
            salient = self._salient_terms(encoded, batch)
            loss = loss + s.informationless_weight * salient["informationless"]
            loss = loss + s.salient_weight * (
                salient["salient_alignment"] + s.uniformity_weight * salient["salient_uniformity"]
            )
            terms |= salient
        if self.owned:
            attributes = self._attribute_terms(encoded, batch)
            loss = loss + s.attribute_weight * torch.stack(list(attributes.values())).mean()
            terms |= attributes
        if self.independence is not None:
            terms["independence"] = _mean(self.independence(c, p) for c, p in encoded.pairs)
            loss = loss + s.independence_weight * terms["independence"]
        return {"loss": loss, **terms}

    def _salient_terms(self, heads: Heads, batch: Batch) -> dict[str, Tensor]:
        """Terms of the free salient dimensions, which no attribute owns."""
        tau = self.settings.temperature
        salient, pinned = ([head[:, len(self.owned) :] for head in views] for views in (heads.salient, heads.pinned))
        return {
            "salient_alignment": alignment(salient[0][batch.patients], salient[1][batch.patients], tau),
            "salient_uniformity": _mean(uniformity(p, tau) for p in pinned),
            "informationless": _mean(informationless(head[batch.controls], tau) for head in salient),
        }

    def _attribute_terms(self, heads: Heads, batch: Batch) -> dict[str, Tensor]:
        """For each attribute, (alignment by it + information-less term) / 2 + uniformity of the dimension it owns."""
        terms = {}
        for k, (name, kind) in enumerate(self.owned):
            values = batch.attributes[name][batch.patients]
            # A narrow kernel for continuous attributes, 0.025, as released.
            tau = 0.025 if kind == "continuous" else self.settings.temperature
            of_views = []
            for salient, pinned in zip(heads.salient, heads.pinned, strict=True):
                dimension = salient[:, k : k + 1]
                aligned = attribute_alignment(dimension[batch.patients, 0], values, kind == "discrete")
                pull = (aligned + informationless(dimension[batch.controls], tau)) / 2
                of_views.append(pull + uniformity(pinned[:, k : k + 1], self.settings.temperature))
            terms[f"attribute_{name}"] = _mean(of_views)
        return terms

    @outside_autocast
    def estimator_loss(self, encoded: Heads, batch: Batch) -> Tensor | None:
        if self.independence is None:
            return None
        losses = [self.independence.estimator_loss(c.detach(), p.detach()) for c, p in encoded.pairs]
        return None if None in losses else _mean(losses)

    def estimator_parameters(self) -> list[nn.Parameter]:
        return [] if self.independence is None else list(self.independence.parameters())


def _mean(values: object) -> Tensor:
    return torch.stack(list(values)).mean()  # type: ignore[call-overload]
