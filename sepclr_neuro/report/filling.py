"""From a template and its content to one page that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from nilearn.reporting import HTMLReport

from sepclr_neuro.core.words import counted
from sepclr_neuro.report.formatting import cell, numeric_columns, table_uri

__all__ = ["filled"]

_FOLDER = Path(__file__).parent


def filled(template: str, content: Mapping[str, Any], title: str) -> str:
    """A page whose body is a template of this folder; text from users is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": cell,
        "counted": counted,
        "numeric_columns": numeric_columns,
        "table_uri": table_uri,
    }
    body = environment.get_template(template).render(content)
    page = HTMLReport(
        environment.get_template("page.html"),
        Markup(body),  # noqa: S704 (rendered above with escaping on)
        {
            "title": title,
            "style": Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),  # noqa: S704 (the project's own)
        },
    )
    return str(page.get_standalone())
