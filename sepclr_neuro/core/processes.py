"""Several processes of one machine at the same work, each with its GPU, or its share of the processor's threads.

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
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor

from sepclr_neuro.core import devices
from sepclr_neuro.core.errors import InputError

__all__ = ["Group", "in_processes"]

Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h


@dataclass(frozen=True)
class Group:
    """The processes at one work, and which of them this is. The first one writes and speaks."""

    process: int = 0
    size: int = 1

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


def in_processes(size: int, work: Callable[[Group], Result]) -> Result:
    """Does the same work in several processes at once: this one, and others that live as long as it takes.

    Args:
        size: processes in all; 1 starts none.
        work: can be pickled. Each process calls it with its place in the group, on a copy of all that it holds.

    Returns:
        What this process's call returned.

    Raises:
        InputError: that of another process, where one of them ended that way.
    """
    if size == 1:
        return work(Group())
    context = multiprocessing.get_context("spawn")
    # By plain pickle: multiprocessing's own moves tensors to memory that all processes share, weights too.
    job = pickle.dumps(work)
    threads = torch.get_num_threads()
    others, pipes = [], []
    with tempfile.TemporaryDirectory() as folder:
        store = f"file://{Path(folder) / 'store'}"
        try:
            for process in range(1, size):
                ours, theirs = context.Pipe()
                arguments = (theirs, job, Group(process, size), store, max(1, threads // size))
                other = context.Process(target=_other, args=arguments)
                other.start()
                others.append(other)
                pipes.append(ours)
                theirs.close()
            for pipe in pipes:
                _hear(pipe)
            torch.set_num_threads(max(1, threads // size))
            distributed.init_process_group(_backend(), init_method=store, rank=0, world_size=size)
            try:
                return work(Group(0, size))
            except RuntimeError:
                # Where another process ends, what breaks here is the connection to it.
                for pipe in pipes:
                    if pipe.poll(5):
                        _hear(pipe)
                raise
        finally:
            for other in others:
                other.kill()
                other.join()
            if distributed.is_initialized():
                distributed.destroy_process_group()
            torch.set_num_threads(threads)


def _backend() -> str:
    return "nccl" if torch.cuda.is_available() else "gloo"


def _hear(pipe: Connection) -> None:
    """Waits until another process says that it is ready, or why it ended, which is raised."""
    try:
        said = pipe.recv()
    except EOFError:
        raise RuntimeError(
            "a process of this training was killed; the same command resumes from its last epoch"
        ) from None
    if said is not None:
        raise said


def _other(pipe: Connection, job: bytes, group: Group, store: str, threads: int) -> None:
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
            pipe.send(None)
            distributed.init_process_group(_backend(), init_method=store, rank=group.process, world_size=group.size)
            work(group)
        except InputError as error:
            pipe.send(error)
        except BaseException:  # whatever it is, the first process is to raise it
            pipe.send(RuntimeError(f"process {group.process} of {group.size}:\n{traceback.format_exc()}"))
    # At once: what is open waits for others that may have ended.
    os._exit(0)
