"""The page of maps: each choice is a file's viewer, nothing is fetched, a browser draws it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

from sepclr_neuro.core.storage import read_json, write_json
from sepclr_neuro.data.images import as_image
from sepclr_neuro.maps.mapping import save_image
from sepclr_neuro.report.maps_page import maps_page
from sepclr_neuro.report.pictures import view_of
from sepclr_neuro.report.reading import DescribedMap, Run, read_run
from tests.report.reported_run import GRID, METHOD, Page, a_config, hostile, write_run
from tests.report.test_browser import chromium

AFFINE = np.diag([6.0, 6.0, 6.0, 1.0])
AFFINE[:3, 3] = -3 * GRID


def run_with(folder: Path, better: str = "expected", **report: Any) -> Run:
    config = a_config(folder, report={"viewers": 0, "maps": 24} | report)
    return read_run(config, write_run(config, better=better))


def content_of(page: str) -> dict[str, Any]:
    """What the page's program reads."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_each_choice_is_the_viewer_of_its_file(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    page = maps_page(run)
    parsed = Page(page)
    assert [given["label"] for tag, given in parsed.tags if tag == "optgroup"] == ["Diagnosis"]
    words = " ".join(parsed.text.split())
    assert words.index("k-JEM · salient space · SmoothGrad") < words.index("k-JEM · common space · SmoothGrad")
    content = content_of(page)
    files = [dict(facts)["File"] for facts in content["facts"]]
    assert files == [f"saliency/{METHOD}/smoothgrad/diagnosis_{space}.nii.gz" for space in ("salient", "common")]
    images = {one.file: one.image for one in run.described}
    for file, numbers in zip(files, content["documents"], strict=True):
        document = "".join(content["pieces"][number] for number in numbers)
        assert document == view_of(images[file])[0]  # type: ignore[index]
    whole = sum(len("".join(content["pieces"][n] for n in numbers)) for numbers in content["documents"])
    assert len(page) < 0.8 * whole, "what viewers share is held once"


def test_maps_of_probes_at_chance_are_warned_of(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    object.__setattr__(run, "probes", run.probes.assign(q=np.where(run.probes["space"] == "salient", 0.01, 0.5)))
    warned = [("Beware" in dict(facts)) for facts in content_of(maps_page(run))["facts"]]
    assert warned == [False, True]


def test_nothing_is_fetched_and_names_are_text(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    about = run.described[0].about | {"Target": "diagnosis", "MethodTitle": hostile("method")}
    object.__setattr__(run, "described", [run.described[0]._replace(about=about)])
    page = maps_page(run)
    parsed = Page(page)
    assert all(reference.startswith("data:") for reference in parsed.fetched)
    assert "alert" in parsed.text
    assert "<img" not in page.split('id="content">')[0]
    content = content_of(page)
    document = "".join(content["pieces"][number] for number in content["documents"][0])
    assert not re.search(r'(src|href)="(https?:)?//', document)
    policy = next(
        given["content"] for tag, given in parsed.tags if given.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")


def test_its_size_is_bounded_and_what_is_left_out_is_listed(tmp_path: Path) -> None:
    run = run_with(tmp_path, maps=1)
    page = maps_page(run)
    assert len(content_of(page)["facts"]) == 1
    assert "diagnosis_common.nii.gz" in page.split("Not on this page")[1]
    zeros = DescribedMap("vbm/age.nii.gz", run.described[0].about, as_image(np.zeros((GRID,) * 3), AFFINE))
    object.__setattr__(run, "described", [zeros])
    assert "There is no map to show." in maps_page(run)


def test_a_browser_draws_the_chosen_map_without_an_error(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 0, "maps": 24})
    results = write_run(config)
    # The second choice is another map: below the first one's brain.
    path = results.saliency(METHOD) / "smoothgrad" / "diagnosis_common.nii.gz"
    values = np.zeros((GRID,) * 3, dtype=np.float32)
    values[16:24, 10:22, 10:22] = 1 + np.arange(12) / 12
    save_image(path, values, AFFINE)
    write_json(path.with_name("diagnosis_common.json"), read_json(path.with_name("diagnosis_common.json")))
    page = tmp_path / "maps.html"
    page.write_text(maps_page(read_run(config, results)), encoding="utf-8")
    shots = []
    for number in range(2):
        choice = f'<script>chosen.value = "{number}"; show();</script></body>'
        chosen = tmp_path / f"chosen-{number}.html"
        chosen.write_text(page.read_text(encoding="utf-8").replace("</body>", choice), encoding="utf-8")
        ran = chromium(chosen, tmp_path, f"--screenshot={tmp_path / f'{number}.png'}", "--window-size=1200,1200")
        said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
        assert not [line for line in said if "rror" in line or "Refused" in line], html.unescape("\n".join(said))
        shots.append(matplotlib.image.imread(tmp_path / f"{number}.png")[..., :3])
    coloured = [(np.ptp(shot, axis=2) > 0.3).sum() for shot in shots]
    assert min(coloured) > 200
    assert (np.abs(shots[0] - shots[1]) > 0.2).any(axis=2).sum() > 200
