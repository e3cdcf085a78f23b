"""A small run with a trained model, its volumes as NIfTI files, and a table of its people without their groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.data.volumes import preprocessing
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.patterns import write_patterns
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.probing.verdicts import write_verdicts
from sepclr_neuro.run.runfiles import write_run_files
from tests.small_run import SHAPE, small_run

LINEAR, NETWORK, SINGLE = "ridge-discriminant", "sepclr-k-jem", "pca"
METHODS: dict[str, Any] = {
    LINEAR: {},
    NETWORK: {"common_dim": 4, "salient_dim": 4, "projector_width": 8},
    SINGLE: {"dim": 3},
}
PATTERN = "{participant_id}.nii.gz"


@dataclass(frozen=True)
class FinishedRun:
    """A run as far as the tables, and the folder of its volumes as files."""

    config: Config
    results: Results
    files: Path

    @property
    def cohort(self) -> pd.DataFrame:
        return load_cohort(self.results.cohort)

    def fold(self, number: int = 0) -> Fold:
        return read_fold(self.results.splits, self.results.index, number)

    def table(self, path: Path, scans: tuple[str, ...], **changes: object) -> Path:
        """A table of some of its people with covariates alone, in a folder beside links to their volumes."""
        rows = self.cohort.set_index("scan_id").loc[list(scans), ["participant_id", "age", "sex", "site"]]
        # As many digits as the cohort has, so that codes are the same to the last one.
        rows["age"] = [f"{age:.17g}" for age in rows["age"]]
        write_tsv(path, rows.assign(**changes))
        for scan in scans:
            link = path.parent / f"{scan}.nii.gz"
            if not link.exists():
                link.symlink_to(self.files / link.name)
        return path


def finished_run(folder: Path, people: int = 48, methods: Mapping[str, Any] = METHODS, **splits: Any) -> FinishedRun:
    """Two folds of three methods, at 6 mm on the project's own grid, so that files need no cropping."""
    config, results = small_run(
        folder / "results",
        people=people,
        splits={"folds": 2, **splits},
        training={"epochs": 1, "batch_size": 4},
        methods=dict(methods),
        probes={"permutations": 99, "bootstraps": 99, "paper_regime": False},
        saliency={"permutations": 19},
        title="Cohort of Prof. N. Obody",
    )
    affine = grid_affine(SHAPE, 6.0)
    grid = {"shape": list(SHAPE), "affine": affine.tolist(), "settings": preprocessing(config.volumes)}
    write_json(results.grid, grid)
    write_run_files(config, results)
    for method in config.methods:
        for fold in range(config.splits.count):
            write_fold_model(config, results, method, fold)
        write_representations(config, results, method)
    write_probes(config, results)
    write_verdicts(config, results)
    write_tables(config, results)
    if LINEAR in methods:
        write_patterns(config, results, LINEAR)
    files = folder / "files"
    files.mkdir()
    cache = VolumeCache(results)
    for scan, volume in zip(cache.scan_ids, cache.array, strict=True):
        nibabel.save(as_image(volume.astype(np.float32), affine), files / f"{scan}.nii.gz")
    return FinishedRun(config, results, files)
