"""The benchmark's tables and figure: one row per recipe and cohort, and differences between recipes."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, write_text, write_tsv
from sepclr_neuro.report.pictures import INK, SPACE_COLOURS, drawn
from sepclr_neuro.validation.separation.further_measures import CODES, MAPS
from sepclr_neuro.validation.separation.measure import FACTORS, PARTS, recovery, separation_parts

__all__ = ["comparison_table", "interval", "separation_table", "write_separation_tables"]

PROBES = ("values", "held_out")
"""Of a run: probes of training participants, and among held-out ones."""


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % confidence interval by Student's t, (mean, low, high); NaN for that of one seed.

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
    for run, probes in itertools.product(runs, PROBES):
        # JSON has no NaN.
        numbers = ["value", "chance", "best", "share"]
        run[probes] = pd.DataFrame(run[probes]).astype(dict.fromkeys(numbers, float))
    return runs


def separation_table(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per recipe and cohort, with means over seeds.

    Returns:
        ``method`` (the recipe), ``cohort seeds score low high`` (mean and 95 % interval); the recovery of each factor
        in each space, e.g. ``age_common``: (mean figure - mean chance) / (mean best - mean chance);
        ``score_salient score_salient_low score_salient_high`` for the factors that belong in the salient space, and
        likewise for the common one; the probes' figures themselves with their intervals, e.g. ``age_common_value
        age_common_value_low age_common_value_high``, ``age_best``, ``age_chance``; of probes among held-out
        participants ``held_out_score held_out_score_low held_out_score_high``, and for each factor and space
        ``held_out_age_common`` and ``held_out_age_common_value``; ``dependence``, ``localisation``
        (the proportion of relevance in the true regions divided by their proportion of the brain); the measures of
        :mod:`sepclr_neuro.validation.separation.further_measures` for the salient or only space, with intervals:
        ``diagnosis_nonlinear``, ``distance_auc``, ``subtype``, ``inflation``, ``t_map_r``, ``beyond_controls_ratio``
        and so on; ``minutes``.
    """
    rows = []
    for (cohort, recipe), group in _grouped(runs):
        parts = [separation_parts(run["values"]) for run in group]
        row: dict[str, Any] = {"method": recipe, "cohort": cohort, "seeds": len(group)}
        row |= _interval_columns("score", [of_run["score"] for of_run in parts], "low", "high")
        values, of_space = _over_seeds(group, "values")
        pairs = [(f, s) for f in FACTORS for s in ("common", "salient", "single") if (f, s) in of_space.index]
        row |= {f"{factor}_{space}": of_space.loc[(factor, space), "share"] for factor, space in pairs}
        for space in ("salient", "common"):
            row |= _interval_columns(f"score_{space}", [of_run[space] for of_run in parts])
        for factor, space in pairs:
            chosen = values[(values["factor"] == factor) & (values["space"] == space)]
            row |= _interval_columns(f"{factor}_{space}_value", chosen["value"].tolist())
        for factor in FACTORS:
            row |= {
                f"{factor}_{name}": values.loc[values["factor"] == factor, name].mean() for name in ("best", "chance")
            }
        held_out = [separation_parts(run["held_out"])["score"] for run in group]
        row |= _interval_columns("held_out_score", held_out)
        _, of_space = _over_seeds(group, "held_out")
        for factor, space in pairs:
            row[f"held_out_{factor}_{space}"] = of_space.loc[(factor, space), "share"]
            row[f"held_out_{factor}_{space}_value"] = of_space.loc[(factor, space), "value"]
        row["dependence"] = _mean([run["dependence"] for run in group])
        row["localisation"] = _mean([(run["localisation"] or {}).get("ratio") for run in group])
        for name in CODES:
            row |= _interval_columns(name, [_number((run.get("codes") or {}).get(name)) for run in group])
        for name, kind in itertools.product(MAPS, ("r", "ratio")):
            of_runs = [((run.get("maps") or {}).get(name) or {}).get(kind) for run in group]
            row |= _interval_columns(f"{name}_{kind}", [_number(value) for value in of_runs])
        row["minutes"] = _mean([run["seconds"] / 60 for run in group])
        rows.append(row)
    return pd.DataFrame(rows)


