"""Training steps at 128³ on a GPU: precisions, share of the views, synchronisations, the whole loop, peak memory.

python -m benchmarks.gpu [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import mean_of, mean_of_each
from benchmarks.rows import Rows
from benchmarks.steps import Step, loop
from sepclr_neuro.core import devices

PRECISIONS = ("float32", "tf32", "bfloat16")
SECONDS_TO_COMPILE = 90


def _build(precision: str, **given: object) -> Step:
    """A step in one precision; float32 is exact, tf32 is float32 with TensorFloat-32 products."""
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    return Step(bfloat16=precision == "bfloat16", device="cuda", **given)  # type: ignore[arg-type]


def _waited_for(work: Callable[[], object]) -> Callable[[], object]:
    """The call, followed by a wait until the GPU has finished."""

    def done() -> None:
        work()
        torch.cuda.synchronize()

    return done


def _release() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def measure_steps(rows: Rows, side: int, network: str, precision: str, batch_size: int, repetitions: int) -> None:
    """Seconds of a step and of its views alone, volumes per second, peak memory."""
    name = f"gpu_{network}_{precision}_batch_{batch_size}"
    _release()
    try:
        step = _build(precision, side=side, batch_size=batch_size, network=network)
        step()
        memory = torch.cuda.max_memory_allocated()  # nothing else is allocated
        parts = {"whole": step, "views": step.views, "bare": partial(step.descend, step.views())}
        seconds = mean_of_each({name: _waited_for(part) for name, part in parts.items()}, repetitions, warm_up=3)
    except torch.OutOfMemoryError:
        rows.add(f"{name}_step", float("nan"), "s", "out of memory")
        return
    rows.add(f"{name}_step", seconds["whole"], "s")
    rows.add(f"{name}_views", seconds["views"], "s")
    rows.add(f"{name}_views_share", seconds["views"] / seconds["whole"], "ratio")
    rows.add(f"{name}_step_to_bare", seconds["whole"] / seconds["bare"], "ratio")
    rows.add(f"{name}_volumes", batch_size / seconds["whole"], "volumes/s")
    rows.add(f"{name}_peak_memory", memory / 2**30, "GiB")


def count_synchronisations(rows: Rows, side: int, method: str) -> None:
    """How often the CPU waits for the GPU in a step, and where."""
    step = Step(method, side=side, device="cuda")

    def take() -> None:
        batch = step.views()
        step.method.estimator_loss(step.descend(batch), batch)

    take()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        take()
        torch.cuda.set_sync_debug_mode("default")
    # torch's first such warning is about the mode itself, a prototype.
    waits = [
        warning
        for warning in caught
        if "synchroniz" in str(warning.message) and "prototype" not in str(warning.message)
    ]
    places = Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in waits)
    where = ", ".join(f"{place} x {count}" for place, count in places.items())
    rows.add(f"gpu_synchronisations_{method}", len(waits), "per step", where)


def measure_loop(rows: Rows, side: int, people: int, batch_size: int) -> None:
    """The training loop, including copies to the GPU."""
    _release()
    seconds, memory = loop(side, people, batch_size)
    rows.add(f"gpu_loop_step_batch_{batch_size}", seconds, "s")
    rows.add(f"gpu_loop_volumes_batch_{batch_size}", batch_size / seconds, "volumes/s", memory)


def measure_compiled(rows: Rows, side: int, repetitions: int) -> None:
    """A step with encoders compiled by torch.compile, in its own process, since this may need a compiler, and time."""
    step = _build("bfloat16", side=side)
    plain = mean_of(_waited_for(step), repetitions, warm_up=3)
    for part in ("common_encoder", "salient_encoder"):
        getattr(step.method, part).compile()
    compiled = mean_of(_waited_for(step), repetitions, warm_up=3)
    rows.add("gpu_light_bfloat16_batch_8_compiled_step", compiled, "s")
    rows.add("gpu_compiled_to_plain", compiled / plain, "ratio")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64³, few repetitions")
    parser.add_argument("--compiled", action="store_true", help="the compiled step alone")
    parser.add_argument("--output", type=Path, help="table to keep the rows in")
    arguments = parser.parse_args()
    devices.keep_freed_memory()
    if not torch.cuda.is_available():
        sys.exit("no GPU here: nothing was measured")
    side, repetitions = (64, 5) if arguments.quick else (128, 10)
    rows = Rows(arguments.output)
    if arguments.compiled:
        measure_compiled(rows, side, repetitions)
        return
    print(f"# {torch.cuda.get_device_name()}, torch {torch.__version__}, {side}³", flush=True)
    for batch_size in (8, 16):
        for precision in PRECISIONS:
            measure_steps(rows, side, "light", precision, batch_size, repetitions)
    for method in ("sepclr-k-jem", "cvae", "convae", "mm-cvae", "sepvae", "sepclr-mmd", "sepclr-tc", "simclr"):
        count_synchronisations(rows, side, method)
    for batch_size in (8, 16):
        measure_loop(rows, side, 128, batch_size)
    for precision, batch_size in (("tf32", 8), ("bfloat16", 8), ("bfloat16", 16)):
        measure_steps(rows, side, "resnet18", precision, batch_size, min(repetitions, 5))
    _release()
    again = [sys.executable, "-m", "benchmarks.gpu", "--compiled", *(arg for arg in sys.argv[1:])]
    try:
        subprocess.run(again, check=True, timeout=SECONDS_TO_COMPILE)
    except (subprocess.SubprocessError, OSError) as error:
        rows.add("gpu_compiled_to_plain", float("nan"), "ratio", f"not measured: {type(error).__name__}")


if __name__ == "__main__":
    main()
