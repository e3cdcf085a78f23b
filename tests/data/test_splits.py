"""Folds: people together, strata spread, leaks and stale files refused."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.splits import Splits
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.splits import make_splits, publishable, read_fold, read_list, stratified_lines, write_splits


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
    write_tsv(results.index, cohort[["scan_id"]].assign(row=range(len(cohort)), sha256=cohort["scan_id"], source="a"))
    return results


def test_every_scan_once_a_fold_and_held_out_once_a_repeat() -> None:
    cohort = make_cohort()
    splits = make_splits(cohort, Splits(folds=4, repeats=2), seed=0)
    assert splits.columns.tolist() == ["fold", "scan_id", "participant_id", "unit", "side"]
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


def test_a_number_is_said_to_count_by_its_quarters_and_a_code_counts_by_its_values() -> None:
    cohort = make_cohort().assign(scanner=[1 + (number % 10 == 0) for number in range(40)])
    settings = Splits(folds=2, stratify_by=["age", "scanner"])
    (line,) = stratified_lines(cohort, settings)
    assert line.startswith("splits.stratify_by: age is a number, so that folds balance its quarters (limits ")
    splits = make_splits(cohort, Splits(folds=2, stratify_by=["scanner"]), seed=0)
    held_out = splits[splits["side"] == "test"].merge(cohort, on="scan_id")
    assert set(held_out[held_out["scanner"] == 2].groupby("fold").size()) == {2}


@pytest.mark.parametrize(
    ("folds", "advice"), [(21, "set it to between 2 and 20"), (20, ""), (1000, "set it to between 2 and 20")]
)
def test_too_many_folds_are_told_how_many_are_possible(folds: int, advice: str) -> None:
    if not advice:
        make_splits(make_cohort(), Splits(folds=folds), seed=0)
        return
    with pytest.raises(InputError, match=f"splits.folds: {folds} folds need .* has 20; {advice}"):
        make_splits(make_cohort(), Splits(folds=folds), seed=0)


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
    with pytest.raises(InputError, match=r"splits.folds: 7 folds need 7 participants of each group, background has 6"):
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
    folds = [read_fold(results.splits, results.index, number) for number in range(config.splits.count)]
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
        read_fold(results.splits, results.index, 2)

    leaking = splits.copy()
    leaking.loc[0, "side"] = "test" if leaking.loc[0, "side"] == "train" else "train"
    write_tsv(results.splits, leaking)
    with pytest.raises(InputError, match="participant '000' in train and in test"):
        read_fold(results.splits, results.index, 0)

    write_tsv(results.splits, splits[splits["scan_id"] != "004_1"])
    with pytest.raises(InputError, match="'004_1'"):
        read_fold(results.splits, results.index, 0)

    write_tsv(results.splits, pd.concat([splits, splits[splits["scan_id"] == "005_0"]]))
    with pytest.raises(InputError, match="'005_0'"):
        read_fold(results.splits, results.index, 0)

    family = splits["participant_id"].isin(["006", "007", "008"])
    assert splits[family & (splits["fold"] == 0)]["side"].nunique() == 2
    write_tsv(results.splits, splits.assign(unit=splits["unit"].where(~family, "family 6")))
    with pytest.raises(InputError, match="has unit 'family 6' in train and in test"):
        read_fold(results.splits, results.index, 0)

    write_tsv(results.splits, splits)
    index = read_tsv(results.index, text=("scan_id", "sha256"))
    same = index["scan_id"].isin(["006_0", "007_0", "008_0"])
    write_tsv(results.index, index.assign(sha256=index["sha256"].where(~same, "abc")))
    with pytest.raises(InputError, match="has the volume with checksum 'abc' in train and in test"):
        read_fold(results.splits, results.index, 0)
    with pytest.raises(InputError, match="006_0 and 007_0 and 008_0 have the same volume, by its checksum"):
        write_splits(Config(splits=Splits(folds=2)), results)


# --- families, sites, fixed lists --------------------------------------------------------------------------------


def test_a_family_stays_together_and_strata_are_still_spread() -> None:
    cohort = make_cohort(people=60).assign(
        family=[float(number // 3) if number < 30 else np.nan for number in range(60)]
    )
    splits = make_splits(cohort, Splits(folds=5, repeats=2, group_by="family"), seed=0)
    merged = splits.merge(cohort[["scan_id", "family", "group"]], on="scan_id")
    assert (merged.groupby(["fold", "family"])["side"].nunique() == 1).all()
    assert merged.loc[merged["fold"] == 0, "unit"].nunique() == 10 + 30
    held_out = merged[merged["side"] == "test"]
    assert held_out.groupby(["fold", "group"]).size().between(4, 8).all()


def test_each_site_is_held_out_in_turn(said: pytest.LogCaptureFixture) -> None:
    cohort = make_cohort(sites=4)
    settings = Splits(scheme="leave-site-out", sites=["2", "0", "3"])
    assert settings.count == 3
    splits = make_splits(cohort, settings, seed=0).merge(cohort[["scan_id", "site"]], on="scan_id")
    held_out = splits[splits["side"] == "test"].groupby("fold")["site"].unique()
    assert [list(sites) for sites in held_out] == [["2"], ["0"], ["3"]]
    assert splits.groupby("fold").size().tolist() == [40] * 3
    assert "never held out, since `splits.sites` does not list them: 1" in said.text


def test_external_sites_are_held_out_together() -> None:
    cohort = make_cohort(sites=4)
    settings = Splits(scheme="external-sites", sites=["1", "3"])
    splits = make_splits(cohort, settings, seed=0).merge(cohort[["scan_id", "site"]], on="scan_id")
    assert settings.count == 1
    assert set(splits.loc[splits["side"] == "test", "site"]) == {"1", "3"}
    assert set(splits.loc[splits["side"] == "train", "site"]) == {"0", "2"}


@pytest.mark.parametrize("scheme", ["leave-site-out", "external-sites"])
def test_some_controls_of_a_held_out_site_train(scheme: Literal["leave-site-out", "external-sites"]) -> None:
    cohort = make_cohort(sites=4, sessions=2)
    settings = Splits(scheme=scheme, sites=["1", "3"], site_controls=2)
    splits = make_splits(cohort, settings, seed=0).merge(cohort[["scan_id", "site", "group"]], on="scan_id")
    for fold, sites in enumerate([["1"], ["3"]] if scheme == "leave-site-out" else [["1", "3"]]):
        here = splits[(splits["fold"] == fold) & splits["site"].isin(sites)]
        training = here[here["side"] == "train"].drop_duplicates("participant_id")
        assert training.groupby("site")["group"].agg(list).to_dict() == {site: ["background"] * 2 for site in sites}
        assert not set(training["participant_id"]) & set(here.loc[here["side"] == "test", "participant_id"])
        assert set(here.loc[here["side"] == "test", "group"]) == {"background", "target"}
    other = make_splits(cohort, settings, seed=1)
    assert not splits["side"].equals(other["side"])  # drawn at random
    with pytest.raises(InputError, match=r"site_controls: 5 controls of site '1' are to train, .* it has 5;"):
        make_splits(cohort, Splits(scheme=scheme, sites=["1"], site_controls=5), seed=0)


def test_site_controls_train_encoders_and_are_not_kept_for_probes() -> None:
    cohort = make_cohort(sites=4)
    settings = Splits(scheme="leave-site-out", sites=["1", "3"], site_controls=4, probe_fraction=0.5)
    splits = make_splits(cohort, settings, seed=0).merge(cohort[["scan_id", "site"]], on="scan_id")
    for fold, site in enumerate(["1", "3"]):
        here = splits[(splits["fold"] == fold) & (splits["site"] == site)]
        assert here["side"].value_counts().to_dict() == {"train": 4, "test": len(here) - 4}
        assert (splits.loc[splits["fold"] == fold, "side"] == "probe").any()


def test_a_family_with_patients_or_elsewhere_gives_no_site_control() -> None:
    cohort = make_cohort(sites=2)
    at_site = cohort.index[(cohort["site"] == "1") & (cohort["group"] == "background")]
    cohort["family"] = None
    cohort.loc[[*at_site[:4], cohort.index[(cohort["site"] == "1") & (cohort["group"] == "target")][0]], "family"] = "f"
    settings = Splits(scheme="external-sites", sites=["1"], site_controls=len(at_site) - 5, group_by="family")
    splits = make_splits(cohort, settings, seed=0)
    chosen = splits[(splits["side"] == "train") & splits["scan_id"].isin(cohort.loc[at_site, "scan_id"])]
    assert len(chosen) == len(at_site) - 5
    assert not set(chosen["unit"]) & {"family f"}
    with pytest.raises(InputError, match="of their own unit"):
        make_splits(cohort, settings.model_copy(update={"site_controls": len(at_site) - 4}), seed=0)


def test_sites_that_cannot_be_held_out_are_refused() -> None:
    cohort = make_cohort(sites=2)
    with pytest.raises(InputError, match="the cohort has no site 'far'"):
        make_splits(cohort, Splits(scheme="external-sites", sites=["0", "far"]), seed=0)
    with pytest.raises(InputError, match="fold 0 has no participant of the background group to train on"):
        make_splits(cohort, Splits(scheme="external-sites", sites=["0", "1"]), seed=0)
    cohort = cohort.assign(family=[float(number // 4) for number in range(40)])
    with pytest.raises(InputError, match=r"fold 0 has family 0.0 on two sides \(000, 001, 002, 003\)"):
        make_splits(cohort, Splits(scheme="leave-site-out", sites=["0", "1"], group_by="family"), seed=0)


def test_a_fixed_list_is_what_was_published(tmp_path: Path) -> None:
    cohort = make_cohort(sessions=2)
    results = make_results(tmp_path, cohort)
    write_splits(Config(splits=Splits(folds=4)), results)
    made = read_tsv(results.splits, text=("scan_id", "participant_id"))
    settings = Splits(scheme="file", file=results.published_splits, file_folds=4)
    assert settings.count == 4
    pd.testing.assert_frame_equal(make_splits(cohort, settings, 9, read_list(settings)), made, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[table["participant_id"] != "004"], "fold 0 lacks 1 participants of the cohort, 004 first"),
        (lambda table: pd.concat([table, table[:1]]), "fold 0 lists participant 000 more than once"),
        (lambda table: table.replace({"side": {"test": "Test"}}), "column 'side' has 'Test'; expected train or test"),
        (lambda table: table[table["fold"] != "1"], "has the folds 0, expected 0 to 1"),
        (lambda table: table.replace({"fold": {"1": "one"}}), "line 42: fold is 'one'; expected a number from 0"),
        (lambda table: table.drop(columns="side"), "has no column 'side'"),
        (lambda table: table.assign(side="train"), "fold 0 holds out no participant"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, change, message: str) -> None:
    cohort = make_cohort()
    table = publishable(make_splits(cohort, Splits(folds=2), seed=0), None).astype({"fold": "str"})
    path = tmp_path / "list.tsv"
    write_tsv(path, change(table))
    settings = Splits(scheme="file", file=path, file_folds=2)
    with pytest.raises(InputError, match=message):
        make_splits(cohort, settings, 0, read_list(settings))


def test_strangers_of_a_list_are_said(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    cohort = make_cohort()
    table = publishable(make_splits(cohort, Splits(folds=2), seed=0), None)
    # What else is wrong with them is nobody's concern.
    stranger = table[table["participant_id"] == "007"].assign(side="unknown")
    write_tsv(tmp_path / "list.tsv", pd.concat([table, stranger]))
    settings = Splits(scheme="file", file=tmp_path / "list.tsv", file_folds=2)
    make_splits(cohort[cohort["participant_id"] != "007"], settings, 0, read_list(settings))
    assert "1 of its participants are not in the cohort (007 first)" in said.text
    with pytest.raises(InputError, match=r"nothing\.tsv: cannot be read"):
        read_list(settings.model_copy(update={"file": tmp_path / "nothing.tsv"}))


# --- publishing, probes ------------------------------------------------------------------------------------------


def test_published_splits_name_people_or_their_keyed_hashes(tmp_path: Path) -> None:
    results = make_results(tmp_path, make_cohort(sessions=2))
    write_splits(Config(splits=Splits(folds=2)), results)
    plain = read_tsv(results.published_splits, text=("participant_id",))
    assert plain.columns.tolist() == ["fold", "participant_id", "side"]
    assert len(plain) == 2 * 40
    assert not results.id_key.exists()

    config = Config(splits=Splits(folds=2, hash_ids=True))
    write_splits(config, results)
    hashed = read_tsv(results.published_splits, text=("participant_id",))
    assert hashed["participant_id"].str.fullmatch("[0-9a-f]{16}").all()
    assert hashed["participant_id"].nunique() == 40
    assert hashed.groupby("side").size().tolist() == plain.groupby("side").size().tolist()
    assert set(hashed["participant_id"]).isdisjoint(
        hashlib.sha256(name.encode()).hexdigest()[:16] for name in plain["participant_id"]
    )
    first = results.published_splits.read_bytes()
    write_splits(config, results)
    assert results.published_splits.read_bytes() == first
    results.id_key.unlink()
    write_splits(config, results)
    assert results.published_splits.read_bytes() != first


def test_some_training_people_are_kept_for_probes(tmp_path: Path) -> None:
    cohort = make_cohort(sessions=2).assign(family=[float(number // 4) for number in range(80)])
    results = make_results(tmp_path, cohort)
    config = Config(splits=Splits(folds=4, probe_fraction=0.2))
    write_splits(config, results)
    for number in range(4):
        fold = read_fold(results.splits, results.index, number)
        groups = cohort.set_index("scan_id").loc[list(fold.probe), "group"]
        assert groups.value_counts().to_dict() == {"background": 6, "target": 6}
        assert fold.probed == fold.probe
        assert not {*fold.probe} & {*fold.train, *fold.test}
    assert read_fold(results.splits, results.index, 0).probe != read_fold(results.splits, results.index, 1).probe
    splits = make_splits(cohort, Splits(folds=4, probe_fraction=0.2, group_by="family"), seed=0)
    assert (splits.groupby(["fold", "unit"])["side"].nunique() == 1).all()
    assert set(splits["side"]) == {"train", "probe", "test"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "leave-site-out"}, "needs the names of the sites"),
        ({"sites": ["a"]}, "is not used by `splits.scheme: k-fold`"),
        ({"site_controls": 5}, "is not used by `splits.scheme: k-fold`"),
        ({"scheme": "external-sites", "sites": ["a", "a"]}, "'a' is listed twice"),
        ({"scheme": "file"}, "needs `file` and `file_folds`"),
        ({"file": "splits.tsv", "file_folds": 2}, "no other scheme uses them"),
        ({"scheme": "leave-site-out", "sites": ["a"], "repeats": 2}, "is of `splits.scheme: k-fold` alone"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Splits(**settings)


def test_splits_describe_themselves() -> None:
    text = Splits(folds=3, repeats=2, group_by="family", probe_fraction=0.25).describe()
    assert "3-fold cross-validation, repeated 2 times, stratified by diagnosis and site" in text
    assert "all participants with the same family on one side. Of the training participants, 25 % were kept" in text
    assert "each of a, b was held out" in Splits(scheme="leave-site-out", sites=["a", "b"]).describe()
    assert "external test data" in Splits(scheme="external-sites", sites=["a"]).describe()
    some = Splits(scheme="external-sites", sites=["a"], site_controls=5).describe()
    assert "external test data, but for 5 controls of each, drawn at random, who trained, all scans" in some
    assert "fixed list says (1 split)" in Splits(scheme="file", file="a.tsv", file_folds=1).describe()
