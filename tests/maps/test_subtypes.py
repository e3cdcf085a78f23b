"""Subtypes: found where patients differ in two directions, not where they differ in severity, and told from sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.fold_codes import FoldCodes, without_voxels, write_fold_codes
from sepclr_neuro.maps.patterns import write_patterns
from sepclr_neuro.maps.subtypes import associations, deviations, find_subtypes, matched, write_subtypes
from tests.small_run import small_run


def people_of(kind: str, seed: int, effect: float = 4.0) -> tuple[list[FoldCodes], np.ndarray, np.ndarray]:
    """Two folds, whose encoders name four dimensions as they like, of 120 patients as severely ill as in simulations,
    and 120 controls; the direction of each patient."""
    rng = np.random.default_rng(seed)
    patient, kinds = np.arange(240) % 2 == 1, rng.integers(0, 2, 240)
    severity = rng.gamma(2, 0.5, (240, 2))
    if kind == "two":
        severity[np.arange(240), 1 - kinds] = 0
    codes = rng.normal(size=(240, 4))
    codes[patient, :2] += effect * severity[patient] * (kind != "none")
    weights = np.kron(np.eye(4), np.ones(5)) * rng.uniform(0.5, 2, 20)
    folds = []
    for fold in range(2):
        rows = np.flatnonzero(np.arange(240) // 2 % 2 == fold)
        turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        centre = turn @ np.full(4, 3.0)  # nor where its origin is
        folds.append(FoldCodes(turn @ weights, codes[rows] @ turn.T + centre, rows, centre))
    return folds, patient, kinds


def all_deviations(folds: list[FoldCodes], patient: np.ndarray) -> list[np.ndarray]:
    return [deviations(fold, patient[fold.rows]) for fold in folds]


def test_deviations_are_in_units_of_the_controls_whatever_the_encoder_calls_its_dimensions() -> None:
    folds, patient, _ = people_of("one", seed=0)
    fold = folds[0]
    is_patient = patient[fold.rows]
    found = deviations(fold, is_patient)
    assert found.shape == (60, 2)  # of four dimensions, patients deviate in two
    whitened = fold.codes @ np.linalg.inv(np.linalg.cholesky(np.cov(fold.codes[~is_patient].T))).T
    far = whitened[is_patient] - whitened[~is_patient].mean(axis=0)
    largest = np.linalg.eigvalsh(far.T @ far)[-2:]
    np.testing.assert_allclose(np.linalg.eigvalsh(found.T @ found), largest)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
    other = FoldCodes(turn @ fold.weights, fold.codes @ turn.T, fold.rows, turn @ fold.centre)
    np.testing.assert_allclose(np.abs(deviations(other, is_patient)), np.abs(found))
    few = without_voxels(folds)[0]
    np.testing.assert_allclose(np.abs(deviations(few, is_patient)), np.abs(found))


def test_an_encoder_of_another_fold_makes_no_kind_of_patients() -> None:
    folds, patient, _ = people_of("one", seed=3)
    # Encoders that look at other voxels: put together, patients would divide by fold.
    moved = [folds[0], FoldCodes(np.roll(folds[1].weights, 7, axis=1), folds[1].codes, folds[1].rows, folds[1].centre)]
    found = [
        find_subtypes(all_deviations(some, patient), 2, 19, 5, np.random.default_rng(0)) for some in (folds, moved)
    ]
    assert found[1].separation == pytest.approx(found[0].separation, abs=1e-6)
    assert found[1].p > 0.05


def test_two_kinds_are_found_as_they_were_made() -> None:
    folds, patient, kinds = people_of("two", seed=1)
    found = find_subtypes(all_deviations(folds, patient), 2, 39, 10, np.random.default_rng(0))
    assert found.p == 1 / 40
    assert found.separation > found.null95
    assert found.stability > 0.8
    own = [patient[fold.rows] for fold in folds]
    labels = matched(folds, found.labels, own)
    np.testing.assert_equal(matched(without_voxels(folds), found.labels, own), labels)
    assert np.bincount(labels[0])[0] >= np.bincount(labels[0])[1]
    # Under common numbers, clusters of all folds are the kinds that were made.
    truth = np.concatenate([kinds[fold.rows][of_fold] for fold, of_fold in zip(folds, own, strict=True)])
    assert adjusted_rand_score(truth, np.concatenate(labels)) > 0.6


@pytest.mark.parametrize("kind", ["one", "none"])
def test_one_kind_of_any_severity_is_seldom_divided(kind: str) -> None:
    claimed = []
    for seed in range(12):
        folds, patient, _ = people_of(kind, seed)
        claimed.append(find_subtypes(all_deviations(folds, patient), 2, 19, 5, np.random.default_rng(seed)).p)
    assert sum(p <= 0.05 for p in claimed) <= 2


def test_clusters_that_are_sites_are_called_so() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    site = np.where(labels == 1, "a", "b").astype(object)
    site[:8] = "c"
    age = rng.normal(40, 10, 80)
    people = pd.DataFrame({"site": site, "age": age, "sex": "female", "sans": np.where(np.arange(80) < 70, np.nan, 5)})
    people.loc[:3, "age"] = np.nan
    found = associations(labels, np.arange(80) % 2, people, np.random.default_rng(0)).set_index("variable")
    assert list(found.index) == ["site", "age"]  # what does not vary cannot be explained
    assert found.loc["site", "p"] == 0.001
    assert found.loc["age", "p"] > 0.05
    assert found.loc["age", "people"] == 76
    known = ~people["age"].isna()
    means = people[known].groupby(labels[known])["age"].transform("mean")
    expected = ((means - age[known].mean()) ** 2).sum() / ((age[known] - age[known].mean()) ** 2).sum()
    assert found.loc["age", "explained"] == pytest.approx(expected)


def test_a_run_writes_clusters_of_held_out_patients(tmp_path: Path) -> None:
    methods = {"sepclr-linear": {"salient_dim": 2, "steps": 20}}
    sought = {"clusters": [2, 4], "nulls": 19, "resamples": 5}
    config, results = small_run(tmp_path, people=40, methods=methods, subtypes=sought)
    for fold in range(2):
        write_fold_model(config, results, "sepclr-linear", fold)
    write_representations(config, results, "sepclr-linear")
    write_patterns(config, results, "sepclr-linear")
    write_subtypes(config, results, "sepclr-linear")
    folder = results.subtypes("sepclr-linear")
    table = read_tsv(folder / "subtypes.tsv").set_index("clusters")
    assert table["people"].tolist() == [20, 20]
    assert 0 < table.loc[2, "p"] <= 1
    assert np.isnan(table.loc[4, "p"])  # ten patients a fold are too few for four kinds
    assert np.isnan(table.loc[2, "rand_with_truth"])
    members = read_tsv(folder / "members.tsv")
    assert sorted(members["participant_id"]) == [f"sub-{number:02d}" for number in range(1, 40, 2)]
    assert set(members["of_2"]) == {1, 2}
    assert {"age", "sex", "site", "sans", "saps"} >= set(read_tsv(folder / "associations.tsv")["variable"]) > {"age"}
    assert read_json(results.model_folder("sepclr-linear", 0) / "model.json")["fold"] == 0


@pytest.mark.parametrize(
    ("people", "dimensions", "usable"),
    [((60, 60), 1, False), ((60, 9), 4, False), ((7, 60), 4, False), ((0, 60), 4, False), ((60, 60), 4, True)],
)
def test_folds_that_cannot_be_divided_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, people: tuple[int, int], dimensions: int, usable: bool
) -> None:
    """By controls or patients of the second fold, 120 participants of two folds, or by the space of the method."""
    config, results = small_run(tmp_path, people=240, subtypes={"clusters": [2], "nulls": 19, "resamples": 5})
    folds, patient, _ = people_of("two", seed=1)
    cohort = pd.DataFrame({"participant_id": [f"sub-{n:03d}" for n in range(240)], "diagnosis": "x"})
    cohort = cohort.assign(scan_id=cohort["participant_id"], group=np.where(patient, "target", "background"))
    second = folds[1].rows
    kept = np.concatenate([second[~patient[second]][: people[0]], second[patient[second]][: people[1]]])
    some = np.isin(second, kept)
    folds[1] = FoldCodes(folds[1].weights, folds[1].codes[some], second[some], folds[1].centre)
    folds = [FoldCodes(f.weights[:dimensions], f.codes[:, :dimensions], f.rows, f.centre[:dimensions]) for f in folds]
    write_fold_codes(results.fold_codes("sepclr-k-jem"), folds, cohort.drop_duplicates("participant_id")["scan_id"])
    monkeypatch.setattr("sepclr_neuro.maps.subtypes.load_cohort", lambda _: cohort)
    write_subtypes(config, results, "sepclr-k-jem")
    (row,) = read_tsv(results.subtypes("sepclr-k-jem") / "subtypes.tsv").to_dict("records")
    first_alone = dimensions > 1 and not usable
    assert row["people"] == (120 if usable else 60 if first_alone else 0)
    assert np.isnan(row["p"]) == (dimensions == 1)
    assert len(read_tsv(results.subtypes("sepclr-k-jem") / "members.tsv")) == row["people"]


def test_no_axis_is_one_of_patients_where_they_are_like_the_controls() -> None:
    """At least two axes are used; beyond them none, however few controls measure the units."""
    used = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        fold = FoldCodes(np.eye(40), rng.normal(size=(120, 40)), np.arange(120), np.zeros(40))
        used.append(deviations(fold, np.arange(120) % 2 == 1).shape[1])
    assert np.mean(used) < 2.2
