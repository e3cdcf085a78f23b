"""Patterns of volumes that fit participants, and the grid for them, by a few headers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.grid import final_affine, same_grid
from sepclr_neuro.data.matching import Row, files_of
from sepclr_neuro.data.patterns import ListedFolder, Pattern
from sepclr_neuro.data.proposing import FolderLook, Listing
from sepclr_neuro.data.volume_checks import volume_fault
from sepclr_neuro.data.volume_files import canonical_header
from sepclr_neuro.run.init.entries import Entry
from sepclr_neuro.run.init.layouts import LAYOUTS, UNKNOWN, Layout, layout_of

__all__ = ["Candidate", "grid_of", "patterns_of"]

_MOST_PATTERNS = 8  # of one kind: sessions, runs, folders
_MOST_HEADERS = 5
_SIDE_MM = 192  # around the brain
_FINEST_MM = 1.5
_FIRST_LOOK = (
    "For a quicker first look, an eighth of memory and disk at 1.5 mm (with `patch: 4` below):",
    "shape: [64, 64, 64]",
    "resample_mm: 3",
    "smoothing_mm: 3",
)


@dataclass(frozen=True)
class Candidate:
    """A pattern, its kind of volumes, and the file of each scan for which it finds just one, by the ids of the scan."""

    pattern: str
    layout: Layout
    files: dict[tuple[str, ...], str]


def patterns_of(root: Path, files: Sequence[str], rows: Sequence[Row], ids: Sequence[str]) -> list[Candidate]:
    """Patterns for the usable kinds of volumes, the most preferable kind first, then those that find most.

    Args:
        root: the folder that paths start from.
        files: volumes, from it on.
        rows: ids of all participants, one row a scan.
        ids: the columns that name a scan.
    """
    by_kind: dict[str, list[str]] = {}
    for path in files:
        layout = layout_of(path)
        if layout.usable:
            by_kind.setdefault(layout.name, []).append(path)
    found: list[Candidate] = []
    for layout in dict.fromkeys((*LAYOUTS, UNKNOWN)):
        remaining = by_kind.pop(layout.name, [])
        for _ in range(_MOST_PATTERNS if rows else 0):
            folder = ListedFolder(root, remaining)
            look = FolderLook(folder, Pattern(()), rows, ids, Listing(list(remaining), True, []))
            best = look.best(rows, 0) if remaining else None
            if best is None:
                break
            own = {tuple(value or "" for value in row.values()): files_of(0, row, folder, best)[0] for row in rows}
            single = {scan: min(matches) for scan, matches in own.items() if len(matches) == 1}
            taken = {path for matches in own.values() for path in matches}
            remaining = [path for path in remaining if path not in taken]
            found.append(Candidate(str(best), layout, single))
    return found


def grid_of(files: Sequence[Path]) -> tuple[dict[str, Entry], int, list[str]]:
    """The section `volumes`, the side of patches in voxels, and what is wrong with headers.

    Args:
        files: volumes, of which a few headers are read.
    """
    headers, problems = [], list[str]()
    for number in range(min(_MOST_HEADERS, len(files))):
        path = files[number * len(files) // min(_MOST_HEADERS, len(files))]
        try:
            # A voxel size to resample to, since rotated volumes need one.
            headers.append(canonical_header(path, Volumes(resample_mm=3)))
        except InputError as error:
            problems.append(volume_fault(path.name, path, str(error)))
    if not headers:
        why = "no header was read; 128 voxels a side are for volumes of 1.5 mm. 2 mm: 96; 3 mm: 64"
        return {"shape": Entry([128, 128, 128], why, True)}, 8, problems
    sizes = np.array([nibabel.affines.voxel_sizes(affine) for _, affine in headers])
    size = round(float(sizes.max()), 2)
    side = max(32, 16 * math.ceil(_SIDE_MM / size / 16 - 0.05))
    final = [final_affine(affine, Volumes(shape=(side, side, side))) for _, affine in headers]
    turned = any(np.abs(affine[:3, :3] - np.diag(np.diag(affine[:3, :3]))).max() > 1e-3 for _, affine in headers)
    alike = all(same_grid(final[0], other, (side, side, side)) for other in final)
    seen = f"voxels of {' x '.join(f'{edge:g}' for edge in sizes[0].round(3))} mm in {len(headers)} headers"
    if alike and not turned and size >= _FINEST_MM:
        why = f"{seen}; {side} of them are {side * size:g} mm, which holds the brain"
        first_look = _FIRST_LOOK if size < 3 else ()
        return {"shape": Entry([side] * 3, why, True, first_look)}, _patch(size), problems
    if not alike:
        seen += ", on different grids"
        problems.append(
            "the volumes differ in their grids: if they are in each participant's own space, normalise them to MNI "
            "space first"
        )
    goal = _FINEST_MM if alike and size < _FINEST_MM else 3.0
    side = int(_SIDE_MM / goal)
    why = f"{seen}{', rotated' if turned else ''}: resampled to {goal:g} mm, of which {side} are {_SIDE_MM} mm"
    return {"shape": Entry([side] * 3, why, True), "resample_mm": Entry(goal)}, _patch(goal), problems


def _patch(size: float) -> int:
    """The side of a patch in voxels: about 12 mm, or 8 mm."""
    return 8 if size < 2 else 4
