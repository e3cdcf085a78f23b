"""How long work says how far it is: lines of the package's loggers, which the command line alone shows.

A line comes at most every :data:`SECONDS` at a tenth of the work, every :data:`LONGEST` otherwise, so that a terminal
to which several jobs write stays readable. What was last said is kept for the record of the job (``core/jobs.py``).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from sepclr_neuro.core.words import duration

__all__ = ["Progress", "followed", "latest", "set_level", "shown"]

logger = logging.getLogger(__name__)

SECONDS, LONGEST = 10.0, 30.0

_Value = TypeVar("_Value")
_latest: dict[str, Any] = {}

_LEVEL = "SEPCLR_NEURO_LEVEL"  # the environment variable that sets the level of messages of child processes
_package = logging.getLogger("sepclr_neuro")


class _StandardError(logging.Handler):
    """Plain lines on what is standard error at that moment, at once."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def shown() -> Iterator[None]:
    """Shows what the package says meanwhile: progress, warnings and errors, unless the level is another."""
    handler, before = _StandardError(), _package.level
    _package.addHandler(handler)
    _package.setLevel(os.environ.get(_LEVEL, "INFO"))
    try:
        yield
    finally:
        _package.removeHandler(handler)
        _package.setLevel(before)


def set_level(level: str) -> None:
    """Makes this process, and what it starts, say only what has this level, or more: DEBUG, INFO or WARNING."""
    os.environ[_LEVEL] = level
    _package.setLevel(level)


class Progress:
    """How far one piece of work is.

    Args:
        label: names the work and, where several jobs may be at it, the job.
        total: of its parts: volumes, epochs.
        done: where this process starts; what an earlier one did tells nothing about the time left.
    """

    def __init__(self, label: str, total: int, done: float = 0) -> None:
        self.label, self.total = label, total
        self._first, self._tenth = done, int(10 * done // max(1, total))
        self._started = self._said = time.monotonic()

    def at(self, done: float, what: str = "", more: str = "", say: bool = False) -> None:
        """Keeps how far the work is and, if it is time for a line or ``say``, says it.

        Args:
            done: parts, of ``total``; a fraction of one counts too.
            what: the number of parts in words; by default ``<done> of <total>``.
            more: the end of the line, of what else is known.
        """
        now = time.monotonic()
        what = what or f"{done:g} of {self.total}"
        left = None
        if self._first < done < self.total:
            left = (now - self._started) / (done - self._first) * (self.total - done)
        _latest.clear()
        _latest.update(work=self.label, at=what, share=round(done / max(1, self.total), 4), seconds_left=left)
        tenth = int(10 * done // max(1, self.total))
        if say or now - self._said >= (SECONDS if tenth > self._tenth else LONGEST) or done >= self.total:
            self._said, self._tenth = now, tenth
            share = f" ({100 * done / self.total:.0f} %)" if 0 < done < self.total else ""
            logger.info(f"{self.label}: {what}{share}{', ' * bool(more)}{more}{_left(left)}")


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", {duration(seconds)} left"


def followed(values: Iterable[_Value], total: int, label: str) -> Iterator[_Value]:
    """The values; says how many of them have been worked on: a bar in a terminal, lines elsewhere (a log file)."""
    progress = Progress(label, total)
    if sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
        yield from tqdm(values, desc=label, total=total)
        return
    for count, value in enumerate(values, start=1):
        yield value
        progress.at(count)


def latest() -> dict[str, Any]:
    """What this process last said: ``work``, ``at``, ``share`` of 1 and ``seconds_left`` (None: unknown)."""
    return dict(_latest)
