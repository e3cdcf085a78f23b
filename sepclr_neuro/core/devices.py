"""Which processor a command computes on: a free GPU of this machine, and the threads and memory of its CPUs.

Schedulers such as SLURM hand out GPUs by CUDA_VISIBLE_DEVICES. Where none does (several jobs of one workflow on a
workstation) jobs would all take the first GPU; here each takes those that no other command of the project holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from sepclr_neuro.core.errors import InputError

try:
    import fcntl
    import resource
except ModuleNotFoundError:  # Windows
    fcntl = resource = None  # type: ignore[assignment]

__all__ = ["free_gpus", "given_threads", "keep_freed_memory", "peak_memory", "use_given_threads"]

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def given_threads() -> int | None:
    """How many threads a command may use, by OMP_NUM_THREADS, which Snakemake sets to a rule's ``threads``."""
    given = os.environ.get("OMP_NUM_THREADS")
    if given is None:
        return None
    if not given.isdecimal() or int(given) == 0:
        raise InputError(f"OMP_NUM_THREADS: expected a whole number above 0, got {given!r}; unset it or correct it")
    return int(given)


def use_given_threads() -> None:
    """Sets how many threads torch may use."""
    given = given_threads()
    if given is not None:
        import torch

        torch.set_num_threads(given)


def keep_freed_memory() -> None:
    """Makes glibc keep what this process frees, for its next step; does nothing with another C library.

    By default glibc hands large freed tensors back to the system, which clears the same pages again for each step
    (`man 3 mallopt`). Kept, they leave gaps that not every other tensor fits: at 128³ a step takes a tenth to three
    tenths less time, its process up to 1.4 times the memory (`benchmarks/training_step.py`). All threads share one
    heap, so that what one of them freed is there for the others.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)
        library.mallopt(_M_ARENA_MAX, 1)


def peak_memory() -> str:
    """The most memory that this process has held: of its GPU where it has one, else of the machine."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of the GPU"
    if resource is None:
        most = psutil.Process().memory_info().peak_wset
    else:
        # In bytes on macOS, in KiB elsewhere.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{most / 2**30:.2f} GiB"


def _gpus() -> list[str]:
    """Names (UUIDs) of this machine's GPUs, without starting CUDA: its choice of devices is final once it started."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.split() if answer.returncode == 0 else []


def _open_lock(path: Path) -> int:
    # Another user may have made the file, and a lock needs no right to write.
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)


@contextlib.contextmanager
def free_gpus(count: int = 1, locks: Path | None = None) -> Iterator[str | None]:
    """Holds GPUs for the duration, in CUDA_VISIBLE_DEVICES; waits while too many are held by other commands.

    Does nothing where there is no GPU, where CUDA_VISIBLE_DEVICES says already which, or on Windows. The lock is the
    system's, so that a killed command frees its GPU. Enter it before anything starts CUDA.

    Args:
        count: how many.
        locks: folder of the lock files, one a GPU; the system's temporary folder by default.

    Yields:
        the UUIDs of the GPUs, with commas between them, or None.

    Raises:
        InputError: if this machine has fewer.
    """
    gpus = _gpus() if fcntl is not None and "CUDA_VISIBLE_DEVICES" not in os.environ else []
    if not gpus:
        yield None
        return
    if count > len(gpus):
        raise InputError(f"training.devices: {count} GPUs are requested, this machine has {len(gpus)}; set it to that")
    folder = Path(tempfile.gettempdir()) if locks is None else locks
    handles = {gpu: _open_lock(folder / f"sepclr-neuro-{gpu}.lock") for gpu in gpus}
    try:
        held = ",".join(_lock_some(handles, count))
        os.environ["CUDA_VISIBLE_DEVICES"] = held
        yield held
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        for handle in handles.values():
            os.close(handle)


def _lock_some(handles: dict[str, int], count: int) -> list[str]:
    reported = False
    while True:
        held: list[str] = []
        for gpu, handle in handles.items():
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(gpu)
            if len(held) == count:
                return held
        # All or none: two commands that each held some would wait for each other for ever.
        for gpu in held:
            fcntl.flock(handles[gpu], fcntl.LOCK_UN)
        if not reported:
            held_gpus = f"all {len(handles)}" if not held else f"all but {len(held)} of {len(handles)}"
            logger.info(f"{held_gpus} GPUs are held by other commands; waiting for {'one' if count == 1 else count}")
            reported = True
        time.sleep(WAIT_SECONDS)
