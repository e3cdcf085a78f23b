"""Checkpoints: written atomically, read without running code in them, used only for the same settings and data.

Beside them lies what one follows a training by: the metrics of each epoch, and curves for TensorBoard on request.
"""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from sepclr_neuro.config.training import TENSORBOARD
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.progress import Progress
from sepclr_neuro.core.storage import atomic_path, write_json, write_text

__all__ = ["AtomicCheckpoints", "EveryEpoch", "read_checkpoint", "resume_point"]

logger = logging.getLogger(__name__)


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically; a kill can leave half a file with Lightning's own writer."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # While it handles an OSError, torch closes its archive and raises a RuntimeError that hides the former.
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None


class EveryEpoch(Checkpoint):
    """Saves a checkpoint after every epoch, and says how far the training is.

    The two newest are kept, the older one in case the newer is damaged. `metrics.csv` beside them has a row for each
    epoch so far. It is written whole, from the history that checkpoints carry, so that a training that was stopped and
    goes on has each epoch once; Lightning's `CSVLogger` deletes the rows of the earlier start.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title

    def on_train_start(self, trainer: lightning.Trainer, loop: Any) -> None:
        self._first = trainer.current_epoch
        self._progress = Progress(self.title, trainer.max_epochs or 0, self._first)
        self._curves = _curves(self.folder, self._first) if os.environ.get(TENSORBOARD) else None

    def on_train_batch_end(self, trainer: lightning.Trainer, loop: Any, outputs: Any, batch: Any, step: int) -> None:
        epoch, steps = trainer.current_epoch, trainer.num_training_batches
        at = f"epoch {epoch + 1}/{trainer.max_epochs}, step {step + 1} of {steps}"
        if step + 1 < steps:
            self._progress.at(epoch + (step + 1) / steps, at)

    def on_train_epoch_end(self, trainer: lightning.Trainer, loop: Any) -> None:
        if self._curves is not None:
            values = {name: value for name, value in loop.history[-1].items() if name != "epoch"}
            self._curves.log_metrics(values, step=loop.history[-1]["epoch"])
            self._curves.experiment.flush()  # so that they are seen at once
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.current_epoch + 1:05d}.ckpt")
        for old in _checkpoints(self.folder)[2:]:
            old.unlink()
        write_text(self.folder / "metrics.csv", pd.DataFrame(loop.history).to_csv(index=False, lineterminator="\n"))
        row = loop.history[-1]
        validation = f", validation {row['validation_loss']:.4f}" if "validation_loss" in row else ""
        self._progress.at(
            row["epoch"],
            f"epoch {row['epoch']}/{trainer.max_epochs}",
            f"loss {row['loss']:.4f}{validation}, {row['seconds']:.1f} s an epoch",
            say=row["epoch"] == self._first + 1,  # at once, since a loss says whether it is worth while to wait
        )


def _curves(folder: Path, epochs: int) -> TensorBoardLogger:
    """A writer of curves, which go on after so many epochs: TensorBoard hides what an earlier start wrote beyond.

    Not the trainer's own logger, which would log the validation loss once more, by steps.
    """
    return TensorBoardLogger(folder, name="", version="tensorboard", purge_step=epochs + 1)


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("epoch-*.ckpt"), reverse=True)


def resume_point(folder: Path, name: str, title: str) -> Path | None:
    """The newest readable checkpoint of the same settings and data; others are deleted, with a warning in the log.

    Args:
        folder: of the checkpoints.
        name: fingerprint of settings, data and code.
        title: of this training, in messages.

    Returns:
        None if training has to start from the beginning.
    """
    identity = folder / "fingerprint.json"
    if _checkpoints(folder) and not (identity.is_file() and identity.read_text(encoding="utf-8").strip('"\n') == name):
        logger.warning(f"{title}: settings, data or code changed since the last checkpoint; training starts afresh")
        shutil.rmtree(folder)
    write_json(identity, name)
    for path in _checkpoints(folder):
        try:
            epoch = read_checkpoint(path)["epoch"] + 1
        except InputError as error:
            logger.warning(f"{title}: {error}; trying the one before")
            path.unlink()
            continue
        logger.info(f"{title}: resumes after epoch {epoch}")
        return path
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint without running code in it, after checking the checksums of its archive.

    Raises:
        InputError: if it is damaged, or contains anything but tensors, numbers and text.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not check them
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes zipfile and torch raise
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path.name} cannot be read ({type(error).__name__}: {reason})") from error
    return content
