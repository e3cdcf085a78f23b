"""Maps of the probes' decisions: pictures, viewers, and tables of checks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from markupsafe import Markup
from nibabel.nifti1 import Nifti1Image

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.core.words import counted
from sepclr_neuro.maps.mapping import SALIENT_NORM
from sepclr_neuro.maps.saliency import TABLES
from sepclr_neuro.report.findings import figures_in_words, is_better_than_chance, method_title, target_label
from sepclr_neuro.report.pictures import Picture, smaller, viewer
from sepclr_neuro.report.reading import Run
from sepclr_neuro.report.summary import clearest, leading_target

__all__ = ["maps_of"]

logger = logging.getLogger(__name__)

T_MAP = "Voxel-wise t-map"


@dataclass
class ShownMap:
    """One map with what is known of the probe that it is of.

    Attributes:
        first: of the first attribution method, which alone has viewers.
        probe: the probe's row in the table; None where a map is of no probe.
    """

    method: str
    target: str
    space: str
    title: str
    image: Nifti1Image
    picture: Picture | None
    first: bool
    probe: pd.Series | None
    viewer: Markup = field(default_factory=Markup)

    @property
    def at_chance(self) -> bool:
        """Whether the probe is not better than chance by q, so that the map may show noise."""
        return self.probe is not None and not is_better_than_chance(self.probe)

    @property
    def said(self) -> str:
        """The probe's figure in words; empty where a map is of no probe."""
        return "" if self.probe is None else figures_in_words(self.probe)


@dataclass(frozen=True)
class MapsOfTarget:
    """The maps of a target: those of probes that are better than chance by q, the others, and the t-map beside them."""

    shown: list[ShownMap]
    at_chance: list[ShownMap]
    t_map: Picture | None


def maps_of(run: Run, problems: list[str]) -> dict[str, Any]:
    """Pictures of all maps by target, viewers of the first few, and the tables of all methods together.

    The space that should predict a target comes first. Maps of probes that are not better than chance by q are apart,
    to be folded away, and have no viewer; nor have those of further attribution methods than the first.

    Returns:
        ``targets`` with the maps of each; ``answer``, the map of the main result, None if there is none;
        ``tables``; how many maps have a viewer and how many are pictures alone.
    """
    config = run.config
    wanted = [(target, _spaces(config, target)) for target in config.saliency.targets]
    wanted = wanted if "probe" in config.saliency.of else []
    if "salient-norm" in config.saliency.of:
        wanted.append((SALIENT_NORM, ("salient",)))
    found: dict[str, MapsOfTarget] = {}
    with_viewer, static = 0, 0
    for target, spaces in wanted:
        label = "Distance of the salient head from s'" if target == SALIENT_NORM else _label(config, target)
        maps = [one for space in spaces for one in _maps(run, target, label, space)]
        logger.info(f"report: {counted(len(maps), 'map')} of {label}")
        if not maps:
            problems.append(f"{label}: no saliency map was found.")
            continue
        for one in maps:
            if one.first and not one.at_chance and with_viewer < config.report.viewers:
                one.viewer = Markup(viewer(one.image, f"{label}: {one.title}, interactive"))  # noqa: S704 (escaped)
            with_viewer, static = with_viewer + bool(one.viewer), static + (not one.viewer)
        found[label] = MapsOfTarget(
            shown=[one for one in maps if not one.at_chance],
            at_chance=[one for one in maps if one.at_chance],
            t_map=_picture(run.t_maps.get(target), f"{label}: {T_MAP}, slices"),
        )
    tables = {name: _of_all_methods(run, name) for name in TABLES}
    tables["localisation"] = _beside_the_t_map(run.tables.get("t_localisation"), tables["localisation"])
    answer = _answer(config, run.figures, found)
    return {"targets": found, "answer": answer, "tables": tables, "with_viewer": with_viewer, "static": static}


def _maps(run: Run, target: str, label: str, space: str) -> list[ShownMap]:
    """The maps of one target in one space, by method and attribution."""
    maps, table = [], run.figures
    for method in run.config.methods:
        probes = table[(table["method"] == method) & (table["target"] == target) & (table["space"] == space)]
        probe = None if probes.empty else probes.iloc[0]
        for number, attribution in enumerate(run.config.saliency.attributions):
            if (method, attribution, target, space) in run.maps:
                image, png = run.maps[method, attribution, target, space]
                title = f"{method_title(method)}, {space} space, {ATTRIBUTIONS[attribution].title}"
                picture = _picture(png, f"{label}: {title}, slices")
                maps.append(ShownMap(method, target, space, title, image, picture, number == 0, probe))
    return maps


def _answer(config: Config, table: pd.DataFrame, found: Mapping[str, MapsOfTarget]) -> dict[str, Any] | None:
    """The map of the main result: of the space that should predict a target, of the probe with the lowest q."""
    targets = config.probes.targets
    lead = leading_target(table, targets)
    held = [name for name in config.saliency.targets if name in targets and targets[name].expected_in == "salient"]
    for target in sorted(held, key=lambda name: name != lead):
        row = clearest(table, target)
        if row is None or not is_better_than_chance(row):
            continue
        label = _label(config, target)
        for one in found[label].shown if label in found else ():
            if one.first and one.picture and (one.method, one.space) == (row["method"], row["space"]):
                alt = f"{label}: {one.title}: map of the main result"
                return {"label": label, "map": one, "picture": replace(one.picture, alt=alt)}
    return None


def _label(config: Config, target: str) -> str:
    return target_label(target, config.probes.targets)


def _spaces(config: Config, target: str) -> tuple[str, ...]:
    expected = config.probes.targets[target].expected_in
    return (expected, "common" if expected == "salient" else "salient", "single")


def _picture(png: bytes | None, alt: str) -> Picture | None:
    return None if png is None else smaller(png, alt)


def _of_all_methods(run: Run, name: str) -> pd.DataFrame | None:
    """A table of all methods, which the first column names; None where no method has rows."""
    tables = []
    for method in run.config.methods:
        table = run.method_tables.get((method, name))
        if table is not None:
            titles = pd.DataFrame({"method": method_title(method)}, index=table.index)
            tables.append(titles.join(table))
    return pd.concat(tables, ignore_index=True) if tables else None


def _beside_the_t_map(t_maps: pd.DataFrame | None, table: pd.DataFrame | None) -> pd.DataFrame | None:
    """The table of localisation by target, with the t-map's row after those of the methods."""
    if t_maps is None or table is None:
        return table
    t_maps = t_maps.rename(columns={"n": "people"}).assign(method=T_MAP)
    both = pd.concat([table, t_maps[[name for name in t_maps if name in table]]], ignore_index=True)
    order = {target: place for place, target in enumerate(dict.fromkeys(table["target"]))}
    return both.sort_values("target", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)
