"""Installs the versions of the lock, and the project: ``make install``.

    python3.12 envs/install.py .venv   # into a virtual environment, made with this Python if need be
    python envs/install.py             # into the environment of this Python, such as conda's

Nothing is resolved: every package that is needed is in the lock, so that a release made after it changes nothing. Works
with any pip that came with Python 3.11 or later.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from importlib.metadata import requires, version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SUPPORTED = [(3, 11), (3, 12), (3, 13), (3, 14)]
_BLOCK = re.compile(r"^([A-Za-z0-9._-]+)==[^\n]*(?:\n[ \t][^\n]*)*", re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    """The lines of each package: its version, where it is needed, and its hashes."""
    return {found[1]: found[0] for found in _BLOCK.finditer(lock.read_text(encoding="utf-8"))}


def pip(*arguments: str | Path) -> None:
    """Calls this Python's pip.

    Raises:
        SystemExit: if it fails; it has said why.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"this failed: {' '.join(command)}")


def install_lock(lock: Path, only: Sequence[str] = ()) -> None:
    """Installs the packages of a lock, or some of them, each only if it is a file that the lock knows."""
    blocks = pins(lock)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / lock.name
        wanted.write_text("\n".join(blocks[name] for name in only or blocks) + "\n", encoding="utf-8")
        # Without isolation: for the few packages that have no wheel pip would look for the newest setuptools.
        pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--require-hashes", "--requirement", wanted)


def asked_for_by_torch(names: Sequence[str]) -> list[str]:
    """Which of these the build of torch that is installed depends on."""
    asked = {re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].lower() for text in requires("torch") or []}
    return sorted(asked.intersection(names))


def make_environment(folder: Path) -> Path:
    """The Python of a virtual environment with this Python's version: the one that is there, or a new one."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    show = [str(python), "-c", "import sys; print(sys.version_info[:2])"]
    if python.exists():
        found = subprocess.run(show, capture_output=True, text=True, check=False).stdout.strip()
        if found == str(sys.version_info[:2]):
            return python
        print(f"{folder} has {'another' if found else 'no working'} Python; it is made anew", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    return python


def main(folder: str | None = None) -> None:
    running = sys.version_info[:2]
    if running not in SUPPORTED:
        known = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        sys.exit(f"This is Python {running[0]}.{running[1]}, the lock is for {known}: make PYTHON=/path/to/python3.12")
    if folder is not None:
        sys.exit(subprocess.run([make_environment(Path(folder)), __file__], check=False).returncode)
    print(f"Python {sys.version.split()[0]}, in {sys.prefix}", flush=True)
    pip("install", "--quiet", "--no-deps", "--requirement", FOLDER / "torch.txt")
    cuda = FOLDER / "cuda.lock"
    needs_cuda = bool(asked_for_by_torch(list(pins(cuda))))
    print(f"torch {version('torch')}, a build {'with' if needs_cuda else 'without'} CUDA", flush=True)
    install_lock(FOLDER / "requirements.lock", only=["setuptools"])
    install_lock(FOLDER / "requirements.lock")
    if needs_cuda:
        install_lock(cuda)
    pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", FOLDER.parent)
    pip("check")


if __name__ == "__main__":
    main(*sys.argv[1:2])
