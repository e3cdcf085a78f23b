"""One command on the other nodes of a job of SLURM: what it is given, what it answers, and that it ends with this one.

All by `srun`'s input and output, which SLURM guards and takes from node to node. The alternatives were a port of our
own, to which whoever is in the cluster's network could send a pickle, and files, which other nodes see late.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import IO, Any, cast

from sepclr_neuro.core.errors import InputError

__all__ = ["FirstNode", "OtherNodes"]

_OF_THE_JOB = ("SLURM_JOB_ID", "SLURM_CLUSTER_NAME", "SLURM_CONF")
_OF_HERE = ("SLURM_", "CUDA_VISIBLE_DEVICES")
"""What describes the step and the GPUs of this process, which `srun` and the other nodes would take for theirs."""
_UNTIL_KILLED = 20
"""Seconds in which tasks end by themselves once their input has ended."""


class OtherNodes:
    """A command that runs `tasks` times on each of the `nodes` of this job but the first, on which this process is.

    Args:
        command: arguments of Python; it is to make a `FirstNode`.
        nodes: of the job, this one among them.
        tasks: on each node.
        threads: of each task.
        given: what each task gets; can be pickled.

    Raises:
        InputError: if this process is no job of SLURM.
    """

    def __init__(self, command: Sequence[str], nodes: int, tasks: int, threads: int, given: object) -> None:
        if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
            raise InputError(
                f"training.nodes: {nodes} nodes are requested, and this is no job of SLURM, which alone can give them; "
                "run with the profile `slurm`, its jobs not in a container, or set it to 1"
            )
        self._nodes, self._answered = nodes, False
        options = [
            "--overlap",  # this process is a step of the job, too
            "--relative=1",  # not on the first node
            f"--nodes={nodes - 1}",
            f"--ntasks={tasks * (nodes - 1)}",
            f"--ntasks-per-node={tasks}",
            f"--cpus-per-task={threads}",
            "--overcommit",  # as on one machine, processes may be more than cores
            "--kill-on-bad-exit=1",
        ]
        gpus = os.environ.get("SLURM_GPUS_ON_NODE")
        if gpus is not None:
            options.append(f"--gres=gpu:{gpus}")
        self._srun = subprocess.Popen(
            ["srun", *options, sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # no answer waits in a buffer where `poll` does not see it
            env={
                name: value
                for name, value in os.environ.items()
                if name in _OF_THE_JOB or not name.startswith(_OF_HERE)
            },
        )
        self._input, self._output = cast(IO[bytes], self._srun.stdin), cast(IO[bytes], self._srun.stdout)
        # Where srun has ended by now, `recv` says it.
        with contextlib.suppress(BrokenPipeError), open(self._input.fileno(), "wb", closefd=False) as file:
            pickle.dump(given, file)

    def recv(self) -> Any:
        """The next answer of any task.

        Raises:
            EOFError: if there is none, since a task was killed.
            InputError: if none has answered and none will, since none was started or one was killed before.
        """
        line = self._output.readline()
        if not line and not self._answered:
            raise InputError(
                "training.nodes: no process on the other nodes came up (srun says why above): the job has fewer than "
                f"{self._nodes} nodes, or one was killed, as for memory"
            )
        if not line:
            raise EOFError
        self._answered = True
        return pickle.loads(base64.b64decode(line))  # noqa: S301 (from our own processes)

    def poll(self, seconds: float) -> bool:
        """Whether `recv` has something to say, at most so many seconds from now."""
        return bool(wait([self._output.fileno()], seconds))

    def end(self) -> None:
        """Ends all tasks, whose input ends."""
        self._input.close()
        try:
            self._srun.wait(_UNTIL_KILLED)
        except subprocess.TimeoutExpired:
            self._srun.kill()  # it would hand SIGTERM on to tasks, which block it
            self._srun.wait()
        self._output.close()


class FirstNode:
    """What a task on another node has of the process that started it, with which it ends, however that ends.

    Attributes:
        given: by that process.
        task: number among the tasks of all other nodes, from 0.
        of_node: number among those of its own node.
    """

    def __init__(self) -> None:
        self._output = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what anything prints is no answer
        self.given = pickle.load(sys.stdin.buffer)  # noqa: S301 (from the process that started this one)
        self.task, self.of_node = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_LOCALID"])
        threading.Thread(target=_end_with_input, daemon=True).start()

    def send(self, answer: object) -> None:
        # In lines, by which SLURM joins the outputs of several tasks.
        self._output.write(base64.b64encode(pickle.dumps(answer)) + b"\n")
        self._output.flush()


def _end_with_input() -> None:
    # Those are the first process's to answer; the thread that works blocks them, too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.stdin.buffer.read()
    os._exit(0)
