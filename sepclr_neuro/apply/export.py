"""A run's model leaves the results folder: gathered from what the stages wrote, without ids and paths."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes

from sepclr_neuro.apply.card import card_of, figures_of, readme
from sepclr_neuro.apply.controls import Controls
from sepclr_neuro.apply.exported import ExportedModel, write_exported
from sepclr_neuro.apply.likeness import statistics_of, summary
from sepclr_neuro.apply.probes import ExportedProbe
from sepclr_neuro.apply.seen import Seen
from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError, nearest
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import Fold, read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.data.volumes import preprocessing
from sepclr_neuro.learning.models import TrainedModel, load_model
from sepclr_neuro.maps.fold_codes import fold_codes
from sepclr_neuro.probing.questions import people_of
from sepclr_neuro.probing.representations import read_representations, refuse_leaks

__all__ = ["gather", "write_export"]

logger = logging.getLogger(__name__)

# What of model.json describes the model. Scan ids, paths, checksums of inputs and the machine stay behind.
_OF_THE_MODEL = ("method", "registered_method", "fold", "seed", "input_shape", "covariates", "precision", "epochs")
_NOT_SETTINGS = ("output",)


def write_export(results: Results, method: str, fold: int, folder: Path) -> None:
    """Exports the model of one fold to a folder of its own.

    Raises:
        InputError: if the run has no such method or fold, a stage up to ``probe`` is missing or was run with other
            settings, a held-out participant was trained on, or the folder holds something else.
    """
    exported = gather(results, method, fold)
    write_exported(folder, exported, readme(exported.card, exported.training_volumes, exported.controls))
    logger.info(f"{exported.title}: exported to {folder}; README.md there says what it is")


def gather(results: Results, method: str, fold: int) -> ExportedModel:
    """The model of one fold and all that new participants need. Raises as :func:`write_export` does."""
    config, volumes = _settings(results, method, fold)
    cache, cohort = VolumeCache(results), load_cohort(results.cohort)
    split = read_fold(results.splits, results.index, fold)
    folder = results.model_folder(method, fold)
    model, standardisation = load_model(folder), Standardisation.load(results, fold)
    represented = read_representations(results.representations(method, fold), folder)
    refuse_leaks(method, split, represented, model.metadata["train_scan_ids"], people_of(cohort))
    standardisation.refuse_learned_from([*split.probe, *split.test])
    codes = {space: pd.DataFrame(x, index=represented.scan_ids) for space, x in represented.spaces.items()}
    by_scan = cohort.set_index("scan_id", drop=False)
    controls, patterns = None, None
    if "salient" in codes:
        people = by_scan.drop_duplicates("participant_id")
        brain = standardisation.mask.numpy()
        found = fold_codes(results, method, fold, standardisation, brain, cache, people)
        controls = _controls(codes["salient"], people, split)
        patterns = np.zeros((len(found.weights), *cache.shape), dtype=np.float32)
        patterns[:, brain] = found.weights
    sizes = voxel_sizes(cache.affine)
    training = cache.one_by_one(split.train)
    statistics = pd.DataFrame([statistics_of(volume, standardisation, sizes) for volume in training])
    own_table = results.table(config.cohort.table_name, "tsv")
    scores = read_tsv(results.scores)
    figures = figures_of(method, fold, scores, read_tsv(own_table) if own_table.is_file() else None)
    of_distance = results.patterns(method) / "distance.tsv"
    distance = None
    if of_distance.is_file():
        row = read_tsv(of_distance).iloc[0]
        distance = {name: float(row[name]) for name in ("auc", "p") if pd.notna(row[name])}
    return ExportedModel(
        TrainedModel(model.method, _of_the_model(model)),
        volumes,
        cache.affine,
        standardisation,
        _probes(results, method, fold, by_scan["participant_id"]),
        controls,
        patterns,
        summary(statistics),
        _seen(cache, by_scan, split),
        card_of(config, model, volumes, cache.affine, by_scan, split, codes, figures, distance),
    )


def _settings(results: Results, method: str, fold: int) -> tuple[Config, Volumes]:
    """The run's configuration as far as probes go, and its section ``volumes``, after a check that all was made so."""
    needed = [
        results.run_file("probes"),
        results.run_file("volumes"),
        results.grid,
        results.scores,
        results.coefficients,
    ]
    for path in (*needed, results.predictions):
        if not path.is_file():
            raise InputError(
                f"{path}: is missing; is {results.root} the results folder of a run that has come as far as the probes?"
            )
    config, volumes = load_config(needed[0]), load_config(needed[1]).volumes
    if method not in config.methods:
        raise InputError(f"{method}: the run has no such method.{nearest(method, config.methods, listed=True)}")
    if fold >= config.splits.count:
        raise InputError(f"--fold {fold}: the run has {config.splits.count} folds, from 0 to {config.splits.count - 1}")
    if read_json(results.grid).get("settings") != preprocessing(volumes):
        raise InputError(
            f"{needed[1]}: is not what the volumes were made with; let the run finish with its present configuration"
        )
    return config, volumes


def _of_the_model(model: TrainedModel) -> dict[str, Any]:
    metadata = {name: model.metadata[name] for name in _OF_THE_MODEL if name in model.metadata}
    settings = {name: value for name, value in model.metadata["settings"].items() if name not in _NOT_SETTINGS}
    return metadata | {"settings": settings, "versions": model.metadata["versions"]}


def _controls(codes: pd.DataFrame, people: pd.DataFrame, split: Fold) -> Controls:
    """From the salient codes [N, d] by scan id of the controls; of a participant's scans the first counts."""
    controls = people.index[people["group"] == "background"]
    sides = [controls[controls.isin(side)] for side in (split.train, split.test)]
    return Controls.of(*(codes.loc[side].to_numpy(float) for side in sides))


def _probes(results: Results, method: str, fold: int, people: pd.Series) -> tuple[ExportedProbe, ...]:
    """The fold's probes; of a held-out participant's scans that have the target, the first one counts.

    Args:
        people: the participant of each scan, by scan id, in the order of the cohort.
    """
    predictions = read_tsv(results.predictions, text=("scan_id", "truth", "prediction"))
    of_fold = predictions[
        (predictions["regime"] == "standard") & (predictions["method"] == method) & (predictions["fold"] == fold)
    ]
    scans = of_fold["scan_id"]
    of_fold = of_fold.assign(person=scans.map(people), place=people.index.get_indexer(pd.Index(scans))).sort_values(
        "place"
    )
    once = of_fold.drop_duplicates(["target", "space", "person"])
    return tuple(
        ExportedProbe.of(function, once[(once["target"] == function["target"]) & (once["space"] == function["space"])])
        for function in read_json(results.coefficients)
        if function["method"] == method and function["fold"] == fold
    )


def _seen(cache: VolumeCache, cohort: pd.DataFrame, split: Fold) -> Seen:
    sides = {"train": split.train, "probe": split.probe, "test": split.test}
    side = {scan: name for name, scans in sides.items() for scan in scans}
    person = people_of(cohort)
    checksums = dict(zip(cache.scan_ids, cache.checksums, strict=True))
    return Seen.of(
        {person[scan]: name for scan, name in side.items()},
        {checksums[scan]: name for scan, name in side.items()},
    )
