"""Symptom scales of the field, and the columns of tables that hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sepclr_neuro.config.model import OPEN
from sepclr_neuro.data.facts import is_global_rating
from sepclr_neuro.data.participants import is_number
from sepclr_neuro.run.init.entries import Entry, Tree
from sepclr_neuro.run.init.tables import Table, plain

__all__ = ["SCALES", "Scale", "numbers_in", "score_columns", "scores_of"]


@dataclass(frozen=True)
class Scale:
    """A scale.

    Attributes:
        name: what the configuration calls its score.
        total: finds a column of totals, by its plain name.
        range: lowest and highest possible total.
        items: finds a column of an item, whatever the case; empty where totals alone are looked for.
        highest: the highest value of an item; the lowest is 0.
        globals: numbers of the items that rate the others of their domain a second time.
    """

    name: str
    total: str
    range: tuple[int, int]
    items: str = ""
    highest: int = 0
    globals: tuple[int, ...] = ()


_TOTAL = "(total|tot|sum|score|totalscore|sumscore|composite)?"

SCALES = (
    Scale("sans", f"(total)?sans{_TOTAL}", (0, 125), r"sans[\W_]*(q|item|global)?[\W_]*\d+", 5, (7, 13, 17, 22, 25)),
    Scale("saps", f"(total)?saps{_TOTAL}", (0, 170), r"saps[\W_]*(q|item|global)?[\W_]*\d+", 5, (7, 20, 25, 34)),
    Scale("panss", f"(total)?panss{_TOTAL}", (30, 210)),
    Scale("panss_positive", f"panss(positive|pos|p){_TOTAL}", (7, 49)),
    Scale("panss_negative", f"panss(negative|neg|n){_TOTAL}", (7, 49)),
    Scale("panss_general", f"panss(general|gen|g){_TOTAL}", (16, 112)),
    Scale("bprs", f"bprs{_TOTAL}", (18, 168)),
    Scale("madrs", f"madrs{_TOTAL}", (0, 60)),
    Scale("hamd", f"(hamd|hdrs|hamd17|hdrs17|hamd21|hdrs21){_TOTAL}", (0, 66)),
    Scale("bdi", f"bdi(ii|2)?{_TOTAL}", (0, 63)),
    Scale("ymrs", f"ymrs{_TOTAL}", (0, 60)),
)


def score_columns(columns: Sequence[str]) -> dict[str, tuple[Scale, str | list[str]]]:
    """By score the column of its total or, where there is none, those of its items.

    >>> found = score_columns(["SANS_Q1", "SANS_Q2", "PANSS_total"])
    >>> {name: where for name, (_, where) in found.items()}
    {'sans': ['SANS_Q1', 'SANS_Q2'], 'panss': 'PANSS_total'}
    """
    found: dict[str, tuple[Scale, str | list[str]]] = {}
    for scale in SCALES:
        totals = [column for column in columns if re.fullmatch(scale.total, plain(column))]
        items = [column for column in columns if scale.items and re.fullmatch(scale.items, column, re.IGNORECASE)]
        if totals:
            found[scale.name] = (scale, totals[0])
        elif items:
            found[scale.name] = (scale, items)
    return found


def numbers_in(texts: pd.Series) -> pd.Series:
    """The numbers among texts."""
    known = texts.dropna()
    return known[known.map(is_number)].astype(float)


def scores_of(rows: pd.DataFrame, tables: Sequence[Table], background: pd.Series, missing: Sequence[str]) -> Tree:
    """The section `scores`.

    Args:
        rows: of all participants, text.
        tables: that the rows were joined from.
        background: who is in the background group, as far as that is known.
        missing: texts that mean missing.
    """
    entries: dict[str, Entry] = {}
    for name, (scale, where) in score_columns(list(rows.columns)).items():
        kept, settings = [], {}
        if isinstance(where, str):
            kept = [where]
            settings["column"] = Entry(where, f"the total of {name.replace('_', ' ')}, by the name of its column", True)
            highest = float(scale.range[1])
        else:
            kept, settings = _items(scale, where, tables)
            highest = float(scale.highest * len(kept))
        values = pd.DataFrame({item: numbers_in(rows[item].mask(rows[item].isin(missing))) for item in kept})
        totals = values.sum(axis=1, skipna=False)[values.notna().all(axis=1)]
        if totals.empty:
            continue
        lowest = float(scale.range[0]) if isinstance(where, str) else 0.0
        there = f"the tables have {totals.min():g} to {totals.max():g}, of {len(totals)} rows"
        fits = lowest <= totals.min() and totals.max() <= highest
        possible = f"lowest and highest possible total of the scale; {there}"
        settings["range"] = Entry([lowest, highest] if fits else OPEN, possible, fits)
        of_others = totals[background.reindex(totals.index, fill_value=False)]
        if (of_others != lowest).any():
            why = f"the background group has scores as well ({(of_others != lowest).sum()} rows)"
            settings["people"] = Entry("all", why, True)
        entries[name] = Entry(settings)
    return entries


def _items(scale: Scale, items: Sequence[str], tables: Sequence[Table]) -> tuple[list[str], dict[str, Entry]]:
    """The items that are summed, and how the configuration says so."""
    described = {key: about for table in tables for key, about in (table.described or {}).items()}
    by_name = [item for item in items if is_global_rating(item, described)]
    # As far as no table says which, by the numbers of the published scale.
    numbered = {item: int(re.findall(r"\d+", item)[-1]) for item in items}
    whole = max(numbered.values()) >= scale.globals[-1]
    by_number = [item for item in items if numbered[item] in scale.globals] if whole and not by_name else []
    excluded = by_name or by_number
    stems = {re.sub(r"\d+$", "", item) for item in items}
    name = scale.name.upper()
    settings = {
        "items": Entry(
            rf"{re.escape(min(stems))}\d+" if len(stems) == 1 else list(items),
            f"no column has the total of {name}; these columns are its items",
            True,
        )
    }
    if excluded:
        said = "by the JSON file or their names" if by_name else "by their numbers in the published scale"
        why = f"global ratings of a domain, which repeat the items that they rate, {said}"
        settings["exclude_items"] = Entry(excluded, why, True)
    return [item for item in items if item not in excluded], settings
