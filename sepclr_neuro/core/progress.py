"""How long work says how far it is."""

from __future__ import annotations

import sys

__all__ = ["say"]


def say(message: str) -> None:
    """A line on standard error, at once."""
    print(message, file=sys.stderr, flush=True)
