"""The configuration as a whole: what it refuses and how it says so, how files are read, what is asked by default."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.config.model import Config, load_config, parse_config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from tests.config.contents import AGE_ALONE, METHOD, QUESTIONS, REPOSITORY, STUDY, message

REGIONS = "frontal-temporal"


def test_defaults_are_a_whole_configuration() -> None:
    assert parse_config({}) == Config()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"sed": 1}, ["my.yaml: sed: unknown key", "Did you mean 'seed'?"]),
        ({"training": {"epoch": 3}}, ["training.epoch: unknown key", "Did you mean 'epochs'?"]),
        ({"methods": {"sepclr-kjem": {}}}, ["methods.sepclr-kjem: no such method", f"Did you mean '{METHOD}'?"]),
        ({"methods": {METHOD: {"comon_dim": 3}}}, [f"methods.{METHOD}.comon_dim", "Did you mean 'common_dim'?"]),
        ({"methods": {METHOD: {"training": {"epoch": 3}}}}, [f"methods.{METHOD}.training.epoch", "'epochs'?"]),
        ({"methods": {}}, ["methods: "]),
        ({"seed": -1}, ["seed: ", "got -1"]),
        ({"seed": "one"}, ["seed: ", 'got "one"']),
        ({"training": {"learning_rate": float("inf")}}, ["training.learning_rate: "]),
        ({"training": {"batch_size": 7}}, ["training: `batch_size` must be even", "got 7"]),
        ({"training": {"patience": 5}}, ["training: `patience` watches the validation loss"]),
        ({"volumes": {"shape": [64, 64, 65]}}, ["volumes.shape: each size must be a multiple of 16", "got 65"]),
        ({"volumes": {"shape": [16, 64, 64]}}, ["volumes.shape: ", "at least 32, got 16"]),
        ({"augmentation": {"crop_scale": [1.0, 0.5]}}, ["augmentation.crop_scale", "swap them"]),
        ({"augmentation": {"crop_scale": [0.0, 1.0]}}, ["augmentation.crop_scale.0: ", "greater than 0", "got 0.0"]),
        ({"augmentation": {"crop_scale": [0.5, 1.5]}}, ["augmentation.crop_scale.1: ", "less than or equal to 1"]),
        ({"augmentation": {"cutout_share": [-0.1, 0.3]}}, ["augmentation.cutout_share.0: ", "greater than or equal"]),
        ({"augmentation": {"cutout_share": [0.1, 1.3]}}, ["augmentation.cutout_share.1: ", "less than or equal to 1"]),
        ({"augmentation": {"blur_sigma_voxels": [-1, 1]}}, ["augmentation.blur_sigma_voxels.0: ", "greater than or"]),
        ({"network": {"channels": [12, 16]}}, ["network.channels.0: ", "multiple of 8, got 12"]),
        ({"network": {"channels": [8, 0]}}, ["network.channels.1: ", "greater than or equal to 8, got 0"]),
        (
            {"probes": {"targets": {"sex": {"kind": "regression", "expected_in": "common"}}}},
            ["probes.targets.sex.kind: sex is text", "use `classification`"],
        ),
        (
            {"standardisation": {"intensity": "none"}, "saliency": {"noise_sd": 0.05}},
            ["augmentation.noise_sd (0.3)", "lower it to 0.1 or less"],
        ),
        (
            {"standardisation": {"intensity": "none"}, "augmentation": {"noise_sd": 0.05}},
            ["saliency.noise_sd (0.5)", "lower it to 0.1 or less"],
        ),
        (
            {"standardisation": {"intensity": "none"}, "methods": {METHOD: {"augmentation": {"noise_sd": 0.2}}}},
            [f"methods.{METHOD}.augmentation.noise_sd (0.2)"],
        ),
        ({"cohort": {"source": "files"}}, ["needs at least one entry in `studies`"]),
        ({"cohort": {"studies": [STUDY]}}, ["`source: simulated` reads no `studies`"]),
        (
            {"cohort": {"source": "files", "studies": [STUDY], "simulation": {}}},
            ["`simulation` is not used by `source: files`"],
        ),
        ({"cohort": {"source": "files", "studies": [STUDY, STUDY]}}, ["cohort.studies: two are called 'ours'"]),
        ({"cohort": {"background": ["a"], "target": ["a"]}}, ["'a' is in `background` and in `target`"]),
        ({"cohort": {"diseases": {"one": ["a"]}}}, ["cohort.diseases: has one entry", "into `target`"]),
        ({"cohort": {"diseases": {"one": ["a"], "two": ["a"]}}}, ["cohort.diseases: 'a' is listed twice"]),
        ({"cohort": {"diseases": {"one": ["a"], "two": []}}}, ["cohort.diseases.two: ", "at least 1 item"]),
        ({"cohort": {"diseases": {"age": ["a"], "two": ["b"]}}}, ["cohort.diseases.age: 'age' is a column"]),
        (
            {"cohort": {"target": ["c"], "diseases": {"one": ["a"], "two": ["b"]}}},
            ["cohort.target: `diseases` says who is in the target group"],
        ),
        (
            {"cohort": {"diseases": {"one": ["a"], "two": ["b"]}, "simulation": {"regions_of": {"on": REGIONS}}}},
            ["'on' is not in `diseases`", "Did you mean 'one'?"],
        ),
        ({"cohort": {"scores": {"sans": {"range": [0, 120]}}}}, ["cohort.scores.sans: give either `column`"]),
        (
            {"cohort": {"scores": {"sans": {"items": "(", "range": [0, 120]}}}},
            ["cohort.scores.sans: `items` is not a regular expression"],
        ),
        ({"cohort": {"scores": {"age": {"column": "x", "range": [0, 1]}}}}, ["'age' is a column that the cohort has"]),
        (
            {"probes": {"targets": {"agee": {"kind": "regression", "expected_in": "common"}}}},
            ["probes.targets.agee: the cohort has no column 'agee'", "Did you mean 'age'?"],
        ),
        (
            {"cohort": {}, "methods": {METHOD: {"attributes": {"san": "continuous"}}}},
            [f"methods.{METHOD}.attributes.san: the cohort has no column 'san'", "Did you mean 'sans'?"],
        ),
        ({"methods": {"pca": {"training": {}}}}, ["methods.pca.training: unknown key"]),
        ({"saliency": {"attributions": ["occlusion", "occlusion"]}}, ["saliency.attributions", "is listed twice"]),
        ({"saliency": {"attributions": ["lrp"]}}, ["saliency.attributions.0", "smoothgrad"]),
        ({"saliency": {"targets": ["diagnosi"]}}, ["saliency.targets: the cohort has no column", "'diagnosis'?"]),
        ({"saliency": {"targets": ["tiv"]}}, ["saliency.targets: 'tiv' is not probed"]),
        ({"splits": {"stratify_by": ["sit"]}}, ["splits.stratify_by: the cohort has no column 'sit'", "'site'?"]),
        ([1], ["expected keys with values"]),
    ],
)
def test_a_mistake_is_named_with_its_key(content: Any, expected: list[str]) -> None:
    text = message(content)
    for part in expected:
        assert part in text


def test_all_problems_come_at_once() -> None:
    text = message({"seed": -1, "title": [3], "volumes": {"maximum": 0}})
    assert text.startswith("3 problems were found")
    assert all(key in text for key in ("seed", "title", "volumes.maximum"))


# --- files ---------------------------------------------------------------------------------------------------------


def test_the_projects_own_file_is_valid() -> None:
    assert load_config(REPOSITORY / "config.yaml").cohort.source == "simulated"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nseed: 2\n", "the key 'seed' is given twice"),
        ("training:\n  epochs: 1\n  epochs: 2\n", "line 3: the key 'epochs' is given twice, first in line 2"),
        ("training: {epochs: 1, epochs: 2}\n", "line 1: the key 'epochs' is given twice"),
        ("cohort: {values: {sex: {1: male, '1': female}}}\n", "line 1: the key '1' is given twice"),
        ("seed: [1\n", "line 1, `seed: [1`: a value that begins with [ is more than text"),
        ("seed:\t1\n", "line 1, `seed:\t1`: it holds a tab"),
        ("training:\n\tepochs: 1\n", "line 2, `epochs: 1`: it holds a tab"),
        ("seed:1\n", "expected keys with values, as in the project's config.yaml; between the colon of a key"),
        ("seed:1\ntitle: a\n", "line 1, `seed:1`: between the colon of a key and its value stands a space"),
        ("training:\n  epochs:3\n  batch_size: 4\n", "line 2, `epochs:3`: between the colon"),
        ("training:\n  epochs:3\n", "line 1: training: "),
        ("title: one: two\n", "line 1, `title: one: two`: it has a second colon"),
        (
            "cohort:\n  target: [ill]\n   background: [well]\n",
            "line 3, `background: [well]`: it has another indent than ",
        ),
        (
            "cohort:\n  source: files\n   target: [ill]\n",
            "line 3, `target: [ill]`: it has another indent than the other",
        ),
        (
            "cohort:\n  target: 3\n",
            "line 2: cohort.target: expected a list, got 3; write [3], a list of one",
        ),
        ("output: {site}/a\n", "line 1, `output: {site}/a`: a value that begins with { is more than text to YAML"),
        ("output: *.nii\n", "line 1, `output: *.nii`: a value that begins with * is more"),
        ("title: @home\n", "put the whole value into single quotes, as in 'text'"),
        ('output: "C:\\Users"\n', "in double quotes a backslash begins a code"),
        ("title: true\n", "line 1: title: expected text, got true; YAML takes it for a truth value"),
        ("title:\n", "YAML takes it for no value; if text is meant, put the whole value into single quotes"),
        ("seed: 1\ntitle: {site}\n", 'line 2: title: expected text, got {"site": null}; YAML takes'),
        ("cohort:\n  target: ill\n", 'line 2: cohort.target: expected a list, got "ill"; write [ill], a list of one'),
        ("volumes:\n  shape: [64,\n    x, 64]\n", "line 3: volumes.shape.1: expected a whole number"),
        ("training:\n  epochs: 08:30\n", "line 2: training.epochs: expected a whole number"),
        ("training:\n  epochs: yes\n", 'expected a whole number, got "yes"; YAML takes it for text'),
        (
            "training:\n  epochs: true\n",
            "line 2: training.epochs: expected a number, got true; YAML takes true and fal",
        ),
        ("volumes:\n  shape: [true, 64, 64]\n", "volumes.shape: expected a number, got [true, 64, 64]; YAML takes"),
        ("seed: true\n", "seed: expected a number, got true"),
        ("splits:\n  folds: 1e-4\n", "expected a whole number, got 0.0001; YAML takes it for the number 0.0001"),
        ("splits:\n  folds:\n", "got null; YAML takes it for no value; for the default, which is 5, remove the line"),
        ("cohort:\n  on_error: on\n", "line 2: cohort.on_error: expected 'stop' or 'exclude', got \"on\""),
        ("training:\n  learning_rate: 0,001\n", 'expected a number, got "0,001"; decimals have a point: 0.001'),
        ("volumes:\n  resample_mm: none\n", 'expected a number, got "none"; for none, write null'),
        ("volumes:\n  shape: 64\n", "volumes.shape: expected a list, got 64; write [64, 64, 64]"),
        ("adjust_for: none\n", 'adjust_for: expected a list, got "none"; for none, write []'),
        ("output: 5\n", "output: expected a path, got 5; YAML takes it for a number; if text is meant, put it into"),
        ("splits: no\n", 'splits: expected keys with values, got "no"; YAML takes it for text'),
        ("splits:\n  scheme: k-fold\n  sites: [a]\n", "line 3: splits.sites: is not used by `splits.scheme: k-fold`"),
        ("cohort:\n  source: files\n", "cohort.studies: `source: files` needs at least one entry"),
        ("methods: [pca]\n", 'methods: expected keys with values, got ["pca"]; write `key: value`, one a line'),
        ("methods:\n  pca: {training: yes}\n", "methods.pca.training: unknown key"),
        ("cohort:\n  studies: {name: a}\n", "a dash and a space go before each entry of a list"),
        ("cohort:\n  source: files\n  studies: [{name: a}]\n", "cohort.studies.0.participants: is missing, and has no"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        ("", "expected keys with values"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("no", "NO", "yes", "on", "off", "y", "01", "1e-4", "1.50", "+3", ".5", "1_000", "0x1F", "08:30"),
        *("2024-01-02", "-999", "=", "7"),
    ],
)
def test_text_is_as_it_is_written(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        f"title: {text}\ncohort:\n  values: {{sex: {{{text}: male}}, site: {{a: {text}}}}}\n"
        f"  source: files\n  studies: [{{name: a, participants: p.tsv, constants: {{site: {text}}}}}]\n"
        f"  scores: {{sans: {{column: a, range: [0, 1]}}, saps: {{column: b, range: [0, 1]}}}}\n"
    )
    config = load_config(path)
    assert (config.title, config.cohort.values) == (text, {"sex": {text: "male"}, "site": {"a": text}})
    assert config.cohort.studies[0].constants == {"site": text}


def test_codes_that_are_one_number_stay_two_codes(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "cohort:\n  values: {sex: {1: male, 01: female, true: other, null: unknown}}\n"
        "  source: files\n  studies: [{name: a, participants: p.tsv}]\n"
        "  scores: {sans: {column: a, range: [0, 1]}, saps: {column: b, range: [0, 1]}}\n"
    )
    codes = {"1": "male", "01": "female", "true": "other", "null": "unknown"}
    assert load_config(path).cohort.values == {"sex": codes}


def test_numbers_and_truth_values_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "seed: 012\nsite_leakage: {combat: yes}\nprobes: {paper_regime: off}\nreport: {participant_ids: True}\n"
        "training: {learning_rate: 1e-4, weight_decay: .5, epochs: 1e1}\nsplits: {probe_fraction: 1.50e-1}\n"
        "methods: {sepclr-k-jem: {training: {learning_rate: 1e-2}, kernel_diagonal: no, temperature: 2}}\n"
    )
    config = load_config(path)
    assert (config.seed, config.splits.probe_fraction) == (12, 0.15)
    assert (config.site_leakage.combat, config.probes.paper_regime, config.report.participant_ids) == (
        True,
        False,
        True,
    )
    assert (config.training.learning_rate, config.training.weight_decay, config.training.epochs) == (1e-4, 0.5, 10)
    told = stage_config(config, "training", METHOD)
    assert told["training"]["learning_rate"] == 1e-2
    assert told["methods"][METHOD]["kernel_diagonal"] is False
    assert json.loads(json.dumps(told)) == told


def test_merge_keys_are_read_and_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        """\
training: &shared
  <<: &quick {epochs: 2, batch_size: 8}
  epochs: 9
