"""Time and memory of a linear method, single probes and tests by number of participants: one fold of five, 20 sites.

python -m benchmarks.scale_of_tests [--quick]

`benchmarks.scale` measures whole stages. Seconds are those of the processor, memory as there. Volumes of 32³ are made
up, and codes of 32 dimensions, of a wide probe 1,000.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from benchmarks.measuring import held_memory, in_new_process
from benchmarks.rows import Rows, run
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.dependence import dependence_test
from sepclr_neuro.core.statistics import Labels
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.probe_fits import Fit, fit_probe
from sepclr_neuro.probing.questions import Question
from sepclr_neuro.probing.site_leakage import MOST_PAIRED
from sepclr_neuro.probing.verdicts import on_permutations

DIMENSIONS, WIDE, SITES, PERMUTATIONS, SIDE = 32, 1000, 20, 1000, 32


def measure(rows: Rows, quick: bool) -> None:
    for what in ("span", "linear", "wide", "nonlinear", "null", "dependence"):
        for participants in (500, 1000) if quick else (1000, 3000, 10000, 20000):
            name = f"scale_of_{what}_{participants}"
            if rows.has(name, f"{name}_memory"):
                continue
            seconds, memory = in_new_process(_measured, what, participants)
            rows.add(name, seconds, "processor seconds")
            rows.add(f"{name}_memory", memory, "MiB")


def _measured(what: str, participants: int) -> tuple[float, float]:
    """Processor seconds, and MiB beyond those held at first."""
    rng = np.random.default_rng(0)
    dimensions = WIDE if what == "wide" else DIMENSIONS
    codes, site = rng.normal(size=(participants, dimensions)), rng.integers(0, SITES, participants)
    codes[:, 0] += site / 5
    before, ended = held_memory("RssAnon"), threading.Event()
    most = before

    def look() -> None:
        nonlocal most
        while not ended.wait(0.05):
            most = max(most, held_memory("RssAnon"))

    looking = threading.Thread(target=look)
    looking.start()
    started = time.process_time()
    _test(what, codes, site)
    seconds = time.process_time() - started
    ended.set()
    looking.join()
    return seconds, max(most, held_memory("RssAnon")) - before


def _test(what: str, codes: np.ndarray, site: np.ndarray) -> None:
    count = len(codes)
    ids = [f"sub-{number:06d}" for number in range(count)]
    test = np.arange(count) % 5 == 0
    if what == "span":
        _span(int((~test).sum()))
        return
    if what == "dependence":
        patients = codes[test][: min(MOST_PAIRED, 2 * test.sum() // 5)]
        dependence_test([(patients, patients[:, ::-1].copy())], PERMUTATIONS, 0)
        return
    names = pd.Series([f"site-{number:02d}" for number in site], index=ids)
    regime = "nonlinear" if what == "nonlinear" else "standard"
    question = Question("site", "classification", names, tuple(sorted(set(names))), regime)
    if what == "null":
        labels = Labels.draw(site, np.array(ids), np.zeros(count), True, PERMUTATIONS, PERMUTATIONS, 0)
        fold = Fold(0, tuple(np.array(ids)[~test]), tuple(np.array(ids)[test]))
        null = on_permutations(labels, [Fit({}, question, pd.DataFrame(codes, index=ids), fold)], {0: 0.1})["bacc"]
        labels.judge("bacc", np.flatnonzero(test), site[test].astype(float), np.zeros(test.sum(), int), null)
    else:
        features = pd.DataFrame(codes, index=ids)
        fit_probe(question, features[~test], features[test], dict(zip(ids, ids, strict=True)))


def _span(participants: int) -> None:
    """Trains `gcpca`: the span, or a sketch of it, and the maps in it."""

    def read(rows: Sequence[int], planes: slice) -> torch.Tensor:
        random = torch.Generator().manual_seed(planes.start)
        return torch.randn(len(rows), 1, min(planes.stop, SIDE) - planes.start, SIDE, SIDE, generator=random)

    method = METHODS["gcpca"].load()(METHODS["gcpca"].settings(), Network(), (1, SIDE, SIDE, SIDE))
    method.fit(read, range(participants), torch.arange(participants) % 2 == 1)


if __name__ == "__main__":
    run(__doc__, measure)
