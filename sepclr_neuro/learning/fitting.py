"""From an untrained method to a trained one: a closed form, or Lightning's loop, resumed by the same call.

What the scans are (volumes of people, images) and how two views are made of them is the caller's.
"""

from __future__ import annotations

import logging
import math
import shutil
import signal
import sys
import time
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, cast

import lightning.pytorch as lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sepclr_neuro.config.training import Training
from sepclr_neuro.core import devices
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.processes import Group, in_processes
from sepclr_neuro.core.progress import say
from sepclr_neuro.core.storage import atomic_path, exclusive, write_json, write_tsv
from sepclr_neuro.data.sampling import (
    Members,
    balanced_batches,
    parts,
    possible_batch,
    seed_of,
    set_apart,
    smaller_batch,
)
from sepclr_neuro.methods.base import Batch, ClosedFormMethod, GradientMethod, Method, Read
from sepclr_neuro.methods.two_encoders import TwoEncoders

__all__ = ["Scans", "Views", "fit"]


# --- scans to batches --------------------------------------------------------------------------------------------


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


class _Data(lightning.LightningDataModule):
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


# --- the loop ----------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """Which loss terms of a step are finite, as soon as the device that computed them has told."""

    batch: dict[str, Any]
    step: int
    names: list[str]
    finite: Tensor
    arrived: torch.cuda.Event | None

    def is_here(self) -> bool:
        return self.arrived is None or self.arrived.query()


