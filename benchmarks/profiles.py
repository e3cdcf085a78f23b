"""Profiles of a training step, its views and the probes.

python -m benchmarks.profiles
"""

from __future__ import annotations

import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.probes import DEMO, random_representations
from benchmarks.steps import Step
from sepclr_neuro.config.model import load_config
from sepclr_neuro.core import devices
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.threads import free_cores
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning import augmentation
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.verdicts import write_verdicts

STEPS, WARM_UP, VIEWED, MOST = 5, 8, 30, 12
VIEWS = {"rotate": "rotations", "_along_axes": "products: crop, shift, flip, blur", "_noise": "noise"}
"""The dearest functions that make views."""


def _of_steps() -> None:
    """Prints the operations of steps at 128³, batch 8, by the time in them alone."""
    step = Step(side=128, batch_size=8)
    for _ in range(WARM_UP):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            step()
    operations = sorted(found.key_averages(), key=lambda operation: -operation.self_cpu_time_total)
    whole = sum(operation.self_cpu_time_total for operation in operations)
    print(f"| operation | of {whole / STEPS / 1e6:.2f} s a step |\n|---|---:|")
    for operation in operations[:MOST]:
        print(f"| `{operation.key}` | {100 * operation.self_cpu_time_total / whole:.0f} % |")


def _of_views() -> None:
    """Prints the mean time of each part of the views of a step at 128³, batch 8, and of the step without views."""
    step, seconds = Step(side=128, batch_size=8), dict.fromkeys(("bare", "views", "standardisation", *VIEWS), 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = function(*given, **named)
            seconds[name] += time.perf_counter() - started
            return result

        return call

    standardise = timed("standardisation", Standardisation.apply)
    parts = {name: timed(name, getattr(augmentation, name)) for name in VIEWS}
    with patch.object(Standardisation, "apply", standardise), patch.multiple(augmentation, **parts):
        make_views, descend = timed("views", step.views), timed("bare", step.descend)
        for number in range(WARM_UP + VIEWED):
            if number == WARM_UP:
                seconds.update(dict.fromkeys(seconds, 0.0))
            descend(make_views())
    rest = seconds["views"] - sum(seconds[name] for name in ("standardisation", *VIEWS))
    print("| part of a step | s |\n|---|---:|")
    for name, of_part in (*seconds.items(), ("the rest of the views", rest)):
        print(f"| {VIEWS.get(name, name)} | {of_part / VIEWED:.3f} |")


def _of_probes() -> None:
    """Prints the functions of one method's probes, fitted one after the other, by the time in them alone."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(DEMO).model_copy(update={"output": Path(folder), "methods": {"cvae": {}}})
        random_representations(config)
        profiler = cProfile.Profile()
        # In this process: the profiler does not see others.
        with patch.dict(os.environ, OMP_NUM_THREADS="1"):
            for stage in (write_probes, write_verdicts):
                profiler.runcall(stage, config, Results(config.output))
    found = pstats.Stats(profiler)
    times = {name: entry[2] for name, entry in found.stats.items()}  # type: ignore[attr-defined]
    whole = sum(times.values())
    print(f"| function | of {whole:.1f} s |\n|---|---:|")
    for file, _, function in sorted(times, key=lambda name: -times[name])[:MOST]:
        where = "" if file == "~" else f"{Path(file).stem}: "
        print(f"| `{where}{function}` | {100 * times[file, _, function] / whole:.0f} % |")


if __name__ == "__main__":
    devices.keep_freed_memory()
    torch.set_num_threads(free_cores())
    _of_steps()
    _of_views()
    _of_probes()
