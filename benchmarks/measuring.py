"""Measures time and memory for benchmarks, and runs functions in their own processes."""

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
    """Seconds of the fastest of several equal calls, since other load on the machine only makes calls slower.

    Args:
        function: to be timed.
        repetitions: number of timed calls.
        warm_up: number of calls before these.
    """
    seconds = []
    for call in range(-warm_up, repetitions):
        started = time.perf_counter()
        function()
        if call >= 0:
            seconds.append(time.perf_counter() - started)
    return min(seconds)


def best_of_each(functions: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """As :func:`best_of` for several functions, called in turn, so that other load affects all of them alike."""
    return {name: min(seconds) for name, seconds in _by_turns(functions, repetitions, warm_up=1).items()}


def mean_of(function: Callable[[], object], repetitions: int, warm_up: int = 1) -> float:
    """Mean seconds of consecutive calls, as in a loop; also for calls that differ at random."""
    for _ in range(warm_up):
        function()
    started = time.perf_counter()
    for _ in range(repetitions):
        function()
    return (time.perf_counter() - started) / repetitions


def mean_of_each(functions: Mapping[str, Callable[[], object]], repetitions: int, warm_up: int) -> dict[str, float]:
    """As :func:`mean_of` for several functions, called in turn."""
    return {name: sum(seconds) / repetitions for name, seconds in _by_turns(functions, repetitions, warm_up).items()}


def _by_turns(functions: Mapping[str, Callable[[], object]], repetitions: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each call after the warm-up."""
    turns = [{name: best_of(f, 1, warm_up=0) for name, f in functions.items()} for _ in range(warm_up + repetitions)]
    return {name: [turn[name] for turn in turns[warm_up:]] for name in functions}


def held_memory(kind: str, process: int | str = "self") -> float:
    """Memory of a process in MiB, from /proc/self/status (`man 5 proc`).

    Args:
        kind: ``RssAnon`` for what it holds now, without the page cache; ``VmHWM`` for its peak.
        process: its number; this one by default.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def in_new_process(function: Callable[..., _Result], *arguments: Any, keep_memory: bool = False) -> _Result:
    """Calls a function in a new process and returns its result.

    Args:
        function: at the top level of a module.
        arguments: of the function.
        keep_memory: whether the process keeps freed memory as `sepclr-neuro` does; otherwise system defaults apply.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, keep_memory, function, *arguments))
    process.start()
    sender.close()  # or `recv` would wait forever for a process that failed
    with receiver:
        result: _Result = receiver.recv()
    process.join()
    return result


def _send(sender: Connection, keep_memory: bool, function: Callable[..., Any], *arguments: Any) -> None:
    if keep_memory:
        devices.keep_freed_memory()
    with sender:
        sender.send(function(*arguments))
