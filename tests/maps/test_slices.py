"""Slices are where they say, left on the left; sites have a mean and a few scans."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.maps.slices import EXAMPLES, MIDDLE_MM, SiteSlices, middle_slices

SHAPE = (64, 64, 64)
AFFINE = grid_affine(SHAPE, 3.0)


def spot(x: float, y: float, z: float) -> NDArray[np.float32]:
    """A volume with a cube of 9 mm about a place in mm."""
    data = np.zeros(SHAPE, np.float32)
    place = np.rint(np.linalg.inv(AFFINE) @ [x, y, z, 1])[:3].astype(int)
    data[tuple(slice(each - 1, each + 2) for each in place)] = 1
    return data


@pytest.mark.parametrize(
    ("place", "view", "left", "high"),
    [
        ((-45, 45, MIDDLE_MM["z"]), 0, True, True),
        ((45, -75, MIDDLE_MM["z"]), 0, False, False),
        ((-45, MIDDLE_MM["y"], 60), 1, True, True),
        ((MIDDLE_MM["x"], -75, -45), 2, True, False),
    ],
)
def test_each_view_lies_as_said(place: tuple[float, float, float], view: int, left: bool, high: bool) -> None:
    slices = middle_slices(spot(*place), AFFINE)
    assert slices.shape == (95, 285)
    rows, columns = np.nonzero(slices)
    assert set(columns // 95) == {view}
    assert (columns.mean() % 95 < 47) == left
    assert (rows.mean() < 47) == high


def test_a_site_has_the_mean_of_all_and_a_few_scans() -> None:
    scan_ids = [f"sub-{number}" for number in range(9)]
    cohort = pd.DataFrame({"scan_id": scan_ids, "site": ["prague"] * 7 + [np.nan] * 2})
    sites = SiteSlices(cohort)
    for number, scan_id in enumerate(scan_ids):
        sites.add(scan_id, np.full(SHAPE, number, np.float32), AFFINE)
    means = sites.means()
    assert {site: (float(mean.max()), sites.counts[site]) for site, mean in means.items()} == {
        "prague": (3.0, 7),
        "n/a": (7.5, 2),
    }
    assert EXAMPLES == 3
    assert {site: list(shown) for site, shown in sites.examples.items()} == {
        "prague": ["sub-0", "sub-3", "sub-6"],
        "n/a": ["sub-7", "sub-8"],
    }
