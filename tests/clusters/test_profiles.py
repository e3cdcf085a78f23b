"""The scripts of the cluster profiles, with a stand-in for each scheduler: what they ask for, and how jobs end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.running import REPOSITORY

PROFILES = REPOSITORY / "workflow" / "profiles"
COMMANDS = {
    "pbs": ["qsub", "qstat", "qdel"],
    "sge": ["qsub", "qstat", "qdel"],
    "lsf": ["bsub", "bjobs", "bkill"],
    "kubernetes": ["kubectl"],
}
RESOURCES = {"mem_mb": 6000, "runtime": 90, "parallel_environment": "smp"}
ON_GPU = {"gpu": 2, "queue": "day", "gpu_queue": "gpus", "account": "lab", "options": "--extra 'two words'"}
# Of four cores: what the scheduler is told of memory, time and cores, and with a GPU beside the queue and account.
ASKED = {
    "pbs": (
        "-l select=1:ncpus=4:mem=6000mb -l walltime=1:30:00",
        "-l select=1:ncpus=4:mem=6000mb:ngpus=2 -l walltime=1:30:00 -q gpus -A lab --extra two words",
    ),
    "sge": (
        "-pe smp 4 -l h_vmem=1500M -l h_rt=5400",
        "-pe smp 4 -l h_vmem=1500M -l h_rt=5400 -l gpu=2 -q gpus -P lab --extra two words",
    ),
    "lsf": (
        "-n 4 -R span[hosts=1] -R rusage[mem=6000MB] -M 6000MB -W 90",
        "-gpu num=2 -q gpus -P lab --extra two words",
    ),
    "kubernetes": ("", ""),
}


@dataclass(frozen=True)
class Cluster:
    """The scripts of a profile, called in a folder whose path needs quotes."""

    kind: str
    folder: Path
    state: Path

    def call(self, script: str, *arguments: str) -> str:
        result = subprocess.run(
            [PROFILES / self.kind / script, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return result.stdout.strip()

    def submit(self, script: str, **resources: object) -> str:
        properties = {"rule": "train", "threads": 4, "resources": RESOURCES | resources}
        path = self.folder / "job.sh"
        path.write_text(f"#!/bin/sh\n# properties = {json.dumps(properties)}\n{script}\n")
        return self.call("submit.py", str(path))

    def ended(self, job: str) -> str:
        deadline = time.monotonic() + 60
        while (said := self.call("status.sh", job)) == "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return said


def stand_in(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a scheduler's commands onto the path; gives the folder of its state."""
    state, commands = folder / "scheduler", folder / "bin"
    state.mkdir()
    commands.mkdir()
    for command in COMMANDS[kind]:
        shutil.copy(Path(__file__).with_name("scheduler.py"), commands / command)
        text = (commands / command).read_text()
        (commands / command).write_text(f"#!{sys.executable}\n{text}")
        (commands / command).chmod(0o755)
    (commands / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.05\n")
    (commands / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SCHEDULER", str(state))
    monkeypatch.setenv("SCHEDULER_KIND", kind)
    return state


@pytest.fixture(params=sorted(COMMANDS))
def cluster(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    folder = tmp_path / "the run's folder"
    folder.mkdir()
    return Cluster(request.param, folder, stand_in(request.param, tmp_path, monkeypatch))


def test_a_job_runs_and_ends_as_its_script_does(cluster: Cluster) -> None:
    go = cluster.state / "go"
    waiting = cluster.submit(f"while [ ! -e '{go}' ]; do /bin/sleep 0.05; done; pwd > ran; exit 0 || exit 1")
    assert cluster.call("status.sh", waiting) == "running"
    failing = cluster.submit("false && exit 0 || exit 1")
    assert cluster.ended(failing) == "failed"
    assert cluster.call("status.sh", waiting) == "running"
    go.touch()
    assert cluster.ended(waiting) == "success"


def test_a_cancelled_job_has_failed_and_others_go_on(cluster: Cluster) -> None:
    first, second, third = (cluster.submit(f"/bin/sleep {seconds}; exit 0") for seconds in (60, 60, 1))
    cluster.call("cancel.sh", first, second)
    assert {cluster.ended(first), cluster.ended(second)} == {"failed"}
    assert cluster.ended(third) == "success"
    assert cluster.call("status.sh", "987654") == "failed"


def test_a_server_that_is_down_ends_no_job(cluster: Cluster) -> None:
    job = cluster.submit("/bin/sleep 60")
    (cluster.state / "down").touch()
    assert cluster.call("status.sh", job) == "running"
    (cluster.state / "down").unlink()
    cluster.call("cancel.sh", job)
    assert cluster.ended(job) == "failed"


def test_a_job_that_is_refused_is_said_as_its_whole_command(cluster: Cluster) -> None:
    (cluster.state / "down").touch()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        cluster.submit("exit 0")
    said = caught.value.stderr
    assert "cannot connect to the server" in said
    assert re.search(r"refused, as (qsub|bsub|kubectl) says above: \1 \S+", said)
    assert "Traceback" not in said


def test_a_job_asks_for_memory_time_cores_and_gpus(cluster: Cluster) -> None:
    for gpu, resources in ((False, {}), (True, ON_GPU)):
        job = cluster.submit("exit 0", **resources)
        asked = " ".join(json.loads((cluster.state / job / "asked.json").read_text()))
        assert ASKED[cluster.kind][gpu] in asked
        if cluster.kind == "kubernetes":
            body = json.loads((cluster.state / job / "body.json").read_text())
            (container,) = body["spec"]["template"]["spec"]["containers"]
            assert container["resources"]["requests"] == {"cpu": "4", "memory": "6000M"}
            assert container["resources"]["limits"].get("nvidia.com/gpu") == ("2" if gpu else None)
            assert body["spec"]["activeDeadlineSeconds"] == 5400
            assert container["workingDir"] == str(cluster.folder)
        assert cluster.ended(job) == "success"
