"""A tiny finished run up to standardisation, random volumes in which patients differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, write_json, write_tsv
from sepclr_neuro.data.cache import voxels_sha256
from sepclr_neuro.data.splits import write_splits
from sepclr_neuro.data.standardisation import write_standardisation

SHAPE = (32, 32, 32)


def small_run(folder: Path, people: int = 16, **sections: object) -> tuple[Config, Results]:
    """``people`` scans of 32³, half patients, two sites, two folds; further sections override the configuration."""
    settings: dict[str, object] = {
        "output": str(folder),
        "volumes": {"shape": SHAPE},
        "splits": {"folds": 2},
        "network": {"channels": [8, 16]},
        "training": {"epochs": 3, "batch_size": 4},
        "methods": {"sepclr-k-jem": {"common_dim": 4, "salient_dim": 4, "projector_width": 8}},
    }
    config = parse_config(settings | sections)
    results = Results(config.output)
    rng = np.random.default_rng(0)
    ids = [f"sub-{i:02d}" for i in range(people)]
    patient = np.arange(people) % 2 == 1
    write_tsv(
        results.cohort,
        pd.DataFrame(
            {
                "scan_id": ids,
                "participant_id": ids,
                "session_id": np.nan,
                "diagnosis": np.where(patient, "schizophrenia", "control"),
                "group": np.where(patient, "target", "background"),
                "age": rng.uniform(20, 60, people),
                "sex": rng.choice(["female", "male"], people),
                "site": np.where(np.arange(people) % 4 < 2, "prague", "bonn"),
                "sans": np.where(patient, rng.integers(0, 60, people), np.nan),
                "saps": np.where(patient, rng.integers(0, 60, people), np.nan),
                "volume": np.nan,
            }
        ),
    )
    volumes = rng.uniform(0.2, 0.8, (people, *SHAPE))
    volumes[patient, 8:20, 8:20, 8:20] += 0.3
    volumes = volumes.astype(np.float16)
    with atomic_path(results.volumes) as temporary, temporary.open("wb") as file:
        np.save(file, volumes)
    index = pd.DataFrame({"scan_id": ids, "row": range(people), "sha256": [f"{i:064d}" for i in range(people)]})
    index = index.assign(source="made for a test", voxels_sha256=[voxels_sha256(volume) for volume in volumes])
    write_tsv(results.index, index)
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -96
    write_json(results.grid, {"shape": list(SHAPE), "affine": affine.tolist()})
    write_splits(config, results)
    for fold in range(config.splits.count):
        write_standardisation(config, results, fold)
    return config, results
