"""How tests run Snakemake: in a folder of their own, on a cohort that takes seconds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run import warm

__all__ = [
    "QUESTIONS",
    "REPOSITORY",
    "RULES",
    "epochs_of",
    "jobs",
    "shared_process",
    "small_config",
    "snakemake",
    "snakemake_command",
]

QUESTIONS = Config().model_dump(mode="json")["probes"]["targets"]
REPOSITORY = Path(__file__).resolve().parents[2]
# Of a run of one small cohort.
RULES = [
    "dataset",
    "cohort",
    "volumes",
    "splits",
    "standardise",
    "train",
    "solve",
    "embed",
    "probe",
    "tables",
    "vbm",
    "patterns",
    "leakage",
    "saliency",
    "report",
]


def small_config(folder: Path, **sections: Any) -> Path:
    """Writes ``folder/config.yaml``: 24 simulated people at 32³, two folds, one epoch; sections given override."""
    content: dict[str, Any] = {
        "title": "A small run",
        "cohort": {"source": "simulated", "simulation": {"participants": 24, "sites": 2}},
        "volumes": {"shape": [32, 32, 32]},
        "splits": {"folds": 2},
        "network": {"channels": [8, 16]},
        "training": {"epochs": 1, "batch_size": 4},
        "methods": {"sepclr-k-jem": {"common_dim": 4, "salient_dim": 4, "projector_width": 8}},
        "probes": {"targets": QUESTIONS},
        "saliency": {"samples": 1, "participants": 2},
        "report": {"viewers": 1},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content | sections))
    return path


@contextmanager
def shared_process() -> Iterator[psutil.Process]:
    """The process that jobs of a run share, for the commands that are called meanwhile."""
    os.environ.pop(warm.ADDRESS, None)
    warm.start_server()
    process = warm._started.pop()
    try:
        yield psutil.Process(process.pid)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
        os.environ.pop(warm.ADDRESS)


def snakemake_command(folder: Path, *arguments: str) -> list[str]:
    """The workflow of this checkout, run in ``folder`` by its ``config.yaml``."""
    program = str(Path(sys.executable).with_name("snakemake"))
    return [program, "--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(folder), *arguments]


def snakemake(folder: Path, *arguments: str, status: int = 0) -> str:
    """Runs the workflow and returns all that it said, after checking its exit status."""
    result = subprocess.run(
        snakemake_command(folder, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == status, result.stdout
    return result.stdout


def epochs_of(results: Results, method: str, fold: int) -> int:
    """How many epochs a training has done so far."""
    path = results.checkpoints(method, fold) / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.is_file() else 0


def jobs(folder: Path, *arguments: str) -> dict[str, int]:
    """How many jobs of each rule a dry run would start, without the rule ``all``."""
    text = snakemake(folder, *arguments, "--dry-run", "--quiet", "rules")
    found = re.findall(r"^(\w+) +(\d+)$", text.split("Job stats:")[1], re.MULTILINE) if "Job stats:" in text else []
    return {name: int(count) for name, count in found if name not in ("all", "total")}
