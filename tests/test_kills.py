"""Killed with SIGKILL anywhere, the same command goes on and ends in the same bits (200 kills: tests/soak/kills.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.training import TENSORBOARD
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_tsv
from tests.data.small_volumes import SMALL, make_cohort
from tests.killing import Point, run, train, write_volumes
from tests.small_run import small_run

SMALL_SEPCLR = {"common_dim": 4, "salient_dim": 4, "projector_width": 8}
# One optimiser; an estimator with its own, in batches larger than memory; a decoder and a discriminator with its own.
METHODS: dict[str, dict[str, Any]] = {
    "sepclr-k-jem": SMALL_SEPCLR,
    "sepclr-tc": SMALL_SEPCLR | {"training": {"people_in_memory": 2}},
    "convae": {},
}


def small(folder: Path, method: str) -> tuple[Config, Results]:
    training = {"epochs": 2, "batch_size": 4, "schedule": "cosine", "gradient_clip": 1.0}
    return small_run(folder, training=training, methods={method: METHODS[method]})


def model(results: Results, method: str) -> bytes:
    return (results.model_folder(method, 0) / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    weights = {}
    for method in METHODS:
        config, results = small(tmp_path_factory.mktemp(method), method)
        assert run(train, config, results, method)
        weights[method] = model(results, method)
    return weights


# A training of two epochs writes 1 fingerprint.json, 2 epoch-00001.ckpt, 3 metrics.csv, 4 epoch-00002.ckpt,
# 5 metrics.csv, and of the model 6 model.safetensors, 7 history.tsv, 8 model.json.
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "point",
    [
        Point("within write", 2),
        Point("after write", 2),
        Point("epoch", 2),
        Point("before write", 4),
        Point("within write", 4),
        Point("after write", 6),
        Point("within write", 8),
    ],
    ids=lambda point: f"{point.place} {point.number}",
)
def test_a_killed_training_ends_in_the_same_bits(
    method: str, point: Point, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    config, results = small(tmp_path, method)
    assert not run(train, config, results, method, point=point)
    assert not (results.model_folder(method, 0) / "model.json").exists()
    checkpoints = {path.name for path in results.checkpoints(method, 0).glob("epoch-*.ckpt")}
    done = {("within write", 2): 0, ("after write", 2): 1, ("epoch", 2): 1, ("before write", 4): 1}
    epochs = done.get((point.place, point.number), 1 if point == Point("within write", 4) else 2)
    assert checkpoints == {f"epoch-{epoch:05d}.ckpt" for epoch in range(1, epochs + 1)}  # none but the epoch in flight

    assert run(train, config, results, method)
    assert model(results, method) == undisturbed[method]
    assert list(tmp_path.rglob(".writing-*")) == []


def test_metrics_of_a_killed_training_have_each_epoch_once(tmp_path: Path) -> None:
    """Killed between the checkpoint and the metrics of the second epoch, which the third then writes with its own."""
    training = {"epochs": 4, "batch_size": 4}
    config, results = small_run(tmp_path, training=training, methods={"sepclr-k-jem": SMALL_SEPCLR})
    path = results.checkpoints("sepclr-k-jem", 0) / "metrics.csv"
    assert not run(train, config, results, "sepclr-k-jem", point=Point("before write", 5))
    assert pd.read_csv(path)["epoch"].tolist() == [1]
    assert run(train, config, results, "sepclr-k-jem")
    metrics = pd.read_csv(path)
    assert metrics["epoch"].tolist() == [1, 2, 3, 4]
    assert metrics["loss"].notna().all()


def train_with_curves(config: Config, results: Results, method: str) -> None:
    os.environ[TENSORBOARD] = "1"
    train(config, results, method)


def test_curves_of_a_killed_training_have_each_epoch_once(tmp_path: Path) -> None:
    """Killed after the curve's second point, before the checkpoint of that epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = {"epochs": 4, "batch_size": 4}
    config, results = small_run(tmp_path, training=training, methods={"sepclr-k-jem": SMALL_SEPCLR})
    assert not run(train_with_curves, config, results, "sepclr-k-jem", point=Point("before write", 4))
    assert run(train_with_curves, config, results, "sepclr-k-jem")
    curves = EventAccumulator(str(results.checkpoints("sepclr-k-jem", 0) / "tensorboard")).Reload()
    points = curves.Scalars("loss")
    assert [point.step for point in points] == [1, 2, 3, 4]
    losses = pd.read_csv(results.checkpoints("sepclr-k-jem", 0) / "metrics.csv")["loss"]
    assert [point.value for point in points] == pytest.approx(losses.tolist())


def test_killed_again_and_again_it_still_ends(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """At every write in turn, then at random moments."""
    method = "sepclr-tc"
    config, results = small(tmp_path, method)
    for number in range(1, 9):
        run(train, config, results, method, point=Point("within write", number))
    rng = np.random.default_rng(0)
    for _ in range(3):
        run(train, config, results, method, seconds=float(rng.uniform(0, 0.6)))
    assert run(train, config, results, method)
    assert model(results, method) == undisturbed[method]


@pytest.mark.parametrize("place", ["within write", "after write"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_killed_cache_is_made_whole(place: Any, number: int, tmp_path: Path) -> None:
    """1 volumes.npy, 2 index.tsv, 3 grid.json, 4 rows.json; the cohort lost a scan since the cache of before."""
    cohort = make_cohort(tmp_path)
    config, results, whole = Config(volumes=SMALL), Results(tmp_path / "killed"), Results(tmp_path / "whole")
    write_tsv(results.cohort, cohort)
    write_volumes(config, results)
    for other in (results, whole):
        write_tsv(other.cohort, cohort.iloc[1:])
    assert not run(write_volumes, config, results, point=Point(place, number))
    write_volumes(config, results)
    write_volumes(config, whole)
    for one in (results.volumes, results.index, results.grid, results.volumes.with_name("rows.json")):
        assert one.read_bytes() == (whole.volumes.parent / one.name).read_bytes()
    assert len(list(results.volumes.parent.iterdir())) == 4
