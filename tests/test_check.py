"""``sepclr-neuro check`` finds what would stop a run, and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sepclr_neuro.check import check
from sepclr_neuro.config import Config, parse_config
from sepclr_neuro.errors import InputError
from sepclr_neuro.storage import atomic_path
from sepclr_neuro.volumes import as_image, grid_affine


def configuration(**sections: Any) -> Config:
    small = {
        "volumes": {"shape": [32, 32, 32]},
        "splits": {"folds": 2},
        "training": {"batch_size": 4},
        "cohort": {"source": "simulated", "simulation": {"participants": 12}},
    }
    return parse_config(small | sections)


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Any]:
    """Six controls and six patients of one site with tiny volumes."""
    rows = ["participant_id\tdiagnosis\tage\tsex\tsite"]
    rng = np.random.default_rng(0)
    for i in range(12):
        rows.append(f"p{i:02d}\t{'schizophrenia' if i % 2 else 'control'}\t{20 + i}\tfemale\tprague")
        with atomic_path(tmp_path / f"p{i:02d}.nii.gz") as temporary:
            as_image(rng.random((32, 32, 32), dtype=np.float32), grid_affine((32, 32, 32), 6.0)).to_filename(temporary)
    (tmp_path / "participants.tsv").write_text("\n".join(rows) + "\n")
    return {
        "source": "files",
        "studies": [
            {"name": "ours", "participants": str(tmp_path / "participants.tsv"), "volumes": "{participant_id}.nii.gz"}
        ],
    }


TARGETS = {
    "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
    "saliency": {"targets": ["age"]},
}


def test_a_simulated_cohort_is_stated() -> None:
    text = check(configuration())
    assert "12 people to be simulated (6 background, 6 target)" in text
    assert "2 trainings of 100 epochs" in text


def test_a_cohort_of_files_is_counted_and_nothing_is_written(study: dict[str, Any], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    cohort = study | {"include": {"age": [21, 99]}}
    text = check(configuration(cohort=cohort, output=str(tmp_path / "results"), **TARGETS))
    assert "11 people, 11 scans (5 background, 6 target)\n  left out, " in text
    assert sorted(tmp_path.rglob("*")) == before


def test_people_to_implant_into_need_no_diagnosis(study: dict[str, Any]) -> None:
    text = check(configuration(cohort=study | {"source": "implanted", "implant": {"patient_fraction": 0.35}}))
    assert "12 people, 12 scans\n" in text
    assert "implanted into people drawn at random (8 background, 4 target)" in text


def test_damaged_volumes_and_impossible_batches_are_told_together(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p03.nii.gz").write_text("<html>")
    (tmp_path / "p04.nii.gz").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        check(configuration(cohort=study, training={"batch_size": 16}, **TARGETS))
    problems = caught.value.problems
    assert len(problems) == 4
    assert problems[0].startswith("p03: ")
    assert problems[1].startswith("p04: ")
    assert problems[2].startswith("sepclr-k-jem, fold 0: training.batch_size: 16 needs 8 people of each group")


def test_an_atlas_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    atlas = {"image": str(tmp_path / "none.nii.gz"), "labels": str(tmp_path / "none.tsv")}
    with pytest.raises(InputError) as caught:
        check(configuration(saliency={"atlas": atlas}))
    assert ["none.tsv: cannot be read" in caught.value.problems[0], "none.nii.gz" in caught.value.problems[1]] == [
        True
    ] * 2


def test_more_folds_than_people_are_refused() -> None:
    with pytest.raises(InputError, match="fold"):
        check(configuration(splits={"folds": 10}))


def test_a_probe_that_does_not_suit_its_column_is_refused(study: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header + "\tscanner", *(row + "\tTrio" for row in rows)]) + "\n")
    targets = {"targets": {"scanner": {"kind": "regression", "expected_in": "common"}}}
    columns = {"others": {"scanner": "scanner"}}
    for source in ("files", "implanted"):
        with pytest.raises(InputError, match=r"probes\.targets\.scanner\.kind: .*holds text such as 'Trio'"):
            check(
                configuration(
                    cohort=study | {"source": source, "columns": columns}, probes=targets, saliency={"targets": []}
                )
            )


def test_a_grid_or_a_column_that_simulated_volumes_lack_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        check(configuration(volumes={"shape": [64, 64, 64], "resample_mm": 1.5, "tiv_column": "TIV"}))
    problems = caught.value.problems
    assert len(problems) == 2
    assert problems[0].startswith("volumes.resample_mm: ")
    assert problems[1].startswith("volumes.tiv_column: a simulated cohort has no column 'TIV'")
    assert "folds: 2" in check(configuration(volumes={"shape": [32, 32, 32], "tiv_column": "tiv"}))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"batch_size": 4, "validation_fraction": 0.1}, "validation_fraction: 0.1 leaves 1 background people to watch"),
        ({"batch_size": 12, "validation_fraction": 0.4}, "batch_size: 12 needs 6 people of each group"),
    ],
)
def test_people_whose_loss_is_watched_are_not_trained_on(training: dict[str, Any], message: str) -> None:
    simulation = {"source": "simulated", "simulation": {"participants": 32}}
    assert check(configuration(cohort=simulation, training={"batch_size": 12}))
    with pytest.raises(InputError) as caught:
        check(configuration(cohort=simulation, training=training))
    assert message in caught.value.problems[0]


def test_simulated_people_are_those_that_will_be_made() -> None:
    rare = {"source": "simulated", "simulation": {"participants": 12, "patient_fraction": 0.05}}
    with pytest.raises(InputError, match="2 folds need 2 people of each group, target has 0"):
        check(configuration(cohort=rare))
