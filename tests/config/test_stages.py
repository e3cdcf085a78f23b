"""What each stage is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.stages import STAGES, stage_config
from sepclr_neuro.core.errors import InputError
from tests.config.contents import AGE_ALONE, METHOD, QUESTIONS, STUDY

RAW = {"standardisation": {"intensity": "none"}, "augmentation": {"noise_sd": 0.1}, "saliency": {"noise_sd": 0.1}}

# A cohort without the scores that the default probes ask for.
WITHOUT_SCORES = {
    "cohort": {"source": "files", "studies": [STUDY], "columns": {"others": {"scanner": "scanner"}}},
    "splits": {"stratify_by": ["diagnosis", "scanner"]},
    "probes": AGE_ALONE,
    "saliency": {"targets": ["age"]},
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("content", [{}, WITHOUT_SCORES, RAW], ids=["defaults", "without scores", "raw"])
def test_what_a_stage_is_told_is_a_configuration_that_says_the_same(stage: str, content: dict[str, Any]) -> None:
    config = parse_config(content)
    method = METHOD if stage in ("training", "embedding", "saliency") else None
    told = stage_config(config, stage, method)
    read = parse_config(json.loads(json.dumps(told)))
    assert stage_config(read, stage, method) == told
    # A method without covariates is told of none.
    covariates = {"adjust_for", "impute_covariates"} if method and not config.for_method(method).adjusts else set()
    for section in set(STAGES[stage]) - {"methods", "probes", "saliency"} - covariates:
        assert getattr(read, section) == getattr(config, section)
    if stage in ("tables", "report"):
        assert read.probes == config.probes
    if stage in ("probes", "vbm", "saliency"):
        asked = {
            name: (target.kind, target.people)
            for name, target in config.probes.targets.items()
            if stage == "probes" or name in config.saliency.targets
        }
        assert {name: (target.kind, target.people) for name, target in read.probes.targets.items()} == asked
    if stage == "vbm":
        assert read.saliency.targets == config.saliency.targets
    if stage == "saliency":
        assert read.saliency == config.saliency


def test_what_nobody_wrote_is_still_not_written_in_what_a_stage_is_told() -> None:
    for stage in ("probes", "tables", "report"):
        read = parse_config(json.loads(json.dumps(stage_config(Config(), stage))))
        assert {"targets", "confounds"} & read.probes.model_fields_set == set()
        read = parse_config(stage_config(parse_config({"probes": AGE_ALONE, "saliency": {"targets": []}}), stage))
        assert "targets" in read.probes.model_fields_set


def test_training_is_told_a_methods_own_values() -> None:
    config = parse_config({"methods": {METHOD: {"training": {"epochs": 7}, "salient_dim": 5}}})
    read = parse_config(stage_config(config, "training", METHOD))
    configured = read.for_method(METHOD)
    assert configured.training.epochs == 7
    assert configured.settings.salient_dim == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "adjusted"),
    [({}, True), ({"adjust_for": []}, False), ({"methods": {METHOD: {"adjust_for": []}}}, False)],
)
def test_tables_are_told_whether_codes_are_adjusted(content: dict[str, Any], adjusted: bool) -> None:
    config = parse_config({"methods": {METHOD: {}, "pca": {}}} | content)
    for stage in ("tables", "report"):
        read = parse_config(stage_config(config, stage))
        assert read.for_method(METHOD).adjusted == adjusted, stage


def test_an_edit_reaches_only_the_stages_that_depend_on_it() -> None:
    def changed(content: dict[str, Any]) -> set[str]:
        before, after = Config(), parse_config(content)
        return {stage for stage in STAGES if stage_config(before, stage) != stage_config(after, stage)}

    assert changed({"saliency": {"samples": 3}}) == {"saliency", "report"}
    assert changed({"saliency": {"targets": ["age"]}}) == {"vbm", "saliency", "report"}
    of_maps = {"vbm", "saliency", "report"}
    assert changed({"probes": AGE_ALONE, "saliency": {"targets": ["age"]}}) == {"probes", "tables"} | of_maps
    of_splits = {"probes", "tables", "leakage", "splits", "embedding", "patterns", "subtypes"}
    assert changed({"splits": {"folds": 3}}) == of_splits | of_maps
    assert changed({"saliency": {"permutations": 7}}) == {"patterns", "saliency", "report"}
    assert changed({"probes": {"permutations": 99}}) == {"tables", "leakage", "report"}
    assert changed({"probes": {"paper_regime": False}}) == {"probes", "tables", "report"}
    assert changed({"volumes": {"tiv_column": "tiv"}}) == {"dataset", "volumes"} | of_maps
    assert changed({"site_leakage": {"voxel_components": None}}) == {"leakage", "report"}
    assert changed({"subtypes": {"clusters": [2]}}) == {"subtypes", "report"}
    assert changed({"title": "Another"}) == {"report"}
    assert changed({"training": {"epochs": 3}}) == {"training", "separation", "report"}
    assert changed({"training": {"nodes": 2}}) == {"training", "report"}


@pytest.mark.parametrize(
    "written",
    [
        {"probes": {"targets": QUESTIONS, "confounds": ["age", "sex", "site"]}},
        {"saliency": {"targets": ["diagnosis", "sans", "saps"]}},
        {"adjust_for": ["age", "sex", "site", "tiv"]},
        {"methods": {METHOD: {"adjust_for": ["age", "sex", "site", "tiv"], "training": {"epochs": 100}}}},
        {"methods": {METHOD: {"network": {"dropout": 0.0}}}},
    ],
    ids=["probes", "maps", "covariates", "a method's", "a method's network"],
)
def test_a_default_that_is_written_out_redoes_nothing(written: dict[str, Any]) -> None:
    default, after = Config(), parse_config(written)
    for stage in set(STAGES) - {"report", "separation"}:
        method = METHOD if stage in ("training", "embedding", "patterns", "subtypes", "saliency") else None
        assert stage_config(default, stage, method) == stage_config(after, stage, method), stage


def test_default_targets_in_another_order_are_the_same_questions_in_other_columns() -> None:
    after = parse_config({"probes": {"targets": dict(reversed(list(QUESTIONS.items())))}})
    changed = {stage for stage in STAGES if stage_config(Config(), stage) != stage_config(after, stage)}
    columns = {
        stage for stage in STAGES if json.dumps(stage_config(Config(), stage)) != json.dumps(stage_config(after, stage))
    }
    assert changed | columns == {"tables", "report"}


def test_a_setting_redoes_nothing_where_it_moves_below_its_only_method() -> None:
    shared = parse_config({"training": {"epochs": 7}})
    own = parse_config({"methods": {METHOD: {"training": {"epochs": 7}}}})
    assert stage_config(shared, "training", METHOD) == stage_config(own, "training", METHOD)


def test_the_order_of_codes_redoes_nothing() -> None:
    codes = [("sex", {"1": "male", "2": "female"}), ("diagnosis", {"0": "control", "1": "schizophrenia"})]
    told = [
        json.dumps(
            stage_config(parse_config({"cohort": {"source": "files", "studies": [STUDY], "values": v}}), "cohort")
        )
        for v in (dict(codes), {name: dict(reversed(list(meanings.items()))) for name, meanings in reversed(codes)})
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"label": "Negative symptoms"}, {"tables", "report"}),
        ({"expected_in": "common"}, {"tables", "report"}),
        ({"people": "all"}, {"probes", "tables", "vbm", "saliency", "report"}),
    ],
)
def test_another_name_of_a_target_reaches_no_map_and_another_question_does(
    change: dict[str, Any], stages: set[str]
) -> None:
    before = parse_config({"probes": {"targets": QUESTIONS}})
    after = parse_config({"probes": {"targets": QUESTIONS | {"sans": QUESTIONS["sans"] | change}}})
    assert {stage for stage in STAGES if stage_config(before, stage) != stage_config(after, stage)} == stages


@pytest.mark.parametrize("stage", STAGES)
def test_curves_for_tensorboard_change_nothing_that_a_stage_is_told(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepclr_neuro.config.training.find_spec", lambda name: name)
    config = parse_config({"training": {"tensorboard": True}})
    assert config.training.tensorboard
    for method in (None, METHOD):
        if method is None or not stage.startswith(("digits", "separation")):
            assert stage_config(config, stage, method) == stage_config(Config(), stage, method)


def test_curves_without_tensorboard_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepclr_neuro.config.training.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed here; run `pip install 'sepclr_neuro\[tensorboard\]'`"):
        parse_config({"training": {"tensorboard": True}})
