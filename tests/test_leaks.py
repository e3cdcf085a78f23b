"""Every known way in which held-out participants leak into a figure, tried through the stages: each is refused, or
changes nothing that was learned."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.data.standardisation import write_standardisation
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.patterns import write_patterns
from sepclr_neuro.maps.saliency import write_saliency
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.site_leakage import write_site_leakage
from tests.small_run import small_run

METHOD = "cpca"  # of two spaces, so that patterns, whose codes subtypes read, have a salient one
Stage = Callable[[Config, Results], None]
STAGES: dict[str, Stage] = {
    "train": lambda config, results: write_fold_model(config, results, METHOD, 0),
    "embed": lambda config, results: write_representations(config, results, METHOD),
    "probe": write_probes,
    "leakage": write_site_leakage,
    "saliency": lambda config, results: write_saliency(config, results, METHOD),
    "patterns": lambda config, results: write_patterns(config, results, METHOD),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    config, results = small_run(
        tmp_path_factory.mktemp("run"),
        people=24,
        methods={METHOD: {"common_dim": 3, "salient_dim": 3}},
        probes={"permutations": 99, "bootstraps": 99},
        saliency={"samples": 1, "participants": 2, "targets": ["diagnosis"], "permutations": 9},
    )
    for fold in range(config.splits.count):
        write_fold_model(config, results, METHOD, fold)
    write_representations(config, results, METHOD)
    write_probes(config, results)
    return config, results


@pytest.fixture
def run(finished: tuple[Config, Results], tmp_path: Path) -> tuple[Config, Results]:
    """A copy that a test may spoil."""
    folder = Path(shutil.copytree(finished[1].root, tmp_path / "run"))
    return finished[0].model_copy(update={"output": folder}), Results(folder)


def refused(stage: str, run: tuple[Config, Results]) -> None:
    with pytest.raises(InputError, match=r"leak|is held out, but the model was trained on|is on side"):
        STAGES[stage](*run)


@pytest.mark.parametrize("stage", ["train", "embed", "leakage", "saliency", "patterns"])
def test_mean_sd_and_mask_of_all_participants(run: tuple[Config, Results], stage: str) -> None:
    """The standardisation is learned with a split that has no held-out participant; then the split is restored."""
    config, results = run
    honest = results.splits.read_bytes()
    splits = read_tsv(results.splits, text=("scan_id", "participant_id", "unit"))
    first = splits["fold"] == 0
    keep = splits["scan_id"] == splits.loc[first & (splits["side"] == "test"), "scan_id"].iloc[-1]
    write_tsv(results.splits, splits.assign(side=splits["side"].mask(first & ~keep, "train")))
    write_standardisation(config, results, 0)
    results.splits.write_bytes(honest)
    refused(stage, run)


@pytest.mark.parametrize("stage", ["embed", "probe", "leakage", "saliency", "patterns"])
def test_an_encoder_that_was_trained_on_a_held_out_participant(run: tuple[Config, Results], stage: str) -> None:
    path = run[1].model_folder(METHOD, 0) / "model.json"
    metadata = read_json(path)
    held_out = read_fold(run[1].splits, run[1].index, 0).test[3]
    write_json(path, metadata | {"train_scan_ids": [*metadata["train_scan_ids"], held_out]})
    refused(stage, run)


@pytest.mark.parametrize("stage", ["embed", "probe", "leakage", "saliency", "patterns"])
def test_models_of_another_split(run: tuple[Config, Results], stage: str) -> None:
    """The splits were drawn afresh, and nothing was trained again."""
    splits = read_tsv(run[1].splits, text=("scan_id", "participant_id", "unit"))
    swapped = splits["side"].map({"train": "test", "test": "train"})
    write_tsv(run[1].splits, splits.assign(side=swapped))
    refused(stage, run)


@pytest.mark.parametrize("stage", ["probe", "leakage", "patterns"])
def test_training_participants_that_are_marked_held_out(run: tuple[Config, Results], stage: str) -> None:
    path = run[1].representations(METHOD, 1)
    table = read_tsv(path, text=("scan_id", "side"))
    row = table.index[table["side"] == "train"][0]
    table.loc[row, "side"] = "test"
    write_tsv(path, table)
    refused(stage, run)


def test_participants_kept_for_probes(tmp_path: Path) -> None:
    """Nothing but the probe learns from them, and an encoder that did is refused."""
    config, results = small_run(
        tmp_path,
        people=40,
        splits={"folds": 2, "probe_fraction": 0.4},
        methods={METHOD: {"common_dim": 3, "salient_dim": 3}},
        probes={"permutations": 99, "bootstraps": 99},
        saliency={"samples": 1, "participants": 2, "targets": ["diagnosis"], "permutations": 9},
    )
    for fold in range(2):
        write_fold_model(config, results, METHOD, fold)
    fold = read_fold(results.splits, results.index, 0)
    model = read_json(results.model_folder(METHOD, 0) / "model.json")
    standardisation = read_json(results.standardisation(0).with_suffix(".json"))
    assert sorted(model["train_scan_ids"]) == sorted(standardisation["train_scan_ids"]) == sorted(fold.train)
    write_representations(config, results, METHOD)
    write_probes(config, results)
    scores = read_tsv(results.scores)
    assert set(scores.loc[(scores["target"] == "age") & (scores["regime"] == "standard"), "n_train"]) == {
        len(fold.probe)
    }
    write_json(results.model_folder(METHOD, 0) / "model.json", model | {"train_scan_ids": [*fold.train, fold.probe[0]]})
    for stage in ("embed", "probe", "leakage", "patterns"):
        refused(stage, (config, results))


def test_scalers_and_penalties_do_not_change_with_held_out_participants(run: tuple[Config, Results]) -> None:
    """Held-out representations and answers are replaced by others; whatever a probe learned stays to the last digit."""
    config, results = run
    before, scores = results.coefficients.read_bytes(), read_tsv(results.scores)
    rng = np.random.default_rng(0)
    path = results.representations(METHOD, 0)
    table = read_tsv(path, text=("scan_id", "side"))
    spaces, held_out = table.columns[2:], table["side"] == "test"
    table.loc[held_out, spaces] = rng.normal(50, 100, (held_out.sum(), len(spaces)))
    write_tsv(path, table)
    write_probes(config, results)
    after = read_tsv(results.scores)
    assert results.coefficients.read_bytes() == before
    assert after["train_value"].equals(scores["train_value"])
    assert not after["value"].equals(scores["value"])

    only_first = [entry for entry in read_json(results.coefficients) if entry["fold"] == 0]
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id", "sex", "site", "group", "diagnosis"))
    test = cohort["scan_id"].isin(read_fold(results.splits, results.index, 0).test)
    cohort.loc[test, "age"] = rng.uniform(20, 60, test.sum())
    cohort.loc[test, "sex"] = cohort.loc[test, "sex"].map({"female": "male", "male": "female"})
    cohort.loc[test & (cohort["group"] == "target"), "sans"] += 7
    write_tsv(results.cohort, cohort)
    write_probes(config, results)
    assert [entry for entry in read_json(results.coefficients) if entry["fold"] == 0] == only_first


def test_scores_of_held_out_participants_change_nothing_of_a_supervised_dimension(tmp_path: Path) -> None:
    methods = {"sepclr-linear": {"attributes": {"sans": "continuous"}, "steps": 5, "salient_dim": 2}}
    config, results = small_run(tmp_path, people=24, methods=methods)
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id"))
    held_out = cohort["scan_id"].isin(read_fold(results.splits, results.index, 0).test)

    def weights(sans: object) -> bytes:
        write_tsv(results.cohort, cohort.assign(sans=sans))
        write_fold_model(config, results, "sepclr-linear", 0)
        return (results.model_folder("sepclr-linear", 0) / "model.safetensors").read_bytes()

    as_given = weights(cohort["sans"])
    patients = cohort["group"] == "target"
    assert weights(cohort["sans"].mask(held_out & patients, 99.0)) == as_given
    assert weights(cohort["sans"].mask(~held_out & patients, cohort["sans"] ** 2)) != as_given
