"""Results of benchmarks: rows of name, value and unit, saved as soon as they are measured."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sepclr_neuro.core import devices
from sepclr_neuro.core.storage import read_tsv, write_tsv

__all__ = ["Rows", "run"]


class Rows:
    """A table of results on disk; measuring a row again replaces it.

    Args:
        path: of the table; None for no table.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def has(self, *names: str) -> bool:
        """Whether the table has all of these rows already, so that an interrupted run can skip them."""
        return set(names) <= set(self.values())

    def values(self) -> dict[str, float]:
        """The values that the table has, by name."""
        if self.path is None or not self.path.is_file():
            return {}
        table = read_tsv(self.path, text=("name", "unit"))
        return dict(zip(table["name"], table["value"].astype(float), strict=True))

    def add(self, name: str, value: float, unit: str, note: str = "") -> None:
        """Prints a row and saves it. A row with the value NaN is removed from the table; ``note`` gives the reason."""
        print(f"{name}\t{value:.4g}\t{unit}" + (f"\t# {note}" if note else ""), flush=True)
        if self.path is None:
            return
        table = pd.DataFrame(columns=["name", "value", "unit"])
        if self.path.is_file():
            table = read_tsv(self.path, text=("name", "unit"))
        table = table[table["name"] != name]
        if not math.isnan(value):
            row = pd.DataFrame([{"name": name, "value": float(f"{value:.4g}"), "unit": unit}])
            table = pd.concat([table, row], ignore_index=True)
        write_tsv(self.path, table)


def run(description: str | None, measure: Callable[[Rows, bool], None]) -> None:
    """The command line of a benchmark, with the memory settings of `sepclr-neuro`.

    Args:
        description: of the benchmark; the first line is used.
        measure: called with the rows, and with whether to use small sizes, to try the benchmark out.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small size, to try it out")
    parser.add_argument("--output", type=Path, help="table of the rows; those that it has are not measured again")
    arguments = parser.parse_args()
    devices.keep_freed_memory()
    measure(Rows(arguments.output), arguments.quick)
