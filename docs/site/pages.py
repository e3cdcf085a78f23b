"""A Sphinx extension: every built page is whole without a network, and readable by those who do not see it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx.util import logging

logger = logging.getLogger(__name__)


class _Page(HTMLParser):
    """Collects what is wrong with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.level = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        loaded = {"script": "src", "img": "src", "iframe": "src", "link": "href"}.get(tag)
        address = (loaded and given.get(loaded)) or ""
        if address.startswith(("http:", "https:", "//")) and given.get("rel") != "canonical":
            self.problems.append(f"loads {address} from the network")
        # A thumbnail stands above its title, which is text enough.
        if tag == "img" and not given.get("alt") and "_thumb." not in str(given.get("src")):
            self.problems.append(f"{given.get('src')} has no text for those who do not see it")
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            level = int(tag[1])
            if level > self.level + 1:
                self.problems.append(f"a heading of level {level} follows one of level {self.level}")
            self.level = level


def check(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*.html")):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        for problem in page.problems:
            logger.warning("%s: %s", path.relative_to(app.outdir), problem)


def setup(app: Any) -> dict[str, bool]:
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
