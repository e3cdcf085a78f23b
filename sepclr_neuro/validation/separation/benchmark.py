"""Cohorts of the benchmark and their best achievable figures; training and evaluation of one recipe."""

from __future__ import annotations

import itertools
import logging
import platform
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sepclr_neuro import __version__
from sepclr_neuro.config.methods.controls import VoxelLinearSettings
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.dependence import distance_correlation
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import versions
from sepclr_neuro.core.storage import fingerprint, read_tsv, sha256, write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort, write_cohort
from sepclr_neuro.data.covariates import CovariateCoding, learn_covariates
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.data.simulation import write_dataset
from sepclr_neuro.data.splits import Fold, read_fold, write_splits
from sepclr_neuro.data.standardisation import Standardisation, learn_standardisation, standardised_voxels
from sepclr_neuro.data.volumes import write_volumes
from sepclr_neuro.learning.embedding import represent_scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.models import build_method
from sepclr_neuro.learning.training import VolumeViews, training_covariates, training_scans
from sepclr_neuro.maps.attribution import smoothgrad
from sepclr_neuro.maps.localisation import localisation
from sepclr_neuro.maps.mapping import true_map
from sepclr_neuro.methods.base import Method
from sepclr_neuro.methods.controls import VoxelLinear
from sepclr_neuro.probing.probe_fits import Fit
from sepclr_neuro.validation.separation.further_measures import code_measures, map_measures, true_subtypes
from sepclr_neuro.validation.separation.measure import (
    NUMBERS,
    factor_questions,
    factor_values,
    held_out_values,
    recovery,
    separation_parts,
)

__all__ = ["best_achievable", "prepare_cohort", "read_truth", "run_recipe", "truth_features"]

logger = logging.getLogger(__name__)

_AT_ONCE = 16
MAPPED_PARTICIPANTS, SMOOTHGRAD_SAMPLES, SMOOTHGRAD_SD = 8, 8, 0.3


# --- a cohort and its best achievable figures ---------------------------------------------------------------------


def prepare_cohort(config: Config, cohort: str, seed: int) -> None:
    """Makes one cohort, half of whose participants are held out, and writes its best achievable figures.

    Args:
        config: of the run, with the section `separation`.
        cohort: its name in that section.
        seed: of the simulation.

    Raises:
        InputError: if an effect is to be implanted into real volumes and these cannot be used.
    """
    run = config.separation_run(cohort, seed)
    results = Results(run.output)
    write_dataset(run, results)
    write_cohort(run, results)
    write_volumes(run, results)
    write_splits(run, results)
    best = best_achievable(
        run,
        load_cohort(results.cohort),
        VolumeCache(results),
        read_fold(results.splits, results.index, 0),
        read_truth(results.truth),
    )
    write_tsv(Results(config.output).separation_best(cohort, seed), best)


