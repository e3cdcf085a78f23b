"""One cohort of the benchmark, and one recipe trained on it and measured."""

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
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import versions
from sepclr_neuro.core.statistics import distance_correlation
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
from sepclr_neuro.validation.separation.instruments import of_codes, of_maps, true_subtypes
from sepclr_neuro.validation.separation.measure import (
    NUMBERS,
    factor_questions,
    factor_values,
    separation_parts,
    shares,
)

__all__ = ["best_achievable", "prepare_cohort", "read_truth", "run_recipe", "truth_features"]

logger = logging.getLogger(__name__)

_AT_ONCE = 16
MAPPED_PEOPLE, SMOOTHGRAD_SAMPLES, SMOOTHGRAD_SD = 8, 8, 0.3


# --- a cohort and what can be found in it ------------------------------------------------------------------------


def prepare_cohort(config: Config, cohort: str, seed: int) -> None:
    """Makes one cohort, half of whose people are held out, and writes what of it can be found at best.

    Raises:
        InputError: if real volumes that an effect is to be implanted into cannot be used.
    """
    told = config.separation_run(cohort, seed)
    results = Results(told.output)
    write_dataset(told, results)
    write_cohort(told, results)
    write_volumes(told, results)
    write_splits(told, results)
    best = best_achievable(
        told,
        load_cohort(results.cohort),
        VolumeCache(results),
        read_fold(results.splits, results.index, 0),
        read_truth(results.truth),
    )
    write_tsv(Results(config.output).separation_best(cohort, seed), best)


def read_truth(folder: Path) -> dict[str, np.ndarray]:
    """The true map of each factor, float32 [X, Y, Z], in the order of their names."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz"))
    names.remove("disease_mask")
    return {name: nibabel.nifti1.load(folder / f"{name}.nii.gz").get_fdata(dtype=np.float32) for name in names}


def truth_features(
    truth: Mapping[str, np.ndarray], cache: VolumeCache, standardisation: Standardisation
) -> pd.DataFrame:
    """What a model that knows the true maps reads: for each, the inner product with a standardised volume, [N, k].

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
    told: Config, cohort: pd.DataFrame, cache: VolumeCache, fold: Fold, truth: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """By factor, the better of two linear models: one that knows the true maps, and one on all voxels.

    Real brains have no true map of age, sex and site, and where individual anatomy is smooth the voxels together can
    tell more than the maps alone.

    Args:
        truth: the true map of each factor.

    Returns:
        ``factor value truth_maps voxels``: the better figure, and both.
    """
    standardisation = learn_standardisation(cache.one_by_one(fold.train), fold.train, told.standardisation)
    model = VoxelLinear(VoxelLinearSettings(), told.network, (1, *cache.shape))
    people = training_scans(cohort, cache, fold, {})
    model.fit(
        lambda rows, planes: standardisation.apply(cache.read(rows, planes=planes), planes),
        people.rows,
        torch.tensor(people.target),
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
    """Trains a recipe on the training half of a cohort and measures it on the other; the same call resumes.

    Raises:
        InputError: if the cohort's people cannot fill the batches, or the loss is not finite.
    """
    started, title = time.monotonic(), f"{cohort}, seed {seed}, {recipe}"
    told = config.separation_run(cohort, seed, recipe)
    # Where the cohort lies, and where the benchmark's own files do.
    data, results = Results(told.output), Results(config.output)
    (name,) = told.methods
    configured = told.for_method(name)
    cache, people_of, fold = VolumeCache(data), load_cohort(data.cohort), read_fold(data.splits, data.index, 0)
    standardisation = learn_standardisation(cache.one_by_one(fold.train), fold.train, told.standardisation)
    torch.manual_seed(seed_of(seed, 0))
    method: Method = build_method(told, name, [1, *cache.shape])
    coding = training_covariates(told, configured, people_of, fold)
    people = training_scans(people_of, cache, fold, configured.settings.columns(), coding)
    shared = {"standardisation", "augmentation", "network", "training", "adjust_for", "impute_covariates"}
    settings = told.model_dump(mode="json", include=shared)
    settings["methods"] = {name: configured.settings.model_dump(mode="json")}
    history, how = fit(
        method,
        people,
        VolumeViews(standardisation, configured.augmentation),
        configured.training,
        seeds=(seed, 0),
        folder=results.separation_checkpoints(cohort, seed, recipe),
        identity=fingerprint(settings, sha256(data.index), sha256(data.splits), __version__),
        title=title,
    )
    method.eval()
    scans = [*fold.train, *fold.test]
    covariates = coding.code(people_of.set_index("scan_id", drop=False).loc[scans])
    spaces = _represent(method, cache, standardisation, scans, covariates)
    table = read_tsv(results.separation_best(cohort, seed))
    best: dict[str, float] = dict(zip(table["factor"], table["value"], strict=True))
    values = factor_values(spaces, people_of, fold, [cache.scan_ids[row] for row in people.rows])
    values["best"] = values["factor"].map(best)
    values["share"] = shares(values, best)
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
                "dependence": _dependence(spaces, people_of, fold),
                "localisation": _localisation(method, spaces, data, cache, standardisation, people_of, fold),
                **_instruments(told, spaces, data, people_of, fold, cache, standardisation, coding),
                "epochs": len(history),
                "loss": history[-1].get("loss"),  # none of what is solved at once
                "seconds": round(sum(row["seconds"] for row in history), 1),
                **how,
                "processor": platform.machine(),
                "settings": settings,
                "versions": {"sepclr_neuro": __version__} | versions("torch", "lightning", "numpy"),
            }
        ),
    )
    logger.info(f"{title}: trained and measured in {time.monotonic() - started:.0f} s")


