"""Time and memory of training linear SepCLR from the cache, by number of training participants and grid.

python -m benchmarks.linear_training [--quick]

Of more than 3,000 participants the span is a sketch. Learning the standardisation, which all methods of a fold share,
is not part of the time; reading, checking and standardising the volumes is.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from benchmarks.measuring import held_memory, in_new_process
from benchmarks.rows import Rows, run
from benchmarks.steps import made_up_standardisation
from sepclr_neuro.config.methods.linear import LinearSepCLRSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from sepclr_neuro.methods.linear import LinearSepCLR

COVARIATES = 7
"""As of age and its square, sex, TIV and four sites."""


def measure(rows: Rows, quick: bool) -> None:
    sizes = (
        [(48, 32), (96, 32)]
        if quick
        else [(240, 32), (480, 32), (5000, 32), (10000, 32), (20000, 32), (250, 128), (1000, 128)]
    )
    for participants, side in sizes:
        name = f"linear_{participants}_{side}"
        if rows.has(name, f"{name}_memory"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            results = Results(Path(folder))
            _write_cache(results, participants, side)
            seconds, memory = in_new_process(_train, results, side, keep_memory=True)
        rows.add(name, seconds, f"s, {participants} participants at {side}³")
        rows.add(f"{name}_memory", memory, "MiB above the start, at most")


def _train(results: Results, side: int) -> tuple[float, float]:
    """Seconds, and MiB that were held at most beyond those before, without the page cache."""
    cache, standardisation = VolumeCache(results), made_up_standardisation(side)
    participants = len(cache.scan_ids)
    random = torch.Generator().manual_seed(1)
    covariates = torch.randn(participants, COVARIATES, generator=random).double()
    method = LinearSepCLR(LinearSepCLRSettings(), Network(), (1, side, side, side))
    before, most = held_memory("RssAnon"), 0.0

    def read(some: object, planes: slice) -> torch.Tensor:
        nonlocal most
        x = standardisation.apply(cache.read(some, planes=planes), planes)  # type: ignore[arg-type]
        most = max(most, held_memory("RssAnon"))
        return x

    started = time.perf_counter()
    method.fit(read, range(participants), torch.arange(participants) % 2 == 1, covariates - covariates.mean(dim=0))
    return time.perf_counter() - started, max(most, held_memory("RssAnon")) - before


def _write_cache(results: Results, participants: int, side: int) -> None:
    """Random participants that differ in patches of 8 voxels, inside a ball; written one by one."""
    random = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1, 1, side)
    ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 0.8).float()
    results.volumes.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(results.volumes, "w+", np.float16, (participants, side, side, side))
    checksums = []
    for row in range(participants):
        patches = torch.randn(1, 1, *[side // 8] * 3, generator=random)
        scan = (0.5 + 0.1 * functional.interpolate(patches, scale_factor=8)[0, 0]) * ball
        array[row] = (scan + 0.05 * torch.randn(side, side, side, generator=random) * ball).half().numpy()
        checksums.append(voxels_sha256(array[row]))
    array.flush()
    scans = [f"sub-{row:05d}" for row in range(participants)]
    index = {"scan_id": scans, "row": range(participants), "sha256": "", "source": "made up"}
    write_tsv(results.index, pd.DataFrame(index | {"voxels_sha256": checksums}))
    write_json(results.grid, {"shape": [side] * 3, "affine": np.eye(4).tolist()})


if __name__ == "__main__":
    run(__doc__, measure)
