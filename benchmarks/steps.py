"""A training step on random scans, in its parts: views, then forward and backward pass with a step of Adam; and the
training loop of a run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.training import Training
from sepclr_neuro.data.sampling import Members
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.batches import Scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.training import VolumeViews
from sepclr_neuro.methods.base import Batch, GradientMethod

__all__ = ["Step", "loop", "made_up_scans", "made_up_standardisation"]


def made_up_scans(people: int, side: int) -> Tensor:
    """Noise in the form in which the cache holds volumes: float16 [N, 1, X, Y, Z]."""
    rng = torch.Generator().manual_seed(0)
    return torch.rand(people, 1, *[side] * 3, generator=rng).half()


def made_up_standardisation(side: int) -> Standardisation:
    """Standardisation of voxels with mean 0.5 and SD 0.3, all in the mask."""
    shape = [side] * 3
    return Standardisation(torch.full(shape, 0.5), torch.full(shape, 0.3), torch.ones(shape, dtype=torch.bool), ())


class Step:
    """A method with its optimiser and a batch, half patients.

    Args:
        method: name in the registry.
        network: name of the encoder.
        bfloat16: whether the network computes in bfloat16, as `precision: auto` does where the processor can.
    """

    def __init__(
        self,
        method: str = "sepclr-k-jem",
        *,
        side: int = 128,
        batch_size: int = 8,
        network: str = "light",
        bfloat16: bool = True,
        device: str = "cpu",
        augmentation: Augmentation | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.device, self.bfloat16 = torch.device(device), bfloat16
        entry = METHODS[method]
        built = entry.load()(entry.settings(), Network(name=network), (1, *[side] * 3))  # type: ignore[arg-type]
        assert isinstance(built, GradientMethod)
        self.method = built.to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.method.parameters(), fused=True)
        scans = made_up_scans(batch_size, side)
        self.scans = scans.pin_memory() if device == "cuda" else scans
        self.target = (torch.arange(batch_size) % 2 == 1).to(self.device)
        self.members = [members.nonzero()[:, 0] for members in (self.target, ~self.target)]
        self.make_views = VolumeViews(made_up_standardisation(side), augmentation or Augmentation()).to(self.device)
        self._seed = 0

    def views(self) -> Batch:
        """The views of the batch's scans, including a copy of the scans to the device."""
        self._seed += 1
        scans = self.scans.clone() if self.device.type == "cpu" else self.scans.to(self.device, non_blocking=True)
        members = Members.all_of(len(scans), self._seed)
        dtype = torch.bfloat16 if self.bfloat16 else torch.float32
        views = self.make_views(scans, members, self.method.views, dtype)
        return Batch(views, self.target, {}, *self.members)

    def descend(self, batch: Batch) -> Any:
        """Forward and backward pass and a step of Adam; returns the encoded batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            encoded = self.method.encode(batch)
        loss = self.method.losses(encoded, batch)["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return encoded

    def __call__(self) -> None:
        self.descend(self.views())


def loop(side: int, people: int, batch_size: int) -> tuple[float, str]:
    """Seconds per step of SepCLR in the training loop, scans in memory, after two warm-up epochs; and peak memory."""
    scans, entry = made_up_scans(people, side), METHODS["sepclr-k-jem"]
    ids = [f"sub-{number}" for number in range(people)]
    data = Scans(lambda rows: scans[rows], list(range(people)), ids, [n % 2 == 1 for n in range(people)], {})
    method = entry.load()(entry.settings(), Network(), (1, *[side] * 3))
    training = Training(epochs=6, batch_size=batch_size, precision="bfloat16")
    views = VolumeViews(made_up_standardisation(side), Augmentation())
    with tempfile.TemporaryDirectory() as folder:
        history, how = fit(
            method,
            data,
            views,
            training,
            seeds=(0, 0),
            folder=Path(folder) / "checkpoints",
            identity="benchmark",
            title="loop",
        )
    counted = history[2:]
    return sum(row["seconds"] for row in counted) / (len(counted) * (people // batch_size)), how["peak_memory"]
