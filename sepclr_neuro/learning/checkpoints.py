"""Checkpoints: written atomically, read without running code in them, used only for the same settings and data."""

from __future__ import annotations

import logging
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import atomic_path, write_json, write_tsv

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
    """Saves a checkpoint after every epoch and logs progress.

    The two newest are kept, the older one in case the newer is damaged. `history.tsv` beside them has the loss of each
    epoch so far.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self.folder, self.title = folder, title
        self._logged = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, loop: Any, outputs: Any, batch: Any, step: int) -> None:
        if time.monotonic() - self._logged > 30:
            self._log(f"epoch {trainer.current_epoch + 1}: step {step + 1} of {trainer.num_training_batches}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, loop: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch-{trainer.current_epoch + 1:05d}.ckpt")
        for old in _checkpoints(self.folder)[2:]:
            old.unlink()
        write_tsv(self.folder / "history.tsv", pd.DataFrame(loop.history))
        row = loop.history[-1]
        left = ((trainer.max_epochs or 0) - row["epoch"]) * row["seconds"]
        validation = f", validation {row['validation_loss']:.4f}" if "validation_loss" in row else ""
        self._log(
            f"epoch {row['epoch']}/{trainer.max_epochs}, loss {row['loss']:.4f}{validation}, "
            f"{row['seconds']:.1f} s, at most {left:.0f} s left"
        )

    def _log(self, message: str) -> None:
        self._logged = time.monotonic()
        logger.info(f"{self.title}: {message}")


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
