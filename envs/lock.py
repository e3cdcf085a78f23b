"""Writes requirements.lock and cuda.lock anew from pyproject.toml: ``make lock``. Needs a network.

One lock for every Python and system that is supported. Versions stay as they are unless they must move; delete
requirements.lock first to move them all. Then says which packages have no wheel on which system, where pip builds them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from install import FOLDER, SUPPORTED, pins

LOCK, CUDA, TORCH = FOLDER / "requirements.lock", FOLDER / "cuda.lock", FOLDER / "torch.txt"
SYSTEMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
UV = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
# Only torch's builds for CUDA depend on these.
_CUDA = re.compile(r"triton|nvidia-.*|cuda-.*")


def compile_lock() -> dict[str, str]:
    """The lines of every package of pyproject.toml and its extras, by name."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.lock"
        whole.write_text("".join(path.read_text(encoding="utf-8") for path in (LOCK, CUDA) if path.exists()))
        options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--all-extras"]
        options += ["--constraint", str(TORCH), "--output-file", str(whole)]
        subprocess.run([*UV, *options, "pyproject.toml"], cwd=FOLDER.parent, check=True, stdout=subprocess.DEVNULL)
        return pins(whole)


def write(path: Path, why: str, blocks: list[str]) -> None:
    path.write_text("\n".join([f"# Made by `make lock` from pyproject.toml. {why}", *blocks]) + "\n", encoding="utf-8")


def without_wheel(python: str, system: str) -> list[str]:
    """Packages of both locks, and torch, that have no wheel for a Python on a system."""
    # torch has wheels for macOS 14 and later.
    settings = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    command = [*UV, "--no-deps", "--only-binary", ":all:", "--python-version", python, "--python-platform", system]
    missing: list[str] = []
    pinned = {name: block.partition("\\")[0].strip() for path in (LOCK, CUDA) for name, block in pins(path).items()}
    pinned |= pins(TORCH)
    while True:
        lines = "\n".join(line for name, line in pinned.items() if name not in missing)
        answer = subprocess.run([*command, "-"], input=lines, capture_output=True, text=True, check=False, env=settings)
        if answer.returncode == 0:
            return missing
        found = re.search(r"Because (\S+?)==\S+ has no (?:usable )?wheels", answer.stderr)
        if found is None:
            sys.exit(answer.stderr)
        missing.append(found[1])


def main() -> None:
    blocks = compile_lock()
    cuda = [block for name, block in blocks.items() if _CUDA.fullmatch(name)]
    rest = [block for name, block in blocks.items() if not _CUDA.fullmatch(name) and name != "torch"]
    write(LOCK, "torch is not here: torch.txt.", rest)
    write(CUDA, "What torch's builds for CUDA depend on.", cuda)
    for python in (f"{major}.{minor}" for major, minor in SUPPORTED):
        for system in SYSTEMS:
            missing = ", ".join(without_wheel(python, system)) or "none"
            print(f"Python {python}, {system}, no wheel: {missing}", flush=True)


if __name__ == "__main__":
    main()
