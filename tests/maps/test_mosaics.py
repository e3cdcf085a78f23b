"""Static pictures of maps: left on the left, slices apart, any text as it is, PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from matplotlib.image import imread

from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.maps import mosaics
from sepclr_neuro.maps.mosaics import mosaic

FINE = (32, 32, 32)
FINE_AFFINE = grid_affine(FINE, 6.0)


def test_a_picture_shows_the_map_left_on_the_left_and_any_text_as_it_is(tmp_path: Path) -> None:
    values = np.zeros(FINE)
    x, y, z = np.round(np.linalg.inv(FINE_AFFINE)[:3] @ [-36, -20, 5, 1]).astype(int)
    values[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 1.0
    path = tmp_path / "map.png"
    title = r"SIMULATED $\frac{$ <b> & 'c'"
    mosaic(as_image(values, FINE_AFFINE), path, title, "$x^$", "probe score per SD of grey matter")
    drawing = ElementTree.fromstring(path.with_suffix(".svg").read_bytes())  # noqa: S314 (made above)
    assert title in {text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")}
    pixels = imread(path)[..., :3]
    height, width, _ = pixels.shape
    assert pixels.std() > 0.1
    # The middle slice of the first row, z = 5 mm, between the title and the second row.
    column = 0.88 * width / len(mosaics.CUTS_MM["z"])
    middle = pixels[height // 8 : 2 * height // 5, int(3 * column) : int(4 * column)]
    red = middle[..., 0] - middle[..., 1] > 0.3
    assert red.sum() > 20
    assert np.argwhere(red)[:, 1].mean() < 0.45 * column


def test_brains_of_neighbouring_slices_do_not_touch(tmp_path: Path) -> None:
    mosaic(as_image(np.zeros(FINE), FINE_AFFINE), tmp_path / "map.png", "title", "NO MAP", "unit")
    pixels = imread(tmp_path / "map.png")[..., :3]
    height, width, _ = pixels.shape
    ink = pixels[height // 8 :].min(-1) < 0.97
    for cut in range(1, 7):
        edge = round(cut * 0.88 * width / 7)
        assert not ink[:, edge - 4 : edge + 4].any()


def test_a_picture_of_zeros_shows_the_brain_alone(tmp_path: Path) -> None:
    mosaic(as_image(np.zeros(FINE), FINE_AFFINE), tmp_path / "map.png", "title", "NO MAP", "unit")
    pixels = imread(tmp_path / "map.png")[..., :3]
    brain = pixels[:, : int(0.88 * pixels.shape[1])]
    assert brain.std() > 0.1
    assert np.abs(brain.max(-1) - brain.min(-1)).max() < 0.02, "grey"
    drawing = (tmp_path / "map.svg").read_text()
    # Letters stay letters, to be edited for a paper.
    assert "NO MAP" in drawing
    assert drawing.count("<image") == len(mosaics.CUTS_MM) + 1, "a row each, and the colour bar"
    assert drawing.count(">L<") == drawing.count(">R<") == 2, "a row of axial, a row of coronal slices"