def _over_seeds(runs: list[dict[str, Any]], probes: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The values of all runs; and ``value chance share`` of each factor and space, where ``share`` is of the means."""
    values = pd.concat([run[probes] for run in runs])
    means = values.groupby(["factor", "space"], sort=False)[["value", "chance"]].mean().reset_index()
    means["share"] = recovery(means, values.groupby("factor")["best"].mean().to_dict())
    return values, means.set_index(["factor", "space"])


def _interval_columns(
    name: str, values: list[float], low: str | None = None, high: str | None = None
) -> dict[str, float]:
    return dict(zip((name, low or f"{name}_low", high or f"{name}_high"), interval(values), strict=True))


def comparison_table(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """Paired differences of scores and their parts between recipes on the same cohorts and seeds.

    Returns:
        ``cohort reference method part difference low high seeds``: the reference minus the method, with its 95 %
        interval; ``part`` is one of :data:`PARTS`. Recipes without a score are left out. ``cohort`` is ``all`` for the
        mean over cohorts: a seed draws the same participants in every cohort, so that only seeds are independent.
    """
    known = [
        {"cohort": run["cohort"], "recipe": run["recipe"], "seed": run["seed"], "part": part, "value": value}
        for run in runs
        for part, value in separation_parts(run["values"]).items()
        if {"common", "salient"} <= set(run["values"]["space"])
    ]
    columns = ["cohort", "reference", "method", "part", "difference", "low", "high", "seeds"]
    if not known:
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(known).pivot(index=["cohort", "seed"], columns=["part", "recipe"], values="value")
    recipes = list(dict.fromkeys(entry["recipe"] for entry in known))
    cohorts = list(dict.fromkeys(entry["cohort"] for entry in known))
    rows = []
    for reference, method in itertools.permutations(recipes, 2):
        for part in PARTS:
            differences = (table[part, reference] - table[part, method]).unstack("cohort")
            for cohort in [*cohorts, *(["all"] if len(cohorts) > 1 else [])]:
                of_seeds = (differences.mean(axis=1, skipna=False) if cohort == "all" else differences[cohort]).dropna()
                if len(of_seeds):
                    row: dict[str, Any] = {"cohort": cohort, "reference": reference, "method": method, "part": part}
                    row |= _interval_columns("difference", of_seeds.tolist(), "low", "high")
                    rows.append(row | {"seeds": len(of_seeds)})
    return pd.DataFrame(rows, columns=columns)


def write_separation_tables(config: Config, results: Results) -> None:
    """Writes separation.tsv, comparisons.tsv, separation.md and the figure."""
    runs = _runs(config, results)
    table, comparisons = separation_table(runs), comparison_table(runs)
    write_tsv(results.separation("separation.tsv"), table)
    write_tsv(results.separation("comparisons.tsv"), comparisons)
    write_text(results.separation("separation.md"), _markdown(config, table, comparisons))
    matplotlib.use("Agg")
    alt = "Separation score of each recipe and seed, and the recovery of each factor in each space"
    drawn(lambda: _figure(table, runs), alt).save(results.separation(""), "separation")


def _grouped(runs: list[dict[str, Any]]) -> list[tuple[tuple[str, str], list[dict[str, Any]]]]:
    keys = list(dict.fromkeys((run["cohort"], run["recipe"]) for run in runs))
    return [(key, [run for run in runs if (run["cohort"], run["recipe"]) == key]) for key in keys]


def _number(value: float | None) -> float:
    """A number from JSON, where NaN is null."""
    return float("nan") if value is None else float(value)


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _known(row: pd.Series, *names: str) -> float:
    """The first finite one of these figures of a row; NaN without any."""
    return next((float(row[name]) for name in names if np.isfinite(row.get(name, np.nan))), float("nan"))


def _with_ci(row: pd.Series, name: str, low: str | None = None, high: str | None = None) -> str:
    value, ends = row[name], (row[low or f"{name}_low"], row[high or f"{name}_high"])
    if not np.isfinite(value):
        return "n/a"
    return f"{value:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if np.isfinite(ends[0]) else "")


def _share(row: pd.Series, factor: str, space: str) -> str:
    value = row.get(f"{factor}_{space}", np.nan)
    return "n/a" if not np.isfinite(value) else f"{100 * value:.0f}"


def _recoveries(row: pd.Series, probes: str = "") -> list[str]:
    """A cell a factor: in the common and the salient space, or in the only one."""
    cells = []
    for factor in FACTORS:
        single, common, salient = (_share(row, f"{probes}{factor}", space) for space in ("single", "common", "salient"))
        cells.append(single if single != "n/a" else f"{common} / {salient}")
    return cells


def _markdown(config: Config, table: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    kinds = {name: cohort.cohort.source for name, cohort in config.separation.cohorts.items()}
    lines = [
        "Recovery of each factor, in % of the best achievable: common / salient, or of the only space. "
        "Score: 1 is a perfect separation, 0 none; with the 95 % interval over seeds. Every cohort is simulated, or "
        "real volumes with an implanted effect; results do not describe real patients.",
    ]
    for cohort, rows in table.groupby("cohort", sort=False):
        described = config.separation.cohorts[str(cohort)].describe()
        seeds = config.separation.seeds
        lines += [
            "",
            f"**{cohort}** ({kinds[str(cohort)]}; {described}; seeds {', '.join(map(str, seeds))})",
            "",
        ]
        names = ["recipe", "score", "salient part", "common part", *FACTORS, "dependence", "localisation", "minutes"]
        lines += [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
        for _, row in rows.sort_values("score", ascending=False).iterrows():
            scores = [
                _with_ci(row, "score", "low", "high"),
                _with_ci(row, "score_salient"),
                _with_ci(row, "score_common"),
            ]
            cells = _recoveries(row)
            last = [f"{row[name]:.2f}" if np.isfinite(row[name]) else "n/a" for name in ("dependence", "localisation")]
            lines.append(f"| `{row['method']}` | {' | '.join(scores + cells + last)} | {row['minutes']:.1f} |")
        lines += [
            "",
            "The same of probes that are fitted and scored in five folds of the held-out participants, whom no encoder "
            "has seen: codes of training participants are uncorrelated with what they were adjusted for.",
            "",
        ]
        names = ["recipe", "score", *FACTORS]
        lines += [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
        for _, row in rows.sort_values("held_out_score", ascending=False).iterrows():
            cells = [_with_ci(row, "held_out_score"), *_recoveries(row, "held_out_")]
            lines.append(f"| `{row['method']}` | {' | '.join(cells)} |")
        lines += [
            "",
            "For the salient or only space: balanced accuracy of the diagnosis by a nonlinear probe; area under the "
            "ROC curve of the distance from the controls' mean; balanced accuracy of the subtype among patients; "
            "inflation, the distance of training patients divided by that of held-out patients. For maps (the "
            "voxel-wise t-map, the mean patient, patients beyond controls): correlation r with the truth, and ratio, "
            "the proportion of the map in affected voxels divided by their proportion of the brain.",
            "",
        ]
        names = ["recipe", *CODES, *MAPS]
        lines += [f"| {' | '.join(names).replace('_', ' ')} |", "|" + "---|" * len(names)]
        for _, row in rows.sort_values("distance_auc", ascending=False).iterrows():
            cells = [_with_ci(row, name) for name in CODES]
            cells += [f"r {_with_ci(row, f'{name}_r')}, ratio {_with_ci(row, f'{name}_ratio')}" for name in MAPS]
            lines.append(f"| `{row['method']}` | {' | '.join(cells)} |")
    reference = config.separation.reference_recipe
    lines += ["", f"`{reference}` minus each other recipe, on the same cohorts and seeds, with 95 % intervals:", ""]
    lines += ["| cohort | recipe | score | salient part | common part | seeds |", "|---|---|---|---|---|---|"]
    of_reference = comparisons[comparisons["reference"] == reference]
    for (place, method), rows in of_reference.groupby(["cohort", "method"], sort=False):
        by_part = {row["part"]: row for _, row in rows.iterrows()}
        cells = [_with_ci(by_part[part], "difference", "low", "high") if part in by_part else "n/a" for part in PARTS]
        lines.append(f"| {place} | `{method}` | {' | '.join(cells)} | {rows['seeds'].max()} |")
    return "\n".join(lines) + "\n"


def _figure(table: pd.DataFrame, runs: list[dict[str, Any]]) -> Figure:
    cohorts = list(dict.fromkeys(table["cohort"]))
    recipes = list(dict.fromkeys(table["method"]))
    height = 1.2 + 0.32 * len(recipes)
    figure, axes = plt.subplots(
        len(cohorts), 2, figsize=(11, height * len(cohorts)), squeeze=False, layout="constrained", width_ratios=(2, 3)
    )
    for (scores, recovered), cohort in zip(axes, cohorts, strict=True):
        rows = table[table["cohort"] == cohort].set_index("method").loc[recipes]
        places = np.arange(len(recipes))[::-1]
        for place, (recipe, row) in zip(places, rows.iterrows(), strict=True):
            of_recipe = [run for run in runs if (run["cohort"], run["recipe"]) == (cohort, recipe)]
            own = [separation_parts(run["values"])["score"] for run in of_recipe]
            scores.plot([row["low"], row["high"]], [place, place], color=INK, linewidth=1)
            scores.scatter(own, [place] * len(own), s=8, color=SPACE_COLOURS["single"])
            scores.scatter([row["score"]], [place], s=26, color=INK)
        scores.axvline(0, color=INK, linestyle="--", linewidth=0.8)
        scores.set_yticks(places, recipes)
        scores.set_xlabel("separation score")
        scores.set_title(cohort, loc="left")
        columns = [(factor, space) for factor in FACTORS for space in ("common", "salient")]
        recoveries = np.array(
            [
                [_known(row, f"{factor}_{space}", f"{factor}_single") for factor, space in columns]
                for _, row in rows.iterrows()
            ],
            dtype=float,
        )
        recovered.imshow(np.clip(recoveries, 0, 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (line, column), share in np.ndenumerate(recoveries):
            if np.isfinite(share):
                colour = "white" if share > 0.6 else INK
                recovered.text(column, line, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
        recovered.set_xticks(
            range(len(columns)), [f"{factor}, {space}" for factor, space in columns], rotation=60, ha="right"
        )
        recovered.set_yticks([])
        recovered.grid(visible=False)
        recovered.set_title("recovery of each factor, % of the best achievable", loc="left")
    return figure
