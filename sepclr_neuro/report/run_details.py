"""Run details: models, settings, versions, durations, and what a shortened run left out."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS, Saliency
from sepclr_neuro.config.stages import STAGES
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.report.records import Trained, span

__all__ = ["left_out", "run_details"]

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


def _shown_settings(config: Config, *, without_defaults: bool = False) -> dict[str, Any]:
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

    # The other benchmarks are not part of the report.
    dumped = config.model_dump(mode="json", include=set(STAGES["report"]), exclude_defaults=without_defaults)
    shown: dict[str, Any] = shorten(dumped)
    return shown


# Their defaults follow the cohort: unwritten they are no change, whatever they are.
_DERIVED = [("probes", "targets"), ("probes", "confounds"), ("saliency", "targets")]


def _changed_settings(config: Config) -> list[tuple[str, str, str]]:
    """Key path, value and default of each setting that the user wrote and that is not at its default."""
    given = dict(_flat(_shown_settings(config, without_defaults=True)))
    default = dict(_flat(_shown_settings(Config())))
    default |= _flat({"probes": _shown_settings(Config(cohort=config.cohort))["probes"]})
    derived = [f"{name}.{key}" for name, key in _DERIVED if key not in getattr(config, name).model_fields_set]
    changed = []
    for key, value in given.items():
        # The page's head says what the groups are.
        if key.startswith(("methods.", "cohort.diseases")) or key in ("cohort.background", "cohort.target"):
            continue
        if value == {} or any(key == name or key.startswith(f"{name}.") for name in derived):
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
        sections = dict(_flat(config.model_dump(mode="json", include={"network", "augmentation", "training"})))
        for key, value in _flat(settings) if settings else ():
            usual = default_settings[key] if key in default_settings else sections.get(key)
            if value != usual:
                of_section = "" if key in default_settings else " (its section)"
                changed.append((f"methods.{method}.{key}", _yaml(value), _yaml(usual) + of_section))
    return changed


def run_details(config: Config, made: Mapping[str, Trained], seconds: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Models, versions, settings and durations.

    Args:
        seconds: of each job, with its stage.
    """
    models = []
    versions: dict[str, set[str]] = {}
    for method in made.values():
        found = method.records
        batches = method.all_of("batch_size")
        models.append(
            {
                "method": method.title,
                "folds": len(found),
                "training scans": span([len(model["train_scan_ids"]) for model in found]),
                "batch": span(batches) if batches else "none",
                "epochs": span(method.all_of("epochs")) if method.by_gradients else "none",
                "weights": sum(network["weights"] for network in method.networks.values()) or "none",
                "device": ", ".join(sorted({f"{model['device']} ({model['processor']})" for model in found})),
                "precision": ", ".join(sorted({str(model["precision"]) for model in found})),
                "seed": ", ".join(sorted({str(model["seed"]) for model in found})),
                "minutes": round(sum(model["seconds"] for model in found) / 60, 1),
            }
        )
        for model in found:
            of_code = {}
            if made_by := model.get("made_by"):
                of_code = {"its code": made_by["code_sha256"][:12], "processor": made_by["hardware"]["processor"]}
            for name, number in (model["versions"] | of_code).items():
                versions.setdefault(name, set()).add(str(number))
    tools = ("snakemake", "scikit-learn", "nilearn")
    return {
        "models": pd.DataFrame(models),
        "made_with": {"Python": platform.python_version()} | {name: version(name) for name in tools},
        "versions": {name: ", ".join(sorted(found)) for name, found in sorted(versions.items())},
        "changed": pd.DataFrame(_changed_settings(config), columns=["setting", "this run", "default"]),
        "whole_config": yaml.safe_dump(_shown_settings(config), sort_keys=False, allow_unicode=True),
        "durations": _durations(seconds),
        "left_out": left_out(config, made),
    }


def _durations(seconds: Sequence[tuple[str, float]]) -> pd.DataFrame:
    """Jobs and minutes of each stage."""
    stages: dict[str, list[float]] = {}
    for stage, measured in seconds:
        stages.setdefault(stage, []).append(measured)
    rows = [(stage, len(jobs), round(sum(jobs) / 60, 1)) for stage, jobs in stages.items()]
    return pd.DataFrame(rows, columns=["stage", "jobs", "minutes"])


def left_out(config: Config, made: Mapping[str, Trained]) -> list[str]:
    """Shortcomings of a run beside the defaults and the paper's volumes: a sentence each.

    Args:
        config: of the run.
        made: the models of each method, which say how long they really were trained.
    """
    said = []
    full = Config()
    if math.prod(config.volumes.shape) < math.prod(full.volumes.shape):
        shape, whole = (" × ".join(map(str, c.volumes.shape)) for c in (config, full))
        said.append(f"Volumes have {shape} voxels, the paper's {whole} (volumes.shape).")
    if config.splits.scheme == "k-fold" and config.splits.folds < full.splits.folds:
        said.append(f"{counted(config.splits.folds, 'fold')} instead of {full.splits.folds} (splits.folds).")
    short: dict[str, list[str]] = {}
    for method in made.values():
        if method.by_gradients and method.configured.training.epochs < full.training.epochs:
            epochs = method.all_of("epochs")
            short.setdefault(f"{span(epochs)} {'epoch' if set(epochs) == {1} else 'epochs'}", []).append(method.title)
    said += [
        f"Trained for {epochs} instead of {full.training.epochs} (training.epochs): {listed(titles)}."
        for epochs, titles in short.items()
    ]
    return said + _left_out_of_maps(config.saliency)


def _left_out_of_maps(settings: Saliency) -> list[str]:
    said = []
    if settings.participants is not None:
        participants = counted(settings.participants, "held-out participant")
        said.append(f"Maps are of at most {participants} a fold (saliency.participants).")
    if "smoothgrad" in settings.attributions and settings.samples < Saliency().samples:
        samples = counted(settings.samples, "sample")
        said.append(f"SmoothGrad took {samples} instead of {Saliency().samples} (saliency.samples).")
    absent = [ATTRIBUTIONS[name].title for name in ATTRIBUTIONS.built_in if name not in settings.attributions]
    if absent:
        said.append(f"Maps not made: {', '.join(absent)} (saliency.attributions).")
    if "salient-norm" not in settings.of:
        said.append("The distance of the salient head from s' was not mapped (saliency.of).")
    if settings.permutations < PERMUTATIONS:
        count = counted(settings.permutations, "permutation") if settings.permutations else "no permutations"
        said.append(f"Group maps have {count}; a paper wants {PERMUTATIONS} (saliency.permutations).")
    if settings.atlas is None:
        said.append("There is no table of regions, since no atlas was given (saliency.atlas).")
    if not settings.sanity_participants:
        said.append("Maps were not checked with shuffled weights (saliency.sanity_participants).")
    return said