def _instruments(
    told: Config,
    spaces: Mapping[str, pd.DataFrame],
    data: Results,
    cohort: pd.DataFrame,
    fold: Fold,
    cache: VolumeCache,
    standardisation: Standardisation,
    coding: CovariateCoding,
) -> dict[str, Any]:
    """What the salient or the only space says beside shares, and its patterns beside the t-map."""
    space = spaces["salient" if "salient" in spaces else "single"]
    people = cohort.set_index("scan_id", drop=False)
    sides = people.loc[list(fold.train)], people.loc[list(fold.test)]
    train, test = (space.loc[side.index].to_numpy(float) for side in sides)
    patient = (sides[0]["group"] == "target").to_numpy(bool), (sides[1]["group"] == "target").to_numpy(bool)
    factors = read_tsv(data.truth / "factors.tsv", text=("participant_id",))
    subtype = true_subtypes(factors, sides[0]["participant_id"]), true_subtypes(factors, sides[1]["participant_id"])
    mask = standardisation.mask.cpu().numpy() > 0
    truth = true_map(told, data.truth, cache)
    volumes = partial(standardised_voxels, cache, standardisation, fold.train, mask)
    held_by = learn_covariates(sides[0], None, impute=True).code(sides[0]), coding.code(sides[0])
    found: dict[str, Any] = {"codes": of_codes(train, test, patient, subtype)}
    if truth is not None:
        found["maps"] = of_maps(volumes, train, test, patient, held_by, truth[mask])
    return found


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null."""
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
    """Bias-corrected distance correlation of the spaces in held-out patients, since controls are on one point."""
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
    """Where the probe of diagnosis looks, of the salient or the only space: mean SmoothGrad of held-out patients."""
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
    for number, scan in enumerate([scan for scan in fold.test if scan in patients][:MAPPED_PEOPLE]):
        volume = standardisation.apply(cache.read(cache.rows([scan])).to(device))
        options = {"samples": SMOOTHGRAD_SAMPLES, "noise_sd": SMOOTHGRAD_SD, "seed": number}
        total += smoothgrad(scores, volume, standardisation.mask, **options)[0].numpy()  # type: ignore[arg-type]
    region = nibabel.nifti1.load(results.truth / "disease_mask.nii.gz").get_fdata() > 0
    return localisation(total, region, standardisation.mask.cpu().numpy() > 0)
