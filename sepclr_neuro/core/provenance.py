"""Provenance: a receipt of each stage, with the code, the versions and the machine, and checksums of all files.

A line of the log says when a stage ended, and how.

A receipt lists what its command really read and wrote, as `storage` recorded it; there is no second list of it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from hashlib import sha256 as hash_of
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sepclr_neuro import __version__
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import Record, append_line, recorded, sha256, write_json

__all__ = ["code_sha256", "file_name", "hardware", "made_by", "noted", "receipt", "versions"]

PACKAGES = (
    "torch",
    "lightning",
    "monai",
    "nibabel",
    "nilearn",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "safetensors",
)


@cache
def code_sha256() -> str:
    """The checksum of the project's own code, which differs between states of one version."""
    digest = hash_of()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def hardware() -> dict[str, Any]:
    """Processor and system; no name of a user or machine."""
    processor = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        models = [line.partition(":")[2].strip() for line in described.read_text().splitlines() if "model name" in line]
        processor = models[0] if models else processor
    return {"processor": processor, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}"}


@cache
def versions(*names: str) -> dict[str, str]:
    """The versions of packages; an optional one that is not installed is left out."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def made_by() -> dict[str, Any]:
    """Code, versions and machine."""
    return {
        "sepclr_neuro": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "versions": dict(versions(*PACKAGES)),
        "hardware": hardware(),
    }


def file_name(path: Path, results: Results) -> str:
    """How receipts call a file: from the results folder on, or its whole path if it is elsewhere."""
    path, root = path.resolve(), results.root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@contextmanager
def receipt(results: Results, *names: str) -> Iterator[Record]:
    """Writes ``receipts/<names>.json`` once its stage has succeeded.

    Left out are checkpoints, which live for a restart only, and the array of volumes, whose rows have checksums in
    ``index.tsv``.
    """
    with recorded() as record:
        yield record
    passing = [results.root.resolve() / "checkpoints", results.volumes.resolve()]

    def checksums(paths: set[Path]) -> dict[str, str]:
        kept = [path for path in paths if not any(path.resolve().is_relative_to(other) for other in passing)]
        return {file_name(path, results): sha256(path) for path in sorted(kept) if path.is_file()}

    if record.written:
        content = {"read": checksums(record.read - record.written), "written": checksums(record.written)}
        write_json(results.receipt(*names), {"made_by": made_by(), **content})


@contextmanager
def noted(results: Results, *names: str) -> Iterator[None]:
    """Adds a line to ``sepclr-neuro.log`` once a stage has ended: when, which, its seconds, and ``ok`` or the error.

    Where that cannot be written, in a folder that no stage has made yet, say, the stage is as it is without.
    """
    started, outcome = time.monotonic(), "stopped"
    try:
        yield
        outcome = "ok"
    except Exception as error:
        outcome = f"error: {str(error).partition(chr(10))[0] or type(error).__name__}"
        raise
    finally:
        when = datetime.now().astimezone().isoformat(" ", "seconds")
        line = "\t".join((when, " ".join(names), f"{time.monotonic() - started:.1f} s", outcome))
        with suppress(OSError):
            append_line(results.stages_log, line)
