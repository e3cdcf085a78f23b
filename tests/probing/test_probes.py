"""Linear probes: figures against an independent oracle, no leakage, no participant dropped or added."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.verdicts import write_verdicts
from tests.oracles import probe_scores as oracle
from tests.probing.probed_run import METHOD, make_cohort, only, read_predictions, read_scores, write_run


def test_each_space_answers_what_it_holds(run: tuple[Config, Results]) -> None:
    scores = read_scores(run[1])["value"]
    for fold in (0, 1):
        assert scores[fold, "sex", "common"] == 1
        assert scores[fold, "site", "common"] == 1
        assert scores[fold, "diagnosis", "salient"] == 1
        assert scores[fold, "age", "common"] < 2 < 8 < scores[fold, "age", "salient"]
        assert scores[fold, "saps", "salient"] < 2 < 8 < scores[fold, "saps", "common"]
        assert scores[fold, "diagnosis", "common"] < 0.8
        assert scores[fold, "sex", "salient"] < 0.8


def test_scores_equal_the_oracle(run: tuple[Config, Results]) -> None:
    scores = read_scores(run[1])
    cohort = make_cohort().set_index("scan_id")
    predictions = read_predictions(run[1])
    split = read_tsv(run[1].splits)
    for (fold, target, space), rows in predictions.groupby(["fold", "target", "space"]):
        row = scores.loc[(fold, target, space)]
        train = cohort.loc[split.loc[(split["fold"] == fold) & (split["side"] == "train"), "scan_id"], target].dropna()
        if row["metric"] == "bacc":
            assert row["value"] == pytest.approx(oracle.balanced_accuracy(rows["truth"], rows["prediction"]), rel=1e-5)
            assert row["chance"] == pytest.approx(1 / train.nunique(), rel=1e-5)
        else:
            assert row["value"] == pytest.approx(
                oracle.mean_absolute_error(rows["truth"], rows["prediction"]), rel=1e-4
            )
            assert row["chance"] == pytest.approx(oracle.median_error(train, rows["truth"]), rel=1e-5)
        assert list(rows["truth"].astype(cohort[target].dtype)) == cohort.loc[rows["scan_id"], target].tolist()
        assert (row["n_train"], row["n_test"]) == (len(train), len(rows))


def test_held_out_people_alone_are_predicted(run: tuple[Config, Results]) -> None:
    predictions, split = read_predictions(run[1]), read_tsv(run[1].splits)
    for fold in (0, 1):
        held_out = split.loc[(split["fold"] == fold) & (split["side"] == "test"), "scan_id"]
        asked = predictions[(predictions["fold"] == fold) & (predictions["target"] == "age")]
        assert set(asked["scan_id"]) == set(held_out)


def test_missing_scores_are_left_out_never_zero(run: tuple[Config, Results]) -> None:
    cohort = make_cohort()
    missing = set(cohort.loc[(cohort["group"] == "target") & cohort["sans"].isna(), "scan_id"])
    controls = set(cohort.loc[cohort["group"] == "background", "scan_id"])
    predictions = read_predictions(run[1])
    asked = set(predictions.loc[predictions["target"] == "sans", "scan_id"])
    assert missing
    assert asked == set(cohort["scan_id"]) - missing - controls
    counts = read_scores(run[1]).loc[(0, "sans", "salient")]
    assert counts["n_train"] + counts["n_test"] == 30 - len(missing)


def test_coefficients_act_on_the_raw_representation(run: tuple[Config, Results]) -> None:
    """weights · r + intercept is the prediction of a regression and the log-odds of two classes."""
    coefficients = read_json(run[1].coefficients)
    assert {entry["target"] for entry in coefficients} == {"age", "sex", "sans", "saps", "diagnosis"}
    predictions = read_predictions(run[1])
    for entry in coefficients:
        keys = ["method", "fold", "target", "space"]
        rows = predictions[(predictions[keys] == [entry[key] for key in keys]).all(axis=1)]
        table = read_tsv(run[1].representations(METHOD, entry["fold"])).set_index("scan_id").loc[rows["scan_id"]]
        raw = table[[name for name in table if name.startswith(entry["space"])]].to_numpy(float)
        found = oracle.decision(raw, entry["weights"], entry["intercept"])
        if entry["classes"]:
            assert found == pytest.approx(rows["score"].to_numpy(), rel=1e-4, abs=1e-4)
            assert [entry["classes"][int(value > 0)] for value in found] == rows["prediction"].tolist()
        else:
            assert found == pytest.approx(rows["prediction"].astype(float).to_numpy(), rel=1e-4, abs=1e-3)
            assert rows["score"].isna().all()


def test_the_target_group_is_positive(run: tuple[Config, Results]) -> None:
    entries = [entry for entry in read_json(run[1].coefficients) if entry["target"] == "diagnosis"]
    assert all(entry["classes"] == ["control", "schizophrenia"] for entry in entries)
    predictions = read_predictions(run[1])
    rows = predictions[(predictions["target"] == "diagnosis") & (predictions["space"] == "salient")]
    assert (rows.loc[rows["truth"] == "schizophrenia", "score"] > 0).all()


def test_the_same_data_give_the_same_figures_whatever_else_is_asked(
    run: tuple[Config, Results], tmp_path: Path
) -> None:
    config, results = write_run(tmp_path, make_cohort())
    write_probes(only(config, "diagnosis", "saps"), results)
    before, again = (read_json(each.coefficients) for each in (run[1], results))
    assert len(again) == 8
    assert all(entry in before for entry in again)
    table = read_scores(results)
    pd.testing.assert_frame_equal(table, read_scores(run[1]).loc[table.index])


def test_the_papers_regime_is_scikit_learns_default_on_raw_dimensions_of_patients(run: tuple[Config, Results]) -> None:
    cohort, split = make_cohort().set_index("scan_id"), read_tsv(run[1].splits)
    predictions = read_predictions(run[1], "paper")
    table = read_tsv(run[1].representations(METHOD, 0)).set_index("scan_id")
    common = table[[name for name in table if name.startswith("common")]]
    train = split.loc[(split["fold"] == 0) & (split["side"] == "train"), "scan_id"]
    for target, model in (("sex", LogisticRegression()), ("age", Ridge()), ("diagnosis", LogisticRegression())):
        asked = cohort if target == "diagnosis" else cohort[cohort["group"] == "target"]
        fitted = [scan for scan in train if scan in asked.index]
        model.fit(common.loc[fitted], cohort.loc[fitted, target])
        rows = predictions[(predictions[["fold", "target", "space"]] == [0, target, "common"]).all(axis=1)]
        assert set(rows["scan_id"]) <= set(asked.index) - set(train)
        expected = model.predict(common.loc[rows["scan_id"]])
        if target == "age":
            assert rows["prediction"].astype(float).to_numpy() == pytest.approx(expected, rel=1e-4)
        else:
            assert rows["prediction"].tolist() == list(expected)
    assert {entry["target"] for entry in read_json(run[1].coefficients)} == {"age", "sex", "sans", "saps", "diagnosis"}
    assert len(read_json(run[1].coefficients)) == 2 * 2 * 5


def test_processes_change_nothing(run: tuple[Config, Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    config, results = write_run(tmp_path, make_cohort())
    write_probes(only(config, "saps", "diagnosis"), results)
    write_verdicts(only(config, "saps", "diagnosis"), results)
    for name in ("scores", "verdicts", "nulls", "increments"):
        both = [read_tsv(getattr(each, name)) for each in (run[1], results)]
        both = [table[table["target"].isin(["diagnosis", "saps"])].reset_index(drop=True) for table in both]
        pd.testing.assert_frame_equal(*both)


def test_all_scores_missing_is_reported_not_a_crash(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_cohort(24).assign(sans=np.nan))
    write_probes(only(config, "sans"), results)
    write_verdicts(only(config, "sans"), results)
    assert read_tsv(results.verdicts)[["p", "null95"]].isna().all(axis=None)
    scores = read_tsv(results.scores)
    assert scores[["value", "chance"]].isna().all(axis=None)
    assert (scores[["n_train", "n_test"]] == 0).all(axis=None)
    assert len(scores) == 2 * 2 * 2 * 2
    assert read_json(results.coefficients) == []
    columns = ["regime", "method", "fold", "target", "space", "scan_id", "truth", "prediction", "score"]
    assert list(read_tsv(results.predictions)) == columns


def test_a_diverged_representation_is_refused(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_cohort(24))
    path = results.representations(METHOD, 1)
    table = read_tsv(path)
    table.loc[3, "salient_1"] = np.nan
    write_tsv(path, table)
    with pytest.raises(InputError, match="fold 1: the salient representation has values that are not finite"):
        write_probes(config, results)


def test_write_probes_refuses_models_of_other_splits(tmp_path: Path) -> None:
    """The model and its representations agree, but they were made before the splits changed."""
    config, results = write_run(tmp_path, make_cohort(24))
    path = results.model_folder(METHOD, 1) / "model.json"
    held_out = read_tsv(results.splits).query("fold == 1 and side == 'test'")["scan_id"].iloc[0]
    write_json(path, {"train_scan_ids": [*read_json(path)["train_scan_ids"], held_out]})
    table = read_tsv(results.representations(METHOD, 1))
    table.loc[table["scan_id"] == held_out, "side"] = "train"
    write_tsv(results.representations(METHOD, 1), table)
    with pytest.raises(InputError, match=f"'{held_out}' is held out, but the model was trained on this participant"):
        write_probes(config, results)
    assert not results.scores.exists()
