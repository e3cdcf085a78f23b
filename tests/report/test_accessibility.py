"""Every kind of page by axe in Chromium, light and dark, wide and 400 px narrow: no violation of any of its rules."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.report.cohort_page import cohort_page
from sepclr_neuro.report.maps_page import maps_page
from tests.report.test_browser import chromium
from tests.report.test_cohort_page import NONE, a_cohort
from tests.report.test_cohort_page import a_config as of_cohort
from tests.report.test_maps_page import run_with

DOCS = Path(__file__).resolve().parents[2] / "docs"
POLICY = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
AUDIT = """<script>addEventListener("load", async () => {
    const found = await axe.run(document, {resultTypes: ["violations"], iframes: false});
    const nodes = (rule) => rule.nodes.map((node) => node.target.join(" ") + ": " + node.failureSummary);
    parent.postMessage({width: innerWidth, background: getComputedStyle(document.body).backgroundColor,
        passed: found.passes.length, violations: found.violations.map((rule) => [rule.id, ...nodes(rule)])}, "*");
});</script></body>"""
# A frame can be narrower than any window of Chromium.
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark">
<script>addEventListener("message", (event) => { document.body.dataset.found = JSON.stringify(event.data); });</script>
<body><iframe src="audited.html" width="WIDTH" height="8000"></iframe></body>"""


def audited(page: Path, folder: Path, width: int, dark: bool) -> dict[str, Any]:
    """What axe finds in a page that is so many pixels wide."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    text = re.sub(POLICY, "", page.read_text(encoding="utf-8"))
    before, _, after = text.rpartition("</body>")
    copy = page.with_name("audited.html")  # beside it, where its style sheets are
    copy.write_text(f"{before}<script>{axe}</script>{AUDIT}{after}", encoding="utf-8")
    outer = page.with_name("outer.html")
    outer.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    dumped = chromium(outer, folder, "--dump-dom", *scheme).stdout
    found: dict[str, Any] = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dumped)[1]))  # type: ignore[index]
    return found


@pytest.fixture(scope="module")
def pages(plain: tuple[Config, Results, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in ("report", "cohort", "maps")}
    shutil.copy(plain[1].report, found["report"])  # other tests look at the folder that it is from
    found["cohort"].write_text(cohort_page(of_cohort(), NONE, *a_cohort({})), encoding="utf-8")
    found["maps"].write_text(maps_page(run_with(folder / "run")), encoding="utf-8")
    return found


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["report", "cohort", "maps"])
def test_pages_of_a_run(name: str, dark: bool, width: int, pages: dict[str, Path], tmp_path: Path) -> None:
    found = audited(pages[name], tmp_path, width, dark)
    assert (found["width"], found["background"]) == (width, "rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    assert found["passed"] > 15
    assert found["violations"] == []


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages of the documentation, of tables and of equations, by its settings and theme."""
    folder = tmp_path_factory.mktemp("documentation")
    (folder / "docs").mkdir()
    pages = "```{toctree}\n:caption: Pages\n:hidden:\n\ntheory\n```\n"
    (folder / "docs" / "index.md").write_text(
        (DOCS / "outputs.md").read_text(encoding="utf-8") + pages, encoding="utf-8"
    )
    shutil.copy(DOCS / "theory.md", folder / "docs")
    command = [sys.executable, "-m", "sphinx", "-Q", "-c", DOCS, "-D", "extensions=myst_parser,mathml", folder]
    subprocess.run([*command, folder / "site"], check=True)
    return folder / "site" / "docs"


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["index", "theory"])
def test_pages_of_the_documentation(name: str, dark: bool, width: int, documentation: Path, tmp_path: Path) -> None:
    found = audited(documentation / f"{name}.html", tmp_path, width, dark)
    assert found["width"] == width
    assert (found["background"] == "rgb(255, 255, 255)") != dark, "the theme is not that of the scheme"
    assert found["passed"] > 15
    assert found["violations"] == []


def test_a_violation_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    body = '<main><h1>A</h1><p style="color: #aaa">pale</p></main>'
    page.write_text(f'<html lang="en"><title>A</title><body>{body}</body></html>', encoding="utf-8")
    assert [rule for rule, *_ in audited(page, tmp_path, 400, dark=False)["violations"]] == ["color-contrast"]
