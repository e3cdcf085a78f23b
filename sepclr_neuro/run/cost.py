"""Estimate of a run's time and disk: of networks from a short measurement on this machine."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.words import duration
from sepclr_neuro.data.sampling import parts, planned_batches, seed_of
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.batches import Scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.models import build_method
from sepclr_neuro.learning.training import VolumeViews
from sepclr_neuro.maps.fold_maps import mapped_people
from sepclr_neuro.probing.questions import probed_participants
from sepclr_neuro.run.resources import Needs

__all__ = ["estimate"]

_PEOPLE, _STEPS = 4, 3
"""In a measured batch, and in an epoch of them."""


@dataclass(frozen=True)
class _Cost:
    """Seconds of a step on ``_PEOPLE`` participants, of a volume forward and, a score, backward; bytes of a fold."""

    step: float
    forward: float
    backward: float
    spaces: int
    disk: int


def estimate(config: Config, sides: pd.DataFrame) -> list[str]:
    """Sentences on the time of training and mapping and on the disk, for ``sepclr-neuro check``.

    Each network trains a few steps on made-up participants, by the run's own loop, and is multiplied. Methods without
    epochs are looked up in :class:`Needs`, as for a cluster's requests: most machines need less.

    Args:
        sides: of each fold: ``fold side scan_id participant_id group``.
    """
    unknown = [name for name in config.saliency.attributions if not ATTRIBUTIONS[name].passes]
    without = f" without {', '.join(unknown)}" if unknown else ""
    lines, total = ["estimate, of networks from a few steps on this machine at its present load:"], 0.0
    needs = Needs(config, Results(config.output), scans=sides["scan_id"].nunique())
    disk = 2.0 * sides["scan_id"].nunique() * np.prod(config.volumes.shape)  # voxels are kept in 16 bits
    for name in config.methods:
        configured = config.for_method(name)
        training = configured.training
        if not configured.settings.trained:
            trained, mapped = config.splits.count * needs.seconds("solve", name), needs.seconds("saliency", name)
            lines.append(f"  {name}: training {duration(trained)}, maps {duration(mapped)}{without}, at most")
            total += trained + mapped
            continue
        planned: list[tuple[int, int]] = []
        for fold in range(config.splits.count):
            members = sides[(sides["fold"] == fold) & (sides["side"] == "train")]
            seed = seed_of(config.seed, fold)
            with contextlib.suppress(InputError):  # `check` has reported it as an error
                planned.append(planned_batches(members, training.batch_size, training.validation_fraction, seed))
        if len(planned) < config.splits.count:
            lines.append(f"  {name}: cannot be trained as things stand, not estimated")
            continue
        of_folds = (parts(size, training.people_in_memory or size, 0, training.processes) for size, _ in planned)
        cost = _measure(config, name, in_parts=any(len(of_fold) > 1 for of_fold in of_folds))
        seen = sum(size * steps * training.epochs for size, steps in planned)
        trained = seen * cost.step / _PEOPLE / (training.processes if torch.cuda.is_available() else training.nodes)
        mapped = _map_seconds(config, sides, cost)
        lines.append(f"  {name}: training {duration(trained)}, maps {duration(mapped)}{without}")
        total += trained + mapped
        disk += cost.disk * config.splits.count
    lines.append(f"  together {duration(total)}, one after the other; all other stages come on top")
    lines.append(f"  disk {disk / 1e9:.2g} GB for volumes, models and checkpoints under {config.output}/")
    return lines


_COVARIATES = 7
"""Age twice, sex, head size and four sites: what does not take long to learn, but to take out of each view."""


def _map_seconds(config: Config, sides: pd.DataFrame, cost: _Cost) -> float:
    """Of attributions that go forward once a volume and backward once a score."""
    saliency = config.saliency
    settings = [ATTRIBUTIONS[name].passes for name in saliency.attributions]
    copies = sum(getattr(saliency, setting) for setting in settings if setting)
    seconds = 0.0
    for fold in range(config.splits.count):
        members = sides[(sides["fold"] == fold) & (sides["side"] == "test")]
        people = mapped_people(members, saliency.participants, seed_of(config.seed, fold))
        targets = {target: config.probes.targets[target] for target in saliency.targets}
        scores = sum(len(probed_participants(people, name, target)) for name, target in targets.items())
        seconds += copies * (len(people) * cost.forward + scores * cost.spaces * cost.backward)
    return seconds


def _measure(config: Config, name: str, in_parts: bool) -> _Cost:
    """Of a method that sees a batch at once, or in parts, of which all but the last pass twice: here one of two."""
    configured = config.for_method(name)
    shape = config.volumes.shape
    method = build_method(config, name, [1, *shape])
    count = _PEOPLE * _STEPS
    people = Scans(
        lambda rows, planes=slice(None): torch.rand(len(rows), 1, *shape)[:, :, planes],
        list(range(count)),
        [str(number) for number in range(count)],
        [number % 2 == 1 for number in range(count)],
        {column: [number / count for number in range(count)] for column in configured.settings.columns()},
        torch.randn(count, _COVARIATES) if configured.adjusted else torch.empty(0, 0),
    )
    plain = Standardisation(torch.zeros(shape), torch.ones(shape), torch.ones(shape, dtype=torch.bool), ())
    short = configured.training.model_copy(
        update={
            "epochs": 2,
            "batch_size": _PEOPLE,
            "people_in_memory": _PEOPLE // 2 if in_parts else None,
            "devices": 1,
            "nodes": 1,
            "validation_fraction": 0.0,
            "patience": None,
        }
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        views = VolumeViews(plain, configured.augmentation)
        history, _ = fit(
            method, people, views, short, seeds=(0, 0), folder=Path(folder) / "fold", identity="", title=""
        )
        disk = sum(path.stat().st_size for path in (Path(folder) / "fold").glob("epoch-*.ckpt"))
    disk += sum(weight.numel() * weight.element_size() for weight in method.state_dict().values())
    method.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")
    volume = torch.rand(1, 1, *shape, device=next(method.parameters()).device)

    def forward() -> torch.Tensor:
        return next(iter(method.represent(volume.requires_grad_()).values())).float().sum()

    forwards = _seconds(forward)
    both = _seconds(lambda: forward().backward())
    return _Cost(history[-1]["seconds"] / _STEPS, forwards, max(0.0, both - forwards), len(method.spaces), disk)


def _seconds(work: Callable[[], object]) -> float:
    """Of the faster of two calls, after one that starts things up."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
