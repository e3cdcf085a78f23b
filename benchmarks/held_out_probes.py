"""What probes that are fitted on held-out participants find in a space, beside those of the separation benchmark.

The benchmark fits its probes on the training participants. Their adjusted codes are uncorrelated with age, sex and site
by construction, so that such a probe cannot learn what is left of these in the codes of others; what erasure leaves of
the diagnosis is hidden in the same way. Here probes are fitted and scored in five folds of the held-out half, which no
encoder has seen.

    python -m benchmarks.held_out_probes [--recipes sepclr-linear gcpca normative] [--space salient]
        [--configuration docs/examples/separation_linear.yaml] [--cohort one-shift]

It makes the cohorts that the configuration's `output` lacks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.data.standardisation import learn_standardisation
from sepclr_neuro.learning.embedding import represent_scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.models import build_method
from sepclr_neuro.learning.training import VolumeViews, training_covariates, training_scans
from sepclr_neuro.validation.separation.benchmark import prepare_cohort
from sepclr_neuro.validation.separation.measure import factor_values, recovery
from sepclr_neuro.validation.separation.table import interval

FOLDS = 5


def held_out_values(spaces: dict[str, pd.DataFrame], cohort: pd.DataFrame, fold: Fold) -> pd.DataFrame:
    """``factor space value chance`` of probes in folds of the held-out scans alone, the mean over these folds."""
    people = cohort.set_index("scan_id").loc[list(fold.test)]
    strata = people["group"].astype(str) + people["site"].astype(str)
    test = people.index.to_numpy()
    inner = [
        Fold(0, tuple(test[train]), tuple(test[held_out]))
        for train, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(test, strata)
    ]
    values = pd.concat([factor_values(spaces, cohort, one, ()) for one in inner])
    return values.groupby(["factor", "space"], sort=False, as_index=False)[["value", "chance"]].mean()


def of_recipe(config: Config, cohort: str, seed: int, recipe: str, space: str) -> pd.DataFrame:
    """``factor value share probe`` of one space of a recipe on one cohort, by both kinds of probes."""
    run, best_file = config.separation_run(cohort, seed, recipe), Results(config.output).separation_best(cohort, seed)
    data = Results(run.output)
    if not best_file.is_file():
        prepare_cohort(config, cohort, seed)
    (name,) = run.methods
    configured = run.for_method(name)
    cache, people, fold = VolumeCache(data), load_cohort(data.cohort), read_fold(data.splits, data.index, 0)
    standardisation = learn_standardisation(cache.one_by_one(fold.train), fold.train, run.standardisation)
    method = build_method(run, name, [1, *cache.shape])
    coding = training_covariates(run, configured, people, fold)
    fit(
        method,
        training_scans(people, cache, fold, configured.settings.columns(), coding),
        VolumeViews(standardisation, configured.augmentation),
        configured.training,
        seeds=(seed, 0),
        folder=data.root / "unused",
        identity="",
        title=recipe,
    )
    scans = [*fold.train, *fold.test]
    covariates = coding.code(people.set_index("scan_id", drop=False).loc[scans])
    codes = represent_scans(method.eval(), cache, standardisation, scans, covariates)[space]
    spaces = {space: pd.DataFrame(codes, index=scans)}
    best = read_tsv(best_file).set_index("factor")["value"].to_dict()
    kinds = {
        "training": factor_values(spaces, people, fold, fold.train),
        "held out": held_out_values(spaces, people, fold),
    }
    return pd.concat([values.assign(share=recovery(values, best), probe=kind) for kind, values in kinds.items()])


def main(config: Config, cohort: str, recipes: list[str], space: str) -> None:
    print("| recipe | factor | probe of training participants: figure | recovery, % | of held-out ones | recovery, % |")
    print("|---|---|---|---|---|---|")
    for recipe in recipes:
        seeds = config.separation.seeds
        found = pd.concat([of_recipe(config, cohort, seed, recipe, space) for seed in seeds])
        for factor, rows in found.groupby("factor", sort=False):
            cells = []
            for kind in ("training", "held out"):
                of_kind = rows[rows["probe"] == kind]
                mean, low, high = (100 * np.array(interval(of_kind["share"].tolist()))).round()
                cells += [f"{of_kind['value'].mean():.3g}", f"{mean:.0f} ({low:.0f} to {high:.0f})"]
            print(f"| `{recipe}` | {factor} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configuration", type=Path, default=Path("docs/examples/separation_linear.yaml"))
    parser.add_argument("--cohort", default="one-shift")
    parser.add_argument("--recipes", nargs="+", default=["sepclr-linear", "gcpca", "normative"])
    parser.add_argument("--space", choices=["salient", "common"], default="salient")
    given = parser.parse_args()
    main(load_config(given.configuration), given.cohort, given.recipes, given.space)
