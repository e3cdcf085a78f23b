"""What may go wrong around a training: signals, changed labels, loss without a value, and each option of the loop."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import exclusive, read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.data.volumes import write_volumes
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.run import cli
from tests.data.small_volumes import make_cohort
from tests.killing import CONTEXT
from tests.small_run import small_run
from tests.standing_in import nodes_are_this_machine, on_two_nodes

METHOD = "sepclr-k-jem"
ONE_EPOCH = {"epochs": 1, "batch_size": 4}


def weights(results: Results) -> dict[str, torch.Tensor]:
    return load_file(results.model_folder(METHOD, 0) / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_swapped_labels_are_trained_anew(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    """The same participants in the same folds, but corrected labels: patients became controls."""
    config, results = small_run(tmp_path, training=ONE_EPOCH)
    write_fold_model(config, results, METHOD, 0)
    before = weights(results)
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id"))
    cohort["group"] = cohort["group"].map({"target": "background", "background": "target"})
    write_tsv(results.cohort, cohort)
    write_fold_model(config, results, METHOD, 0)
    assert "training starts afresh" in said.text
    assert not equal(before, weights(results))


def test_volumes_that_only_moved_are_not_trained_anew(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    config, results = small_run(tmp_path, training=ONE_EPOCH)
    write_fold_model(config, results, METHOD, 0)
    index = read_tsv(results.index, text=("scan_id", "sha256", "source"))
    write_tsv(results.index, index.assign(source="elsewhere"))
    write_fold_model(config, results, METHOD, 0)
    assert "resumes after epoch 1" in said.text


@pytest.mark.parametrize("nodes", [1, pytest.param(2, marks=on_two_nodes)])
def test_sigterm_exits_with_an_error_and_the_same_call_goes_on(
    nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SLURM sends it, to `srun` too."""
    nodes_are_this_machine(tmp_path, monkeypatch)
    training = {"epochs": 500, "batch_size": 4, "nodes": nodes}
    code = (
        "import sys; from pathlib import Path; from tests.small_run import small_run; "
        "from sepclr_neuro.learning.training import write_fold_model; "
        f"write_fold_model(*small_run(Path(sys.argv[1]), training={training}), 'sepclr-k-jem', 0)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    checkpoints = Results(tmp_path).checkpoints(METHOD, 0)
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("epoch-*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert "goes on from the last epoch" in said
    assert not (Results(tmp_path).model_folder(METHOD, 0) / "model.json").exists()


def test_a_training_that_stopped_early_stays_so(tmp_path: Path) -> None:
    settings = {"epochs": 30, "batch_size": 4, "validation_fraction": 0.4, "patience": 1, "learning_rate": 0.05}
    config, results = small_run(tmp_path, training=settings)
    write_fold_model(config, results, METHOD, 0)
    before, history = weights(results), read_tsv(results.model_folder(METHOD, 0) / "history.tsv")
    (results.model_folder(METHOD, 0) / "model.json").unlink()
    write_fold_model(config, results, METHOD, 0)
    assert len(read_tsv(results.model_folder(METHOD, 0) / "history.tsv")) == len(history) < 30
    assert equal(before, weights(results))


def test_a_loss_that_is_not_finite_ends_training_and_its_batch_is_recorded(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, training={"epochs": 5, "batch_size": 4, "learning_rate": 1e30})
    with pytest.raises(InputError, match=r"epoch \d of 5, step \d: the loss is not finite \(.*loss") as caught:
        write_fold_model(config, results, METHOD, 0)
    assert not (results.model_folder(METHOD, 0) / "model.json").exists()
    path = results.checkpoints(METHOD, 0) / "not-finite.tsv"
    batch = read_tsv(path, text=("participant_id",))
    assert str(caught.value).endswith(f"which {path} describes: {', '.join(batch['participant_id'])}")
    assert len(batch) == 4
    assert set(batch["participant_id"]) <= set(read_fold(results.splits, results.index, 0).train)
    assert batch["target"].tolist() == [False, False, True, True]
    assert batch[["view_1_min", "view_2_max"]].notna().all(axis=None)


def test_weights_that_are_not_finite_make_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss was still finite."""
    config, results = small_run(tmp_path, training=ONE_EPOCH)
    step = torch.optim.Adam.step

    def spoil(adam: torch.optim.Adam, **given: object) -> object:
        found = step(adam, **given)  # type: ignore[arg-type]
        if next(iter(adam.state.values()))["step"] == steps:
            adam.param_groups[0]["params"][0].data[0] = float("inf")
        return found

    steps = 2
    monkeypatch.setattr(torch.optim.Adam, "step", spoil)
    with pytest.raises(InputError, match="a weight is not finite in epoch 1 of 1"):
        write_fold_model(config, results, METHOD, 0)


# --- two at once, damaged checkpoints, a full disk ------------------------------------------------------------------


def test_two_trainings_of_the_same_at_once_are_refused(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, training=ONE_EPOCH)
    with (
        exclusive(results.checkpoints(METHOD, 0).with_suffix(".lock")),
        pytest.raises(InputError, match=rf"fold-0: another process \({os.getpid()}\) is making it at this moment"),
    ):
        write_fold_model(config, results, METHOD, 0)
    write_fold_model(config, results, METHOD, 0)
    with exclusive(results.volumes.with_suffix(".lock")), pytest.raises(InputError, match="volumes: another process"):
        write_volumes(config, results)


class Evil:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def _damage(path: Path, damage: str, marker: Path) -> None:
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "a flipped bit":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "a pickle":
        path.write_bytes(pickle.dumps(Evil(marker)))
    else:
        torch.save({"epoch": 2, "state_dict": Evil(marker)}, path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "a flipped bit", "a pickle", "torch's pickle"])
def test_a_damaged_or_hostile_checkpoint_falls_back_to_the_one_before(
    damage: str, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    config, results = small_run(tmp_path / "run", training={"epochs": 2, "batch_size": 4})
    write_fold_model(config, results, METHOD, 0)
    before = weights(results)
    _damage(results.checkpoints(METHOD, 0) / "epoch-00002.ckpt", damage, tmp_path / "marker")
    write_fold_model(config, results, METHOD, 0)
    assert "epoch-00002.ckpt cannot be read" in said.text
    assert "resumes after epoch 1" in said.text
    assert equal(before, weights(results))
    assert not (tmp_path / "marker").exists()


def test_a_damaged_best_epoch_is_reported(tmp_path: Path) -> None:
    settings = {"epochs": 2, "batch_size": 4, "validation_fraction": 0.4, "patience": 5}
    config, results = small_run(tmp_path, training=settings)
    write_fold_model(config, results, METHOD, 0)
    _damage(results.checkpoints(METHOD, 0) / "best.ckpt", "a flipped bit", tmp_path / "marker")
    with pytest.raises(InputError, match=r"best\.ckpt cannot be read .* delete .*fold-0 and run again"):
        write_fold_model(config, results, METHOD, 0)


def command_on_a_full_disk(said: Path, *arguments: str) -> None:
    """The command line in a process whose files may not grow over 20 kB, as on a disk that is full."""
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    sys.argv = ["sepclr-neuro", *arguments]
    cli.main()


@pytest.mark.parametrize("stage", ["volumes", "standardise", "train"])
def test_a_full_disk_is_one_message_and_the_same_command_goes_on(stage: str, tmp_path: Path) -> None:
    config, results = small_run(tmp_path / "run", training=ONE_EPOCH)
    if stage == "volumes":
        write_tsv(results.cohort, make_cohort(tmp_path))
        results.volumes.unlink()
    if stage == "standardise":
        results.standardisation(0).unlink()
    path, said = tmp_path / "config.yaml", tmp_path / "said"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    given = {"volumes": [], "standardise": ["--fold", "0"], "train": ["--method", METHOD, "--fold", "0"]}[stage]
    child = CONTEXT.Process(target=command_on_a_full_disk, args=(said, stage, str(path), *given))
    child.start()
    child.join(120)
    assert child.exitcode == 2, said.read_text()
    *_, last = said.read_text().splitlines()
    assert "Traceback" not in said.read_text()
    assert last.startswith(f"sepclr-neuro: {tmp_path / 'run'}")
    assert "the system refused: File too large; free some space" in last
    assert list(tmp_path.rglob(".writing-*")) == []
    assert not results.receipt(stage).exists()

    assert CliRunner().invoke(cli.app, [stage, str(path), *given]).exit_code == 0


def test_the_loss_so_far_can_be_read_during_training(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, training=ONE_EPOCH)
    write_fold_model(config, results, METHOD, 0)
    so_far = pd.read_csv(results.checkpoints(METHOD, 0) / "metrics.csv")
    history = read_tsv(results.model_folder(METHOD, 0) / "history.tsv")
    assert so_far["loss"].tolist() == pytest.approx(history["loss"].tolist(), rel=1e-5)


def test_gradients_are_clipped_in_bfloat16_too(tmp_path: Path) -> None:
    settings = ONE_EPOCH | {"precision": "bfloat16"}
    plain, plain_results = small_run(tmp_path / "plain", training=settings)
    write_fold_model(plain, plain_results, METHOD, 0)
    other, other_results = small_run(tmp_path / "other", training=settings | {"gradient_clip": 0.01})
    write_fold_model(other, other_results, METHOD, 0)
    assert not equal(weights(plain_results), weights(other_results))


@pytest.mark.parametrize(
    "option",
    [
        {"schedule": "cosine"},
        {"gradient_clip": 0.01},
        {"weight_decay": 0.1},
        {"precision": "bfloat16"},
        {"learning_rate": 1e-3},
    ],
    ids=lambda option: next(iter(option)),
)
def test_each_option_of_the_loop_changes_the_weights(option: dict[str, object], tmp_path: Path) -> None:
    base = {"epochs": 2, "batch_size": 4, "precision": "float32"}
    plain, plain_results = small_run(tmp_path / "plain", training=base)
    write_fold_model(plain, plain_results, METHOD, 0)
    other, other_results = small_run(tmp_path / "other", training=base | option)
    write_fold_model(other, other_results, METHOD, 0)
    assert not equal(weights(plain_results), weights(other_results))
    precision = read_json(other_results.model_folder(METHOD, 0) / "model.json")["precision"]
    assert precision == ("bf16-mixed" if option.get("precision") == "bfloat16" else "32-true")


def test_a_standardisation_of_held_out_participants_is_refused(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, training=ONE_EPOCH)
    for fold in range(2):
        write_fold_model(config, results, METHOD, fold)
    path = results.standardisation(0).with_suffix(".json")
    metadata = read_json(path)
    leaked = read_fold(results.splits, results.index, 0).test[0]
    write_json(path, metadata | {"train_scan_ids": [*metadata["train_scan_ids"], leaked]})
    with pytest.raises(InputError, match=f"leak: the standardisation was learned from 1 scans.*{leaked}"):
        write_representations(config, results, METHOD)
    with pytest.raises(InputError, match="leak: the standardisation"):
        write_fold_model(config, results, METHOD, 0)
    Standardisation.load(results, 1).refuse_learned_from(read_fold(results.splits, results.index, 1).test)
