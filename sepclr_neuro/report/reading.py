"""Reads all that the report needs of a run, once: its sections are functions of one :class:`Run`.

The alternative, an argument for each table and path, would give a section up to eight of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nibabel
import pandas as pd
from nibabel.nifti1 import Nifti1Image

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, sha256
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.maps.mapping import SALIENT_NORM, beside, map_files
from sepclr_neuro.probing.questions import with_cohort_defaults
from sepclr_neuro.probing.representations import Representations, read_representations
from sepclr_neuro.probing.tables import SPACES, headline

__all__ = ["DescribedMap", "Run", "read_run"]

Key = TypeVar("Key")
# Columns whose values stay text where they look like numbers.
_TEXT = ("group", "site", "scan_id", "truth", "prediction", "target", "space", "map", "peak_in_region")


class DescribedMap(NamedTuple):
    """A map with what it says of itself: its file, from the results folder on; the JSON beside it; voxels, which are
    read when needed."""

    file: str
    about: dict[str, Any]
    image: Nifti1Image


@dataclass(frozen=True)
class Run:
    """The files of a run: optional ones as far as they exist, tables as far as they have rows.

    Attributes:
        config: the run's, with the targets that the cohort has values of.
        probes: the table of probes.
        tables: those beside it by name, ``paper``, ``nulls``, ``predictions``, and ``t_localisation`` of the t-maps.
        records: model.json, by method and fold, as ``histories`` are.
        representations: of the first fold that has any, with its number, by method.
        seconds: of each job, with its stage.
        checksums: of files, with their names.
        maps: by method, attribution, target and space: voxels that are read when needed, and the picture as PNG.
        described: all maps that say what they are.
        t_maps: pictures of the t-maps by target, and of the ``truth``.
        patterns: pictures of the patterns, by method and name.
        method_tables: of maps, patterns, distances and subtypes, by method and name.
    """

    config: Config
    cohort: pd.DataFrame
    exclusions: pd.DataFrame
    flow: pd.DataFrame
    volumes: VolumeCache
    probes: pd.DataFrame
    scores: pd.DataFrame
    verdicts: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    records: Mapping[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    histories: Mapping[tuple[str, int], pd.DataFrame] = field(default_factory=dict)
    representations: Mapping[str, tuple[int, Representations]] = field(default_factory=dict)
    seconds: list[tuple[str, float]] = field(default_factory=list)
    checksums: list[tuple[str, str]] = field(default_factory=list)
    maps: Mapping[tuple[str, str, str, str], tuple[Nifti1Image, bytes | None]] = field(default_factory=dict)
    described: list[DescribedMap] = field(default_factory=list)
    t_maps: Mapping[str, bytes] = field(default_factory=dict)
    patterns: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    method_tables: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def figures(self) -> pd.DataFrame:
        """The rows that the paper's table has."""
        return headline(self.probes)


def read_run(config: Config, results: Results) -> Run:
    """Reads what a run wrote.

    Raises:
        InputError: if a stage that the report needs has not run; all missing files are named.
    """
    probes = results.table(config.cohort.table_name, "tsv")
    needed = {
        "cohort": (results.cohort, results.exclusions, results.flow),
        "volumes": (results.index,),
        "probe": (results.scores,),
        "tables": (results.verdicts, probes),
    }
    advice = "not there; run `sepclr-neuro"
    missing = [f"{p}: {advice} {stage}` first" for stage, paths in needed.items() for p in paths if not p.is_file()]
    if missing:
        raise InputError(missing)
    cohort = load_cohort(results.cohort)
    config = with_cohort_defaults(config, cohort)
    further = ["comparisons", "confounds", "site_leakage", "demographics"]
    further += ["beside_published"] if config.cohort.is_published else []
    tables = {name: results.table(name, "tsv") for name in further}
    tables |= {"paper": results.table(f"{config.cohort.table_name}_paper", "tsv"), "nulls": results.nulls}
    tables |= {"predictions": results.predictions, "t_localisation": results.vbm / "localisation.tsv"}
    models = {key: results.model_folder(*key) for key in product(config.methods, range(config.splits.count))}
    records = {key: read_json(f / "model.json") for key, f in models.items() if (f / "model.json").is_file()}
    # The first fold comes last, and stays.
    first = {method: fold for method, fold in reversed(records) if results.representations(method, fold).is_file()}
    folders = [
        (method, of(method))
        for method in config.methods
        for of in (results.saliency, results.patterns, results.subtypes)
    ]
    return Run(
        config=config,
        cohort=cohort,
        exclusions=read_tsv(results.exclusions, text=("participant_id", "study", "rule")),
        flow=read_tsv(results.flow, text=("step", "rule")),
        volumes=VolumeCache(results),
        probes=read_tsv(probes),
        scores=read_tsv(results.scores),
        verdicts=read_tsv(results.verdicts),
        tables=_tables(tables),
        records=records,
        histories=_tables({key: folder / "history.tsv" for key, folder in models.items()}),
        representations={
            method: (fold, read_representations(results.representations(method, fold), models[method, fold]))
            for method, fold in first.items()
        },
        seconds=_seconds(results.benchmark("report").parent),
        checksums=[("cohort/cohort.tsv", sha256(results.cohort)), ("volumes/index.tsv", sha256(results.index))],
        maps=_maps(config, results),
        described=[
            DescribedMap(path.relative_to(results.root).as_posix(), read_json(about), nibabel.nifti1.load(path))
            for path in map_files(results)
            if (about := beside(path, ".json")).is_file()
        ],
        t_maps=_pictures(results.vbm),
        patterns={method: _pictures(results.patterns(method)) for method in config.methods},
        method_tables=_tables({(method, p.stem): p for method, folder in folders for p in folder.glob("*.tsv")}),
    )


def _tables(paths: Mapping[Key, Path]) -> dict[Key, pd.DataFrame]:
    found = {key: read_tsv(path, text=_TEXT) for key, path in paths.items() if path.is_file()}
    return {key: table for key, table in found.items() if not table.empty}


def _pictures(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in folder.glob("*.png")}


def _maps(config: Config, results: Results) -> dict[tuple[str, str, str, str], tuple[Nifti1Image, bytes | None]]:
    found = {}
    targets, spaces = [*config.saliency.targets, SALIENT_NORM], (*SPACES, "single")
    for key in product(config.methods, config.saliency.attributions, targets, spaces):
        method, attribution, target, space = key
        path = results.saliency(method) / attribution / f"{target}_{space}"
        image, picture = (path.with_name(f"{path.name}{suffix}") for suffix in (".nii.gz", ".png"))
        if image.is_file():
            found[key] = (nibabel.nifti1.load(image), picture.read_bytes() if picture.is_file() else None)
    return found


def _seconds(folder: Path) -> list[tuple[str, float]]:
    """As far as the workflow has measured them, in the order of the jobs; the report's are an earlier one's."""
    paths = sorted(folder.rglob("*.tsv"), key=lambda path: path.stat().st_mtime)
    stages = [(path.relative_to(folder).with_suffix("").parts[0], path) for path in paths]
    return [(stage, float(read_tsv(path)["s"].iloc[-1])) for stage, path in stages if stage != "report"]
