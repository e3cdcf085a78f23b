"""Work that is killed with SIGKILL on purpose: at a chosen write, at the start of an epoch, or after some seconds.

The program itself knows of no failpoints: a child process patches the two calls through which all of it passes,
``os.replace`` of `storage` and the start of an epoch. An environment variable, the alternative, would be a switch in
the program that only tests may touch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.data import volumes
from sepclr_neuro.learning import training
from sepclr_neuro.learning.loop import Loop

__all__ = ["CONTEXT", "Point", "run", "train", "write_volumes"]

# Children are forked from a process that has imported everything and started nothing: a kill costs no import.
CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.killing"])


@dataclass(frozen=True)
class Point:
    """Where to be killed: at the start of an epoch, or at a write, its file not yet there, torn in half or in place."""

    place: Literal["before write", "within write", "after write", "epoch"]
    number: int


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(point: Point) -> None:
    """Patches this process so that it dies at the point."""
    calls = 0
    replace, start = os.replace, Loop.on_train_epoch_start

    def counted_replace(source: Any, target: Any) -> None:
        nonlocal calls
        calls += 1
        if calls != point.number:
            return replace(source, target)
        if point.place == "within write":
            os.truncate(source, os.path.getsize(source) // 2)
        elif point.place == "after write":
            replace(source, target)
        return _kill()

    def counted_start(loop: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == point.number:
            _kill()
        start(loop)

    if point.place == "epoch":
        Loop.on_train_epoch_start = counted_start  # type: ignore[method-assign]
    else:
        os.replace = counted_replace


def _work(job: Callable[..., None], arguments: tuple[Any, ...], point: Point | None) -> None:
    with open(os.devnull, "w") as nowhere:  # what is said is not what is tested
        os.dup2(nowhere.fileno(), 2)
    if point is not None:
        _arm(point)
    job(*arguments)


def run(job: Callable[..., None], *arguments: Any, point: Point | None = None, seconds: float | None = None) -> bool:
    """Runs a job in a process of its own, killed at a point or after some seconds; whether it ended by itself."""
    process = CONTEXT.Process(target=_work, args=(job, arguments, point))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return bool(process.exitcode == 0)


def train(config: Config, results: Results, method: str) -> None:
    """Fold 0 of a method."""
    training.write_fold_model(config, results, method, 0)


def write_volumes(config: Config, results: Results) -> None:
    """The cache of a cohort."""
    volumes.write_volumes(config, results)
