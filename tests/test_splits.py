"""Folds: people together, strata spread, leaks and stale files refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config import Config, Splits
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.splits import make_splits, read_fold, write_splits
from sepclr_neuro.storage import read_tsv, write_tsv


def make_cohort(people: int = 40, sessions: int = 1, sites: int = 2) -> pd.DataFrame:
    """Patients and controls in turn; sites change every second person."""
    rows = []
    for number in range(people):
        patient = number % 2 == 1
        for session in range(sessions):
            participant = f"{number:03d}"
            rows.append(
                {
                    "scan_id": participant if sessions == 1 else f"{participant}_{session}",
                    "participant_id": participant,
                    "session_id": np.nan if sessions == 1 else str(session),
                    "diagnosis": "schizophrenia" if patient else "control",
                    "group": "target" if patient else "background",
                    "age": 20.0 + number,
                    "sex": "female" if number % 3 else "male",
                    "site": f"{number // 2 % sites}",
                    "volume": f"{participant}.nii.gz",
                }
            )
    return pd.DataFrame(rows).astype({"session_id": "str"})


def make_results(folder: Path, cohort: pd.DataFrame) -> Results:
    results = Results(folder)
    write_tsv(results.cohort, cohort)
    write_tsv(results.index, cohort[["scan_id"]].assign(row=range(len(cohort)), sha256="0", source="a.nii"))
    return results


def test_every_scan_once_a_fold_and_held_out_once_a_repeat() -> None:
    cohort = make_cohort()
    splits = make_splits(cohort, Splits(folds=4, repeats=2), seed=0)
    assert splits.columns.tolist() == ["fold", "scan_id", "participant_id", "side"]
    assert splits.groupby("fold").size().tolist() == [40] * 8
    held_out = splits[splits["side"] == "test"]
    for repeat in range(2):
        part = held_out[held_out["fold"].between(4 * repeat, 4 * repeat + 3)]
        assert sorted(part["scan_id"]) == sorted(cohort["scan_id"])


def test_repeats_and_seeds_shuffle_and_the_same_seed_repeats() -> None:
    cohort = make_cohort()

    def test_sides(seed: int) -> list[frozenset[str]]:
        splits = make_splits(cohort, Splits(folds=4, repeats=2), seed)
        return [frozenset(part.loc[part["side"] == "test", "scan_id"]) for _, part in splits.groupby("fold")]

    sides = test_sides(0)
    assert sides == test_sides(0)
    assert set(sides[:4]) != set(sides[4:])
    assert set(sides[:4]) != set(test_sides(1)[:4])


def test_all_scans_of_a_person_are_on_one_side() -> None:
    splits = make_splits(make_cohort(sessions=3), Splits(folds=5), seed=3)
    assert (splits.groupby(["fold", "participant_id"])["side"].nunique() == 1).all()
    assert len(splits) == 5 * 40 * 3
    held_out = splits[splits["side"] == "test"]
    assert (held_out.groupby("participant_id")["fold"].nunique() == 1).all()


def test_strata_are_spread_evenly() -> None:
    cohort = make_cohort(sites=4)
    splits = make_splits(cohort, Splits(folds=5, stratify_by=["diagnosis", "site"]), seed=0)
    held_out = splits[splits["side"] == "test"].merge(cohort, on="scan_id")
    assert set(held_out.groupby(["fold", "diagnosis", "site"]).size()) == {1}


def test_numeric_columns_are_spread_by_quarters_and_missing_values_count_apart() -> None:
    cohort = make_cohort().assign(sans=[np.nan if number % 2 == 0 else float(number) for number in range(40)])
    splits = make_splits(cohort, Splits(folds=5, stratify_by=["sans"]), seed=0)
    held_out = splits[splits["side"] == "test"].merge(cohort, on="scan_id")
    quarters = pd.qcut(held_out["sans"], 4)
    assert set(held_out.groupby(["fold", quarters], observed=True).size()) == {1}


@pytest.mark.parametrize("sites", [12, 20, 40])
def test_rare_strata_merge_without_warnings(sites: int) -> None:
    cohort = make_cohort(sites=sites)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = make_splits(cohort, Splits(folds=5), seed=0)
    held_out = splits[splits["side"] == "test"].merge(cohort, on="scan_id")
    assert set(held_out.groupby(["fold", "group"]).size()) == {4}


def test_a_rare_rest_joins_its_group() -> None:
    cohort = make_cohort(people=22, sites=1)
    cohort.loc[[20, 21], "site"] = "far"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = make_splits(cohort, Splits(folds=5), seed=0)
    both = splits.merge(cohort, on="scan_id").groupby(["fold", "side"])["group"].nunique()
    assert (both == 2).all()


def test_too_few_people_of_a_group() -> None:
    cohort = make_cohort(people=12)
    with pytest.raises(InputError, match=r"splits.folds: 7 folds need 7 people of each group, background has 6"):
        make_splits(cohort, Splits(folds=7), seed=0)
    with pytest.raises(InputError, match="target has 0"):
        make_splits(cohort[cohort["group"] == "background"], Splits(folds=5), seed=0)


def test_a_rare_diagnosis_joins_its_group() -> None:
    cohort = make_cohort()
    cohort.loc[[1, 3], "diagnosis"] = "schizoaffective"
    splits = make_splits(cohort, Splits(folds=5), seed=0)
    held_out = splits[splits["side"] == "test"].merge(cohort, on="scan_id")
    assert set(held_out.groupby(["fold", "group"]).size()) == {4}


def test_a_person_in_both_groups() -> None:
    cohort = make_cohort(sessions=2)
    cohort.loc[0, "group"] = "target"
    with pytest.raises(InputError, match="participant 000"):
        make_splits(cohort, Splits(folds=2), seed=0)


def test_written_splits_are_read_back(tmp_path: Path) -> None:
    cohort = make_cohort()
    results = make_results(tmp_path, cohort)
    config = Config(splits=Splits(folds=4))
    write_splits(config, results)
    folds = [read_fold(results, number) for number in range(config.splits.count)]
    assert sorted(sum((fold.test for fold in folds), ())) == cohort["scan_id"].tolist()
    assert all(set(fold.train) | set(fold.test) == set(cohort["scan_id"]) for fold in folds)
    assert all(not set(fold.train) & set(fold.test) for fold in folds)


def test_splits_need_the_volumes_of_this_cohort(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_cohort())
    write_tsv(results.index, read_tsv(results.index, text=("scan_id",)).iloc[:-1])
    with pytest.raises(InputError, match="run the stage `volumes` again"):
        write_splits(Config(), results)


def test_read_fold_refuses_leaks_and_stale_files(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_cohort(sessions=2))
    write_splits(Config(splits=Splits(folds=2)), results)
    splits = read_tsv(results.splits, text=("scan_id", "participant_id"))

    with pytest.raises(InputError, match="fold 2 does not have the sides"):
        read_fold(results, 2)

    leaking = splits.copy()
    leaking.loc[0, "side"] = "test" if leaking.loc[0, "side"] == "train" else "train"
    write_tsv(results.splits, leaking)
    with pytest.raises(InputError, match="participant '000' in train and in test"):
        read_fold(results, 0)

    write_tsv(results.splits, splits[splits["scan_id"] != "004_1"])
    with pytest.raises(InputError, match="'004_1'"):
        read_fold(results, 0)

    write_tsv(results.splits, pd.concat([splits, splits[splits["scan_id"] == "005_0"]]))
    with pytest.raises(InputError, match="'005_0'"):
        read_fold(results, 0)
