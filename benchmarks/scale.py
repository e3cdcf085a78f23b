"""Time and memory of each stage by number of participants, on made-up studies of 20 sites, from tables to the report.

python -m benchmarks.scale [--participants 1000 3000 10000] [--methods gcpca] [--folder FOLDER] [--output TABLE]

A tenth of each cohort was scanned twice. Each stage, with all its folds, runs in a process of its own. Seconds are
those of the processor. Memory is what the process and those that it starts hold at most beyond what it held at first,
without the page cache. An exponent of 1 is growth in proportion to the participants, of 2 with their square, between
the two largest cohorts. Of 199 permutations, to which the time of nulls is in proportion.
"""

from __future__ import annotations

import argparse
import importlib
import math
import resource
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import psutil
from scipy.ndimage import gaussian_filter

from benchmarks.measuring import held_memory, in_new_process
from benchmarks.rows import Rows
from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.core.devices import keep_freed_memory
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.core.threads import in_parallel

SIDE, SITES, FOLDS = 32, 20, 2

Stages = dict[str, tuple[str, list[tuple[object, ...]]]]


def stages_of(methods: Sequence[str]) -> Stages:
    """By name, the function of a stage and, for each of its calls, the arguments after configuration and results."""
    folds = range(FOLDS)
    of_each: list[tuple[object, ...]] = [(method,) for method in methods]
    training = "sepclr_neuro.learning.training:write_fold_model"
    return {
        "check": ("benchmarks.scale:check_all", [()]),
        "cohort": ("sepclr_neuro.data.cohort:write_cohort", [()]),
        "volumes": ("sepclr_neuro.data.volumes:write_volumes", [()]),
        "volumes-again": ("sepclr_neuro.data.volumes:write_volumes", [()]),
        "run-files": ("benchmarks.scale:write_run_files", [()]),
        "splits": ("sepclr_neuro.data.splits:write_splits", [()]),
        "standardise": ("sepclr_neuro.data.standardisation:write_standardisation", [(fold,) for fold in folds]),
        **{f"train-{method}": (training, [(method, fold) for fold in folds]) for method in methods},
        "embed": ("sepclr_neuro.learning.embedding:write_representations", of_each),
        "probe": ("sepclr_neuro.probing.probes:write_probes", [()]),
        "verdicts": ("sepclr_neuro.probing.verdicts:write_verdicts", [()]),
        "tables": ("sepclr_neuro.probing.tables:write_tables", [()]),
        "leakage": ("sepclr_neuro.probing.site_leakage:write_site_leakage", [()]),
        "vbm": ("sepclr_neuro.maps.vbm:write_vbm", [()]),
        "patterns": ("sepclr_neuro.maps.patterns:write_patterns", of_each),
        "saliency": ("sepclr_neuro.maps.saliency:write_saliency", of_each),
        "report": ("sepclr_neuro.report:write_report", [()]),
    }


def measure(rows: Rows, sizes: Sequence[int], methods: Sequence[str], folder: Path) -> None:
    """Adds rows for each stage and cohort."""
    for size in sizes:
        results = Results(folder / str(size) / "results")
        write_study(folder / str(size), size)
        for stage in stages_of(methods):
            if rows.has(f"scale_{stage}_{size}", f"scale_{stage}_{size}_memory"):
                continue
            seconds, memory = in_new_process(_of_stage, stage, results.root, methods, keep_memory=True)
            rows.add(f"scale_{stage}_{size}", seconds, "processor seconds")
            rows.add(f"scale_{stage}_{size}_memory", memory, "MiB")
        for what in ("volumes", "representations", "probes", "report"):
            place = results.root / what
            files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
            rows.add(f"scale_{what}_{size}_disk", sum(path.stat().st_size for path in files) / 1e6, "MB of disk")


