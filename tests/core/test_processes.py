"""Several processes at one work, on nodes that are this machine: who is who, and that all end with one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from sepclr_neuro.core import nodes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.processes import Group, in_processes
from sepclr_neuro.core.storage import atomic_path
from tests.standing_in import nodes_are_this_machine, on_two_nodes

pytestmark = on_two_nodes


@pytest.fixture(autouse=True)
def _nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes_are_this_machine(tmp_path, monkeypatch)


def places(group: Group) -> torch.Tensor:
    """Of each process its number on its node, and its threads."""
    mine = torch.zeros(group.size, 2)
    mine[group.process] = torch.tensor([group.of_node, torch.get_num_threads()])
    return group.sum(mine)


def wrong(group: Group) -> None:
    if group.process == 1:
        raise InputError("not a volume")
    group.sum(torch.zeros(1))


def killed(group: Group) -> None:
    if group.process == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    group.sum(torch.zeros(1))


def endless(pids: str, devices: int, nodes: int) -> None:
    """Each process writes its number into a file named by its place."""
    in_processes(devices, nodes, partial(_endless, Path(pids)))


def _endless(pids: Path, group: Group) -> None:
    print("no answer, though on standard output")
    with atomic_path(pids / str(group.process)) as path:
        path.write_text(str(os.getpid()))
    group.sum(torch.zeros(1))
    time.sleep(600)


def test_each_process_knows_its_place_and_takes_its_share_of_its_nodes_threads() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        found = in_processes(2, 2, places)
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(threads)
    assert found.tolist() == [[0, 3], [1, 3], [0, 3], [1, 3]]


def test_what_a_process_of_another_node_finds_wrong_is_said_here() -> None:
    with pytest.raises(InputError, match=r"^not a volume$"):
        in_processes(1, 2, wrong)


def test_a_process_of_another_node_that_was_killed_ends_all() -> None:
    with pytest.raises(RuntimeError, match="was killed; the same command resumes"):
        in_processes(1, 2, killed)


def test_all_end_with_the_first(tmp_path: Path) -> None:
    command = f"from tests.core.test_processes import endless; endless({str(tmp_path)!r}, devices=2, nodes=2)"
    first = subprocess.Popen([sys.executable, "-c", command])
    processes = []
    for process in map(str, range(4)):
        deadline = time.monotonic() + 120
        while not (tmp_path / process).is_file():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        processes.append(psutil.Process(int((tmp_path / process).read_text())))
    first.kill()
    first.wait()
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def test_tasks_that_do_not_end_with_their_input_and_block_sigterm_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, outlived = tmp_path / "bin" / "srun", tmp_path / "outlived"
    program.unlink()
    program.write_text(f"#!/bin/sh\ntrap '' TERM\necho\nfor i in 1 2 3 4 5; do sleep 1; done\n: > {outlived}\n")
    program.chmod(0o755)
    monkeypatch.setattr(nodes, "_UNTIL_KILLED", 0.1)
    others = nodes.OtherNodes(["-c", ""], nodes=2, tasks=1, threads=1, given=None)
    assert others.poll(60)  # it traps the signal by now
    others.end()
    assert not outlived.exists()


@pytest.mark.parametrize(
    ("srun", "message"),
    [
        (None, "this is no job of SLURM"),
        ("/bin/false", "no process on the other nodes came up .* fewer than 2 nodes, or one was killed"),
    ],
)
def test_without_other_nodes_there_is_one_message(
    srun: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if srun is None:
        monkeypatch.delenv("SLURM_JOB_ID")
    else:
        program = tmp_path / "bin" / "srun"
        program.unlink()
        program.symlink_to(srun)
    with pytest.raises(InputError, match=rf"^training\.nodes: .*{message}"):
        in_processes(1, 2, places)
