"""Runs the benchmarks of speed one after the other, each in its own process; rows go to results/benchmark/speed.tsv.

python -m benchmarks [--quick] [--afresh]

After an interruption it continues with the missing rows; `--afresh` starts again. In the end the rows are written into
docs/speed.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

from sepclr_neuro.core.storage import read_tsv, write_text
from sepclr_neuro.core.threads import free_cores

# The shortest first.
ALL = (
    "start",
    "maps",
    "embedding",
    "probes",
    "cache",
    "linear_training",
    "training_step",
    "growth",
    "time_to_separation",
)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
MARKS = "<!-- rows of speed.tsv -->\n", "<!-- end of the rows -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the benchmarks out; no page is written"
    )
    parser.add_argument("--afresh", action="store_true", help="forget the rows of an earlier run")
    arguments = parser.parse_args()
    output = Path("results/benchmark") / ("speed-quick.tsv" if arguments.quick else "speed.tsv")
    if arguments.afresh:
        for table in (output, output.with_suffix(".points.tsv")):
            table.unlink(missing_ok=True)
    quick = ["--quick"] if arguments.quick else []
    threads = {"OMP_NUM_THREADS": str(free_cores())}
    no_gpu = {"CUDA_VISIBLE_DEVICES": ""}  # the recipe runs on CPUs, so the comparison does too
    names = [*ALL, "gpu"] if torch.cuda.is_available() else list(ALL)
    failed = []
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", *quick, "--output", str(output)]
        if subprocess.run(command, env=threads | dict(os.environ) | ({} if name == "gpu" else no_gpu)).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    if not arguments.quick:
        write_page(output)


def write_page(output: Path) -> None:
    """Writes the rows between the marks of docs/speed.md; without a GPU, rows of an earlier GPU run are kept."""
    table = read_tsv(output, text=("name", "unit"))
    before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
    earlier, after = rest.split(MARKS[1])
    lines = ["| name | value | unit |", "|---|---:|---|"]
    lines += [f"| `{name}` | {value:.4g} | {unit} |" for name, value, unit in table.to_numpy().tolist()]
    if not table["name"].str.startswith("gpu_").any():
        lines += [line for line in earlier.splitlines() if line.startswith("| `gpu_")]
    write_text(PAGE, before + MARKS[0] + "\n".join(lines) + "\n" + MARKS[1] + after)


if __name__ == "__main__":
    main()
