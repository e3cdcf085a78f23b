"""A step of training by gradients, in parts that fit into memory, and what is watched meanwhile."""

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


class _Seen(NamedTuple):
    """Which loss terms of a step are finite, as soon as the device that computed them has told."""

    batch: dict[str, Any]
    step: int
    names: list[str]
    finite: Tensor
    arrived: torch.cuda.Event | None

    def is_here(self) -> bool:
        return self.arrived is None or self.arrived.query()


class Loop(lightning.LightningModule):
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
            salient_views, effects = views, self._effects(batch, positions)
            if effects is not None:
                # Crop, rotation and blur act alike on a sum and on its parts, so that this is a view of z - B'a.
                salient_views = views - cast(ViewsOfEffects, self.views).moved(
                    effects, members, self.method.views, dtype
                )
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
