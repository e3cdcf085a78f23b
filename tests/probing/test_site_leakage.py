"""Site leakage is found where it exists only; dependence has a null; ComBat is fitted on training participants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA as ReferencePCA  # noqa: N811

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from sepclr_neuro.data.splits import Fold, read_fold, write_splits
from sepclr_neuro.data.standardisation import Standardisation, write_standardisation
from sepclr_neuro.methods import base
from sepclr_neuro.probing import site_leakage
from sepclr_neuro.probing.site_leakage import harmonise, voxel_components, write_site_leakage
from tests.probing import probed_run

METHODS = ["sepclr-k-jem", "supervised"]
SHAPE = (4, 5, 6)
PEOPLE = 90


def make_cohort() -> pd.DataFrame:
    """Three sites, each with as many patients as controls."""
    number = np.arange(PEOPLE)
    patient = number % 2 == 1
    return probed_run.make_cohort(PEOPLE).assign(
        site=np.array(["oslo", "prague", "rome"])[number // 2 % 3],
        sans=np.where(patient, 10.0 + number, np.nan),
        saps=np.where(patient, 10.0, np.nan),
    )


def write_run(folder: Path, cohort: pd.DataFrame, **site_leakage: object) -> tuple[Config, Results]:
    """Site is linear in the common space and a ring in the salient one; in patients the spaces share a dimension."""
    config = Config(
        output=folder,
        splits={"folds": 3},
        methods={name: {} for name in METHODS},
        site_leakage=site_leakage,
        probes={"permutations": 199, "bootstraps": 199},
    )
    results = Results(folder)
    rng = np.random.default_rng(0)
    write_tsv(results.cohort, cohort)
    write_json(results.grid, {"shape": SHAPE, "affine": np.eye(4).tolist()})
    volumes = rng.uniform(0.3, 0.9, (len(cohort), *SHAPE))
    volumes[cohort["site"] == "oslo", :2] += 0.4
    volumes = volumes.astype(np.float16)
    with atomic_path(results.volumes) as temporary, temporary.open("wb") as file:
        np.save(file, volumes)
    index = cohort[["scan_id"]].assign(row=range(len(cohort)), sha256=cohort["scan_id"], source="made for a test")
    write_tsv(results.index, index.assign(voxels_sha256=[voxels_sha256(volume) for volume in volumes]))
    write_splits(config, results)
    sites = np.stack([cohort["site"] == site for site in ("oslo", "prague", "rome")], axis=1).astype(float)
    angle = rng.uniform(0, 2 * np.pi, len(cohort))
    radius = sites @ [0.0, 2.0, 4.0]
    ring = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    shared = rng.normal(size=len(cohort))
    for fold in range(config.splits.count):
        write_standardisation(config, results, fold)
        split = read_fold(results.splits, results.index, fold)
        side = np.where(cohort["scan_id"].isin(split.test), "test", "train")
        for method in METHODS:
            noise = 0.2 * rng.normal(size=(len(cohort), 8))
            spaces = {
                "common": np.column_stack([sites, shared]) + noise[:, :4],
                "salient": np.column_stack([ring, shared]) + noise[:, 4:7],
            }
            if method == "supervised":
                spaces = {"single": noise}
            columns = {f"{space}_{k}": column for space, values in spaces.items() for k, column in enumerate(values.T)}
            write_tsv(results.representations(method, fold), cohort[["scan_id"]].assign(side=side, **columns))
            write_json(results.model_folder(method, fold) / "model.json", {"train_scan_ids": list(split.train)})
    return config, results


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    config, results = write_run(tmp_path_factory.mktemp("run"), make_cohort(), voxel_components=10)
    write_site_leakage(config, results)
    return config, results


def read_table(results: Results) -> pd.DataFrame:
    table = read_tsv(results.table("site_leakage", "tsv"))
    return table.set_index(["method", "space", "people", "probe", "target", "harmonised"]).sort_index()


def test_a_leak_is_seen_where_it_is(run: tuple[Config, Results]) -> None:
    table = read_table(run[1])
    for people in ("all", "background", "target"):
        key = (people, "linear", "site", "no")
        common, voxels = table.loc[("sepclr-k-jem", "common", *key)], table.loc[("voxels", "components", *key)]
        assert common["mean"] > 95
        assert common["p"] == pytest.approx(1 / 200)
        assert voxels["mean"] > 50
        assert common["chance"] == pytest.approx(100 / 3, rel=1e-4)
        assert table.loc[("supervised", "single", *key), "p"] > 0.02
    assert table.loc[("sepclr-k-jem", "common", "all", "linear", "site", "no"), "n"] == PEOPLE
    assert table.loc[("sepclr-k-jem", "common", "target", "linear", "site", "no"), "n"] == PEOPLE / 2


def test_a_nonlinear_probe_sees_what_no_line_divides(run: tuple[Config, Results]) -> None:
    table = read_table(run[1])
    nonlinear = table.loc[("sepclr-k-jem", "salient", "all", "nonlinear", "site", "no")]
    linear = table.loc[("sepclr-k-jem", "salient", "all", "linear", "site", "no")]
    assert nonlinear["mean"] > 85
    assert linear["mean"] < nonlinear["mean"] - 25


def test_columns_and_families(run: tuple[Config, Results]) -> None:
    table = read_tsv(run[1].table("site_leakage", "tsv"))
    assert " ".join(table.columns) == (
        "method space people harmonised target probe metric mean sd folds chance null95 p q ci_low ci_high n"
    )
    assert set(table["target"]) == {"site", "diagnosis", "independence"}
    assert (table["q"] >= table["p"]).all()
    site = table[table["target"] == "site"]
    assert (site["ci_low"] <= site["mean"] + 5).all()
    assert (site["null95"] > site["chance"]).all()


def test_the_site_alone_tells_the_diagnosis_where_they_are_confounded(
    run: tuple[Config, Results], tmp_path: Path
) -> None:
    key = ("site", "site alone", "all", "linear", "diagnosis", "no")
    assert read_table(run[1]).loc[key, "p"] > 0.05
    cohort = make_cohort()
    swapped = (cohort["group"] == "target") & (cohort["site"] == "oslo") & (cohort.index > 8)
    config, results = write_run(
        tmp_path, cohort.assign(site=cohort["site"].mask(swapped, "rome")), voxel_components=None
    )
    write_site_leakage(config, results)
    confounded = read_table(results).loc[key]
    assert confounded["mean"] > 55
    assert confounded["p"] < 0.02
    assert "voxels" not in read_tsv(results.table("site_leakage", "tsv"))["method"].tolist()


def test_dependence_of_spaces_is_that_of_held_out_patients(run: tuple[Config, Results]) -> None:
    rows = read_tsv(run[1].table("site_leakage", "tsv")).query("target == 'independence'")
    (row,) = rows.to_dict("records")  # the other method has one space
    assert (row["method"], row["people"], row["metric"], row["n"]) == ("sepclr-k-jem", "target", "dcor", PEOPLE / 2)
    assert row["mean"] > row["null95"]
    assert row["p"] == pytest.approx(1 / 200)
    assert row["folds"] == 3


def test_of_very_many_patients_some_at_random_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = [f"sub-{number}" for number in range(50)]
    assert site_leakage._some(scans, 0) == scans
    monkeypatch.setattr(site_leakage, "MOST_PAIRED", 20)
    some = site_leakage._some(scans, 0)
    assert len(set(some)) == 20 < len(scans)
    assert set(some) < set(scans)
    assert some == site_leakage._some(scans, 0) != site_leakage._some(scans, 1)


def test_repeats_count_once_for_dependence() -> None:
    assert list(Config(splits={"folds": 3, "repeats": 2}).splits.first_repeat) == [0, 1, 2]
    by_site = {"scheme": "leave-site-out", "sites": ["a", "b"]}
    assert list(Config(splits=by_site).splits.first_repeat) == [0, 1]


@pytest.mark.parametrize("voxels_at_once", [base.VOXELS_AT_ONCE, 0])
def test_voxel_components_are_scikit_learns_of_training_people(
    run: tuple[Config, Results], voxels_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All planes of the volumes at once, and one at a time."""
    monkeypatch.setattr(base, "VOXELS_AT_ONCE", voxels_at_once)
    results = run[1]
    fold = read_fold(results.splits, results.index, 1)
    found = voxel_components(VolumeCache(results), Standardisation.load(results, 1), fold, 4)
    array = np.load(results.volumes).astype(np.float64)
    rows = {scan: row for row, scan in enumerate(make_cohort()["scan_id"])}
    standard = Standardisation.load(results, 1)
    mean, sd = standard.mean.numpy(), standard.sd.numpy()
    flat = ((array - mean) / sd * standard.mask.numpy()).reshape(len(array), -1)
    reference = ReferencePCA(4).fit(flat[[rows[scan] for scan in fold.train]])
    expected = reference.transform(flat[[rows[scan] for scan in fold.test]])
    ours = found.loc[list(fold.test)].to_numpy()
    np.testing.assert_allclose(ours * np.sign((ours * expected).sum(0)), expected, atol=1e-2)