def config_of(results: Path, methods: Sequence[str]) -> Config:
    study = results.parent / "study"
    return parse_config(
        {
            "output": str(results),
            "cohort": {
                "source": "files",
                "studies": [
                    {
                        "name": "made-up",
                        "participants": str(study / "participants.tsv"),
                        "phenotypes": [str(study / "sessions.tsv"), str(study / "symptoms.tsv")],
                        "volumes": "{participant_id}/{session_id}/{participant_id}_{session_id}_mwp1.nii.gz",
                    }
                ],
                "columns": {"session_id": "session_id", "others": {"tiv": "tiv"}},
                "scores": {
                    "sans": {"items": "sans_.*", "range": [0, 125]},
                    "saps": {"items": "saps_.*", "range": [0, 170]},
                },
            },
            "volumes": {"shape": [SIDE] * 3},
            "splits": {"folds": FOLDS},
            "methods": {name: {} for name in methods},
            "probes": {"permutations": 199, "bootstraps": 199},
            "saliency": {"participants": 2, "sanity_participants": 0, "samples": 2, "permutations": 99},
            "report": {"viewers": 1, "maps": 2},
        }
    )


def check_all(config: Config, results: Results) -> None:
    """As `sepclr-neuro check` without its estimate, whose time depends on methods alone."""
    from sepclr_neuro.report.cohort_page import write_cohort_page
    from sepclr_neuro.run.check import check

    found = check(config)
    assert not found.errors, found.text()
    write_cohort_page(results.cohort_page, config, found.table(), found.people, found.tables, found.looked)


def write_run_files(config: Config, results: Results) -> None:
    """As the Snakefile does at each start: it looks whether volumes were replaced."""
    from sepclr_neuro.run import runfiles

    runfiles.write_run_files(config, results)


# --- one stage ---------------------------------------------------------------------------------------------------


def _of_stage(stage: str, results: Path, methods: Sequence[str]) -> tuple[float, float]:
    """Processor seconds, and MiB beyond those held at first."""
    where, calls = stages_of(methods)[stage]
    module, _, name = where.partition(":")
    function, config = getattr(importlib.import_module(module), name), config_of(results, methods)
    if stage not in ("probe", "verdicts", "leakage"):  # whose processes would inherit it
        keep_freed_memory()
    before, most, ended = held_memory("RssAnon"), 0.0, threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(0.05):
            most = max(most, _held_by_all())

    looking = threading.Thread(target=look)
    looking.start()
    started = _processor_seconds()
    try:
        for arguments in calls:
            function(config, Results(results), *arguments)
        seconds = _processor_seconds() - started
    finally:
        ended.set()
        looking.join()
    return seconds, max(most, held_memory("RssAnon")) - before


