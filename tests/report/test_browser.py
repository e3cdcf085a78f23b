"""The page in a real browser, and on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest


def chromium(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs Chromium on a page with every host blocked; skips where it is absent."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--enable-logging=stderr", "--v=0", "--window-size=1200,9000", "--virtual-time-budget=10000"]
    return subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)


def found_in_browser(page: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What a browser makes of a page: a copy writes down where its pictures and viewers are."""
    # The page itself runs no script.
    probe = """<script>addEventListener("load", () => {
        const where = (element) => { const r = element.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; };
        document.body.dataset.found = JSON.stringify({
            viewers: [...document.querySelectorAll("iframe")].map(where),
            broken: [...document.images].filter((image) => !image.naturalWidth).length,
            width: document.documentElement.scrollWidth,
            window: innerWidth,
            background: getComputedStyle(document.body).backgroundColor,
            charts: [...document.images].filter((image) => image.src.includes("svg"))
                .map((image) => getComputedStyle(image).filter),
            filtered: [...document.images].filter((image) => getComputedStyle(image).filter != "none").length,
        });
    });</script></body>"""
    instrumented = folder / "probe.html"
    instrumented.write_text(page.read_text(encoding="utf-8").replace("</body>", probe, 1), encoding="utf-8")
    dumped = chromium(instrumented, folder, "--dump-dom", *options).stdout
    found: dict[str, Any] = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dumped).group(1)))  # type: ignore[union-attr]
    return found


def test_a_dark_page_has_dark_charts(hostile_page: Path, tmp_path: Path) -> None:
    light = found_in_browser(hostile_page, tmp_path)
    dark = found_in_browser(hostile_page, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert (light["background"], dark["background"]) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
    assert len(light["charts"]) == len(dark["charts"]) > 3
    assert set(light["charts"]) == {"none"}
    assert set(dark["charts"]) == {"invert(1) hue-rotate(180deg)"}
    assert dark["filtered"] == len(dark["charts"]), "brains stay as they are"


def test_a_phone_scrolls_the_page_in_one_direction(hostile_page: Path, tmp_path: Path) -> None:
    # Chromium has no narrower window than 500.
    found = found_in_browser(hostile_page, tmp_path, "--window-size=500,9000")
    assert found["window"] == 500
    assert found["width"] <= 500


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_paper_shows_what_is_folded_but_for_the_long(hostile_page: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "page.pdf"
    chromium(hostile_page, tmp_path, f"--print-to-pdf={pdf}")
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True).stdout
    text = " ".join(text.split())
    assert "Minutes of all jobs of a stage together." in text, "a folded table"
    assert "The whole configuration (not printed" in text
    assert "Clusters (not printed" in text
    assert "the strongest clusters" not in text
    assert "durations.tsv" not in text, "nobody clicks on paper"


def test_browser_draws_the_page_without_an_error(hostile_page: Path, tmp_path: Path) -> None:
    found = found_in_browser(hostile_page, tmp_path)
    assert found["broken"] == 0
    assert found["width"] <= 1200
    assert len(found["viewers"]) == 1

    shot = tmp_path / "page.png"
    ran = chromium(hostile_page, tmp_path, f"--screenshot={shot}")
    assert "CONSOLE" not in ran.stderr
    pixels = matplotlib.image.imread(shot)[..., :3]
    for x, y, width, height in found["viewers"]:
        inside = pixels[int(y) : int(y + height), int(x) : int(x + width)]
        assert inside.std() > 0.05
        # Red and blue of the map, not only a grey template.
        assert (np.ptp(inside, axis=2) > 0.3).mean() > 0.005
