"""Whole runs that a reviewer asks for, at small size: permuted diagnoses, and a cohort whose sites are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.permuted_diagnosis import permute, run
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from tests.workflow.running import small_config, snakemake

pytestmark = pytest.mark.timeout(2400)

SITES = ["site-1", "site-2", "site-3", "site-4"]
METHODS = {"sepclr-k-jem": {"common_dim": 4, "salient_dim": 4, "projector_width": 8}, "voxel-linear": {}}


def cohort_of(people: int, effect: float) -> dict[str, object]:
    return {"source": "simulated", "simulation": {"participants": people, "sites": 4, "disease_effect": effect}}


def test_permuting_moves_patients_within_sites_and_their_scores_with_them() -> None:
    cohort = pd.DataFrame(
        {
            "participant_id": [f"p{k}" for k in range(12)],
            "session_id": np.nan,
            "diagnosis": ["control", "schizophrenia"] * 6,
            "group": ["background", "target"] * 6,
            "age": [str(20 + k) for k in range(12)],
            "site": ["a"] * 6 + ["b"] * 6,
            "sans": [np.nan, "10"] * 6,
        }
    )
    permuted = permute(cohort, seed=0)
    assert not permuted["group"].equals(cohort["group"])
    assert permuted[["participant_id", "age", "site"]].equals(cohort[["participant_id", "age", "site"]])
    assert permuted.groupby("site")["group"].value_counts().nunique() == 1
    assert (permuted["sans"].notna() == (permuted["group"] == "target")).all()


def test_nothing_is_found_of_permuted_diagnoses(tmp_path: Path) -> None:
    """The disease is so strong that voxels would tell it at once; a leak of held-out people would too."""
    config = small_config(
        tmp_path, cohort=cohort_of(48, 3.0), methods=METHODS, splits={"folds": 2}, probes={"permutations": 499}
    )
    table = run(config, tmp_path / "permuted", seed=0, cores=2)
    assert set(table["method"]) == set(METHODS)
    assert (table["q"] > 0.05).all()
    assert (table.loc[table["metric"] == "bacc", "train"] > 60).any()


def test_leave_site_out(tmp_path: Path) -> None:
    small_config(
        tmp_path,
        cohort=cohort_of(48, 3.0),
        methods={"voxel-linear": {}},
        splits={"scheme": "leave-site-out", "sites": SITES},
    )
    snakemake(tmp_path, "--cores", "2", "tables", "leakage")
    results = Results(tmp_path / "results")
    cohort = read_tsv(results.cohort, text=("scan_id", "site")).set_index("scan_id")
    splits = read_tsv(results.splits, text=("scan_id", "side"))
    for fold, site in enumerate(SITES):
        held_out = splits.loc[(splits["fold"] == fold) & (splits["side"] == "test"), "scan_id"]
        assert set(cohort.loc[held_out, "site"]) == {site}
    table = read_tsv(results.table("schizophrenia", "tsv")).set_index(["method", "target", "metric", "space"])
    voxels = table.loc[("voxel-linear", "diagnosis", "bacc", "single")]
    assert (voxels["folds"], voxels["n"]) == (4, 48)
    assert voxels["mean"] > voxels["null95"]
    assert voxels["ci_low"] < voxels["pooled"] < voxels["ci_high"]
    # A site that nobody trained on cannot be named.
    site = table.xs("site", level="target")
    assert site[["mean", "p", "pooled"]].isna().all(axis=None)
    assert (site["n"] == 0).all()
    leakage = read_tsv(results.table("site_leakage", "tsv"))
    assert leakage.loc[leakage["target"] == "site", "mean"].isna().all()
