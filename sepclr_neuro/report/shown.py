"""How the report shows what it has: values, tables that can be downloaded, figures that are files too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from sepclr_neuro.core.storage import as_tsv, read_tsv
from sepclr_neuro.report.pictures import Picture, data_uri

__all__ = ["Figures", "cell", "optional_table", "table_uri"]


class Figures:
    """Takes each chart of the report and writes it as files, so that a paper has what the page shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def keep(self, name: str, picture: Picture) -> Picture:
        """Writes ``<name>.svg`` and ``<name>.png`` and gives the picture back."""
        picture.save(self.folder, name)
        self.count += 1
        return picture


def cell(value: Any) -> str:
    """A table's value for readers: n/a for missing, four digits for a fraction.

    >>> cell(float("nan")), cell(3.0), cell(0.123456), cell("site-1")
    ('n/a', '3', '0.1235', 'site-1')
    """
    if isinstance(value, float):
        if math.isnan(value):
            return "n/a"
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)


def table_uri(table: pd.DataFrame) -> str:
    """A table as a file inside a link: TSV as all tables of the project are."""
    return data_uri(as_tsv(table).encode(), "text/tab-separated-values;charset=utf-8")


def optional_table(path: Path, text: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """A table that a run may lack, None where it is absent or has no rows."""
    if not path.is_file():
        return None
    table = read_tsv(path, text=text)
    return None if table.empty else table
