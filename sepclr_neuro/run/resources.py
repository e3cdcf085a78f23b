"""What each job asks of a scheduler: memory, time and threads, by participants, grid, method and attempt.

Free of torch and pandas on purpose: the Snakefile reads it at every parse, which must take no time. Each figure stands
beside its source: the rows and the tables of docs/speed.md, docs/batches.md, docs/notebook/speed.md and
docs/clusters.md. Requests are upper bounds, by `MARGIN` for memory and `SLOWER` for time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results

__all__ = ["Needs"]

MARGIN = 1.5
"""Memory beyond what was measured: another machine's libraries and number of processes."""
SLOWER = 5
"""Times the seconds that were measured on two cores beside a local disk; nodes and file systems are shared."""
SHORTEST, LONGEST = 30, 1440
"""Minutes. Many partitions have no more than a day; a training that needs longer goes on at the next attempt."""

UNKNOWN = 1000
"""Scans, where neither the cohort nor a table of it is there yet."""
VOXELS = 128**3
"""Of the grid at which most figures were measured; they grow with the number of voxels."""
VOLUME = 4 * VOXELS / 1e6
"""MB of a volume of this grid in float32."""

START = 600
"""MB of a process that has imported torch: 0.45 GiB (docs/batches.md), 0.54 GiB the report (docs/notebook/speed.md)."""
GPU_START = 4000
"""MB of the machine's memory of a process that has started CUDA. Not measured: our bound."""
WORKER = 400
"""MB of each process of a job that starts one a core: probes took 1.2 GiB, site leakage 1.5, with two
(docs/notebook/speed.md)."""
NETWORK = {"strided": 1050, "resnet18": 14000, "densenet121": 14000}
OTHER_NETWORK = 150
"""MB that a participant at 128³ takes in a training on the processor, in float32: docs/clusters.md; of `resnet18` and
`densenet121` our bound."""
SLAB = 350
"""MB of a pass over all volumes, some planes at a time: what 500 and 1,000 participants at 32³ leave over `PAIR`."""
PLANE = 12e-6
"""MB of a voxel in the thinnest such pass, one plane of each scan, in float32 and in float64."""
MAPS_UP_TO = 1000
"""Dimensions of a linear method's common space, each a voxel map in float32: at most one a scan. 1,000 scans at 128³
took 11,400 MiB, most of it these maps (`linear_1000_128_memory` of docs/speed.md)."""
PAIR, PAIRS_UP_TO = 900e-6, 2048
"""MB that each pair of scans takes in a step of linear SepCLR, which sees at most so many scans (docs/clusters.md)."""

SKETCHED, SKETCHED_FROM = 0.35, 3000
"""MB for each further scan: 5,000 and 10,000 at 32³ took 2,022 and 3,702 MiB (`benchmarks/linear_training.py`)."""
NULL = 0.025
"""MB for each scan of a figure's permutations: 215 MiB of 10,000 (`benchmarks/scale_of_tests.py`, in parts)."""
CODES = 0.008
"""MB of a scan's codes in 1,000 dimensions, which linear methods have at most."""
TABLE_OF_CODES = 6
"""Times as much while they become a table: `embed` of `benchmarks/scale.py`, 338 and 750 MiB of 1,000 and 10,000."""

STEP = dict.fromkeys(("strided", "resnet18", "densenet121"), 2.0)
"""Seconds that a scan of 128³ takes in a step on the processor: `step` of docs/speed.md says 0.07 of a light network in
bfloat16, twice as many in float32; the others took some 13 times as long (docs/clusters.md)."""
GPU_STEP = dict.fromkeys(("resnet18", "densenet121"), 0.12)
"""On a GPU: `gpu_resnet18_tf32_batch_8_step`, and `gpu_loop_step_batch_8` of a light network; `densenet121` is our
bound."""
PAIR_SECONDS = 2e-4
"""For each pair of scans, 300 steps of linear SepCLR: 37 and 176 s of 500 and 1,000 scans, one thread."""


