"""The meanings of columns written out: as the JSON beside a table, and as docs/columns.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sepclr_neuro.report.columns import TABLES, meaning_of
from sepclr_neuro.report.common_columns import COLUMNS, PATTERNS, Column

__all__ = ["as_markdown", "sidecar"]


def sidecar(table: str, columns: list[str], of_users: Mapping[str, str]) -> dict[str, Any]:
    """The JSON beside a table, as BIDS has it: the table, then each column.

    Args:
        table: its kind.
        columns: those that it has.
        of_users: columns that the configuration names, with what is known of them.
    """
    content: dict[str, Any] = {"TableDescription": f"Each row: {TABLES[table].description}."}
    for name in columns:
        meaning = meaning_of(table, name) or Column(of_users.get(name, "Column that the configuration names"))
        entry: dict[str, Any] = {"Description": f"{meaning.description}."}
        if meaning.units:
            entry["Units"] = meaning.units
        if meaning.levels:
            entry["Levels"] = {level: said or level for level, said in meaning.levels.items()}
        content[name] = entry
    return content


def as_markdown() -> str:
    """docs/columns.md."""
    lines = [
        "# Columns of all tables",
        "",
        "Written by `python -c 'from sepclr_neuro.report.descriptions import as_markdown; print(as_markdown())'`.",
        "",
        "## In every table that has them",
        "",
        *_rows(COLUMNS | {f"`{pattern}`": meaning for pattern, meaning in PATTERNS.items()}),
    ]
    for table in TABLES.values():
        lines += ["", f"## {table.files}", "", f"Each row: {table.description}."]
        if table.own:
            lines += ["", *_rows(table.own)]
    return "\n".join(lines)


def _rows(columns: Mapping[str, Column]) -> list[str]:
    rows = ["| column | meaning | units | values |", "|---|---|---|---|"]
    for name, meaning in columns.items():
        values = "; ".join(f"{level}: {said}" if said else level for level, said in meaning.levels.items())
        cells = [name if name.startswith("`") else f"`{name}`", meaning.description, meaning.units, values]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows
