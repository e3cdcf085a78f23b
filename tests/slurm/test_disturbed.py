"""One training on a real SLURM, which is requeued, preempted, out of time and loses its node, one after the other."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json
from tests.slurm.conftest import CONFIGURATION
from tests.slurm.running import ON_ONE_NODE, said_by, trainings
from tests.workflow.running import epochs_of, small_config, snakemake, snakemake_command

pytestmark = pytest.mark.timeout(2400)

METHOD, FOLD, EPOCHS = "sepclr-k-jem", 0, 60
IN_FOLDER = Results(Path("results"))
MODEL = IN_FOLDER.model_folder(METHOD, FOLD) / "model.safetensors"
TABLES = IN_FOLDER.table("schizophrenia", "tsv").parent


def requeue(job: str) -> None:
    said_by("scontrol", "requeue", job)


def preempt(job: str, grace: int = 0) -> None:
    """By a job of a partition with a higher priority, for which the only GPU is taken away."""
    said_by("scontrol", "update", "PartitionName=gpu", f"GraceTime={grace}")
    said_by("sbatch", "--partition=urgent", "--gpus=1", "--mem=100", "--output=/dev/null", "--wrap=true")


def preempt_with_grace(job: str) -> None:
    preempt(job, grace=60)


def lose_the_node(job: str) -> None:
    """All that SLURM has on the node is gone at once, as in a power cut; then the node comes back."""
    node = said_by("sinfo", "--noheader", "-o", "%N").split()[0]
    slurmd = re.search(r"SlurmdPidFile=(.*)", (CONFIGURATION / "slurm.conf").read_text())
    assert slurmd
    pids = [int(line.split()[0]) for line in said_by("scontrol", "listpids", job).splitlines()[1:]]
    of_job = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    steps = {parent for each in of_job for parent in each.parents() if parent.name().startswith("slurmstepd")}
    for process in (psutil.Process(int(Path(slurmd[1].replace("%n", node)).read_text())), *steps, *of_job):
        with suppress(psutil.NoSuchProcess):  # some end by themselves, once the others are gone
            process.kill()
    # The controller would do so by itself, after its `SlurmdTimeout` of five minutes.
    said_by("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    subprocess.run(["slurmd", "-N", node], check=True)  # `ReturnToService=2` lets it in


def time_out(job: str) -> None:
    """SLURM looks every half minute which jobs are out of time."""
    said_by("scontrol", "update", f"JobId={job}", "EndTime=now")


DISTURBANCES: dict[str, Callable[[str], None]] = {
    "requeued": requeue,
    "preempted": preempt,
    "node lost": lose_the_node,
    "preempted with a grace time": preempt_with_grace,
    "timed out": time_out,
}


@dataclass(frozen=True)
class Disturbed:
    """What became of the training at one disturbance."""

    job: str
    saved: int
    """Epochs in its newest checkpoint once it had ended."""
    said: str
    """Its log until then."""
    next_job: str
    next_epoch: int
    """The first epoch that was trained afterwards."""
    next_minutes: str
    """The time that SLURM gives for it, as `squeue` writes it."""


@dataclass(frozen=True)
class Runs:
    undisturbed: Path
    disturbed: Path
    at: dict[str, Disturbed]
    said: str
    """By the Snakemake that sent the training to SLURM."""


@pytest.fixture(scope="module")
def runs(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run on this machine alone, and the same with the training of the first fold on SLURM, disturbed."""
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    small_config(undisturbed, training={"epochs": EPOCHS, "batch_size": 4})
    to_tables = ["--cores", "2", "--max-threads", "1", str(TABLES / "schizophrenia.tsv")]
    snakemake(undisturbed, *to_tables)

    # What the first fold's model is not in stays, so that SLURM, where a job takes long to start, does that alone.
    folder = undisturbed.with_name("disturbed")
    shutil.copytree(undisturbed, folder)
    results, said, at = Results(folder / "results"), folder / "said", {}
    of_model = [results.model_folder(METHOD, FOLD), results.checkpoints(METHOD, FOLD)]
    for each in (*of_model, results.representations(METHOD, FOLD).parent, results.scores.parent, folder / TABLES):
        shutil.rmtree(each)
    with said.open("w") as file:
        command = snakemake_command(folder, str(MODEL), *ON_ONE_NODE)
        workflow = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        for name, disturb in DISTURBANCES.items():
            at[name] = _disturbed(disturb, results, workflow, said)
        assert workflow.wait(600) == 0, said.read_text()
    finally:
        workflow.kill()
    snakemake(folder, *to_tables)
    return Runs(undisturbed, folder, at, said.read_text())


