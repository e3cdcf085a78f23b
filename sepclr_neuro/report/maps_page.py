"""The page on which one map after the other can be looked at, report/maps.html: interactive, without a network."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.maps.mapping import SALIENT_NORM
from sepclr_neuro.report.filling import filled
from sepclr_neuro.report.findings import is_better_than_chance, target_label
from sepclr_neuro.report.formatting import cell
from sepclr_neuro.report.pictures import view_of
from sepclr_neuro.report.reading import DescribedMap, Run

__all__ = ["maps_page", "packed"]

logger = logging.getLogger(__name__)

_KINDS = ("truth", "t", "pattern", "attribution")
# Parts of a viewer that others may have too.
_SHARED = re.compile(r"(<script[^>]*>.{500,}?</script>|data:image/\w+;base64,[A-Za-z0-9+/=]{500,})", re.DOTALL)


@dataclass(frozen=True)
class _Shown:
    """A map of the page: its place in the list, what is said of it, and the document of its viewer."""

    group: str
    label: str
    facts: list[tuple[str, str]]
    document: str


def maps_page(run: Run) -> str:
    """The page of a run: a list to choose from by target, method and space, a viewer, and what the map is.

    At most ``report.maps`` maps are on it: the truth, t-maps and patterns first, then saliency in the order of the
    configuration, group maps last. The rest is listed by file. Maps without any value have no viewer and are left out.
    """
    config = run.config
    ordered = sorted(run.described, key=lambda one: _order(config, one))
    shown: list[_Shown] = []
    left_out: list[str] = []
    with quick_images():
        for one in ordered:
            view = view_of(one.image) if len(shown) < config.report.maps else None
            if view is None:
                left_out.append(one.file)
                continue
            document, limit = view
            shown.append(_Shown(_target(config, one), _label(one), _facts(run, one, limit), document))
            logger.info(f"report: maps.html: {one.file}, map {len(shown)} of at most {config.report.maps}")
    groups: dict[str, list[tuple[int, str]]] = {}
    for number, entry in enumerate(shown):
        groups.setdefault(entry.group, []).append((number, entry.label))
    content: dict[str, Any] = {
        "config": config,
        "banner": config.cohort.kind,
        "version": __version__,
        "groups": groups,
        "left_out": left_out,
        "content": _as_json({"facts": [entry.facts for entry in shown], **packed([entry.document for entry in shown])}),
    }
    return filled("maps_page.html", content, f"Maps: {config.title}: {content['banner'][0]}")


def packed(documents: Sequence[str]) -> dict[str, list[Any]]:
    """Documents as lists of pieces, each piece once: viewers share their programs and the brain below the map.

    >>> same = "<script>" + "x" * 600 + "</script>"
    >>> found = packed([f"a{same}b", f"c{same}d"])
    >>> len(found["pieces"]), ["".join(found["pieces"][n] for n in numbers) for numbers in found["documents"]][1][:10]
    (5, 'c<script>x')
    """
    pieces: dict[str, int] = {}
    numbers = [[pieces.setdefault(piece, len(pieces)) for piece in _SHARED.split(text)] for text in documents]
    return {"pieces": list(pieces), "documents": numbers}


def _as_json(content: Any) -> Markup:
    """JSON that no HTML around it can be mistaken for a tag in."""
    return Markup(json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704 (it holds no tag)


def _order(config: Config, one: DescribedMap) -> tuple[Any, ...]:
    about = one.about
    group_map = "Contrast" in about

    def place(name: str, names: Sequence[str]) -> int:
        return names.index(name) if name in names else len(names)

    return (
        group_map,
        place(about["StatisticType"], _KINDS) if not group_map else 0,
        place(about.get("Attribution", ""), config.saliency.attributions),
        place(about["Target"], config.saliency.targets),
        place(about.get("Method", ""), list(config.methods)),
        place(about.get("Space", ""), ("salient", "common", "single")),
        one.file,
    )


def _target(config: Config, one: DescribedMap) -> str:
    target = str(one.about["Target"])
    return "Distance from s'" if target == SALIENT_NORM else target_label(target, config.probes.targets)


def _label(one: DescribedMap) -> str:
    about = one.about
    if about["StatisticType"] == "truth":
        return "Truth: the effect that was put in"
    if "Method" not in about:
        return "Voxel-wise t-map"
    kind = about["Description"].partition(":")[0] if about["StatisticType"] == "pattern" else _attribution(about)
    tested = {"mean": "t of the mean", "group": "t of the difference between groups"}.get(about.get("Contrast", ""))
    parts = [about.get("MethodTitle", about["Method"]), f"{about['Space']} space", kind, tested]
    return " · ".join(part for part in parts if part)


def _attribution(about: dict[str, Any]) -> str:
    name = str(about.get("Attribution", ""))
    return str(ATTRIBUTIONS[name].title) if name in ATTRIBUTIONS else name


def _facts(run: Run, one: DescribedMap, limit: float) -> list[tuple[str, str]]:
    about, table = one.about, run.figures
    facts = [
        ("What it is", about["Description"]),
        ("Colours", f"the strongest tenth of the voxels; 1 on the bar is {limit:.3g} ({about['Units']})"),
        ("Participants", cell(about.get("Participants"))),
        ("Degrees of freedom", cell(about.get("DegreesOfFreedom"))),
        ("Correction", about["Correction"]),
        ("File", one.file),
    ]
    rows = table[
        (table["method"] == about.get("Method"))
        & (table["target"] == about["Target"])
        & (table["space"] == about.get("Space"))
    ]
    if about["StatisticType"] == "attribution" and len(rows) and not is_better_than_chance(rows.iloc[0]):
        facts.insert(1, ("Beware", "its probe is not shown to be better than chance: what the map shows may be noise"))
    return [(name, value) for name, value in facts if value != "n/a"]
