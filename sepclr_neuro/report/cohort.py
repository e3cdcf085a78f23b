"""The cohort: participant flow, exclusions, demographics, and the mean and SD of the volumes."""

from __future__ import annotations

import logging
import math
from typing import Any

import pandas as pd

from sepclr_neuro.core.words import spread
from sepclr_neuro.report import figures
from sepclr_neuro.report.pictures import Picture
from sepclr_neuro.report.reading import Run

__all__ = ["cohort_and_volumes", "flow_tables", "paired"]

logger = logging.getLogger(__name__)


def cohort_and_volumes(run: Run, charts: dict[str, Picture]) -> dict[str, Any]:
    """The flow of participants into the cohort, demographics, and the mean and SD of all volumes."""
    cohort, exclusions, flow, cache = run.cohort, run.exclusions, run.flow, run.volumes
    by_rule = exclusions.groupby(["study", "rule"], sort=False, dropna=False).size().rename("excluded").reset_index()
    people = cohort["participant_id"].nunique()
    logger.info(f"report: {len(cohort)} scans of {people} participants; mean and SD of {len(cache.scan_ids)} volumes")
    demographics = run.tables.get("demographics")
    return {
        "people": people,
        "scans": len(cohort),
        "sites": cohort["site"].nunique(),
        "groups": cohort.drop_duplicates("participant_id")["group"].value_counts().to_dict(),
        **flow_tables(flow),
        # With ids, the whole list.
        "exclusions": exclusions if run.config.report.participant_ids else by_rule,
        "exclusions_caption": "Exclusions."
        if run.config.report.participant_ids
        else "Exclusions by study and rule. Their ids are in cohort/exclusions.tsv.",
        "demographics": demographics,
        "demographics_shown": None if demographics is None else paired(demographics),
        "volumes": {
            "picture": charts.setdefault("volumes", figures.volume_figure(cache)),
            "count": len(cache.scan_ids),
            "shape": " × ".join(str(size) for size in cache.shape),
            "voxel": " × ".join(f"{size:.3g}" for size in (cache.affine[:3, :3] ** 2).sum(axis=0) ** 0.5),
        },
    }


def flow_tables(flow: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The steps of a flow ``step rule removed remaining`` that subtract, and those that only count."""
    return {
        "flow": flow.loc[flow["step"] != "count", ["rule", "removed", "remaining"]],
        "counted": flow.loc[flow["step"] == "count", ["rule", "remaining"]].set_axis(["among them", "scans"], axis=1),
    }


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """Puts ``x_mean`` and ``x_sd`` into one column of text, and ``x_min`` and ``x_max``, so that it fits a page."""
    shown = pd.DataFrame(index=table.index)
    for column in table.columns:
        stem, _, kind = column.rpartition("_")
        if kind == "mean" and f"{stem}_sd" in table:
            pairs = zip(table[column], table[f"{stem}_sd"], strict=True)
            shown[f"{stem}, mean ± SD"] = [_joined("{:.1f}", mean) + spread(mean, sd, decimals=1) for mean, sd in pairs]
        elif kind == "min" and f"{stem}_max" in table:
            pairs = zip(table[column], table[f"{stem}_max"], strict=True)
            shown[f"{stem}, range"] = [_joined("{:.0f}–{:.0f}", *pair) for pair in pairs]
        elif kind == "percent":
            shown[f"{stem}, %"] = [_joined("{:.1f}", value) for value in table[column]]
        elif not (kind in ("sd", "max") and f"{stem}_{'mean' if kind == 'sd' else 'min'}" in table):
            shown[column] = table[column]
    return shown


def _joined(form: str, first: float, *others: float) -> str:
    """Numbers in a form; n/a where there are none."""
    return "n/a" if math.isnan(first) else form.format(first, *others)
