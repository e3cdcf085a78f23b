"""How tests run Snakemake on the SLURM of `conftest.py`, and ask it for its jobs."""

from __future__ import annotations

import subprocess

from tests.workflow.running import REPOSITORY, RULES

__all__ = ["ON_ONE_NODE", "SOON", "said_by", "trainings"]

# Most jobs here end before the second look, 10 s after a first one at 5 s; a node may have a single core.
SOON = [
    "--slurm-init-seconds-before-status-checks",
    "5",
    "--seconds-between-status-checks",
    "1",
    "--max-threads",
    "1",
]
# What a user changes for a cluster of one small node without accounting. Time is asked for by the rules themselves.
ON_ONE_NODE = [
    "--workflow-profile",
    str(REPOSITORY / "workflow" / "profiles" / "slurm"),
    "--slurm-status-command",
    "squeue",
    *SOON,
    "--set-resources",
    *(f"{rule}:mem_mb=1500" for rule in RULES),
    "train:gpu=1",
    "train:slurm_partition=gpu",
]


def said_by(*command: str) -> str:
    """What a command of SLURM prints, after checking its exit status."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def trainings() -> list[str]:
    """The numbers of the trainings that run. There is one GPU, hence one at a time."""
    return said_by("squeue", "--noheader", "--states=running", "--partition=gpu", "-o", "%i").split()
