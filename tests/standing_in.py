"""A job of SLURM with several nodes, all of which are this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

__all__ = ["nodes_are_this_machine", "on_two_nodes"]

REPOSITORY = Path(__file__).resolve().parent.parent

on_two_nodes = pytest.mark.skipif(torch.cuda.is_available(), reason="no GPU of this machine is on two nodes")


def nodes_are_this_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the stand-in for `srun` onto the path, and says that this process is in a job, as one of two tasks."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "srun").symlink_to(REPOSITORY / "tests" / "srun.py")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}.items():
        monkeypatch.setenv(name, value)
