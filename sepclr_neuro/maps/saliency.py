"""Saliency maps of a method: its folds' maps averaged, tested over participants, and compared with the truth."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.config.standardisation import STANDARDISATIONS
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.maps.about import About
from sepclr_neuro.maps.atlases import Atlas, cubes, load_atlas, region_table
from sepclr_neuro.maps.designs import nuisance
from sepclr_neuro.maps.fold_maps import FoldMapper, FoldMaps, Pair
from sepclr_neuro.maps.group_maps import CLUSTERS, CoarseGrid, cluster_table, group_map
from sepclr_neuro.maps.localisation import find_peaks, localisation, similarity
from sepclr_neuro.maps.mapping import SALIENT_NORM, beside, picture_heading, save_map, true_region, write_map
from sepclr_neuro.maps.sanity import SANITY, sanity_checks

__all__ = ["write_saliency"]

logger = logging.getLogger(__name__)

KEY = ["attribution", "target", "space"]
LOCALISED = ["relevance_share", "volume_share", "ratio", "rank_share", "peak_in_region", "pointing_game", "people"]
TABLES = {
    "peaks": [*KEY, "sign", "x", "y", "z", "value"],
    "localisation": [*KEY, *LOCALISED],
    "similarity": [*KEY, "with", "spearman", "spearman_absolute"],
    "regions": [*KEY, "region", "voxels", "mean", "peak", "x", "y", "z", "mass_percent"],
    "clusters": [*KEY, "contrast", *CLUSTERS, "region", "people", "permutations"],
    "sanity": ["attribution", *SANITY],
}


def write_saliency(config: Config, results: Results, method: str) -> None:
    """Maps the voxels that a method uses, by each attribution method, for each target and space, in held-out data.

    A fold's map is the mean over its participants, a method's map the mean over folds: each fold has another encoder,
    but its probe is oriented by the same label. Where no fold has a probe of a target (too few participants with a
    value, or more than two classes), the map is 0 everywhere and its picture says so.

    Writes for each attribution method ``<attribution>/<target>_<space>.nii.gz``, ``.png`` and ``.svg`` and, of group
    maps, ``<target>_<space>_<contrast>-t.nii.gz``; and the tables of ``TABLES``: ``peaks``; ``localisation``, rows
    only where ground truth is known; ``similarity`` with the voxel-wise t-map; ``regions``, with an atlas only;
    ``clusters`` of the group maps; ``sanity``. Started again after an interruption, it goes on with the first fold
    that is not done.

    Raises:
        InputError: if a model or a standardisation was learned from a participant whom its fold holds out, if ground
            truth and volumes lie on different grids, or if the atlas cannot be used.
    """
    with quick_images():
        _write(config, results, method)


def _write(config: Config, results: Results, method: str) -> None:
    settings = config.saliency
    cache = VolumeCache(results)
    folds = sorted(set(read_tsv(results.splits, text=("scan_id", "participant_id"))["fold"]))
    masks = [Standardisation.load(results, fold).mask.numpy() > 0 for fold in folds]
    brain: NDArray[np.bool_] = np.any(masks, axis=0)
    # Tests compare all participants, so that all folds must see a voxel.
    grid = CoarseGrid.over(np.all(masks, axis=0), cache.affine, settings.group_voxel_mm)
    atlas = None if settings.atlas is None else load_atlas(settings.atlas, brain, cache.affine)
    occluded = None
    if any(ATTRIBUTIONS[name].by_region for name in settings.attributions):
        occluded = atlas or cubes(settings.occlusion_mm, brain, cache.affine)

    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    by_fold: dict[str, dict[int, FoldMaps]] = {attribution: {} for attribution in settings.attributions}
    mapped: dict[int, dict[str, pd.DataFrame]] = {}
    for fold in folds:
        mapper = FoldMapper(config, results, method, fold)
        for attribution in settings.attributions:
            by_fold[attribution][fold] = mapper.maps(attribution, grid if settings.permutations else None, occluded)
        if fold == folds[0]:
            attribution = settings.attributions[0]
            checked = sanity_checks(mapper, attribution, occluded)
            tables["sanity"].append(checked.assign(attribution=attribution))
            spaces, scaling = mapper.model.spaces, mapper.model.metadata["settings"]["standardisation"]
            scaled = not STANDARDISATIONS[scaling["intensity"]].raw_units
            pairs = _pairs(config, mapper, spaces)
        mapped[fold] = {target: mapper.mapped(target) for target in mapper.scans_of}

    for attribution, (target, space) in product(settings.attributions, pairs):
        found = {fold: maps for fold, maps in by_fold[attribution].items() if (target, space) in maps.mean}
        key = {"attribution": attribution, "target": target, "space": space}
        values = np.mean([maps.mean[target, space].numpy() for maps in found.values()], axis=0) if found else None
        path = results.saliency(method) / attribution / f"{target}_{space}.nii.gz"
        subtitle = (
            f"{ATTRIBUTIONS[attribution].title} on held-out participants, mean over {len(found)} of {len(folds)} "
            "folds. Not for clinical use."
        )
        if values is None:
            values = np.zeros(cache.shape)
            subtitle = "NO MAP: no fold has a linear probe of this target with one decision function."
            logger.warning(f"saliency of {method}, {target}, {space} space: {subtitle}")
        title = picture_heading(config, config.for_method(method).title, target, f"{space} space")
        about = About(
            what=f"{ATTRIBUTIONS[attribution].title} of {_score(target)} in held-out participants, mean over folds",
            statistic="attribution",
            unit=_unit(attribution, target, scaled),
            target=target,
            people=sum(len(maps.peaks[target, space]) for maps in found.values()),
            folds=len(found),
            method=method,
            title=config.for_method(method).title,
            space=space,
            attribution=attribution,
        )
        write_map(path, values, cache.affine, title, subtitle, about, config)

        def add(name: str, rows: pd.DataFrame, key: Mapping[str, Any] = key) -> None:
            tables[name].append(rows.assign(**key))

        add("peaks", find_peaks(values, cache.affine))
        t_map = results.vbm / f"{'diagnosis' if target == SALIENT_NORM else target}.nii.gz"
        if t_map.is_file():
            alike = similarity(values, nibabel.Nifti1Image.from_filename(t_map).get_fdata(), brain)
            add("similarity", pd.DataFrame([{"with": "voxel-wise t-map", **alike}]))
        region = true_region(config, results.truth, target, cache)
        if region is not None:
            add("localisation", pd.DataFrame([_localised(values, region, brain, found, (target, space))]))
        if atlas is not None:
            add("regions", region_table(values, atlas, cache.affine))
        if settings.permutations and found:
            add("clusters", _group(config, mapped, found, about, grid, path, atlas, cache))
    for name, columns in TABLES.items():
        # An empty table among others would make text of their numbers.
        filled = [table for table in tables[name] if len(table)]
        rows = pd.concat(filled)[columns] if filled else pd.DataFrame(columns=columns)
        write_tsv(results.saliency(method) / f"{name}.tsv", rows)


def _pairs(config: Config, mapper: FoldMapper, spaces: tuple[str, ...]) -> list[Pair]:
    """All that is to be mapped, whether a fold has it or not."""
    settings = config.saliency
    pairs = list(product(settings.targets, spaces)) if "probe" in settings.of else []
    return pairs + [pair for pair in mapper.decisions if pair[0] == SALIENT_NORM]


def _score(target: str) -> str:
    return "the salient head's squared distance from s'" if target == SALIENT_NORM else f"the probe of {target}"


def _unit(attribution: str, target: str, scaled: bool) -> str:
    score = "squared distance" if target == SALIENT_NORM else "probe score"
    return f"{score} {ATTRIBUTIONS[attribution].unit.format(unit='SD' if scaled else 'unit')}"


def _localised(
    values: NDArray[np.float64],
    region: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    found: Mapping[int, FoldMaps],
    pair: Pair,
) -> dict[str, Any]:
    """A row of the table ``localisation``; the pointing game is the share of participants whose peak is inside."""
    peaks = [maps.peaks[pair].numpy() for maps in found.values()]
    places = np.concatenate(peaks) if peaks else np.zeros(0, dtype=int)
    game = float(region.ravel()[places].mean()) if len(places) else np.nan
    return {**localisation(values, region, brain), "pointing_game": game, "people": len(places)}


def _group(
    config: Config,
    mapped: Mapping[int, Mapping[str, pd.DataFrame]],
    found: Mapping[int, FoldMaps],
    of_mean: About,
    grid: CoarseGrid,
    path: Path,
    atlas: Atlas | None,
    cache: VolumeCache,
) -> pd.DataFrame:
    """Tests the mean over participants and, of both groups, their difference; writes t-maps, gives clusters.

    Args:
        of_mean: what the mean map is.
    """
    pair = of_mean.target, of_mean.space
    people = pd.concat([mapped[fold][pair[0]].assign(fold=fold) for fold in found], ignore_index=True)
    stack = np.concatenate([maps.people[pair].numpy() for maps in found.values()])
    # With repeats a participant is held out more than once: the first time counts.
    once = ~people["participant_id"].duplicated()
    people, stack = people[once].reset_index(drop=True), stack[once.to_numpy()]
    columns = nuisance(config, people, people["fold"])
    people, stack = people.loc[columns.index], stack[columns.index.to_numpy()]

    patients: NDArray[np.float64] = np.where(people["group"] == "target", 1.0, 0.0)
    contrasts: dict[str, NDArray[np.float64] | None] = {"mean": None}
    if 0 < patients.mean() < 1:
        contrasts["group"] = patients
    tables = []
    for contrast, group in contrasts.items():
        permutations = config.saliency.permutations
        tested = group_map(stack, grid, columns, group, permutations, config.seed)
        if tested is None:
            which = f"saliency, {pair[0]}, {pair[1]} space"
            logger.warning(f"{which}: no group map of the {contrast}: too few participants, or all alike")
            continue
        about = replace(
            of_mean,
            what=f"t of the {'difference between groups' if contrast == 'group' else 'mean'} of participants' "
            f"{ATTRIBUTIONS[of_mean.attribution].title} maps of {_score(pair[0])}",
            statistic="t",
            unit="t",
            people=tested.people,
            contrast=contrast,
            freedom=tested.freedom,
            correction=f"over voxels by {permutations} permutations: p of clusters and peaks in clusters.tsv",
        )
        save_map(beside(path, f"_{contrast}-t.nii.gz"), tested.t, grid.affine, about, config)
        table = cluster_table(tested, grid)
        regions = [_region_at(atlas, cache, place) for place in table[["x", "y", "z"]].to_numpy()]
        table = table.assign(contrast=contrast, region=regions, people=tested.people, permutations=permutations)
        tables.append(table)
    filled = [table for table in tables if len(table)]
    return pd.concat(filled) if filled else pd.DataFrame(columns=CLUSTERS)


def _region_at(atlas: Atlas | None, cache: VolumeCache, place: NDArray[np.float64]) -> str:
    """The name of the region at a place in mm, n/a where none is known."""
    if atlas is None:
        return "n/a"
    voxel = np.round(np.linalg.inv(cache.affine) @ [*place, 1])[:3].astype(int)
    return atlas.names.get(int(atlas.regions[tuple(voxel)]), "n/a")
