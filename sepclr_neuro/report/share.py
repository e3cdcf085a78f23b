"""A finished run as a BIDS derivative: maps and tables under the field's names, each with a description beside it."""

from __future__ import annotations

import csv
import io
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sepclr_neuro import __version__
from sepclr_neuro.config.cohort import Study
from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import code_sha256
from sepclr_neuro.core.storage import as_tsv, atomic_path, read_json, write_json, write_text
from sepclr_neuro.core.words import counted
from sepclr_neuro.maps.mapping import beside, map_files
from sepclr_neuro.report.columns import TABLES
from sepclr_neuro.report.descriptions import sidecar

__all__ = ["as_csv", "map_name", "write_shared"]

logger = logging.getLogger(__name__)

BIDS_VERSION = "1.10.0"
# Of no use elsewhere: where files lie on the disk of the run.
_PATHS = ("volume",)
# The validator takes a folder's name without a slash alone.
_BENCHMARK = (
    "Benchmark",
    "Of images or of cohorts, simulated or with an implanted effect, whose truth is known: nothing here says anything "
    "about real patients.",
)
_NOT_IN_BIDS = "group\ntables\nparticipants\nchecklist.md\nreferences.bib\n"


def write_shared(results: Results, folder: Path, *, participants: bool = False) -> None:
    """Makes a BIDS derivative of the maps and tables of a run, of finished benchmarks, or of both.

    Args:
        results: of a finished run, or a folder in which a benchmark (``snakemake digits``, ``separation``) ended.
        folder: to be made; may be there if it is empty.
        participants: whether tables of single participants, with their ids, go along.

    Raises:
        InputError: if the folder holds something, or the run has not come as far as its report; all missing files are
            named.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there and not empty; name a new folder, or delete this one")
    benchmarks = [(kind, kind, path) for kind, path in _benchmarks(results).items() if path.is_file()]
    # Where no cohort was read, there are benchmarks alone: they have tables, and nothing else.
    of_run = results.cohort.is_file() or not benchmarks
    reports = (results.report, results.checklist, results.bibliography) if of_run else ()
    needed = (results.run_file("report"), *reports)
    missing = [f"{p}: is missing; let the run finish with `sepclr-neuro run`" for p in needed if not p.is_file()]
    maps = list(map_files(results))
    missing += [
        f"{beside(path, '.json')}: is missing; an earlier version made the map: delete {path.parent} and run again"
        for path in maps
        if not beside(path, ".json").is_file()
    ]
    if missing:
        raise InputError(missing)
    config = load_config(needed[0])
    tables = [found for found in _tables(config, results) if participants or not TABLES[found[0]].of_participants]
    tables += benchmarks

    kind = config.cohort.kind if of_run else _BENCHMARK
    taken: set[str] = set()
    for path in maps:
        name = _unused(map_name(read_json(beside(path, ".json"))), taken)
        _copied(path, folder / "group" / f"{name}.nii.gz")
        _copied(beside(path, ".json"), folder / "group" / f"{name}.json")
    for table_kind, name, path in tables:
        place = folder / ("participants" if TABLES[table_kind].of_participants else "tables")
        table = _text_table(path)
        table = table.drop(columns=list(_PATHS), errors="ignore")
        write_text(place / f"{name}.tsv", as_tsv(table))
        write_text(place / "csv" / f"{name}.csv", as_csv(table))
        write_json(place / f"{name}.json", sidecar(table_kind, list(map(str, table)), _columns_of_users(config)))
    for path in reports[1:]:
        _copied(path, folder / path.name)
    write_text(folder / "README.md", _readme(config, kind, len(maps), participants, of_run))
    write_text(folder / ".bidsignore", _NOT_IN_BIDS)
    write_json(folder / "dataset_description.json", _description(config, kind, config.cohort.studies if of_run else []))
    logger.info(f"share: {counted(len(maps), 'map')} and {counted(len(tables), 'table')} in {folder}")


def map_name(about: Mapping[str, Any]) -> str:
    """The name of a map without its suffix, as nilearn names maps of groups: ``contrast-..._stat-t_..._statmap``.

    >>> map_name({"Target": "sans", "StatisticType": "t", "Description": "Voxel-wise t.", "Method": "gc-pca",
    ...           "Space": "salient", "Attribution": "occlusion", "Contrast": "group"})
    'contrast-sans_stat-t_desc-gcPcaSalientOcclusionGroup_statmap'
    """
    made_of = [about.get(key, "") for key in ("Method", "Space", "Attribution", "Contrast")]
    if about["StatisticType"] == "pattern":
        made_of.append(about["Description"].partition(":")[0])
    described = _label(" ".join(made_of)) or {"t": "voxelwise"}.get(about["StatisticType"], "simulated")
    target = _label(about["Target"]) or "target"
    return f"contrast-{target}_stat-{about['StatisticType']}_desc-{described}_statmap"


def as_csv(table: pd.DataFrame) -> str:
    """A table of texts as spreadsheets and JASP take it: commas, empty for missing, a mark that it is UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerows(["" if cell == "n/a" else cell for cell in row] for row in table.itertuples(index=False))
    return f"\ufeff{text.getvalue()}"


