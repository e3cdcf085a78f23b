"""Seconds of `sepclr-neuro status` on a run of 24 methods, 5 folds and 5 seeds, half of it done.

Each seed of a method is a method of its own, as in a configuration: 120 of them, with their trainings, representations,
patterns and maps, 960 jobs in all. The files are made for the benchmark, in a folder that is removed.

python -m benchmarks.status [--quick]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from itertools import product
from pathlib import Path

from benchmarks.measuring import best_of
from benchmarks.rows import Rows, run
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run.plan import Job, Plan

METHODS, FOLDS, SEEDS = 24, 5, 5


def _job(stage: str, parts: tuple[str, ...], method: str, after: tuple[int, ...] = ()) -> Job:
    name = "/".join((stage, *parts))
    outputs = tuple(f"{name}.{end}" for end in ("safetensors", "json", "tsv"))
    files = (f"logs/{name}.log", f"benchmarks/{name}.tsv", outputs)
    return Job(stage, parts, f"{stage} {method}", *files, after=after, reason="Missing output files")


def make(folder: Path) -> int:
    """Writes a results folder whose jobs of every second method are done, and returns how many there are."""
    jobs: list[Job] = []
    for method in (f"method-{number}-seed-{seed}" for number, seed in product(range(METHODS), range(SEEDS))):
        trainings = tuple(range(len(jobs), len(jobs) + FOLDS))
        jobs += [_job("train", (method, f"fold-{fold}"), method) for fold in range(FOLDS)]
        jobs += [_job(stage, (method,), method, trainings) for stage in ("embed", "patterns", "saliency")]
    results = Results(folder)
    results.plan.parent.mkdir(parents=True)
    results.plan.write_text(json.dumps(asdict(Plan("gone.yaml", jobs))))
    for job in jobs[: len(jobs) // 2]:
        for path in (folder / name for name in (job.log, job.benchmark, *job.outputs)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("s\th:m:s\n60\t0:01:00\n")
    return len(jobs)


def measure(rows: Rows, quick: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        jobs = make(Path(folder) / "results")
        command = [str(Path(sys.executable).parent / "sepclr-neuro"), "status", f"{folder}/results"]
        seconds = best_of(lambda: subprocess.run(command, capture_output=True, check=True), 1 if quick else 5)
        rows.add("status", seconds, f"s, {jobs} jobs")


if __name__ == "__main__":
    run(__doc__, measure)
