"""Start-up times: `sepclr-neuro --help`, stages, Snakemake until its list of jobs; the demo; a run of all methods.

A stage that starts by itself spends this time on imports; for one that starts from the shared process, it is the time
until its first line. The run of all methods computes little, on one core, with and without the shared process.

python -m benchmarks.start [--quick]
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import best_of
from benchmarks.rows import Rows, run
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.run import warm
from tests.workflow.running import shared_process, small_config, snakemake_command

STAGES = (
    "cohort",
    "volumes",
    "splits",
    "standardise",
    "train",
    "embed",
    "probe",
    "tables",
    "leakage",
    "vbm",
    "patterns",
    "saliency",
    "report",
)
_PR_SET_CHILD_SUBREAPER = 36  # of Linux's prctl.h


def _processor_seconds(command: list[str], folder: Path | None = None, **environment: str) -> float:
    """CPU seconds of a command with all processes that it starts, including those that outlive it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = {name: value for name, value in os.environ.items() if name != warm.ADDRESS}
    subprocess.run(command, cwd=folder, env=kept | environment, check=True, capture_output=True)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds_to_first_line(stage: str, repetitions: int) -> float:
    """Seconds until a stage in the shared process, which has imported everything, reports an absent configuration."""
    program = str(Path(sys.executable).parent / "sepclr-neuro")
    options = {"standardise": ["--fold", "0"], "train": ["--method", "pca", "--fold", "0"]}
    options |= {stage: ["--method", "pca"] for stage in ("embed", "saliency")}
    command = [program, stage, "absent.yaml", *options.get(stage, [])]
    return best_of(lambda: subprocess.run(command, capture_output=True), repetitions)


def _run(methods: list[str], shared: bool) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a whole run on one core: 64 participants at 32³, two folds, two epochs."""
    with tempfile.TemporaryDirectory() as folder:
        small_config(
            Path(folder),
            cohort={"source": "simulated", "simulation": {"participants": 64, "sites": 2}},
            training={"epochs": 2, "batch_size": 8},
            methods={key: {} for key in methods},
        )
        started = time.perf_counter()
        apart = {} if shared else {warm.ADDRESS: ""}
        processor = _processor_seconds(snakemake_command(Path(folder), "--cores", "1"), **apart)
        return time.perf_counter() - started, processor


def _demo() -> tuple[float, int]:
    """CPU seconds of the demo on all cores, and its number of jobs."""
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        demo = snakemake_command(Path(folder), "--cores", "all", "--configfile", str(root / "config.yaml"))
        seconds = _processor_seconds(demo)
        return seconds, len(list(Path(folder).glob("results/receipts/**/*.json")))


def measure(rows: Rows, quick: bool) -> None:
    repetitions = 1 if quick else 5
    program = str(Path(sys.executable).parent / "sepclr-neuro")
    if not rows.has("help"):
        rows.add("help", best_of(lambda: subprocess.run([program, "--help"], capture_output=True), repetitions), "s")
    for stage in STAGES:
        if not rows.has(f"start_{stage}"):
            code = [sys.executable, "-c", f"import {warm.MODULES[stage][0]}"]
            seconds = min(_processor_seconds(code) for _ in range(repetitions))
            rows.add(f"start_{stage}", seconds, "processor seconds")
    if not rows.has(*(f"start_shared_{stage}" for stage in STAGES)):
        with shared_process():
            for stage in STAGES:
                rows.add(f"start_shared_{stage}", _seconds_to_first_line(stage, repetitions), "s")
    if not rows.has("start_snakemake"):
        root = Path(__file__).resolve().parents[1]
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--dry-run", "--quiet"]
        rows.add("start_snakemake", _processor_seconds(command, root), "processor seconds")
    if not rows.has("start_all_stages"):
        code = [sys.executable, "-c", "import " + ", ".join(warm.MODULES[stage][0] for stage in STAGES)]
        rows.add("start_all_stages", _processor_seconds(code), "processor seconds, once a run on one machine")
    if not quick and not rows.has("demo_processor"):
        seconds, jobs = _demo()
        rows.add("demo_processor", seconds, f"processor seconds, {jobs} jobs")
    methods = list(METHODS)[:2] if quick else list(METHODS)
    what = f"{len(methods)} methods, 64 participants at 32³, one core"
    for name, shared in {"run_of_methods": True, "run_of_methods_apart": False}.items():
        if not rows.has(name):
            seconds, processor = _run(methods, shared)
            rows.add(name, seconds, f"s, {what}")
            rows.add(f"{name}_processor", processor, f"processor seconds, {what}")


if __name__ == "__main__":
    run(__doc__, measure)
