"""What it takes to start: `sepclr-neuro --help`, what stages import, and Snakemake until it knows what there is to do.

Then a run of all methods in which little is computed, on one core, its jobs sharing a process and apart.

python -m benchmarks.start [--quick]
"""

from __future__ import annotations

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
from tests.workflow.running import small_config, snakemake_command

STAGES = {
    "probe": "probing.probes",
    "embed": "learning.embedding",
    "saliency": "maps.saliency",
    "train": "learning.training",
    "report": "report",
}


def _processor_seconds(command: list[str], folder: Path | None = None) -> float:
    """Of all processes that a command starts, in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds_of_run(methods: list[str], shared: bool) -> float:
    """64 people at 32³, two folds, two epochs, everything until the report, on one core."""
    with tempfile.TemporaryDirectory() as folder:
        small_config(
            Path(folder),
            cohort={"source": "simulated", "simulation": {"participants": 64, "sites": 2}},
            training={"epochs": 2, "batch_size": 8},
            methods={key: {} for key in methods},
        )
        environment = {name: value for name, value in os.environ.items() if name != warm.ADDRESS}
        started = time.perf_counter()
        subprocess.run(
            snakemake_command(Path(folder), "--cores", "1"),
            env=environment if shared else environment | {warm.ADDRESS: ""},
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - started


def measure(rows: Rows, quick: bool) -> None:
    repetitions = 1 if quick else 5
    program = str(Path(sys.executable).parent / "sepclr-neuro")
    if not rows.has("help"):
        rows.add("help", best_of(lambda: subprocess.run([program, "--help"], capture_output=True), repetitions), "s")
    for stage, module in STAGES.items():
        if not rows.has(f"start_{stage}"):
            code = [sys.executable, "-c", f"import sepclr_neuro.{module}"]
            seconds = min(_processor_seconds(code) for _ in range(repetitions))
            rows.add(f"start_{stage}", seconds, "processor seconds")
    if not rows.has("start_snakemake"):
        root = Path(__file__).resolve().parents[1]
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--dry-run", "--quiet"]
        rows.add("start_snakemake", _processor_seconds(command, root), "processor seconds")
    methods = list(METHODS)[:2] if quick else list(METHODS)
    for name, shared in {"run_of_methods": True, "run_of_methods_apart": False}.items():
        if not rows.has(name):
            rows.add(name, _seconds_of_run(methods, shared), f"s, {len(methods)} methods, 64 people at 32³, one core")


if __name__ == "__main__":
    run(__doc__, measure)
