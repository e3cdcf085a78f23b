"""Time of a run by number of participants, of folds and of methods: a fitted line for each.

python -m benchmarks.growth [--quick]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.rows import Rows, run
from sepclr_neuro.data.standardisation import write_standardisation
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.saliency import write_saliency
from sepclr_neuro.maps.vbm import write_vbm
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.site_leakage import write_site_leakage
from sepclr_neuro.probing.verdicts import write_verdicts
from tests.small_run import small_run

METHODS = ("sepclr-k-jem", "sepclr-no-k-jem", "sepclr-mmd", "sepclr-k-mi")


def measure(rows: Rows, quick: bool) -> None:
    few = 1 if quick else 2
    points: dict[str, list[tuple[int, dict[str, int]]]] = {
        "participants": [(n * few, {"people": n * few}) for n in (24, 96, 192)],
        "folds": [(n, {"people": 24 * few, "folds": n}) for n in (2, 4, 6)],
        "methods": [(n, {"people": 24 * few, "methods": n}) for n in (1, 2, 4)],
    }
    if not rows.has(*(f"growth_{what}_r2" for what in points)):
        _seconds(people=16)  # imports and first calls
    for what, sizes in points.items():
        if rows.has(f"growth_{what}_r2"):
            continue
        x, y = [size for size, _ in sizes], [min(_seconds(**given) for _ in range(2)) for _, given in sizes]
        slope, start = np.polyfit(x, y, 1)
        for size, seconds in zip(x, y, strict=True):
            rows.add(f"growth_{size}_{what}", seconds, "s")
        rows.add(f"growth_{what}_slope", slope, f"s per additional one of the {what}")
        rows.add(f"growth_{what}_start", start, "s, intercept")
        rows.add(f"growth_{what}_r2", np.corrcoef(x, y)[0, 1] ** 2, "variance explained by the line")


def _seconds(people: int, folds: int = 2, methods: int = 1) -> float:
    """Seconds of all stages from standardisation on, with volumes of 32³ and two epochs; the cohort is made before."""
    with tempfile.TemporaryDirectory() as folder:
        config, results = small_run(
            Path(folder),
            people,
            splits={"folds": folds},
            training={"epochs": 2, "batch_size": 4},
            methods={name: {} for name in METHODS[:methods]},
            probes={"permutations": 100, "bootstraps": 100, "confounds": ["age"]},
            # Work that is done once per method, whatever the number of participants, would hide the growth.
            saliency={"targets": ["diagnosis"], "samples": 2, "permutations": 0, "sanity_participants": 0},
        )
        started = time.perf_counter()
        for fold in range(folds):
            write_standardisation(config, results, fold)
            for method in config.methods:
                write_fold_model(config, results, method, fold)
        for method in config.methods:
            write_representations(config, results, method)
        write_probes(config, results)
        write_verdicts(config, results)
        write_vbm(config, results)
        for method in config.methods:
            write_saliency(config, results, method)
        write_site_leakage(config, results)
        return time.perf_counter() - started


if __name__ == "__main__":
    run(__doc__, measure)