def test_a_standardisation_of_everybody_is_refused(run: tuple[Config, Results]) -> None:
    fold = read_fold(run[1].splits, run[1].index, 0)
    other = read_fold(run[1].splits, run[1].index, 1)
    with pytest.raises(InputError, match="leak: the standardisation was learned from"):
        voxel_components(VolumeCache(run[1]), Standardisation.load(run[1], 0), Fold(0, fold.train, other.test), 4)


def test_representations_of_a_leaking_model_are_refused(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_cohort(), voxel_components=None)
    path = results.model_folder(METHODS[0], 2) / "model.json"
    held_out = read_fold(results.splits, results.index, 2).test[0]
    write_json(path, {"train_scan_ids": [*read_json(path)["train_scan_ids"], held_out]})
    with pytest.raises(InputError, match=r"leak: .*held-out"):
        write_site_leakage(config, results)


# --- ComBat ------------------------------------------------------------------------------------------------------


def combat_example() -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Features with an offset and a scale a site, and an age that sites share; two thirds train."""
    cohort = make_cohort()
    rng = np.random.default_rng(1)
    code = cohort["site"].map({"oslo": 0, "prague": 1, "rome": 2}).to_numpy()
    features = rng.normal(size=(PEOPLE, 6)) * (1 + code)[:, None] + 3 * code[:, None]
    features[:, 0] += 0.5 * cohort["age"]
    frame = pd.DataFrame(features, index=cohort["scan_id"])
    scans = cohort["scan_id"].tolist()
    return frame, cohort, scans[:60], scans[60:]


def test_combat_removes_the_site_from_held_out_participants_and_keeps_age() -> None:
    features, cohort, train, test = combat_example()
    after = harmonise(features, cohort, train, test).loc[test]
    people = cohort.set_index("scan_id").loc[test]

    def spread(table: pd.DataFrame) -> float:
        return float(table.groupby(people["site"]).mean().iloc[:, 1:].std().mean())

    assert spread(after) < 0.3 * spread(features.loc[test])
    assert np.corrcoef(after.iloc[:, 0], people["age"])[0, 1] > 0.9


def test_combat_learns_nothing_from_held_out_participants_nor_from_the_diagnosis() -> None:
    features, cohort, train, test = combat_example()
    before = harmonise(features, cohort, train, test)
    changed = features.copy()
    changed.loc[test] += 100.0
    turned = cohort.assign(group="target", diagnosis="schizophrenia")
    pd.testing.assert_frame_equal(before.loc[train], harmonise(changed, cohort, train, test).loc[train])
    pd.testing.assert_frame_equal(before, harmonise(features, turned, train, test))


def test_combat_refuses_what_it_cannot_know() -> None:
    features, cohort, train, test = combat_example()
    new = cohort.assign(site=cohort["site"].where(cohort["scan_id"] != test[0], "far"))
    with pytest.raises(InputError, match="site 'far' is held out, but ComBat was not fitted on it"):
        harmonise(features, new, train, test)
    one = cohort.assign(site=cohort["site"].where(cohort["scan_id"] != train[0], "far"))
    with pytest.raises(InputError, match="site 'far' has one training scan"):
        harmonise(features, one, train, test)
    with pytest.raises(InputError, match=r"sex is missing for 1 scan; name it in `cohort\.include"):
        harmonise(features, cohort.assign(sex=cohort["sex"].where(cohort["scan_id"] != test[0])), train, test)


@pytest.mark.parametrize("side", ["train", "test", "both"])
def test_combat_names_participants_without_a_site(side: str) -> None:
    features, cohort, train, test = combat_example()
    without = {"train": train[:1], "test": test[:1], "both": [*train[:1], *test[:1]]}[side]
    cohort = cohort.assign(site=cohort["site"].where(~cohort["scan_id"].isin(without)))
    with pytest.raises(InputError, match=rf"combat: site is missing for {len(without)} scans?; name it in"):
        harmonise(features, cohort, train, test)


def test_rows_after_combat_stand_beside_those_before(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_cohort(), voxel_components=None, combat=True)
    write_site_leakage(config, results)
    table = read_table(results)
    before, after = (
        table.loc[("sepclr-k-jem", "common", "all", "linear", "site", which), "mean"] for which in ("no", "yes")
    )
    assert after < before - 30
    assert {"no", "yes"} == set(table.xs("diagnosis", level="target").loc["sepclr-k-jem"].reset_index()["harmonised"])


def test_combat_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "combatlearn", None)
    with pytest.raises(InputError, match=r"pip install 'sepclr_neuro\[combat\]'"):
        harmonise(*combat_example())


def test_combat_with_held_out_sites_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="cannot harmonise a site that it was not fitted on"):
        Config(splits={"scheme": "leave-site-out", "sites": ["a"]}, site_leakage={"combat": True})
    Config(splits={"scheme": "leave-site-out", "sites": ["a"], "site_controls": 5}, site_leakage={"combat": True})


def test_one_site_is_not_read_and_the_spaces_are_still_compared(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    config, results = write_run(tmp_path, make_cohort().assign(site="oslo"), voxel_components=10)
    write_site_leakage(config, results)
    assert said.messages == ["site leakage: all participants are of one site, so it is not probed"]
    assert set(read_tsv(results.table("site_leakage", "tsv"))["target"]) == {"independence"}
