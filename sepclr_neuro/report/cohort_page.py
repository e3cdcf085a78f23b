"""The page that `check` writes: the cohort, to be seen before anything is trained. It names participants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import by_kind
from sepclr_neuro.core.storage import write_text
from sepclr_neuro.core.words import counted
from sepclr_neuro.data import outliers
from sepclr_neuro.data.cohort import CohortTables
from sepclr_neuro.maps.cohort_look import MOST_OUTLIERS, Looked
from sepclr_neuro.maps.slices import MIDDLE_MM
from sepclr_neuro.probing.demographics import described
from sepclr_neuro.report.cohort import flow_tables, paired
from sepclr_neuro.report.distributions import distributions_figure
from sepclr_neuro.report.filling import filled
from sepclr_neuro.report.pictures import Picture, grey

__all__ = ["cohort_page", "write_cohort_page"]

_MEASURES = {
    "correlation": "correlation with the others",
    "total_ml": "total grey matter, ml",
    "asymmetry": "correlation of the asymmetry",
}
_KINDS = {
    "simulated": "Its participants do not exist yet: these are those whom a run would make.",
    "implanted": "The volumes are real and shown as they are. A run will put a known pattern into participants drawn "
    "at random, who are called the target group here.",
    "files": "Participants and volumes come from the tables named in the configuration.",
}


@dataclass(frozen=True)
class _Site:
    """Pictures of a site, with their captions."""

    name: str
    pictures: list[tuple[Picture, str]]


def write_cohort_page(
    path: Path,
    config: Config,
    problems: pd.DataFrame,
    people: pd.DataFrame | None,
    tables: CohortTables | None,
    looked: Looked | None,
) -> None:
    """Writes :func:`cohort_page`."""
    write_text(path, cohort_page(config, problems, people, tables, looked))


def cohort_page(
    config: Config,
    problems: pd.DataFrame,
    people: pd.DataFrame | None,
    tables: CohortTables | None,
    looked: Looked | None,
) -> str:
    """One page that opens without a network; text from users is escaped.

    Args:
        problems: ``severity problem``, a row each.
        people: rows of ``cohort.tsv``, as far as they exist; None where the tables cannot be read.
        tables: where the cohort comes from; None of one to be simulated.
        looked: what volumes look like; None where they were not read.
    """
    content: dict[str, Any] = {
        "config": config,
        "banner": (config.cohort.kind[0], _KINDS[config.cohort.source]),
        "version": __version__,
        "severities": _by_severity(problems),
        "problems": problems,
        "cohort": None if people is None else _cohort(config, people, tables, looked),
        "seen": None if looked is None else _seen(looked),
    }
    return filled("cohort_page.html", content, f"{config.title}: the cohort")


def _by_severity(problems: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Lines of errors, then of warnings, as the text has them."""
    texts = {kind: problems.loc[problems["severity"] == kind, "problem"].tolist() for kind in ("error", "warning")}
    return [(counted(len(lines), kind).capitalize(), by_kind(lines)) for kind, lines in texts.items() if lines]


def _cohort(config: Config, scans: pd.DataFrame, tables: CohortTables | None, looked: Looked | None) -> dict[str, Any]:
    """What tables tell of the participants, and the chart beside it."""
    people = scans.drop_duplicates("participant_id")
    # Later steps, for they name those too whose volume cannot be used.
    unusable = 0 if tables is None else len(tables.cohort) - len(scans)
    kind = "diagnosis"
    if config.cohort.diseases:  # by the names that the user gave to several diagnoses
        kind, people = "disease", people.assign(disease=people["disease"].fillna(people["diagnosis"]))
    by = {column: described(config, people, column) for column in (kind, "site")}
    counts = pd.crosstab(people["site"].fillna("n/a"), people[kind]).reset_index()
    measures = {"age": "age, years"}
    tiv = config.volumes.tiv_column or "tiv"
    if tiv in people and pd.api.types.is_numeric_dtype(people[tiv]):
        measures[tiv] = "total intracranial volume, ml"
    if looked is not None:
        total = looked.outliers.measures.set_index("scan_id")["total_ml"]
        people = people.assign(total_ml=people["scan_id"].map(total))
        measures["total_ml"] = "total grey matter, ml"
    return {
        "people": len(people),
        "scans": len(scans),
        "sites": people["site"].nunique(),
        "groups": people["group"].value_counts().to_dict(),
        "flow": None if tables is None else _flow(tables, unusable),
        "described": {column: (paired(table), table) for column, table in by.items()},
        "kind": kind,
        "counts": counts,
        "chart": distributions_figure(people, measures),
    }


def _flow(tables: CohortTables, unusable: int) -> dict[str, Any]:
    flow = tables.flow
    if unusable:
        remaining = len(tables.cohort) - unusable
        row = ("exclude", "volume cannot be used (cohort.on_error: exclude)", unusable, remaining)
        flow = pd.concat([flow, pd.DataFrame([row], columns=flow.columns)], ignore_index=True)
    caption = "Excluded scans." + (" Those whose volume cannot be used are among the warnings." if unusable else "")
    return {**flow_tables(flow), "exclusions": tables.exclusions, "exclusions_caption": caption}


def _seen(looked: Looked) -> dict[str, Any]:
    """Pictures of sites and outliers, on one scale of grey."""
    of_scans = {site: list(shown.items()) for site, shown in looked.sites.examples.items()}
    strong = [
        np.quantile(slices[slices > 0], 0.99) for shown in of_scans.values() for _, slices in shown if slices.any()
    ]
    # Room above what is usual, so that a volume of twice the intensity looks brighter.
    white = 1.3 * float(np.median(strong)) if strong else 1.0
    sites = []
    for site, mean in looked.sites.means().items():
        count = looked.sites.counts[site]
        pictures = [(grey(mean, white, f"Three slices of the mean volume of {site}."), f"mean of {count}")]
        for scan_id, slices in of_scans.get(site, []):
            pictures.append((_of_scan(scan_id, slices, white), scan_id))
        sites.append(_Site(site, pictures))
    found = looked.outliers.found
    columns = ["scan", "measure", "value", "median", "robust z", "what it may be"]
    listed = []
    for each in found:
        numbers = (float(f"{number:.3g}") for number in (each.value, each.usual, each.z))
        listed.append((each.scan_id, _MEASURES[each.measure], *numbers, each.meaning))
    reasons: dict[str, list[str]] = {}
    for each in found:
        reasons.setdefault(each.scan_id, []).append(each.meaning)
    measures = looked.outliers.measures
    return {
        "sites": sites,
        "outliers": pd.DataFrame(listed, columns=columns),
        "of_outliers": [
            (
                grey(slices, white, f"Three slices of the volume of {scan_id}."),
                f"{scan_id}: {'; '.join(reasons[scan_id])}",
            )
            for scan_id, slices in looked.slices.items()
        ],
        "unshown": len(reasons) - len(looked.slices),
        "most": MOST_OUTLIERS,
        "measures": measures,
        "compared": len(measures) >= outliers.LEAST_SCANS,
        "least": outliers.LEAST_SCANS,
        "threshold": outliers.THRESHOLD,
        "sides_differ": looked.outliers.sides_differ,
        "asymmetry": measures["asymmetry"].median(),
        "least_asymmetry": outliers.LEAST_ASYMMETRY,
        "cuts": ", ".join(f"{axis} = {cut}" for axis, cut in MIDDLE_MM.items()).replace("-", "\N{MINUS SIGN}"),
    }


def _of_scan(scan_id: str, slices: NDArray[np.float32], white: float) -> Picture:
    return grey(slices, white, f"Three slices of the volume of {scan_id}.")
