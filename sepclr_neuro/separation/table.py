"""The benchmark's tables and its figure: a row a recipe and cohort, and every recipe beside the reference."""

from __future__ import annotations

from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from sepclr_neuro.config import Config
from sepclr_neuro.layout import Results
from sepclr_neuro.report.pictures import INK, SPACE_COLOURS, drawn
from sepclr_neuro.separation.measure import FACTORS
from sepclr_neuro.storage import read_json, write_text, write_tsv

__all__ = ["comparison_table", "interval", "separation_table", "write_separation_tables"]


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean of figures of several seeds, and its 95 % interval by Student's t; no interval for a single one.

    >>> tuple(round(end, 2) for end in interval([1.0, 2.0, 3.0]))
    (2.0, -0.48, 4.48)
    """
    known = np.array(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return (float(known[0]) if len(known) else float("nan")), float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean()), float(known.mean() - half), float(known.mean() + half)


def _runs(config: Config, results: Results) -> list[dict[str, Any]]:
    section = config.separation
    runs = [
        read_json(results.separation_run(cohort, seed, recipe))
        for cohort in section.cohorts
        for recipe in section.recipes
        for seed in section.seeds
    ]
    for run in runs:
        # JSON has no NaN.
        run["score"] = float("nan") if run["score"] is None else run["score"]
        numbers = ["value", "chance", "best", "share"]
        run["values"] = pd.DataFrame(run["values"]).astype(dict.fromkeys(numbers, float))
    return runs


def separation_table(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """A row a recipe and cohort, means over seeds.

    Returns:
        ``method`` (the recipe), ``cohort seeds score low high`` (95 % interval); a share a factor and space, e.g.
        ``age_common``; the probes' figures themselves, e.g. ``age_common_value``, ``age_best``, ``age_chance``;
        ``dependence``, ``localisation`` (share of relevance in the true regions over their share of the brain),
        ``minutes``.
    """
    rows = []
    for (cohort, recipe), group in _grouped(runs):
        mean, low, high = interval([run["score"] for run in group])
        row: dict[str, Any] = {"method": recipe, "cohort": cohort, "seeds": len(group)}
        row |= {"score": mean, "low": low, "high": high}
        values = pd.concat([run["values"] for run in group])
        of_space = values.groupby(["factor", "space"], sort=False)[["share", "value"]].mean()
        for factor in FACTORS:
            for space in ("common", "salient", "single"):
                if (factor, space) in of_space.index:
                    row[f"{factor}_{space}"] = of_space.loc[(factor, space), "share"]
        for factor in FACTORS:
            for space in ("common", "salient", "single"):
                if (factor, space) in of_space.index:
                    row[f"{factor}_{space}_value"] = of_space.loc[(factor, space), "value"]
            chosen = values[values["factor"] == factor]
            row |= {f"{factor}_best": chosen["best"].mean(), f"{factor}_chance": chosen["chance"].mean()}
        row["dependence"] = _mean([run["dependence"] for run in group])
        row["localisation"] = _mean([(run["localisation"] or {}).get("ratio") for run in group])
        row["minutes"] = _mean([run["seconds"] / 60 for run in group])
        rows.append(row)
    return pd.DataFrame(rows)


def comparison_table(runs: list[dict[str, Any]], reference: str) -> pd.DataFrame:
    """The reference's score less each other recipe's on the same cohort and seed, with its 95 % interval.

    Returns:
        ``cohort method difference low high seeds``; recipes without a score are left out. ``cohort`` is ``all`` for
        the pairs of all cohorts together.
    """
    scores = {(run["cohort"], run["recipe"], run["seed"]): run["score"] for run in runs}
    cohorts = list(dict.fromkeys(run["cohort"] for run in runs))
    recipes = [name for name in dict.fromkeys(run["recipe"] for run in runs) if name != reference]
    rows = []
    for cohort in [*cohorts, *(["all"] if len(cohorts) > 1 else [])]:
        for recipe in recipes:
            pairs = [
                (scores[place, reference, seed], score)
                for (place, name, seed), score in scores.items()
                if name == recipe and cohort in (place, "all")
            ]
            differences = [own - other for own, other in pairs if np.isfinite(own) and np.isfinite(other)]
            if differences:
                mean, low, high = interval(differences)
                row = {"cohort": cohort, "method": recipe, "difference": mean, "low": low, "high": high}
                rows.append(row | {"seeds": len(differences)})
    return pd.DataFrame(rows, columns=["cohort", "method", "difference", "low", "high", "seeds"])


def write_separation_tables(config: Config, results: Results) -> None:
    """Writes separation.tsv, comparisons.tsv, separation.md and the figure."""
    runs = _runs(config, results)
    table, comparisons = separation_table(runs), comparison_table(runs, config.separation.reference_recipe)
    write_tsv(results.separation("separation.tsv"), table)
    write_tsv(results.separation("comparisons.tsv"), comparisons)
    write_text(results.separation("separation.md"), _markdown(config, table, comparisons))
    matplotlib.use("Agg")
    alt = "Separation score of each recipe and seed, and what each space holds of each factor"
    drawn(lambda: _figure(table, runs), alt).save(results.separation(""), "separation")


def _grouped(runs: list[dict[str, Any]]) -> list[tuple[tuple[str, str], list[dict[str, Any]]]]:
    keys = list(dict.fromkeys((run["cohort"], run["recipe"]) for run in runs))
    return [(key, [run for run in runs if (run["cohort"], run["recipe"]) == key]) for key in keys]


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _share(row: pd.Series, factor: str, space: str) -> str:
    value = row.get(f"{factor}_{space}", np.nan)
    return "n/a" if not np.isfinite(value) else f"{100 * value:.0f}"


def _markdown(config: Config, table: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    kinds = {name: cohort.cohort.source for name, cohort in config.separation.cohorts.items()}
    lines = [
        "What each space holds of each factor, in % of the best achievable: common / salient, or of the only space. "
        "Score: 1 is a perfect separation, 0 none; with the 95 % interval over seeds. Every cohort is simulated, or "
        "real volumes with an implanted effect; none tells anything about schizophrenia.",
    ]
    for cohort, rows in table.groupby("cohort", sort=False):
        people = config.separation.cohorts[str(cohort)]
        seeds = config.separation.seeds
        lines += [
            "",
            f"**{cohort}** ({kinds[str(cohort)]}; {people.describe()}; seeds {', '.join(map(str, seeds))})",
            "",
        ]
        lines += ["| recipe | score | " + " | ".join(FACTORS) + " | dependence | localisation | minutes |"]
        lines += ["|---|---|" + "---|" * (len(FACTORS) + 3)]
        for _, row in rows.sort_values("score", ascending=False).iterrows():
            score = "n/a" if not np.isfinite(row["score"]) else f"{row['score']:.2f}"
            if np.isfinite(row["low"]):
                score += f" ({row['low']:.2f} to {row['high']:.2f})"
            cells = []
            for factor in FACTORS:
                single = _share(row, factor, "single")
                both = f"{_share(row, factor, 'common')} / {_share(row, factor, 'salient')}"
                cells.append(single if single != "n/a" else both)
            last = [f"{row[name]:.2f}" if np.isfinite(row[name]) else "n/a" for name in ("dependence", "localisation")]
            lines.append(f"| `{row['method']}` | {score} | {' | '.join(cells + last)} | {row['minutes']:.1f} |")
    reference = config.separation.reference_recipe
    lines += ["", f"Score of `{reference}` less that of each other recipe, on the same cohorts and seeds:", ""]
    lines += ["| cohort | recipe | difference | pairs |", "|---|---|---|---|"]
    for _, row in comparisons.iterrows():
        span = f" ({row['low']:.2f} to {row['high']:.2f})" if np.isfinite(row["low"]) else ""
        lines.append(f"| {row['cohort']} | `{row['method']}` | {row['difference']:.2f}{span} | {row['seeds']} |")
    return "\n".join(lines) + "\n"


def _figure(table: pd.DataFrame, runs: list[dict[str, Any]]) -> Figure:
    cohorts = list(dict.fromkeys(table["cohort"]))
    recipes = list(dict.fromkeys(table["method"]))
    height = 1.2 + 0.32 * len(recipes)
    figure, axes = plt.subplots(
        len(cohorts), 2, figsize=(11, height * len(cohorts)), squeeze=False, layout="constrained", width_ratios=(2, 3)
    )
    for (scores, held), cohort in zip(axes, cohorts, strict=True):
        rows = table[table["cohort"] == cohort].set_index("method").loc[recipes]
        places = np.arange(len(recipes))[::-1]
        for place, (recipe, row) in zip(places, rows.iterrows(), strict=True):
            own = [run["score"] for run in runs if (run["cohort"], run["recipe"]) == (cohort, recipe)]
            scores.plot([row["low"], row["high"]], [place, place], color=INK, linewidth=1)
            scores.scatter(own, [place] * len(own), s=8, color=SPACE_COLOURS["single"])
            scores.scatter([row["score"]], [place], s=26, color=INK)
        scores.axvline(0, color=INK, linestyle="--", linewidth=0.8)
        scores.set_yticks(places, recipes)
        scores.set_xlabel("separation score")
        scores.set_title(cohort, loc="left")
        columns = [(factor, space) for factor in FACTORS for space in ("common", "salient")]
        shares = np.array(
            [
                [row.get(f"{factor}_{space}", row.get(f"{factor}_single", np.nan)) for factor, space in columns]
                for _, row in rows.iterrows()
            ],
            dtype=float,
        )
        held.imshow(np.clip(shares, 0, 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (line, column), share in np.ndenumerate(shares):
            if np.isfinite(share):
                colour = "white" if share > 0.6 else INK
                held.text(column, line, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
        held.set_xticks(
            range(len(columns)), [f"{factor}, {space}" for factor, space in columns], rotation=60, ha="right"
        )
        held.set_yticks([])
        held.grid(visible=False)
        held.set_title("held of each factor, % of the best achievable", loc="left")
    return figure
