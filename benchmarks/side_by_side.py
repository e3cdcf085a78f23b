"""README's picture of a disease with two signs, from a finished run: the truth, the t-map and the salient space.

make demo
python -m benchmarks.side_by_side [results-two-signs] [--method sepclr-linear] [--output docs/images/two_signs.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from sepclr_neuro.core.layout import Results

TITLE, SLICES = (0.0, 0.11), (0.155, 0.44)  # of a map's picture, from top to bottom: title, and first row of slices
BAR = 0.865  # where the colour bar begins, from left to right
WIDTH = 1000  # pixels


def side_by_side(results: Results, method: str, output: Path) -> None:
    """Stacks titles and first rows of slices of three pictures, without their colour bars."""
    maps = [results.vbm / "truth.png", results.vbm / "diagnosis.png", results.patterns(method) / "beyond-controls.png"]
    rows = []
    for path in maps:
        picture = Image.open(path).convert("RGB")
        for above, below in (TITLE, SLICES):
            right, lines = round(BAR * picture.width), (round(above * picture.height), round(below * picture.height))
            strip = picture.crop((0, lines[0], right, lines[1]))
            rows.append(strip.resize((WIDTH, round(strip.height * WIDTH / strip.width)), Image.Resampling.LANCZOS))
    whole = Image.new("RGB", (WIDTH, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    whole.quantize(128).save(output, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results-two-signs"))
    parser.add_argument("--method", default="sepclr-linear")
    parser.add_argument("--output", type=Path, default=Path("docs/images/two_signs.png"))
    given = parser.parse_args()
    side_by_side(Results(given.results), given.method, given.output)
