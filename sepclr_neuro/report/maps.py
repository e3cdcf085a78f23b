"""Maps of what probes listen to: pictures, viewers, and the tables that say how far they can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.maps.mapping import SALIENT_NORM
from sepclr_neuro.maps.saliency import ATTRIBUTIONS, TABLES
from sepclr_neuro.report.findings import method_title, target_label
from sepclr_neuro.report.pictures import Picture, picture_file, viewer
from sepclr_neuro.report.shown import optional_table

__all__ = ["maps_of"]

T_MAP = "Voxel-wise t-map"


def maps_of(config: Config, results: Results, problems: list[str]) -> dict[str, Any]:
    """Pictures of all maps by target, viewers of the first few, and the tables of all methods together.

    The space that should hold a target comes first; only maps of the first attribution method have viewers.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    asked = list(config.saliency.targets) if "probe" in config.saliency.of else []
    wanted = [(target, _spaces(config, target)) for target in asked]
    if "salient-norm" in config.saliency.of:
        wanted.append((SALIENT_NORM, ("salient",)))
    viewers, with_viewer, static = config.report.viewers, 0, 0
    for target, spaces in wanted:
        label = "Distance of the salient head from s'" if target == SALIENT_NORM else _label(config, target)
        shown = found.setdefault(label, [])
        for space in spaces:
            for method in config.methods:
                for number, attribution in enumerate(config.saliency.attributions):
                    path = results.saliency(method) / attribution / f"{target}_{space}.nii.gz"
                    if not path.is_file():
                        continue
                    title = f"{method_title(method)}, {space} space, {ATTRIBUTIONS[attribution]}"
                    frame = ""
                    if number == 0 and with_viewer < viewers:
                        frame = viewer(path, f"{label}: {title}, interactive")
                    with_viewer, static = with_viewer + bool(frame), static + (not frame)
                    picture = _picture(path, f"{label}: {title}, slices")
                    shown.append({"title": title, "viewer": Markup(frame), "picture": picture})  # noqa: S704 (escaped)
        if not shown:
            problems.append(f"{label}: no saliency map was found.")
            del found[label]
            continue
        t_map = _picture(results.vbm / f"{target}.nii.gz", f"{label}: {T_MAP}, slices")
        if t_map is not None:
            title = f"{T_MAP} of the training people, for comparison"
            shown.append({"title": title, "viewer": Markup(""), "picture": t_map})
    tables = {name: _of_all_methods(config, results, name) for name in TABLES}
    tables["localisation"] = _beside_the_t_map(config, results, tables["localisation"])
    return {"targets": found, "tables": tables, "with_viewer": with_viewer, "static": static}


def _label(config: Config, target: str) -> str:
    return target_label(target, config.probes.targets)


def _spaces(config: Config, target: str) -> tuple[str, ...]:
    expected = config.probes.targets[target].expected_in
    return (expected, "common" if expected == "salient" else "salient", "single")


def _picture(path: Path, alt: str) -> Picture | None:
    picture = path.with_name(path.name.removesuffix(".nii.gz") + ".png")
    return picture_file(picture, alt) if picture.is_file() else None


def _of_all_methods(config: Config, results: Results, name: str) -> pd.DataFrame | None:
    """A table of all methods, which the first column names; None where no method has rows."""
    tables = []
    for method in config.methods:
        table = optional_table(results.saliency(method) / f"{name}.tsv", ("target", "space"))
        if table is not None:
            table.insert(0, "method", method_title(method))
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else None


def _beside_the_t_map(config: Config, results: Results, table: pd.DataFrame | None) -> pd.DataFrame | None:
    """The table of localisation by target, with the t-map's row after those of the methods."""
    t_maps = optional_table(results.vbm / "localisation.tsv", ("target",))
    if t_maps is None or table is None:
        return table
    t_maps = t_maps.rename(columns={"n": "people"}).assign(method=T_MAP)
    both = pd.concat([table, t_maps[[name for name in t_maps if name in table]]], ignore_index=True)
    order = {target: place for place, target in enumerate(dict.fromkeys(table["target"]))}
    return both.sort_values("target", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)
