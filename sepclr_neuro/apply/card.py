"""The card of an exported model: what it is, whom it was trained on in numbers, what it is for, and what it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from sepclr_neuro import __version__
from sepclr_neuro.apply.controls import Controls
from sepclr_neuro.apply.likeness import STATISTICS
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.provenance import versions
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.learning.models import TrainedModel

__all__ = ["card_of", "figures_of", "in_numbers", "readme"]

INTENDED_USE = (
    "For research on groups: representations, distances from controls and predictions of participants whose volumes "
    "were made as those of the training participants were."
)
LIMITS = (
    "It is no medical device and says nothing about a single person's health: distances and predictions hold on "
    "average, of participants like the held-out ones, and are worse for other scanners, ages, diagnoses and "
    "preprocessing."
)
PRIVACY = (
    "The folder names no participant. It still is derived from their data: weights, means and patterns are sums of "
    "training volumes, from which parts of these may be recovered, and who has a list of likely ids can test whether "
    "they are among the hashed ones. Share it only where the terms of the data allow it."
)
_OLDEST = 89  # ages above are given as 90, since they may identify a participant (HIPAA's safe harbour)
_FIGURES = ["target", "metric", "space", "value", "chance", "n", "mean_over_folds", "folds", "q"]


def in_numbers(people: pd.DataFrame) -> dict[str, Any]:
    """A cohort's rows in numbers, each participant by the first scan: counts by group, site and sex, and ages."""
    first = people.drop_duplicates("participant_id")
    ages = [min(int(age), _OLDEST + 1) for age in first["age"].dropna()]
    return {
        "participants": len(first),
        "scans": len(people),
        "by_group": _counts(first["group"]),
        **{
            f"by_group_and_{name}": {
                str(group): _counts(part[name]) for group, part in first.groupby("group") if part[name].notna().any()
            }
            for name in ("site", "sex")
        },
        "age": {"lowest": min(ages), "highest": max(ages)} if ages else None,
    }


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in column.value_counts().sort_index().items()}


