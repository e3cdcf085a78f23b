"""Small grey-matter volumes, and cohorts of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, from_matvec
from numpy.typing import NDArray

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volumes import write_volumes

SMALL = Volumes(shape=(32, 32, 32))


def brain(shape: tuple[int, ...], affine: NDArray[Any], seed: int = 0) -> NDArray[np.float32]:
    """An ellipsoid in MNI space, the size of the brain, every voxel told from others by its place (and by ``seed``)."""
    x, y, z = np.moveaxis(apply_affine(affine, np.stack(np.indices(shape), axis=-1)), -1, 0)
    inside = (x / 72) ** 2 + ((y + 18) / 90) ** 2 + ((z - 6) / 76) ** 2 < 1
    values = 0.5 + 0.2 * np.sin(x / 11 + seed) + 0.1 * np.cos(y / 7) + 0.1 * np.sin(z / 5)
    return np.where(inside, values, 0).astype(np.float32)


def small_grid() -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Odd sizes, 6 mm voxels, not centred on the brain."""
    return (29, 35, 31), from_matvec(np.diag([6.0, 6.0, 6.0]), [-84.0, -118.5, -90.0])


def save_small(path: Path, seed: int = 0) -> Path:
    shape, affine = small_grid()
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(as_image(brain(shape, affine, seed), affine), path)
    return path


def make_cohort(folder: Path, count: int = 4) -> pd.DataFrame:
    paths = [save_small(folder / "data" / f"{number:02d}.nii.gz", seed=number) for number in range(count)]
    return cohort_of(paths)


def cohort_of(paths: list[Path]) -> pd.DataFrame:
    scan_ids = [path.name.split(".")[0] for path in paths]
    return pd.DataFrame(
        {
            "scan_id": scan_ids,
            "participant_id": scan_ids,
            "session_id": "n/a",
            "diagnosis": "control",
            "group": "background",
            "age": 30.5,
            "sex": "female",
            "site": "1",
            "tiv": 1500.0,
            "volume": [str(path) for path in paths],
        }
    )


def run(folder: Path, cohort: pd.DataFrame, settings: Volumes = SMALL) -> Results:
    results = Results(folder / "results")
    write_tsv(results.cohort, cohort)
    write_volumes(Config(volumes=settings), results)
    return results
