"""What charts are drawn of."""

from __future__ import annotations

import gc
import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.probing.representations import Representations
from sepclr_neuro.report import embeddings, figures, pictures, predictions


def test_the_plane_is_that_of_the_training_people() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 3)) * [5, 1, 0.1], rng.normal(size=(10, 3)) * [0.1, 1, 9]
    side = np.repeat(["train", "test"], [40, 10])
    one = Representations([str(k) for k in range(50)], side, {"common": np.vstack([train, test])})
    points, shares = embeddings.plane(one, "common")
    values, vectors = np.linalg.eigh(np.cov(train.T))
    expected = (test - train.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum())


def test_a_space_of_one_dimension_or_without_variance_has_a_plane_too() -> None:
    side = np.repeat(["train", "test"], [4, 2])
    for values in (np.arange(6.0)[:, None], np.zeros((6, 3))):
        points, shares = embeddings.plane(Representations(list("abcdef"), side, {"single": values}), "single")
        assert points.shape == (2, 2)
        assert np.isfinite(points).all()
        assert np.isfinite(shares).all()


def test_the_interval_of_a_line_is_a_bootstrap_over_people() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    prediction = 0.5 * truth + rng.normal(size=60)
    people = np.repeat(np.arange(30), 2)
    at = np.array([-1.0, 2.0])
    line, low, high = predictions.line_with_interval(truth, prediction, people, at)
    np.testing.assert_allclose(line, np.polyval(np.polyfit(truth, prediction, 1), at))
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(people == person) for person in rng.integers(0, 30, 30)])
        drawn.append(np.polyval(np.polyfit(truth[rows], prediction[rows], 1), at))
    np.testing.assert_allclose([low, high], np.quantile(drawn, [0.025, 0.975], axis=0), atol=0.12)


def test_more_than_two_classes_are_a_table_of_shares() -> None:
    """Of 4 people of a, 3 were taken for a and 1 for c; nobody is b; both of c were taken for c."""
    truth, prediction = list("aaaacc"), list("aaaccc")
    scans = [f"sub-{number}" for number in range(6)]
    given = {"fold": 0, "target": "site", "space": "common", "scan_id": scans, "score": np.nan}
    table = pd.DataFrame(given | {"truth": truth, "prediction": prediction})
    cohort = pd.DataFrame({"participant_id": scans}, index=scans)
    site = {"site": ProbeTarget(kind="classification", expected_in="common")}
    drawn = predictions.predictions_figure(table, cohort, site, "a method").files["svg"].decode()
    texts = re.findall(r">([^<>]+)</text>", drawn)
    assert [text for text in texts if text in ("75", "25", "100", "0")] == ["75", "25", "0", "100"]
    assert [text for text in texts if text in "abc"] == ["a", "c", "a", "c"]


def test_bars_of_a_method_share_its_row_in_the_order_of_the_spaces() -> None:
    """Two spaces lie evenly above and below the middle of a row, the only one of another method on it."""
    results = pd.DataFrame(
        {"method": ["b", "a", "a"], "space": ["single", "salient", "common"], "metric": "mae", "mean": [1.0, 2.0, 3.0]}
    )
    bars = figures._bars(results, ["a", "b"], ["common", "salient", "single"]).set_index(["method", "space"])
    np.testing.assert_allclose(bars.loc[[("a", "common"), ("a", "salient")], "y"], [-0.18, 0.18])
    np.testing.assert_allclose(bars.loc["a", "height"], 0.36)
    assert bars.loc[("b", "single"), ["y", "height", "mean"]].tolist() == [1.0, 0.72, 1.0]


def test_the_collection_of_garbage_is_left_as_it_was() -> None:
    pictures.drawn(Figure, "nothing")
    assert gc.isenabled()
    gc.disable()
    try:
        pictures.drawn(Figure, "nothing")
        assert not gc.isenabled()
    finally:
        gc.enable()
