"""The contents of ``config.yaml``: its sections in one typed model, without unknown keys, and its reading.

Each section has a file of its own beside this one, each method's settings are in `methods/`: there each number of a run
has its home. Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from sepclr_neuro.config.augmentation import MOST_RAW_NOISE, Augmentation
from sepclr_neuro.config.cohort import Cohort
from sepclr_neuro.config.columns import DEFAULT_COVARIATES, CohortColumn, with_columns
from sepclr_neuro.config.configured import (
    ConfiguredMethod,
    check_name,
    check_parts,
    method_and_settings,
    of_method,
    with_empty_settings,
)
from sepclr_neuro.config.digits import Digits
from sepclr_neuro.config.messages import explain, validate
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.probes import DEFAULT_TARGETS, Probes, ProbeTarget
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.report import Report
from sepclr_neuro.config.saliency import Saliency
from sepclr_neuro.config.section import PlainPath, Section
from sepclr_neuro.config.separation import Separation
from sepclr_neuro.config.simulation import SYMPTOMS, Simulation
from sepclr_neuro.config.site_leakage import SiteLeakage
from sepclr_neuro.config.splits import Splits
from sepclr_neuro.config.standardisation import Standardisation
from sepclr_neuro.config.subtypes import Subtypes
from sepclr_neuro.config.training import Training
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError, nearest
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.yaml_file import read_yaml

__all__ = ["OPEN", "Config", "load_config", "parse_config"]

OPEN = "CHOOSE"
"""What `init` writes where the user has to choose."""


def _set_default(config: Section, key: str, **values: Any) -> None:
    """Replaces values of a section that the user did not write; they still count as not written afterwards."""
    section = getattr(config, key)
    content = {name: getattr(section, name) for name in type(section).model_fields} | values
    object.__setattr__(config, key, type(section).model_construct(_fields_set=section.model_fields_set, **content))


class Config(Section):
    """A whole run."""

    title: str = Field("sepclr_neuro", description="Heading of the report.")
    output: PlainPath = Field(
        Path("results"),
        description="Folder of everything that the run writes; relative to the folder in which the command is given.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of everything that is drawn at random.")
    cohort: Cohort = Field(
        Cohort(simulation=Simulation()), description="Sources of participants and rules of inclusion."
    )
    volumes: Volumes = Field(Volumes(), description="The grid that networks see.")
    splits: Splits = Field(Splits(), description="Training and test sides of each fold.")
    standardisation: Standardisation = Field(
        Standardisation(), description="Centring and scaling, by a fold's training participants."
    )
    augmentation: Augmentation = Field(Augmentation(), description="Random changes that make two views of one volume.")
    network: Network = Field(Network(), description="The encoder.")
    training: Training = Field(Training(), description="Epochs, batches and optimiser.")
    methods: dict[str, dict[str, Any]] = Field(
        {"sepclr-k-jem": {}},
        min_length=1,
        description="Methods to train, with the settings that differ. To train one with several settings, give each a "
        "name of your own and say `method:` there; tables call it by that name.",
    )
    adjust_for: list[CohortColumn] | None = Field(
        None,
        description="Columns of the cohort that salient spaces are adjusted for, within groups, learned from training "
        "participants. Null: age, sex, site and tiv, as far as the cohort has them; []: nothing.",
    )
    impute_covariates: bool = Field(
        False, description="Whether a missing value of `adjust_for` counts as the training participants' mean."
    )
    probes: Probes = Field(
        Probes(), description="Variables that linear probes predict from each space, in held-out participants."
    )
    site_leakage: SiteLeakage = Field(SiteLeakage(), description="How well probes predict the site from each space.")
    saliency: Saliency = Field(Saliency(), description="Which voxels the probes use.")
    subtypes: Subtypes = Field(Subtypes(), description="Kinds of patients in the salient space.")
    report: Report = Field(Report(), description="Contents of the HTML report.")
    digits: Digits = Field(Digits(), description="The paper's other benchmark, which `snakemake digits` runs.")
    separation: Separation = Field(
        Separation(), description="How far recipes separate; `snakemake separation` runs it."
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _bare_names(cls, methods: Any) -> Any:
        return with_empty_settings(methods)

    @model_validator(mode="after")
    def _combat_knows_every_site(self) -> Self:
        if self.site_leakage.combat and self.splits.by_site and not self.splits.site_controls:
            raise ValueError(
                f"site_leakage.combat: with `splits.scheme: {self.splits.scheme}` held-out sites are new, and ComBat "
                "cannot harmonise a site that it was not fitted on; set it to false, or let some controls of each "
                "site train (`splits.site_controls`)"
            )
        return self

    @model_validator(mode="after")
    def _methods_are_valid(self) -> Self:
        for name, settings in self.methods.items():
            check_name(name, settings, self.methods)
            self.for_method(name)
        return self

    @model_validator(mode="after")
    def _columns_have_the_cohorts_names(self) -> Self:
        """Refuses columns that the cohort does not have, and calls the others as it does."""
        # A run file without the cohort cannot name its columns; it already has their names.
        has_cohort = "cohort" in self.model_fields_set
        for key, section in self:
            if (
                isinstance(section, Section)
                and (has_cohort or key != "volumes")
                and key not in ("cohort", "separation")
            ):
                object.__setattr__(self, key, with_columns(section, key, self.cohort.own_column))
        if has_cohort and self.adjust_for is not None:
            columns = [self.cohort.own_column("adjust_for", name) for name in self.adjust_for]
            object.__setattr__(self, "adjust_for", columns)
        methods = dict(self.methods)
        for name in methods if has_cohort else ():
            settings = self.for_method(name).settings
            renamed = with_columns(settings, f"methods.{name}", self.cohort.own_column)
            changed = {key: value for key, value in renamed if value != getattr(settings, key)}
            methods[name] = methods[name] | changed
        object.__setattr__(self, "methods", methods)
        return self

    @model_validator(mode="after")
    def _defaults_follow_the_tables(self) -> Self:
        """Probes by default the scores and diseases that the cohort has, and balances the latter over folds; a default
        still counts as not written."""
        if self.cohort.diseases and "stratify_by" not in self.splits.model_fields_set:
            _set_default(self, "splits", stratify_by=["disease", "site"])
        if "targets" not in self.probes.model_fields_set:
            _set_default(self, "probes", targets=self.default_targets)
        if "targets" not in self.saliency.model_fields_set:
            _set_default(self, "saliency", targets=self.default_mapped)
        return self

    @property
    def default_targets(self) -> dict[str, ProbeTarget]:
        """What probes predict where the user says nothing: it depends on the scores that the cohort has."""
        targets = {name: target for name, target in DEFAULT_TARGETS.items() if name not in SYMPTOMS}
        diagnosis = targets.pop("diagnosis")
        for name in self.scores:
            people = self.cohort.scores[name].people if name in self.cohort.scores else "target"
            label = DEFAULT_TARGETS[name].label if name in SYMPTOMS else None
            targets[name] = ProbeTarget(kind="regression", people=people, expected_in="salient", label=label)
        targets["diagnosis"] = diagnosis
        for name, (disease, others) in self.cohort.contrasts.items():
            beside = "controls" if others == "background" else "other patients"
            label = f"{disease} against {beside}"
            targets[name] = ProbeTarget(kind="classification", people="known", expected_in="salient", label=label)
        return targets

    @property
    def default_mapped(self) -> list[str]:
        """What is mapped where the user says nothing."""
        return [name for name in ("diagnosis", *self.scores) if name in self.probes.targets]

    @property
    def has_default_questions(self) -> bool:
        """Whether the probes are the default ones, in any order, also where the configuration writes them out."""
        asked, default = self.probes.targets, self.default_targets
        return {name: asked[name].question for name in asked} == {name: default[name].question for name in default}

    @property
    def has_default_confounds(self) -> bool:
        """Whether the confounds are the default ones, also where the configuration writes them out."""
        return self.probes.confounds == Probes().confounds

    @property
    def scores(self) -> list[str]:
        """Names of the symptom scores that the cohort has."""
        return list(self.cohort.scores) if self.cohort.source == "files" else list(SYMPTOMS)

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        for name, target in self.probes.targets.items():
            if not target.of_classes and name in ("sex", "site", "diagnosis"):
                raise ValueError(f"probes.targets.{name}.kind: {name} is text, not numbers; use `classification`")
        if "salient-norm" in self.cohort.known:
            raise ValueError("the cohort's column 'salient-norm' has the name of a map; call it something else")
        for name in self.saliency.targets:
            if name not in self.probes.targets:
                raise ValueError(f"saliency.targets: {name!r} is not probed.{nearest(name, self.probes.targets)}")
        return self

    @model_validator(mode="after")
    def _noise_is_small(self) -> Self:
        if self.standardisation.entry.raw_units:
            # Only what is trained in epochs has such views; the models of other methods do not keep the section.
            trained = [one for one in map(self.for_method, self.methods) if one.settings.trained]
            noise = {"augmentation": self.augmentation.noise_sd} if trained else {}
            noise |= {"saliency": self.saliency.noise_sd}
            noise |= {f"methods.{one.name}.augmentation": one.augmentation.noise_sd for one in trained}
            strong = [f"{section}.noise_sd ({sd:g})" for section, sd in noise.items() if sd > MOST_RAW_NOISE]
            if strong:
                raise ValueError(
                    f"{', '.join(strong)}: with `standardisation.intensity: {self.standardisation.intensity}` the unit "
                    f"is that of grey matter, 0 to 1, which so much noise drowns; lower it to {MOST_RAW_NOISE} or less"
                )
        return self

    @model_validator(mode="after")
    def _recipes_are_valid(self) -> Self:
        # Defaults are valid, and are not checked each time that a stage reads its configuration.
        if "separation" in self.model_fields_set:
            for name, recipe in self.separation.recipes.items():
                path = f"separation.recipes.{name}.settings"
                settings = validate(METHODS[recipe.method].settings, recipe.settings, path)
                if getattr(settings, "training", {}).get("nodes", 1) != 1:
                    raise ValueError(f"{path}.training.nodes: the benchmark of separation uses one node; remove it")
                for benchmark in self.separation.cohorts.values():
                    with_columns(settings, path, benchmark.cohort.own_column)
        return self

    def separation_run(self, cohort: str, seed: int, recipe: str | None = None) -> Config:
        """The run that stands for one recipe on one cohort of the benchmark, or for that cohort alone."""
        known = self.separation.cohorts[cohort]
        content: dict[str, Any] = {
            "output": str(Results(self.output).separation_cohort(cohort, seed)),
            "seed": seed,
            "cohort": known.cohort.model_dump(mode="json"),
            "volumes": known.volumes.model_dump(mode="json"),
            "splits": {"folds": 2, "stratify_by": ["diagnosis", "site"]},
            **self.model_dump(
                mode="json",
                include={"standardisation", "augmentation", "network", "training", "adjust_for", "impute_covariates"},
            ),
        }
        content["training"]["nodes"] = 1  # its cohorts are small
        if recipe is not None:
            chosen = self.separation.recipes[recipe]
            content["methods"] = {chosen.method: chosen.settings}
            if chosen.standardisation is not None:
                content["standardisation"] = chosen.standardisation.model_dump(mode="json")
        return parse_config(content, f"separation, {recipe or cohort}")

    def for_method(self, name: str) -> ConfiguredMethod:
        """The method that stands under a name in `methods`, with all that it is trained with.

        Raises:
            ValueError: if its settings are invalid; the message names the key path.
        """
        method, own = method_and_settings(name, self.methods[name])
        settings = validate(METHODS[method].settings, own, f"methods.{name}")
        keys = ("network", "augmentation", "training")
        network, augmentation, training = of_method(self, settings, keys, f"methods.{name}")
        check_parts(settings, network, training, f"methods.{name}")
        own_covariates = getattr(settings, "adjust_for", None)
        adjust_for = self.adjust_for if own_covariates is None else own_covariates
        if adjust_for == [column for column in DEFAULT_COVARIATES if column in self.cohort.known]:
            adjust_for = None  # the default, written out
        return ConfiguredMethod(name, method, settings, network, augmentation, training, adjust_for)


def parse_config(content: Any, source: str = "the configuration") -> Config:
    """Validates what was read from a configuration file.

    Raises:
        InputError: with every problem, each naming its key path.
    """
    return _parse(content, lambda sentence: source)


def _parse(content: Any, where: Callable[[str], str]) -> Config:
    """Validates ``content``; ``where`` names the file, and the line that a sentence about a key is about."""
    if not isinstance(content, dict):
        said = "expected keys with values, as in the project's config.yaml"
        if isinstance(content, str) and ":" in content:
            said += "; between the colon of a key and its value stands a space"
        raise InputError(f"{where('')}: {said}")
    sentences = [
        f"{path}: holds control characters; remove them" for path, text in _texts(content) if not text.isprintable()
    ]
    sentences += [
        f"{path}: is {OPEN}, a choice that `init` left open; the comment above it says what the data offer"
        for path, text in _texts(content)
        if text == OPEN
    ]
    if not sentences:
        try:
            return Config.model_validate(content)
        except ValidationError as error:
            sentences = explain(error, Config)
    raise InputError([f"{where(sentence)}: {sentence}" for sentence in sentences])


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """All text of a configuration, keys included, and its key path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            name = f"{path}.{key}".lstrip(".") if str(key).isprintable() else f"{path}.{key!r}".lstrip(".")
            yield name, str(key)
            yield from _texts(inner, name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{path}.{number}")


def load_config(path: str | Path) -> Config:
    """Reads and validates one configuration file (YAML; JSON is YAML too).

    Raises:
        InputError: if the file cannot be read or something in it is wrong; messages name the line where they can.
    """
    file = read_yaml(Path(path))

    def where(sentence: str) -> str:
        # A sentence begins with its key path.
        line = file.line(sentence.partition(": ")[0].split("."))
        return str(path) if line is None else f"{path}, line {line}"

    return _parse(file.content, where)
