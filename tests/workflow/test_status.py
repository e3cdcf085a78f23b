"""A run that is followed: before, while it is under way, after a job has failed and after one was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from sepclr_neuro.core.layout import Results
from sepclr_neuro.run.status import Status, status
from tests.workflow.running import epochs_of, jobs, small_config, snakemake, snakemake_command

SMALL = {"common_dim": 4, "salient_dim": 4}
# One whose loss is soon not finite, a fast one, and one that takes a while.
METHODS: dict[str, dict[str, Any]] = {
    "too-fast": SMALL | {"method": "sepclr-k-jem", "projector_width": 8, "training": {"learning_rate": 1e30}},
    "sepclr-linear": SMALL,
    "sepclr-k-jem": SMALL | {"projector_width": 8, "training": {"epochs": 40}},
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which one method fails, and goes on as far as it can."""
    folder = tmp_path_factory.mktemp("run")
    small_config(folder, methods=METHODS, saliency={"samples": 1, "participants": 2, "permutations": 0})
    snakemake(folder, "--cores", "2", "--keep-going", status=1)
    return folder


@pytest.fixture
def folder(failed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(failed, tmp_path / "copy"))
    monkeypatch.chdir(folder)
    return folder


def states(found: Status, stage: str) -> dict[str, str]:
    return {" ".join(job.job.parts): job.state for job in found.jobs if job.job.stage == stage}


def command(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    call = "import sys; sys.argv[0] = 'sepclr-neuro'; from sepclr_neuro.run.cli import main; main()"
    arguments = [sys.executable, "-c", call, "status", str(folder / "results"), *options]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_a_failed_job_is_named_with_its_message_and_its_log(folder: Path) -> None:
    said = command(folder)
    assert said.returncode == 1
    assert "  train too-fast fold-0: training: epoch 1 of 1, step " in said.stdout
    assert f"    log: {folder}/results/logs/train/too-fast/fold-0.log" in said.stdout
    found = states(status(folder / "results"), "train")
    assert found == {
        f"{method} fold-{fold}": "failed" if method == "too-fast" else "done" for method in METHODS for fold in (0, 1)
    }
    taken = {job["stage"]: job for job in json.loads(command(folder, "--json").stdout)["jobs"]}
    assert taken["report"]["state"] == "to do"


def test_what_is_left_is_what_snakemake_would_do(folder: Path) -> None:
    def left() -> Counter[str]:
        return Counter(job.job.stage for job in status(folder / "config.yaml").jobs if job.state != "done")

    assert left() == jobs(folder)
    content = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(content.replace("epochs: 40", "epochs: 41"))
    assert left()["train"] == 4
    assert left() == jobs(folder)


FIRST_MODEL = Results(Path("results")).model_folder("sepclr-k-jem", 0) / "model.json"


def training_again(folder: Path) -> subprocess.Popen[bytes]:
    """A run that trains the first fold anew, after its first epoch."""
    results = Results(folder / "results")
    shutil.rmtree(results.checkpoints("sepclr-k-jem", 0))
    (folder / FIRST_MODEL).unlink()
    process = subprocess.Popen(
        snakemake_command(folder, "--cores", "1", str(FIRST_MODEL)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while epochs_of(results, "sepclr-k-jem", 0) < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_a_training_says_how_far_it_is_until_it_is_killed(folder: Path) -> None:
    results = Results(folder / "results")
    process = training_again(folder)
    found = status(results.root)
    assert found.run is not None
    assert found.run.process == process.pid
    (training,) = [job for job in found.jobs if job.job.stage == "train"]
    assert training.state == "running"
    assert training.record is not None
    os.kill(training.record["process"], signal.SIGKILL)
    process.wait()
    found = status(results.root)
    assert found.run is None
    assert states(found, "train") == {"sepclr-k-jem fold-0": "failed"}
    assert "SIGKILL" in next(job.why for job in found.jobs if job.state == "failed")


def test_a_run_that_is_killed_with_its_shells_loses_its_jobs_and_says_so(folder: Path) -> None:
    """As when a machine goes down: nothing is left that could write a last word."""
    results = Results(folder / "results")
    process = training_again(folder)
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in everything:
        each.suspend()
    for each in everything:
        each.kill()
    process.wait()
    psutil.wait_procs(everything, timeout=30)
    found = status(results.root)
    assert (found.run, states(found, "train")) == (None, {"sepclr-k-jem fold-0": "lost"})
    snakemake(folder, "--cores", "1", str(FIRST_MODEL))
    assert {job.state for job in status(results.root).jobs} == {"done"}
