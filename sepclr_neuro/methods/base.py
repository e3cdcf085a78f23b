"""The interface of methods, which learn from batches or in passes over all participants, and return representations."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    "by_participant",
    "by_view",
    "planes_at_once",
]


@dataclass(frozen=True)
class Batch:
    """The training participants of one step, or the part of them that is in memory at once.

    Attributes:
        views: two augmented views of the same participants, or as many as ``GradientMethod.views``,
            [views, B, C, *spatial], standardised; empty where the codes of the batch have been computed already.
        target: whether each is a patient, [B] bool.
        attributes: the cohort's columns that the method uses, each [B], scaled to 0 to 1 on training participants; NaN
            where a value is missing.
        patients: positions of the patients in the batch, by default from ``target``. Index by positions, not by
            ``target``: indexing by a mask makes the program wait for the GPU.
        controls: likewise, of the controls.
        members: which participants of a larger batch these are; None for a whole batch.
        salient_views: the same views of the volumes adjusted for covariates, the input of salient encoders; ``views``
            itself without adjustment.

    Raises:
        ValueError: if the batch has no patient or no control, since every method averages over both groups.
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
        """Standard normal numbers, [B, width]: the same for a participant at each call, whichever part is in memory."""
        members = self.members or Members.all_of(len(self.target), torch.initial_seed())
        rng = torch.Generator().manual_seed(seed_of(members.seed, 4))
        drawn = torch.randn(members.batch_size, width, generator=rng)
        return members.pick(drawn).to(self.target.device, non_blocking=True)


Read = Callable[[Sequence[int], slice], Tensor]
"""Reads standardised volumes: a function of rows of participants and a slice of planes along the first spatial axis."""

VOXELS_AT_ONCE = 16 * 128**3
"""Bounds memory in a pass over all participants: 16 volumes of 128³, or one plane of each participant."""


def planes_at_once(input_shape: Sequence[int], participants: int) -> Iterator[slice]:
    """Slabs along the first spatial axis of [C, *spatial], so thin that those of all participants fit into memory."""
    thickness = max(1, VOXELS_AT_ONCE // (participants * math.prod(input_shape) // input_shape[1]))
    for start in range(0, input_shape[1], thickness):
        yield slice(start, start + thickness)


def by_participant(of_views: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reorders codes of one view after the other to one row per participant: [2 B, d] -> [B, 2, d]."""
    return {name: code.unflatten(0, (2, -1)).transpose(0, 1) for name, code in of_views.items()}


def by_view(of_participants: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of :func:`by_participant`: [B, 2, d] -> [2 B, d]."""
    return {name: code.transpose(0, 1).flatten(0, 1) for name, code in of_participants.items()}


class Method(nn.Module, ABC):
    """Computes representations of volumes, and learns how to.

    A subclass is built as ``Subclass(settings, network, input_shape)``: its own section of the configuration, the
    section `network`, and channels and voxels of the input, e.g. ``(1, 128, 128, 128)``. Everything learned is a
    parameter or a buffer, so that saving, loading, probing and mapping are the same for all methods.
    """

    spaces: ClassVar[tuple[str, ...]]
    """Names of the representations: ``("common", "salient")``, or ``("single",)`` for a method with one space."""

    has_salient_norm: ClassVar[bool] = False
    """Whether controls' salient heads are pinned to a point s', so that maps can show the distance from it."""

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Squared distance of each volume's salient head from s', [B]; differentiable.

        Args:
            volumes: standardised, [B, C, *spatial].
            covariates: as for :meth:`represent`.

        Raises:
            NotImplementedError: if ``has_salient_norm`` is False.
        """
        raise NotImplementedError(f"{type(self).__name__} pins no group to a point of its salient space")

    @abstractmethod
    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """The representations of volumes, the input of probes: one [B, d] per space.

        Args:
            volumes: standardised, [B, C, *spatial].
            covariates: that the salient space is adjusted for, [B, k]; None without adjustment.
        """

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any) -> None:
        # The shapes of learned buffers depend on the training participants.
        for name, buffer in self.named_buffers(recurse=False):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class GradientMethod(Method):
    """A method that is trained by gradient descent on batches.

    A batch is encoded once: ``codes`` depends on each participant alone and is computed for a few of them at a time,
    ``heads`` on the codes of the whole batch. First the method's estimators, if it has any, take ``estimator_steps``
    steps of their own Adam on the detached codes; then all other parameters take one step on ``losses`` with the
    estimators frozen.

    Where a batch is larger than memory, ``codes`` runs twice: first to compute the loss of all codes together and its
    gradient, then, a few participants at a time, to backpropagate the gradients of the codes through the networks
    (gradient caching: Gao et al., RepL4NLP 2021, https://arxiv.org/abs/2101.06983). Random numbers may be drawn from
    torch's global generator, which the loop seeds before each call of ``codes`` and of ``heads``; those of
    ``Batch.normal`` do not depend on how many participants are in memory.
    """

    views: ClassVar[int] = 2
    """Number of views of each volume in a batch."""

    estimator_steps: int = 1
    """Steps of the estimators per batch."""
    estimator_learning_rate: float = 1e-3
    """Learning rate of the estimators' Adam."""

    @abstractmethod
    def codes(self, part: Batch) -> dict[str, Tensor]:
        """Everything that depends on each participant's views alone, one row per participant, [B, ...].

        Runs under autocast. The codes of a whole batch are in memory together, so that they must not be large.
        """

    def heads(self, codes: dict[str, Tensor], batch: Batch) -> Any:
        """Input of the losses, from the codes of a whole batch; operations across it, such as BatchNorm, go here."""
        return codes

    def encode(self, batch: Batch) -> Any:
        """Codes, then heads, of a batch that is in memory as a whole."""
        return self.heads(self.codes(batch), batch)

    @abstractmethod
    def losses(self, encoded: Any, batch: Batch) -> dict[str, Tensor]:
        """Loss terms, float32 scalars, computed without the views; ``loss`` is minimised, the others are logged."""

    def estimator_loss(self, encoded: Any, batch: Batch) -> Tensor | None:
        """The estimators' loss on the detached codes, a float32 scalar; None if this batch has none."""
        return None

    def estimator_parameters(self) -> list[nn.Parameter]:
        """The parameters that ``estimator_loss`` trains and ``losses`` must not move."""
        return []


class ClosedFormMethod(Method):
    """A method that is solved in passes over all training participants, a few planes of volumes at a time.

    It stores what it learns in buffers, whose shapes may depend on the participants.
    """

    @abstractmethod
    def fit(
        self,
        read: Read,
        rows: Sequence[int],
        target: Tensor,
        covariates: Tensor | None = None,
        seed: int = 0,
        participants: Sequence[str] | None = None,
        attributes: Mapping[str, Sequence[float]] | None = None,
    ) -> dict[str, float]:
        """Fits the method to the training scans.

        Args:
            read: reads planes of their standardised volumes, [B, C, planes, ...].
            rows: of the N training scans.
            target: whether each is a patient's, [N] bool.
            covariates: that the salient space is adjusted for, [N, k], centred; None without adjustment.
            seed: of the random numbers.
            participants: whose scan each is, [N]; None: each scan is of another participant. Inner folds keep a
                participant's scans together.
            attributes: the columns that its settings name, each [N], scaled to 0 to 1, NaN where a value is missing;
                given to methods whose settings name some.

        Returns:
            Figures of the fit, for the training history, e.g. ``loss``, the proportion of variance not explained.
        """
