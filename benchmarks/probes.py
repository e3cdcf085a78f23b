"""The probes of the default run, with 1,000 permutations, on random representations of the demo's cohort.

python -m benchmarks.probes [--quick]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.rows import Rows, run
from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.simulated_people import simulate_people
from sepclr_neuro.data.splits import read_fold, write_splits
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.probing.verdicts import write_verdicts

__all__ = ["random_representations"]

DEMO = Path(__file__).resolve().parents[1] / "config.yaml"
DIM = 32


def random_representations(config: Config) -> None:
    """A cohort, its splits, and random representations, for all methods and folds."""
    results = Results(config.output)
    people = simulate_people(config.cohort, config.seed)
    group = np.where(people["diagnosis"].isin(config.cohort.target), "target", "background")
    people = people.assign(scan_id=people["participant_id"], session_id=np.nan, group=group, volume=np.nan)
    write_tsv(results.cohort, people)
    index = pd.DataFrame({"scan_id": people["scan_id"], "row": range(len(people)), "source": "none"})
    write_tsv(results.index, index.assign(sha256=people["scan_id"]))
    write_splits(config, results)
    rng = np.random.default_rng(0)
    for fold in range(config.splits.count):
        split = read_fold(results.splits, results.index, fold)
        sides = {"train": split.train, "probe": split.probe, "test": split.test}
        scans = [scan for members in sides.values() for scan in members]
        table = pd.DataFrame({"scan_id": scans, "side": [side for side, them in sides.items() for _ in them]})
        names = [f"{space}_{k}" for space in ("common", "salient") for k in range(DIM)]
        for method in config.methods:
            values = pd.DataFrame(rng.normal(size=(len(scans), len(names))), columns=names)
            write_tsv(results.representations(method, fold), pd.concat([table, values], axis=1))
            write_json(results.model_folder(method, fold) / "model.json", {"train_scan_ids": list(split.train)})


def measure(rows: Rows, quick: bool) -> None:
    if rows.has("probes", "tables"):
        return
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(DEMO).model_copy(update={"output": Path(folder)})
        if quick:
            config = config.model_copy(update={"methods": {"cvae": {}}})
        random_representations(config)
        started = time.perf_counter()
        write_probes(config, Results(config.output))
        write_verdicts(config, Results(config.output))
        rows.add("probes", time.perf_counter() - started, "s")
        started = time.perf_counter()
        write_tables(config, Results(config.output))
        rows.add("tables", time.perf_counter() - started, "s")


if __name__ == "__main__":
    run(__doc__, measure)
