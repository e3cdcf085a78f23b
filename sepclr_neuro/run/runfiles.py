"""For the start of the Snakefile: the configuration that holds, and the run file of each stage.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.runs import is_running
from sepclr_neuro.core.storage import write_text_if_changed

__all__ = [
    "atlas_files",
    "cohort_tables",
    "digits_files",
    "run_file_text",
    "run_files",
    "workflow_config",
    "write_run_files",
]

PER_METHOD = ("training", "embedding", "patterns", "subtypes", "saliency")
SHARED = ("dataset", "cohort", "volumes", "splits", "standardisation", "probes", "tables", "leakage", "vbm", "report")


def workflow_config(files: Sequence[str | Path], overrides: Mapping[str, Any]) -> Config:
    """The configuration of a whole run: one file, read as it stands.

    Args:
        files: the configuration files that Snakemake was given.
        overrides: what ``--config`` said.

    Raises:
        InputError: for several files or for overrides, which would make a run that no file describes; or if the file
            is wrong.
    """
    if overrides:
        raise InputError(
            f"--config {' '.join(overrides)}: values on the command line are not read, so that one file describes "
            "the run; change a copy of config.yaml and give it with --configfile"
        )
    if len(files) != 1:
        raise InputError(
            f"--configfile: expected one file, got {len(files)} ({', '.join(map(str, files))}); files are not merged, "
            "write all settings into one"
        )
    return load_config(files[0])


def write_run_files(config: Config, results: Results) -> Callable[[], None]:
    """Writes each stage's run file where its content changes.

    While a run is under way its run files stay as they are, whatever happens to the configuration: a job reads what
    the run started with, and a dry run beside it changes nothing.

    Returns:
        what puts all back as it was, for a dry run, which needs the files to see what would be done.
    """
    if is_running(results):
        return lambda: None
    undo = _remembered(results)
    for path, text in run_files(config, results).items():
        write_text_if_changed(path, text)
    _note_replaced_volumes(results)
    return undo


def run_files(config: Config, results: Results) -> dict[Path, str]:
    """The content of all run files that a configuration makes."""
    stages: list[tuple[str, str | None]] = [(stage, None) for stage in SHARED]
    stages += [(stage, method) for stage in PER_METHOD for method in config.methods]
    stages += [("digits", method) for method in config.digits.methods] + [("digits", None)]
    stages += [("separation-cohort", cohort) for cohort in config.separation.cohorts]
    stages += [("separation", recipe) for recipe in config.separation.recipes] + [("separation", None)]
    return {results.run_file(stage, method): run_file_text(config, stage, method) for stage, method in stages}


def run_file_text(config: Config, stage: str, method: str | None = None) -> str:
    """The content of a run file."""
    return json.dumps(stage_config(config, stage, method), indent=2, ensure_ascii=False) + "\n"


def _remembered(results: Results) -> Callable[[], None]:
    """What puts the folder of run files back as it is now: files, their times, whether it and those above it exist."""
    results = Results(results.root.absolute())  # Snakemake leaves the working directory before it ends
    folder = results.run_file("cohort").parent
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    files = {path: (path.read_text(encoding="utf-8"), path.stat()) for path in folder.glob("*.json")}

    def put_back() -> None:
        if is_running(results):
            return
        for path in folder.glob("*.json"):
            if path not in files:
                path.unlink()
        for path, (text, was) in files.items():
            if write_text_if_changed(path, text):
                os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        for place in absent:
            with suppress(OSError):  # something else is there by now
                place.rmdir()

    return put_back


def _note_replaced_volumes(results: Results) -> None:
    """Writes which volumes were modified or removed after they were read, an input of the rule `volumes`.

    The volumes themselves are no inputs of the workflow: there may be thousands, and Snakemake would not know them
    before the cohort is made.
    """
    note = results.run_file("volumes-on-disk")
    changed: dict[str, int | None] = {}
    if results.index.is_file():
        read_at = results.index.stat().st_mtime_ns
        with results.index.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                path = Path(row["source"])
                # Of a link, when it was made to lead elsewhere counts too.
                moment = max(path.stat().st_mtime_ns, path.lstat().st_mtime_ns) if path.exists() else None
                if moment is None or moment > read_at:
                    changed[row["source"]] = moment
    # With nothing changed an earlier note stays: a new one would be newer than the index that answered it.
    if changed or not note.is_file():
        write_text_if_changed(note, json.dumps(changed, indent=2, ensure_ascii=False) + "\n")


def cohort_tables(config: Config) -> list[Path]:
    """Tables of the user that the cohort is read from; an edited one makes a new cohort."""
    return [table for study in config.cohort.studies for table in (study.participants, *study.phenotypes)]


def atlas_files(config: Config) -> list[Path]:
    """The atlas that maps are read by; another one makes new tables."""
    atlas = config.saliency.atlas
    return [] if atlas is None else [atlas.image, atlas.labels]


def digits_files(config: Config) -> list[Path]:
    """Files of the user that the benchmark of digits reads; images in a folder are not looked at one by one."""
    images = config.digits.images
    if images.path is None:
        return []
    return [images.path / "labels.tsv" if images.source == "folder" else images.path]
