"""A real SLURM on this machine: one node or two, a stand-in GPU on each, started for the tests and ended after them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

# Job steps forget SLURM_CONF, so that the files lie where SLURM looks by default.
CONFIGURATION = Path("/etc/slurm")
PROGRAMS = ("munge", "munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")

MARK = "# Written by the tests of sepclr_neuro, process"
SLURM_CONF = (
    MARK
    + """ {process}, which deletes it.
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
# How long a requeued job waits; 120 s otherwise.
AuthInfo=cred_expire=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
AccountingStorageType=accounting_storage/none
GresTypes=gpu
# A job that is out of time has so many seconds to end.
OverTimeLimit=0
KillWait=10
# Jobs of `urgent` take the place of others, which go back into the queue.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=cpu Nodes=ALL Default=YES
PartitionName=gpu Nodes=ALL
PartitionName=urgent Nodes=ALL PriorityTier=10
"""
)


def _why_not() -> str | None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)})"
    if os.geteuid() != 0:
        return "only root can start SLURM"
    conf = CONFIGURATION / "slurm.conf"
    if not conf.exists():
        return None
    ours = re.match(f"{MARK} ([0-9]+)", conf.read_text())
    if ours and psutil.pid_exists(int(ours[1])):
        return f"other tests use SLURM on this machine (process {ours[1]})"
    if not ours:
        return f"this machine has a SLURM of its own ({CONFIGURATION}/slurm.conf)"
    return None


def _end(pid_file: Path) -> None:
    if not pid_file.is_file():
        return
    try:
        process = psutil.Process(int(pid_file.read_text()))
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        process.kill()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs munged, slurmctld and slurmd until the tests of a file end; skips where that cannot be.

    Files of tests run side by side, and there is one /etc/slurm: they wait for each other.
    """
    yield from _running(tmp_path_factory, ["node1"])


@pytest.fixture(scope="module")
def slurm_of_two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same with a slurmd for each of two nodes."""
    yield from _running(tmp_path_factory, ["node1", "node2"])


def _running(tmp_path_factory: pytest.TempPathFactory, nodes: list[str]) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / "sepclr-neuro-tests-of-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _started(tmp_path_factory, nodes)


def _started(tmp_path_factory: pytest.TempPathFactory, nodes: list[str]) -> Iterator[None]:
    reason = _why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    host = socket.gethostname().split(".")[0]
    memory = psutil.virtual_memory().total // 2**20 - 64
    CONFIGURATION.mkdir(exist_ok=True)
    conf, gres = CONFIGURATION / "slurm.conf", CONFIGURATION / "gres.conf"
    if conf.exists():  # tests that were killed
        for name in re.findall(r"PidFile=(.*)", conf.read_text()):
            for pid_file in Path(name).parent.glob(Path(name).name.replace("%n", "*")):
                _end(pid_file)
    # Asked, because a munged that was killed leaves its socket.
    munge_ran = subprocess.run(["munge", "--no-input"], capture_output=True, check=False).returncode == 0
    try:
        lines = (
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={6818 + number} CPUs={os.cpu_count()} "
            f"RealMemory={memory} Gres=gpu:a100:1 Features=a100"
            for number, name in enumerate(nodes)
        )
        conf.write_text(SLURM_CONF.format(process=os.getpid(), host=host, folder=folder, nodes="\n".join(lines)))
        gres.write_text("".join(f"NodeName={name} Name=gpu Type=a100 File=/dev/null\n" for name in nodes))
        if not munge_ran:
            subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "/run/munge"], check=True)
            subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)
        subprocess.run(["slurmctld"], check=True)
        for name in nodes:
            subprocess.run(["slurmd", "-N", name], check=True)
        deadline = time.monotonic() + 60
        while f"cpu* {len(nodes)} idle" not in (state := _sinfo()):
            assert time.monotonic() < deadline, f"SLURM did not come up: {state}"
            time.sleep(0.2)
        yield
    finally:
        # Jobs of a test that failed would outlive the daemons.
        with contextlib.suppress(subprocess.TimeoutExpired):  # no daemon answers
            subprocess.run(["scancel", "--user=root"], check=False, timeout=30)
            deadline = time.monotonic() + 30
            while (
                time.monotonic() < deadline
                and subprocess.run(
                    ["squeue", "--noheader"], capture_output=True, check=False, timeout=30
                ).stdout.strip()
            ):
                time.sleep(0.2)
        for pid_file in folder.glob("slurmd-*.pid"):
            _end(pid_file)
        _end(folder / "slurmctld.pid")
        if not munge_ran:
            _end(Path("/run/munge/munged.pid"))
        conf.unlink(missing_ok=True)
        gres.unlink(missing_ok=True)


def _sinfo() -> str:
    result = subprocess.run(["sinfo", "--noheader", "-o", "%P %D %T"], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr
