"""Time to a separation: until the salient space classifies held-out patients against controls as accurately as after
the whole training of a MONAI user's recipe, on simulated cohorts.

The recipe trains a convolutional encoder for all its epochs; this project uses the network and schedule of config.yaml.
Both start from volumes on disk: the recipe reads them into memory, this project builds the cache and standardises them.
The start of Python and the evaluation are not included. The accuracy is the mean over cohorts, since with 60 held-out
participants that of one cohort has an uncertainty of 6 points. The number of epochs of this project is chosen on
held-out participants; in the row ``..._same_choice`` so is that of the recipe. The points of each cohort are in a table
beside that of the rows, whose name ends in ``.points.tsv``.

python -m benchmarks.time_to_separation [--quick] [--epochs 100] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.transforms import EnsureChannelFirstd, LoadImaged, Orientationd, ResizeWithPadOrCropd

from benchmarks import recipe
from benchmarks.measuring import in_new_process
from benchmarks.rows import Rows
from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core import devices
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort, write_cohort
from sepclr_neuro.data.simulation import write_dataset
from sepclr_neuro.data.splits import Fold, read_fold, write_splits
from sepclr_neuro.data.standardisation import Standardisation, write_standardisation
from sepclr_neuro.data.volumes import write_volumes
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.models import build_method
from sepclr_neuro.learning.training import VolumeViews, training_scans
from sepclr_neuro.methods.base import GradientMethod
from sepclr_neuro.probing.probe_fits import fit_probe
from sepclr_neuro.probing.questions import Question

METHOD = "sepclr-k-jem"
BATCH_SIZE = 8
EPOCHS = (2, 4, 8, 16, 32, 64, 128)


class Points:
    """Accuracy of trainings over time, in a table on disk, so that an interrupted run can continue.

    A training is identified by device, seed of the cohort, ``recipe`` or ``ours``, and its planned number of epochs.
    """

    def __init__(self, path: Path | None, device: str) -> None:
        self.path, self.device = path, device
        self.table = pd.DataFrame(columns=["device", "seed", "trained", "length", "epochs", "seconds", "accuracy"])
        if path is not None and path.is_file():
            self.table = read_tsv(path, text=("device", "trained"))

    def of(self, trained: str, length: int, seeds: Sequence[int]) -> pd.DataFrame:
        """The points of ``recipe`` or ``ours``."""
        known = {"device": self.device, "trained": trained, "length": length}
        same = (self.table[list(known)] == pd.Series(known)).all(axis=1)
        return self.table[same & self.table["seed"].isin(seeds)]

    def add(self, trained: str, length: int, seed: int, points: list[tuple[int, float, float]]) -> None:
        rows = pd.DataFrame(
            [(self.device, seed, trained, length, *point) for point in points],
            columns=self.table.columns,
        )
        self.table = pd.concat([self.table, rows], ignore_index=True) if len(self.table) else rows
        if self.path is not None:
            write_tsv(self.path, self.table)


def measure(points: Points, side: int, people: int, epochs: int, lengths: Sequence[int], seed: int) -> None:
    """Trains both on one cohort unless the table has the result: the recipe for ``epochs``, ours for each length."""
    planned = (("recipe", epochs), ("ours", lengths[-1]))
    missing = [trained for trained, length in planned if points.of(trained, length, [seed]).empty]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder:
        config = _config(Path(folder), side, people, seed)
        results = Results(config.output)
        for prepare in (write_dataset, write_cohort, write_volumes, write_splits):
            prepare(config, results)
        fold = read_fold(results.splits, results.index, 0)
        write_standardisation(config, results, 0)
        if "recipe" in missing:
            points.add("recipe", epochs, seed, in_new_process(_recipe, config, fold, epochs))
        if "ours" in missing:
            points.add("ours", lengths[-1], seed, _ours(config, fold, lengths))


def compare(rows: Rows, points: Points, seeds: Sequence[int], epochs: int, longest: int) -> None:
    """Adds the rows, means over cohorts."""
    prefix = "gpu_" if points.device == "gpu" else ""
    theirs, ours = (
        points.of(trained, length, seeds).groupby("epochs")[["seconds", "accuracy"]].mean()
        for trained, length in (("recipe", epochs), ("ours", longest))
    )
    whole, goal = theirs.loc[epochs]
    accuracy = f"% balanced, held-out participants, salient space, mean over cohorts {' '.join(map(str, seeds))}"
    speed = "times the recipe's speed"
    rows.add(f"{prefix}recipe_accuracy", 100 * goal, accuracy)
    rows.add(f"{prefix}recipe_epochs", epochs, "epochs")
    rows.add(f"{prefix}recipe_time_to_separation", whole, "s")
    reached = _first_to_reach(ours, goal)
    taken = reached or ours.index[-1]
    seconds = ours["seconds"][reached] if reached else float("nan")
    rows.add(f"{prefix}time_to_separation", seconds, "s", "" if reached else "not reached")
    rows.add(f"{prefix}time_to_separation_accuracy", 100 * ours["accuracy"][taken], accuracy)
    rows.add(f"{prefix}time_to_separation_epochs", taken, "epochs")
    chosen = _first_to_reach(theirs, goal) or epochs
    rows.add(f"{prefix}time_to_separation_same_choice", theirs["seconds"][chosen] / seconds, speed)
    rows.add(f"{prefix}time_to_separation_ratio", whole / seconds, speed)


def _first_to_reach(trained: pd.DataFrame, goal: float) -> int | None:
    """The shortest training that reaches an accuracy and whose next longer one does too, since one may be by chance."""
    reach = trained["accuracy"] >= goal
    return next((epochs for epochs, longer in pairwise(trained.index) if reach[epochs] and reach[longer]), None)


def _config(folder: Path, side: int, people: int, seed: int) -> Config:
    return parse_config(
        {
            "output": str(folder),
            "seed": seed,
            "cohort": {"source": "simulated", "simulation": {"participants": people}},
            "volumes": {"shape": [side] * 3},
            "splits": {"folds": 2},
            # Settings of this project, as in config.yaml, where there are half as many voxels along each axis.
            "network": {"name": "linear", "patch": 4},
            "augmentation": {"crop_probability": 0.0},
            "training": {"batch_size": 64, "learning_rate": 1e-3},
            "methods": {METHOD: {"salient_dim": 8}},
        }
    )


def _accuracy(config: Config, fold: Fold, method: GradientMethod) -> float:
    """Held-out accuracy of a probe of the diagnosis, fitted on training participants' salient representations."""
    results = Results(config.output)
    cache, standardisation = VolumeCache(results), Standardisation.load(results, 0)
    device = next(method.parameters()).device
    method.cpu().eval()
    scans = [*fold.train, *fold.test]
    with torch.no_grad():
        parts = [
            method.represent(standardisation.apply(cache.read(cache.rows(scans[start : start + BATCH_SIZE]))))[
                "salient"
            ]
            for start in range(0, len(scans), BATCH_SIZE)
        ]
    method.to(device).train()
    salient = pd.DataFrame(torch.cat(parts).double().numpy(), index=scans)
    cohort = load_cohort(results.cohort).set_index("scan_id")
    question = Question("diagnosis", "classification", cohort["group"], ("background", "target"))
    answer = fit_probe(question, salient.loc[list(fold.train)], salient.loc[list(fold.test)], cohort["participant_id"])
    assert answer is not None
    return answer.values["bacc"]


def _recipe(config: Config, fold: Fold, epochs: int) -> list[tuple[int, float, float]]:
    """Points of the recipe's training: epochs, seconds from the start (including reading), accuracy (0 to 1)."""
    results, side = Results(config.output), config.volumes.shape[0]
    cohort = load_cohort(results.cohort).set_index("scan_id")
    data: list[dict[str, Any]] = [
        {"volume": cohort.loc[scan, "volume"], "target": int(cohort.loc[scan, "group"] == "target")}
        for scan in fold.train
    ]
    # All methods of this project need balanced batches.
    groups = [[person for person in data if person["target"] == group] for group in (0, 1)]
    data = [person for pair in zip(*groups, strict=False) for person in pair]
    standardisation = Standardisation.load(results, 0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    built = METHODS[METHOD].load()(METHODS[METHOD].settings(), Network(name="light"), (1, side, side, side))
    assert isinstance(built, GradientMethod)
    built = recipe.of_usual_layers(built).to(device)
    optimizer = torch.optim.Adam(built.parameters(), lr=3e-4)
    started = time.perf_counter()
    before = [
        LoadImaged("volume"),
        EnsureChannelFirstd("volume"),
        Orientationd("volume", "RAS", labels=None),
        ResizeWithPadOrCropd("volume", [side] * 3),
        recipe.Standardised(standardisation),
    ]
    batches = recipe.loader(data, before, Augmentation(), side, BATCH_SIZE, pairs=True)
    seconds, trained = 0.0, []
    for epoch in range(1, epochs + 1):
        for batch in batches:
            recipe.descend(built, optimizer, {name: part.to(device) for name, part in batch.items()})
        if epoch in (*EPOCHS, epochs):
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - started
            trained.append((epoch, seconds, _accuracy(config, fold, built)))
            print(f"# recipe, {epoch} epochs: {100 * trained[-1][2]:.1f} % after {seconds:.1f} s", flush=True)
            started = time.perf_counter()
    return trained


def _ours(config: Config, fold: Fold, lengths: Sequence[int]) -> list[tuple[int, float, float]]:
    """Points of this project's training, including cache and standardisation."""
    results = Results(config.output)
    for path in results.volumes.parent.iterdir():
        path.unlink()
    started = time.perf_counter()
    write_volumes(config, results)
    write_standardisation(config, results, 0)
    scans = training_scans(load_cohort(results.cohort), VolumeCache(results), fold, {})
    views = VolumeViews(Standardisation.load(results, 0), config.augmentation)
    torch.manual_seed(config.seed)
    method = build_method(config, METHOD, [1, *config.volumes.shape])
    assert isinstance(method, GradientMethod)
    seconds, trained = 0.0, []
    for epochs in lengths:
        # Resumes from the end of the shorter training.
        fit(
            method,
            scans,
            views,
            config.training.model_copy(update={"epochs": epochs}),
            seeds=(config.seed, 0),
            folder=results.checkpoints(METHOD, 0),
            identity="time to a separation",
            title="ours",
        )
        seconds += time.perf_counter() - started
        trained.append((epochs, seconds, _accuracy(config, fold, method)))
        print(f"# ours, {epochs} epochs: {100 * trained[-1][2]:.1f} % after {seconds:.1f} s", flush=True)
        started = time.perf_counter()
    return trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small size, to try it out")
    parser.add_argument(
        "--output", type=Path, help="table of the rows; cohorts in .points.tsv beside it are not trained again"
    )
    parser.add_argument("--epochs", type=int, default=100, help="of the recipe; 100 is the program's default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of cohorts, weights and views")
    given = parser.parse_args()
    devices.keep_freed_memory()
    side, people, epochs, lengths = (64, 48, 2, EPOCHS[:2]) if given.quick else (128, 120, given.epochs, EPOCHS)
    seeds = given.seeds[:1] if given.quick else given.seeds
    path = None if given.output is None else given.output.with_suffix(".points.tsv")
    points = Points(path, "gpu" if torch.cuda.is_available() else "cpu")
    for seed in seeds:
        measure(points, side, people, epochs, lengths, seed)
    compare(Rows(given.output), points, seeds, epochs, lengths[-1])


if __name__ == "__main__":
    main()
