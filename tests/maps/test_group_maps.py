"""Group maps: blocks keep their place, t is a textbook's, planted effects are found and chance is not, clusters."""

from __future__ import annotations

from collections.abc import Iterator

import nibabel
import numpy as np
import pandas as pd
import pytest
from nilearn.reporting import get_clusters_table
from scipy.stats import t as student

from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.maps import group_maps
from sepclr_neuro.maps.group_maps import CoarseGrid, GroupMap, cluster_table, group_map
from tests.oracles.linear_model import t_of_column

SHAPE = (16, 16, 16)
AFFINE = grid_affine(SHAPE, 3.0)
PEOPLE = 20


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with quick_images():
        yield


def a_grid(voxel_mm: float = 3.0) -> CoarseGrid:
    brain = np.zeros(SHAPE, dtype=bool)
    brain[2:14, 2:14, 2:14] = True
    return CoarseGrid.over(brain, AFFINE, voxel_mm)


def test_blocks_are_means_in_their_place() -> None:
    grid = a_grid(7.0)
    assert (grid.factor, grid.brain.shape) == (2, (8, 8, 8))
    values = np.random.default_rng(0).normal(size=SHAPE)
    back = grid.fill(grid.reduce(values))
    np.testing.assert_allclose(back[3, 4, 5], values[6:8, 8:10, 10:12].mean(), rtol=1e-5)
    assert back[0, 0, 0] == 0
    # The middle of a block of two voxels is between them.
    np.testing.assert_allclose(
        grid.affine[:3, :3] @ [3, 4, 5] + grid.affine[:3, 3], AFFINE[:3, :3] @ [6.5, 8.5, 10.5] + AFFINE[:3, 3]
    )
    assert a_grid(1.0).factor == 1, "never finer than the volumes"


def a_sample(effect: float) -> tuple[CoarseGrid, np.ndarray, pd.DataFrame, np.ndarray]:
    """Maps of 20 people, half of whom have an effect in a corner; nuisance tells of all of them."""
    rng = np.random.default_rng(1)
    grid = a_grid()
    group = np.repeat([0.0, 1.0], PEOPLE // 2)
    planted = np.zeros(SHAPE)
    planted[3:6, 3:6, 3:6] = effect
    age = rng.normal(size=PEOPLE)
    maps = rng.normal(size=(PEOPLE, int(grid.brain.sum()))) + np.outer(group, planted[grid.brain]) + age[:, None]
    return grid, maps.astype(np.float32), pd.DataFrame({"age": age - age.mean()}), group


@pytest.mark.parametrize("contrast", ["mean", "group"])
def test_the_t_is_a_textbooks(contrast: str) -> None:
    grid, maps, nuisance, group = a_sample(1.0)
    found = group_map(maps, grid, nuisance, group if contrast == "group" else None, 5, seed=0)
    assert found is not None
    design = np.column_stack([np.ones(PEOPLE), nuisance])
    if contrast == "group":
        design = np.column_stack([group, design])
    expected = t_of_column(maps[:, ::100].astype(float), design, 0)
    np.testing.assert_allclose(found.t[grid.brain][::100], expected, rtol=1e-3, atol=1e-4)
    assert (found.people, found.freedom) == (PEOPLE, PEOPLE - design.shape[1])
    assert found.t[0, 0, 0] == 0


def test_a_planted_difference_is_found_and_chance_is_not() -> None:
    for effect, least, most in ((4.0, 0.0, 0.05), (0.0, 0.1, 1.0)):
        grid, maps, nuisance, group = a_sample(effect)
        found = group_map(maps, grid, nuisance, group, 50, seed=0)
        assert found is not None
        assert least <= found.p_peak[grid.brain].min() <= most
        table = cluster_table(found, grid)
        if effect:
            first = table.iloc[0]
            place = AFFINE[:3, :3] @ [4, 4, 4] + AFFINE[:3, 3]
            assert np.abs(first[["x", "y", "z"]].to_numpy(float) - place).max() <= 3
            assert first["p_cluster"] < 0.05
            assert first["size_mm3"] >= 15 * 27


def test_too_few_people_or_one_group_have_no_map() -> None:
    grid, maps, nuisance, group = a_sample(0.0)
    assert group_map(maps[:3], grid, nuisance[:3], None, 5, seed=0) is None
    assert group_map(maps, grid, nuisance, 0 * group, 5, seed=0) is None


def test_where_all_maps_are_alike_there_is_no_t() -> None:
    grid, maps, nuisance, group = a_sample(1.0)
    alike = np.outer(1 + 0.3 * nuisance["age"], maps[0])
    assert group_map(alike, grid, nuisance, None, 5, seed=0) is None
    alike[:, 7] = maps[:, 7]
    found = group_map(alike, grid, nuisance, group, 5, seed=0)
    assert found is not None
    assert np.flatnonzero(found.t[grid.brain]).tolist() == [7]


def test_clusters_are_nilearns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_maps, "LISTED", 100)
    rng = np.random.default_rng(3)
    grid = a_grid()
    t = np.where(grid.brain, rng.standard_t(18, size=SHAPE), 0)
    t[3:6, 3:6, 3:6] += 6
    t[9:12, 9:12, 9:12] -= 5
    found = GroupMap(t, np.full(SHAPE, 0.5), np.full(SHAPE, 0.25), PEOPLE, 18)
    ours = cluster_table(found, grid)
    theirs = get_clusters_table(
        nibabel.Nifti1Image(t, AFFINE),
        stat_threshold=student.ppf(1 - group_maps.FORMING_P / 2, 18),
        cluster_threshold=int(group_maps.LEAST_CLUSTER_MM3 // 27),
        two_sided=True,
    )
    theirs = theirs[theirs["Cluster ID"].astype(str).str.isdecimal()]
    assert len(ours) >= 2
    for column, name in (
        ("x", "X"),
        ("y", "Y"),
        ("z", "Z"),
        ("peak_t", "Peak Stat"),
        ("size_mm3", "Cluster Size (mm3)"),
    ):
        np.testing.assert_allclose(ours[column].astype(float), theirs[name].astype(float), rtol=1e-5)
    assert set(ours["p_peak"]) == {0.5}
    assert ours["clusters"].tolist() == ours["sign"].map(ours["sign"].value_counts()).tolist()
    monkeypatch.setattr(group_maps, "LISTED", 1)
    assert cluster_table(found, grid)["sign"].tolist() == ["positive", "negative"]
