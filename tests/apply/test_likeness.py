"""Statistics of volumes, and which are unlike those of training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sepclr_neuro.apply.likeness import STATISTICS, covers_mask, smoothness, statistics_of, summary, unlike
from sepclr_neuro.data.standardisation import Standardisation

SHAPE = (40, 44, 36)


def standardisation(mean: np.ndarray) -> Standardisation:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:-4, 4:-4, 4:-4] = True
    sd = torch.ones(SHAPE)
    return Standardisation(torch.from_numpy(np.where(mask, mean, 0).astype(np.float32)), sd, torch.from_numpy(mask), ())


@pytest.mark.parametrize("fwhm", [6.0, 9.0, 12.0])
def test_smoothness_of_smoothed_noise(fwhm: float) -> None:
    noise = np.random.default_rng(0).normal(size=SHAPE)
    field = gaussian_filter(noise, fwhm / np.sqrt(8 * np.log(2)) / np.array([1.5, 2.0, 2.0]))
    assert smoothness(field, np.ones(SHAPE, dtype=bool), (1.5, 2.0, 2.0)) == pytest.approx(fwhm, rel=0.06)


def test_noise_has_no_smoothness_and_nothing_has_none_either() -> None:
    mask = np.ones(SHAPE, dtype=bool)
    assert smoothness(np.random.default_rng(0).normal(size=SHAPE), mask, (2.0, 2.0, 2.0)) < 1.2
    assert smoothness(np.zeros(SHAPE), mask, (2.0, 2.0, 2.0)) == 0


def test_statistics_are_of_the_mask_alone() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.2, 0.8, SHAPE)
    volume = (mean + 0.1 * rng.normal(size=SHAPE)).astype(np.float32)
    of = standardisation(mean)
    inside = volume[of.mask.numpy()]
    found = statistics_of(volume, of, (2.0, 2.0, 2.0))
    volume[0] = 99
    assert statistics_of(volume, of, (2.0, 2.0, 2.0)) == found
    assert list(found) == list(STATISTICS)
    assert (found["mean"], found["highest"]) == (pytest.approx(inside.mean()), inside.max())
    assert found["similarity"] == pytest.approx(np.corrcoef(inside, mean[of.mask.numpy()])[0, 1], abs=1e-4)
    # With one mean for all voxels there is nothing to correlate with.
    assert np.isnan(statistics_of(volume, standardisation(np.full(SHAPE, 0.5)), (2.0, 2.0, 2.0))["similarity"])


def test_four_sds_are_unlike_and_unknown_statistics_never_are() -> None:
    rng = np.random.default_rng(0)
    training = pd.DataFrame(rng.normal(10, 1, (50, len(STATISTICS))), columns=list(STATISTICS)).assign(
        similarity=np.nan
    )
    known = summary(training)
    assert known["similarity"] == {"mean": None, "sd": None, "lowest": None, "highest": None}
    new = pd.DataFrame([dict.fromkeys(STATISTICS, 10.0) | {"mean": 16.0, "fwhm_mm": 4.0, "sd": 12.0}])
    odd = unlike(new, known)
    assert [name for name in STATISTICS if odd.loc[0, name]] == ["mean", "fwhm_mm"]
    # Training volumes that are all alike make no other one unlike by a hair.
    alike = {name: {"mean": 1.0, "sd": 0.0, "lowest": 1.0, "highest": 1.0} for name in STATISTICS}
    odd = unlike(pd.DataFrame([dict.fromkeys(STATISTICS, 1.03) | {"sd": 1.05}]), alike)
    assert [name for name in STATISTICS if odd.loc[0, name]] == ["sd"]


def test_half_of_the_mask_must_hold_grey_matter() -> None:
    known = {"covered": {"mean": 0.9}}
    assert [covers_mask(covered, known) for covered in (0.9, 0.46, 0.44)] == [True, True, False]
