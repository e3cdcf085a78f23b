"""Fits a method: solves a closed form, or trains by Lightning's loop, which the same call resumes.

The caller supplies the scans (volumes, or 2D images) and how views of them are made.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from sepclr_neuro.config.training import Training
from sepclr_neuro.core import devices
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.processes import Group, in_processes
from sepclr_neuro.core.storage import exclusive
from sepclr_neuro.data.sampling import seed_of, smaller_batch
from sepclr_neuro.learning.batches import Scans, TrainingData, Views
from sepclr_neuro.learning.checkpoints import AtomicCheckpoints, EveryEpoch, read_checkpoint, resume_point
from sepclr_neuro.learning.embedding import parts_in_memory, represent_parts
from sepclr_neuro.learning.loop import Loop
from sepclr_neuro.learning.precision import precision_of, small_convolutions_in_float32
from sepclr_neuro.methods.base import ClosedFormMethod, GradientMethod, Method, Read
from sepclr_neuro.methods.two_encoders import TwoEncoders

__all__ = ["fit"]

logger = logging.getLogger(__name__)

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
    after_epoch: Callable[[int], dict[str, float]] | None = None,
) -> tuple[_History, dict[str, Any]]:
    """Trains or solves a method; after an interruption the same call resumes.

    Args:
        method: untrained; it has its final weights afterwards.
        scans: the training scans.
        views: standardises them and makes random views.
        training: the section `training` of the configuration.
        seeds: of the run, and of the fold or the repetition.
        folder: of the checkpoints.
        identity: a fingerprint of everything that the weights depend on; checkpoints with another one are deleted.
        title: of this training, in messages.
        after_epoch: given the number of epochs so far, figures of the method as it is then, which join the history; in
            one process alone. It may leave the method in evaluation mode.

    Returns:
        The history, with one row per epoch (the mean of each loss term, seconds); and precision and device, for
        gradient methods also batch size, number of views and peak memory.

    Raises:
        InputError: if there are too few participants for a batch, fewer GPUs than `devices` or fewer nodes than
            `nodes`, the loss of a batch is not finite, or another process runs the same training.
        TypeError: if the method is neither a gradient nor a closed-form method.
    """
    if isinstance(method, ClosedFormMethod):
        return _solve(method, scans, views, seed_of(*seeds))
    if isinstance(method, GradientMethod):
        data = TrainingData(scans, training, seeds)
        if data.batch_size < training.batch_size:
            logger.warning(f"{title}: {smaller_batch(training.batch_size, data.batch_size)}")
        if torch.cuda.is_available() and torch.cuda.device_count() < training.devices:
            raise InputError(
                f"training.devices: {training.devices} GPUs are requested, this command has "
                f"{torch.cuda.device_count()}; ask the scheduler for as many, or lower it"
            )
        with exclusive(folder.with_suffix(".lock")):
            checkpoint = resume_point(folder, identity, title)
            if isinstance(method, TwoEncoders):
                method.learn_effects(_reader(scans, views), scans.rows, torch.tensor(scans.target), scans.covariates)
            work = partial(_train, method, data, views, folder, checkpoint, title, after_epoch)
            trained = in_processes(training.devices, training.nodes, work)
            if isinstance(method, TwoEncoders) and method.settings.erase:
                method.learn_erasure(*_representations(method, scans, views, training.people_in_memory))
            return trained
    raise TypeError(f"{type(method).__name__} is neither a GradientMethod nor a ClosedFormMethod")


def _solve(method: ClosedFormMethod, scans: Scans, views: Views, seed: int) -> tuple[_History, dict[str, Any]]:
    """Fits a closed form; the history has one row. Since this takes minutes, it is repeated, not resumed."""
    started = time.monotonic()
    known = {"attributes": scans.attributes} if scans.attributes else {}
    target, covariates = torch.tensor(scans.target), scans.covariates
    figures = method.fit(_reader(scans, views), scans.rows, target, covariates, seed, scans.participants, **known)
    row = {"epoch": 1, **figures, "seconds": round(time.monotonic() - started, 3)}
    return [row], {"precision": "32-true", "device": "cpu"}


def _reader(scans: Scans, views: Views) -> Read:
    """A function that reads planes of standardised scans."""

    def read(rows: Sequence[int], planes: slice) -> Tensor:
        return views.unaugmented(scans.read(list(rows), planes=planes), planes)

    return read


def _representations(
    method: TwoEncoders, scans: Scans, views: Views, people_in_memory: int | None
) -> tuple[Tensor, Tensor]:
    """Common and salient representations of the unaugmented training scans, adjusted, [N, c] and [N, d], float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device).eval()
    views = views.to(device)

    def adjusted(part: slice) -> Tensor:
        volumes = views.unaugmented(scans.read(scans.rows[part]).to(device))
        return method.adjust(volumes, scans.covariates[part].to(device) if len(scans.covariates) else None)

    parts = parts_in_memory(len(scans.rows), method.covariate_maps.shape[1:], people_in_memory)
    found = represent_parts(method, (adjusted(part) for part in parts))
    return found["common"], found["salient"]


