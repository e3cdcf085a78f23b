"""The picture of docs/separation.md, from that page's own tables, so that both agree.

python -m benchmarks.separation_summary [--output docs/images/separation_summary.png]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from matplotlib.figure import Figure

PAGE = Path("docs/separation.md")
RECIPES = {
    "sepclr-linear": "SepCLR, linear",
    "sepclr-linear-50": "the same, controls pinned harder",
    "gcpca": "generalised contrastive PCA",
    "clvm": "contrastive latent variables",
    "ridge-discriminant": "ridge discriminant",
    "normative": "normative deviations",
    "sepclr-linear-unadjusted": "SepCLR, linear, not adjusted",
    "voxel-linear": "linear model of all voxels",
}
PANELS = (
    ("#### One shift", "score", "separation score (dotted: ceiling)", 0.0),
    ("#### Two signs", "distance AUC", "AUC of the distance (chance 0.5)", 0.5),
)


def column(page: str, heading: str, name: str) -> dict[str, tuple[float, float, float]]:
    """Value, low and high of each recipe in a column of the first table below a heading, where it has them."""
    table = re.search(r"(?m)(?:^\|.*\n)+", page[page.index(f"\n{heading}") :])
    if table is None:
        raise ValueError(f"{PAGE}: no table below {heading!r}")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.group().splitlines()]
    place = lines[0].index(name)
    cells = {line[0].strip("`"): re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", line[place]) for line in lines[2:]}
    return {recipe: tuple(map(float, found.groups())) for recipe, found in cells.items() if found}  # type: ignore[misc]


def draw(page: str, output: Path) -> None:
    """A panel for each kind of disease, a bar for each recipe."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, (heading, name, label, nothing) in zip(figure.subplots(1, 2, sharey=True), PANELS, strict=True):
        values = column(page, heading, name)
        for place, recipe in enumerate(reversed(RECIPES)):
            if recipe not in values:
                axes.text(nothing + 0.01, place, "has no score", va="center", fontsize=8, color="0.4")
                continue
            mean, low, high = values[recipe]
            colour = "C0" if recipe.startswith("sepclr") else "0.65"
            axes.barh(place, mean - nothing, left=nothing, color=colour, height=0.7)
            axes.plot([low, high], [place, place], color="0.2", linewidth=1)
        axes.set_yticks(range(len(RECIPES)), list(reversed(RECIPES.values())))
        axes.set(title=f"{heading.strip('# ')} (simulated)", xlabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    ceiling = re.search(r"the ceiling is (\S+)\.\n", page)
    if ceiling is not None:
        figure.axes[0].axvline(float(ceiling[1]), color="0.2", linestyle=":")
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images/separation_summary.png"))
    draw(PAGE.read_text(encoding="utf-8"), parser.parse_args().output)
