"""Measures beside recovery, on codes and maps whose result is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.validation.separation.further_measures import code_measures, map_measures, true_subtypes

RNG = np.random.default_rng(0)
PATIENT = np.arange(200) % 2 == 1
SIGN = np.where(PATIENT, RNG.choice([-1.0, 1.0], size=200), 0.0)
NONE = np.full(200, np.nan)


def two_signs(strength: float = 4.0) -> np.ndarray:
    """Codes of 200 participants; half of the patients lie on one side of the controls and half on the other."""
    codes = RNG.normal(size=(200, 2))
    codes[:, 0] += strength * SIGN
    return codes


def test_patients_on_both_sides_of_controls_are_found_by_distance_and_classified_by_subtype() -> None:
    subtype = np.where(PATIENT, SIGN, np.nan)
    found = code_measures(two_signs(), two_signs(), (PATIENT, PATIENT), (subtype, subtype))
    assert found["distance_auc"] > 0.95
    assert found["diagnosis_nonlinear"] > 0.9
    assert found["subtype"] > 0.95
    assert found["inflation"] == pytest.approx(1, abs=0.1)


def test_codes_without_information_are_at_chance() -> None:
    found = code_measures(two_signs(0), two_signs(0), (PATIENT, PATIENT), (NONE, NONE))
    assert found["distance_auc"] == pytest.approx(0.5, abs=0.12)
    assert found["diagnosis_nonlinear"] == pytest.approx(0.5, abs=0.12)
    assert np.isnan(found["subtype"])


def test_training_patients_twice_as_far_from_controls_are_inflated_twofold() -> None:
    held_out = two_signs()
    train = held_out - held_out[~PATIENT].mean(axis=0)
    test = train.copy()
    train[PATIENT] *= 2
    assert code_measures(train, test, (PATIENT, PATIENT), (NONE, NONE))["inflation"] == pytest.approx(2)


def test_of_two_signs_the_t_map_shows_nothing_and_patients_beyond_controls_the_truth() -> None:
    truth = np.r_[np.ones(10), np.zeros(90)]
    codes, nothing = two_signs(), np.zeros((200, 0))
    volumes = np.outer(codes[:, 0], truth) + RNG.normal(size=(200, 100))

    def chunks() -> Iterator[np.ndarray]:
        return iter(np.array_split(volumes, 7))

    found = map_measures(chunks, codes, two_signs(), (PATIENT, PATIENT), (nothing, nothing), truth)
    assert found["beyond_controls"]["r"] > 0.95
    assert found["beyond_controls"]["ratio"] > 5
    assert found["t_map"]["r"] < 0.3


def test_subtypes_are_those_of_the_participants() -> None:
    factors = pd.DataFrame({"participant_id": ["a", "a", "b", "c"], "subtype": [1.0, 1.0, np.nan, 2.0]})
    np.testing.assert_array_equal(true_subtypes(factors, pd.Series(["c", "b", "a"])), [2.0, np.nan, 1.0])