def _train(
    method: GradientMethod,
    data: TrainingData,
    views: Views,
    folder: Path,
    checkpoint: Path | None,
    title: str,
    after_epoch: Callable[[int], dict[str, float]] | None,
    group: Group,
) -> tuple[_History, dict[str, Any]]:
    """Trains by gradient descent, from a checkpoint if there is one; the method has its final weights afterwards.

    Every process of a group runs this, on its own participants of each batch; only the first one writes files and logs.
    """
    training, first = data.training, group.process == 0
    data.group = group
    # bfloat16 convolutions are fastest in the channels-last format, on CPUs and GPUs.
    axes = data.scans.read(data.scans.rows[:1]).ndim - 2
    memory_format = torch.channels_last_3d if axes == 3 else torch.channels_last
    method = method.to(memory_format=memory_format)  # type: ignore[call-overload]
    loop = Loop(method, views, data.scans.read, training, folder, group, after_epoch)
    callbacks: list[lightning.Callback] = [EveryEpoch(folder, title)] if first else []
    stops_early = training.patience is not None
    if training.patience is not None:
        callbacks.append(EarlyStopping("validation_loss", patience=training.patience))
    if stops_early and first:
        callbacks.append(
            ModelCheckpoint(
                folder, "best", monitor="validation_loss", save_weights_only=True, enable_version_counter=False
            )
        )
    precision = precision_of(training)
    if torch.cuda.is_available():
        # TensorFloat-32 has a mantissa of 10 bits; bfloat16, in which the networks then compute, one of 7.
        torch.set_float32_matmul_precision("highest" if precision == "32-true" else "high")
        torch.backends.cudnn.allow_tf32 = precision != "32-true"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning's advice (on workers, loggers, srun) does not apply here and would hide relevant warnings.
        warnings.filterwarnings("ignore", module=r"lightning\.")
        trainer = lightning.Trainer(
            max_epochs=training.epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",  # other kinds lack float64, which losses need
            devices=[group.of_node] if torch.cuda.is_available() else 1,
            precision=precision,
            callbacks=callbacks,
            # Lightning would take a job of several tasks for its own processes, and refuse their number.
            plugins=[AtomicCheckpoints(), LightningEnvironment()],
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=first,
            enable_progress_bar=first and sys.stderr.isatty() and logger.isEnabledFor(logging.INFO),
            enable_model_summary=False,
            default_root_dir=folder,
        )
        try:
            if not stops_early or not _stopped_early(loop, checkpoint):
                with small_convolutions_in_float32(method):
                    trainer.fit(loop, data, ckpt_path=checkpoint, weights_only=True)
        except (SIGTERMException, RuntimeError):
            # SLURM sends the signal to all nodes: a process there may be gone before this one has heard it.
            if not trainer.received_sigterm:
                raise
            # Lightning's exception would exit with status 0, as if training had finished.
            logger.warning(f"{title}: stopped by a signal; the same command goes on from the last epoch")
            raise SystemExit(128 + signal.SIGTERM) from None
    if stops_early and first:
        try:
            loop.load_state_dict(read_checkpoint(folder / "best.ckpt")["state_dict"])
        except InputError as error:
            raise InputError(f"{title}: {error}; delete {folder} and run again") from error
    return loop.history, {
        "precision": precision,
        "device": str(trainer.strategy.root_device),
        "batch_size": data.batch_size,
        "views": method.views,
        "peak_memory": devices.peak_memory(),
    }


def _stopped_early(loop: Loop, checkpoint: Path | None) -> bool:
    """Whether early stopping had already ended the training of a checkpoint; if so, the loop gets its history.

    Lightning does not check this when it resumes, and would train for one more epoch.
    """
    if checkpoint is None:
        return False
    state = read_checkpoint(checkpoint)
    loop.on_load_checkpoint(state)
    return any(name.startswith("EarlyStopping") and each["stopped_epoch"] for name, each in state["callbacks"].items())