methods:
  sepclr-k-jem:
    training: {<<: [*shared, *quick], learning_rate: 0.1}
"""
    )
    config = load_config(path)
    assert (config.training.epochs, config.training.batch_size) == (9, 8)
    training = config.for_method(METHOD).training
    assert (training.epochs, training.batch_size, training.learning_rate) == (9, 8, 0.1)


def test_a_mapping_that_is_merged_before_it_is_read_has_no_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "methods: {sepclr-k-jem: {training: &own {<<: {epochs: 2}, epochs: 3}}}\ntraining: {<<: *own, batch_size: 8}\n"
    )
    assert load_config(path).training.epochs == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "docs" / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_valid_to_the_last_setting(path: Path) -> None:
    config = load_config(path)
    for method in config.methods:
        config.for_method(method)
    for method in config.digits.methods:
        config.digits.for_method(method)
    for cohort, recipe in product(config.separation.cohorts, config.separation.recipes):
        run = config.separation_run(cohort, 0, recipe)
        run.for_method(*run.methods)


def test_several_diseases_are_one_target_group_and_each_is_asked_for() -> None:
    config = parse_config({"cohort": {"diseases": {"one": ["a", "b"], "two": ["c"]}}})
    assert config.cohort.target == ["a", "b", "c"]
    assert config.cohort.table_name == "one-two"
    assert config.cohort.disorder == "one or two"
    # Of two diseases the second among patients would be the first the other way round.
    contrasts = ["one", "two", "one-among-patients"]
    assert list(config.probes.targets)[-4:] == ["diagnosis", *contrasts]
    assert {config.probes.targets[name].people for name in contrasts} == {"known"}
    assert config.splits.stratify_by == ["disease", "site"]
    assert "stratify_by" not in config.splits.model_fields_set
    # What a stage receives says the same.
    assert parse_config(stage_config(config, "probes")).probes.targets == config.probes.targets
    three = parse_config({"cohort": {"diseases": {"one": ["a"], "two": ["b"], "three": ["c"]}}})
    assert [name for name in three.probes.targets if "among" in name] == [
        f"{name}-among-patients" for name in ("one", "two", "three")
    ]
    assert parse_config({"cohort": {"diseases": {"one": ["a"], "two": ["b"]}, "target": ["a", "b"]}})


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (["schizophrenia"], "schizophrenia"),
        (["Major depression", "MDD_F32"], "major-depression-mdd-f32"),
        (["../Ängste {x}"], "ängste-x"),
        (["++"], "target"),
        (["schizophrenia", "a" * 99], "schizophrenia-" + "a" * 36),
    ],
)
def test_tables_are_called_as_the_disorder_in_any_words(target: list[str], name: str) -> None:
    cohort = parse_config({"cohort": {"target": target}}).cohort
    assert cohort.table_name == name
    assert cohort.is_published == (name == "schizophrenia")


# --- defaults that follow the tables -------------------------------------------------------------------------------


def own(**sections: Any) -> Config:
    cohort = {"source": "files", "studies": [STUDY]} | sections.pop("cohort", {})
    return parse_config({"cohort": cohort} | sections)


def test_scores_that_no_table_has_are_neither_probed_nor_mapped() -> None:
    config = own()
    assert list(config.probes.targets) == ["age", "sex", "site", "diagnosis"]
    assert config.saliency.targets == ["diagnosis"]
    assert list(Config().probes.targets) == ["age", "sex", "site", "sans", "saps", "diagnosis"]
    assert Config().saliency.targets == ["diagnosis", "sans", "saps"]


def test_scores_that_tables_have_are_probed_and_mapped() -> None:
    scores = {"sans": {"column": "SANS", "range": [0, 100]}, "iq": {"column": "IQ", "range": [0, 200], "people": "all"}}
    config = own(cohort={"scores": scores})
    assert config.saliency.targets == ["diagnosis", "sans", "iq"]
    assert {name: config.probes.targets[name].people for name in scores} == {"sans": "target", "iq": "all"}
    assert config.probes.targets["sans"] == Config().probes.targets["sans"]


def test_scores_that_are_asked_for_and_that_no_table_has_are_a_mistake() -> None:
    with pytest.raises(InputError, match=r"probes.targets.sans: the cohort has no column 'sans'"):
        own(probes={"targets": QUESTIONS})
    with pytest.raises(InputError, match=r"saliency.targets: the cohort has no column 'sans'"):
        own(saliency={"targets": ["sans"]})


def test_maps_follow_the_probes_that_are_listed() -> None:
    assert parse_config({"probes": AGE_ALONE}).saliency.targets == []
