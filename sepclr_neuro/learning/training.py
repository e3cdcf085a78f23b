"""Trains one method on the training participants of one fold."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sepclr_neuro import __version__
from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.configured import ConfiguredMethod
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import file_name, made_by, versions
from sepclr_neuro.core.storage import fingerprint, read_json, sha256
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.covariates import CovariateCoding, learn_covariates
from sepclr_neuro.data.sampling import Members, seed_of
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.augmentation import augment
from sepclr_neuro.learning.batches import Scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.models import build_method, describe_networks, write_model

__all__ = ["VolumeViews", "training_scans", "write_fold_model"]

logger = logging.getLogger(__name__)

NO_TERMS = ("epoch", "loss", "validation_loss", "seconds")
"""Columns of a training's history that are not terms of its loss."""


@dataclass(frozen=True)
class VolumeViews:
    """Standardises volumes, and makes random views of them."""

    standardisation: Standardisation
    augmentation: Augmentation

    def to(self, device: torch.device) -> VolumeViews:
        return replace(self, standardisation=self.standardisation.to(device))

    def unaugmented(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        return self.standardisation.apply(scans, planes)

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._views(self.standardisation.apply(scans, dtype=dtype), self.augmentation, members, count)

    def of_effects(
        self, volumes: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        # With probability 0 as many random numbers are drawn as with any other.
        without_noise = self.augmentation.model_copy(update={"noise_probability": 0.0})
        return self._views(volumes.to(dtype), without_noise, members, count)

    def _views(self, volumes: Tensor, changes: Augmentation, members: Members, count: int) -> Tensor:
        views = volumes.new_empty(count, *volumes.shape)
        for view, out in enumerate(views):
            augment(volumes, changes, seed_of(members.seed, view), members, out=out)
        return views


def write_fold_model(config: Config, results: Results, method: str, fold: int) -> None:
    """Trains one method on the training participants of one fold and writes the model; the same call resumes.

    Args:
        config: of the run.
        results: its results folder; models and checkpoints are written there.
        method: its name in the run.
        fold: number of the fold, from 0.

    Raises:
        InputError: if the fold has too few training participants for a batch, or if an attribute or covariate of the
            method is absent from the cohort, or is constant.
    """
    started, title = time.monotonic(), f"{method}, fold {fold}"
    configured = config.for_method(method)
    cache = VolumeCache(results)
    split = read_fold(results.splits, results.index, fold)
    cohort = load_cohort(results.cohort)
    coding = training_covariates(config, configured, cohort, split)
    scans = training_scans(cohort, cache, split, configured.settings.columns(), coding)
    settings = stage_config(config, "training", method)
    standardisation = Standardisation.load(results, fold)
    standardisation.refuse_learned_from(split.test)
    identity = fingerprint(settings, fold, _identity(results, cache, scans, fold), __version__)
    torch.manual_seed(seed_of(config.seed, fold))
    input_shape = [1, *cache.shape]
    network = build_method(config, method, input_shape)
    history, how = fit(
        network,
        scans,
        VolumeViews(standardisation, configured.augmentation),
        configured.training,
        seeds=(config.seed, fold),
        folder=results.checkpoints(method, fold),
        identity=identity,
        title=title,
    )
    write_model(
        results.model_folder(method, fold),
        network,
        pd.DataFrame(history),
        {
            "method": method,
            "registered_method": configured.method,
            "fold": fold,
            "train_scan_ids": [cache.scan_ids[row] for row in scans.rows],
            "seed": config.seed,
            "input_shape": input_shape,
            "covariates": coding.to_json(),
            "settings": settings,
            **how,
            "processor": platform.machine(),
            "made_by": made_by(),
            "inputs": {file_name(path, results): sha256(path) for path in _inputs(results, fold)},
            "epochs": len(history),
            "losses": [name for name in history[0] if name not in NO_TERMS],
            "networks": describe_networks(network),
            "seconds": round(sum(row["seconds"] for row in history), 1),
            "versions": {"sepclr_neuro": __version__}
            | versions("torch", "lightning", "monai", "numpy", *configured.packages),
            "fingerprint": identity,
        },
    )
    memory = f", with {how['peak_memory']} at most" if "peak_memory" in how else ""
    logger.info(f"{title}: trained in {time.monotonic() - started:.0f} s{memory}")


def _inputs(results: Results, fold: int) -> list[Path]:
    """The files behind a model; ``index.tsv`` holds the checksum of every volume."""
    return [results.cohort, results.index, results.grid, results.splits, results.standardisation(fold)]


def _identity(results: Results, cache: VolumeCache, training: Scans, fold: int) -> list[Any]:
    """The training data, for the fingerprint: participants, groups, attributes, covariates and checksums of voxels."""
    scans = [
        [cache.scan_ids[row], cache.checksums[row], participant, is_target]
        for row, participant, is_target in zip(training.rows, training.participants, training.target, strict=True)
    ]
    attributes = repr((training.attributes, training.covariates.tolist()))  # JSON has no NaN
    return [scans, attributes, read_json(results.grid), sha256(results.standardisation(fold))]


def training_covariates(config: Config, method: ConfiguredMethod, cohort: pd.DataFrame, split: Fold) -> CovariateCoding:
    """Coding of the covariates that a method adjusts for, learned from the training participants of a fold.

    Returns:
        A coding without columns if the method does not adjust.

    Raises:
        InputError: if a column is absent, or a participant lacks a value that is not to be imputed.
    """
    if not method.adjusts:
        return CovariateCoding()
    train = cohort.set_index("scan_id", drop=False).loc[list(split.train)]
    return learn_covariates(train, method.adjust_for, config.impute_covariates)


def training_scans(
    cohort: pd.DataFrame,
    cache: VolumeCache,
    split: Fold,
    columns: Mapping[str, str],
    coding: CovariateCoding | None = None,
) -> Scans:
    """The training scans of a fold, with the method's attributes scaled to 0 to 1, and coded covariates.

    Args:
        cohort: rows of ``cohort.tsv``.
        cache: the array of all volumes.
        split: the fold.
        columns: the method's attributes, each ``continuous`` or ``discrete``.
        coding: of the covariates; None for none.

    Raises:
        InputError: if a column is absent or constant in the training patients.
    """
    train = cohort.set_index("scan_id", drop=False).loc[list(split.train)]
    return Scans(
        partial(cache.read, dtype=np.float16),
        cache.rows(list(train.index)),
        train["participant_id"].tolist(),
        (train["group"] == "target").tolist(),
        {name: _scaled(train, name, kind, split.fold) for name, kind in columns.items()},
        torch.from_numpy((coding or CovariateCoding()).code(train)).float(),
    )


def _scaled(train: pd.DataFrame, name: str, kind: str, fold: int) -> list[float]:
    """A column of the training participants, scaled to 0 to 1; labels are numbered in alphabetical order first.

    Raises:
        InputError: if the column is absent, holds labels although it is ``continuous``, or is constant in the training
            patients.
    """
    if name not in train:
        raise InputError(f"attributes: the cohort has no column {name!r}; it has {', '.join(train.columns)}")
    column = train[name]
    if not pd.api.types.is_numeric_dtype(column):
        if kind == "continuous":
            raise InputError(f"attributes.{name}: the column holds labels, not numbers; call it `discrete`")
        labels = sorted(column.dropna().unique())
        column = column.map({label: float(code) for code, label in enumerate(labels)})
    known = column[train["group"] == "target"].dropna()
    if known.nunique() < 2:
        raise InputError(
            f"attributes.{name}: the patients that fold {fold} trains on have {known.nunique()} different values, "
            "2 are needed; remove the attribute"
        )
    low, high = column.min(), column.max()
    return ((column - low) / (high - low)).astype(float).tolist()
