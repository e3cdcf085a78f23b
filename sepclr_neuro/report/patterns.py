"""Salient codes expressed in grey matter: the clearest method's maps beside the t-map, and the table of all methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sepclr_neuro.core.statistics import false_discovery_rate
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.maps.directions import direction_titles
from sepclr_neuro.maps.patterns import PATTERNS
from sepclr_neuro.report.diseases import diseases_of
from sepclr_neuro.report.findings import ALPHA, method_title, p_and_q
from sepclr_neuro.report.pictures import smaller
from sepclr_neuro.report.reading import Run
from sepclr_neuro.report.summary import found_in

__all__ = ["patterns_of", "said_of_patterns"]

DISTANCE = "distance from controls"
_CAPTIONS = {
    "truth": "Truth: place and strength of the effect that was put in",
    "t-map": "Group comparison: voxel-wise t-map of the diagnosis, without a test",
    "beyond-controls": "Salient space: patients beyond controls, whatever the direction",
    "mean-patient": "Salient space: the mean patient, what patients have in common",
} | {
    name: f"Salient space: {title[0].lower()}{title[1:]}; red and blue change in opposite ways"
    for name, title in direction_titles().items()
}


def patterns_of(run: Run) -> dict[str, Any] | None:
    """Maps of the method that the main result names, beside the truth, where it is known, and the t-map.

    Where no probe finds anything, or that method has no maps, of the one with the clearest salient codes.

    Returns:
        ``table``, a row a method and map, with q over all of them; ``said``, sentences; ``shown``, pictures with
        captions; ``method``, the title of the one that is shown; ``diseases``, of several diseases what
        :func:`~sepclr_neuro.report.diseases.diseases_of` says. None where no method has a salient space.
    """
    table = _table(run)
    if table is None:
        return None
    best = found_in(run.figures, run.config.probes.targets)
    if best is None or best not in set(table["method"]):
        best = _clearest(table)
    pictures = {"truth": run.t_maps.get("truth"), "t-map": run.t_maps.get("diagnosis")}
    of_best = table[table["method"] == best]
    # The first direction stands there whatever its q, as the other maps do.
    names = [*PATTERNS, *dict.fromkeys(["direction-1", *_directions_beyond_chance(of_best)["map"]])]
    pictures |= {name: run.patterns.get(best, {}).get(name) for name in names}
    title = method_title(best)
    shown = [
        {"caption": _CAPTIONS[name], "picture": smaller(png, f"{_CAPTIONS[name]}, {title}, slices")}
        for name, png in pictures.items()
        if png is not None
    ]
    said = said_of_patterns(of_best, title)
    readable = table.assign(method=[method_title(name) for name in table["method"]])
    return {
        "table": readable.dropna(axis="columns", how="all"),
        "said": said,
        "shown": shown,
        "method": title,
        "diseases": diseases_of(run, table, best),
    }


def _table(run: Run) -> pd.DataFrame | None:
    """All methods' maps and distances, with q over all of them."""
    rows = []
    for method in run.config.methods:
        maps, distance = (run.method_tables.get((method, name)) for name in ("patterns", "distance"))
        if maps is None or distance is None:
            continue
        rows.append(distance.assign(map=DISTANCE).assign(method=method))
        rows.append(maps.assign(method=method))
    if not rows:
        return None
    table = pd.concat([part.dropna(axis="columns", how="all") for part in rows], ignore_index=True)
    for column in ("auc", "p"):
        table[column] = table.get(column, np.nan)
    table["q"] = false_discovery_rate(table["p"].to_numpy(), np.zeros(len(table)))
    first = ["method", "map", "auc", "largest", "p", "q"]
    return table[[name for name in first if name in table] + [name for name in table if name not in first]]


def _clearest(table: pd.DataFrame) -> str:
    """The method with the lowest q of its map beyond controls; of equals, the one with the largest distance AUC."""
    beyond = table[table["map"] == "beyond-controls"].set_index("method")
    auc = table[table["map"] == DISTANCE].set_index("method")["auc"]
    order = beyond.assign(q=beyond["q"].fillna(1), auc=-auc).sort_values(["q", "auc"], kind="stable")
    return str(order.index[0])


def _directions_beyond_chance(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of one method's leading directions up to the first whose q is not below the report's level."""
    directions = table[table["map"].isin(direction_titles())].sort_values("map")
    return directions[(directions["q"] < ALPHA).cummin().astype(bool)]


def said_of_patterns(table: pd.DataFrame, title: str) -> list[str]:
    """Sentences about one method by plain rules from q.

    Args:
        table: ``map auc p q voxels_beyond_chance share people`` and, where they are known, ``r_with_truth ratio``.
        title: of the method.
    """
    rows = table.set_index("map")
    names = (DISTANCE, "beyond-controls", "mean-patient", "direction-1")
    distance, beyond, mean, first = (rows.loc[name] for name in names)
    if np.isnan(beyond["q"]):
        return [f"The maps of {title} are shown without a test, since `saliency.permutations` is 0."]
    farther = "are farther" if distance["q"] < ALPHA else "are not shown to be farther"
    said = [
        f"In the salient space of {title}, held-out patients {farther} from the controls than held-out controls are: "
        f"area under the curve {distance['auc']:.2f} ({p_and_q(distance)}), {distance['people']:.0f} participants."
    ]
    if beyond["q"] >= ALPHA:
        return [
            *said,
            f"Their codes are not shown to explain more than chance anywhere in the brain ({p_and_q(beyond)}), so the "
            "maps below may show noise.",
        ]
    line = (
        f"Their codes explain more of the grey matter than controls' do in {beyond['voxels_beyond_chance']:.0f} voxels "
        f"({p_and_q(beyond)}, corrected over the brain)"
    )
    common = "on average patients differ too" if mean["q"] < ALPHA else "on average patients are not shown to differ"
    said.append(f"{line}; {common} ({p_and_q(mean)}).")
    directions = _directions_beyond_chance(table)
    if directions.empty:
        said.append(f"No single direction among patients is shown to be beyond chance ({p_and_q(first)}).")
    else:
        hold = "holds" if len(directions) == 1 else "hold"
        shares = listed([f"{100 * share:.0f} %" for share in directions["share"]])
        said.append(
            f"Beyond chance, patients differ from controls along {counted(len(directions), 'direction')}, which {hold} "
            f"{shares} of the positive part of what they have beyond controls."
            f"{' Those after the first may be differences between the encoders of the folds.' * (len(directions) > 1)}"
        )
    if "r_with_truth" in table and not np.isnan(beyond["r_with_truth"]):
        said.append(
            f"The true effect is known: the map beyond controls correlates with it by r = "
            f"{beyond['r_with_truth']:.2f}, direction 1 by r = {first['r_with_truth']:.2f}, and the "
            f"affected regions hold {beyond['ratio']:.1f} times as much of the map beyond controls as of an even one."
        )
    return said