def _label(text: str) -> str:
    """Letters and digits, which is all that a name in BIDS may have.

    >>> _label("sepclr-k-jem salient"), _label("IQ_total"), _label("")
    ('sepclrKJemSalient', 'IQTotal', '')
    """
    first, *others = re.findall(r"[A-Za-z0-9]+", text) or [""]
    return first + "".join(word[0].upper() + word[1:] for word in others)


def _unused(name: str, taken: set[str]) -> str:
    """The name, with a number where names of the user's differ in other signs alone."""
    number, entities = 1, name.removesuffix("_statmap")
    while name in taken:
        number += 1
        name = f"{entities}{number}_statmap"
    taken.add(name)
    return name


def _tables(config: Config, results: Results) -> Iterator[tuple[str, str, Path]]:
    """Kind, name and file of each table of a run that is worth sharing."""
    own = results.table(config.cohort.table_name, "tsv")
    fixed = {
        "flow": results.flow,
        "demographics": results.table("demographics", "tsv"),
        "probes": own,
        "probes_paper": results.table(f"{config.cohort.table_name}_paper", "tsv"),
        "comparisons": results.table("comparisons", "tsv"),
        "confounds": results.table("confounds", "tsv"),
        "site_leakage": results.table("site_leakage", "tsv"),
        "beside_published": results.table("beside_published", "tsv"),
        "scores": results.scores,
        "verdicts": results.verdicts,
        "nulls": results.nulls,
        "increments": results.increments,
        "t_localisation": results.vbm / "localisation.tsv",
        "cohort": results.cohort,
        "exclusions": results.exclusions,
        "published": results.published_splits,
        "predictions": results.predictions,
    }
    yield from ((kind, kind, path) for kind, path in fixed.items() if path.is_file())
    for method in config.methods:
        for folder in (results.patterns(method), results.saliency(method), results.subtypes(method)):
            yield from ((path.stem, f"{path.stem}_{method}", path) for path in sorted(folder.glob("*.tsv")))
        for fold in range(config.splits.count):
            path = results.representations(method, fold)
            if path.is_file():
                yield "representations", f"representations_{method}_fold-{fold}", path


def _benchmarks(results: Results) -> dict[str, Path]:
    """Kind and file of each table of benchmarks."""
    return {
        "digits": results.table("digits_on_objects", "tsv"),
        "separation": results.separation("separation.tsv"),
        "separation_comparisons": results.separation("comparisons.tsv"),
    }


def _text_table(path: Path) -> pd.DataFrame:
    """A table as it is written, digit by digit."""
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8")


def _columns_of_users(config: Config) -> dict[str, str]:
    own = dict.fromkeys(config.cohort.contrasts, "Whether the participant has this disease; n/a: of another one")
    columns, scores = config.cohort.columns.others.items(), config.cohort.scores.items()
    others = {name: f"Column {column} of the cohort's tables" for name, column in columns}
    return own | others | {name: f"Symptom score, {score.range[0]:g} to {score.range[1]:g}" for name, score in scores}


def _copied(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _description(config: Config, kind: tuple[str, str], studies: Sequence[Study]) -> dict[str, Any]:
    name = config.title if studies and config.cohort.source == "files" else f"{config.title} ({kind[0]})"
    content: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "sepclr_neuro",
                "Version": __version__,
                "Description": f"Contrastive analysis of grey-matter volumes. {kind[0]}: {kind[1]} "
                f"Checksum of the code: {code_sha256()}.",
            }
        ],
    }
    sources = [_source(study.name, study.participants.parent) for study in studies]
    return content | ({"SourceDatasets": sources} if sources else {})


def _source(name: str, folder: Path) -> dict[str, str]:
    """A study, and what its own description, if it is a BIDS data set, says of where to find it."""
    path = folder / "dataset_description.json"
    described = read_json(path) if path.is_file() else {}
    found = {
        "Name": described.get("Name", name),
        "DOI": described.get("DatasetDOI"),
        "License": described.get("License"),
    }
    return {key: str(value) for key, value in found.items() if value}


def _readme(config: Config, kind: tuple[str, str], maps: int, participants: bool, of_run: bool) -> str:
    own = (
        "`participants/` has rows of single participants with their ids: find out whether you may pass it on.\n"
        if participants
        else "Nothing here is about a single participant: no ids, volumes, representations, predictions or models.\n"
    )
    of_maps = of_reports = ""
    if of_run:
        of_maps = (
            f"- `group/`: {counted(maps, 'map')} as NIfTI in MNI space; the JSON file beside each says what it is.\n"
        )
        of_reports = "- `checklist.md`: COBIDAS and TRIPOD+AI, answered as far as the run knows. "
        of_reports += "`references.bib`: what to cite.\n"
    return f"""# {" ".join(config.title.split())}

{kind[0]}. {kind[1]} Not for clinical use.

Written by sepclr_neuro {__version__} (`sepclr-neuro share`). {own}
{of_maps}- `tables/`: tables as TSV (`n/a`: missing); the JSON file beside each describes its columns.
- `tables/csv/`: the same for Excel and JASP (comma, empty: missing).
{of_reports}
`.bidsignore` names what has no place in BIDS {BIDS_VERSION} itself, statistical maps of groups among it.
"""
