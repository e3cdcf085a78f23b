"""The separation benchmark: recovery and score, the best achievable figures, one evaluated recipe, and the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.data.standardisation import learn_standardisation
from sepclr_neuro.validation.separation.benchmark import (
    _dependence,
    prepare_cohort,
    read_truth,
    run_recipe,
    truth_features,
)
from sepclr_neuro.validation.separation.measure import (
    FACTORS,
    PARTS,
    factor_values,
    held_out_values,
    recovery,
    separation_parts,
)
from sepclr_neuro.validation.separation.table import (
    comparison_table,
    interval,
    separation_table,
    write_separation_tables,
)

RECIPES: dict[str, Any] = {
    "separating": {"method": "sepclr-dcor", "settings": {"salient_dim": 4, "common_dim": 4}},
    "supervised": {"method": "supervised", "standardisation": {"intensity": "global"}},
    "closed": {"method": "ridge-discriminant"},  # without a loss
}


def configure(folder: Path, **separation: Any) -> Config:
    return parse_config(
        {
            "output": str(folder / "results"),
            "network": {"name": "linear", "patch": 4},
            "training": {"epochs": 2, "batch_size": 8},
            "separation": {
                "seeds": [3, 4],
                "cohorts": {
                    "small": {
                        "cohort": {"source": "simulated", "simulation": {"participants": 80, "sites": 2}},
                        "volumes": {"shape": [32, 32, 32]},
                    }
                },
                "recipes": RECIPES,
                **separation,
            },
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    config = configure(tmp_path_factory.mktemp("separation"))
    for seed in config.separation.seeds:
        prepare_cohort(config, "small", seed)
        for recipe in RECIPES:
            run_recipe(config, "small", seed, recipe)
    return config, Results(config.output)


# --- figures -----------------------------------------------------------------------------------------------------


def test_recovery_is_0_at_chance_and_1_at_the_best_whatever_the_unit() -> None:
    values = pd.DataFrame(
        {
            "factor": ["sex", "sex", "sex", "age", "age", "sans"],
            "value": [0.5, 0.9, 0.7, 12.0, 4.0, 3.0],
            "chance": [0.5, 0.5, 0.5, 12.0, 12.0, 5.0],
        }
    )
    found = recovery(values, {"sex": 0.9, "age": 4.0, "sans": 6.0})
    np.testing.assert_allclose(found, [0, 1, 0.5, 0, 1, np.nan])


@pytest.mark.parametrize(("held", "score"), [("right", 1.0), ("wrong", -1.0), ("both", 0.0), ("beyond", 1.0)])
def test_the_score_of_known_spaces(held: str, score: float) -> None:
    rows = []
    for name, factor in FACTORS.items():
        for space in ("common", "salient"):
            belongs = space == factor.belongs_in
            share = {"right": belongs, "wrong": not belongs, "both": True, "beyond": 1.3 if belongs else -0.4}[held]
            rows.append({"factor": name, "space": space, "share": float(share)})
    assert separation_parts(pd.DataFrame(rows)) == dict.fromkeys(PARTS, score)


def test_an_empty_salient_space_has_no_salient_part() -> None:
    """It has a score all the same, of the common factors that it does not predict: the reason to report both parts."""
    rows = [{"factor": name, "space": "salient", "share": 0.0} for name in FACTORS]
    rows += [
        {"factor": name, "space": "common", "share": float(factor.belongs_in == "common")}
        for name, factor in FACTORS.items()
    ]
    assert separation_parts(pd.DataFrame(rows)) == {"score": 4 / 7, "salient": 0, "common": 1}


def test_a_single_space_has_no_score() -> None:
    single = separation_parts(pd.DataFrame({"factor": ["age"], "space": ["single"], "share": [1.0]}))
    assert np.isnan(list(single.values())).all()


def test_held_out_participants_that_an_encoder_was_trained_on_are_refused(made: tuple[Config, Results]) -> None:
    config, _ = made
    data = Results(config.separation_run("small", 3).output)
    cohort, fold = load_cohort(data.cohort), read_fold(data.splits, data.index, 0)
    with pytest.raises(ValueError, match="leak"):
        factor_values({}, cohort, fold, [*fold.train, fold.test[0]])


def test_predicting_the_diagnosis_by_site_alone_is_no_recovery() -> None:
    """Three of four patients are at one site and three of four controls at the other."""
    people = [f"sub-{number:03}" for number in range(80)]
    patient = np.arange(80) % 2 == 1
    at_first = (np.arange(80) // 2 % 4 == 0) ^ patient
    cohort = pd.DataFrame(
        {
            "scan_id": people,
            "participant_id": people,
            "group": np.where(patient, "target", "background"),
            "site": np.where(at_first, "a", "b"),
            "sex": np.where(np.arange(80) // 8 % 2 == 0, "F", "M"),
            "age": np.arange(80.0),
            "sans": np.where(patient, np.arange(80.0), np.nan),
            "saps": np.where(patient, np.arange(80.0), np.nan),
        }
    )
    space = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 2)), index=people)
    values = factor_values({"common": space}, cohort, Fold(0, tuple(people[:40]), tuple(people[40:])), people[:40])
    chance = values.set_index("factor")["chance"]
    assert chance["diagnosis"] == 0.75
    assert chance["sex"] == chance["site_in_controls"] == 0.5


def test_probes_among_held_out_participants_find_what_training_codes_do_not_show() -> None:
    rng, number = np.random.default_rng(0), np.arange(160)
    scans = np.array([f"sub-{one:03}" for one in number])
    cohort = pd.DataFrame({"scan_id": scans, "participant_id": scans, "age": rng.normal(40, 9, 160)})
    cohort["group"], cohort["site"] = np.where(number % 2, "target", "background"), np.where(number % 4 < 2, "a", "b")
    cohort["sex"], cohort["sans"], cohort["saps"] = rng.permutation(["female", "male"] * 80), 1.0 * number, 1.0 * number
    held_out = number >= 80
    codes = rng.normal(size=(160, 1)) + 8.0 * (held_out & (cohort["site"] == "b")).to_numpy()[:, None]
    fold, spaces = Fold(0, tuple(scans[~held_out]), tuple(scans[held_out])), {"salient": pd.DataFrame(codes, scans)}
    usual, ours = (
        values.set_index("factor")["value"]["site_in_controls"]
        for values in (factor_values(spaces, cohort, fold, fold.train), held_out_values(spaces, cohort, fold))
    )
    assert usual < 0.7
    assert ours > 0.95


def test_an_interval_is_students() -> None:
    mean, low, high = interval([0.1, 0.2, 0.6])
    assert mean == pytest.approx(0.3)
    assert high - mean == pytest.approx(4.302653 * np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3), rel=1e-6)
    assert low == pytest.approx(2 * mean - high)
    assert np.isnan(interval([0.4])[1])


def test_recipes_are_compared_on_the_same_cohort_and_seed() -> None:
    scores = {"ours": [0.5, 0.3, 0.7], "other": [0.4, 0.1, 0.6], "single": [np.nan] * 3}
    runs = [_run(recipe, seed, score) for recipe, values in scores.items() for seed, score in enumerate(values)]
    table = comparison_table(runs)
    assert set(zip(table["reference"], table["method"], strict=True)) == {("ours", "other"), ("other", "ours")}
    (row,) = table[(table["reference"] == "ours") & (table["part"] == "common")].to_dict("records")
    assert row["seeds"] == 3
    np.testing.assert_allclose([row["difference"], row["low"], row["high"]], interval([0.1, 0.2, 0.1]))
    assert comparison_table([_run("single", 0, np.nan)]).empty


def test_over_cohorts_only_seeds_are_independent() -> None:
    """The same seed draws the same participants in each cohort, so that only seeds are independent."""
    scores = {("ours", "small"): [0.5, 0.3, 0.7], ("other", "small"): [0.4, 0.1, 0.6]}
    scores |= {("ours", "large"): [0.6, 0.8, 0.7], ("other", "large"): [0.3, 0.4, 0.6]}
    runs = [
        _run(recipe, seed, score, cohort)
        for (recipe, cohort), values in scores.items()
        for seed, score in enumerate(values)
    ]
    table = comparison_table(runs)
    chosen = (table["cohort"] == "all") & (table["reference"] == "ours") & (table["part"] == "score")
    (row,) = table[chosen].to_dict("records")
    assert row["seeds"] == 3
    np.testing.assert_allclose([row["difference"], row["low"], row["high"]], interval([0.2, 0.3, 0.1]))


def _run(recipe: str, seed: int, score: float, cohort: str = "small") -> dict[str, Any]:
    """A run with the factor age alone; a recipe without a score has one space."""
    spaces = {"single": 1.0} if np.isnan(score) else {"common": score, "salient": 0.0}
    values = pd.DataFrame([{"factor": "age", "space": space, "share": share} for space, share in spaces.items()])
    return {"cohort": cohort, "recipe": recipe, "seed": seed, "values": values}


# --- runs --------------------------------------------------------------------------------------------------------


def test_half_of_the_participants_are_held_out_and_seeds_are_other_cohorts(made: tuple[Config, Results]) -> None:
    config, _ = made
    first, second = (Results(config.separation_run("small", seed).output) for seed in (3, 4))
    fold = read_fold(first.splits, first.index, 0)
    assert (len(fold.train), len(fold.test)) == (40, 40)
    assert VolumeCache(first).checksums != VolumeCache(second).checksums


def test_features_of_the_true_maps_predict_the_disease(made: tuple[Config, Results]) -> None:
    config, results = made
    data = Results(config.separation_run("small", 3).output)
    cache, fold = VolumeCache(data), read_fold(data.splits, data.index, 0)
    standardisation = learn_standardisation(cache.one_by_one(fold.train), fold.train, config.standardisation)
    features = truth_features(read_truth(data.truth), cache, standardisation)
    volume = standardisation.apply(cache.read([7]))[0, 0].numpy().astype(np.float64)
    for name in ("age", "disease_negative"):
        change = nibabel.nifti1.load(data.truth / f"{name}.nii.gz").get_fdata()
        expected = change * standardisation.mean.numpy() / standardisation.sd.numpy() * standardisation.mask.numpy()
        assert features[name].iloc[7] == pytest.approx((volume * expected).sum(), rel=1e-4)
    severity = read_tsv(data.truth / "factors.tsv").set_index("participant_id")
    for name in ("disease_negative", "disease_positive"):
        # By chance 0.11 at most in two of three cohorts of 80.
        assert abs(np.corrcoef(features[name], severity.loc[features.index, name])[0, 1]) > 0.25
    best = read_tsv(results.separation_best("small", 3)).set_index("factor")
    assert best.loc["diagnosis", "value"] == max(best.loc["diagnosis", ["truth_maps", "voxels"]])
    assert best.loc["age", "value"] == min(best.loc["age", ["truth_maps", "voxels"]])


def test_what_a_run_records(made: tuple[Config, Results]) -> None:
    _, results = made
    run = read_json(results.separation_run("small", 3, "separating"))
    assert {(row["factor"], row["space"]) for row in run["values"]} == {
        (factor, space) for factor in FACTORS for space in ("common", "salient")
    }
    assert run["settings"]["methods"]["sepclr-dcor"]["salient_dim"] == 4
    assert -1 <= run["score"] <= 1
    assert -1 <= run["dependence"] <= 1
    assert run["localisation"]["ratio"] > 0
    supervised = read_json(results.separation_run("small", 3, "supervised"))
    assert (supervised["score"], supervised["dependence"]) == (None, None)
    assert supervised["settings"]["standardisation"]["intensity"] == "global"


def test_dependence_is_that_of_held_out_patients() -> None:
    people = [f"sub-{number:03}" for number in range(80)]
    cohort = pd.DataFrame({"scan_id": people, "group": ["background", "target"] * 40})
    fold = Fold(0, tuple(people[:40]), tuple(people[40:]))
    rng = np.random.default_rng(0)
    spaces = {name: pd.DataFrame(rng.normal(size=(80, 2)), index=people) for name in ("common", "salient")}
    of_others = _dependence(spaces, cohort, fold)
    assert of_others is not None
    assert abs(of_others) < 0.3
    patients = people[41::2]
    spaces["salient"].loc[patients] = 3 * spaces["common"].loc[patients]
    assert _dependence(spaces, cohort, fold) == pytest.approx(1)
    assert _dependence({"single": spaces["common"]}, cohort, fold) is None


def test_the_same_recipe_gives_the_same_figures(made: tuple[Config, Results]) -> None:
    config, results = made
    path = results.separation_run("small", 3, "separating")
    before = read_json(path)
    run_recipe(config, "small", 3, "separating")
    again = read_json(path)
    assert (again["values"], again["localisation"]) == (before["values"], before["localisation"])


def test_the_tables_and_the_figure(made: tuple[Config, Results]) -> None:
    config, results = made
    write_separation_tables(config, results)
    table = read_tsv(results.separation("separation.tsv"))
    assert table["method"].tolist() == list(RECIPES)
    columns = ["method", "cohort", "seeds", "score", "low", "high", "diagnosis_common", "diagnosis_salient"]
    assert table.columns[: len(columns)].tolist() == columns
    runs = [read_json(results.separation_run("small", seed, "separating")) for seed in (3, 4)]
    assert table.loc[0, "score"] == pytest.approx(np.mean([run["score"] for run in runs]), abs=1e-5)
    held_out = [separation_parts(pd.DataFrame(run["held_out"]).astype({"share": float}))["score"] for run in runs]
    assert table.loc[0, "held_out_score"] == pytest.approx(np.mean(held_out), abs=1e-5)
    assert {"held_out_age_common", "held_out_age_common_value"} <= set(table.columns)
    text = results.separation("separation.md").read_text(encoding="utf-8")
    assert text.count("| `supervised` | n/a |") == 2  # of both kinds of probes
    assert "simulated" in text
    comparisons = read_tsv(results.separation("comparisons.tsv"))
    of_reference = comparisons[comparisons["reference"] == "separating"]
    assert of_reference[["method", "part"]].to_numpy().tolist() == [["closed", part] for part in PARTS]
    for suffix in ("png", "svg"):
        assert results.separation(f"separation.{suffix}").stat().st_size > 5000


def test_factors_without_values_leave_the_score_to_the_others() -> None:
    def run(seed: int, value: float, best: float) -> dict[str, Any]:
        values = pd.DataFrame({"factor": ["age"], "space": ["common"], "value": [value]})
        values = values.assign(best=best, chance=9.0, share=np.nan)
        measured = {"values": values, "held_out": values, "dependence": None, "localisation": None, "seconds": 60.0}
        return {"cohort": "small", "recipe": "a", "seed": seed, **measured}

    runs = [run(0, 4.0, 3.0), run(1, 8.0, 8.0)]
    row = separation_table(runs).iloc[0]
    # Recovery of the mean figures: a cohort whose best figure is near chance does not dominate.
    assert row["age_common"] == pytest.approx((9 - 6) / (9 - 5.5))
    assert (row["minutes"], row["seeds"]) == (1.0, 2)
    assert [row["age_common_value"], row["age_common_value_low"]] == pytest.approx(interval([4.0, 8.0])[:2])
    assert np.isnan(row["dependence"])


# --- configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"recipes": {"a": {"method": "sepclr"}}}, "no such method"),
        ({"recipes": {"a": {"method": "sepclr-k-jem", "settings": {"salient": 3}}}}, "salient: unknown key"),
        ({"recipes": {"a": {"method": "pca", "settings": {"training": {"epochs": 3}}}}}, "training"),
        (
            {"recipes": {"a": {"method": "sepclr-k-jem", "settings": {"training": {"nodes": 2}}}}},
            r"separation\.recipes\.a\.settings\.training\.nodes: the benchmark of separation uses one node",
        ),
        ({"reference": "b"}, "separation.reference: 'b' is no recipe"),
        ({"seeds": [1, 1]}, "a seed is given twice"),
        (
            {"cohorts": {"a": {"cohort": {"source": "files", "studies": [{"name": "s", "participants": "p.tsv"}]}}}},
            "known",
        ),
    ],
)
def test_settings_that_cannot_be_run_are_refused(tmp_path: Path, section: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        configure(tmp_path, **section)


def test_an_edit_of_one_recipe_changes_its_runs_alone(tmp_path: Path) -> None:
    from sepclr_neuro.config.stages import stage_config

    before = configure(tmp_path)
    edited = {**RECIPES, "supervised": {"method": "supervised"}}
    after = configure(tmp_path, recipes=edited, seeds=[3, 4, 5])
    changed = {
        name for name in RECIPES if stage_config(before, "separation", name) != stage_config(after, "separation", name)
    }
    assert changed == {"supervised"}
    assert stage_config(before, "separation-cohort", "small") == stage_config(after, "separation-cohort", "small")
