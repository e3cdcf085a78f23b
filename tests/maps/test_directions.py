"""Leading directions: eigenvectors of what patients have beyond controls, one for all folds; true ones are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.maps.directions import MOST, leading_directions
from sepclr_neuro.maps.fold_codes import FoldCodes, Matrix, read_fold_codes, without_voxels, write_fold_codes
from sepclr_neuro.maps.patterns import beyond_controls, mean_patient
from tests.oracles import directions as oracle

VOXELS = 60
NONE = np.empty((0, 240), dtype=np.int64)


def people_of(kind: str, seed: int = 0, people: int = 240) -> tuple[list[FoldCodes], np.ndarray, Matrix]:
    """Three folds, whose encoders name three dimensions as they like and whose W is a little off, and true maps [2, V].

    Patients of two signs have more or less of the first map, of one shift all more; of two kinds more of the
    first map, or less of the second.
    """
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.arange(people) % 2 == 1)
    sign, severity = rng.choice([-1, 1], people), rng.gamma(2, 0.5, people)
    codes = rng.normal(size=(people, 3))
    moved = {
        "nothing": [0 * severity, 0 * severity],
        "shift": [3 * severity, 0 * severity],
        "two signs": [3 * severity * sign, 0 * severity],
        "two kinds": [5 * severity * (sign > 0), -3 * severity * (sign < 0)],
        "two equal kinds": [4 * severity * (sign > 0), -4 * severity * (sign < 0)],
    }[kind]
    codes[:, :2] += np.column_stack(moved) * patient[:, None]
    truth = np.zeros((3, VOXELS))
    truth[0, :10], truth[1, 10:20], truth[2, 20:30] = 1, 1, 1
    folds = []
    for fold in range(3):
        rows = np.arange(fold, people, 3)
        turn = rng.normal(size=(3, 3))
        weights = np.linalg.inv(turn).T @ (truth + rng.normal(0, 0.1, truth.shape))
        folds.append(FoldCodes(weights, codes[rows] @ turn.T + 5, rows, np.zeros(3)))
    return folds, patient, truth[:2]


def exchanges(patient: np.ndarray, count: int = 99) -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.stack([rng.permutation(len(patient)) for _ in range(count)])


def dense(folds: Sequence[FoldCodes], patient: np.ndarray) -> tuple[Matrix, Matrix]:
    """The covariance of voxels beyond controls, and its leading directions."""
    covariance = oracle.beyond_controls_covariance([(f.weights, f.codes, f.rows) for f in folds], patient)
    mean = np.mean([mean_patient(f.weights, f.codes, patient[f.rows]) for f in folds], axis=0)
    return covariance, oracle.directions(covariance, mean, MOST)


@pytest.mark.parametrize("kind", ["shift", "two signs", "two kinds"])
def test_directions_are_eigenvectors_of_the_covariance_beyond_controls(kind: str) -> None:
    folds, patient, _ = people_of(kind)
    covariance, expected = dense(folds, patient)
    found = leading_directions(folds, patient, exchanges(patient))
    for values, of_oracle in zip([values for values, _ in found.values()], expected, strict=False):
        np.testing.assert_allclose(values, of_oracle, atol=1e-8)
    values = np.linalg.eigvalsh(covariance)
    shares = [figures["share"] for _, figures in found.values()]
    np.testing.assert_allclose(shares, values[::-1][: len(shares)] / values[values > 0].sum())
    # Squares of amplitudes add up to those of the map beyond controls, up to the negative part.
    of_one = folds[:1]
    beyond = beyond_controls(of_one[0].weights, of_one[0].codes, patient[of_one[0].rows])
    values, vectors = np.linalg.eigh(dense(of_one, patient)[0])
    positive, negative = np.square(vectors) @ np.maximum(values, 0), np.square(vectors) @ np.minimum(values, 0)
    np.testing.assert_allclose(np.square(beyond), np.maximum(positive + negative, 0), atol=1e-8)


def test_the_null_is_the_largest_voxel_of_any_direction_of_exchanged_diagnoses() -> None:
    _, patient, _ = people_of("nothing", people=120)
    # The first direction is mostly of many weak voxels, a later one has the largest.
    weights = np.r_[[np.r_[np.ones(50), np.zeros(10)]], [np.r_[np.zeros(58), 4, 4]]]
    codes = np.random.default_rng(5).normal(size=(120, 2)) * np.where(patient, 1.3, 1)[:, None]
    folds = [FoldCodes(weights, codes[start::2], np.arange(start, 120, 2), np.zeros(2)) for start in range(2)]
    exchanged = exchanges(patient, 39)
    of_each = np.array([np.abs(dense(folds, patient[rows])[1]).max(axis=1) for rows in exchanged])
    null = of_each.max(axis=1)
    assert (null > of_each[:, 0]).any()
    limit = np.quantile(null, 0.95, method="higher")
    for values, figures in leading_directions(folds, patient, exchanged).values():
        assert figures["p"] == (1 + (null >= np.abs(values).max()).sum()) / 40
        assert figures["voxels_beyond_chance"] == (np.abs(values) > limit).sum()
    assert (of_each[:, 0] >= np.abs(values).max()).sum() != (null >= np.abs(values).max()).sum()


@pytest.mark.parametrize(("kind", "true"), [("nothing", 0), ("shift", 1), ("two signs", 1), ("two kinds", 2)])
def test_true_directions_are_found_and_one_more_is_looked_at(kind: str, true: int) -> None:
    folds, patient, truth = people_of(kind, seed=1)
    found = list(leading_directions(folds, patient, exchanges(patient)).values())
    assert [figures["p"] <= 0.05 for _, figures in found] == [True] * true + [False]
    r = np.abs(np.corrcoef(np.vstack([truth, [values for values, _ in found]]))[:2, 2:])
    assert all(r[k, k] > 0.97 for k in range(true))
    if kind == "shift":  # the sign is that of the mean patient
        assert found[0][0][:10].mean() > 0.5
    if kind == "two kinds":
        assert found[0][0][:10].mean() > 0.5
        assert found[1][0][10:20].mean() < -0.5


def test_two_kinds_of_like_strength_are_within_their_two_directions() -> None:
    """Which of the two turns out to be first, or whether both are mixed, is up to the sample."""
    for seed in range(4):
        folds, patient, truth = people_of("two equal kinds", seed)
        found = np.array([values for values, _ in leading_directions(folds, patient, exchanges(patient)).values()])[:2]
        left = np.linalg.lstsq(found.T, truth.T, rcond=None)[1]
        assert (left < 0.06 * np.square(truth).sum(axis=1)).all()


def test_chance_passes_for_a_direction_as_often_as_p_says() -> None:
    p = []
    for seed in range(60):
        folds, patient, _ = people_of("nothing", seed, people=60)
        p.append(leading_directions(folds, patient, exchanges(patient, 39))["direction-1"][1]["p"])
    assert np.mean(np.array(p) <= 0.05) <= 0.12
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.2)


def test_one_dimension_few_controls_and_no_permutations() -> None:
    folds, patient, _ = people_of("two signs", people=120)
    one = [FoldCodes(f.weights[:1], f.codes[:, :1], f.rows, f.centre[:1]) for f in folds]
    few = np.ones(120, dtype=bool)
    for fold in one:
        few[fold.rows[:2]] = False  # two controls a fold
    for labels in (patient, few):
        found = leading_directions(one, labels, NONE[:, :120])
        assert list(found) == ["direction-1"]
        assert set(found["direction-1"][1]) == {"largest", "share"}
        np.testing.assert_allclose(found["direction-1"][0], dense(one, labels)[1][0], atol=1e-8)


def test_a_fold_without_a_group_counts_in_no_mean() -> None:
    folds, patient, _ = people_of("shift")
    labels = patient.copy()
    labels[folds[2].rows] = False
    found = leading_directions(folds, labels, NONE)["direction-1"][0]
    np.testing.assert_allclose(found, dense(folds[:2], labels)[1][0], atol=1e-8)
    values, figures = leading_directions(folds, np.zeros(240, dtype=bool), NONE)["direction-1"]
    assert not values.any()
    assert np.isnan(figures["share"])


@pytest.mark.parametrize("without", ["excess", "weights"])
def test_without_excess_or_without_weights_the_first_map_is_zero(without: str) -> None:
    folds, patient, _ = people_of("nothing")
    if without == "weights":
        folds = [FoldCodes(0 * f.weights, f.codes, f.rows, f.centre) for f in folds]
    else:
        for fold in folds:  # controls vary, patients do not
            own = patient[fold.rows]
            fold.codes[own] = fold.codes[~own].mean(axis=0)
    found = leading_directions(folds, patient, exchanges(patient, 19))
    (values, figures), *others = found.values()
    assert not others
    assert not values.any()
    assert figures["p"] == 1
    assert np.isnan(figures["share"])


def test_folds_without_voxels_keep_all_products_of_maps_on_disk_too(tmp_path: Path) -> None:
    folds, _, _ = people_of("two kinds")
    folds[1] = FoldCodes(folds[1].weights[:1], folds[1].codes[:, :1], folds[1].rows, folds[1].centre[:1])
    people = pd.Index(["sub-1", "sub-2"])
    write_fold_codes(tmp_path / "codes", folds, people)
    for few in (without_voxels(folds), read_fold_codes(tmp_path / "codes", people)):
        assert few[0].weights.shape == (3, 7)
        for small, fold in zip(few, folds, strict=True):
            np.testing.assert_allclose(small.weights @ few[0].weights.T, fold.weights @ folds[0].weights.T, atol=1e-10)
            for name in ("codes", "rows", "centre"):
                np.testing.assert_array_equal(getattr(small, name), getattr(fold, name))
    with pytest.raises(InputError, match=r"codes: is of another cohort; run the stage `patterns` again"):
        read_fold_codes(tmp_path / "codes", people[::-1])
    with pytest.raises(InputError, match=r"none: is missing; the stage `patterns` writes it"):
        read_fold_codes(tmp_path / "none", people)


def test_one_dimension_has_one_direction() -> None:
    """Encoders of folds differ, which must not pass for a second direction."""
    folds, patient, _ = people_of("shift")
    folds = [FoldCodes(f.weights[:1], f.codes[:, :1], f.rows, f.centre[:1]) for f in folds]
    folds[1] = replace(folds[1], weights=folds[1].weights[:, ::-1])
    found = leading_directions(folds, patient, exchanges(patient, 19))
    assert list(found) == ["direction-1"]
