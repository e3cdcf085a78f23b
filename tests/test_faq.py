"""Each message that docs/faq.md quotes is one that the code can still say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAQ = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a file, with … for what is filled in."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in ast.walk(node) if part is not node}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def test_every_quoted_message_is_in_the_code() -> None:
    messages = [" ".join(quoted.split()) for quoted in re.findall(r"^``(.+?)``$", FAQ, re.MULTILINE | re.DOTALL)]
    assert len(messages) >= 25
    assert len(messages) == FAQ.count("\n### ") - 2, "all entries but the last two, which no message begins"
    files = sorted((ROOT / "sepclr_neuro").rglob("*.py"))
    said = [" ".join(text.split()) for path in files for text in texts(ast.parse(path.read_text(encoding="utf-8")))]
    assert [message for message in messages if not any(message in text for text in said)] == []