class _Loop(lightning.LightningModule):
    """Codes of a batch, part by part; then the method's losses; the codes' gradients, part by part; then Adam."""

    def __init__(
        self,
        method: GradientMethod,
        views: Views,
        read: Callable[[list[int]], Tensor],
        training: Training,
        folder: Path,
        group: Group,
    ) -> None:
        super().__init__()
        self.method, self.views, self.read, self.group = method, views, read, group
        self.training_settings, self.folder = training, folder
        self.history: list[dict[str, float]] = []
        self.automatic_optimization = False
        self._sums: dict[str, Tensor] = {}
        self._unseen: deque[_Seen] = deque()
        self._started = time.monotonic()

    def training_step(self, batch: dict[str, Any], step: int) -> None:
        method = self.method
        encoders, *estimators = _as_list(self.optimizers())
        codes, of_last_part = self._codes(batch)
        whole, encoded = self._heads(batch, codes)
        for _ in range(method.estimator_steps):
            for estimator in estimators:
                self._step_of_estimator(estimator, encoded, whole)
        with self.toggled_optimizer(encoders):
            losses = method.losses(encoded, whole)
            self._watch(batch, losses, step)
            encoders.zero_grad()
            self.manual_backward(losses["loss"])
            gradients = {name: code.grad for name, code in codes.items() if code.grad is not None}
            self._pass_on(gradients, of_last_part, batch["parts"][-1])
            del of_last_part
            for part in self._in_memory(batch, batch["parts"][:-1]):
                self._pass_on(gradients, method.codes(part), part.positions)
                del part  # before the next one is made
            self._average_gradients(encoders)
            if self.training_settings.gradient_clip is not None:
                # Lightning's own refuses an Adam that takes its step in one pass, for float16's sake.
                parameters = [parameter for group in encoders.param_groups for parameter in group["params"]]
                torch.nn.utils.clip_grad_norm_(parameters, self.training_settings.gradient_clip)
            encoders.step()
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()

    def _codes(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The codes of a whole batch, which no gradient leaves; and those of this process's last part, which it does.

        Memory is that of one part: all but the last are made without what a backward pass needs, and anew for it.
        """
        *_, last = batch["parts"]
        whole: dict[str, Tensor] = {}
        for part in self._in_memory(batch, batch["parts"]):
            positions = part.positions
            with torch.set_grad_enabled(torch.is_grad_enabled() and positions == last):
                codes = self.method.codes(part)
            del part  # before the next one is made
            if len(positions) == len(batch["target"]):
                whole = {name: code.detach() for name, code in codes.items()}
                break
            for name, code in codes.items():
                whole.setdefault(name, code.new_zeros(len(batch["target"]), *code.shape[1:]))
                whole[name][positions] = code.detach()
        return {name: self.group.sum(code).requires_grad_() for name, code in whole.items()}, codes

    def _heads(self, batch: dict[str, Any], codes: dict[str, Tensor]) -> tuple[Batch, Any]:
        """The batch as a whole, and what the losses read of it: the same in every process."""
        _seed(seed_of(batch["seed"], 3))
        whole = Batch(torch.empty(0), batch["target"], batch["attributes"], batch["patients"], batch["controls"])
        return whole, self.method.heads(codes, whole)

    def _pass_on(self, gradients: dict[str, Tensor], codes: dict[str, Tensor], positions: list[int]) -> None:
        """From gradients of the loss by the whole batch's codes to those by the weights that made some of the codes."""
        # Averaged over processes, of which each has the gradients of its own people alone, they are to be their sum.
        given = [name for name, code in codes.items() if name in gradients and code.requires_grad]
        torch.autograd.backward(
            [codes[name] for name in given], [_rows(gradients[name], positions) * self.group.size for name in given]
        )

    def _average_gradients(self, optimizer: Any) -> None:
        weights = (weight for group in optimizer.param_groups for weight in group["params"])
        self.group.average(weight.grad for weight in weights if weight.grad is not None)

    def _in_memory(self, batch: dict[str, Any], parts: list[list[int]]) -> Iterator[Batch]:
        """A part of the batch at a time, views made on the device, while the scans of the next one are read."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            scans = [reader.submit(self._scans, batch, positions) for positions in parts[:1]]
            for number, positions in enumerate(parts):
                part = [self._with_views(batch, positions, scans.pop().result())]
                scans = [reader.submit(self._scans, batch, following) for following in parts[number + 1 : number + 2]]
                # Stateless, so that what networks draw a second time is the same.
                _seed(seed_of(batch["seed"], 2, positions[0]))
                yield part.pop()  # nothing here holds on to it

    def _scans(self, batch: dict[str, Any], positions: list[int]) -> Tensor:
        return batch.pop("scans") if "scans" in batch else self.read([batch["rows"][i] for i in positions])

    def _with_views(self, batch: dict[str, Any], positions: list[int], scans: Tensor) -> Batch:
        members = Members(positions, len(batch["target"]), batch["seed"])
        device = self.device.type
        # In the precision that networks compute in; what is computed on the way needs its own in places.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        with torch.autocast(device, enabled=False):
            views = self.views(scans.to(self.device), members, self.method.views, dtype)
            salient_views = views
            effects = self._effects(batch, positions)
            if effects is not None:
                # Crop, rotation and blur act alike on a sum and on its parts, so that this is a view of z - B'a.
                salient_views = views - cast(ViewsOfEffects, self.views).moved(effects, members, self.method.views, dtype)
        attributes = {name: _rows(values, positions) for name, values in batch["attributes"].items()}
        target, groups = _rows(batch["target"], positions), {}
        if len(positions) == len(batch["target"]):
            groups = {"patients": batch["patients"], "controls": batch["controls"]}
        return Batch(views, target, attributes, members=members, salient_views=salient_views, **groups)

    def _effects(self, batch: dict[str, Any], positions: list[int]) -> Tensor | None:
        """What is to be taken out of the volumes that salient encoders read, [B, C, *spatial]; None for nothing."""
        if not isinstance(self.method, TwoEncoders) or not len(batch["covariates"]):
            return None
        return self.method.effects(_rows(batch["covariates"], positions))

    def _watch(self, batch: dict[str, Any], losses: dict[str, Tensor], step: int) -> None:
        """Ends a training whose loss is NaN or infinite: at once, or, on a GPU, when its figures have come over.

        To look at them a step would have to wait for the device. Weights that are spoiled meanwhile reach no file.
        """
        finite = torch.stack([value.detach().isfinite() for value in losses.values()])
        arrived = None
        told = finite.to("cpu", non_blocking=True)
        if finite.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()
        self._unseen.append(_Seen(batch, step, list(losses), told, arrived))
        self._look(wait=False)

    def _look(self, wait: bool) -> None:
        # Processes that end a training end it together, so that none waits for another one.
        wait = wait or self.group.size > 1
        while self._unseen and (wait or self._unseen[0].is_here()):
            seen = self._unseen.popleft()
            if seen.arrived is not None:
                seen.arrived.synchronize()
            terms = [name for name, sound in zip(seen.names, seen.finite.tolist(), strict=True) if not sound]
            if "loss" in terms:
                self._refuse(seen.batch, terms, seen.step)

    def _refuse(self, batch: dict[str, Any], terms: list[str], step: int) -> NoReturn:
        """Ends the training, and keeps what was in the batch, whose seed makes its views again."""
        epoch, path = self.current_epoch + 1, self.folder / "not-finite.tsv"
        table = pd.DataFrame({"participant_id": batch["participants"], "target": batch["target"].tolist()})
        names = [f"view_{view + 1}_{extreme}" for view in range(self.method.views) for extreme in ("min", "max")]
        ranges = torch.zeros(len(table), len(names), device=self.device)
        for part in self._in_memory(batch, batch["parts"]):
            voxels = [view.flatten(1).float() for view in part.views]
            found = torch.stack([extreme for view in voxels for extreme in (view.amin(1), view.amax(1))], dim=1)
            ranges[part.positions] = found
            del part, voxels
        table[names] = self.group.sum(ranges).cpu().numpy()
        if self.group.process == 0:
            write_tsv(path, table.assign(epoch=epoch, step=step + 1, terms=", ".join(terms)))
        raise InputError(
            f"training: epoch {epoch} of {self.trainer.max_epochs}, step {step + 1}: the loss is not finite "
            f"({', '.join(terms)}). "
            f"Lower training.learning_rate, or set training.gradient_clip. In the batch, which {path} describes: "
            f"{', '.join(batch['participants'])}"
        )

    def _step_of_estimator(self, optimizer: Any, encoded: Any, batch: Batch) -> None:
        with self.toggled_optimizer(optimizer):
            loss = self.method.estimator_loss(encoded, batch)
            if loss is None:
                return
            optimizer.zero_grad()
            self.manual_backward(loss)
            self._average_gradients(optimizer)
            optimizer.step()

    def validation_step(self, batch: dict[str, Any], step: int) -> None:
        codes, _ = self._codes(batch)
        whole, encoded = self._heads(batch, codes)
        loss = self.method.losses(encoded, whole)["loss"]
        self.group.average([loss])  # to the bit the same everywhere, since early stopping compares it
        self.log("validation_loss", loss, on_epoch=True, batch_size=len(whole.target))

    def on_fit_start(self) -> None:
        self.views = self.views.to(self.device)

    def on_train_epoch_start(self) -> None:
        self._sums, self._started = {}, time.monotonic()
        self._unseen.clear()

    def on_train_epoch_end(self) -> None:
        self._look(wait=True)
        for schedule in _as_list(self.lr_schedulers()):
            schedule.step()
        steps = self.trainer.num_training_batches
        row = {"epoch": self.current_epoch + 1} | {name: float(value) / steps for name, value in self._sums.items()}
        if "validation_loss" in self.trainer.callback_metrics:
            row["validation_loss"] = float(self.trainer.callback_metrics["validation_loss"])
        sound = all(bool(torch.isfinite(weights).all()) for weights in self.method.state_dict().values())
        if not sound or not all(math.isfinite(value) for value in row.values()):
            raise InputError(
                f"training: a term, the validation loss or a weight is not finite in epoch {row['epoch']} of "
                f"{self.trainer.max_epochs}; lower training.learning_rate, or set training.gradient_clip"
            )
        self.history.append(row | {"seconds": round(time.monotonic() - self._started, 3)})

    def configure_optimizers(self) -> Any:
        training, estimators = self.training_settings, self.method.estimator_parameters()
        apart = {id(parameter) for parameter in estimators}
        encoders = [parameter for parameter in self.method.parameters() if id(parameter) not in apart]
        optimizers = [
            torch.optim.Adam(encoders, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
        ]
        schedules = []
        if training.schedule == "cosine":
            schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizers[0], training.epochs)]
        if estimators:
            optimizers.append(torch.optim.Adam(estimators, lr=self.method.estimator_learning_rate))
        return optimizers, schedules

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


def _seed(seed: int) -> None:
    """torch.manual_seed for this process's device: it takes 2 ms to prepare kinds of devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)


def _as_list(value: Any) -> list[Any]:
    """Lightning returns nothing, one thing or a list of optimisers or schedules."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _rows(values: Tensor, positions: list[int]) -> Tensor:
    """Some rows; all of them without a copy, for which a GPU would be waited for."""
    return values if len(positions) == len(values) else values[positions]


class _AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's own writer moves files between folders, which a kill can cut in half."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch ends its archive on the way out of an error and raises another one over it.
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None


class _EveryEpoch(Checkpoint):
    """Keeps the two newest epochs, the older in case the newer is damaged, and says how far training is.

    `history.tsv` beside the checkpoints holds the loss so far.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self._said = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, loop: Any, outputs: Any, batch: Any, step: int) -> None:
        if time.monotonic() - self._said > 30:
            self._say(f"epoch {trainer.current_epoch + 1}: step {step + 1} of {trainer.num_training_batches}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, loop: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.current_epoch + 1:05d}.ckpt")
        for old in _checkpoints(self.folder)[2:]:
            old.unlink()
        write_tsv(self.folder / "history.tsv", pd.DataFrame(loop.history))
        row = loop.history[-1]
        left = ((trainer.max_epochs or 0) - row["epoch"]) * row["seconds"]
        watched = f", validation {row['validation_loss']:.4f}" if "validation_loss" in row else ""
        self._say(
            f"epoch {row['epoch']}/{trainer.max_epochs}, loss {row['loss']:.4f}{watched}, "
            f"{row['seconds']:.1f} s, at most {left:.0f} s left"
        )

    def _say(self, message: str) -> None:
        self._said = time.monotonic()
        say(f"{self.title}: {message}")


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("epoch-*.ckpt"), reverse=True)


