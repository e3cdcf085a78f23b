"""What a run will cost in time and disk, from a short measurement on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from sepclr_neuro.augmentation import augment
from sepclr_neuro.config import Config, Training
from sepclr_neuro.fitting import precision_of
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.models import build_method
from sepclr_neuro.splits import make_splits

__all__ = ["estimate", "steps_of_training"]

_PEOPLE = 4
_WEIGHTS_KEPT = 1 + 2 * 3
"""Copies of a model's weights on disk: the model, and two checkpoints with both moments of Adam."""


def estimate(config: Config, people: pd.DataFrame) -> list[str]:
    """Sentences on the time of training and mapping and on the disk, for ``sepclr-neuro check``.

    A step on four made-up people is measured for each method, on this machine as it is busy now, and multiplied.

    Args:
        people: the cohort: ``scan_id``, ``participant_id``, ``group`` and what splits ask for.
    """
    splits = make_splits(people, config.splits, config.seed)
    sides = splits.merge(people[["scan_id", "group"]], on="scan_id")
    shape = [1, *config.volumes.shape]
    lines, total = ["estimate, from a few steps on this machine as it is now:"], 0.0
    disk = 2.0 * len(people) * np.prod(shape)
    for name in config.methods:
        settings, _, _, training = config.for_method(name)
        if not settings.trained:
            continue
        step, mapping, weights = _measure(config, name, shape)
        steps = sum(
            steps_of_training(members["group"], training)
            for _, members in sides[sides["side"] == "train"].groupby("fold")
        )
        seconds = steps * step * training.batch_size / _PEOPLE
        held_out = sides[sides["side"] == "test"].groupby("fold").size()
        mapped = held_out.clip(upper=config.saliency.participants or len(people)).sum()
        maps = 0.0
        if "smoothgrad" in config.saliency.attributions:
            maps = mapped * config.saliency.samples * mapping
        lines.append(f"  {name}: training {_duration(seconds)}, maps {_duration(maps)}")
        total += seconds + maps
        disk += weights * _WEIGHTS_KEPT * config.splits.count
    cores = len(os.sched_getaffinity(0))
    lines.append(f"  together {_duration(total)} on {cores} cores, and what volumes, probes and the report take")
    lines.append(f"  disk {disk / 1e9:.2g} GB under {config.output}/, most of it volumes, models and checkpoints")
    return lines


def steps_of_training(groups: pd.Series, training: Training) -> int:
    """Steps of a whole training: an epoch passes once over the larger group."""
    trained = groups.value_counts() * (1 - training.validation_fraction)
    return int(trained.max() // (training.batch_size // 2)) * training.epochs


def _measure(config: Config, name: str, shape: list[int]) -> tuple[float, float, int]:
    """Seconds of a step on four people, and of a forward and backward pass of one volume; bytes of the weights."""
    method: Any = build_method(config, name, shape)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device, memory_format=torch.channels_last_3d)
    optimizer = torch.optim.Adam(method.parameters(), fused=True)
    settings, _, augmentation, training = config.for_method(name)
    volumes, target = torch.randn(_PEOPLE, *shape, device=device), (torch.arange(_PEOPLE) % 2 == 1).to(device)
    attributes = {column: torch.rand(_PEOPLE, device=device) for column in settings.columns()}

    def step() -> None:
        views = tuple(augment(volumes, augmentation, seed) for seed in range(method.views))
        batch = Batch(views, target, attributes)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision_of(training) == "bf16-mixed"):
            encoded = method.encode(batch)
        method.losses(encoded, batch)["loss"].backward()
        optimizer.step()

    def forward_backward() -> None:
        x = volumes[:1].clone().requires_grad_()
        sum(space.sum() for space in method.represent(x).values()).backward()

    weights = sum(weight.numel() * weight.element_size() for weight in method.parameters())
    return _seconds(step), _seconds(forward_backward), weights


def _seconds(function: Callable[[], None]) -> float:
    """Of the faster of two calls, after one that starts things up."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def _duration(seconds: float) -> str:
    """Two digits at most: more would promise too much.

    >>> _duration(44), _duration(400), _duration(9000)
    ('about 44 s', 'about 7 min', 'about 2.5 h')
    """
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
