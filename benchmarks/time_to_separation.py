"""Time from the start to a separation: until held-out patients are told from controls by the salient space as well as
after the whole training of a MONAI user's recipe, on the simulated cohort.

The recipe trains a convolutional encoder for all its epochs; here network and schedule are free: config.yaml's.
Both start from volumes on disk: theirs are read into memory, ours into the cache and standardised. What it takes to
start Python and to look at the accuracy is not counted. How long ours is trained is chosen on the held-out people, so
the recipe is given the same choice too, in the row ``..._same_choice``.

python -m benchmarks.time_to_separation [--quick] [--network light] [--epochs 100]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from monai.transforms import EnsureChannelFirstd, LoadImaged, Orientationd, ResizeWithPadOrCropd

from benchmarks import recipe
from benchmarks.rows import Rows
from sepclr_neuro.cohort import load_cohort, write_cohort
from sepclr_neuro.config import Augmentation, Config, Network, parse_config
from sepclr_neuro.fitting import fit
from sepclr_neuro.layout import Results
from sepclr_neuro.methods.base import GradientMethod
from sepclr_neuro.models import build_method
from sepclr_neuro.probes import Question, fit_probe
from sepclr_neuro.registry import METHODS
from sepclr_neuro.simulation import write_dataset
from sepclr_neuro.splits import Fold, read_fold, write_splits
from sepclr_neuro.standardisation import Standardisation, write_standardisation
from sepclr_neuro.training import VolumeViews, training_people
from sepclr_neuro.volumes import VolumeCache, write_volumes

METHOD = "sepclr-k-jem"
BATCH_SIZE = 8
EPOCHS = (2, 4, 8, 16, 32, 64, 128)
UNIT = "% balanced, held-out people, salient space"

Trained = tuple[float, float, int]
"""Seconds, the accuracy then (0 to 1), epochs."""


def measure(rows: Rows, side: int, people: int, network: Literal["light", "strided"], epochs: int, seed: int) -> None:
    """Adds the recipe's accuracy and seconds, and ours, to the rows."""
    with tempfile.TemporaryDirectory() as folder:
        config = _config(Path(folder), side, people, seed)
        results = Results(config.output)
        for prepare in (write_dataset, write_cohort, write_volumes, write_splits):
            prepare(config, results)
        fold = read_fold(results, 0)
        write_standardisation(config, results, 0)
        prefix, suffix = _affixes(network)
        theirs = _recipe(config, fold, network, epochs)
        whole, goal, _ = theirs[-1]
        rows.add(f"{prefix}recipe_accuracy{suffix}", 100 * goal, UNIT)
        rows.add(f"{prefix}recipe_epochs{suffix}", epochs, "epochs")
        rows.add(f"{prefix}recipe_time_to_separation{suffix}", whole, "s")
        ours, reached, taken = _ours(config, fold, goal)
        rows.add(f"{prefix}time_to_separation{suffix}", ours, "s")
        rows.add(f"{prefix}time_to_separation_accuracy{suffix}", 100 * reached, UNIT)
        rows.add(f"{prefix}time_to_separation_epochs{suffix}", taken, "epochs")
        chosen = _first_to_reach(theirs, goal) or theirs[-1]
        rows.add(f"{prefix}time_to_separation_same_choice{suffix}", chosen[0] / ours, "times the recipe's speed")
        rows.add(f"{prefix}time_to_separation_ratio{suffix}", whole / ours, "times the recipe's speed")


def _affixes(network: str) -> tuple[str, str]:
    """What the names of rows begin and end with."""
    return "gpu_" if torch.cuda.is_available() else "", "" if network == "light" else f"_{network}"


def _first_to_reach(trained: list[Trained], goal: float) -> Trained | None:
    """The shortest training that reaches an accuracy, when the next longer one does too."""
    return next((one for one, longer in pairwise(trained) if min(one[1], longer[1]) >= goal), None)


def _config(folder: Path, side: int, people: int, seed: int) -> Config:
    return parse_config(
        {
            "output": str(folder),
            "seed": seed,
            "cohort": {"source": "simulated", "simulation": {"participants": people}},
            "volumes": {"shape": [side] * 3},
            "splits": {"folds": 2},
            # Ours, as config.yaml sets them for half as many voxels an axis.
            "network": {"name": "linear", "patch": 4},
            "augmentation": {"crop_probability": 0.0},
            "training": {"batch_size": 64, "learning_rate": 1e-3},
            "methods": {METHOD: {"salient_dim": 8}},
        }
    )


