"""The interface of methods: batches or a pass over participants in, representations out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sepclr_neuro.data.sampling import Members, seed_of

__all__ = [
    "Batch",
    "ClosedFormMethod",
    "GradientMethod",
    "Method",
    "Read",
    "by_person",
    "by_view",
    "planes_at_once",
]


@dataclass(frozen=True)
class Batch:
    """Some training participants: those whom a step learns from together, or those of them who are in memory at once.

    Attributes:
        views: two augmented views of the same participants, or as many as the method looks at, [views, B, C, *spatial],
            standardised; nothing of a batch whose codes are there already.
        target: whether each is a patient, [B] bool.
        attributes: the cohort's columns that the method uses, each [B], scaled to 0 to 1 on training participants; NaN
            where a value is missing.
        patients: their positions in the batch, from ``target`` where they are not given. Index by positions, not by
            ``target``: to count a mask a GPU would be waited for.
        controls: likewise.
        members: who of a larger batch these are; None for all of a batch.
        salient_views: the same views of volumes that are adjusted for covariates, which salient encoders read; the
            views themselves where nothing is adjusted for.

    Raises:
        ValueError: if a group is missing, over which every method of this project would take an empty mean.
    """

    views: Tensor
    target: Tensor
    attributes: dict[str, Tensor] = field(default_factory=dict)
    patients: Tensor = None  # type: ignore[assignment]
    controls: Tensor = None  # type: ignore[assignment]
    members: Members | None = None
    salient_views: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.salient_views is None:
            object.__setattr__(self, "salient_views", self.views)
        for name, members in (("patients", self.target), ("controls", ~self.target)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, members.nonzero()[:, 0])
            if not len(getattr(self, name)):
                raise ValueError(f"the batch holds no {name.removesuffix('s')}; draw balanced batches")

    @property
    def positions(self) -> list[int]:
        """Positions of these participants in the whole batch."""
        return list(range(len(self.target))) if self.members is None else self.members.positions

    def all_views(self) -> Tensor:
        """The first view of each participant, then the next, [2 B, C, *spatial]."""
        return self.views.flatten(0, 1)

    def normal(self, width: int) -> Tensor:
        """Standard normal numbers, [B, width]: the same for a participant at each call, whatever else is in memory."""
        members = self.members or Members.all_of(len(self.target), torch.initial_seed())
        rng = torch.Generator().manual_seed(seed_of(members.seed, 4))
        drawn = torch.randn(members.batch_size, width, generator=rng)
        return members.pick(drawn).to(self.target.device, non_blocking=True)


Read = Callable[[Sequence[int], slice], Tensor]
"""From rows of participants, and planes along the first spatial axis, to these planes of their standardised volumes."""

VOXELS_AT_ONCE = 16 * 128**3
"""Bounds memory in a pass over all participants: 16 volumes of 128³, or one plane of each participant."""


def planes_at_once(input_shape: Sequence[int], people: int) -> Iterator[slice]:
    """Planes along the first spatial axis of [C, *spatial], of which those of all participants fit into memory."""
    thickness = max(1, VOXELS_AT_ONCE // (people * math.prod(input_shape) // input_shape[1]))
    for start in range(0, input_shape[1], thickness):
        yield slice(start, start + thickness)


def by_person(of_views: dict[str, Tensor]) -> dict[str, Tensor]:
    """From one view after the other to one row a participant: [2 B, d] -> [B, 2, d]."""
    return {name: code.unflatten(0, (2, -1)).transpose(0, 1) for name, code in of_views.items()}


def by_view(of_people: dict[str, Tensor]) -> dict[str, Tensor]:
    """The way back: [B, 2, d] -> [2 B, d]."""
    return {name: code.transpose(0, 1).flatten(0, 1) for name, code in of_people.items()}


class Method(nn.Module, ABC):
    """Something that represents volumes, and knows how that is learned.

    A subclass is built as ``Subclass(settings, network, input_shape)``: its own section of the configuration, the
    section `network`, and channels and voxels of the input, e.g. ``(1, 128, 128, 128)``. Whatever is learned is a
    parameter or a buffer, so that saving, loading, probing and mapping are the same for all.
    """

    spaces: ClassVar[tuple[str, ...]]
    """Names of the representations: ``("common", "salient")``, or ``("single",)`` for a method with one space."""

    has_salient_norm: ClassVar[bool] = False
    """Whether there is a salient head that knows a point of no disease, s', which maps can measure a distance from."""

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        """How far each volume's salient head is from s', squared: [B], of volumes [B, C, *spatial]; differentiable."""
        raise NotImplementedError(f"{type(self).__name__} pins no group to a point of its salient space")

    @abstractmethod
    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Representations, one [B, d] a space: what probes read.

        Args:
            volumes: standardised, [B, C, *spatial].
            covariates: what the salient space is adjusted for, [B, k]; None where nothing is.
        """

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        # Buffers that are learned have the shapes that participants gave them.
        for name, buffer in self.named_buffers(recurse=False):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class GradientMethod(Method):
    """A method that descends on a loss, batch by batch.

    A batch is encoded once: ``codes`` looks at each participant alone, a few of them in memory at a time, ``heads`` at
    the codes of the whole batch. First the method's estimators, if it has any, take ``estimator_steps`` steps of their
    own Adam on the detached code; then all other parameters take one step on ``losses`` with the estimators frozen.

    Where a batch is larger than memory, ``codes`` runs twice: once to know what the loss makes of all codes together,
    once more, a few participants at a time, to pass the gradients of the codes on to the networks (gradient caching:
    Gao et al., RepL4NLP 2021, https://arxiv.org/abs/2101.06983). Random numbers may be drawn from torch's global
    generator, which the loop seeds before each call of ``codes`` and of ``heads``; those of ``Batch.normal`` do not
    depend on how many participants are in memory.
    """

    views: ClassVar[int] = 2
    """How many views of each volume a batch holds."""

    estimator_steps: int = 1
    """Steps of the estimators a batch."""
    estimator_learning_rate: float = 1e-3
    """Of the estimators' Adam."""

    @abstractmethod
    def codes(self, part: Batch) -> dict[str, Tensor]:
        """All that is made of each participant's views alone, one row a participant, [B, ...]. Runs under autocast.

        Nothing large: the codes of a whole batch are in memory together.
        """

    def heads(self, codes: dict[str, Tensor], batch: Batch) -> Any:
        """What the losses read, of a whole batch's codes; what looks at the batch, such as BatchNorm, belongs here."""
        return codes

    def encode(self, batch: Batch) -> Any:
        """Codes and heads of a batch that is in memory as a whole."""
        return self.heads(self.codes(batch), batch)

    @abstractmethod
    def losses(self, encoded: Any, batch: Batch) -> dict[str, Tensor]:
        """Loss terms in float32, without a look at the views; ``loss`` is what is minimised, the others are logged."""

    def estimator_loss(self, encoded: Any, batch: Batch) -> Tensor | None:
        """What the estimators minimise on the detached code, in float32; None where a batch teaches them nothing."""
        return None

    def estimator_parameters(self) -> list[nn.Parameter]:
        """The parameters that ``estimator_loss`` trains and ``losses`` must not move."""
        return []


class ClosedFormMethod(Method):
    """A method that is solved in passes over the training participants, a few planes of volumes in memory at a time.

    What it learns are buffers whose shape depends on the participants.
    """

    @abstractmethod
    def fit(
        self, read: Read, rows: Sequence[int], target: Tensor, covariates: Tensor | None = None, seed: int = 0
    ) -> dict[str, float]:
        """Learns from training participants.

        Args:
            read: their volumes, [B, C, planes, ...].
            rows: of the N training participants.
            target: whether each is a patient, [N] bool.
            covariates: what the salient space is to be adjusted for, [N, k], centred; None for nothing.
            seed: of whatever is drawn at random.

        Returns:
            Figures of the fit; ``loss`` is the part of the training participants that is not represented.
        """
