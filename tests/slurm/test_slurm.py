"""The SLURM profile on a real SLURM: a small run to its report, and a training that the cluster takes away."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json
from tests.workflow.running import REPOSITORY, epochs_of, small_config, snakemake, snakemake_command

pytestmark = pytest.mark.timeout(2400)

METHOD = "sepclr-k-jem"
RULES = [
    "dataset",
    "cohort",
    "volumes",
    "splits",
    "standardise",
    "train",
    "embed",
    "probe",
    "tables",
    "vbm",
    "patterns",
    "leakage",
    "saliency",
    "report",
]
# What a user changes for a cluster of one small node without accounting.
ON_ONE_NODE = [
    "--workflow-profile",
    str(REPOSITORY / "workflow" / "profiles" / "slurm"),
    "--slurm-status-command",
    "squeue",
    "--slurm-no-account",
    # Most jobs here end before the second look, 10 s after a first one at 5 s.
    "--slurm-init-seconds-before-status-checks",
    "5",
    "--seconds-between-status-checks",
    "1",
    "--max-threads",
    "1",
    "--set-resources",
    *(f"{rule}:{resource}" for rule in RULES for resource in ("mem_mb=1500", "runtime=30")),
    "train:gpu=1",
    "train:slurm_partition=gpu",
]


@dataclass(frozen=True)
class Run:
    results: Results
    said: str
    requeued: int
    """The fold whose training the cluster took away."""


@pytest.fixture(scope="module")
def run(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run on SLURM, whose first training is put back into the queue while it is under way."""
    folder = tmp_path_factory.mktemp("on_slurm")
    small_config(folder, training={"epochs": 30, "batch_size": 4})
    results = Results(folder / "results")
    # On SLURM each job takes half a minute, so that it gets those that matter: from the first training on.
    standardised = [Results(Path("results")).standardisation(fold) for fold in range(2)]
    snakemake(folder, "--cores", "2", *map(str, standardised))
    command = snakemake_command(folder, *ON_ONE_NODE)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        taken = _requeue_first_training(process, results)
        said, _ = process.communicate(timeout=1200)
    finally:
        process.kill()
    assert process.returncode == 0, said
    return Run(results, said, taken)


def _requeue_first_training(workflow: subprocess.Popen[str], results: Results) -> int:
    """Once a training has done three epochs; gives its fold."""
    deadline = time.monotonic() + 900
    while not (begun := [fold for fold in range(2) if epochs_of(results, METHOD, fold) >= 3]):
        assert workflow.poll() is None, workflow.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # There is one GPU, hence one training at a time.
    squeue = ["squeue", "--noheader", "--states=running", "--partition=gpu", "-o", "%i"]
    running = subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.split()
    assert len(running) == 1
    subprocess.run(["scontrol", "requeue", *running], check=True)
    return begun[0]


def test_a_run_on_slurm_ends_in_a_report(run: Run) -> None:
    assert run.results.report.is_file()
    # Two trainings, representations, the t-map, site leakage, probes, tables, patterns, maps, report.
    assert run.said.count("has been submitted with SLURM jobid") == 10, run.said


def test_a_training_that_the_cluster_takes_away_goes_on(run: Run) -> None:
    for fold in range(2):
        log = run.results.log("train", METHOD, f"fold-{fold}")
        assert ("resumes after epoch" in log.read_text()) == (fold == run.requeued)
        assert read_json(run.results.model_folder(METHOD, fold) / "model.json")["epochs"] == 30