def _resume_point(folder: Path, name: str, title: str) -> Path | None:
    """The newest checkpoint that can be read, of the same settings and data; any other is cleared away, and said."""
    identity = folder / "fingerprint.json"
    if _checkpoints(folder) and not (identity.is_file() and identity.read_text(encoding="utf-8").strip('"\n') == name):
        say(f"{title}: settings, data or code changed since the last checkpoint; training starts afresh")
        shutil.rmtree(folder)
    write_json(identity, name)
    for path in _checkpoints(folder):
        try:
            epoch = _read_checkpoint(path)["epoch"] + 1
        except InputError as error:
            say(f"{title}: {error}; trying the one before")
            path.unlink()
            continue
        say(f"{title}: resumes after epoch {epoch}")
        return path
    return None


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running anything in it, every byte held against its archive's checksums.

    Raises:
        InputError: if it is damaged, or holds anything but tensors, numbers and text.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not look at the checksums
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes zipfile and torch raise
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path.name} cannot be read ({type(error).__name__}: {reason})") from error
    return content


def _precision(training: Training) -> str:
    cuda = torch.cuda.is_available()
    native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_computes_bfloat16()
    if training.precision == "bfloat16" or (training.precision == "auto" and native):
        return "bf16-mixed"
    return "32-true"


