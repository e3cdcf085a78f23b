"""Training steps at 128³ on a GPU: precisions, the views' share, synchronisations, the whole loop, peak memory.

python -m benchmarks.gpu [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import best_of
from benchmarks.rows import Rows
from benchmarks.steps import Step, made_up_scans, made_up_standardisation
from sepclr_neuro import devices
from sepclr_neuro.config import Augmentation, Network, Training
from sepclr_neuro.fitting import Scans, fit
from sepclr_neuro.registry import METHODS
from sepclr_neuro.training import VolumeViews

PRECISIONS = ("float32", "tf32", "bfloat16")
SECONDS_TO_COMPILE = 90


def _build(precision: str, **given: object) -> Step:
    """A step in a precision; float32 is exact, tf32 is float32 with TensorFloat-32 products."""
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    return Step(bfloat16=precision == "bfloat16", device="cuda", **given)  # type: ignore[arg-type]


def _release() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def measure_steps(rows: Rows, side: int, network: str, precision: str, batch_size: int, repetitions: int) -> None:
    """Seconds of a step, of its views alone, volumes a second, the most memory held."""
    name = f"gpu_{network}_{precision}_batch_{batch_size}"
    _release()
    try:
        step = _build(precision, side=side, batch_size=batch_size, network=network)
        whole = best_of(step, repetitions, 3, torch.cuda.synchronize)
        views = best_of(step.views, repetitions, 1, torch.cuda.synchronize)
        batch = step.views()
        bare = best_of(partial(step.descend, batch), repetitions, 1, torch.cuda.synchronize)
    except torch.OutOfMemoryError:
        rows.add(f"{name}_step", float("nan"), "s", "out of memory")
        return
    rows.add(f"{name}_step", whole, "s")
    rows.add(f"{name}_views", views, "s")
    rows.add(f"{name}_views_share", views / whole, "ratio")
    rows.add(f"{name}_step_to_bare", whole / bare, "ratio")
    rows.add(f"{name}_volumes", batch_size / whole, "volumes/s")
    rows.add(f"{name}_peak_memory", torch.cuda.max_memory_allocated() / 2**30, "GiB")


def count_synchronisations(rows: Rows, side: int, method: str) -> None:
    """How often the processor waits for the GPU in a step, and where."""
    step = Step(method, side=side, device="cuda")

    def take() -> None:
        batch = step.views()
        step.method.estimator_loss(step.descend(batch), batch)

    take()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        take()
        torch.cuda.set_sync_debug_mode("default")
    # torch's first such warning is of the mode itself, which it calls a prototype.
    waits = [told for told in said if "synchroniz" in str(told.message) and "prototype" not in str(told.message)]
    places = Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in waits)
    where = ", ".join(f"{place} x {count}" for place, count in places.items())
    rows.add(f"gpu_synchronisations_{method}", len(waits), "a step", where)


def measure_loop(rows: Rows, side: int, people: int, batch_size: int) -> None:
    """The project's own loop, reading and copying included: seconds a step of the last of some epochs."""
    _release()
    scans, entry = made_up_scans(people, side), METHODS["sepclr-k-jem"]
    ids = [f"sub-{number}" for number in range(people)]
    data = Scans(lambda rows: scans[rows], list(range(people)), ids, [n % 2 == 1 for n in range(people)], {})
    method = entry.load()(entry.settings(), Network(), (1, *[side] * 3))
    training = Training(epochs=4, batch_size=batch_size, precision="bfloat16")
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
    steps = people // batch_size
    seconds = min(row["seconds"] for row in history[1:])
    rows.add(f"gpu_loop_step_batch_{batch_size}", seconds / steps, "s")
    rows.add(f"gpu_loop_volumes_batch_{batch_size}", people / seconds, "volumes/s", how["peak_memory"])


def measure_compiled(rows: Rows, side: int, repetitions: int) -> None:
    """A step whose encoders torch.compile has compiled. In a process of its own: it may need a compiler, and time."""
    step = _build("bfloat16", side=side)
    plain = best_of(step, repetitions, 3, torch.cuda.synchronize)
    for part in ("common_encoder", "salient_encoder"):
        getattr(step.method, part).compile()
    compiled = best_of(step, repetitions, 3, torch.cuda.synchronize)
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
