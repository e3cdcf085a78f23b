"""Speed of representing scans from the cache against the forward pass alone; speed and error of bfloat16.

python -m benchmarks.embedding [--quick]
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measuring import best_of_each
from benchmarks.rows import Rows, run
from benchmarks.steps import Step, made_up_standardisation
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from sepclr_neuro.learning.embedding import represent_scans

PEOPLE, AT_ONCE = 16, 8


def measure(rows: Rows, quick: bool) -> None:
    if rows.has("embedding", "embedding_ratio_to_forward", "embedding_bfloat16_speed", "embedding_bfloat16_error"):
        return
    side, repetitions = (32, 2) if quick else (128, 10)
    method, standardisation = Step(side=side, batch_size=2).method.eval(), made_up_standardisation(side)
    with tempfile.TemporaryDirectory() as folder:
        cache = _made_up_cache(Results(Path(folder)), side)
        volumes = standardisation.apply(cache.read(range(PEOPLE)))

        def embed() -> dict[str, np.ndarray]:
            return represent_scans(method, cache, standardisation, cache.scan_ids)

        @torch.inference_mode()
        def forward(bfloat16: bool) -> Tensor:
            device = next(method.parameters()).device  # where `represent_scans` has moved it
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                given = volumes.to(torch.bfloat16 if bfloat16 else torch.float32)
                parts = (method.represent(some.to(device)) for some in given.split(AT_ONCE))
                found = [torch.cat(list(part.values()), dim=1) for part in parts]
            return torch.cat(found).float().cpu()

        timed = {"embedding": embed, "float32": partial(forward, False), "bfloat16": partial(forward, True)}
        seconds = best_of_each(timed, repetitions)
    exact, rounded = forward(False), forward(True)
    error = ((rounded - exact).abs() / exact.std(dim=0)).max().item()
    rows.add("embedding", PEOPLE / seconds["embedding"], "volumes/s, reading and standardising included")
    rows.add("embedding_ratio_to_forward", seconds["embedding"] / seconds["float32"], "times the forward pass alone")
    rows.add("embedding_bfloat16_speed", seconds["float32"] / seconds["bfloat16"], "times the speed in float32")
    rows.add("embedding_bfloat16_error", error, "SD over participants, the largest change")


def _made_up_cache(results: Results, side: int) -> VolumeCache:
    """Random participants that differ in patches of 8 voxels, since voxel-wise noise would be averaged out."""
    random = torch.Generator().manual_seed(0)
    patches = torch.randn(PEOPLE, 1, *[side // 8] * 3, generator=random)
    scans = (0.5 + 0.3 * functional.interpolate(patches, scale_factor=8))[:, 0].half().numpy()
    index = {"scan_id": [f"sub-{number:02d}" for number in range(PEOPLE)], "row": range(PEOPLE), "sha256": ""}
    checksums = [voxels_sha256(scan) for scan in scans]
    write_tsv(results.index, pd.DataFrame(index | {"source": "made up", "voxels_sha256": checksums}))
    write_json(results.grid, {"shape": [side] * 3, "affine": np.eye(4).tolist()})
    np.save(results.volumes, scans)
    return VolumeCache(results)


if __name__ == "__main__":
    run(__doc__, measure)
