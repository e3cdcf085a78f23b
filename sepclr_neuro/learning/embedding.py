"""Representations of a cohort by trained models: the tables that probes read."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import Progress
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.models import TrainedModel, load_model
from sepclr_neuro.methods.base import Method

__all__ = [
    "parts_in_memory",
    "represent_fold",
    "represent_parts",
    "represent_scans",
    "represent_volumes",
    "write_representations",
]

logger = logging.getLogger(__name__)

_VOXELS_PER_BATCH = 8 * 128**3
"""Limits memory to about 8 volumes of 128³."""


def write_representations(config: Config, results: Results, method: str) -> None:
    """Computes the representations of all scans by the model of each fold, and writes a table per fold.

    Raises:
        InputError: if the model or the standardisation was fitted on a scan that is not a training scan.
    """
    cache, cohort = VolumeCache(results), load_cohort(results.cohort)
    for fold in range(config.splits.count):
        model = load_model(results.model_folder(method, fold))
        standardisation = Standardisation.load(results, fold)
        split = read_fold(results.splits, results.index, fold)
        table = represent_fold(model, cache, standardisation, cohort, split, f"{method}, fold {fold}")
        write_tsv(results.representations(method, fold), table)


def represent_fold(
    model: TrainedModel,
    cache: VolumeCache,
    standardisation: Standardisation,
    cohort: pd.DataFrame,
    split: Fold,
    title: str,
) -> pd.DataFrame:
    """Representations of every scan of a fold by the fold's model.

    Args:
        model: trained on the fold.
        cache: the array of all volumes.
        standardisation: of the fold.
        cohort: rows of ``cohort.tsv``.
        split: the fold.
        title: of the model, in messages.

    Returns:
        ``scan_id side common_0 ...``, one column per dimension of each space.

    Raises:
        InputError: as :func:`write_representations`.
    """
    sides = {"train": split.train, "probe": split.probe, "test": split.test}
    for unseen in (split.probe, split.test):
        model.refuse_trained_on(unseen)
        standardisation.refuse_learned_from(unseen)
    scans = [scan for members in sides.values() for scan in members]
    rows = cohort.set_index("scan_id", drop=False).loc[scans]
    for line in model.covariates.lines_on_new_levels(rows):
        logger.warning(f"{title}: {line}")
    spaces = represent_scans(model.method, cache, standardisation, scans, model.covariates.code(rows), title)
    columns = {f"{space}_{k}": column for space, values in spaces.items() for k, column in enumerate(values.T)}
    side = [name for name, members in sides.items() for _ in members]
    return pd.DataFrame({"scan_id": scans, "side": side, **columns})


def represent_scans(
    method: Method,
    cache: VolumeCache,
    standardisation: Standardisation,
    scans: Sequence[str],
    covariates: np.ndarray | None = None,
    title: str = "representations",
) -> dict[str, np.ndarray]:
    """Representations of scans by a trained method, a few volumes in memory at a time.

    They are computed in float32, however the method was trained: bfloat16 would be faster, but change those of an
    untrained network by some hundredths of their SD over participants instead of at most 0.001 (`python -m
    benchmarks.embedding` measures both). Afterwards the method is on the device that it computed on, a GPU if there is
    one.

    Args:
        method: trained, in evaluation mode.
        cache: the array of all volumes.
        standardisation: of the fold that the method was trained on.
        scans: their ids.
        covariates: that the salient space is adjusted for, [N, k], in the order of the scans; None without adjustment.
        title: of the work, in messages.

    Returns:
        [N, d] for each space.
    """

    def parts() -> Iterator[Tensor]:
        progress = Progress(title, len(scans))
        for part in parts_in_memory(len(scans), cache.shape):
            yield cache.read(cache.rows(scans[part]), np.float16)
            progress.at(part.stop, f"{part.stop} of {len(scans)} scans")

    return represent_volumes(method, parts(), standardisation, covariates)


def represent_volumes(
    method: Method,
    volumes: Iterable[Tensor],
    standardisation: Standardisation,
    covariates: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Representations of volumes by a trained method, as :func:`represent_scans` computes them.

    Args:
        method: trained, in evaluation mode.
        volumes: parts [B, 1, X, Y, Z] on the grid, float16, not standardised, together those of N participants.
        standardisation: of the fold that the method was trained on.
        covariates: as for :func:`represent_scans`.

    Returns:
        [N, d] for each space.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    method.to(device)
    standardise = standardisation.to(device).apply
    parts = (standardise(part.to(device)) for part in volumes)
    found = represent_parts(method, parts, None if covariates is None else torch.from_numpy(covariates))
    return {space: values.float().cpu().numpy() for space, values in found.items()}


def parts_in_memory(count: int, input_shape: Sequence[int], at_once: int | None = None) -> Iterator[slice]:
    """Slices of ``count`` participants, each of ``at_once``, by default of as many as 8 volumes of 128³ have voxels."""
    at_once = at_once or max(1, _VOXELS_PER_BATCH // math.prod(input_shape))
    for start in range(0, count, at_once):
        yield slice(start, min(start + at_once, count))


@torch.no_grad()
def represent_parts(method: Method, volumes: Iterable[Tensor], covariates: Tensor | None = None) -> dict[str, Tensor]:
    """Representations of N standardised volumes that arrive in parts.

    Args:
        method: in evaluation mode, on the device of the volumes.
        volumes: the parts, [B, C, *spatial], in the order of the participants.
        covariates: that the salient space is adjusted for, [N, k]; None without adjustment.

    Returns:
        [N, d] for each space.
    """
    parts: dict[str, list[Tensor]] = {space: [] for space in method.spaces}
    start = 0
    for part in volumes:
        a = None if covariates is None else covariates[start : start + len(part)].to(part)
        for space, values in method.represent(part, a).items():
            parts[space].append(values)
        start += len(part)
    return {space: torch.cat(blocks) for space, blocks in parts.items()}
