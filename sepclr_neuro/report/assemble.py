"""Gathers what a run wrote and fills the report's template with it: one page, no network, no participant's id."""

from __future__ import annotations

import gc
import math
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup
from nilearn.reporting import HTMLReport

from sepclr_neuro import __version__
from sepclr_neuro.config import Config, Probes
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.published import published_schizophrenia
from sepclr_neuro.registry import METHODS
from sepclr_neuro.report import figures
from sepclr_neuro.report.findings import method_title, results_table, sentences, target_label
from sepclr_neuro.storage import read_json, read_tsv, sha256, write_text
from sepclr_neuro.tables import paper_table
from sepclr_neuro.volumes import VolumeCache

__all__ = ["write_report"]

_FOLDER = Path(__file__).parent
_BANNERS = {
    "simulated": (
        "SIMULATED cohort",
        "Nobody in it exists. Volumes and labels were made from a template with known effects: "
        "nothing on this page says anything about schizophrenia.",
    ),
    "implanted": (
        "IMPLANTED effect",
        "The volumes are real, the patients are not: a known pattern was put into people drawn at random. "
        "Nothing on this page says anything about schizophrenia.",
    ),
    "files": ("Real cohort", "People and volumes come from the tables named in the configuration."),
}


def write_report(config: Config, results: Results) -> None:
    """Writes ``results.report``: everything about a run on one HTML page that opens without a network.

    Text from users (title, sites, labels, paths) is escaped by the template and never reaches a viewer.

    Raises:
        InputError: if a stage that the report needs has not run; all missing files are named.
    """
    needed = {
        results.cohort: "cohort",
        results.exclusions: "cohort",
        results.flow: "cohort",
        results.index: "volumes",
        results.scores: "probe",
        results.table("schizophrenia", "tsv"): "probe",
    }
    missing = [
        f"{path}: not there; run `sepclr-neuro {stage}` first" for path, stage in needed.items() if not path.is_file()
    ]
    if missing:
        raise InputError(missing)

    # nilearn collects garbage at each access to an image, which takes most of the time unless what exists is left out.
    gc.freeze()
    try:
        write_text(results.report, _page(config, results))
    finally:
        gc.unfreeze()


def _page(config: Config, results: Results) -> str:
    problems: list[str] = []
    content = {
        "config": config,
        "banner": _BANNERS[config.cohort.source],
        "version": __version__,
        **_run(config, results, problems),
        **_cohort(results),
        "volumes": _volumes(results),
        "training": _training(config, results, problems),
        **_results(config, results, problems),
        "maps": _maps(config, results, problems),
        **_methods(config),
        "problems": problems,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    body = environment.get_template("body.html").render(content)
    page = HTMLReport(
        environment.get_template("page.html"),
        Markup(body),  # noqa: S704 (rendered above with escaping on)
        {
            "title": f"{config.title}: {_BANNERS[config.cohort.source][0]}",
            "style": Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),  # noqa: S704 (the project's own)
        },
    )
    return str(page.get_standalone())


def _cell(value: Any) -> str:
    """A table's value for readers: n/a for missing, four digits for a fraction."""
    if isinstance(value, float):
        if math.isnan(value):
            return "n/a"
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)


def _optional_table(path: Path, text: tuple[str, ...]) -> pd.DataFrame | None:
    """A table that a run may lack, None where it is absent or has no rows."""
    if not path.is_file():
        return None
    table = read_tsv(path, text=text)
    return None if table.empty else table


