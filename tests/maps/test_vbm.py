"""The voxel-wise t-map: against a textbook's t, of training people alone, with the sign of the target."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.effects import DISEASE
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.maps import mapping
from sepclr_neuro.maps.designs import nuisance
from sepclr_neuro.maps.vbm import t_values, write_vbm
from tests.oracles.linear_model import t_of_column
from tests.small_run import SHAPE, small_run


def test_the_t_is_a_textbooks() -> None:
    rng = np.random.default_rng(0)
    design = np.column_stack([rng.normal(size=30), np.ones(30), rng.normal(size=(30, 3))])
    values = rng.normal(5, 1, size=(30, 7)) + design[:, :1] * np.arange(7) * 0.3
    values[:, 6] = 4.0
    found = t_values((values[start : start + 8] for start in range(0, 30, 8)), design)
    np.testing.assert_allclose(found[:6], t_of_column(values[:, :6], design, 0), rtol=1e-8)
    assert found[6] == 0, "what does not vary has no t"


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "mosaic", lambda *_: None)


def t_map(results, target: str) -> np.ndarray:
    return nibabel.Nifti1Image.from_filename(results.vbm / f"{target}.nii.gz").get_fdata()


def test_it_is_the_mean_over_folds_of_the_training_peoples_t(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, people=24)
    write_vbm(config, results)
    cohort = load_cohort(results.cohort).set_index("scan_id")
    cache = VolumeCache(results)
    expected = np.zeros(SHAPE)
    for fold in range(2):
        train = cohort.loc[list(read_fold(results.splits, results.index, fold).train)]
        design = np.column_stack([train["group"] == "target", np.ones(len(train)), nuisance(config, train)])
        mask = Standardisation.load(results, fold).mask.numpy()
        values = cache.read(cache.rows(train.index))[:, 0].numpy()[:, mask].astype(np.float64)
        expected[mask] += t_of_column(values[:, ::50], design.astype(float), 0).repeat(50)[: mask.sum()] / 2
    found = t_map(results, "diagnosis")
    picked = np.flatnonzero(mask)[::50]
    np.testing.assert_allclose(found.ravel()[picked], expected.ravel()[picked], rtol=1e-4, atol=1e-4)
    assert found[8:20, 8:20, 8:20].mean() > 3, "patients have more there"
    assert abs(found[22:].mean()) < 0.5


def test_held_out_people_do_not_matter(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, people=24)
    splits = read_tsv(results.splits, text=("scan_id", "participant_id", "side"))
    # One fold alone, so that some people are never trained on.
    splits[splits["fold"] == 0].to_csv(results.splits, sep="\t", index=False)
    write_vbm(config, results)
    before = t_map(results, "diagnosis")
    volumes = np.load(results.volumes)
    volumes[VolumeCache(results).rows(read_fold(results.splits, results.index, 0).test)] = 0.5
    np.save(results.volumes, volumes)
    write_vbm(config, results)
    assert np.array_equal(before, t_map(results, "diagnosis"))


def test_targets_of_too_few_people_say_so_and_truth_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {}
    monkeypatch.setattr(
        mapping, "mosaic", lambda image, path, title, subtitle, unit: said.update({path.stem: subtitle})
    )
    config, results = small_run(tmp_path, people=64)
    truth = np.zeros(SHAPE)
    truth[8:20, 8:20, 8:20] = 1
    results.truth.mkdir(parents=True)
    for name in ("disease_mask", *DISEASE):
        nibabel.save(as_image(truth, VolumeCache(results).affine), results.truth / f"{name}.nii.gz")
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id"))
    cohort.loc[cohort.index > 6, "sans"] = np.nan
    cohort.to_csv(results.cohort, sep="\t", index=False, na_rep="n/a")
    write_vbm(config, results)
    assert not t_map(results, "sans").any()
    assert "NO MAP" in said["sans"]
    assert "2 of 2 folds" in said["diagnosis"]
    row = read_tsv(results.vbm / "localisation.tsv").set_index("target").loc["diagnosis"]
    assert row["ratio"] > 2
    assert row["rank_share"] > 0.9
    assert (row["peak_in_region"], row["n"]) == ("yes", 32)