def card_of(
    config: Config,
    model: TrainedModel,
    volumes: Volumes,
    affine: NDArray[np.float64],
    cohort: pd.DataFrame,
    split: Fold,
    codes: Mapping[str, pd.DataFrame],
    figures: Sequence[Mapping[str, Any]],
    distance: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The content of ``card.json`` for readers, without an id or a path.

    Args:
        config: of the run, its sections ``cohort``, ``splits`` and ``methods``.
        model: of the fold.
        volumes: the section ``volumes``.
        affine: of the grid.
        cohort: rows of ``cohort.tsv``, by scan id.
        split: the fold.
        codes: of each space, [N, d] by scan id.
        figures: as :func:`figures_of` gives them.
        distance: the row of ``distance.tsv``; None where there is none.
    """
    metadata = model.metadata
    configured = config.for_method(metadata["method"])
    train = cohort.loc[list(split.train)]
    controls = train.drop_duplicates("participant_id").query("group == 'background'").index
    return {
        "title": f"{configured.entry.title}: {config.cohort.disorder} beside {listed(config.cohort.background, 'or')}",
        "clinical_use": "Not for clinical use.",
        "data": config.cohort.kind_said,
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
        "privacy": PRIVACY,
        "method": {
            "name": metadata["method"],
            "method": configured.method,
            "title": configured.entry.title,
            "fold": split.fold,
            "folds": config.splits.count,
            "spaces": {space: values.shape[1] for space, values in codes.items()},
            "adjusted_for": model.covariates.names,
            "missing_covariates": "count as the training mean" if model.covariates.impute else "are refused",
        },
        "groups": {"background": config.cohort.background, "target": config.cohort.target_names},
        "training": in_numbers(train),
        "held_out": in_numbers(cohort.loc[list(split.test)]),
        "kept_for_probes": in_numbers(cohort.loc[list(split.probe)]) if split.probe else None,
        "grid": {
            "shape": list(volumes.shape),
            "voxel_mm": [round(float(size), 4) for size in voxel_sizes(affine)],
            "smoothing_mm": volumes.smoothing_mm,
            "scaled_by_tiv": volumes.tiv_column is not None,
        },
        "training_controls": {
            space: {"mean": values.loc[controls].mean().tolist(), "sd": values.loc[controls].std(ddof=0).tolist()}
            for space, values in codes.items()
        },
        "figures": list(figures),
        "distance": distance,
        "versions": {"sepclr_neuro": __version__, **metadata["versions"], **versions("nibabel", "safetensors")},
    }


def figures_of(method: str, fold: int, scores: pd.DataFrame, table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The probes' figures on held-out participants: of the fold, beside the mean over all folds.

    Args:
        scores: the table ``scores.tsv``.
        table: the run's table of probes, ``bacc`` and ``auc`` in percent; None where the run has none yet.

    Returns:
        ``target metric space value chance n mean_over_folds folds q``, ``bacc`` and ``auc`` in percent; None for what
        is not known.
    """
    own = scores[(scores["method"] == method) & (scores["fold"] == fold) & (scores["regime"] == "standard")]
    percent = own["metric"].isin(["bacc", "auc"])
    found = own.assign(**{name: own[name].where(~percent, 100 * own[name]) for name in ("value", "chance")})
    found = found.rename(columns={"n_test": "n"})[["target", "metric", "space", "value", "chance", "n"]]
    if table is not None:
        of_method = table[table["method"] == method].rename(columns={"mean": "mean_over_folds"})
        keys = ["target", "metric", "space"]
        found = found.merge(of_method[[*keys, "mean_over_folds", "folds", "q"]], how="left", on=keys)
    found = found.reindex(columns=_FIGURES).astype(object)
    return [
        {str(name): cell for name, cell in row.items()} for row in found.where(found.notna(), None).to_dict("records")
    ]


def readme(
    card: Mapping[str, Any], training_volumes: Mapping[str, Mapping[str, float | None]], controls: Controls | None
) -> str:
    """The card as a page, Markdown."""
    method, grid, training = card["method"], card["grid"], card["training"]
    dims = listed([f"{space} ({counted(count, 'dimension')})" for space, count in method["spaces"].items()])
    adjusted = ""
    if method["adjusted_for"]:
        adjusted = (
            f"The salient space is adjusted for {listed(method['adjusted_for'])}, which `apply` needs; missing values "
            f"{method['missing_covariates']}. "
        )
    sizes = " x ".join(f"{size:g}" for size in grid["voxel_mm"])
    lines = [
        f"# {card['title']}",
        "",
        f"**{card['clinical_use']}** {card['data']}",
        "",
        f"{card['intended_use']} {card['limits']}",
        "",
        "```",
        "sepclr-neuro apply participants.tsv --model THIS_FOLDER --volumes 'PATTERN' --output OUT",
        "```",
        "",
        "## Method",
        "",
        f"`{method['name']}` ({method['title']}), the model of fold {method['fold']} (of "
        f"{method['folds']}, from 0), spaces: {dims}. {adjusted}All settings: `model.json`; sepclr_neuro "
        f"{card['versions']['sepclr_neuro']}, torch {card['versions'].get('torch', 'unknown')}.",
        "",
        "## Participants",
        "",
        "| | participants | groups | sites | sex | age |",
        "|---|---|---|---|---|---|",
        *(
            _row(label, card[key])
            for label, key in (("training", "training"), ("probes", "kept_for_probes"), ("held out", "held_out"))
            if card[key]
        ),
        "",
        "## Volumes",
        "",
        f"Grey-matter maps on {' x '.join(map(str, grid['shape']))} voxels of {sizes} mm, smoothed by "
        f"{grid['smoothing_mm']:g} mm FWHM, {'scaled' if grid['scaled_by_tiv'] else 'not scaled'} by total "
        f"intracranial volume. Statistics of the {counted(training['scans'], 'training volume')} (`apply` warns where "
        "a new one is more than four SDs away):",
        "",
        "| statistic | mean | SD | range |",
        "|---|---|---|---|",
        *(
            f"| {STATISTICS[name].partition(':')[0]} | {_number(of['mean'])} | {_number(of['sd'])} | "
            f"{_number(of['lowest'])} to {_number(of['highest'])} |"
            for name, of in training_volumes.items()
        ),
        "",
        "## Figures on held-out participants",
        "",
        "Balanced accuracy (`bacc`) and area under the curve (`auc`) in percent, errors (`mae`) in the target's unit. "
        "q is of the mean over folds, against chance.",
        "",
        "| target | metric | space | this fold | n | chance | mean over folds | q |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['target']} | {row['metric']} | {row['space']} | "
            + " | ".join(_number(row[name]) for name in ("value", "n", "chance", "mean_over_folds", "q"))
            + " |"
            for row in card["figures"]
        ),
        "",
    ]
    if card["distance"] is not None:
        lines += [
            "The distance from the controls in the salient space separates held-out patients from held-out controls "
            f"with an area under the curve of {_number(card['distance']['auc'])} (mean over folds, p = "
            f"{_number(card['distance'].get('p'))}).",
            "",
        ]
    if controls is not None:
        lines += [f"Percentiles of the distance are among {controls.in_words()}.", ""]
    lines += ["## Privacy", "", card["privacy"], ""]
    return "\n".join(lines)


def _row(label: str, people: Mapping[str, Any]) -> str:
    def counts(of: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in of.items())

    def by_group(of: Mapping[str, Mapping[str, int]]) -> str:
        return "; ".join(f"{group}: {counts(inner)}" for group, inner in of.items()) or "n/a"

    age = people["age"]
    ages = f"{age['lowest']} to {age['highest']}" if age else "n/a"
    groups, sites, sexes = counts(people["by_group"]), *(by_group(people[f"by_group_and_{n}"]) for n in ("site", "sex"))
    return f"| {label} | {people['participants']} | {groups} | {sites} | {sexes} | {ages} |"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"
