"""README's picture of a disease with two signs, from a finished run: the truth, the t-map and the salient space.

make demo
python -m benchmarks.side_by_side [results-two-signs] [--method sepclr-linear] [--output docs/images/two_signs.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from sepclr_neuro.core.layout import Results

PART = (0.865, 0.44)  # of a map's picture: its title and the first row of slices, without the colour bar
UNIT = (0.83, 0.12, 0.865, 0.16)  # where the name of the colour bar reaches into it
WIDTH = 1000  # pixels


def side_by_side(results: Results, method: str, output: Path) -> None:
    """Stacks the first rows of three pictures."""
    maps = [results.vbm / "truth.png", results.vbm / "diagnosis.png", results.patterns(method) / "beyond-controls.png"]
    rows = []
    for path in maps:
        picture = Image.open(path).convert("RGB")
        left, top, right, bottom = UNIT
        box = (left * picture.width, top * picture.height, right * picture.width, bottom * picture.height)
        picture.paste("white", tuple(map(round, box)))
        row = picture.crop((0, 0, round(PART[0] * picture.width), round(PART[1] * picture.height)))
        rows.append(row.resize((WIDTH, round(row.height * WIDTH / row.width)), Image.Resampling.LANCZOS))
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
