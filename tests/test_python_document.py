"""The blocks of docs/python.md run as they stand, one after the other, on a simulated cohort."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.data.images import quick_images

DOCUMENT = Path(__file__).parents[1] / "docs" / "python.md"


def cohort(folder: Path, count: int = 60) -> dict[str, Any]:
    """The files that the document uses: volumes with a disease in a corner, a mask, and a table of participants."""
    rng, affine = np.random.default_rng(0), np.diag([6.0, 6.0, 6.0, 1.0])
    y = np.array(["control", "patient"])[np.arange(count) % 2]
    mask = np.ones((8, 8, 8), dtype=np.uint8)
    mask[-1] = 0
    paths = [folder / f"sub-{row:02d}.nii.gz" for row in range(count)]
    for path, group in zip(paths, y, strict=True):
        volume = rng.normal(0.5, 0.1, mask.shape).astype(np.float32)
        volume[:3, :3, :3] -= 0.2 * (group == "patient")
        nibabel.save(nibabel.nifti1.Nifti1Image(volume, affine), path)
    participants = pd.DataFrame(
        {
            "age": rng.uniform(20, 60, count),
            "sex": rng.choice(["female", "male"], count),
            "site": rng.choice(["a", "b"], count),
            "tiv": rng.normal(1500, 100, count),
        }
    )
    return {
        "paths": paths,
        "participants": participants,
        "y": y,
        "train": np.arange(40),
        "test": np.arange(40, count),
        "grey_matter_mask": nibabel.nifti1.Nifti1Image(mask, affine),
    }


def test_the_blocks_of_the_document_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(blocks) == 3
    known = cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    with quick_images():
        for block in blocks:
            exec(compile(block, str(DOCUMENT), "exec"), known)  # noqa: S102
    assert known["salient"].shape == (20, 8)
    assert known["patterns"].shape == (8, 8, 8, 8)
    assert (tmp_path / "beyond-controls.nii.gz").is_file()
    assert known["pattern"].shape == (8, 8, 8, 2)
    assert (known["predicted"] == known["y"]).mean() > 0.9
    assert known["diagnosis"].value > 0.9
    assert known["diagnosis"].increment > 0.2
