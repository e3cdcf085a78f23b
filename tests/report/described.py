"""Which columns of a results folder have no meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.report.columns import TABLES, meaning_of

# What Snakemake measured, and what lives for a restart only.
NOT_OURS = ("benchmarks/", "checkpoints/")


def tables_in(results: Path) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The name, the kind by its place, and the content of each table of a results folder."""
    disorder = next(path.stem.removesuffix("_paper") for path in results.glob("tables/*_paper.tsv"))
    for path in sorted(results.rglob("*.tsv")):
        name = path.relative_to(results).as_posix()
        if name.startswith(NOT_OURS):
            continue
        kinds = [kind for kind, table in TABLES.items() if re.fullmatch(_pattern(table.files, disorder), name)]
        assert len(kinds) == 1, f"{name}: is in TABLES as {kinds}"
        yield name, kinds[0], read_tsv(path)


def _pattern(files: str, disorder: str) -> str:
    escaped = re.escape(files).replace(re.escape("<disorder>"), disorder)
    return re.sub(r"<\w+>", "[^/]+", escaped)


def undescribed(results: Path) -> list[str]:
    """Columns without a meaning, and texts that are none of a column's levels."""
    wrong = []
    for name, kind, table in tables_in(results):
        for column in table:
            meaning = meaning_of(kind, str(column))
            if meaning is None:
                wrong.append(f"{name}: {column}")
            elif meaning.levels:
                values = set(table[column].dropna().astype(str))
                wrong += [f"{name}: {column}: {value}" for value in values - set(meaning.levels)]
    return wrong
