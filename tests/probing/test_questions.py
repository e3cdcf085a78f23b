"""Targets of probes: columns, groups of participants, and valid values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.facts import disease_columns
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.questions import confound_features, questions, with_cohort_defaults
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.probing.verdicts import write_verdicts
from tests.probing.probed_run import make_cohort, only, write_run


def test_by_default_constant_columns_are_no_targets(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    cohort = make_cohort(24).assign(site="oslo", sans=np.nan)
    config, results = write_run(tmp_path, cohort)
    write_probes(config, results)
    assert [record.getMessage() for record in said.records if record.levelname == "WARNING"] == [
        "neither probed nor a confound, since all participants have one value: sans (no value), site (all have oslo)"
    ]
    write_verdicts(config, results)
    write_tables(config, results)
    asked = {"age", "sex", "saps", "diagnosis"}
    for table in (results.scores, results.verdicts, results.table("schizophrenia", "tsv")):
        assert set(read_tsv(table)["target"]) == asked
    assert "Site" not in results.table("schizophrenia", "md").read_text()
    assert with_cohort_defaults(config, cohort).saliency.targets == ["diagnosis", "saps"]
    # Listed targets are kept if they vary.
    listed = only(config, "site", "diagnosis")
    assert list(with_cohort_defaults(listed, cohort).probes.targets) == ["site", "diagnosis"]
    write_probes(listed, results)
    scores = read_tsv(results.scores)
    assert scores.loc[scores["target"] == "site", "value"].isna().all()


@pytest.mark.parametrize("people", ["background", "target"])
def test_a_target_is_predicted_in_its_group_only(people: str) -> None:
    cohort = make_cohort(8)
    config = Config(
        probes={"targets": {"age": {"kind": "regression", "expected_in": "common", "people": people}}},
        saliency={"targets": []},
    )
    (question,) = questions(config, cohort)
    assert question.truth.index.tolist() == cohort.loc[cohort["group"] == people, "scan_id"].tolist()


def test_a_target_of_those_who_are_known_misses_nobody_and_yes_is_the_positive_class() -> None:
    cohort = make_cohort(24)
    diseases = {"one": ["schizophrenia"], "two": ["bipolar"]}
    of_two = (cohort["group"] == "target") & (cohort.index % 3 == 0)
    cohort["diagnosis"] = cohort["diagnosis"].mask(of_two, "bipolar")
    config = Config(cohort={"diseases": diseases}, saliency={"targets": []})
    cohort = cohort.assign(**disease_columns(cohort["diagnosis"], config.cohort))
    for regime in ("standard", "paper"):
        found = {question.target: question for question in questions(config, cohort, regime)}
        assert found["diagnosis"].classes == ("control", "one+two")
        for name, count in (("one", 20), ("two", 16), ("one-among-patients", 12)):
            assert found[name].classes == ("no", "yes")
            assert (len(found[name].truth), found[name].missing) == (count, 0)
        assert set(found["two"].truth.index[found["two"].truth == "yes"]) == set(cohort.loc[of_two, "scan_id"])


def test_phenotypes_of_some_participants_are_probed_in_those_alone(tmp_path: Path) -> None:
    cohort = make_cohort(120)
    patient, number = cohort["group"] == "target", np.arange(120)
    severity = cohort["saps"].rank().fillna(0) // 21
    onset = pd.Series(np.select([severity == 0, severity == 1], ["childhood", "youth"], "adult"), dtype="str")
    cohort["onset"] = onset.where(patient & (number % 20 != 3))
    cohort["iq"] = (100 + cohort["age"]).where(number % 7 != 0)
    config, results = write_run(tmp_path, cohort)
    targets = {
        "onset": {"kind": "classification", "people": "target", "expected_in": "salient"},
        "iq": {"kind": "regression", "expected_in": "common"},
    }
    studies = [{"name": "one", "participants": "p.tsv"}]
    columns = {"others": {"onset": "Onset", "iq": "IQ"}}
    config = Config(
        output=tmp_path,
        splits={"folds": 2},
        cohort={"source": "files", "studies": studies, "columns": columns},
        probes={"targets": targets, "confounds": ["age"]},
        saliency={"targets": []},
    )
    write_probes(config, results)
    write_verdicts(config, results)
    write_tables(config, results)
    table = read_tsv(results.table("schizophrenia", "tsv")).set_index(["target", "metric", "space"]).sort_index()
    onset_found, iq_found = table.loc[("onset", "bacc")], table.loc[("iq", "mae")]
    assert onset_found["n"].unique().tolist() == [54]
    assert onset_found["missing"].unique().tolist() == [6]
    assert onset_found["chance"].to_numpy() == pytest.approx(100 / 3, abs=1e-3)
    assert onset_found.loc["salient", "mean"] > 60 > onset_found.loc["common", "mean"]
    assert onset_found.loc["salient", "p"] < 0.01
    assert iq_found["missing"].unique().tolist() == [18]
    assert iq_found.loc["common", "mean"] < iq_found.loc["salient", "mean"]
    said = results.table("schizophrenia", "md").read_text()
    assert (
        "onset: 54 of 60 scans of the target group have a value; the other 6 are left out, never counted as 0." in said
    )


def test_a_third_sex_is_no_class_of_the_target_but_one_of_the_confounds(tmp_path: Path) -> None:
    cohort = make_cohort()
    cohort.loc[[4, 11], "sex"] = "other"
    config, results = write_run(tmp_path, cohort)
    sex = next(question for question in questions(config, cohort) if question.target == "sex")
    assert sex.classes == ("female", "male")
    assert sex.missing == 2
    assert {"sub-004", "sub-011"}.isdisjoint(sex.truth.index)
    features = confound_features(cohort, ["sex"], cohort["scan_id"].tolist())
    assert list(features) == ["sex=female", "sex=male", "sex=other"]
    write_probes(config, results)
    write_verdicts(config, results)
    write_tables(config, results)
    predictions = read_tsv(results.predictions, text=("scan_id",))
    asked = predictions.groupby("target")["scan_id"].nunique()
    assert (asked["sex"], asked["age"]) == (58, 60)
    assert "Sex: 58 of 60 scans have a value" in results.table("schizophrenia", "md").read_text()
    # At least two classes must remain.
    assert "sex" not in with_cohort_defaults(config, cohort[cohort["sex"] != "male"]).probes.targets


def test_several_diagnoses_of_a_side_are_one_class() -> None:
    cohort = make_cohort(8)
    cohort.loc[1, "diagnosis"] = "schizoaffective"
    config = Config(
        cohort={"source": "simulated", "target": ["schizophrenia", "schizoaffective"]},
        probes={"targets": {"diagnosis": {"kind": "classification", "expected_in": "salient"}}},
        saliency={"targets": []},
    )
    (question,) = questions(config, cohort)
    assert question.classes == ("control", "schizophrenia+schizoaffective")
    assert question.truth.value_counts().tolist() == [4, 4]


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [("site", "regression", "holds text such as 'oslo'"), ("age", "classification", "numbers such as 20.5")],
)
def test_a_kind_that_does_not_suit_the_column_is_refused(target: str, kind: str, message: str) -> None:
    cohort = make_cohort(8)
    cohort["age"] += 0.5
    config = Config()
    targets = {target: ProbeTarget(kind=kind, expected_in="common")}
    config = config.model_copy(update={"probes": config.probes.model_copy(update={"targets": targets})})
    with pytest.raises(InputError, match=f"probes.targets.{target}.kind: .*{message}"):
        questions(config, cohort)
