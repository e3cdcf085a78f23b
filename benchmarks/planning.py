"""Seconds until a run of 24 methods, 5 folds and 5 repeats is planned, and how many jobs a scheduler gets of it.

python -m benchmarks.planning

Processor seconds of the whole command `sepclr-neuro run CONFIG -n`, from the start of Python to the list of jobs: on
one machine, and with the profiles for SLURM and PBS.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.rows import Rows, run
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.run.launch import workflow_folder

FOLDS, REPEATS = 5, 5
BESIDE_SNAKEMAKE = ("all", "cohort", "splits", "total")


def _planned(folder: Path, profile: str) -> tuple[float, dict[str, int]]:
    """Processor seconds of planning, and the jobs by their rules."""
    call = "import sys; sys.argv[0] = 'sepclr-neuro'; from sepclr_neuro.run.cli import main; main()"
    options = ["-n", "--quiet", "rules", "--workflow-profile", profile]
    command = [sys.executable, "-c", call, "run", "config.yaml", *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, jobs


def _sent(jobs: dict[str, int], profile: str) -> int:
    """How many jobs the scheduler gets, where several short ones are one."""
    path = workflow_folder() / "workflow" / "profiles" / profile / "profile.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    together = {rule: content["group-components"][group] for rule, group in content["groups"].items()}
    return sum(-(-count // together.get(rule, 1)) for rule, count in jobs.items() if rule not in BESIDE_SNAKEMAKE)


def measure(rows: Rows, quick: bool) -> None:
    methods = list(METHODS)[: 4 if quick else 24]
    content = {
        "cohort": {"source": "simulated", "simulation": {"participants": 240}},
        "splits": {"folds": FOLDS, "repeats": REPEATS},
        "methods": {name: {} for name in methods},
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        for profile in ("local", "slurm", "pbs"):
            seconds, jobs = _planned(Path(folder), profile)
            rows.add(f"planning_{profile}", seconds, f"processor seconds, {jobs['total']} jobs, {len(methods)} methods")
            if profile != "local":
                rows.add(f"planning_{profile}_sent", _sent(jobs, profile), "jobs of the scheduler")


if __name__ == "__main__":
    run(__doc__, measure)
