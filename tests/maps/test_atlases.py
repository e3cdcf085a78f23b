"""Atlases: one message for all that is wrong, the nearest voxel's number, cubes apart at the midline, region tables."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.saliency import Atlas as AtlasSettings
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.maps.atlases import Atlas, cubes, load_atlas, read_atlas, region_table

SHAPE = (16, 16, 16)
AFFINE = grid_affine(SHAPE, 12.0)
BRAIN = np.ones(SHAPE, dtype=bool)


def atlas_files(folder: Path, values: np.ndarray, affine: np.ndarray, labels: str) -> AtlasSettings:
    image, table = folder / "atlas.nii.gz", folder / "labels.tsv"
    nibabel.save(nibabel.Nifti1Image(values, affine), image)
    table.write_text(labels)
    return AtlasSettings(image=image, labels=table)


def halves(shape: tuple[int, int, int]) -> np.ndarray:
    """1 in the left and 5 in the right half."""
    values = np.ones(shape, dtype=np.int16)
    values[shape[0] // 2 :] = 5
    return values


@pytest.mark.parametrize("labels", ["index\tname\n1\tleft\n5\tright\n9\tnowhere\n", "name,index\nleft,1\nright,5\n"])
def test_an_atlas_of_another_grid_and_orientation_comes_to_the_volumes(tmp_path: Path, labels: str) -> None:
    shape = (64, 64, 64)
    affine = grid_affine(shape, 3.0)
    # Stored from right to left.
    flipped = affine @ np.array([[-1, 0, 0, 63], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    settings = atlas_files(tmp_path, halves(shape)[::-1], flipped, labels)
    brain = BRAIN.copy()
    brain[:3] = False
    atlas = load_atlas(settings, brain, AFFINE)
    assert atlas.names == {1: "left", 5: "right"}
    assert atlas.regions.shape == SHAPE
    assert not atlas.regions[:3].any(), "outside the brain"
    assert (atlas.regions[3:7] == 1).all()
    assert (atlas.regions[9:15] == 5).all()


@pytest.mark.parametrize(
    ("name", "regions"), [("aal", 120), ("aicha", 384), ("desikan_killiany", 112), ("destrieux", 192)]
)
def test_atlases_by_name_are_there_and_know_left_from_right(name: str, regions: int) -> None:
    """Every number of the image has a name, and regions that are called left or right lie there."""
    settings = parse_config({"saliency": {"atlas": name}}).saliency.atlas
    assert settings is not None
    shape = (64, 64, 64)
    affine = grid_affine(shape, 3.0)
    atlas = load_atlas(settings, np.ones(shape, dtype=bool), affine)
    assert len(atlas.names) == regions
    x = np.indices(shape)[0] * affine[0, 0] + affine[0, 3]
    told = 0
    for number, region in atlas.names.items():
        place = x[atlas.regions == number]
        left, right = (re.search(pattern, region) for pattern in ("^Left|lh|[-_]L$", "^Right|rh|[-_]R$"))
        if place.size and (left or right):
            told += 1
            assert (np.median(place) < 0) == bool(left), region
    assert told > 60


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    settings = atlas_files(tmp_path, halves(SHAPE) + 0.5, AFFINE, "index\tname\n1\tleft\n1\tagain\nx\ty\n")
    with pytest.raises(InputError) as caught:
        read_atlas(settings)
    said = caught.value.problems
    assert [part in message for part, message in zip(("row 3", "row 4", "no atlas"), said, strict=True)] == [True] * 3
    assert "the index 1 was given to 'left'" in said[0]
    assert "'x' is not a whole number" in said[1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("index\tname\n1\tleft\n", r"has no name for 1 of the 2 numbers in .*atlas\.nii\.gz \(5\)"),
        ("number\tname\n1\tleft\n", "has no column index; found number, name"),
    ],
)
def test_numbers_without_a_name_are_an_error(tmp_path: Path, labels: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_atlas(atlas_files(tmp_path, halves(SHAPE), AFFINE, labels))


def test_files_that_are_none_are_errors(tmp_path: Path) -> None:
    (tmp_path / "image.nii.gz").write_text("no image")
    settings = AtlasSettings(image=tmp_path / "image.nii.gz", labels=tmp_path / "absent.tsv")
    with pytest.raises(InputError) as caught:
        read_atlas(settings)
    assert [
        path.name in said for path, said in zip((settings.labels, settings.image), caught.value.problems, strict=True)
    ]
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4, 2)), AFFINE), settings.image)
    settings.labels.write_text("index\tname\n1\tall\n")
    with pytest.raises(InputError, match="has 4 axes; expected 3"):
        read_atlas(settings)


def test_an_atlas_of_another_place_is_refused(tmp_path: Path) -> None:
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] += 170
    settings = atlas_files(tmp_path, halves(SHAPE), elsewhere, "index\tname\n1\tleft\n5\tright\n")
    with pytest.raises(InputError, match=r"covers 0\.\d % of the brain"):
        load_atlas(settings, BRAIN, AFFINE)


def test_cubes_cover_the_brain_and_keep_to_one_side() -> None:
    brain = BRAIN.copy()
    brain[:4] = False
    atlas = cubes(36.0, brain, AFFINE)
    assert ((atlas.regions > 0) == brain).all()
    x = AFFINE[0, 3] + AFFINE[0, 0] * np.arange(16)
    for number in atlas.names:
        inside = np.argwhere(atlas.regions == number)
        assert (np.ptp(inside, axis=0) < 3).all()
        assert len(set(np.sign(np.floor(x[inside[:, 0]] / 36) + 0.5))) == 1
    # 18 mm is the middle of the first cube right of, in front of and above the origin.
    voxel = tuple(np.round((18 - AFFINE[:3, 3]) / 12).astype(int))
    assert atlas.names[int(atlas.regions[voxel])] == "cube at 18, 18, 18"


def test_a_region_table_by_hand() -> None:
    regions = np.zeros(SHAPE, dtype=np.int32)
    regions[2, 3, 4:6], regions[8, 8, 8] = 1, 2
    values = np.zeros(SHAPE)
    values[2, 3, 4], values[2, 3, 5], values[8, 8, 8], values[0, 0, 0] = 1.0, -3.0, 12.0, 99.0
    table = region_table(values, Atlas(regions, {1: "small", 2: "large"}), AFFINE)
    assert table["region"].tolist() == ["large", "small"]
    small = table.iloc[1]
    assert (small["voxels"], small["mean"], small["peak"], small["mass_percent"]) == (2, -1.0, -3.0, 25.0)
    np.testing.assert_allclose(small[["x", "y", "z"]].astype(float), AFFINE[:3, :3] @ [2, 3, 5] + AFFINE[:3, 3])
    assert region_table(0 * values, Atlas(regions, {1: "small", 2: "large"}), AFFINE)["mass_percent"].isna().all()
