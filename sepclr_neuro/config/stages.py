"""The configuration of each stage of a run, cut down to what the stage depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import ProbeTarget

__all__ = ["STAGES", "stage_config"]

# What each stage of the workflow depends on. A stage's *run file* is the configuration cut down to these sections:
# it is an input of the stage's rule and is rewritten only when its content changes, so that editing one method
# retrains that method alone, and editing `saliency` retrains nothing.
STAGES: dict[str, tuple[str, ...]] = {
    "dataset": ("cohort", "volumes"),
    "cohort": ("cohort",),
    "volumes": ("volumes",),
    "splits": ("cohort", "splits"),
    "standardisation": ("standardisation",),
    "training": (
        "standardisation",
        "augmentation",
        "network",
        "training",
        "methods",
        "adjust_for",
        "impute_covariates",
    ),
    "embedding": ("cohort", "splits", "methods"),
    "probes": ("cohort", "splits", "probes", "methods"),
    "tables": ("cohort", "splits", "probes", "methods"),
    "vbm": ("cohort", "volumes", "splits", "probes", "saliency"),
    "leakage": ("cohort", "splits", "probes", "site_leakage", "methods"),
    "patterns": ("cohort", "splits", "saliency", "methods"),
    "subtypes": ("cohort", "splits", "subtypes", "methods"),
    "saliency": ("cohort", "volumes", "splits", "probes", "saliency", "methods"),
    "report": tuple(name for name in Config.model_fields if name not in ("digits", "separation")),
    "digits": ("digits",),
    "separation-cohort": ("separation",),
    "separation": (
        "separation",
        "standardisation",
        "augmentation",
        "network",
        "training",
        "adjust_for",
        "impute_covariates",
    ),
}


# By a section that a stage reads, what stands for those that it does not read, so that they change nothing in it.
_NEUTRAL: dict[str, dict[str, Any]] = {
    "cohort": {
        "splits": {"stratify_by": []},
        "probes": {"targets": {"diagnosis": {"kind": "classification", "expected_in": "salient"}}},
        "saliency": {"targets": []},
    },
    "standardisation": {"augmentation": {"noise_sd": 0}, "saliency": {"noise_sd": 0}},
}


def stage_config(config: Config, stage: str, method: str | None = None) -> dict[str, Any]:
    """The part of a configuration that a stage (for one method, if named) depends on, JSON-like, defaults filled in.

    Of the benchmark of separation, ``method`` is a cohort (stage ``separation-cohort``) or a recipe.

    It is a valid configuration by itself: what the stage does not read is left out or empty.
    """
    sections = STAGES[stage]
    if stage == "cohort" and config.cohort.on_error == "exclude":
        sections = (*sections, "volumes")  # which volumes are bad depends on this section
    content = config.model_dump(mode="json", include={"output", "seed", *sections})
    for read, others in _NEUTRAL.items():
        if read in sections:
            content |= {name: section for name, section in others.items() if name not in sections}
    if "cohort" in content:
        # The order of codes says nothing.
        values = content["cohort"]["values"]
        content["cohort"]["values"] = {name: dict(sorted(values[name].items())) for name in sorted(values)}
    if stage == "separation":
        content["training"]["nodes"] = 1  # on which its runs are, whatever the configuration says
    if stage == "digits" and method is not None:
        only = {"methods": {method: config.digits.methods[method]}, "more_seeds": {}, "seeds": 1}
        content["digits"] |= only
    elif stage.startswith("separation") and method is not None:
        # Seeds are jobs of their own: another one changes no file that a job reads.
        part = "cohorts" if stage == "separation-cohort" else "recipes"
        kept = content["separation"]
        content["separation"] = kept | {"seeds": [0], "reference": None} | {part: {method: kept[part][method]}}
        if part == "cohorts":
            content["separation"]["recipes"] = {}
    elif method is not None:
        configured = config.for_method(method)
        content["methods"] = {method: configured.as_named}
        if "training" in sections:
            content["methods"][method] |= configured.settings.model_dump(mode="json")
            for key in ("network", "augmentation", "training"):
                del content[key]
                if configured.settings.trained:
                    content[key] = getattr(configured, key).model_dump(mode="json")
                    # The section says it all; below the method stands only what would change it back.
                    own = type(configured.settings).model_fields[key].default
                    content["methods"][method][key] = {name: content[key][name] for name in own}
            content["methods"][method].pop("adjust_for", None)
            content["adjust_for"] = configured.adjust_for if configured.adjusts else []
            content["impute_covariates"] = configured.adjusts and config.impute_covariates
    elif stage in ("probes", "tables", "leakage", "saliency"):
        content["methods"] = {name: config.for_method(name).as_named for name in config.methods}
    if stage == "tables":
        # Notes say whether codes are adjusted, not for what.
        for name, settings in content["methods"].items():
            configured = config.for_method(name)
            settings |= {"adjust_for": []} if configured.adjusts and not configured.adjusted else {}
    if stage == "report" and config.saliency.targets == config.default_mapped:
        del content["saliency"]["targets"]  # as below, of what is mapped
    if stage == "patterns":
        content["saliency"] = {"targets": [], "permutations": config.saliency.permutations}
    if "probes" in sections:
        _cut_questions(config, stage, content)
    return content


def _cut_questions(config: Config, stage: str, content: dict[str, Any]) -> None:
    """Leaves out of a stage's ``probes`` and ``saliency`` what it does not read: maps hold no target's name in tables,
    and only the tables draw permutations, so that changing these makes no map anew."""
    probes = content["probes"]
    # Defaults, written or not, stay unwritten: the stage fills them in too, and may leave out what the cohort has no
    # answers for.
    if list(config.probes.targets.items()) == list(config.default_targets.items()):
        del probes["targets"]
    if config.has_default_confounds:
        del probes["confounds"]
    if stage == "leakage":
        content["probes"] = {key: probes[key] for key in ("permutations", "bootstraps")}
    elif stage in ("vbm", "saliency"):
        mapped = {name: config.probes.targets[name] for name in config.saliency.targets}
        content["probes"] = {"targets": _unnamed(mapped or _NEUTRAL["cohort"]["probes"]["targets"])}
        content["probes"]["confounds"] = []
        if stage == "vbm":
            content["saliency"] = {"targets": config.saliency.targets}
    elif stage == "probes":
        for key in ("permutations", "bootstraps"):
            del probes[key]
        if config.has_default_questions:
            probes.pop("targets", None)
        else:
            probes["targets"] = _unnamed(config.probes.targets)


def _unnamed(targets: Mapping[str, Any]) -> dict[str, Any]:
    """Questions without what only tables and the report show of them."""
    probed = {name: ProbeTarget.model_validate(target) for name, target in targets.items()}
    return {
        name: {"kind": target.kind, "people": target.people, "expected_in": "salient"}
        for name, target in probed.items()
    }