def _processor_seconds() -> float:
    """Of this process and of those that it started and that ended: other load on the machine hardly changes them."""
    return sum(sum(resource.getrusage(whose)[:2]) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _held_by_all() -> float:
    """MiB of this process and of those that it started."""
    held = held_memory("RssAnon")
    for child in psutil.Process().children(recursive=True):
        with suppress(OSError, StopIteration):  # it ended meanwhile
            held += held_memory("RssAnon", child.pid)
    return held


# --- the made-up study -------------------------------------------------------------------------------------------


def write_study(folder: Path, participants: int) -> None:
    """Tables and volumes of 32³ in ``folder/study``, as a multi-site study has them; nothing where they exist."""
    study, rng = folder / "study", np.random.default_rng(0)
    if (study / "participants.tsv").is_file():
        return
    ids = np.array([f"sub-{number:06d}" for number in range(participants)])
    patient = rng.random(participants) < 0.4
    age, tiv = rng.uniform(18, 70, participants).round(1), rng.normal(1500, 130, participants).round(1)
    female = rng.random(participants) < 0.5
    twice = rng.random(participants) < 0.1
    scans = pd.DataFrame(
        {
            "participant_id": np.concatenate([ids, ids[twice]]),
            "session_id": ["ses-1"] * participants + ["ses-2"] * int(twice.sum()),
            "age": np.concatenate([age, age[twice] + 1]).round(1),
            "tiv": np.concatenate([tiv, tiv[twice]]),
        }
    )
    _write_volumes(study, scans, np.concatenate([patient, patient[twice]]), np.concatenate([female, female[twice]]))
    items = {f"{scale}_{item}": rng.integers(0, 6, participants) for scale, count in (("sans", 25), ("saps", 34))
             for item in range(1, count + 1)}  # fmt: skip
    symptoms = pd.DataFrame({"participant_id": ids} | items)[patient].astype("object")
    symptoms = symptoms.mask(rng.random(symptoms.shape) < [[0.0, *[0.002] * len(items)]], "n/a")
    write_tsv(study / "sessions.tsv", scans)
    write_tsv(study / "symptoms.tsv", symptoms)
    people = {
        "participant_id": ids,
        "sex": np.where(female, "F", "M"),
        "diagnosis": np.where(patient, "schizophrenia", "control"),
        "site": [f"site-{number:02d}" for number in rng.integers(0, SITES, participants)],
    }
    write_tsv(study / "participants.tsv", pd.DataFrame(people))


def _write_volumes(study: Path, scans: pd.DataFrame, patient: np.ndarray, female: np.ndarray) -> None:
    """Smooth random grey matter in a ball, thinner with age and, in one place, in patients."""
    axis = np.linspace(-1, 1, SIDE)
    ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 0.8).astype(np.float32)
    place = gaussian_filter(np.pad(np.ones((4, 4, 4), np.float32), ((8, SIDE - 12),) * 3), 2)
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -96

    def write(row: int) -> None:
        rng = np.random.default_rng(row + 1)
        noise = gaussian_filter(rng.standard_normal((SIDE,) * 3, np.float32), 2) * 0.5
        values = 0.55 - 0.002 * (scans["age"].iloc[row] - 40) + noise - 0.1 * patient[row] * place + 0.02 * female[row]
        image = nibabel.Nifti1Image((np.clip(values, 0, 1) * ball * 200).astype(np.uint8), affine)
        image.header.set_slope_inter(0.005, 0)
        participant, session = scans["participant_id"].iloc[row], scans["session_id"].iloc[row]
        path = study / participant / session / f"{participant}_{session}_mwp1.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)

    in_parallel(write, range(len(scans)), "volumes to be made")


# --- the table ---------------------------------------------------------------------------------------------------


def print_table(taken: dict[str, float], sizes: list[int], methods: Sequence[str]) -> None:
    """Markdown: of each stage processor seconds and MiB of each cohort, and how both grow."""
    columns = [*(f"{size} s" for size in sizes), "exponent", *(f"{size} MiB" for size in sizes), "exponent"]
    print(f"| stage | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for stage in stages_of(methods):
        cells: list[str] = []
        for suffix in ("", "_memory"):
            found = [taken.get(f"scale_{stage}_{size}{suffix}", math.nan) for size in sizes]
            cells += [f"{value:.3g}" for value in found] + [f"{exponent(sizes[-2:], found[-2:]):.2f}"]
        print(f"| {stage} | {' | '.join(cells)} |")


def exponent(sizes: list[int], values: list[float]) -> float:
    """Of the power law through two points; NaN where one of them is next to nothing."""
    if len(values) < 2 or not min(values) > 0.01:
        return math.nan
    return math.log(values[1] / values[0]) / math.log(sizes[1] / sizes[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--participants", type=int, nargs="+", default=[1000, 3000, 10000], help="of each cohort")
    parser.add_argument("--methods", nargs="+", default=["sepclr-linear", "gcpca"], help="without a loop of training")
    parser.add_argument("--folder", type=Path, help="for the cohorts, to be kept; 2.5 GB for 10,000 participants")
    parser.add_argument("--output", type=Path, help="table of the rows; those that it has are not measured again")
    arguments = parser.parse_args()
    sizes = sorted(arguments.participants)
    with tempfile.TemporaryDirectory() as temporary:
        rows = Rows(arguments.output or Path(temporary) / "scale.tsv")
        measure(rows, sizes, arguments.methods, arguments.folder or Path(temporary))
        print_table(rows.values(), sizes, arguments.methods)


if __name__ == "__main__":
    main()
