"""A Sphinx extension: equations as MathML, which browsers draw by themselves: no script, no font, no network."""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _mathml(node: nodes.Element, display: str) -> str:
    latex = node.astext()
    try:
        made = str(convert(latex, display=display))
    except Exception as error:  # each mistake has a class of its own
        logger.warning("%r is no equation: %s", latex, type(error).__name__, location=node)
        return html.escape(latex)
    if "\\" in made:  # a command that it does not know is copied
        logger.warning("%r has a command that latex2mathml does not know", latex, location=node)
    return made


def inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math-block">{_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
