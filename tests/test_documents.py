"""Links in the documents lead somewhere: relative ones to a file that exists, with an anchor to one of its headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [path for folder in (".", "config", "docs/**") for path in sorted(ROOT.glob(f"{folder}/*.md"))]


def prose(document: Path) -> str:
    """The text without its blocks of code, whose brackets are no links."""
    return re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them; the second heading of one text ends in -1."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+?) *$", prose(document), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {name if k == 0 else f"{name}-{k}" for name, last in found.items() for k in range(last + 1)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        known = target.exists() and (not anchor or (target.suffix == ".md" and anchor in anchors(target)))
        if not known or not target.is_relative_to(ROOT):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_picture_has_a_text(document: Path) -> None:
    assert "![](" not in prose(document)


def test_the_site_has_every_page() -> None:
    """Those that stand apart are linked, the others are in its table of contents."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [path for path in DOCUMENTS if path.parent.name != "notebook" and path.stem != "index"]
    missing = [path for path in pages if not re.search(rf"^(.*<)?(\.\./)?([\w]+/)?{path.stem}>?$", index, re.MULTILINE)]
    assert [path.stem for path in missing] == ["tried_and_failed"]
    assert "(notebook/README.md)" in index
    assert "(tried_and_failed.md)" in index
