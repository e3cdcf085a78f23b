r"""Subtypes: whether held-out patients differ from the controls in directions of more than one kind.

Each fold's encoder has a space of its own, in which its held-out patients alone can be compared: put together,
patients divide by fold. So each fold's patients are clustered by themselves, and figures are means over folds. Within
a fold, codes are expressed in grey matter by the forward model (:mod:`sepclr_neuro.maps.fold_codes`): the deviation
of each from the controls, as coordinates whose distances are those of the maps, in units of the held-out controls'
standard deviations. Axes stay along which patients deviate more than samples of one distribution do, those beyond the
edge of Wachter's distribution, and at least two. Each patient's deviation is then brought to length 1, since patients
of one kind may be mildly or severely ill.

These directions are clustered by k-means; ``separation`` is the share of their sum of squares that the clusters
explain. K-means divides any cloud of points. Its clusters count only where they separate better than in both of two
nulls:

- *one Gaussian* with the mean and covariance of the patients' coordinates, made into directions as they were:
  patients without any structure;
- *one uniform cloud* with the covariance of the directions along their principal axes: of all distributions with one
  peak, the one that looks most like several clusters. Severities of two kinds of symptoms that vary on their own are
  not Gaussian, and would pass for subtypes without it.

``stability`` is the mean adjusted Rand index between the clusters of all patients and those of subsamples of four
fifths. It is shown beside that of the first null: one elongated cloud is divided stably as well, so that stability
alone shows nothing.

A fold with too few patients, or with fewer controls than two axes need, is left out, and so is a method whose space has
one dimension, in which there are two directions alone.

Source: Wachter, Annals of Statistics 1980, https://doi.org/10.1214/aos/1176345134 (largest ratio of variances of two
samples); Liu et al., JASA 2008, https://doi.org/10.1198/016214508000000454 (a single Gaussian as null of the share that
clusters leave); Tibshirani, Walther and Hastie, JRSS B 2001, https://doi.org/10.1111/1467-9868.00293 (the uniform
reference); directions in place of points are a choice of this project.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import followed
from sepclr_neuro.core.statistics import false_discovery_rate, permutation_p, permuted_rows
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.maps.fold_codes import FoldCodes, Matrix, read_fold_codes

__all__ = [
    "SUBTYPES",
    "Found",
    "associations",
    "deviations",
    "directions",
    "find_subtypes",
    "matched",
    "write_subtypes",
]

logger = logging.getLogger(__name__)

Labels = NDArray[np.int64]

SUBTYPES = [
    *("clusters", "separation", "null95", "p", "stability", "stability_null95"),
    *("smallest", "people", "axes", "rand_with_truth"),
]
ASSOCIATIONS = ["clusters", "variable", "explained", "p", "q", "people"]
FEWEST = 5
"""Held-out patients a cluster and fold, on average, below which none are looked for."""
CONTROLS_AN_AXIS = 4
"""Held-out controls that an axis needs, of whom a fold has enough for two, or is left out."""
_PERMUTATIONS = 999


def deviations(fold: FoldCodes, patient: NDArray[np.bool_]) -> Matrix:
    """A fold's held-out patients' deviations from its held-out controls, in units of the controls' standard deviations.

    Args:
        fold: W and the codes of its held-out participants.
        patient: of each of them, [n].

    Returns:
        Coordinates on the axes along which patients deviate more than controls, at least two of them where codes have
        two dimensions, the largest first, [patients, q].
    """
    values, vectors = np.linalg.eigh(fold.weights @ fold.weights.T)
    kept = values > 1e-10 * values.max()
    # Distances of these coordinates are those of the maps.
    points = fold.codes @ (vectors[:, kept] * np.sqrt(values[kept]))
    # As many axes as the controls can measure.
    count = max(2, min(points.shape[1], int((~patient).sum()) // CONTROLS_AN_AXIS))
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][:count].T
    points = points @ axes
    controls = points[~patient]
    spread = np.linalg.cholesky(np.atleast_2d(np.cov(controls.T)))
    whitened = np.linalg.solve(spread, (points[patient] - controls.mean(axis=0)).T).T
    moments, turns = np.linalg.eigh(whitened.T @ whitened / len(whitened))
    beyond = int((moments > _edge(len(moments), len(whitened), len(controls))).sum())
    return whitened @ turns[:, ::-1][:, : max(2, beyond)]


def _edge(axes: int, patients: int, controls: int) -> float:
    """What the largest variance of patients in units of the controls' tends to, where both are of one distribution."""
    of_patients, of_controls = axes / patients, axes / controls
    both = of_patients + of_controls - of_patients * of_controls
    return float(((1 + np.sqrt(both)) / (1 - of_controls)) ** 2)


