"""Training data: scans, their views, and the batches of an epoch."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import lightning.pytorch as lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sepclr_neuro.config.training import Training
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.processes import Group
from sepclr_neuro.data.sampling import Members, balanced_batches, parts, possible_batch, seed_of, set_apart

__all__ = ["Scans", "TrainingData", "Views", "ViewsOfEffects"]


@dataclass(frozen=True)
class Scans:
    """Training scans, with the variables that sampling and methods need."""

    read: Callable[..., Tensor]
    """Reads the scans of some rows, [B, C, *spatial]; closed forms also pass ``planes`` of the first spatial axis."""
    rows: list[int]
    participants: list[str]
    target: list[bool]
    attributes: dict[str, list[float]]
    """Attributes of the method, scaled to 0 to 1; NaN where a value is missing."""
    covariates: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    """Covariates that the salient space is adjusted for, [N, k], centred; k = 0 without adjustment."""

    def part(self, positions: list[int]) -> Scans:
        return Scans(
            self.read,
            [self.rows[i] for i in positions],
            [self.participants[i] for i in positions],
            [self.target[i] for i in positions],
            {name: [values[i] for i in positions] for name, values in self.attributes.items()},
            self.covariates[positions] if len(self.covariates) else self.covariates,
        )


class Views(Protocol):
    """Standardises scans, and makes random views of them."""

    def to(self, device: torch.device) -> Views:
        """The same on another device."""
        ...

    def unaugmented(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        """Standardised scans [B, C, *spatial] without augmentation; of some planes of their first spatial axis only."""
        ...

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        """Random views of scans, which depend on the members' seed alone.

        Args:
            scans: of the members, [B, C, *spatial].
            members: which participants of a batch these are.
            count: number of views; more of them leave the first ones as they are.
            dtype: of the views.

        Returns:
            [count, B, C, *spatial].
        """
        ...


class ViewsOfEffects(Views, Protocol):
    """Views that can be made of covariates' effects too, for salient encoders with adjustment."""

    def of_effects(
        self, volumes: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """The same views, but without noise, of covariates' effects on the members' scans, [B, C, *spatial]."""
        ...


class _Batches(Dataset[dict[str, Any]]):
    """The batches of one epoch, each a dictionary.

    It has the participants and their variables, a seed for the views, and ``parts``, the positions of those that this
    process has in memory at a time. If there is one part only, it has their scans too, [B, C, *spatial].
    """

    def __init__(self, scans: Scans, batch_size: int, at_once: int | None, group: Group, *seeds: int) -> None:
        self.scans, self.seeds = scans, seeds
        self.batches = balanced_batches(scans.participants, scans.target, batch_size, seed_of(*seeds))
        self.parts = parts(batch_size, at_once or batch_size, group.process, group.size)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> dict[str, Any]:
        if step >= len(self.batches):
            raise IndexError(step)
        scans = self.scans.part(self.batches[step])
        target = torch.tensor(scans.target)
        batch = {
            "participants": scans.participants,
            "rows": scans.rows,
            "target": target,
            "patients": target.nonzero()[:, 0],
            "controls": (~target).nonzero()[:, 0],
            "attributes": {name: torch.tensor(values) for name, values in scans.attributes.items()},
            "covariates": scans.covariates,
            "seed": seed_of(*self.seeds, step),
            "parts": self.parts,
        }
        if len(self.parts) == 1:
            batch["scans"] = scans.read([scans.rows[position] for position in self.parts[0]])
        return batch


class _ReadAhead:
    """Reads the next batches into pinned memory in a thread while a GPU computes.

    A worker process would pass each batch through shared memory: two more copies, in a space that is small in
    containers.
    """

    def __init__(self, dataset: _Batches) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with ThreadPoolExecutor(1) as reader:
            ahead = deque(reader.submit(self._read, step) for step in range(min(2, len(self))))
            for step in range(len(self)):
                batch = ahead.popleft().result()
                if step + 2 < len(self):
                    ahead.append(reader.submit(self._read, step + 2))
                yield batch

    def _read(self, step: int) -> dict[str, Any]:
        return _pinned(self.dataset[step])


def _pinned(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _pinned(part) for name, part in content.items()}
    return content.pin_memory() if isinstance(content, Tensor) else content


class TrainingData(lightning.LightningDataModule):
    """New batches in every epoch, which depend on the seeds and the epoch alone, so that training can be resumed."""

    def __init__(self, scans: Scans, training: Training, seeds: tuple[int, int]) -> None:
        super().__init__()
        self.training, self.seeds, self.group = training, seeds, Group()
        self.scans, self.validation = scans, scans.part([])
        if training.validation_fraction > 0:
            trained, held_out = set_apart(
                scans.participants, scans.target, training.validation_fraction, seed_of(*self.seeds)
            )
            self.scans, self.validation = scans.part(trained), scans.part(held_out)
            groups = zip(self.validation.participants, self.validation.target, strict=True)
            smaller = min(Counter(is_target for _, is_target in set(groups)).values())
            self.validation_batch_size = min(training.batch_size, 2 * smaller)
        self.batch_size = possible_batch(self.scans.participants, self.scans.target, training.batch_size)
        sizes = [self.batch_size, *([self.validation_batch_size] if self.validation.rows else [])]
        if min(sizes) // 2 < training.processes:
            raise InputError(
                f"training.devices times training.nodes: {training.processes} processes cannot share "
                f"{min(sizes) // 2} pairs of participants, the smallest batch of training or validation; "
                f"set it to {min(sizes) // 2} or less"
            )

    def train_dataloader(self) -> DataLoader | _ReadAhead:
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader(self.scans, self.batch_size, 0, epoch)

    def val_dataloader(self) -> list[DataLoader | _ReadAhead]:
        """The same views in every epoch, so that the validation loss changes with the model alone."""
        if not self.validation.rows:
            return []
        return [self._loader(self.validation, self.validation_batch_size, 1)]

    def _loader(self, scans: Scans, batch_size: int, *seeds: int) -> DataLoader | _ReadAhead:
        batches = _Batches(scans, batch_size, self.training.people_in_memory, self.group, *self.seeds, *seeds)
        # On a CPU, reading ahead would take a core away from the network.
        return _ReadAhead(batches) if torch.cuda.is_available() else DataLoader(batches, batch_size=None)
