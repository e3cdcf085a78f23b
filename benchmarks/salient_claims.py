"""What a run would say of simulated cohorts whose truth is known: how often it is right, and how often it is not.

``python -m benchmarks.salient_claims diseases --seeds 20`` simulates three diseases, of which two and two share regions
and one pair shares none, and counts what is called shared and different. ``subtypes`` counts how often two subtypes are
found where there are two, and where there is one disease. ``attributes`` compares how well symptom scores are predicted
from a salient space that was trained with them and from one that was not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.subtypes import Subtypes
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort, write_cohort
from sepclr_neuro.data.simulation import write_dataset
from sepclr_neuro.data.splits import write_splits
from sepclr_neuro.data.standardisation import write_standardisation
from sepclr_neuro.data.volumes import write_volumes
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.diseases import compare_diseases
from sepclr_neuro.maps.fold_codes import all_fold_codes
from sepclr_neuro.maps.subtypes import write_subtypes
from sepclr_neuro.probing.probes import probe
from sepclr_neuro.probing.questions import people_of, questions
from sepclr_neuro.probing.representations import read_all_spaces

ALPHA = 0.05


def run_of(folder: str, seed: int, methods: dict[str, Any], simulation: dict[str, Any], **cohort: Any) -> Config:
    """A simulated run as far as the representations: 240 people at 32³, two sites, three folds."""
    content = {
        "output": folder,
        "seed": seed,
        "cohort": {"source": "simulated", "simulation": {"participants": 240, "sites": 2} | simulation} | cohort,
        "volumes": {"shape": [32, 32, 32]},
        "splits": {"folds": 3},
        "methods": methods,
        "saliency": {"permutations": 199},
    }
    config = parse_config(content)
    results = Results(config.output)
    write_dataset(config, results)
    write_cohort(config, results)
    write_volumes(config, results)
    write_splits(config, results)
    for fold in range(config.splits.count):
        write_standardisation(config, results, fold)
    for method in config.methods:
        for fold in range(config.splits.count):
            write_fold_model(config, results, method, fold)
        write_representations(config, results, method)
    return config


def diseases(seed: int) -> pd.DataFrame:
    """The table of pairs of diseases, by method."""
    where = {"a": "frontal-temporal", "b": "parietal-temporal", "c": "parietal-occipital"}
    simulation = {"patient_fraction": 0.6, "disease_effect": 1.5, "regions_of": where}
    methods: dict[str, Any] = {"sepclr-linear": {}, "gcpca": {}}
    with tempfile.TemporaryDirectory() as folder:
        config = run_of(folder, seed, methods, simulation, diseases={name: [name] for name in where})
        results = Results(config.output)
        people = load_cohort(results.cohort).set_index("scan_id", drop=False)
        tables = []
        for method in methods:
            folds, _ = all_fold_codes(results, method, VolumeCache(results), people)
            tables.append(compare_diseases(config, folds, people)[1].assign(method=method))
    return pd.concat(tables)


def said_of_diseases(found: pd.DataFrame) -> pd.DataFrame:
    claims = {name: (f"p_{name}", lambda p: (p < ALPHA).mean()) for name in ("shared", "different")}
    return found.groupby(["method", "disease", "other"]).agg(correlation=("correlation", "mean"), **claims)


def subtypes(seed: int) -> pd.DataFrame:
    """The table of two clusters of linear SepCLR, by kind of disease and effect."""
    method = "sepclr-linear"
    tables = []
    for kind, effect in product(("one-shift", "two-subtypes"), (3.0,)):
        with tempfile.TemporaryDirectory() as folder:
            config = run_of(folder, seed, {method: {}}, {"disease_kind": kind, "disease_effect": effect})
            results = Results(config.output)
            config = config.model_copy(update={"subtypes": Subtypes(clusters=[2], nulls=59)})
            write_subtypes(config, results, method)
            table = read_tsv(results.subtypes(method) / "subtypes.tsv")
            tables.append(table.assign(disease=kind, effect=effect))
    return pd.concat(tables)


def said_of_subtypes(found: pd.DataFrame) -> pd.DataFrame:
    claimed = {"claimed": ("p", lambda p: (p < ALPHA).mean())}
    means = {name: (name, "mean") for name in ("separation", "stability", "stability_null95", "rand_with_truth")}
    return found.groupby(["disease", "effect"]).agg(**claimed, **means)


def attributes(seed: int) -> pd.DataFrame:
    """How well SANS and SAPS of held-out patients are predicted from linear SepCLR's salient space and from voxels."""
    owned = {"attributes": {"sans": "continuous", "saps": "continuous"}}
    methods: dict[str, Any] = {
        "sepclr-linear": {},
        "with-scores": {"method": "sepclr-linear", **owned},
    }
    tables = []
    for effect in (1.0, 2.0):
        with tempfile.TemporaryDirectory() as folder:
            config = run_of(folder, seed, methods, {"disease_effect": effect})
            results = Results(config.output)
            people = load_cohort(results.cohort)
            asked = [one for one in questions(config, people) if one.target in ("sans", "saps", "diagnosis")]
            scores = probe(config, people, asked, read_all_spaces(config, results, people_of(people))).scores
            tables.append(scores[scores["space"].isin(["salient", "single"])].assign(effect=effect))
    return pd.concat(tables)


def said_of_attributes(found: pd.DataFrame) -> pd.DataFrame:
    table = found[found["metric"].isin(["r2", "mae", "bacc"])]
    return table.pivot_table(index=["effect", "method"], columns=["target", "metric"], values="value")


BENCHMARKS: dict[str, tuple[Callable[[int], pd.DataFrame], Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "diseases": (diseases, said_of_diseases),
    "attributes": (attributes, said_of_attributes),
    "subtypes": (subtypes, said_of_subtypes),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=BENCHMARKS)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    measure, said = BENCHMARKS[given.what]
    print(said(pd.concat([measure(seed) for seed in range(given.seeds)])).round(3).to_string())


if __name__ == "__main__":
    main()
