"""What benchmarks measure: rows of name, value and unit, kept as they come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sepclr_neuro.storage import read_tsv, write_tsv

__all__ = ["Rows", "best_of"]


class Rows:
    """A table of figures on disk, a row of which is replaced when it is measured again.

    Args:
        path: of the table; None keeps nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def add(self, name: str, value: float, unit: str, note: str = "") -> None:
        """Prints a row and keeps it; ``note`` says why there is no value, where it is NaN."""
        print(f"{name}\t{value:.4g}\t{unit}" + (f"\t# {note}" if note else ""), flush=True)
        if self.path is None or math.isnan(value):
            return
        table = pd.DataFrame(columns=["name", "value", "unit"])
        if self.path.is_file():
            table = read_tsv(self.path, text=("name", "unit"))
        row = pd.DataFrame([{"name": name, "value": float(f"{value:.4g}"), "unit": unit}])
        write_tsv(self.path, pd.concat([table[table["name"] != name], row], ignore_index=True))


def best_of(
    function: Callable[[], object], repetitions: int, warm_up: int = 1, wait: Callable[[], object] | None = None
) -> float:
    """Seconds of the fastest of some calls: what else a machine does makes a call slower, never faster.

    Args:
        warm_up: calls before, which do not count.
        wait: for a device to finish.
    """
    seconds = []
    for call in range(-warm_up, repetitions):
        started = time.perf_counter()
        function()
        if wait is not None:
            wait()
        if call >= 0:
            seconds.append(time.perf_counter() - started)
    return min(seconds)
