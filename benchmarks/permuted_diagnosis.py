"""The whole pipeline on permuted diagnoses: if a diagnosis is then predicted, this is leakage, or chance.

    python -m benchmarks.permuted_diagnosis config.yaml /tmp/permuted --seeds 5 --cores 2

For each seed the workflow makes the cohort, diagnoses (with groups and the scores that patients alone have) are
exchanged within site, and the workflow goes on: volumes, splits, trainings, probes, tables. Prints a row for each
figure of the diagnosis; without leakage one in twenty has p below 0.05, and hardly any q below 0.05.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.statistics import permuted_rows
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.probing.tables import headline

REPOSITORY = Path(__file__).resolve().parents[1]


def permute(cohort: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Permutes diagnosis, group and patients' scores between participants of a site; scans of one stay together.

    Args:
        cohort: rows of cohort.tsv, as text.
    """
    controls = cohort["group"] == "background"
    patients_only = [
        name for name in cohort if name not in ("session_id", "volume") and cohort.loc[controls, name].isna().all()
    ]
    moved = ["diagnosis", "group", *patients_only]
    sites = cohort["site"].fillna("n/a").to_numpy(str)
    order = permuted_rows(cohort["participant_id"].to_numpy(str), sites, 1, np.random.default_rng(seed))[0]
    return cohort.assign(**{name: cohort[name].to_numpy()[order] for name in moved})


def run(config: Path, folder: Path, seed: int, cores: int) -> pd.DataFrame:
    """Runs a configuration in a folder with permuted diagnoses.

    Returns:
        The diagnosis rows of the table of probes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Relative, as in the run files.
    given = load_config(config)
    results, here = Results(given.output), Results(folder / given.output)
    command = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(config.resolve()), "--cores", str(cores), "--quiet"]
    subprocess.run([*command, "--", str(results.cohort)], check=True)
    names = tuple(read_tsv(here.cohort).columns)
    cohort = read_tsv(here.cohort, text=names)
    permuted = permute(cohort, seed)
    if (permuted["group"] == cohort["group"]).all():
        raise SystemExit("every site has people of one group only: nothing can be exchanged within sites")
    write_tsv(here.cohort, permuted)
    subprocess.run([*command, "--", str(results.table(given.cohort.table_name, "tsv"))], check=True)
    if not read_tsv(here.cohort, text=names).equals(permuted):
        raise SystemExit("the workflow made the cohort anew: its diagnoses are not the permuted ones")
    table = read_tsv(here.table(given.cohort.table_name, "tsv"))
    return table[table["target"] == "diagnosis"].assign(seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    found = []
    print("| seed | method | space | metric | mean | chance | null95 | p | q |\n|---|---|---|---|---|---|---|---|---|")
    for seed in range(given.seeds):
        table = run(given.config, given.folder / f"seed-{seed}", seed, given.cores)
        for row in table.itertuples():
            print(
                f"| {seed} | `{row.method}` | {row.space} | {row.metric} | {row.mean:.1f} | {row.chance:.1f} | "
                f"{row.null95:.1f} | {row.p:.3f} | {row.q:.3f} |",
                flush=True,
            )
        found.append(table)
    everything = headline(pd.concat(found))
    print(f"\n{(everything['p'] < 0.05).sum()} of {len(everything)} figures have p below 0.05, ", end="")
    print(f"{(everything['q'] < 0.05).sum()} have q below 0.05.")


if __name__ == "__main__":
    main()
