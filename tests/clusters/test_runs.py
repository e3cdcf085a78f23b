"""The workflow on a cluster, by the profile for PBS and a stand-in for it: a job that is killed, and a run that is."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from tests.clusters.test_profiles import PROFILES, stand_in
from tests.workflow.running import jobs, small_config, snakemake, snakemake_command

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        find_spec("snakemake_executor_plugin_cluster_generic") is None, reason="the extra `cluster` is not installed"
    ),
]

ON_PBS = ["--workflow-profile", str(PROFILES / "pbs"), "--seconds-between-status-checks", "1", "--latency-wait", "10"]


def asked(state: Path) -> list[tuple[str, int, int]]:
    """Of each job that was submitted, its name, and the cores and MB that it asked for."""
    found = [
        json.loads(path.read_text())
        for path in sorted(state.glob("*/asked.json"), key=lambda path: path.stat().st_mtime_ns)
    ]
    jobs_asked = []
    for words in found:
        (chunk,) = (word for word in words if word.startswith("select="))
        parts = dict(part.split("=") for part in chunk.split(":"))
        jobs_asked.append((words[0], int(parts["ncpus"]), int(parts["mem"].removesuffix("mb"))))
    return jobs_asked


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_outlives_a_killed_job_and_goes_on_after_its_own_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = stand_in("pbs", tmp_path, monkeypatch)
    (tmp_path / "run").mkdir()
    small_config(tmp_path / "run", methods={"pca": {}})
    results = Results(tmp_path / "run" / "results")
    wanted = [str(Results(Path("results")).model_folder("pca", fold) / "model.json") for fold in range(2)]

    # The cluster ends the job that reads the volumes: it is tried again, with twice the memory.
    (state / "kill-volumes").touch()
    snakemake(tmp_path / "run", *ON_PBS, str(Results(Path("results")).splits))
    once, twice = (memory for name, _, memory in asked(state) if name == "volumes")
    assert twice == 2 * once
    assert results.splits.is_file()
    # Seconds each, beside Snakemake.
    assert {"cohort", "splits"}.isdisjoint(name for name, *_ in asked(state))

    # The run is stopped: its jobs are cancelled, and the same command goes on.
    with (tmp_path / "said").open("w") as said:
        command = snakemake_command(tmp_path / "run", *ON_PBS, *wanted)
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    wait_until(lambda: "with external jobid" in (tmp_path / "said").read_text(), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) != 0
    wait_until((state / "cancelled").exists)  # beside Snakemake, which does not wait for it

    snakemake(tmp_path / "run", *ON_PBS, *wanted)
    assert all((tmp_path / "run" / path).is_file() for path in wanted)
    # Both folds are one job, side by side, which asks for a core and the memory of each.
    assert [(name, cores) for name, cores, _ in asked(state) if name == "solve"] == [("solve", 2)]
    assert jobs(tmp_path / "run", *wanted) == {}
