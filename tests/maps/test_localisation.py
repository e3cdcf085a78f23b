"""What a map shows: shares by hand, peaks in mm, likeness against SciPy's plain formula."""

from __future__ import annotations

import numpy as np
import pytest

from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.maps import localisation as module
from sepclr_neuro.maps.localisation import find_peaks, localisation, peak_voxel, similarity

FINE = (32, 32, 32)
FINE_AFFINE = grid_affine(FINE, 6.0)


def test_localisation_by_hand() -> None:
    brain = np.array([[[1, 1, 1, 1, 1, 0]]], dtype=bool)
    region = np.array([[[1, 1, 0, 0, 0, 1]]], dtype=bool)
    values = np.array([[[-4.0, 2.0, 1.0, 0.0, 1.0, 0.0]]])
    assert localisation(values, region, brain) == {
        "relevance_share": 6 / 8,
        "volume_share": 2 / 5,
        "ratio": pytest.approx(0.75 / 0.4),
        "rank_share": 1.0,
        "peak_in_region": "yes",
    }
    assert localisation(values[..., ::-1], region, brain) == {
        "relevance_share": 1 / 4,
        "volume_share": 2 / 5,
        "ratio": pytest.approx(0.25 / 0.4),
        "rank_share": 0.5,
        "peak_in_region": "no",
    }
    flat = localisation(np.full((1, 1, 6), -3.0), region, brain)
    assert (flat["relevance_share"], flat["ratio"]) == (2 / 5, 1)
    empty = localisation(values, np.zeros_like(region), brain)
    assert (empty["volume_share"], np.isnan(empty["ratio"]), empty["peak_in_region"]) == (0, True, "no")
    nothing = localisation(np.zeros((1, 1, 6)), region, brain)
    assert (np.isnan(nothing["relevance_share"]), nothing["peak_in_region"]) == (True, "n/a")


def test_likeness_is_of_ranks_in_the_brain() -> None:
    brain = np.array([1, 1, 1, 1, 0], dtype=bool)
    one = np.array([-3.0, -1.0, 0.5, 2.0, 99.0])
    found = similarity(one, np.array([-30.0, 10.0, 5.0, 20.0, -99.0]), brain)
    # Ranks 1 2 3 4 and 1 3 2 4; of strengths 4 2 1 3 and 4 2 1 3.
    assert found == {"spearman": pytest.approx(0.8), "spearman_absolute": pytest.approx(1.0)}
    assert np.isnan(similarity(np.zeros(5), one, brain)["spearman"])


def test_the_peak_is_the_strongest_voxel_of_either_sign() -> None:
    assert peak_voxel(np.array([[[1.0, -5.0, 4.0]]])) == 1


def test_peaks_are_found_in_mm_with_their_sign() -> None:
    values = np.zeros(FINE)
    values[20, 10, 12] = 3.0
    values[21, 10, 12] = 2.0
    values[8, 20, 20] = 1.0
    values[5, 5, 5] = -2.5
    peaks = find_peaks(values, FINE_AFFINE)
    expected = [("positive", (20, 10, 12), 3.0), ("positive", (8, 20, 20), 1.0), ("negative", (5, 5, 5), -2.5)]
    assert peaks["sign"].tolist() == [sign for sign, _, _ in expected]
    assert peaks["value"].tolist() == [value for _, _, value in expected]
    np.testing.assert_allclose(
        peaks[["x", "y", "z"]], [FINE_AFFINE[:3, :3] @ voxel + FINE_AFFINE[:3, 3] for _, voxel, _ in expected]
    )


def test_peaks_are_few_and_apart() -> None:
    peaks = find_peaks(np.random.default_rng(0).normal(size=FINE), FINE_AFFINE)
    assert peaks["sign"].value_counts().to_dict() == {"positive": module.PEAKS, "negative": module.PEAKS}
    for _, side in peaks.groupby("sign"):
        assert side["value"].abs().is_monotonic_decreasing
        places = side[["x", "y", "z"]].to_numpy()
        distances = np.abs(places[:, None] - places[None]).max(-1)
        assert distances[~np.eye(len(places), dtype=bool)].min() > 12
