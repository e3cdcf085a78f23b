"""Fills the report's template with what a run wrote: one page, no network, no participant's id."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.references import bibtex
from sepclr_neuro.core.storage import write_text
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.report.checklist import as_markdown, checklist
from sepclr_neuro.report.cohort import cohort_and_volumes
from sepclr_neuro.report.filling import filled
from sepclr_neuro.report.findings import ALPHA, target_label
from sepclr_neuro.report.map_texts import map_paragraphs, map_references
from sepclr_neuro.report.maps import maps_of
from sepclr_neuro.report.maps_page import maps_page
from sepclr_neuro.report.methods_text import method_paragraphs, software
from sepclr_neuro.report.patterns import patterns_of
from sepclr_neuro.report.pictures import Picture
from sepclr_neuro.report.reading import Run, read_run
from sepclr_neuro.report.records import Trained, trained_methods
from sepclr_neuro.report.references import CHECKLISTS, references_of
from sepclr_neuro.report.results import interpretation, results_of, training_curves
from sepclr_neuro.report.run_details import run_details
from sepclr_neuro.report.subtypes import subtypes_of

__all__ = ["write_report"]

logger = logging.getLogger(__name__)


def write_report(config: Config, results: Results) -> None:
    """Writes ``results.report``: everything about a run on one HTML page that opens without a network.

    The page's charts are written beside it as files, SVG and PNG, into ``results.figures``; into
    ``report/`` the page ``maps.html``, ``checklist.md`` and ``references.bib``.

    Text from users (title, sites, labels, paths) is escaped by the template and never reaches a viewer.

    Raises:
        InputError: if a stage that the report needs has not run; all missing files are named.
    """
    run = read_run(config, results)
    charts: dict[str, Picture] = {}
    with quick_images():
        content = content_of(run, charts)
    page = _filled(content)
    for name, picture in charts.items():
        picture.save(results.figures, name)
    write_text(results.maps_page, maps_page(run))
    write_text(results.checklist, as_markdown(content["checklist"], config.title))
    write_text(results.bibliography, bibtex([*content["references"], *CHECKLISTS]))
    write_text(results.report, page)
    logger.info(f"report: {results.report}: {len(page.encode()) / 1e6:.1f} MB; charts as files in {results.figures}")


def page_of(run: Run, charts: dict[str, Picture]) -> str:
    """The page of a run. Charts as in :func:`content_of`."""
    return _filled(content_of(run, charts))


def _filled(content: Mapping[str, Any]) -> str:
    return filled("body.html", content, f"{content['config'].title}: {content['banner'][0]}")


def content_of(run: Run, charts: dict[str, Picture]) -> dict[str, Any]:
    """What the page of a run shows; to the charts are added those that are to be files too."""
    config = run.config
    problems: list[str] = []
    banner = config.cohort.kind
    made = trained_methods(config, run.records, problems)
    content: dict[str, Any] = {
        "config": config,
        "banner": banner,
        "version": __version__,
        "alpha": ALPHA,
        "checksums": run.checksums,
        **run_details(config, made, run.seconds),
        **cohort_and_volumes(run, charts),
        "training": training_curves(run, problems, charts),
        "answer": interpretation(run),
        **results_of(run, problems, charts),
        "maps": maps_of(run, problems),
        "patterns": patterns_of(run),
        "subtypes": subtypes_of(run, charts),
        "checklist": checklist(run, made),
        "problems": problems,
    }
    content |= _methods(run, made, content["maps"])
    trouble = f"; {counted(len(problems), 'problem')}" if problems else ""
    logger.info(f"report: {len(charts)} charts; filling the page{trouble}")
    return content


def _methods(run: Run, made: Mapping[str, Trained], maps: Mapping[str, Any]) -> dict[str, Any]:
    """Contents of the methods text: a paragraph a method and what they share, from their models' records."""
    config = run.config
    compared = [
        "methods with each other" if len(config.methods) > 1 else "",
        "the common with the salient space" if "common" in set(run.probes["space"]) else "",
        f"{', '.join(config.probes.confounds)} with and without each space" if config.probes.confounds else "",
    ]
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
        "compared": [what for what in compared if what],
        "map_paragraphs": map_paragraphs(run),
        "references": references_of(
            config,
            made,
            map_references(run),
            compared=any(compared),
            mapped=bool(maps["targets"]),
            localised=maps["tables"]["localisation"] is not None,
        ),
        "software": software(made) or {"sepclr_neuro": __version__},
        "probe_labels": labels,
        "mapped": mapped,
        "attributed": [entry.in_words(config.saliency, noise_unit) for entry in attributions],
    }
