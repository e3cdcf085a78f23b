"""Several diseases in one salient space: what is of one, what two share, and what neither is said to be."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.facts import disease_columns
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.diseases import (
    disease_maps,
    map_products,
    pairs_of_diseases,
    shared_by_all,
    sharing,
)
from sepclr_neuro.maps.fold_codes import FoldCodes
from sepclr_neuro.maps.patterns import write_patterns
from tests.small_run import small_run

NAMES = ["one", "two", "three"]
SHIFTS = {0: (0, 1), 1: (1, 2), 2: (3, 4)}
"""Dimensions that each disease moves: the first two share one of them."""


def people_with(effect: float, seed: int, count: int = 240) -> tuple[list[FoldCodes], np.ndarray, np.ndarray]:
    """Two folds of three diseases and controls, six dimensions, each of four voxels of its own; two sites."""
    rng = np.random.default_rng(seed)
    disease = rng.permutation(np.arange(count) % 6).clip(max=3)
    disease[disease == 3] = -1
    codes = rng.normal(size=(count, 6))
    for number, moved in SHIFTS.items():
        codes[np.ix_(disease == number, list(moved))] += effect
    weights = np.kron(np.eye(6), np.ones(4))
    folds = []
    for fold in range(2):
        rows = np.arange(fold, count, 2)
        turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]  # encoders of folds name dimensions as they like
        folds.append(FoldCodes(turn @ weights, codes[rows] @ turn.T, rows, np.zeros(6)))
    return folds, disease, np.where(np.arange(count) % 3, "a", "b")


def test_each_disease_is_found_where_it_acts_and_what_is_its_own_beside_the_others() -> None:
    folds, disease, sites = people_with(1.5, seed=0)
    maps = disease_maps(folds, disease, NAMES, sites, 99, np.random.default_rng(0))
    for number, moved in SHIFTS.items():
        own, null = maps[f"disease-{NAMES[number]}"]
        assert set(np.flatnonzero(np.abs(own) > np.quantile(null, 0.95)) // 4) == set(moved)
    specific, null = maps["specific-one"]
    beyond = np.flatnonzero(np.abs(specific) > np.quantile(null, 0.95))
    # What it has alone, or half of the others have, is more than in other patients; what the third has is less.
    assert {0} <= set(beyond[specific[beyond] > 0] // 4) <= {0, 1}
    assert {2, 3, 4} >= set(beyond[specific[beyond] < 0] // 4)
    shared, judged = shared_by_all({name: maps[f"disease-{name}"] for name in NAMES[:2]})
    assert judged["p"] == 1 / 100
    assert judged["voxels_beyond_chance"] == 4
    assert set(np.flatnonzero(shared > 0.75)) == {4, 5, 6, 7}
    _, judged = shared_by_all({name: maps[f"disease-{name}"] for name in NAMES})
    assert judged["p"] > 0.05
    assert judged["voxels_beyond_chance"] == 0


def test_pairs_share_and_differ_as_they_were_made() -> None:
    folds, disease, sites = people_with(1.5, seed=0)
    pairs = pairs_of_diseases(folds, disease, NAMES, sites, 99, np.random.default_rng(0))
    found = pairs.set_index(["disease", "other"])
    assert found.loc[("one", "two"), "correlation"] == pytest.approx(0.4, abs=0.2)  # of the true maps 0.25 to 0.5
    assert (found["p_different"] == 1 / 100).all()
    assert found.loc[("one", "three"), "p_shared"] > 0.2
    assert found.loc[("two", "three"), "p_shared"] > 0.2
    # One disease under two names.
    alike = np.where(disease == 1, 0, disease)
    alike[np.flatnonzero(alike == 0)[::2]] = 1
    same = pairs_of_diseases(folds, alike, NAMES[:2], sites, 99, np.random.default_rng(0)).iloc[0]
    assert same["p_shared"] == 1 / 100
    assert same["p_different"] > 0.05
    assert same["people"] == (disease == 0).sum() + (disease == 1).sum()


def test_sharing_is_its_equation_and_the_same_controls_make_nothing_alike() -> None:
    folds, disease, _ = people_with(1.0, seed=1, count=60)
    halves = np.random.default_rng(2).random((3, 60)) < 0.5
    expected = []
    for half, swapped in product(halves, (False, True)):
        maps = []
        for number, side in ((0, half != swapped), (1, half == swapped)):
            of_folds = [
                (
                    fold.codes[disease[fold.rows] == number].mean(axis=0)
                    - fold.codes[(disease[fold.rows] == -1) & side[fold.rows]].mean(axis=0)
                )
                @ fold.weights
                for fold in folds
            ]
            maps.append(np.mean(of_folds, axis=0))
        expected.append(np.corrcoef(*maps)[0, 1])
    found = sharing(folds, map_products(folds), disease, halves, 0, 1)
    assert found == pytest.approx(np.mean(expected), abs=1e-10)

    without = []
    for seed in range(60):
        folds, disease, _ = people_with(0, seed=seed)
        halves = np.random.default_rng(seed).random((5, 240)) < 0.5
        without.append(sharing(folds, map_products(folds), disease, halves, 0, 1))
    assert abs(np.mean(without)) < 0.12  # against the same controls it would be 0.25 here


def test_chance_passes_for_a_finding_as_often_as_p_says() -> None:
    found = []
    for seed in range(60):
        folds, disease, sites = people_with(0, seed=seed)
        found.append(pairs_of_diseases(folds, disease, NAMES[:2], sites, 39, np.random.default_rng(seed)).iloc[0])
    p = pd.DataFrame(found)
    for name in ("p_shared", "p_different"):
        assert (p[name].astype(float) <= 0.05).mean() <= 0.12
        assert (p[name].astype(float) <= 0.5).mean() == pytest.approx(0.5, abs=0.2)


def test_a_run_of_several_diseases_writes_their_maps_and_pairs(tmp_path: Path) -> None:
    diseases = {"schizophrenia": ["SCZ", "SZA"], "bipolar": ["BD"]}
    cohort = {"source": "files", "studies": [{"name": "a", "participants": "p.tsv"}], "diseases": diseases}
    methods = {"sepclr-linear": {"salient_dim": 2, "steps": 60}}
    _, results = small_run(tmp_path, people=80, methods=methods)
    given = {"output": str(tmp_path), "cohort": cohort, "volumes": {"shape": [32, 32, 32]}, "splits": {"folds": 2}}
    config = parse_config(given | {"methods": methods, "saliency": {"permutations": 19}})
    people = load_cohort(results.cohort)
    patient = people["group"] == "target"
    codes = np.array(["SCZ", "BD", "SZA", "BD"])[np.arange(80) // 4 % 4]
    diagnosis = pd.Series(np.where(patient, codes, "control"), index=people.index, dtype="str")
    people = people.assign(diagnosis=diagnosis, **disease_columns(diagnosis, config.cohort))
    assert people["schizophrenia"].value_counts().to_dict() == {"no": 40, "yes": 20}
    assert people["schizophrenia-among-patients"].value_counts().to_dict() == {"no": 20, "yes": 20}
    assert people.loc[~patient, "schizophrenia-among-patients"].isna().all()
    write_tsv(results.cohort, people)
    for fold in range(2):
        write_fold_model(config, results, "sepclr-linear", fold)
    write_representations(config, results, "sepclr-linear")
    write_patterns(config, results, "sepclr-linear")
    folder = results.patterns("sepclr-linear")
    # The two among patients are one question, which is asked once.
    assert "bipolar-among-patients" not in people
    names = {"disease-schizophrenia", "disease-bipolar", "specific-schizophrenia", "shared"}
    table = read_tsv(folder / "patterns.tsv").set_index("map")
    assert names < {path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz")}
    others = {name for name in table.index if not name.startswith("direction-")}
    assert others == {*names, "mean-patient", "beyond-controls"}
    pairs = read_tsv(folder / "diseases.tsv")
    assert pairs[["disease", "other"]].to_numpy().tolist() == [["schizophrenia", "bipolar"]]
    # Both have the same cube; of 19 exchanges none has as much of it.
    assert (table.loc[["disease-schizophrenia", "disease-bipolar", "shared"], "p"] == 0.05).all()
    assert pairs["people"].tolist() == [40]
    shown = table.loc[["mean-patient", "disease-bipolar", "specific-schizophrenia", "shared"], "people"]
    assert shown.tolist() == [80, 60, 40, 80]
