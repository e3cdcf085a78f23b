"""Several diseases side by side: the map of each, what is specific to it, what they share, and all of it in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sepclr_neuro.core.statistics import false_discovery_rate
from sepclr_neuro.maps.diseases import disease_titles
from sepclr_neuro.report.findings import ALPHA, method_title, p_and_q
from sepclr_neuro.report.pictures import smaller
from sepclr_neuro.report.reading import Run

__all__ = ["diseases_of", "said_of_diseases"]

_CLAIMS = ("shared", "different")


def diseases_of(run: Run, maps: pd.DataFrame, best: str) -> dict[str, Any] | None:
    """Maps of a run's diseases by one method, and the table of pairs of all methods.

    Args:
        run: what the run wrote.
        maps: the table of patterns, a row a method and map, with q over all of them.
        best: the method whose maps are shown.

    Returns:
        ``table`` of the pairs, ``said``, ``shown``: rows of pictures with captions. None where the target group is of
        one kind.
    """
    names, pairs = list(run.config.cohort.diseases), _pairs(run)
    if not names or pairs is None:
        return None
    titles, pictures = disease_titles(names), run.patterns.get(best, {})

    def shown(kind: str) -> list[dict[str, Any]]:
        wanted = [name for name in titles if name.partition("-")[0] == kind]
        alt = f"{method_title(best)}, slices"
        return [
            {"caption": titles[name], "picture": smaller(pictures[name], f"{titles[name]}, {alt}")}
            for name in wanted
            if name in pictures
        ]

    said = said_of_diseases(names, maps[maps["method"] == best], pairs[pairs["method"] == best])
    readable = pairs.assign(method=[method_title(name) for name in pairs["method"]])
    rows = [row for row in map(shown, ("disease", "specific", "shared")) if row]
    return {"table": readable.dropna(axis="columns", how="all"), "said": said, "shown": rows}


def _pairs(run: Run) -> pd.DataFrame | None:
    """All methods' pairs of diseases, with q over both claims about all of them."""
    tables = [
        run.method_tables[method, "diseases"].assign(method=method)
        for method in run.config.methods
        if (method, "diseases") in run.method_tables
    ]
    if not tables:
        return None
    table = pd.concat(tables, ignore_index=True)
    p = table[[f"p_{claim}" for claim in _CLAIMS]].to_numpy(float)
    q = false_discovery_rate(p.ravel(), np.zeros(p.size)).reshape(p.shape)
    table = table.assign(**{f"q_{claim}": q[:, column] for column, claim in enumerate(_CLAIMS)})
    first = ["method", "disease", "other", "correlation"]
    first += [name for claim in _CLAIMS for name in (f"p_{claim}", f"q_{claim}")]
    return table[first + [name for name in table if name not in first]]


def said_of_diseases(names: list[str], maps: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    """Sentences about one method by plain rules from q: a disease's own map, what is specific, and every pair.

    That two diseases share something is said only where the map of each is beyond chance too.

    Args:
        names: of the diseases.
        maps: ``map p q voxels_beyond_chance``.
        pairs: ``disease other correlation p_shared q_shared p_different q_different`` and ``true_correlation``, where
            it is known.
    """
    rows = maps.set_index("map")
    if rows["q"].isna().all():
        return ["The diseases' maps are shown without a test, since `saliency.permutations` is 0."]
    said, has_map = [], {}
    for name in names:
        own = rows.loc[f"disease-{name}"]
        has_map[name] = own["q"] < ALPHA
        controls = (
            f"differ from controls in {own['voxels_beyond_chance']:.0f} voxels"
            if has_map[name]
            else ("are not shown to differ from controls")
        )
        said.append(
            f"On average, held-out patients with {name} {controls} ({p_and_q(own)})"
            f"{_beside_others(name, rows)}; corrected over the brain."
        )
    for _, pair in pairs.iterrows():
        both = has_map[pair["disease"]] and has_map[pair["other"]]
        shared, different = (
            pd.Series({"p": pair[f"p_{claim}"], "q": pair[f"q_{claim}"]}) for claim in ("shared", "different")
        )
        alike = (
            "share more than samples without a disease do"
            if both and shared["q"] < ALPHA
            else ("are not shown to share anything")
        )
        unlike = "differ" if different["q"] < ALPHA else "are not shown to differ"
        truth = f"; the true maps correlate by {pair['true_correlation']:.2f}" if _is_known(pair) else ""
        said.append(
            f"{pair['disease']} and {pair['other']}: their maps correlate by {pair['correlation']:.2f}{truth}; they "
            f"{alike} ({p_and_q(shared)}), and {unlike} from each other ({p_and_q(different)})."
        )
    return said


def _beside_others(name: str, rows: pd.DataFrame) -> str:
    """What is specific to a disease; nothing of the second of two, whose contrast is the first one's."""
    if f"specific-{name}" not in rows.index:
        return ""
    specific = rows.loc[f"specific-{name}"]
    said = "are not shown to differ from the other patients"
    if specific["q"] < ALPHA:
        said = f"differ from the other patients in {specific['voxels_beyond_chance']:.0f}"
    return f", and {said} ({p_and_q(specific)})"


def _is_known(pair: pd.Series) -> bool:
    return "true_correlation" in pair and not np.isnan(pair["true_correlation"])
