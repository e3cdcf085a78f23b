"""A cohort of one's own, killed: the same one command goes on, and nothing is left at work meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.data.simulation import write_dataset
from tests.workflow.running import epochs_of, small_config, snakemake, snakemake_command

pytestmark = pytest.mark.timeout(2400)

METHOD, EPOCHS = "sepclr-k-jem", 25
RESULTS = Results(Path("results"))
MODEL = RESULTS.model_folder(METHOD, 0) / "model.safetensors"
LOG = RESULTS.log("train", METHOD, "fold-0")
Command = Callable[[Path], list[str]]


def plain(folder: Path) -> list[str]:
    """As the README has it: no profile, no further option."""
    return snakemake_command(folder, "--configfile", str(folder / "config.yaml"), "--cores", "1", str(MODEL))


def run(folder: Path) -> list[str]:
    program = str(Path(sys.executable).with_name("sepclr-neuro"))
    return [program, "run", str(folder / "config.yaml"), "--directory", str(folder), "--cores", "1", str(MODEL)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has come as far as the first training."""
    folder = tmp_path_factory.mktemp("own_cohort")
    write_dataset(load_config(small_config(folder)), Results(folder / "study"))
    study = {
        "name": "ours",
        "participants": "study/dataset/participants.tsv",
        "volumes": "{participant_id}/anat/{participant_id}_mwp1.nii.gz",
    }
    cohort = {
        "source": "files",
        "studies": [study],
        "values": {"sex": {"F": "female", "M": "male"}},
        "scores": {"sans": {"column": "sans", "range": [0, 100]}, "saps": {"column": "saps", "range": [0, 150]}},
    }
    small_config(folder, cohort=cohort, training={"epochs": EPOCHS, "batch_size": 4})
    snakemake(folder, "--cores", "2", str(RESULTS.standardisation(0)))
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "copy"))


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """A run, once its training has done some epochs."""
    with (folder / "said").open("w") as said:
        # In a session of its own, as in a terminal.
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    deadline = time.monotonic() + 900
    while epochs_of(Results(folder / RESULTS.root), METHOD, 0) < 3:
        assert process.poll() is None, (folder / "said").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize(
    ("command", "killed"),
    [(plain, "snakemake"), (plain, "shell"), (plain, "group"), (run, "snakemake")],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
)
def test_after_a_kill_the_same_command_goes_on(command: Command, killed: str, folder: Path) -> None:
    process = start(command(folder), folder)
    jobs = below(process)
    assert any("train" in job.cmdline() for job in jobs)
    if killed == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif killed == "shell":
        (shell,) = [job for job in jobs if job.ppid() == process.pid and job.name() == "bash"]
        shell.kill()
    else:
        process.kill()
    process.wait(timeout=60)
    assert psutil.wait_procs(jobs, timeout=30)[1] == []
    assert not (folder / MODEL).exists()

    second = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout + second.stderr
    assert ("was ended before it was done" in second.stderr) == (killed != "shell")
    log = (folder / LOG).read_text()
    assert "resumes after epoch" in log
    assert f"epoch 1/{EPOCHS}" not in log
    assert (folder / MODEL).is_file()
    assert not (folder / RESULTS.under_way).exists()


def test_beside_a_living_run_a_second_one_is_refused_and_a_dry_run_is_not(folder: Path) -> None:
    process = start(plain(folder), folder)
    os.killpg(process.pid, signal.SIGSTOP)  # or it might end before it is looked at
    try:
        text = snakemake(folder, "--cores", "1", status=1)
        assert f"results: a run is under way there (process {process.pid}, since " in text
        assert "--unlock" not in text
        assert "Traceback" not in text
        snakemake(folder, "--dry-run")
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
