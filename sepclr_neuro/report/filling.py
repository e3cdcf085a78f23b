"""From a template and its content to one page that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from nilearn.reporting import HTMLReport

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.words import counted
from sepclr_neuro.report.formatting import cell, numeric_columns, table_uri

__all__ = ["banner_of", "filled"]

_FOLDER = Path(__file__).parent
_BANNERS = {
    "simulated": (
        "SIMULATED cohort",
        "Its participants do not exist. Volumes and labels were made from a template with known effects: "
        "nothing on this page says anything about {disorder}.",
    ),
    "implanted": (
        "IMPLANTED effect",
        "The volumes are real, the patients are not: a known pattern was put into participants drawn at random. "
        "Nothing on this page says anything about {disorder}.",
    ),
    "files": ("Real cohort", "Participants and volumes come from the tables named in the configuration."),
}


def banner_of(config: Config) -> list[str]:
    """What stands above a page: what kind of cohort it is, in two and in many words."""
    return [text.format(disorder=config.cohort.disorder) for text in _BANNERS[config.cohort.source]]


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