def _cpu_computes_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


_History = list[dict[str, float]]


def fit(
    method: Method,
    scans: Scans,
    views: Views,
    training: Training,
    *,
    seeds: tuple[int, int],
    folder: Path,
    identity: str,
    title: str,
) -> tuple[_History, dict[str, Any]]:
    """Trains or solves a method; the same call goes on after an interruption.

    Args:
        method: untrained; it is left with its final weights.
        scans: what it learns from.
        views: how these are made ready.
        training: the section `training` of the configuration.
        seeds: of the run, and of the fold or the repetition.
        folder: of the checkpoints.
        identity: a fingerprint of all that the weights depend on; checkpoints of another one are cleared away.
        title: what messages call this training.

    Returns:
        One row an epoch (the mean of each loss term, seconds); and the precision and device that it ran with, how many
        people were in a batch, and how many views of each.

    Raises:
        InputError: if the batches cannot be filled, there are fewer GPUs than `devices`, the loss of a batch is not
            finite, or another process is at the same training.
    """
    if isinstance(method, ClosedFormMethod):
        return _solve(method, scans, views, seed_of(*seeds))
    if isinstance(method, GradientMethod):
        data = _Data(scans, training, seeds)
        if data.batch_size < training.batch_size:
            say(f"{title}: {smaller_batch(training.batch_size, data.batch_size)}")
        if torch.cuda.is_available() and torch.cuda.device_count() < training.devices:
            raise InputError(
                f"training.devices: {training.devices} GPUs are asked for, this command was given "
                f"{torch.cuda.device_count()}; ask the scheduler for as many, or lower it"
            )
        with exclusive(folder.with_suffix(".lock")):
            checkpoint = _resume_point(folder, identity, title)
            if isinstance(method, TwoEncoders):
                method.learn_effects(_reader(scans, views), scans.rows, torch.tensor(scans.target), scans.covariates)
            work = partial(_descend, method, data, views, folder, checkpoint, title)
            trained = in_processes(training.devices, work)
            if isinstance(method, TwoEncoders) and method.settings.erase:
                method.learn_erasure(*_representations(method, scans, views))
            return trained
    raise TypeError(f"{type(method).__name__} is neither a GradientMethod nor a ClosedFormMethod")


def _solve(method: ClosedFormMethod, scans: Scans, views: Views, seed: int) -> tuple[_History, dict[str, Any]]:
    """Fits a closed form; its history has one row. It is a matter of minutes, so it is not resumed but repeated."""
    started = time.monotonic()
    figures = method.fit(_reader(scans, views), scans.rows, torch.tensor(scans.target), scans.covariates, seed)
    row = {"epoch": 1, **figures, "seconds": round(time.monotonic() - started, 3)}
    return [row], {"precision": "32-true", "device": "cpu"}


