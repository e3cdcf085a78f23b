"""Site leakage: the site predicted from each space, the diagnosis from the site, and dependence of the spaces."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from sepclr_neuro.config.methods.controls import PCASettings
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.network import Network
from sepclr_neuro.core.dependence import dependence_test, distance_correlation
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.metrics import METRICS
from sepclr_neuro.core.statistics import Labels, false_discovery_rate, permutation_p
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.embedding import represent_scans
from sepclr_neuro.methods.controls import PCA
from sepclr_neuro.probing.probe_fits import Fit, fit_in_parallel
from sepclr_neuro.probing.questions import Question, confound_features, people_of
from sepclr_neuro.probing.representations import read_all_spaces
from sepclr_neuro.probing.verdicts import draw_labels, judge, predictions_of

__all__ = ["harmonise", "site_leakage", "voxel_components", "write_site_leakage"]

logger = logging.getLogger(__name__)

PEOPLE = ("all", "background", "target")
KEY = ["method", "space", "people", "harmonised", "target", "probe"]
COLUMNS = [*KEY, "metric", "mean", "sd", "folds", "chance", "null95", "p", "q", "ci_low", "ci_high", "n"]
GROUPS = ("background", "target")
MOST_PAIRED = 1000
"""Patients of a fold whose spaces are compared: time and memory grow with the square of their number."""

Spaces = dict[tuple[str, str], pd.DataFrame]
"""Representations [N, d] by scan id, of each method and space."""


def write_site_leakage(config: Config, results: Results) -> None:
    """Writes tables/site_leakage.tsv.

    Raises:
        InputError: if a held-out participant was trained on, or ComBat is requested and not possible.
    """
    cohort = load_cohort(results.cohort)
    if cohort["site"].nunique() < 2:
        logger.warning("site leakage: all participants are of one site, so it is not probed")
        # Voxels are there for nothing else.
        not_read = config.site_leakage.model_copy(update={"voxel_components": None})
        config = config.model_copy(update={"site_leakage": not_read})
    represented = read_all_spaces(config, results, people_of(cohort))
    folds = {fold.fold: fold for _, fold, _ in represented}
    spaces: dict[int, Spaces] = {number: {} for number in folds}
    for method, fold, of_fold in represented:
        spaces[fold.fold] |= {(method, space): values for space, values in of_fold.items()}
    count = config.site_leakage.voxel_components
    for number, fold in folds.items():
        if count is None:
            break
        logger.info(f"site leakage, fold {number}: principal components of the voxels")
        voxels = voxel_components(VolumeCache(results), Standardisation.load(results, number), fold, count)
        spaces[number]["voxels", "components"] = voxels
    write_tsv(results.table("site_leakage", "tsv"), site_leakage(config, cohort, list(folds.values()), spaces))


def site_leakage(
    config: Config, cohort: pd.DataFrame, folds: Sequence[Fold], spaces: Mapping[int, Spaces]
) -> pd.DataFrame:
    """The table site_leakage.tsv, whose columns docs/evaluation.md explains.

    Site is read by a linear and a Gaussian-kernel probe from every space and from principal components of the voxels,
    of all participants, of controls and of patients; its null exchanges sites within diagnosis. Diagnosis is read from
    the site alone, the null exchanging diagnoses between all participants. The distance correlation of the two spaces
    is that of held-out patients, since controls are put on one point; its null pairs their representations anew.

    Args:
        cohort: rows of ``cohort.tsv``.
        spaces: by fold.

    Raises:
        InputError: as :func:`harmonise` does.
    """
    fits = [fit for fold in folds for fit in _fits(config, cohort, fold, spaces[fold.fold])]
    rows = _judged(config, cohort, fits, people_of(cohort))
    rows += _dependence(config, cohort, [fold for fold in folds if fold.fold in config.splits.first_repeat], spaces)
    table = pd.DataFrame(rows, columns=[column for column in COLUMNS if column != "q"])
    table["q"] = false_discovery_rate(table["p"].to_numpy(float), table["target"].to_numpy(str))
    return table[COLUMNS]


# --- what the site is read from ----------------------------------------------------------------------------------


def voxel_components(cache: VolumeCache, standardisation: Standardisation, fold: Fold, count: int) -> pd.DataFrame:
    """Scores [N, count] of all scans on the principal components of the training participants' standardised voxels.

    Raises:
        InputError: if the fold's standardisation was learned from a scan that is not a training scan.
    """
    standardisation.refuse_learned_from([*fold.probe, *fold.test])
    pca = PCA(PCASettings(dim=count), Network(), [1, *cache.shape])
    rows = cache.rows(fold.train)

    def read(some: Sequence[int], planes: slice) -> torch.Tensor:
        return standardisation.apply(cache.read(some, planes=planes), planes)

    pca.fit(read, rows, torch.zeros(len(rows), dtype=torch.bool))
    scans = [*fold.train, *fold.probe, *fold.test]
    return pd.DataFrame(represent_scans(pca, cache, standardisation, scans)["single"].astype(float), index=scans)


def harmonise(features: pd.DataFrame, cohort: pd.DataFrame, train: Sequence[str], test: Sequence[str]) -> pd.DataFrame:
    """ComBat over sites (Fortin's form, which keeps age and sex), fitted on training scans and never on the diagnosis.

    Args:
        features: [N, d], by scan id.
        train: scans to fit on.
        test: scans to transform beside them.

    Returns:
        The training and the held-out scans, [M, d].

    Raises:
        InputError: if ComBat is not installed, a held-out site is new, a site has one training scan, or site, age or
            sex is missing.
    """
    try:
        from combatlearn import ComBat
    except ImportError as error:
        raise InputError(
            "site_leakage.combat: ComBat is not installed; run `pip install 'sepclr_neuro[combat]'`, or set it to false"
        ) from error
    scans = [*train, *test]
    people = cohort.set_index("scan_id").loc[scans]
    sizes = people.loc[list(train), "site"].value_counts()
    problems = [
        f"site_leakage.combat: site {site!r} is held out, but ComBat was not fitted on it; set it to false"
        for site in sorted(set(people.loc[list(test), "site"].dropna()) - set(sizes.index))
    ]
    problems += [
        f"site_leakage.combat: site {site!r} has one training scan, of which no variance is known; merge sites by "
        "`cohort.values.site`, or set it to false"
        for site in sorted(sizes.index[sizes < 2])
    ]
    problems += [
        f"site_leakage.combat: {name} is missing for {counted(int(people[name].isna().sum()), 'scan')}; name it in "
        "`cohort.include.require`, which leaves such participants out, or set it to false"
        for name in ("site", "age", "sex")
        if people[name].isna().any()
    ]
    if problems:
        raise InputError(problems)
    sexes = people.loc[list(train), "sex"].nunique()
    combat = ComBat(
        batch=people["site"],
        discrete_covariates=people[["sex"]] if sexes > 1 else None,
        continuous_covariates=people[["age"]],
        method="fortin",
    )
    named = features.loc[scans].set_axis([f"x{k}" for k in range(features.shape[1])], axis=1)
    return combat.fit(named.loc[list(train)]).transform(named)


# --- probes ------------------------------------------------------------------------------------------------------


def _questions(cohort: pd.DataFrame, target: str, people: str) -> list[tuple[str, Question]]:
    """Site, or diagnosis, of some participants, by a linear and a nonlinear probe."""
    members = cohort if people == "all" else cohort[cohort["group"] == people]
    truth = members.set_index("scan_id")["site" if target == "site" else "group"].dropna()
    classes = tuple(sorted(set(truth))) if target == "site" else GROUPS
    return [
        ("linear", Question(target, "classification", truth, classes)),
        ("nonlinear", Question(target, "classification", truth, classes, "nonlinear")),
    ]


def _fits(config: Config, cohort: pd.DataFrame, fold: Fold, spaces: Spaces) -> list[Fit]:
    fits: list[Fit] = []
    if cohort["site"].nunique() < 2:
        return fits
    for (method, space), features in spaces.items():
        key = {"method": method, "space": space, "harmonised": "no", "target": "site"}
        for people in PEOPLE:
            for probe, question in _questions(cohort, "site", people):
                fits.append(Fit(key | {"people": people, "probe": probe}, question, features, fold))
        if not config.site_leakage.combat:
            continue
        after = harmonise(features, cohort, fold.probed, fold.test)
        for harmonised, values in (("yes", after), ("no", features)):
            for target in ("site", "diagnosis"):
                for probe, question in _questions(cohort, target, "all"):
                    if (harmonised, target) != ("no", "site"):
                        key = {"method": method, "space": space, "harmonised": harmonised, "target": target}
                        fits.append(Fit(key | {"people": "all", "probe": probe}, question, values, fold))
    alone = confound_features(cohort.dropna(subset=["site"]), ["site"], _with_site(cohort, fold.probed))
    probe, question = _questions(cohort.dropna(subset=["site"]), "diagnosis", "all")[0]
    key = {"method": "site", "space": "site alone", "harmonised": "no", "target": "diagnosis"}
    fits.append(Fit(key | {"people": "all", "probe": probe}, question, alone, fold))
    return fits


def _with_site(cohort: pd.DataFrame, scans: Sequence[str]) -> list[str]:
    known = set(cohort.loc[cohort["site"].notna(), "scan_id"])
    return [scan for scan in scans if scan in known]


def _judged(
    config: Config, cohort: pd.DataFrame, fits: Sequence[Fit], person: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for each probe, over folds."""
    answers = fit_in_parallel(fits, person, "site leakage, probes")
    probes: dict[tuple[Any, ...], list[int]] = {}
    for number, fit in enumerate(fits):
        probes.setdefault(tuple(fit.key[name] for name in KEY), []).append(number)
    rows = []
    drawn: dict[tuple[Any, ...], Labels] = {}  # the same for all probes that ask the same of the same participants
    for key, numbers in probes.items():
        question = fits[numbers[0]].question
        named = dict(zip(KEY, key, strict=True))
        # A probe of the site alone cannot change within a site.
        within = None if named["method"] == "site" else "group" if named["target"] == "site" else "site"
        asked = question.target, named["people"], within
        if asked not in drawn:
            drawn[asked] = draw_labels(config, cohort, question, within)
        labels = drawn[asked]
        pairs = [(fits[number], answers[number]) for number in numbers]
        known = [(fit, answer) for fit, answer in pairs if answer is not None]
        verdict = judge(labels, question, [predictions_of(fit, answer) for fit, answer in known])["bacc"]
        values = pd.Series([answer.values["bacc"] for _, answer in known], dtype=float)
        chance = pd.Series([answer.chance["bacc"] for _, answer in known], dtype=float)
        scale = METRICS["bacc"].scale
        rows.append(
            named
            | {"metric": "bacc", "mean": scale * verdict.mean, "sd": scale * values.std(), "folds": values.count()}
            | {"chance": scale * chance.mean(), "null95": scale * verdict.null95, "p": verdict.p}
            | {"ci_low": scale * verdict.ci_low, "ci_high": scale * verdict.ci_high, "n": verdict.n}
        )
    return rows


# --- dependence --------------------------------------------------------------------------------------------------


def _dependence(
    config: Config, cohort: pd.DataFrame, folds: Sequence[Fold], spaces: Mapping[int, Spaces]
) -> list[dict[str, Any]]:
    """A row for each method with two spaces. Of repeats the first, so that no participant counts twice, and of very
    many patients of a fold some at random.
    """
    patients = set(cohort.loc[cohort["group"] == "target"].drop_duplicates("participant_id")["scan_id"])
    rows = []
    for method in config.methods:
        if (method, "common") not in spaces[folds[0].fold]:
            continue
        held_out = [_some([scan for scan in fold.test if scan in patients], config.seed) for fold in folds]
        pairs = []
        for fold, scans in zip(folds, held_out, strict=True):
            common, salient = (spaces[fold.fold][method, space].loc[scans] for space in ("common", "salient"))
            pairs.append((common.to_numpy(float), salient.to_numpy(float)))
        values = pd.Series([distance_correlation(*pair) for pair in pairs], dtype=float)
        mean, null = dependence_test(pairs, config.probes.permutations, seed_of(config.seed, 2))
        rows.append(
            {"method": method, "space": "common and salient", "people": "target", "harmonised": "no"}
            | {"target": "independence", "probe": "distance correlation", "metric": "dcor", "mean": mean}
            | {"sd": values.std(), "folds": values.count(), "chance": 0.0, "p": permutation_p(mean, null)}
            | {"null95": float(np.quantile(null, 0.95)), "ci_low": np.nan, "ci_high": np.nan}
            | {"n": sum(map(len, held_out))}
        )
    return rows


def _some(scans: Sequence[str], seed: int) -> list[str]:
    """All scans, or of more than ``MOST_PAIRED`` so many, drawn at random."""
    if len(scans) <= MOST_PAIRED:
        return list(scans)
    chosen = np.random.default_rng(seed_of(seed, 3)).choice(len(scans), MOST_PAIRED, replace=False)
    return [scans[k] for k in sorted(chosen)]
