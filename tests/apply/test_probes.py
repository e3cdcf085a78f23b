"""Intervals of probes on new participants."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.apply.controls import Controls, percentiles
from sepclr_neuro.apply.probes import LEVEL, ExportedProbe, half_width, p_of_class
from tests.oracles import apply as oracle


def probe(truth: list[object], prediction: np.ndarray, classes: tuple[str, ...] = ()) -> ExportedProbe:
    """x itself is the prediction, or the log-odds."""
    function = {"target": "t", "space": "salient", "weights": [1.0], "intercept": 0.0, "classes": list(classes)}
    table = pd.DataFrame({"truth": truth, "prediction": prediction, "score": prediction})
    return ExportedProbe.of(function, table)


@pytest.mark.parametrize("count", [9, 10, 25, 40])
def test_widths_and_p_are_those_of_the_oracle(count: int) -> None:
    errors = np.abs(np.random.default_rng(count).normal(size=count))
    assert half_width(errors) == oracle.conformal_half_width(errors.tolist(), LEVEL)
    towards = np.random.default_rng(1).normal(size=7)
    expected = [oracle.p_of_class(value, errors.tolist()) for value in towards]
    np.testing.assert_allclose(p_of_class(towards, errors), expected)
    ties = np.round(errors, 1)
    expected = [oracle.percentile(value, ties.tolist()) for value in np.round(towards, 1)]
    np.testing.assert_allclose(percentiles(np.round(towards, 1), ties), expected)


def test_too_few_held_out_participants_give_no_interval() -> None:
    table = probe([1.0] * 8, np.zeros(8)).predict(np.zeros((2, 1)))
    assert table[["low", "high"]].isna().all(axis=None)
    assert table["prediction"].tolist() == ["0", "0"]


def test_nine_of_ten_numbers_are_in_their_interval() -> None:
    rng, inside = np.random.default_rng(0), []
    for _ in range(300):
        predicted = rng.normal(size=60)
        truth = predicted + rng.standard_t(3, size=60)  # with heavy tails
        table = probe(list(truth[:40]), predicted[:40]).predict(predicted[40:, None])
        inside.append(((truth[40:] >= table["low"]) & (truth[40:] <= table["high"])).mean())
    assert LEVEL - 0.01 < np.mean(inside) < LEVEL + 0.04


def test_nine_of_ten_classes_are_possible() -> None:
    rng, classes = np.random.default_rng(0), ("control", "patient")
    found: dict[str, list[float]] = {name: [] for name in classes}
    for _ in range(300):
        patient = rng.random(100) < 0.3
        score = np.where(patient, 1.0, -1.0) + rng.normal(size=100)
        truth = np.where(patient, "patient", "control")
        table = probe(list(truth[:70]), score[:70], classes).predict(score[70:, None])
        for name in classes:
            of = truth[70:] == name
            found[name] += (
                table.loc[of, "possible"].str.split(" or ").map(lambda names, name=name: name in names).tolist()
            )
    for name in classes:
        assert LEVEL - 0.02 < np.mean(found[name]) < LEVEL + 0.06


def test_clear_scores_leave_one_class_and_odd_ones_none() -> None:
    score = np.concatenate([np.linspace(-3, -2, 20), np.linspace(2, 3, 20)])
    truth = ["control"] * 20 + ["patient"] * 20
    table = probe(truth, score, ("control", "patient")).predict(np.array([[-2.9], [0.0], [2.9]]))
    assert table["possible"].tolist() == ["control", "neither", "patient"]
    assert table["prediction"].tolist() == ["control", "control", "patient"]


@pytest.mark.parametrize(("held_out", "kind"), [(9, "training"), (10, "held-out")])
def test_percentiles_are_among_held_out_controls_where_there_are_enough(held_out: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    controls = Controls.of(rng.normal(size=(30, 2)), 3 * rng.normal(size=(held_out, 2)))
    assert controls.kind == kind
    assert len(controls.distances) == (held_out if kind == "held-out" else 30)
    assert f"the {len(controls.distances)} {kind} controls" in controls.in_words()
    assert ("pulled together" in controls.in_words()) == (kind == "training")
