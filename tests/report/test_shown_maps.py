"""Maps on the page."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nilearn import plotting
from PIL import Image

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.data.images import as_image
from sepclr_neuro.report import pictures
from sepclr_neuro.report.run_details import left_out
from tests.report.reported_run import GRID, METHOD, Page, a_config, page_of, write_run


def pixels_in(text: str) -> list[np.ndarray]:
    """All pictures of a text, each [height, width, 4]."""
    found = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA")) for content in found]


def test_a_map_on_the_page_looks_as_its_file_does(plain: tuple[Config, Results, str]) -> None:
    _, results, text = plain
    given = [given["src"] for tag, given in Page(text).tags if given.get("alt", "").endswith("SmoothGrad, slices")]
    assert len(given) == 2
    assert all(source.startswith("data:image/webp;") for source in given)
    file = np.asarray(Image.open(results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.png").convert("RGBA"))
    assert np.abs(pixels_in(given[0])[0].astype(float) - file).mean() < 2


def test_a_viewer_has_the_pixels_that_nilearn_made(
    plain: tuple[Config, Results, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    view_img = plotting.view_img

    def kept(*arguments: Any, **named: Any) -> Any:
        view = view_img(*arguments, **named)
        made.append(view.html)
        return view

    monkeypatch.setattr(plotting, "view_img", kept)
    image = nibabel.nifti1.load(plain[1].saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz")
    frame = html.unescape(pictures.viewer(image, "x"))
    assert "image/png" not in frame
    assert len(frame) < len(made[0])
    for shown, as_made in zip(pixels_in(frame), pixels_in(made[0]), strict=True):
        np.testing.assert_array_equal(shown, as_made)


@pytest.mark.usefixtures("undrawn")
def test_viewers_are_limited_and_pictures_stay(plain: tuple[Config, Results, str], tmp_path: Path) -> None:
    pages = {1: Page(plain[2])}
    for most in (0, 6):
        config = a_config(tmp_path / str(most), report={"viewers": most})
        pages[most] = Page(page_of(config, write_run(config)))
    for most, page in pages.items():
        assert page.count("iframe") == len(page.frames) == min(most, 2)
        pictures = [
            given["alt"] for tag, given in page.tags if tag == "img" and given["alt"].endswith("SmoothGrad, slices")
        ]
        assert len(pictures) == 2


@pytest.mark.usefixtures("undrawn")
def test_an_empty_map_has_no_viewer(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 1})
    results = write_run(config)
    path = results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz"
    as_image(np.zeros((GRID,) * 3, dtype=np.float32), np.diag([6.0, 6, 6, 1])).to_filename(path)
    page = Page(page_of(config, results))
    assert [given["title"] for tag, given in page.tags if tag == "iframe"] == [
        "Diagnosis: SepCLR, k-JEM, common space, SmoothGrad, interactive"
    ]


@pytest.mark.usefixtures("undrawn")
def test_maps_stand_beside_the_t_map_and_what_speaks_against_them(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 1})
    page = Page(page_of(config, write_run(config)))
    words = " ".join(page.text.split())
    truth = words.split("Localisation of the known effect")[1]
    assert "SepCLR, k-JEM smoothgrad diagnosis salient 0.31 0.1 3.1 6" in truth
    assert "Voxel-wise t-map n/a diagnosis n/a 0.31 0.1 4.4 6" in truth
    assert "group negative -5.55 Insula" in words.split("Clusters")[1]
    assert "weights 3 encoder.0 0.0123" in words.split("Sanity checks")[2]
    assert "1 map with a viewer, 1 picture without" in words
    assert any(given.get("alt") == "Diagnosis: Voxel-wise t-map, slices" for _, given in page.tags)


@pytest.mark.usefixtures("undrawn")
def test_further_attribution_methods_are_shown_named_and_cited(tmp_path: Path) -> None:
    attributions = ["smoothgrad", "occlusion", "integrated-gradients"]
    saliency = {"targets": ["diagnosis"], "attributions": attributions, "of": ["probe", "salient-norm"]}
    config = a_config(tmp_path, report={"viewers": 6}, saliency=saliency)
    results = write_run(config)
    for attribution in attributions[1:]:
        shutil.copytree(results.saliency(METHOD) / "smoothgrad", results.saliency(METHOD) / attribution)
    shutil.copy(
        results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz",
        results.saliency(METHOD) / "smoothgrad" / "salient-norm_salient.nii.gz",
    )
    page = Page(page_of(config, results))
    assert page.count("iframe") == 3, "of the first attribution method alone"
    words = " ".join(page.text.split())
    assert "SepCLR, k-JEM, salient space, Occlusion by region" in words
    assert "Distance of the salient head from s'" in words
    assert "Occlusion replaced cubes of 24 mm by the mean of the training controls" in words
    assert "Sundararajan M" in words
    said = left_out(config, {})
    assert not any("Maps not made" in line or "saliency.of" in line for line in said)
