"""How benchmarks take times and memory, and run what is to have a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sepclr_neuro.core import devices

__all__ = ["best_of", "best_of_each", "held_memory", "in_new_process", "mean_of", "mean_of_each"]

_Result = TypeVar("_Result")


def best_of(function: Callable[[], object], repetitions: int, warm_up: int = 1) -> float:
    """Seconds of the fastest of calls that all do the same: what else a machine does makes one slower, never faster.

    Args:
        warm_up: calls before, which do not count.
    """
    seconds = []
    for call in range(-warm_up, repetitions):
        started = time.perf_counter()
        function()
        if call >= 0:
            seconds.append(time.perf_counter() - started)
    return min(seconds)


def best_of_each(functions: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """The same of several functions, called by turns: what else a machine does meets all alike, for their ratios."""
    return {name: min(seconds) for name, seconds in _by_turns(functions, repetitions, warm_up=1).items()}


def mean_of(function: Callable[[], object], repetitions: int, warm_up: int = 1) -> float:
    """Seconds of a call, the mean of calls one after the other, as a loop makes them; of work that is random too."""
    for _ in range(warm_up):
        function()
    started = time.perf_counter()
    for _ in range(repetitions):
        function()
    return (time.perf_counter() - started) / repetitions


def mean_of_each(functions: Mapping[str, Callable[[], object]], repetitions: int, warm_up: int) -> dict[str, float]:
    """The same of several functions, called by turns."""
    return {name: sum(seconds) / repetitions for name, seconds in _by_turns(functions, repetitions, warm_up).items()}


def _by_turns(functions: Mapping[str, Callable[[], object]], repetitions: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each call but those before."""
    turns = [{name: best_of(f, 1, warm_up=0) for name, f in functions.items()} for _ in range(warm_up + repetitions)]
    return {name: [turn[name] for turn in turns[warm_up:]] for name in functions}


def held_memory(kind: str) -> float:
    """MiB of this process, by a line of the system's account of it (`man 5 proc`): ``RssAnon`` is what it holds now
    beyond the page cache, ``VmHWM`` the most that it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def in_new_process(function: Callable[..., _Result], *arguments: Any, keep_memory: bool = False) -> _Result:
    """What a function returns in a process that handles memory as the system does by default, or as our own command
    line does."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, keep_memory, function, *arguments))
    process.start()
    sender.close()  # here, so that a process that failed is not waited for
    with receiver:
        result: _Result = receiver.recv()
    process.join()
    return result


def _send(sender: Connection, keep_memory: bool, function: Callable[..., Any], *arguments: Any) -> None:
    if keep_memory:
        devices.keep_freed_memory()
    with sender:
        sender.send(function(*arguments))
