"""What ran: models, settings, versions, durations, and what a shortened run left out."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sepclr_neuro.config.model import Config, Saliency
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, sha256
from sepclr_neuro.maps.saliency import ATTRIBUTIONS
from sepclr_neuro.report.findings import method_title
from sepclr_neuro.report.shown import cell

__all__ = ["left_out", "what_ran"]

PERMUTATIONS = 1000


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
    for method, given_settings in config.methods.items():
        configured = config.for_method(method)
        named = configured.as_named | configured.settings.model_dump(mode="json")
        # As they were understood: YAML's `1e-1` may be text in the settings as they were given.
        settings = {key: named[key] for key in given_settings if key in named}
        default_settings = {"method": "not set"} | dict(_flat(configured.entry.settings().model_dump(mode="json")))
        for key, value in _flat(settings) if settings else ():
            if value != default_settings.get(key):
                changed.append(
                    (f"methods.{method}.{key}", _yaml(value), _yaml(default_settings.get(key, "as the section")))
                )
    return changed


def _span(values: list[Any]) -> str:
    """One value, or the lowest and highest."""
    low, high = min(values), max(values)
    return cell(low) if low == high else f"{cell(low)} to {cell(high)}"


def what_ran(config: Config, results: Results, problems: list[str]) -> dict[str, Any]:
    """Models, versions, settings, durations and checksums; a model that is missing is added to the problems."""
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
                "training scans": _span([len(model["train_scan_ids"]) for model in found]),
                "epochs": _span([model["epochs"] for model in found]),
                "device": ", ".join(sorted({f"{model['device']} ({model['processor']})" for model in found})),
                "precision": ", ".join(sorted({str(model["precision"]) for model in found})),
                "seed": ", ".join(sorted({str(model["seed"]) for model in found})),
                "minutes": round(sum(model["seconds"] for model in found) / 60, 1),
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
        "models": pd.DataFrame(models),
        "made_with": {"Python": platform.python_version()} | {name: version(name) for name in tools},
        "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
        "changed": pd.DataFrame(_changed_settings(config), columns=["setting", "this run", "default"]),
        "whole_config": yaml.safe_dump(_shown_settings(config), sort_keys=False, allow_unicode=True),
        "durations": _durations(results),
        "checksums": [("cohort/cohort.tsv", sha256(results.cohort)), ("volumes/index.tsv", sha256(results.index))],
        "left_out": left_out(config),
    }


def _durations(results: Results) -> pd.DataFrame:
    """Jobs and minutes of each stage, as far as the workflow has measured them; empty without it."""
    folder = results.benchmark("report").parent
    stages: dict[str, list[float]] = {}
    for path in sorted(folder.rglob("*.tsv"), key=lambda path: path.stat().st_mtime):
        stage = path.relative_to(folder).with_suffix("").parts[0]
        if stage != "report":
            stages.setdefault(stage, []).append(float(read_tsv(path)["s"].iloc[-1]))
    rows = [(stage, len(seconds), round(sum(seconds) / 60, 1)) for stage, seconds in stages.items()]
    return pd.DataFrame(rows, columns=["stage", "jobs", "minutes"])


def left_out(config: Config) -> list[str]:
    """What a run of this configuration is short of, beside the defaults and the paper's volumes: a sentence each."""
    said = []
    full = Config()
    if math.prod(config.volumes.shape) < math.prod(full.volumes.shape):
        shape, whole = (" × ".join(map(str, c.volumes.shape)) for c in (config, full))
        said.append(f"Volumes have {shape} voxels, the paper's {whole} (volumes.shape).")
    if config.splits.scheme == "k-fold" and config.splits.folds < full.splits.folds:
        said.append(f"{config.splits.folds} folds instead of {full.splits.folds} (splits.folds).")
    for method in config.methods:
        configured = config.for_method(method)
        training = configured.training
        if configured.settings.trained and training.epochs < full.training.epochs:
            said.append(
                f"{method_title(method)} was trained for {training.epochs} epochs instead of {full.training.epochs} "
                "(training.epochs)."
            )
    said += _left_out_of_maps(config.saliency)
    absent = [METHODS[name].title for name in METHODS if name not in config.methods]
    if absent:
        said.append(f"{len(config.methods)} of {len(METHODS)} methods were run; not: {'; '.join(absent)} (methods).")
    return said


def _left_out_of_maps(settings: Saliency) -> list[str]:
    said = []
    if settings.participants is not None:
        said.append(f"Maps are of at most {settings.participants} held-out people a fold (saliency.participants).")
    if "smoothgrad" in settings.attributions and settings.samples < Saliency().samples:
        said.append(f"SmoothGrad took {settings.samples} samples instead of {Saliency().samples} (saliency.samples).")
    absent = [title for name, title in ATTRIBUTIONS.items() if name not in settings.attributions]
    if absent:
        said.append(f"Maps not made: {', '.join(absent)} (saliency.attributions).")
    if "salient-norm" not in settings.of:
        said.append("The distance of the salient head from s' was not mapped (saliency.of).")
    if settings.permutations < PERMUTATIONS:
        count = settings.permutations or "no"
        said.append(f"Group maps have {count} permutations; a paper wants {PERMUTATIONS} (saliency.permutations).")
    if settings.atlas is None:
        said.append("There is no table of regions, since no atlas was given (saliency.atlas).")
    if not settings.sanity_participants:
        said.append("Maps were not checked with shuffled weights (saliency.sanity_participants).")
    return said