def directions(coordinates: Matrix) -> Matrix:
    """Deviations [n, q] of length 1."""
    return coordinates / np.maximum(np.linalg.norm(coordinates, axis=1, keepdims=True), 1e-12)


def _clusters(points: Matrix, count: int, rng: np.random.Generator) -> tuple[Labels, float]:
    """Clusters [n] of points by k-means, and the share of the sum of squares that they explain."""
    found = KMeans(count, n_init=4, random_state=int(rng.integers(2**31))).fit(points)
    return found.labels_.astype(np.int64), float(1 - found.inertia_ / np.square(points - points.mean(axis=0)).sum())


def _stability(points: Matrix, labels: Labels, count: int, resamples: int, rng: np.random.Generator) -> float:
    found = []
    for _ in range(resamples):
        some = rng.permutation(len(points))[: max(count, 4 * len(points) // 5)]
        found.append(adjusted_rand_score(labels[some], _clusters(points[some], count, rng)[0]))
    return float(np.mean(found))


def _one_gaussian(coordinates: Matrix, rng: np.random.Generator) -> Matrix:
    """Directions of a sample of one Gaussian with the mean and covariance of the coordinates."""
    mean, covariance = coordinates.mean(axis=0), np.atleast_2d(np.cov(coordinates.T))
    return directions(rng.multivariate_normal(mean, covariance, len(coordinates), method="eigh"))


def _one_uniform(points: Matrix, rng: np.random.Generator) -> Matrix:
    """A sample of one uniform cloud with the covariance of the points, along their principal axes."""
    values, axes = np.linalg.eigh(np.cov(points.T))
    sample = rng.uniform(-np.sqrt(3), np.sqrt(3), points.shape)
    return points.mean(axis=0) + sample * np.sqrt(np.maximum(values, 0)) @ axes.T


@dataclass(frozen=True)
class Found:
    """Clusters of one number. Figures are means over folds.

    Attributes:
        labels: of each fold's patients, from 0, each [n].
        separation: share of the directions' sum of squares that they explain.
        null95: the larger of both nulls' 95th percentiles.
        p: the larger of both.
        stability: mean adjusted Rand index with clusters of subsamples.
        stability_null95: what one Gaussian reaches in 5 % of samples.
    """

    labels: list[Labels]
    separation: float
    null95: float
    p: float
    stability: float
    stability_null95: float


def find_subtypes(
    coordinates: Sequence[Matrix], count: int, nulls: int, resamples: int, rng: np.random.Generator
) -> Found:
    """Divides each fold's patients by the direction of their deviations, and tests whether they are of several kinds.

    Args:
        coordinates: of each fold, from :func:`deviations`, [n, q].
        count: of clusters.
        nulls: samples of each null.
        resamples: subsamples for the stability; of each sample of the null five.
        rng: of all that is drawn.
    """
    points = [directions(of_fold) for of_fold in coordinates]

    def divided(several: Sequence[Matrix]) -> tuple[list[Labels], float]:
        found = [_clusters(one, count, rng) for one in several]
        return [labels for labels, _ in found], float(np.mean([explained for _, explained in found]))

    def stable(several: Sequence[Matrix], labels: Sequence[Labels], times: int) -> float:
        pairs = zip(several, labels, strict=True)
        return float(np.mean([_stability(one, own, count, times, rng) for one, own in pairs]))

    with threadpool_limits(1):  # matrices are small
        labels, separation = divided(points)
        stability = stable(points, labels, resamples)
        gaussian, uniform, stabilities = np.empty(nulls), np.empty(nulls), np.empty(nulls)
        for number in followed(range(nulls), nulls, f"{count} subtypes, samples of one kind"):
            samples = [_one_gaussian(of_fold, rng) for of_fold in coordinates]
            of_samples, gaussian[number] = divided(samples)
            stabilities[number] = stable(samples, of_samples, 5)
            uniform[number] = divided([_one_uniform(of_fold, rng) for of_fold in points])[1]
    return Found(
        labels,
        separation,
        float(max(np.quantile(null, 0.95) for null in (gaussian, uniform))),
        max(permutation_p(separation, null) for null in (gaussian, uniform)),
        stability,
        float(np.quantile(stabilities, 0.95)),
    )


def matched(folds: Sequence[FoldCodes], labels: Sequence[Labels], patient: Sequence[NDArray[np.bool_]]) -> list[Labels]:
    """Clusters of all folds under common numbers: those whose mean maps are most like the first fold's, of which the
    largest comes first.

    Args:
        folds: of each W and the codes of its held-out participants.
        labels: of each fold's patients.
        patient: of each fold's held-out participants.
    """
    count = 1 + max(int(of_fold.max()) for of_fold in labels)
    maps = []
    for fold, own, is_patient in zip(folds, labels, patient, strict=True):
        codes = fold.codes[is_patient]
        means = np.stack([codes[own == k].mean(axis=0) for k in range(count)]) - codes.mean(axis=0)
        maps.append(means @ fold.weights)
    order = np.argsort(-np.bincount(labels[0], minlength=count), kind="stable")
    first, found = maps[0][order], []
    for own, of_fold in zip(labels, maps, strict=True):
        # Of a map without any value the correlation is 0.
        size = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(of_fold, axis=1)
        alike = np.divide(first @ of_fold.T, size, out=np.zeros_like(size), where=size > 0)
        number, cluster = linear_sum_assignment(-alike)
        found.append(number[np.argsort(cluster)][own])
    return found


def associations(labels: Labels, folds: Labels, people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """What the clusters go with: ``variable explained p people``; participants without a value are left out.

    Args:
        labels: cluster of each patient, [n].
        folds: in which each was held out, [n].
        people: a column a variable, numbers or text, n rows; those without variation are left out.
        rng: of the permutations.

    Returns:
        ``explained``: the share of a variable's variance, or of its classes' variances together, that the clusters
        explain; p by 999 permutations of the clusters within folds.
    """
    rows = []
    for name in people:
        known = people[name].notna().to_numpy()
        values = people[name][known]
        if values.nunique() < 2 or len(np.unique(labels[known])) < 2:
            continue
        numeric = pd.api.types.is_numeric_dtype(values)
        table = values.to_numpy(float)[:, None] if numeric else pd.get_dummies(values).to_numpy(float)
        table = table - table.mean(axis=0)
        own = labels[known]
        exchanged = permuted_rows(np.arange(len(own)), folds[known], _PERMUTATIONS, rng)
        explained = _explained(table, own)
        p = permutation_p(explained, np.array([_explained(table, own[rows_of]) for rows_of in exchanged]))
        rows.append({"variable": name, "explained": explained, "p": p, "people": int(known.sum())})
    return pd.DataFrame(rows, columns=["variable", "explained", "p", "people"])


def _explained(centred: Matrix, labels: Labels) -> float:
    sizes = np.bincount(labels)
    present = sizes > 0
    sums = np.stack([np.bincount(labels, column, len(sizes)) for column in centred.T], axis=1)[present]
    return float((np.square(sums) / sizes[present, None]).sum() / np.square(centred).sum())


def write_subtypes(config: Config, results: Results, method: str) -> None:
    """Writes ``subtypes.tsv``, a row a number of clusters; ``associations.tsv``, what they go with, q within each
    number; and ``members.tsv``, each held-out patient's fold, clusters and coordinates on the fold's first two axes.

    Of a participant's scans the first counts, as in the patterns, whose codes are read.

    Raises:
        InputError: if the patterns wrote no codes, or those of another cohort.
    """
    people = load_cohort(results.cohort).drop_duplicates("participant_id").set_index("scan_id", drop=False)
    every = read_fold_codes(results.fold_codes(method), people.index)
    target = (people["group"] == "target").to_numpy()
    folds = [fold for fold in every if _comparable(fold, target[fold.rows])]
    if len(folds) < len(every):
        logger.info(
            f"subtypes of {method}: {len(folds)} of {len(every)} folds have {2 * FEWEST} held-out patients, "
            f"{2 * CONTROLS_AN_AXIS} controls and two salient dimensions; the others are left out"
        )
    if not folds:
        _write(results, method, [{"clusters": count, "people": 0} for count in config.subtypes.clusters], [], None)
        return
    patient = [target[fold.rows] for fold in folds]
    coordinates = [deviations(fold, of_fold) for fold, of_fold in zip(folds, patient, strict=True)]
    rows_of = np.concatenate([fold.rows[of_fold] for fold, of_fold in zip(folds, patient, strict=True)])
    number = np.repeat(np.arange(len(folds)), [len(of_fold) for of_fold in coordinates])
    # Of a patient whom several repeats hold out, the first fold counts.
    first = np.sort(np.unique(rows_of, return_index=True)[1])
    patients = people.iloc[rows_of[first]]
    names = [name for name in config.cohort.known if name not in config.cohort.contrasts and name in patients]
    members = pd.DataFrame({"participant_id": patients["participant_id"].to_numpy(), "fold": number[first]})
    members[["axis_1", "axis_2"]] = np.concatenate([of_fold[:, :2] for of_fold in coordinates])[first]
    rows: list[dict[str, float]] = []
    explained: list[pd.DataFrame] = []
    for count in config.subtypes.clusters:
        size = {"clusters": count, "people": len(patients), "axes": np.mean([c.shape[1] for c in coordinates])}
        if min(len(of_fold) for of_fold in coordinates) < FEWEST * count:
            rows.append(size)
            continue
        rng = np.random.default_rng(seed_of(config.seed, 12, count))
        one = find_subtypes(coordinates, count, config.subtypes.nulls, config.subtypes.resamples, rng)
        labels = np.concatenate(matched(folds, one.labels, patient))
        figures = {name: getattr(one, name) for name in SUBTYPES if hasattr(one, name)}
        rows.append(size | figures | {"smallest": int(np.bincount(labels[first], minlength=count).min())})
        truth = _true_subtypes(config, results, people)
        if truth is not None:
            alike = [adjusted_rand_score(truth[rows_of[number == k]], own) for k, own in enumerate(one.labels)]
            rows[-1]["rand_with_truth"] = float(np.mean(alike))
        members[f"of_{count}"] = labels[first] + 1
        beside = associations(labels[first], number[first], patients[names], rng)
        q = false_discovery_rate(beside["p"].to_numpy(float), np.zeros(len(beside)))
        explained.append(beside.assign(clusters=count, q=q))
        logger.info(f"subtypes of {method}: {count} clusters, separation {one.separation:.2f}, p {one.p:.3f}")
    _write(results, method, rows, explained, members)


def _comparable(fold: FoldCodes, patient: NDArray[np.bool_]) -> bool:
    """Whether directions of a fold's held-out patients [n] can be compared at all."""
    enough = patient.sum() >= 2 * FEWEST and (~patient).sum() >= 2 * CONTROLS_AN_AXIS
    return bool(enough) and np.linalg.matrix_rank(fold.weights, rtol=1e-5) > 1


def _write(
    results: Results,
    method: str,
    rows: list[dict[str, float]],
    explained: list[pd.DataFrame],
    members: pd.DataFrame | None,
) -> None:
    folder = results.subtypes(method)
    write_tsv(folder / "subtypes.tsv", pd.DataFrame(rows, columns=SUBTYPES))
    write_tsv(folder / "associations.tsv", pd.concat([pd.DataFrame(columns=ASSOCIATIONS), *explained])[ASSOCIATIONS])
    if members is None:
        members = pd.DataFrame(columns=["participant_id", "fold", "axis_1", "axis_2"])
    write_tsv(folder / "members.tsv", members)


def _true_subtypes(config: Config, results: Results, people: pd.DataFrame) -> NDArray[np.float64] | None:
    """The subtypes that participants were given, NaN of controls, [N]; None where there are none, or nobody knows."""
    path = results.truth / "factors.tsv"
    if config.cohort.source == "files" or not path.is_file():
        return None
    truth = read_tsv(path, text=("participant_id",)).drop_duplicates("participant_id").set_index("participant_id")
    subtype = truth.loc[people["participant_id"], "subtype"].to_numpy(float)
    return None if np.isnan(subtype).all() else subtype
