"""The probe of arrays: it finds true effects only, keeps a participant's rows together, and refuses bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from sepclr_neuro import probe

FEW = {"permutations": 99, "bootstraps": 99, "random_state": 0}


def people(count: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Representations of which the first dimension holds a group, the second an age."""
    rng = np.random.default_rng(0)
    group, age = np.array(["control", "patient"])[np.arange(count) % 2], rng.normal(40, 10, count)
    codes = rng.normal(size=(count, 4))
    codes[:, 0] += 3 * (group == "patient")
    codes[:, 1] += age / 5
    return codes, group, age


def test_classes_and_numbers_are_found_and_noise_is_not() -> None:
    codes, group, age = people()
    found = probe(codes, group, **FEW)
    assert (found.metric, found.chance, found.p) == ("bacc", 0.5, 0.01)
    assert found.interval[0] < found.value < 1.0001 > found.interval[1] > found.value - 0.1
    assert len(found.null) == 99
    assert (found.predictions["prediction"] == found.predictions["truth"]).mean() > 0.85
    assert sorted(found.predictions["row"]) == list(range(80))
    assert probe(codes, group, metric="auc", **FEW).value > 0.95
    of_age = probe(codes, age, **FEW)
    assert (of_age.metric, of_age.p) == ("mae", 0.01)
    assert of_age.value < 0.8 * of_age.chance
    noise = np.random.default_rng(2).normal(size=80)
    assert probe(codes, noise, metric="r2", **FEW).p > 0.05
    assert probe(codes, (noise > 0).astype(int), **FEW).p > 0.05  # two values are classes


def test_the_same_seed_gives_the_same() -> None:
    codes, group, _ = people()
    one, other = probe(codes, group, **FEW), probe(codes, group, **FEW)
    np.testing.assert_array_equal(one.null, other.null)
    pd.testing.assert_frame_equal(one.predictions, other.predictions)


def test_participants_without_a_value_are_left_out() -> None:
    codes, _, age = people()
    age[:10] = np.nan
    found = probe(codes, age, cv=list(KFold(4).split(codes)), **FEW)
    assert sorted(found.predictions["row"]) == list(range(10, 80))


def test_rows_of_a_participant_stay_on_one_side() -> None:
    codes, group, _ = people()
    person = np.arange(80) // 4
    found = probe(codes, group, groups=person, **FEW)
    assert (
        found.predictions.assign(person=person[found.predictions["row"]]).groupby("person")["fold"].nunique() == 1
    ).all()
    with (
        pytest.warns(UserWarning, match="groups parameter is ignored"),
        pytest.raises(ValueError, match="is among training and held-out participants of fold 0"),
    ):
        probe(codes, group, groups=person, cv=KFold(3), **FEW)


def test_a_space_that_repeats_confounds_has_no_increment() -> None:
    codes, _, age = people()
    table = pd.DataFrame({"age": age, "site": np.where(np.arange(80) % 3, "a", "b")})
    assert probe(codes, age, confounds=table[["site"]], **FEW).increment > 2
    assert abs(probe(codes, age, confounds=table, **FEW).increment) < 0.5
    assert np.isnan(probe(codes, age, **FEW).increment)


def test_each_fold_may_have_an_encoder_of_its_own() -> None:
    codes, group, _ = people()
    folds = list(KFold(4, shuffle=True, random_state=0).split(codes))
    turned = [codes * (-1) ** k for k in range(4)]
    assert probe(turned, group, cv=folds, **FEW).value == pytest.approx(probe(codes, group, cv=folds, **FEW).value)
    with pytest.raises(ValueError, match="4 of them for 5 folds"):
        probe(turned, group, **FEW)


def test_what_cannot_be_predicted_is_an_error() -> None:
    codes, group, _ = people()
    with pytest.raises(ValueError, match="metric: 'mae' is none of bacc, auc"):
        probe(codes, group, metric="mae", **FEW)
    with pytest.raises(ValueError, match="no fold has two training participants"):
        probe(codes, np.full(80, "control"), **FEW)
