"""Time from the start to a separation: until held-out patients are told from controls by the salient space as well as
after the whole training of a MONAI user's recipe, on the simulated cohort.

The recipe trains the light convolutional encoder for all its epochs; here network and schedule are free. Both start
from volumes on disk: theirs are read into memory, ours into the cache and standardised.

python -m benchmarks.time_to_separation [--quick]
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.transforms import EnsureChannelFirstd, LoadImaged, Orientationd, ResizeWithPadOrCropd

from benchmarks import recipe
from benchmarks.rows import Rows, run
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
MOST_EPOCHS = 60


def measure(rows: Rows, quick: bool) -> None:
    if rows.has("time_to_separation_ratio"):
        return
    side, people, epochs = (64, 48, 2) if quick else (128, 120, 10)
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                "output": folder,
                "cohort": {"source": "simulated", "simulation": {"participants": people}},
                "volumes": {"shape": [side] * 3},
                "splits": {"folds": 2},
                "network": {"name": "linear"},
                "training": {"batch_size": BATCH_SIZE, "learning_rate": 1e-3},
                "methods": {METHOD: {}},
            }
        )
        results = Results(config.output)
        write_dataset(config, results)
        write_cohort(config, results)
        write_volumes(config, results)
        write_splits(config, results)
        fold = read_fold(results, 0)
        write_standardisation(config, results, 0)
        theirs, goal = _recipe(config, fold, epochs)
        rows.add("recipe_accuracy", 100 * goal, "% balanced, held-out people, salient space")
        rows.add("recipe_time_to_separation", theirs, "s")
        ours, reached, taken = _ours(config, fold, goal)
        rows.add("time_to_separation", ours, "s")
        rows.add("time_to_separation_accuracy", 100 * reached, "% balanced, held-out people, salient space")
        rows.add("time_to_separation_epochs", taken, "epochs")
        rows.add("time_to_separation_ratio", theirs / ours, "times the recipe's speed")


def _accuracy(config: Config, fold: Fold, method: GradientMethod) -> float:
    """Of a probe of the diagnosis, fitted on the salient representation of training people."""
    results = Results(config.output)
    cache, standardisation = VolumeCache(results), Standardisation.load(results, 0)
    method.eval()
    scans = [*fold.train, *fold.test]
    with torch.no_grad():
        parts = [
            method.represent(standardisation.apply(cache.read(cache.rows(scans[start : start + BATCH_SIZE]))))[
                "salient"
            ]
            for start in range(0, len(scans), BATCH_SIZE)
        ]
    method.train()
    salient = pd.DataFrame(torch.cat(parts).double().numpy(), index=scans)
    cohort = load_cohort(results).set_index("scan_id")
    question = Question("diagnosis", "classification", cohort["group"], ("background", "target"))
    answer = fit_probe(question, salient.loc[list(fold.train)], salient.loc[list(fold.test)], cohort["participant_id"])
    assert answer is not None
    return answer.values["bacc"]


def _recipe(config: Config, fold: Fold, epochs: int) -> tuple[float, float]:
    """Seconds of the whole training, reading included, and the accuracy after it."""
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
    torch.manual_seed(0)
    built = METHODS[METHOD].load()(METHODS[METHOD].settings(), Network(name="light"), (1, side, side, side))
    assert isinstance(built, GradientMethod)
    built = recipe.of_usual_layers(built)
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
    for _ in range(epochs):
        for batch in batches:
            recipe.descend(built, optimizer, batch)
    seconds = time.perf_counter() - started
    return seconds, _accuracy(config, fold, built)


def _ours(config: Config, fold: Fold, goal: float) -> tuple[float, float, int]:
    """Seconds until the first of two epochs in a row that reach the accuracy, the accuracy, and epochs; NaN for never.

    What it takes to look is not counted.
    """
    results = Results(config.output)
    for path in results.volumes.parent.iterdir():
        path.unlink()
    started = time.perf_counter()
    write_volumes(config, results)
    write_standardisation(config, results, 0)
    scans = training_people(results, VolumeCache(results), fold, {})
    views = VolumeViews(Standardisation.load(results, 0), config.augmentation)
    seconds = [time.perf_counter() - started]
    found: list[float] = []
    for epochs in range(1, MOST_EPOCHS + 1):
        started = time.perf_counter()
        torch.manual_seed(0)
        method = build_method(config, METHOD, [1, *config.volumes.shape])
        fit(
            method,
            scans,
            views,
            config.training.model_copy(update={"epochs": epochs}),
            seeds=(0, 0),
            folder=results.checkpoints(METHOD, 0),
            identity="benchmark",
            title=f"epoch {epochs}",
        )
        seconds.append(seconds[-1] + time.perf_counter() - started)
        assert isinstance(method, GradientMethod)
        found.append(_accuracy(config, fold, method))
        if len(found) > 1 and min(found[-2:]) >= goal:
            return seconds[-2], found[-2], epochs - 1
    return float("nan"), float(np.max(found)), MOST_EPOCHS


if __name__ == "__main__":
    run(__doc__, measure)
