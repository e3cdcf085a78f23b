"""What a training step and the probes spend their time on.

python -m benchmarks.profiles
"""

from __future__ import annotations

import cProfile
import os
import pstats
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.probes import DEMO, random_representations
from benchmarks.steps import Step
from sepclr_neuro import devices
from sepclr_neuro.config import load_config
from sepclr_neuro.layout import Results
from sepclr_neuro.probes import write_probes

STEPS, WARM_UP, MOST = 5, 8, 12


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


def _of_probes() -> None:
    """Prints the functions of one method's probes, fitted one after the other, by the time in them alone."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(DEMO).model_copy(update={"output": Path(folder), "methods": {"cvae": {}}})
        random_representations(config)
        profiler = cProfile.Profile()
        # In this process, since what others do is not seen by the profiler.
        with patch.dict(os.environ, OMP_NUM_THREADS="1"):
            profiler.runcall(write_probes, config, Results(config.output))
    found = pstats.Stats(profiler)
    times = {name: entry[2] for name, entry in found.stats.items()}  # type: ignore[attr-defined]
    whole = sum(times.values())
    print(f"| function | of {whole:.1f} s |\n|---|---:|")
    for file, _, function in sorted(times, key=lambda name: -times[name])[:MOST]:
        where = "" if file == "~" else f"{Path(file).stem}: "
        print(f"| `{where}{function}` | {100 * times[file, _, function] / whole:.0f} % |")


if __name__ == "__main__":
    devices.keep_freed_memory()
    torch.set_num_threads(2)
    _of_steps()
    _of_probes()