# --- what ran ----------------------------------------------------------------------------------------------------


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings with their key paths."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def _shown_settings(config: Config) -> dict[str, Any]:
    """The settings for readers, who have no use for the folders, and the names of users, around the run's own."""

    def shorten(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shorten(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [shorten(inner) for inner in value]
        # Text as well as paths: the pattern of a study's volumes is text.
        if not isinstance(value, str) or not (Path(value).is_absolute() or ".." in Path(value).parts):
            return value
        path = Path(os.path.abspath(value))
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else f"…/{path.name}"

    shown: dict[str, Any] = shorten(config.model_dump(mode="json"))
    return shown


def _changed_settings(config: Config) -> list[tuple[str, str, str]]:
    """Key path, value and default of each setting that is not at its default."""
    given, default = (dict(_flat(_shown_settings(item))) for item in (config, Config()))
    changed = []
    for key, value in given.items():
        if key.startswith("methods."):
            continue
        if key not in default:
            changed.append((key, _yaml(value), "not set"))
        elif value != default[key]:
            changed.append((key, _yaml(value), _yaml(default[key])))
    for method, settings in config.methods.items():
        default_settings = dict(_flat(METHODS[method].settings().model_dump(mode="json")))
        for key, value in _flat(settings) if settings else ():
            if value != default_settings.get(key):
                changed.append(
                    (f"methods.{method}.{key}", _yaml(value), _yaml(default_settings.get(key, "as the section")))
                )
    return changed


def _span(values: list[Any]) -> str:
    """One value, or the lowest and highest."""
    low, high = min(values), max(values)
    return _cell(low) if low == high else f"{_cell(low)} to {_cell(high)}"


def _run(config: Config, results: Results, problems: list[str]) -> dict[str, Any]:
    models = []
    versions: dict[str, set[str]] = {}
    for method in config.methods:
        found = []
        for fold in range(config.splits.count):
            path = results.model_folder(method, fold) / "model.json"
            if path.is_file():
                found.append(read_json(path))
            else:
                problems.append(f"{method_title(method)}, fold {fold}: there is no model.")
        if not found:
            continue
        models.append(
            {
                "method": method_title(method),
                "folds": len(found),
                "scans": _span([len(model["train_scan_ids"]) for model in found]),
                "epochs": _span([model["epochs"] for model in found]),
                "device": ", ".join(sorted({f"{model['device']} ({model['processor']})" for model in found})),
                "precision": ", ".join(sorted({str(model["precision"]) for model in found})),
                "seed": ", ".join(sorted({str(model["seed"]) for model in found})),
                "minutes": sum(model["seconds"] for model in found) / 60,
            }
        )
        for model in found:
            made = {}
            if made_by := model.get("made_by"):
                made = {"its code": made_by["code_sha256"][:12], "processor": made_by["hardware"]["processor"]}
            for name, number in (model["versions"] | made).items():
                versions.setdefault(name, set()).add(str(number))
    tools = ("snakemake", "scikit-learn", "nilearn")
    return {
        "models": models,
        "made_with": {"Python": platform.python_version()} | {name: version(name) for name in tools},
        "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
        "changed": _changed_settings(config),
        "whole_config": yaml.safe_dump(_shown_settings(config), sort_keys=False, allow_unicode=True),
        "durations": _durations(results),
        "checksums": [("cohort/cohort.tsv", sha256(results.cohort)), ("volumes/index.tsv", sha256(results.index))],
    }


def _durations(results: Results) -> list[tuple[str, int, float]]:
    """Each stage's name, number of jobs and minutes, as far as the workflow has measured them; empty without it."""
    folder = results.benchmark("report").parent
    stages: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("*.tsv"), key=lambda path: path.stat().st_mtime):
        stage = path.relative_to(folder).with_suffix("").parts[0]
        if stage != "report":
            stages.setdefault(stage, []).append(float(read_tsv(path)["s"].iloc[-1]))
    return [(stage, len(seconds), sum(seconds) / 60) for stage, seconds in stages.items()]


# --- who, and their volumes --------------------------------------------------------------------------------------


def _cohort(results: Results) -> dict[str, Any]:
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id", "site", "group"))
    exclusions = read_tsv(results.exclusions, text=("participant_id", "study", "rule"))
    flow = read_tsv(results.flow, text=("step", "rule"))
    demographics = _optional_table(results.table("demographics", "tsv"), ("group", "site"))
    by_rule = exclusions.groupby(["study", "rule"], sort=False, dropna=False).size().rename("excluded").reset_index()
    return {
        "people": cohort["participant_id"].nunique(),
        "scans": len(cohort),
        "sites": cohort["site"].nunique(),
        "groups": cohort.drop_duplicates("participant_id")["group"].value_counts().to_dict(),
        "flow": flow.loc[flow["step"] != "count", ["rule", "removed", "remaining"]],
        "counted": flow.loc[flow["step"] == "count", ["rule", "remaining"]].set_axis(["among them", "scans"], axis=1),
        "exclusions": by_rule,
        "demographics": None if demographics is None else _paired(demographics),
    }


def _paired(table: pd.DataFrame) -> pd.DataFrame:
    """Puts ``x_mean`` and ``x_sd`` into one column of text, and ``x_min`` and ``x_max``, so that it fits a page."""
    shown = pd.DataFrame(index=table.index)
    for column in table.columns:
        stem, _, kind = column.rpartition("_")
        if kind == "mean" and f"{stem}_sd" in table:
            pairs = zip(table[column], table[f"{stem}_sd"], strict=True)
            shown[f"{stem}, mean ± SD"] = [_joined("{:.1f} ± {:.1f}", *pair) for pair in pairs]
        elif kind == "min" and f"{stem}_max" in table:
            pairs = zip(table[column], table[f"{stem}_max"], strict=True)
            shown[f"{stem}, range"] = [_joined("{:.0f}–{:.0f}", *pair) for pair in pairs]
        elif kind == "percent":
            shown[f"{stem}, %"] = [_joined("{:.1f}", value) for value in table[column]]
        elif not (kind in ("sd", "max") and f"{stem}_{'mean' if kind == 'sd' else 'min'}" in table):
            shown[column] = table[column]
    return shown


def _joined(form: str, first: float, *others: float) -> str:
    """Numbers in a form; a missing SD of one person reads n/a."""
    return "n/a" if math.isnan(first) else form.format(first, *others).replace("nan", "n/a")


def _volumes(results: Results) -> dict[str, Any]:
    cache = VolumeCache(results)
    return {
        "picture": figures.volume_figure(cache),
        "count": len(cache.scan_ids),
        "shape": " × ".join(str(size) for size in cache.shape),
        "voxel": " × ".join(f"{size:.3g}" for size in (cache.affine[:3, :3] ** 2).sum(axis=0) ** 0.5),
    }


# --- how training went, and what was found -----------------------------------------------------------------------


def _training(config: Config, results: Results, problems: list[str]) -> list[dict[str, Any]]:
    curves = []
    for method in config.methods:
        histories = {}
        for fold in range(config.splits.count):
            history = _optional_table(results.model_folder(method, fold) / "history.tsv", ())
            if history is None:
                continue
            histories[fold] = history
            if history["loss"].isna().any():
                problems.append(f"{method_title(method)}, fold {fold}: the loss is not a number in some epochs.")
        if histories:
            curves.append({"method": method_title(method), "picture": figures.training_figure(histories, method)})
    return curves


def _results(config: Config, results: Results, problems: list[str]) -> dict[str, Any]:
    table = read_tsv(results.table("schizophrenia", "tsv"))
    scores = read_tsv(results.scores)
    targets = config.probes.targets
    for row in scores[scores["value"].isna()].itertuples():
        problems.append(
            f"{method_title(str(row.method))}, fold {row.fold}: {target_label(str(row.target), targets)} "
            f"could not be scored in the {row.space} space."
        )
    tested = scores.drop_duplicates(["fold", "target"]).groupby("target")["n_test"].sum() / config.splits.repeats
    counts = {str(target): round(count) for target, count in tested.items()}
    said = sentences(table, scores, targets)
    return {
        "results": results_table(table, targets, counts),
        "notes": paper_table(config, results).notes,
        "sentences": {method_title(method): lines for method, lines in said.items()},
        "scores_picture": figures.scores_figure(table, scores, targets),
        "published": results_table(published_schizophrenia(), Probes().targets),
    }


def _maps(config: Config, results: Results, problems: list[str]) -> dict[str, Any]:
    """Pictures of all maps and viewers of the first few: the space that should hold a target comes first."""
    found: dict[str, list[dict[str, Any]]] = {}
    viewers_left = config.report.viewers
    for target in config.saliency.targets:
        label = target_label(target, config.probes.targets)
        expected = config.probes.targets[target].expected_in
        other = "common" if expected == "salient" else "salient"
        for space in (expected, other, "single"):
            for method in config.methods:
                path = results.saliency(method) / f"{target}_{space}.nii.gz"
                if not path.is_file():
                    continue
                title = f"{method_title(method)}, {space} space"
                frame = figures.viewer(path, f"{label}: {title}, interactive") if viewers_left > 0 else ""
                viewers_left -= bool(frame)
                picture = path.with_name(path.name.removesuffix(".nii.gz") + ".png")
                static = figures.picture_file(picture, f"{label}: {title}, slices") if picture.is_file() else None
                found.setdefault(label, []).append(
                    {"title": title, "viewer": Markup(frame), "picture": static}  # noqa: S704 (built with escapes)
                )
        if label not in found:
            problems.append(f"{label}: no saliency map was found.")
    tables = []
    for method in config.methods:
        folder = results.saliency(method)
        tables.append(
            {
                "method": method_title(method),
                "localisation": _optional_table(folder / "localisation.tsv", ("target", "space")),
                "peaks": _optional_table(folder / "peaks.tsv", ("target", "space", "sign")),
            }
        )
    return {"targets": found, "tables": tables}


def _methods(config: Config) -> dict[str, Any]:
    """What the methods text needs: each method's title, own settings and shared sections."""
    described = []
    for method in config.methods:
        settings, network, augmentation, training = config.for_method(method)
        described.append(
            {
                "title": method_title(method),
                "description": METHODS[method].describe(settings),
                "trained": settings.trained,
                "network": network,
                "augmentation": augmentation,
                "training": training,
            }
        )
    labels = {
        kind: [
            target_label(name, config.probes.targets)
            for name, target in config.probes.targets.items()
            if target.kind == kind
        ]
        for kind in ("classification", "regression")
    }
    mapped = [target_label(target, config.probes.targets) for target in config.saliency.targets]
    cited = {reference for method in config.methods for reference in METHODS[method].settings.references}
    return {"methods": described, "cited": sorted(cited), "probe_labels": labels, "mapped": mapped}
