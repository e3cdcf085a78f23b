"""Work on many items side by side, in threads, with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sepclr_neuro.core.progress import followed

__all__ = ["free_cores", "in_parallel"]

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


def free_cores() -> int:
    """The cores that this process may use; on macOS and Windows, which do not say, those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(function: Callable[[_Item], _Value], items: Sequence[_Item], label: str) -> list[_Value]:
    """``function`` of each item in threads (decompression and filters release Python's lock), with progress."""
    cores = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(cores) if cores.isdigit() and int(cores) > 0 else free_cores()
    executor = ThreadPoolExecutor(threads)
    try:
        return list(followed(executor.map(function, items), len(items), label))
    finally:
        executor.shutdown(cancel_futures=True)
