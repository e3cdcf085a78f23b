r"""Subtypes: whether held-out patients differ from the controls in directions of more than one kind.

Each fold's encoder names its dimensions as it likes. So held-out codes are expressed in grey matter by the forward
model (:mod:`sepclr_neuro.maps.fold_codes`), in which all folds' participants can be compared: the deviation of each
from the training controls' mean, as coordinates whose distances are those of the maps, in units of the held-out
controls' standard deviations. Axes stay along which patients deviate more than controls do: those beyond the
Marchenko-Pastur edge, at least two. Each patient's deviation is then brought to length 1, since patients of one kind
may be mildly or severely ill.

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

Source: Liu et al., JASA 2008, https://doi.org/10.1198/016214508000000454 (a single Gaussian as null of the share that
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
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.statistics import false_discovery_rate, permutation_p
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.maps.fold_codes import FoldCodes, Matrix, all_fold_codes

__all__ = [
    "SUBTYPES",
    "Deviations",
    "Found",
    "associations",
    "deviations",
    "directions",
    "find_subtypes",
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
"""Patients a cluster, on average, below which none are looked for."""
_PERMUTATIONS = 999


@dataclass(frozen=True)
class Deviations:
    """Deviations of held-out patients from the controls, in units of the controls' standard deviations.

    Attributes:
        rows: who the patients are among all participants, [n].
        coordinates: on the axes along which patients deviate more than controls, the largest first, [n, q].
    """

    rows: NDArray[np.intp]
    coordinates: Matrix


def deviations(folds: Sequence[FoldCodes], patient: NDArray[np.bool_]) -> Deviations:
    """Held-out patients of all folds in one space; of a participant whom several repeats hold out, the mean.

    Args:
        folds: of each fold W, the codes of its held-out participants and the training controls' mean.
        patient: of each participant, [N].
    """
    weights = np.vstack([fold.weights for fold in folds])
    values, vectors = np.linalg.eigh(weights @ weights.T)
    kept = values > 1e-10 * values.max()
    # Distances of these coordinates are those of the maps.
    turn = vectors[:, kept] * np.sqrt(values[kept])
    total, times, start = np.zeros((len(patient), int(kept.sum()))), np.zeros(len(patient)), 0
    for fold in folds:
        part = turn[start : start + len(fold.weights)]
        total[fold.rows] += (fold.codes - fold.centre) @ part
        times[fold.rows] += 1
        start += len(fold.weights)
    held_out = times > 0
    points = total[held_out] / times[held_out, None]
    of_patients = patient[held_out]
    controls = points[~of_patients]
    # As many axes as one fold's space has, and as the controls can measure.
    count = max(2, min(len(folds[0].weights), len(controls) // 4, points.shape[1]))
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][:count].T
    points, centre = points @ axes, (controls @ axes).mean(axis=0)
    spread = np.linalg.cholesky(np.cov(points[~of_patients].T))
    whitened = np.linalg.solve(spread, (points - centre).T).T[of_patients]
    moments, turns = np.linalg.eigh(whitened.T @ whitened / len(whitened))
    beyond = int((moments > (1 + np.sqrt(count / len(whitened))) ** 2).sum())
    return Deviations(np.flatnonzero(held_out)[of_patients], whitened @ turns[:, ::-1][:, : max(2, beyond)])


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
    """Clusters of one number.

    Attributes:
        labels: of each patient, from 0, the largest cluster first, [n].
        separation: share of the directions' sum of squares that they explain.
        null95: the larger of both nulls' 95th percentiles.
        p: the larger of both.
        stability: mean adjusted Rand index with clusters of subsamples.
        stability_null95: what one Gaussian reaches in 5 % of samples.
    """

    labels: Labels
    separation: float
    null95: float
    p: float
    stability: float
    stability_null95: float


def find_subtypes(coordinates: Matrix, count: int, nulls: int, resamples: int, rng: np.random.Generator) -> Found:
    """Divides patients by the direction of their deviations, and tests whether they are of more than one kind.

    Args:
        coordinates: of :class:`Deviations`, [n, q].
        count: of clusters.
        nulls: samples of each null.
        resamples: subsamples for the stability.
        rng: of all that is drawn.
    """
    points = directions(coordinates)
    with threadpool_limits(1):  # matrices are small
        labels, separation = _clusters(points, count, rng)
        stability = _stability(points, labels, count, resamples, rng)
        gaussian, uniform, stabilities = np.empty(nulls), np.empty(nulls), np.empty(nulls)
        for number in range(nulls):
            sample = _one_gaussian(coordinates, rng)
            of_sample, gaussian[number] = _clusters(sample, count, rng)
            stabilities[number] = _stability(sample, of_sample, count, 5, rng)
            uniform[number] = _clusters(_one_uniform(points, rng), count, rng)[1]
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    return Found(
        np.argsort(order)[labels],
        separation,
        float(max(np.quantile(null, 0.95) for null in (gaussian, uniform))),
        max(permutation_p(separation, null) for null in (gaussian, uniform)),
        stability,
        float(np.quantile(stabilities, 0.95)),
    )


def associations(labels: Labels, people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """What the clusters go with: ``variable explained p people``; participants without a value are left out.

    Args:
        labels: cluster of each patient, [n].
        people: a column a variable, numbers or text, n rows; those without variation are left out.
        rng: of the permutations.

    Returns:
        ``explained``: the share of a variable's variance, or of its classes' variances together, that the clusters
        explain; p by 999 permutations of the clusters.
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
        permuted = [_explained(table, rng.permutation(own)) for _ in range(_PERMUTATIONS)]
        explained = _explained(table, own)
        p = permutation_p(explained, np.array(permuted))
        rows.append({"variable": name, "explained": explained, "p": p, "people": int(known.sum())})
    return pd.DataFrame(rows, columns=["variable", "explained", "p", "people"])


