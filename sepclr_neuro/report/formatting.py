"""Values as text, and tables as downloads."""

from __future__ import annotations

import math
from numbers import Number
from typing import Any

import pandas as pd

from sepclr_neuro.core.storage import as_tsv
from sepclr_neuro.report.pictures import data_uri

__all__ = ["cell", "numeric_columns", "table_uri"]


def cell(value: Any) -> str:
    """A table's value for readers: n/a for missing, four digits for a fraction.

    >>> cell(float("nan")), cell(3.0), cell(0.123456), cell("site-1")
    ('n/a', '3', '0.1235', 'site-1')
    """
    if value is None:
        return "n/a"
    if isinstance(value, float):
        if math.isnan(value):
            return "n/a"
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """The columns of numbers, which pages align at the right; those without any value are none.

    >>> numeric_columns(pd.DataFrame({"n": [1, None], "rule": [None, "no volume"], "age, mean ± SD": ["30 ± 5"] * 2}))
    ['n', 'age, mean ± SD']
    """
    return [
        str(column)
        for column, values in table.items()
        if "±" in str(column) or (values.notna().any() and all(isinstance(value, Number) for value in values.dropna()))
    ]


def table_uri(table: pd.DataFrame) -> str:
    """A table as a file inside a link: TSV as all tables of the project are."""
    return data_uri(as_tsv(table).encode(), "text/tab-separated-values;charset=utf-8")