def _disturbed(
    disturb: Callable[[str], None], results: Results, workflow: subprocess.Popen[bytes], said: Path
) -> Disturbed:
    """Disturbs the training once it has done some epochs, and waits for the first epoch after that."""

    def wait_until(happened: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 300
        while not (value := happened()):
            assert workflow.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text() + said_by("scontrol", "show", "jobs")
            time.sleep(0.05)
        return value

    def process() -> int | None:
        record = results.alive("train", METHOD, f"fold-{FOLD}")
        return read_json(record)["process"] if record.is_file() else None

    log = results.log("train", METHOD, f"fold-{FOLD}")
    before = epochs_of(results, METHOD, FOLD)
    wait_until(lambda: epochs_of(results, METHOD, FOLD) >= before + 3)
    number = process()
    training, [job] = psutil.Process(number), trainings()
    training.suspend()  # until SLURM sends it a signal: it would be done before SLURM has decided
    disturb(job)
    wait_until(lambda: not training.is_running())
    heard = log.read_text()
    saved = max(
        int(path.stem.removeprefix("epoch-")) for path in results.checkpoints(METHOD, FOLD).glob("epoch-*.ckpt")
    )
    wait_until(lambda: process() not in (None, number))
    went_on = wait_until(lambda: re.search(rf"epoch ([0-9]+)/{EPOCHS}\b", log.read_text()))
    [next_job] = trainings()
    minutes = said_by("squeue", "--noheader", f"--jobs={next_job}", "-o", "%l").strip()
    return Disturbed(job, saved, heard, next_job, int(went_on[1]), minutes)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_the_training_goes_on_after_its_last_epoch(name: str, runs: Runs) -> None:
    disturbed = runs.at[name]
    assert disturbed.saved >= 3
    assert disturbed.next_epoch == disturbed.saved + 1


@pytest.mark.parametrize("name", ["requeued", "preempted", "node lost"])
def test_slurm_puts_the_job_back_into_the_queue(name: str, runs: Runs) -> None:
    disturbed = runs.at[name]
    assert (disturbed.next_job, disturbed.next_minutes) == (disturbed.job, "30:00")


@pytest.mark.parametrize(
    ("name", "state", "minutes"),
    [("preempted with a grace time", "FAILED", "1:00:00"), ("timed out", "TIMEOUT", "1:30:00")],
)
def test_snakemake_sends_another_job_with_more_time(name: str, state: str, minutes: str, runs: Runs) -> None:
    disturbed = runs.at[name]
    assert f"SLURM-job '{disturbed.job}' failed, SLURM status is: '{state}'" in runs.said
    assert disturbed.next_job != disturbed.job
    assert disturbed.next_minutes == minutes
    assert "stopped by a signal" in disturbed.said


def test_the_tables_are_those_of_an_undisturbed_run(runs: Runs) -> None:
    tables = sorted(path.relative_to(runs.undisturbed) for path in (runs.undisturbed / TABLES).iterdir())
    assert TABLES / "schizophrenia.tsv" in tables
    for path in (MODEL, *tables):
        assert (runs.disturbed / path).read_bytes() == (runs.undisturbed / path).read_bytes(), path
