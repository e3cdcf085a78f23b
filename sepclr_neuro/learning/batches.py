"""What is trained on: scans, how they are made ready, and the batches of an epoch."""

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
    """What is trained on, with what sampling and methods need to know of it."""

    read: Callable[..., Tensor]
    """From some rows to their scans, [B, C, *spatial]; closed forms name ``planes`` of the first spatial axis too."""
    rows: list[int]
    participants: list[str]
    target: list[bool]
    attributes: dict[str, list[float]]
    """Columns that the method asked for, scaled to 0 to 1; NaN where a value is missing."""
    covariates: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    """What the salient space is adjusted for, [N, k], with mean 0; of no column where it is for nothing."""

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
    """How scans are made ready for a method, once as they are, once at random."""

    def to(self, device: torch.device) -> Views:
        """The same on another device."""
        ...

    def plain(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        """Scans [B, C, *spatial], or these planes of their first spatial axis, as probes and closed forms see them."""
        ...

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        """Some views of the members' scans [B, C, *spatial], [count, B, C, *spatial], in a precision; the same seed
        gives the same, however many are made."""
        ...


class ViewsOfEffects(Views, Protocol):
    """Views of scans that salient encoders may read adjusted for covariates."""

    def moved(self, volumes: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        """The same changes, but for noise, of what covariates add to the members' scans, [B, C, *spatial]."""
        ...


class _Batches(Dataset[dict[str, Any]]):
    """The batches of one epoch: people, what is known of them, a seed for the views, the positions of those whom this
    process has in memory at a time; and their scans [B, C, *spatial], unless that is several times."""

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
    """Batches that a thread reads into pinned memory while a GPU computes, from where it copies them by itself.

    A thread, since a worker process would hand every batch over through shared memory: two copies more, in a space that
    containers keep small.
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
    """New batches every epoch, the same ones whether or not training was interrupted."""

    def __init__(self, scans: Scans, training: Training, seeds: tuple[int, int]) -> None:
        super().__init__()
        self.training, self.seeds, self.group = training, seeds, Group()
        self.scans, self.watched = scans, scans.part([])
        if training.validation_fraction > 0:
            trained, watched = set_apart(
                scans.participants, scans.target, training.validation_fraction, seed_of(*self.seeds)
            )
            self.scans, self.watched = scans.part(trained), scans.part(watched)
            groups = zip(self.watched.participants, self.watched.target, strict=True)
            smaller = min(Counter(is_target for _, is_target in set(groups)).values())
            self.watched_batch_size = min(training.batch_size, 2 * smaller)
        self.batch_size = possible_batch(self.scans.participants, self.scans.target, training.batch_size)
        sizes = [self.batch_size, *([self.watched_batch_size] if self.watched.rows else [])]
        if min(sizes) // 2 < training.devices:
            raise InputError(
                f"training.devices: {training.devices} of them cannot share {min(sizes) // 2} pairs of people, the "
                f"smallest batch that is trained on or watched; set it to {min(sizes) // 2} or less"
            )

    def train_dataloader(self) -> DataLoader | _ReadAhead:
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader(self.scans, self.batch_size, 0, epoch)

    def val_dataloader(self) -> list[DataLoader | _ReadAhead]:
        """The same views every epoch, so that the watched loss moves only because the model does."""
        if not self.watched.rows:
            return []
        return [self._loader(self.watched, self.watched_batch_size, 1)]

    def _loader(self, scans: Scans, batch_size: int, *seeds: int) -> DataLoader | _ReadAhead:
        batches = _Batches(scans, batch_size, self.training.people_in_memory, self.group, *self.seeds, *seeds)
        # On a CPU reading ahead would take a core from the network.
        return _ReadAhead(batches) if torch.cuda.is_available() else DataLoader(batches, batch_size=None)
