"""Jobs that share a process do what they would do alone, and each one can be ended and resumed alone."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sepclr_neuro.core import runs
from sepclr_neuro.run import warm
from tests.small_run import small_run
from tests.workflow.running import shared_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="jobs share a process on Linux alone")

PROGRAM = str(Path(sys.executable).with_name("sepclr-neuro"))
METHOD = "sepclr-k-jem"
SMALL = {"common_dim": 4, "salient_dim": 4, "projector_width": 8}


@pytest.fixture
def server() -> Iterator[psutil.Process]:
    with shared_process() as process:
        yield process


def training(folder: Path, epochs: int) -> tuple[list[str], Path]:
    """The command of one training, and its model."""
    config, results = small_run(folder, training={"epochs": epochs, "batch_size": 4}, methods={METHOD: SMALL})
    path = folder / "told.json"
    path.write_text(config.model_dump_json())
    model = results.model_folder(METHOD, 0) / "model.safetensors"
    return [PROGRAM, "train", str(path), "--method", METHOD, "--fold", "0"], model


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def job_of(server: psutil.Process) -> psutil.Process:
    """A fork of the server; other children, such as `uname`, live for a moment while it imports."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for child in server.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline() == server.cmdline():
                    return child
        time.sleep(0.01)
    raise AssertionError("the server has no job")


def test_a_job_gives_the_bits_that_it_gives_alone(server: psutil.Process, tmp_path: Path) -> None:
    shared, shared_model = training(tmp_path / "shared", epochs=2)
    alone, alone_model = training(tmp_path / "alone", epochs=2)
    answer = run(shared)
    assert answer.returncode == 0, answer.stderr
    assert "trained in" in answer.stderr
    answer = run(alone, **{warm.ADDRESS: ""})
    assert answer.returncode == 0, answer.stderr
    assert shared_model.read_bytes() == alone_model.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_ends_with_its_command_and_goes_on_alone(
    how: signal.Signals, server: psutil.Process, tmp_path: Path
) -> None:
    command, model = training(tmp_path / "stopped", epochs=30)
    undisturbed, undisturbed_model = training(tmp_path / "undisturbed", epochs=30)
    stopped = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert stopped.stderr is not None
    for line in stopped.stderr:
        if "epoch 1/" in line:
            break
    job = job_of(server)
    stopped.send_signal(how)
    stopped.wait(60)
    job.wait(60)
    assert stopped.returncode not in (0, None)
    assert not model.exists()

    resumed = run(command)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumes after epoch" in resumed.stderr
    assert run(undisturbed).returncode == 0
    assert model.read_bytes() == undisturbed_model.read_bytes()


def test_a_job_ends_with_the_shell_that_called_it(server: psutil.Process, tmp_path: Path) -> None:
    """As when a scheduler ends a job: its run and the server live on, its command does not know."""
    command, model = training(tmp_path / "stopped", epochs=200)
    environment = os.environ | {runs.PROCESS: str(os.getpid())}
    shell = subprocess.Popen(["bash", "-c", f"{shlex.join(command)}; true"], env=environment)
    job = job_of(server)
    (called,) = psutil.Process(shell.pid).children()
    shell.kill()
    shell.wait(60)
    assert psutil.wait_procs([called, job], timeout=30)[1] == []
    assert not model.exists()
    assert server.is_running()


def test_a_killed_server_ends_its_jobs_and_the_same_command_goes_on(server: psutil.Process, tmp_path: Path) -> None:
    command, model = training(tmp_path / "stopped", epochs=40)
    called = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert called.stderr is not None
    for line in called.stderr:
        if "epoch 1/" in line:
            break
    job = job_of(server)
    server.kill()
    assert called.wait(60) == 1
    assert "the process that jobs share was killed; run the same command again" in called.stderr.read()
    assert psutil.wait_procs([job], timeout=60)[1] == []
    assert not model.exists()
    assert "resumes after epoch" in run(command).stderr


def test_a_mistake_is_told_with_its_status(server: psutil.Process, tmp_path: Path) -> None:
    answer = run([PROGRAM, "splits", str(tmp_path / "absent.yaml")])
    assert answer.returncode == 2
    assert "absent.yaml" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_options_before_the_stage_go_with_it(server: psutil.Process, tmp_path: Path) -> None:
    command, model = training(tmp_path / "run", epochs=1)
    called = subprocess.Popen([command[0], "-q", *command[1:]], stderr=subprocess.PIPE, text=True)
    job_of(server)
    assert called.communicate()[1] == ""
    assert called.returncode == 0
    assert model.is_file()


def test_a_command_whose_server_is_gone_does_it_itself(tmp_path: Path) -> None:
    command, model = training(tmp_path / "run", epochs=1)
    answer = run(command, **{warm.ADDRESS: str(tmp_path / "nobody")})
    assert answer.returncode == 0, answer.stderr
    assert model.is_file()


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    code = (
        "import json, os, pathlib, sys; from sepclr_neuro.run import warm; warm.start_server();"
        "told = [warm._started[0].pid, os.environ[warm.ADDRESS]];"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps(told)); os.kill(os.getpid(), 9)"
    )
    environment = {name: value for name, value in os.environ.items() if name != warm.ADDRESS}
    subprocess.run([sys.executable, "-c", code, str(said)], env=environment, check=False)
    server, address = json.loads(said.read_text())
    deadline = time.monotonic() + 30
    while psutil.pid_exists(server) and psutil.Process(server).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not Path(address).parent.exists()


def test_commands_that_hand_over_load_no_library() -> None:
    code = "import sys, sepclr_neuro.run.warm; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "lightning", "monai", "nilearn", "pandas", "numpy", "typer"} & set(loaded)


def test_every_stage_of_the_workflow_is_known_and_its_modules_exist() -> None:
    import importlib.util

    for modules in warm.MODULES.values():
        for module in modules:
            assert importlib.util.find_spec(module) is not None, module
