"""What a method is to the rest of the project."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Method"]


class Method(nn.Module, ABC):
    """A network with its losses.

    A subclass is built as ``Subclass(settings, network, input_shape)``: its own section of the configuration, the
    section `network`, and channels and voxels of the input, e.g. ``(1, 128, 128, 128)``.
    """

    spaces: ClassVar[tuple[str, ...]]
    """Names of the representations: ``("common", "salient")``, or ``("single",)`` for a method with one space."""

    @abstractmethod
    def represent(self, volumes: Tensor) -> dict[str, Tensor]:
        """Representations, one [B, d] a space, of standardised volumes [B, C, *spatial]. This is what probes read."""

    @abstractmethod
    def losses(self, views: tuple[Tensor, Tensor], target: Tensor) -> dict[str, Tensor]:
        """Loss terms of a batch; ``loss`` is what is minimised, the others are logged beside it.

        Args:
            views: two augmented views of the same people, each [B, C, *spatial].
            target: whether each is a patient, [B] bool.

        Raises:
            ValueError: if a group is missing from the batch.
        """