def read_truth(folder: Path) -> dict[str, np.ndarray]:
    """The true map of each factor by name, in alphabetical order, float32 [X, Y, Z]."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz"))
    names.remove("disease_mask")
    return {name: nibabel.nifti1.load(folder / f"{name}.nii.gz").get_fdata(dtype=np.float32) for name in names}


def truth_features(
    truth: Mapping[str, np.ndarray], cache: VolumeCache, standardisation: Standardisation
) -> pd.DataFrame:
    """Features of a model that knows the true maps: the inner product of each map with standardised volumes, [N, k].

    A factor changes log grey matter by its map m, hence a standardised voxel by about mean x m / SD.
    """
    images = np.stack(list(truth.values()))
    expected = torch.from_numpy(images) * standardisation.mean / standardisation.sd * standardisation.mask
    flat = expected.flatten(start_dim=1).double()
    found = []
    for start in range(0, len(cache.scan_ids), _AT_ONCE):
        rows = list(range(start, min(start + _AT_ONCE, len(cache.scan_ids))))
        found.append(standardisation.apply(cache.read(rows)).flatten(start_dim=1).double() @ flat.T)
    return pd.DataFrame(torch.cat(found).numpy(), index=cache.scan_ids, columns=list(truth))


def best_achievable(
    run: Config, cohort: pd.DataFrame, cache: VolumeCache, fold: Fold, truth: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """For each factor, the better held-out figure of two linear models: on the true maps, and on all voxels.

    Real brains have no true map of age, sex and site; and where individual anatomy is smooth, all voxels together can
    predict better than the inner products with the maps.

    Args:
        run: the configuration of one run of the benchmark.
        cohort: rows of ``cohort.tsv``.
        cache: the array of all volumes.
        fold: training and held-out participants.
        truth: the true map of each factor, [X, Y, Z].

    Returns:
        ``factor value truth_maps voxels``: the better figure, and both.
    """
    standardisation = learn_standardisation(cache.one_by_one(fold.train), fold.train, run.standardisation)
    model = VoxelLinear(VoxelLinearSettings(), run.network, (1, *cache.shape))
    training = training_scans(cohort, cache, fold, {})
    model.fit(
        lambda rows, planes: standardisation.apply(cache.read(rows, planes=planes), planes),
        training.rows,
        torch.tensor(training.target),
    )
    features = {
        "truth_maps": truth_features(truth, cache, standardisation),
        "voxels": _represent(model, cache, standardisation, cache.scan_ids)["single"],
    }
    values = factor_values(features, cohort, fold, fold.train).pivot(index="factor", columns="space", values="value")
    better = [row.min() if name in NUMBERS else row.max() for name, row in values.iterrows()]
    values.insert(0, "value", better)
    return values.reset_index()


# --- a recipe ----------------------------------------------------------------------------------------------------


def run_recipe(config: Config, cohort: str, seed: int, recipe: str) -> None:
    """Trains a recipe on one half of a cohort, evaluates it on the other and writes the result; the same call resumes.

    Raises:
        InputError: if the cohort has too few participants for a batch, or the loss is not finite.
    """
    started, title = time.monotonic(), f"{cohort}, seed {seed}, {recipe}"
    run = config.separation_run(cohort, seed, recipe)
    # The files of the cohort, and those of the benchmark itself.
    data, results = Results(run.output), Results(config.output)
    (name,) = run.methods
    configured = run.for_method(name)
    cache, participants, fold = VolumeCache(data), load_cohort(data.cohort), read_fold(data.splits, data.index, 0)
    standardisation = learn_standardisation(cache.one_by_one(fold.train), fold.train, run.standardisation)
    torch.manual_seed(seed_of(seed, 0))
    method: Method = build_method(run, name, [1, *cache.shape])
    coding = training_covariates(run, configured, participants, fold)
    training = training_scans(participants, cache, fold, configured.settings.columns(), coding)
    shared = {"standardisation", "augmentation", "network", "training", "adjust_for", "impute_covariates"}
    settings = run.model_dump(mode="json", include=shared)
    settings["methods"] = {name: configured.settings.model_dump(mode="json")}
    history, how = fit(
        method,
        training,
        VolumeViews(standardisation, configured.augmentation),
        configured.training,
        seeds=(seed, 0),
        folder=results.separation_checkpoints(cohort, seed, recipe),
        identity=fingerprint(settings, sha256(data.index), sha256(data.splits), __version__),
        title=title,
    )
    method.eval()
    scans = [*fold.train, *fold.test]
    covariates = coding.code(participants.set_index("scan_id", drop=False).loc[scans])
    spaces = _represent(method, cache, standardisation, scans, covariates)
    table = read_tsv(results.separation_best(cohort, seed))
    best: dict[str, float] = dict(zip(table["factor"], table["value"], strict=True))
    values = factor_values(spaces, participants, fold, [cache.scan_ids[row] for row in training.rows])
    held_out = held_out_values(spaces, participants, fold)
    for probed in (values, held_out):
        probed["best"] = probed["factor"].map(best)
        probed["share"] = recovery(probed, best)
    write_json(
        results.separation_run(cohort, seed, recipe),
        _without_nan(
            {
                "recipe": recipe,
                "method": name,
                "cohort": cohort,
                "seed": seed,
                "score": separation_parts(values)["score"],
                "values": values.to_dict("records"),
                "held_out": held_out.to_dict("records"),
                "dependence": _dependence(spaces, participants, fold),
                "localisation": _localisation(method, spaces, data, cache, standardisation, participants, fold),
                **_further_measures(run, spaces, data, participants, fold, cache, standardisation, coding),
                "epochs": len(history),
                "loss": history[-1].get("loss"),  # absent for some closed forms
                "seconds": round(sum(row["seconds"] for row in history), 1),
                **how,
                "processor": platform.machine(),
                "settings": settings,
                "versions": {"sepclr_neuro": __version__} | versions("torch", "lightning", "numpy"),
            }
        ),
    )
    logger.info(f"{title}: trained and measured in {time.monotonic() - started:.0f} s")


def _further_measures(
    run: Config,
    spaces: Mapping[str, pd.DataFrame],
    data: Results,
    cohort: pd.DataFrame,
    fold: Fold,
    cache: VolumeCache,
    standardisation: Standardisation,
    coding: CovariateCoding,
) -> dict[str, Any]:
    """Further measures of the salient (or only) space and of its patterns."""
    space = spaces["salient" if "salient" in spaces else "single"]
    by_scan = cohort.set_index("scan_id", drop=False)
    sides = by_scan.loc[list(fold.train)], by_scan.loc[list(fold.test)]
    train, test = (space.loc[side.index].to_numpy(float) for side in sides)
    patient = (sides[0]["group"] == "target").to_numpy(bool), (sides[1]["group"] == "target").to_numpy(bool)
    factors = read_tsv(data.truth / "factors.tsv", text=("participant_id",))
    subtype = true_subtypes(factors, sides[0]["participant_id"]), true_subtypes(factors, sides[1]["participant_id"])
    mask = standardisation.mask.cpu().numpy() > 0
    truth = true_map(run, data.truth, cache)
    volumes = partial(standardised_voxels, cache, standardisation, fold.train, mask)
    covariates = learn_covariates(sides[0], None, impute=True).code(sides[0]), coding.code(sides[0])
    found: dict[str, Any] = {"codes": code_measures(train, test, patient, subtype)}
    if truth is not None:
        found["maps"] = map_measures(volumes, train, test, patient, covariates, truth[mask])
    return found


def _without_nan(value: Any) -> Any:
    """Replaces NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _represent(
    method: Method,
    cache: VolumeCache,
    standardisation: Standardisation,
    scans: list[str],
    covariates: np.ndarray | None = None,
) -> dict[str, pd.DataFrame]:
    """Representations [N, d] of each space, by scan id."""
    found = represent_scans(method, cache, standardisation, scans, covariates)
    return {space: pd.DataFrame(values, index=scans) for space, values in found.items()}