def _explained(centred: Matrix, labels: Labels) -> float:
    sizes = np.bincount(labels)
    present = sizes > 0
    sums = np.stack([np.bincount(labels, column, len(sizes)) for column in centred.T], axis=1)[present]
    return float((np.square(sums) / sizes[present, None]).sum() / np.square(centred).sum())


def write_subtypes(config: Config, results: Results, method: str) -> None:
    """Writes ``subtypes.tsv``, a row a number of clusters; ``associations.tsv``, what they go with, q within each
    number; and ``members.tsv``, each held-out patient's clusters and coordinates on the first two axes.

    Of a participant's scans the first counts.

    Raises:
        InputError: if a model or a standardisation was learned from a participant whom its fold holds out.
    """
    people = load_cohort(results.cohort).drop_duplicates("participant_id").set_index("scan_id", drop=False)
    folds, _ = all_fold_codes(results, method, VolumeCache(results), people)
    found = deviations(folds, (people["group"] == "target").to_numpy())
    patients = people.iloc[found.rows]
    names = [name for name in config.cohort.known if name not in config.cohort.contrasts and name in patients]
    truth = _true_subtypes(config, results, patients)
    members = pd.DataFrame({"participant_id": patients["participant_id"].to_numpy()})
    members[["axis_1", "axis_2"]] = found.coordinates[:, :2]
    rows, explained = [], [pd.DataFrame(columns=ASSOCIATIONS)]
    for count in config.subtypes.clusters:
        size = {"clusters": count, "people": len(patients), "axes": found.coordinates.shape[1]}
        if len(patients) < FEWEST * count:
            rows.append(size)
            continue
        rng = np.random.default_rng(seed_of(config.seed, 12, count))
        one = find_subtypes(found.coordinates, count, config.subtypes.nulls, config.subtypes.resamples, rng)
        figures = {name: getattr(one, name) for name in SUBTYPES if hasattr(one, name)}
        rows.append(size | figures | {"smallest": int(np.bincount(one.labels, minlength=count).min())})
        if truth is not None:
            rows[-1]["rand_with_truth"] = float(adjusted_rand_score(truth, one.labels))
        members[f"of_{count}"] = one.labels + 1
        beside = associations(one.labels, patients[names], rng)
        q = false_discovery_rate(beside["p"].to_numpy(float), np.zeros(len(beside)))
        explained.append(beside.assign(clusters=count, q=q))
        logger.info(f"subtypes of {method}: {count} clusters, separation {one.separation:.2f}, p {one.p:.3f}")
    folder = results.subtypes(method)
    write_tsv(folder / "subtypes.tsv", pd.DataFrame(rows, columns=SUBTYPES))
    write_tsv(folder / "associations.tsv", pd.concat(explained)[ASSOCIATIONS])
    write_tsv(folder / "members.tsv", members)


def _true_subtypes(config: Config, results: Results, patients: pd.DataFrame) -> NDArray[np.float64] | None:
    """The subtypes that patients were given, [n]; None where there are none, or nobody knows."""
    path = results.truth / "factors.tsv"
    if config.cohort.source == "files" or not path.is_file():
        return None
    truth = read_tsv(path, text=("participant_id",)).drop_duplicates("participant_id").set_index("participant_id")
    subtype = truth.loc[patients["participant_id"], "subtype"].to_numpy(float)
    return None if np.isnan(subtype).any() else subtype
