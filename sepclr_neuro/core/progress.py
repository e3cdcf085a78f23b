"""How long work says how far it is: each module by its logger, which the command line alone shows."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["set_level", "shown"]

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
