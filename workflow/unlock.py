"""Removes the lock of a Snakemake run that was killed, so that the same command goes on; keeps that of a living one.

For one machine: on a cluster a run may live on another node, there `snakemake --unlock` is for a person to say.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import psutil

LOCKS = Path(".snakemake", "locks")
PROGRAMS = {"snakemake", "sepclr-neuro"}


def at_work() -> list[int]:
    """Processes of a run in this folder; a training may outlive the Snakemake that started it."""
    found = []
    for process in psutil.process_iter():
        try:
            if {Path(word).name for word in process.cmdline()[:2]} & PROGRAMS and process.cwd() == str(Path.cwd()):
                found.append(process.pid)
        except psutil.Error:  # ended meanwhile, or another user's
            continue
    return found


def main() -> int:
    if not any(LOCKS.glob("*")):
        return 0
    if processes := at_work():
        print(f"a run is under way in this folder (process {processes[0]}); wait for it, or stop it", file=sys.stderr)
        return 1
    print("the last run here was killed; going on from what it left", file=sys.stderr)
    shutil.rmtree(LOCKS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
