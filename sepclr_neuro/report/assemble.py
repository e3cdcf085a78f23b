"""Gathers what a run wrote and fills the report's template with it: one page, no network, no participant's id."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from nilearn.reporting import HTMLReport

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_text
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.probing.questions import as_asked
from sepclr_neuro.probing.tables import headline
from sepclr_neuro.report.findings import ALPHA, target_label
from sepclr_neuro.report.maps import maps_of
from sepclr_neuro.report.methods_text import cited, method_paragraphs, software
from sepclr_neuro.report.patterns import patterns_of
from sepclr_neuro.report.people import who_and_volumes
from sepclr_neuro.report.ran import what_ran
from sepclr_neuro.report.records import Trained, read_records
from sepclr_neuro.report.results import what_it_means, what_was_found, what_was_trained
from sepclr_neuro.report.shown import Figures, cell, table_uri

__all__ = ["write_report"]

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_BANNERS = {
    "simulated": (
        "SIMULATED cohort",
        "Nobody in it exists. Volumes and labels were made from a template with known effects: "
        "nothing on this page says anything about {disorder}.",
    ),
    "implanted": (
        "IMPLANTED effect",
        "The volumes are real, the patients are not: a known pattern was put into people drawn at random. "
        "Nothing on this page says anything about {disorder}.",
    ),
    "files": ("Real cohort", "People and volumes come from the tables named in the configuration."),
}


def write_report(config: Config, results: Results) -> None:
    """Writes ``results.report``: everything about a run on one HTML page that opens without a network.

    The page's charts are written beside it as files, SVG and PNG, into ``results.figures``.

    Text from users (title, sites, labels, paths) is escaped by the template and never reaches a viewer.

    Raises:
        InputError: if a stage that the report needs has not run; all missing files are named.
    """
    needed = {
        results.cohort: "cohort",
        results.exclusions: "cohort",
        results.flow: "cohort",
        results.index: "volumes",
        results.scores: "probe",
        results.table(config.cohort.table_name, "tsv"): "tables",
    }
    missing = [
        f"{path}: not there; run `sepclr-neuro {stage}` first" for path, stage in needed.items() if not path.is_file()
    ]
    if missing:
        raise InputError(missing)

    with quick_images():
        page = _page(config, results)
    write_text(results.report, page)
    logger.info(f"report: {results.report}: {len(page.encode()) / 1e6:.1f} MB; charts as files in {results.figures}")


def _page(config: Config, results: Results) -> str:
    config = as_asked(config, load_cohort(results.cohort))
    problems: list[str] = []
    kept = Figures(results.figures)
    made = read_records(config, results, problems)
    table = headline(read_tsv(results.table(config.cohort.table_name, "tsv")))
    banner = [text.format(disorder=config.cohort.disorder) for text in _BANNERS[config.cohort.source]]
    content = {
        "config": config,
        "banner": banner,
        "version": __version__,
        "alpha": ALPHA,
        **what_ran(config, results, made),
        **who_and_volumes(config, results, kept),
        "training": what_was_trained(config, results, problems, kept),
        "answer": what_it_means(config, results, table),
        **what_was_found(config, results, table, problems, kept),
        "maps": maps_of(config, results, table, problems),
        "patterns": patterns_of(config, results),
        **_methods(config, made),
        "problems": problems,
    }
    trouble = f"; {counted(len(problems), 'problem')}" if problems else ""
    logger.info(f"report: {kept.count} charts; filling the page{trouble}")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "counted": counted, "table_uri": table_uri}
    body = environment.get_template("body.html").render(content)
    page = HTMLReport(
        environment.get_template("page.html"),
        Markup(body),  # noqa: S704 (rendered above with escaping on)
        {
            "title": f"{config.title}: {banner[0]}",
            "style": Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),  # noqa: S704 (the project's own)
        },
    )
    return str(page.get_standalone())


def _methods(config: Config, made: Mapping[str, Trained]) -> dict[str, Any]:
    """What the methods text needs: a paragraph a method and what they share, as their models' records have it."""
    labels = {
        kind: [
            target_label(name, config.probes.targets)
            for name, target in config.probes.targets.items()
            if target.of_classes == of_classes
        ]
        for kind, of_classes in (("classification", True), ("regression", False))
    }
    # In one order, whatever the user's: as ever.
    attributions = [ATTRIBUTIONS[name] for name in ATTRIBUTIONS if name in config.saliency.attributions]
    raw_units = config.standardisation.entry.raw_units
    noise_unit = "units of grey matter" if raw_units else "SD"
    mapped = [target_label(target, config.probes.targets) for target in config.saliency.targets]
    return {
        "method_paragraphs": method_paragraphs(made, raw_units),
        "cited": cited(made),
        "software": software(made) or {"sepclr_neuro": __version__},
        "probe_labels": labels,
        "mapped": mapped,
        "attributed": [entry.in_words(config.saliency, noise_unit) for entry in attributions],
        "attributions_cited": sorted(reference for entry in attributions for reference in entry.references),
    }