def _dependence(spaces: Mapping[str, pd.DataFrame], cohort: pd.DataFrame, fold: Fold) -> float | None:
    """Bias-corrected distance correlation of the spaces in held-out patients, since controls coincide at one point."""
    if "common" not in spaces:
        return None
    patients = set(cohort.loc[cohort["group"] == "target", "scan_id"])
    held_out = [scan for scan in fold.test if scan in patients]
    return distance_correlation(*(spaces[space].loc[held_out].to_numpy(float) for space in ("common", "salient")))


def _localisation(
    method: Method,
    spaces: Mapping[str, pd.DataFrame],
    results: Results,
    cache: VolumeCache,
    standardisation: Standardisation,
    cohort: pd.DataFrame,
    fold: Fold,
) -> dict[str, Any] | None:
    """Localisation of the diagnosis probe on the salient (or only) space, by mean SmoothGrad of held-out patients."""
    space = "salient" if "salient" in spaces else "single"
    question = factor_questions(cohort)["diagnosis"]
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    answer = Fit({}, question, spaces[space], fold).answer(person)
    if answer is None or answer.weights is None:
        return None
    device = next(itertools.chain(method.parameters(), method.buffers())).device
    weights = torch.from_numpy(answer.weights).float().to(device)
    standardisation = standardisation.to(device)

    def scores(volumes: Tensor) -> list[Tensor]:
        return [method.represent(volumes)[space].float() @ weights]

    patients = set(cohort.loc[cohort["group"] == "target", "scan_id"])
    total = np.zeros(cache.shape)
    for number, scan in enumerate([scan for scan in fold.test if scan in patients][:MAPPED_PARTICIPANTS]):
        volume = standardisation.apply(cache.read(cache.rows([scan])).to(device))
        options = {"samples": SMOOTHGRAD_SAMPLES, "noise_sd": SMOOTHGRAD_SD, "seed": number}
        total += smoothgrad(scores, volume, standardisation.mask, **options)[0].numpy()  # type: ignore[arg-type]
    region = nibabel.nifti1.load(results.truth / "disease_mask.nii.gz").get_fdata() > 0
    return localisation(total, region, standardisation.mask.cpu().numpy() > 0)
