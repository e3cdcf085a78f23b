"""Several processes at the same work, on one machine or several nodes, each with its GPU or its share of the threads.

Apart from Lightning's strategies, which wrap a module for one backward pass a step: gradient caching has several, and
estimators have optimisers of their own. Fabric without a wrapped module would do, but measured with two processes
(`ddp_spawn` of Lightning 2.6) both live on when the called one is ended, and an `InputError` comes back as 19 lines.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import platform
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor

from sepclr_neuro.core import devices
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.nodes import FirstNode, OtherNodes

__all__ = ["Group", "in_processes", "on_another_node"]

Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


@dataclass(frozen=True)
class Group:
    """The processes at one work: which of them, and of those of its node, this is. The first writes and speaks."""

    process: int = 0
    size: int = 1
    of_node: int = 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Of all processes' tensors of this shape; all get the same bits."""
        if self.size == 1:
            return tensor
        total = tensor.float()  # not all backends add bfloat16
        distributed.all_reduce(total)
        return total.to(tensor.dtype)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Puts the mean over processes into each tensor."""
        for tensor in tensors if self.size > 1 else ():
            tensor.copy_(self.sum(tensor) / self.size)


def in_processes(devices: int, nodes: int, work: Callable[[Group], Result]) -> Result:
    """Does the same work in several processes at once: this one, and others that live as long as it takes.

    Args:
        devices: processes on each node; 1, on one node, starts none.
        nodes: of this job of SLURM, of which this process is on the first; 1 needs no scheduler.
        work: can be pickled. Each process calls it with its place in the group, on a copy of all that it holds.

    Returns:
        What this process's call returned.

    Raises:
        InputError: that of another process, where one of them ended that way; or if there are no other nodes.
    """
    size = devices * nodes
    if size == 1:
        return work(Group())
    context = multiprocessing.get_context("spawn")
    # By plain pickle: multiprocessing's own moves tensors to memory that all processes share, weights too.
    job = pickle.dumps(work)
    threads = torch.get_num_threads()
    share = max(1, threads // devices)
    with contextlib.ExitStack() as ending:
        ending.callback(torch.set_num_threads, threads)
        ending.callback(_leave)
        meeting, join = _meeting(size, nodes, ending)
        others: list[Connection | OtherNodes] = []
        for process in range(1, devices):
            ours, theirs = context.Pipe()
            arguments = (theirs, job, Group(process, size, process), join, share)
            other = context.Process(target=_other, args=arguments)
            other.start()
            ending.callback(_kill, other)
            theirs.close()
            others.append(ours)
        if nodes > 1:
            elsewhere = OtherNodes(["-c", _ON_ANOTHER_NODE], nodes, devices, share, (job, devices, size, join, share))
            ending.callback(elsewhere.end)
            others += [elsewhere] * (size - devices)
        for each in others:
            _raise(_said(each))
        torch.set_num_threads(share)
        distributed.init_process_group(_backend(), store=meeting, rank=0, world_size=size)
        try:
            return work(Group(0, size))
        except RuntimeError:
            # Where another process ends, what breaks here, and in others, is the connection to it.
            last = time.monotonic() + 5
            said = [_said(each) for each in others if each.poll(max(0.0, last - time.monotonic()))]
            for error in sorted(said, key=lambda error: not isinstance(error, InputError)):
                _raise(error)
            raise


def _meeting(
    size: int, nodes: int, ending: contextlib.ExitStack
) -> tuple[distributed.Store, Callable[[], distributed.Store]]:
    """Where the processes find each other: for the first one, and how others open it. One machine needs no port."""
    if nodes == 1:
        folder = ending.enter_context(tempfile.TemporaryDirectory())
        join = partial(distributed.FileStore, str(Path(folder) / "store"), size)
        return join(), join
    host = socket.gethostname()
    meeting = distributed.TCPStore(host, 0, size, is_master=True, wait_for_workers=False)
    return meeting, partial(distributed.TCPStore, host, meeting.port, size, wait_for_workers=False)


def _kill(other: BaseProcess) -> None:
    other.kill()
    other.join()


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _backend() -> str:
    return "nccl" if torch.cuda.is_available() else "gloo"


def _said(other: Connection | OtherNodes) -> Exception | None:
    """Waits until another process says that it is ready, or why it ended."""
    try:
        return other.recv()
    except EOFError:
        return RuntimeError("a process of this training was killed; the same command resumes from its last epoch")


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


def _other(
    first: Connection | FirstNode, job: bytes, group: Group, join: Callable[[], distributed.Store], threads: int
) -> None:
    """The work in another process than the first."""
    # Signals are the first process's to answer, with which this one ends, however that ends.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(BrokenPipeError):
        try:
            work = pickle.loads(job)  # noqa: S301 (from the process that started this one)
            torch.set_num_threads(threads)
            devices.keep_freed_memory()
            meeting = join()
            first.send(None)
            distributed.init_process_group(_backend(), store=meeting, rank=group.process, world_size=group.size)
            work(group)
        except InputError as error:
            first.send(error)
        except BaseException:  # whatever it is, the first process is to raise it
            first.send(RuntimeError(f"process {group.process} of {group.size}:\n{traceback.format_exc()}"))
    # At once: what is open waits for others that may have ended.
    os._exit(0)


_ON_ANOTHER_NODE = f"from {__name__} import on_another_node; on_another_node()"


def on_another_node() -> None:
    """What each process on another node runs."""
    first = FirstNode()
    job, devices, size, join, threads = first.given
    _other(first, job, Group(devices + first.task, size, first.of_node), join, threads)
