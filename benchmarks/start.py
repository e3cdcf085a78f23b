"""What it takes to start: `sepclr-neuro --help`, what stages import, and Snakemake until it knows what there is to do.

python -m benchmarks.start [--quick]
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import best_of
from benchmarks.rows import Rows, run

STAGES = {"probe": "probes", "embed": "embedding", "saliency": "saliency", "train": "training", "report": "report"}


def _processor_seconds(command: list[str], folder: Path | None = None) -> float:
    """Of all processes that a command starts, in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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


if __name__ == "__main__":
    run(__doc__, measure)
