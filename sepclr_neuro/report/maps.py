"""Maps of what probes listen to: pictures, viewers and their tables."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from sepclr_neuro.config import Config
from sepclr_neuro.layout import Results
from sepclr_neuro.report import pictures
from sepclr_neuro.report.findings import method_title, target_label
from sepclr_neuro.report.shown import optional_table

__all__ = ["maps_of"]


def maps_of(config: Config, results: Results, problems: list[str]) -> dict[str, Any]:
    """Pictures of all maps and viewers of the first few: the space that should hold a target comes first."""
    found: dict[str, list[dict[str, Any]]] = {}
    viewers_left = config.report.viewers
    for target in config.saliency.targets:
        label = target_label(target, config.probes.targets)
        expected = config.probes.targets[target].expected_in
        other = "common" if expected == "salient" else "salient"
        for space in (expected, other, "single"):
            for method in config.methods:
                path = results.saliency(method) / f"{target}_{space}.nii.gz"
                if not path.is_file():
                    continue
                title = f"{method_title(method)}, {space} space"
                frame = pictures.viewer(path, f"{label}: {title}, interactive") if viewers_left > 0 else ""
                viewers_left -= bool(frame)
                picture = path.with_name(path.name.removesuffix(".nii.gz") + ".png")
                static = pictures.picture_file(picture, f"{label}: {title}, slices") if picture.is_file() else None
                found.setdefault(label, []).append(
                    {"title": title, "viewer": Markup(frame), "picture": static}  # noqa: S704 (built with escapes)
                )
        if label not in found:
            problems.append(f"{label}: no saliency map was found.")
    tables = []
    for method in config.methods:
        folder = results.saliency(method)
        tables.append(
            {
                "method": method_title(method),
                "name": method,
                "localisation": optional_table(folder / "localisation.tsv", ("target", "space")),
                "peaks": optional_table(folder / "peaks.tsv", ("target", "space", "sign")),
            }
        )
    return {"targets": found, "tables": tables}