def _accuracy(config: Config, fold: Fold, method: GradientMethod) -> float:
    """Of a probe of the diagnosis, fitted on the salient representation of training people."""
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
    cohort = load_cohort(results).set_index("scan_id")
    question = Question("diagnosis", "classification", cohort["group"], ("background", "target"))
    answer = fit_probe(question, salient.loc[list(fold.train)], salient.loc[list(fold.test)], cohort["participant_id"])
    assert answer is not None
    return answer.values["bacc"]


def _recipe(config: Config, fold: Fold, network: Literal["light", "strided"], epochs: int) -> list[Trained]:
    """The whole training, reading included, and as far as it was after some of its epochs."""
    results, side = Results(config.output), config.volumes.shape[0]
    cohort = load_cohort(results).set_index("scan_id")
    data: list[dict[str, Any]] = [
        {"volume": cohort.loc[scan, "volume"], "target": int(cohort.loc[scan, "group"] == "target")}
        for scan in fold.train
    ]
    # Balanced batches, as every method here needs.
    groups = [[person for person in data if person["target"] == group] for group in (0, 1)]
    data = [person for pair in zip(*groups, strict=False) for person in pair]
    standardisation = Standardisation.load(results, 0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    built = METHODS[METHOD].load()(METHODS[METHOD].settings(), Network(name=network), (1, side, side, side))
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
            trained.append((seconds, _accuracy(config, fold, built), epoch))
            print(f"# recipe, {epoch} epochs: {100 * trained[-1][1]:.1f} % after {seconds:.1f} s", flush=True)
            started = time.perf_counter()
    return trained


def _ours(config: Config, fold: Fold, goal: float) -> Trained:
    """The shortest training that reaches the accuracy, when twice as long a one does too; NaN seconds for none. Cache
    and standardisation included."""
    results = Results(config.output)
    for path in results.volumes.parent.iterdir():
        path.unlink()
    started = time.perf_counter()
    write_volumes(config, results)
    write_standardisation(config, results, 0)
    before = time.perf_counter() - started
    trained = []
    for epochs in EPOCHS:
        seconds, accuracy = _training(config, fold, epochs)
        print(f"# {epochs} epochs: {100 * accuracy:.1f} % after {before + seconds:.1f} s", flush=True)
        trained.append((before + seconds, accuracy, epochs))
        found = _first_to_reach(trained, goal)
        if found is not None:
            return found
    return float("nan"), max(accuracy for _, accuracy, _ in trained), EPOCHS[-1]


def _training(config: Config, fold: Fold, epochs: int) -> tuple[float, float]:
    """Seconds of a whole training, and the accuracy after it."""
    results = Results(config.output)
    started = time.perf_counter()
    scans = training_people(results, VolumeCache(results), fold, {})
    views = VolumeViews(Standardisation.load(results, 0), config.augmentation)
    torch.manual_seed(config.seed)
    method = build_method(config, METHOD, [1, *config.volumes.shape])
    fit(
        method,
        scans,
        views,
        config.training.model_copy(update={"epochs": epochs}),
        seeds=(config.seed, 0),
        folder=results.checkpoints(METHOD, 0),
        identity=f"{epochs} epochs",
        title=f"{epochs} epochs",
    )
    seconds = time.perf_counter() - started
    assert isinstance(method, GradientMethod)
    return seconds, _accuracy(config, fold, method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small size, to try it out")
    parser.add_argument("--output", type=Path, help="table of the rows; those that it has are not measured again")
    parser.add_argument("--network", default="light", choices=("light", "strided"), help="the recipe's encoder")
    parser.add_argument("--epochs", type=int, default=100, help="of the recipe; 100 is the program's default")
    parser.add_argument("--seed", type=int, default=1, help="of cohort, weights and views")
    given = parser.parse_args()
    rows = Rows(given.output)
    prefix, suffix = _affixes(given.network)
    if not rows.has(f"{prefix}time_to_separation_ratio{suffix}"):
        side, people, epochs = (64, 48, 2) if given.quick else (128, 120, given.epochs)
        measure(rows, side, people, given.network, epochs, given.seed)


if __name__ == "__main__":
    main()