def _reader(scans: Scans, views: Views) -> Read:
    """Reads some planes of standardised scans."""

    def read(rows: Sequence[int], planes: slice) -> Tensor:
        return views.plain(scans.read(list(rows), planes=planes), planes)

    return read


@torch.no_grad()
def _representations(method: TwoEncoders, scans: Scans, views: Views) -> tuple[Tensor, Tensor]:
    """Common and salient representations of the training scans as they are, [N, c] and [N, d], in float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device).eval()
    views, found = views.to(device), []
    at_once = max(1, 8 * 128**3 // math.prod(method.covariate_maps.shape[1:]))
    for start in range(0, len(scans.rows), at_once):
        part = slice(start, start + at_once)
        volumes = views.plain(scans.read(scans.rows[part]).to(device))
        covariates = scans.covariates[part].to(device) if len(scans.covariates) else None
        found.append(method.represent(volumes, covariates))
    common, salient = (torch.cat([each[space] for each in found]) for space in ("common", "salient"))
    return common, salient


def _descend(
    method: GradientMethod, data: _Data, views: Views, folder: Path, checkpoint: Path | None, title: str, group: Group
) -> tuple[_History, dict[str, Any]]:
    """Trains by gradients, from a checkpoint on if there is one, and leaves the method with its final weights.

    Each process of a group does all of it, on its people of each batch; the first one writes and speaks.
    """
    training, first = data.training, group.process == 0
    data.group = group
    # Channels last is what bfloat16 convolutions compute fastest in, on CPUs and GPUs.
    axes = data.scans.read(data.scans.rows[:1]).ndim - 2
    memory_format = torch.channels_last_3d if axes == 3 else torch.channels_last
    method = method.to(memory_format=memory_format)  # type: ignore[call-overload]
    loop = _Loop(method, views, data.scans.read, training, folder, group)
    callbacks: list[lightning.Callback] = [_EveryEpoch(folder, title)] if first else []
    stops_early = training.patience is not None
    if training.patience is not None:
        callbacks.append(EarlyStopping("validation_loss", patience=training.patience))
    if stops_early and first:
        callbacks.append(
            ModelCheckpoint(
                folder, "best", monitor="validation_loss", save_weights_only=True, enable_version_counter=False
            )
        )
    precision = _precision(training)
    if torch.cuda.is_available():
        # TensorFloat-32 keeps 10 bits of a factor; bfloat16, in which the networks compute then, 7.
        torch.set_float32_matmul_precision("highest" if precision == "32-true" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "32-true"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning's advice (on workers, loggers, srun) does not hold here and would bury warnings that mean something.
        warnings.filterwarnings("ignore", module=r"lightning\.")
        trainer = lightning.Trainer(
            max_epochs=training.epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",  # other kinds lack float64, which losses need
            devices=[group.process] if torch.cuda.is_available() else 1,
            precision=precision,  # type: ignore[arg-type]
            callbacks=callbacks,
            plugins=[_AtomicCheckpoints()],
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=first,
            enable_progress_bar=first and sys.stderr.isatty(),
            enable_model_summary=False,
            default_root_dir=folder,
        )
        try:
            if not stops_early or not _stopped_early(loop, checkpoint):
                trainer.fit(loop, data, ckpt_path=checkpoint, weights_only=True)
        except SIGTERMException:
            # Lightning's exception would exit with status 0, as if the model were there.
            say(f"{title}: stopped by a signal; the same command goes on from the last epoch")
            raise SystemExit(128 + signal.SIGTERM) from None
    if stops_early and first:
        try:
            loop.load_state_dict(_read_checkpoint(folder / "best.ckpt")["state_dict"])
        except InputError as error:
            raise InputError(f"{title}: {error}; delete {folder} and run again") from error
    how = {"precision": precision, "device": str(trainer.strategy.root_device)}
    of_batch = {"batch_size": data.batch_size, "views": method.views}
    return loop.history, how | of_batch | {"peak_memory": devices.peak_memory()}


def _stopped_early(loop: _Loop, checkpoint: Path | None) -> bool:
    """Whether early stopping had ended this training; then the loop has its history, as if it had just ended.

    Lightning does not keep that, and would train one more epoch.
    """
    if checkpoint is None:
        return False
    state = _read_checkpoint(checkpoint)
    loop.on_load_checkpoint(state)
    return any(name.startswith("EarlyStopping") and each["stopped_epoch"] for name, each in state["callbacks"].items())
