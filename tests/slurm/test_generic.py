"""The scripts of the profile for PBS on a real scheduler: PBS's commands are SLURM's here, with other names."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from tests.workflow.running import REPOSITORY, small_config, snakemake_command

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        find_spec("snakemake_executor_plugin_cluster_generic") is None, reason="the extra `cluster` is not installed"
    ),
]

ON_PBS = ["--workflow-profile", str(REPOSITORY / "workflow" / "profiles" / "pbs"), "--max-threads", "1"]
ON_PBS += ["--seconds-between-status-checks", "1", "--latency-wait", "10"]


def queued() -> dict[str, str]:
    """Names of jobs that wait or run, by their numbers."""
    said = subprocess.run(["squeue", "--noheader", "-o", "%i %j"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: line.split()[1] for line in said.splitlines()}


def wait_until(happened: Callable[[], bool], said: Path) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.1)


def test_jobs_that_the_cluster_ends_are_tried_again_and_those_of_a_stopped_run_end(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(__file__).with_name('pbs')}:{os.environ['PATH']}")
    small_config(tmp_path, methods={"pca": {}})
    results, said = Results(Path("results")), tmp_path / "said"
    standardised = [str(results.standardisation(fold)) for fold in range(2)]

    def start() -> subprocess.Popen[bytes]:
        with said.open("w") as file:
            return subprocess.Popen(
                snakemake_command(tmp_path, *ON_PBS, *standardised), stdout=file, stderr=subprocess.STDOUT
            )

    # The cluster takes away the job that reads the volumes, and the run asks for it again.
    run = start()
    wait_until(lambda: "volumes" in queued().values(), said)
    first = next(number for number, name in queued().items() if name == "volumes")
    subprocess.run(["scancel", first], check=True)
    wait_until(lambda: any(name == "volumes" and number != first for number, name in queued().items()), said)
    # The run is stopped, and takes its jobs with it.
    wait_until(lambda: said.read_text().count("with external jobid") >= 3, said)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) != 0
    wait_until(lambda: not queued(), said)
    assert not (tmp_path / results.index).exists()

    assert start().wait(600) == 0, said.read_text()
    assert all((tmp_path / path).is_file() for path in standardised)
    assert not queued()
