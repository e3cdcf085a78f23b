"""The training step of methods with gradients, in parts that fit into memory, and checks that losses are finite."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import lightning.pytorch as lightning
import pandas as pd
import torch
from torch import Tensor

from sepclr_neuro.config.training import Training
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.processes import Group
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.data.sampling import Members, seed_of
from sepclr_neuro.learning.batches import Views, ViewsOfEffects
from sepclr_neuro.methods.base import Batch, GradientMethod
from sepclr_neuro.methods.two_encoders import TwoEncoders

__all__ = ["Loop"]


class _Check(NamedTuple):
    """Which loss terms of a step are finite: a result that may still be on its way from the GPU."""

    batch: dict[str, Any]
    step: int
    names: list[str]
    finite: Tensor
    arrived: torch.cuda.Event | None

    def has_arrived(self) -> bool:
        return self.arrived is None or self.arrived.query()


class Loop(lightning.LightningModule):
    """Lightning's module: codes part by part, losses of the whole batch, gradients part by part, a step of Adam."""

    def __init__(
        self,
        method: GradientMethod,
        views: Views,
        read: Callable[[list[int]], Tensor],
        training: Training,
        folder: Path,
        group: Group,
        after_epoch: Callable[[int], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.after_epoch = after_epoch
        self.method, self.views, self.read, self.group = method, views, read, group
        self.training_settings, self.folder = training, folder
        self.history: list[dict[str, float]] = []
        self.automatic_optimization = False
        self._sums: dict[str, Tensor] = {}
        self._pending: deque[_Check] = deque()
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
            self._check_finite(batch, losses, step)
            encoders.zero_grad()
            self.manual_backward(losses["loss"])
            gradients = {name: code.grad for name, code in codes.items() if code.grad is not None}
            self._backpropagate(gradients, of_last_part, batch["parts"][-1])
            del of_last_part
            for part in self._in_memory(batch, batch["parts"][:-1]):
                self._backpropagate(gradients, method.codes(part), part.positions)
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
        """The codes of a whole batch, detached, and those of this process's last part, with their graph.

        This takes the memory of one part: the codes of all other parts are computed without a graph here, and a second
        time for the backward pass.
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
        """The whole batch without views, and the input of the losses: the same in every process."""
        _seed(seed_of(batch["seed"], 3))
        whole = Batch(torch.empty(0), batch["target"], batch["attributes"], batch["patients"], batch["controls"])
        return whole, self.method.heads(codes, whole)

    def _backpropagate(self, gradients: dict[str, Tensor], codes: dict[str, Tensor], positions: list[int]) -> None:
        """Backpropagates gradients with respect to the codes of one part through the networks that computed them."""
        # Each process has the gradients of its own participants; times the group's size, their average is their sum.
        given = [name for name, code in codes.items() if name in gradients and code.requires_grad]
        torch.autograd.backward(
            [codes[name] for name in given], [_rows(gradients[name], positions) * self.group.size for name in given]
        )

    def _average_gradients(self, optimizer: Any) -> None:
        weights = (weight for group in optimizer.param_groups for weight in group["params"])
        self.group.average(weight.grad for weight in weights if weight.grad is not None)

    def _in_memory(self, batch: dict[str, Any], parts: list[list[int]]) -> Iterator[Batch]:
        """The parts of a batch, with views made on the device; scans of the next part are read in the meantime."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            scans = [reader.submit(self._scans, batch, positions) for positions in parts[:1]]
            for number, positions in enumerate(parts):
                part = [self._with_views(batch, positions, scans.pop().result())]
                scans = [reader.submit(self._scans, batch, following) for following in parts[number + 1 : number + 2]]
                # A seed for each part, so that a second pass through the networks draws the same random numbers.
                _seed(seed_of(batch["seed"], 2, positions[0]))
                yield part.pop()  # no reference is kept here

    def _scans(self, batch: dict[str, Any], positions: list[int]) -> Tensor:
        return batch.pop("scans") if "scans" in batch else self.read([batch["rows"][i] for i in positions])

    def _with_views(self, batch: dict[str, Any], positions: list[int], scans: Tensor) -> Batch:
        members = Members(positions, len(batch["target"]), batch["seed"])
        device = self.device.type
        # Views have the precision in which networks compute; some intermediate results need a higher one.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        with torch.autocast(device, enabled=False):
            views = self.views(scans.to(self.device), members, self.method.views, dtype)
            salient_views, effects = views, self._effects(batch, positions)
            if effects is not None:
                # Crop, rotation and blur are linear, so that this is a view of z - B'a.
                salient_views = views - cast(ViewsOfEffects, self.views).of_effects(
                    effects, members, self.method.views, dtype
                )
        attributes = {name: _rows(values, positions) for name, values in batch["attributes"].items()}
        target, groups = _rows(batch["target"], positions), {}
        if len(positions) == len(batch["target"]):
            groups = {"patients": batch["patients"], "controls": batch["controls"]}
        return Batch(views, target, attributes, members=members, salient_views=salient_views, **groups)

    def _effects(self, batch: dict[str, Any], positions: list[int]) -> Tensor | None:
        """Covariates' effects on the salient encoders' input, [B, C, *spatial]; None without adjustment."""
        if not isinstance(self.method, TwoEncoders) or not len(batch["covariates"]):
            return None
        return self.method.effects(_rows(batch["covariates"], positions))

    def _check_finite(self, batch: dict[str, Any], losses: dict[str, Tensor], step: int) -> None:
        """Ends a training whose loss is NaN or infinite: at once, or, on a GPU, some steps later.

        Reading the values at once would make each step wait for the GPU. Weights that have become NaN in the meantime
        are not saved.
        """
        finite = torch.stack([value.detach().isfinite() for value in losses.values()])
        arrived = None
        on_host = finite.to("cpu", non_blocking=True)
        if finite.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()
        self._pending.append(_Check(batch, step, list(losses), on_host, arrived))
        self._read_checks(wait=False)

    def _read_checks(self, wait: bool) -> None:
        # Several processes must end the training at the same step: otherwise one would wait for the other.
        wait = wait or self.group.size > 1
        while self._pending and (wait or self._pending[0].has_arrived()):
            check = self._pending.popleft()
            if check.arrived is not None:
                check.arrived.synchronize()
            terms = [name for name, finite in zip(check.names, check.finite.tolist(), strict=True) if not finite]
            if "loss" in terms:
                self._stop(check.batch, terms, check.step)

    def _stop(self, batch: dict[str, Any], terms: list[str], step: int) -> NoReturn:
        """Ends the training and writes a table of the batch's participants with the range of their views."""
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
        self.group.average([loss])  # bitwise equal in all processes, since early stopping compares it
        self.log("validation_loss", loss, on_epoch=True, batch_size=len(whole.target))

    def on_fit_start(self) -> None:
        self.views = self.views.to(self.device)

    def on_train_epoch_start(self) -> None:
        self._sums, self._started = {}, time.monotonic()
        self._pending.clear()

    def on_train_epoch_end(self) -> None:
        self._read_checks(wait=True)
        for schedule in _as_list(self.lr_schedulers()):
            schedule.step()
        steps = self.trainer.num_training_batches
        row = {"epoch": self.current_epoch + 1} | {name: float(value) / steps for name, value in self._sums.items()}
        if "validation_loss" in self.trainer.callback_metrics:
            row["validation_loss"] = float(self.trainer.callback_metrics["validation_loss"])
        finite = all(bool(torch.isfinite(weights).all()) for weights in self.method.state_dict().values())
        if not finite or not all(math.isfinite(value) for value in row.values()):
            raise InputError(
                f"training: a term, the validation loss or a weight is not finite in epoch {row['epoch']} of "
                f"{self.trainer.max_epochs}; lower training.learning_rate, or set training.gradient_clip"
            )
        row["seconds"] = round(time.monotonic() - self._started, 3)
        if self.after_epoch is not None:
            row |= self.after_epoch(self.current_epoch + 1)
            self.method.train()
        self.history.append(row)

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
    """torch.manual_seed for CPU and CUDA only: other kinds of devices take 2 ms even where there are none."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)


def _as_list(value: Any) -> list[Any]:
    """Lightning returns None, one optimiser or schedule, or a list of them."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _rows(values: Tensor, positions: list[int]) -> Tensor:
    """Some rows; all of them without indexing, which would make the program wait for a GPU."""
    return values if len(positions) == len(values) else values[positions]
