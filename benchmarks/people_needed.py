"""The picture of docs/choosing.md: how well methods find patients, by number of participants.

snakemake separation --cores 2 --configfile docs/examples/separation_people.yaml
python -m benchmarks.people_needed [results-separation-people] [--output docs/images/people_needed.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv

KINDS = {"shift": "One shift", "signs": "Two signs"}
METHODS = {
    "sepclr-linear": ("SepCLR, linear", "C0"),
    "sepclr-linear-2": ("SepCLR, linear, 2 dimensions", "C1"),
    "gcpca": ("Generalised contrastive PCA", "C2"),
    "ridge-discriminant": ("Ridge discriminant", "C3"),
}


def draw(table: pd.DataFrame, output: Path) -> None:
    """The area under the curve of the distance from the controls, a panel for each kind of disease."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (kind, title) in zip(figure.subplots(1, 2, sharey=True), KINDS.items(), strict=True):
        for method, (label, colour) in METHODS.items():
            rows = table[(table["method"] == method) & table["cohort"].str.startswith(f"{kind}-")]
            people = rows["cohort"].str.removeprefix(f"{kind}-").astype(int)
            order = np.argsort(people)
            axes.plot(people.iloc[order], rows["distance_auc"].iloc[order], "o-", color=colour, label=label)
        axes.axhline(0.5, color="0.6", linewidth=0.8)
        axes.axhline(0.8, color="0.6", linewidth=0.8, linestyle=":")
        axes.set(title=f"{title} (simulated)", xscale="log", xlabel="participants, half of them to train")
        axes.set_xticks(sorted(set(people)), [str(count) for count in sorted(set(people))])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("AUC of the distance\nfrom the controls")
    figure.axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results-separation-people"))
    parser.add_argument("--output", type=Path, default=Path("docs/images/people_needed.png"))
    given = parser.parse_args()
    draw(read_tsv(Results(given.results).separation("separation.tsv")), given.output)
