"""Whether results are still what was written, and still made from what is there: ``sepclr-neuro verify``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import code_sha256
from sepclr_neuro.core.storage import read_json, read_tsv, sha256
from sepclr_neuro.data.cache import VolumeCache

__all__ = ["Verification", "verify"]


@dataclass
class Verification:
    """Results of the comparison.

    Attributes:
        checked: files and rows of the array whose checksum was computed.
        damaged: what is not as it was written.
        stale: what was made from something that has changed since.
        notes: what changes nothing by itself.
    """

    checked: int = 0
    damaged: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of it, for a terminal."""
        lines = []
        for kind in ("notes", "stale", "damaged"):
            if found := getattr(self, kind):
                lines += [f"{kind}:", *(f"  - {line}" for line in found)]
        if not self.damaged and not self.stale:
            lines.append("all files are unchanged and made from the present inputs")
        return "\n".join([*lines, f"{self.checked} checksums compared"])


def verify(results: Results) -> Verification:
    """Compares every checksum that the stages left: of all files, of each row of the volumes, of each source volume.

    Raises:
        InputError: if no stage has left a receipt.
    """
    folder = results.receipt("x").parent
    receipts = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.json"))}
    if not receipts:
        raise InputError(f"{folder}: no receipts; is {results.root} a results folder, and has a stage run?")
    found = Verification()

    @cache
    def now(name: str) -> str | None:
        path = results.root / name
        found.checked += path.is_file()
        return sha256(path) if path.is_file() else None

    other_code = []
    for stage, path in receipts.items():
        try:
            content = read_json(path)
            written, read = dict(content["written"]), dict(content["read"])
            same_code = content["made_by"]["code_sha256"] == code_sha256()
        except (InputError, KeyError, TypeError, ValueError):
            found.damaged.append(f"{path}: is no receipt; run {stage} again")
            continue
        if not same_code:
            other_code.append(stage)
        for name, checksum in written.items():
            if now(name) is None:
                found.damaged.append(f"{name}: is missing; {stage} wrote it")
            elif now(name) != checksum:
                found.damaged.append(f"{name}: changed since {stage} wrote it")
        for name, checksum in read.items():
            if now(name) != checksum:
                what = "is gone" if now(name) is None else "has changed"
                found.stale.append(f"{stage}: was made from {name}, which {what} since")
    if other_code:
        found.notes.append(f"made by another state of the code: {', '.join(other_code)}")
    if results.index.is_file():
        _verify_volumes(results, found)
    return found


def _verify_volumes(results: Results, found: Verification) -> None:
    try:
        cache = VolumeCache(results)
    except InputError as error:
        found.damaged += error.problems
        return
    for row in range(len(cache.scan_ids)):
        found.checked += 1
        try:
            cache.read([row])
        except InputError as error:
            found.damaged += error.problems
    for scan in read_tsv(results.index, text=("scan_id", "sha256", "source")).itertuples():
        source = Path(str(scan.source))
        found.checked += source.is_file()
        if not source.is_file() or sha256(source) != scan.sha256:
            what = "has changed" if source.is_file() else "is gone"
            found.stale.append(f"volumes: was made from {source} of {scan.scan_id}, which {what} since")