class Needs:
    """The requests of a run's jobs.

    Args:
        config: of the run.
        results: its folder, for the number of scans once the cohort is there.
        on_gpus: the rules whose jobs have a GPU, as the profile says.
        scans: of the cohort, where they are known already.
    """

    def __init__(
        self, config: Config, results: Results, on_gpus: Collection[str] = (), scans: int | None = None
    ) -> None:
        self.config, self.results, self.on_gpus, self._known = config, results, on_gpus, scans
        self._configured = cache(config.for_method)  # asked several times a job, of which there may be a thousand

    @cached_property
    def scans(self) -> int:
        """Of the cohort, or before it is made as many as its tables have rows, which is rarely too few."""
        if self._known is not None:
            return self._known
        if self.results.cohort.is_file():
            return _rows(self.results.cohort)
        cohort = self.config.cohort
        if cohort.simulation is not None:
            return cohort.simulation.participants
        tables = {study.participants for study in cohort.studies}
        return sum(_rows(table) for table in tables if table.is_file()) or UNKNOWN

    @property
    def _grid(self) -> float:
        return math.prod(self.config.volumes.shape) / VOXELS

    def threads(self, most: int = 8) -> int:
        """Of a job that divides scans among processes: for eight scans more one more."""
        return min(most, math.ceil(self.scans / 8))

    def nodes(self, wildcards: Any) -> int:
        """The resources `nodes` and `tasks` of a training, one task a node. Memory and threads are each node's."""
        return self._configured(wildcards.method).training.nodes

    def memory(self, rule: str) -> Callable[..., int]:
        """The resource `mem_mb` of a rule, in hundreds of MB: so much more at each attempt as at the first."""

        def mem_mb(wildcards: Any, threads: int, attempt: int) -> int:
            held = self._held(rule, getattr(wildcards, "method", None), threads)
            return math.ceil(MARGIN * held / 100) * 100 * attempt

        return mem_mb

    def minutes(self, rule: str) -> Callable[..., int]:
        """The resource `runtime` of a rule: likewise, between `SHORTEST` and `LONGEST`."""

        def runtime(wildcards: Any, attempt: int) -> int:
            seconds = self.seconds(rule, getattr(wildcards, "method", None))
            return min(LONGEST, max(SHORTEST, math.ceil(SLOWER * seconds / 60)) * attempt)

        return runtime

    def _held(self, rule: str, method: str | None, threads: int) -> float:
        """MB of the machine's memory that a job of a rule holds."""
        volume = VOLUME * self._grid
        match rule:
            case "train" if method is not None:
                configured = self._configured(method)
                training = configured.training
                people = training.devices * min(training.batch_size, training.people_in_memory or training.batch_size)
                if rule in self.on_gpus:
                    return GPU_START * training.devices + 4 * volume * people
                network = NETWORK.get(configured.network.name, OTHER_NETWORK)
                return START * training.devices + network * self._grid * (people + 4)
            case "solve":
                sketched = SKETCHED * max(0, self.scans - SKETCHED_FROM)
                held = START + self._slab + PAIR * min(self.scans, PAIRS_UP_TO) ** 2 + sketched
                return held + self._maps_of(method)
            case "embed" | "saliency":
                start = GPU_START if rule in self.on_gpus else START
                held = start + 8 * OTHER_NETWORK * self._grid + 2 * self._maps_of(method)  # of two folds
                if rule == "saliency":
                    return held + self._mapped * volume
                linear = method is not None and not self._configured(method).settings.trained
                return held + (TABLE_OF_CODES * CODES * self.scans if linear else 0)
            case "vbm" | "patterns" | "standardise" | "report":
                return START + SLAB + 30 * volume + 2 * self._maps_of(method)
            case "dataset" | "volumes":
                return START + (WORKER + 30 * volume) * threads
            case "leakage":
                held = START + self._slab + WORKER * threads + PAIR * min(self.scans, PAIRS_UP_TO) ** 2
                return held + NULL * self.scans + self._codes
            case "probe" | "tables":
                return START + WORKER * threads + NULL * self.scans + self._codes
            case "cohort" | "splits" | "subtypes":
                return START
        return 5000  # benchmarks, whose cohorts are of one size

    def seconds(self, rule: str, method: str | None) -> float:
        """That a job of a rule takes, from rows of docs/speed.md, and of five methods and 128 participants at
        64³ in three folds from docs/notebook/speed.md.
        """
        scans, grid, folds, methods = self.scans, self._grid, self.config.splits.count, len(self.config.methods)
        match rule:
            case "train" if method is not None:
                epochs = self._configured(method).training.epochs
                return (
                    2 * scans * epochs * self._step(rule, method)
                )  # an epoch is one pass over the larger group, twice
            case "solve" if method is not None:
                trainings = self._configured(method).settings.trainings
                return trainings * PAIR_SECONDS * min(self.scans, PAIRS_UP_TO) ** 2 + 0.1 * scans * grid
            case "embed" if method is not None:
                return folds * scans * self._step(rule, method)
            case "saliency" if method is not None:
                saliency = self.config.saliency
                copies = saliency.samples * len(saliency.attributions)
                # Six scores of 8 samples take 1.3 steps of a light network: rows `smoothgrad`, `step`.
                return self._mapped * copies * len(saliency.targets) * self._step(rule, method)
            case "volumes":
                return 0.2 * scans  # what a shared file system gives; 0.02 from a local disk: `cache_build`
            case "subtypes":
                return 0.03 * folds * self.config.subtypes.nulls * len(self.config.subtypes.clusters)
            case "dataset" | "vbm" | "patterns":
                return 0.4 * scans * grid * (1 if rule == "dataset" else folds)  # the demo's 6 s each
            case "standardise":
                return 0.15 * scans * grid  # 2 s a fold
            case "probe" | "tables":
                return 0.025 * scans * methods * max(1, folds / 5)  # 16 s of 5 methods: `probes`
            case "leakage":
                return scans * (0.02 * methods + grid)  # 12 s
            case "digits_run" | "separation_run":
                return LONGEST * 60
        return 60  # half of it the demo's report

    def _step(self, rule: str, method: str) -> float:
        """Seconds that a scan takes in a step of training."""
        configured = self._configured(method)
        if not configured.settings.trained:
            return 0.02 * self._grid
        table, other = (GPU_STEP, 0.005) if rule in self.on_gpus else (STEP, 0.15)
        return table.get(configured.network.name, other) * self._grid

    @property
    def _slab(self) -> float:
        """MB of a pass over all volumes."""
        return max(SLAB, PLANE * self.scans * math.prod(self.config.volumes.shape[1:]))

    def _maps_of(self, method: str | None) -> float:
        """MB of the voxel maps of a linear method with two spaces; those of others are few."""
        if method is None or self._configured(method).settings.trained or not self._configured(method).adjusts:
            return 0
        return min(self.scans, MAPS_UP_TO) * VOLUME * self._grid

    @property
    def _codes(self) -> float:
        """MB of all codes of linear methods, which probes hold at once."""
        linear = [name for name in self.config.methods if not self._configured(name).settings.trained]
        return CODES * self.scans * len(linear) * self.config.splits.count

    @property
    def _mapped(self) -> int:
        """Scans of which there are maps, in all folds."""
        most = self.config.saliency.participants
        return self.scans if most is None else min(self.scans, most * self.config.splits.count)


def _rows(table: Path) -> int:
    """Of a table with a header."""
    with table.open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)
