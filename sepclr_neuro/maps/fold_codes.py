r"""A fold's held-out salient codes, and the forward model that expresses codes in grey matter.

Least squares of the training participants' standardised volumes :math:`z_i` on their salient codes, beside the
covariates that the salient space is adjusted for, :math:`z_i \approx \mu + W^T s_i + B^T a_i`.

All maps of a method are sums of the rows of its folds' W. What depends on products of maps alone, such as distances of
participants and principal directions, is computed in the few coordinates of :func:`without_voxels`.

Source: Haufe et al., NeuroImage 2014, https://doi.org/10.1016/j.neuroimage.2013.10.067.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load, save

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import followed
from sepclr_neuro.core.statistics import permutation_p
from sepclr_neuro.core.storage import read_bytes, read_tsv, write_bytes
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.data.standardisation import Standardisation, standardised_voxels
from sepclr_neuro.learning.models import load_model
from sepclr_neuro.probing.questions import people_of
from sepclr_neuro.probing.representations import read_representations, refuse_leaks

__all__ = [
    "FoldCodes",
    "Matrix",
    "all_fold_codes",
    "excess",
    "fold_codes",
    "forward_model",
    "judged",
    "mean_difference",
    "read_fold_codes",
    "without_voxels",
    "write_fold_codes",
]

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class FoldCodes:
    """Inputs of the maps of one fold.

    Attributes:
        weights: W, how each voxel changes with each code, [d, V].
        codes: of held-out participants, [n, d].
        rows: who these are among all participants, [n].
        centre: the mean code of the training controls, [d].
    """

    weights: Matrix
    codes: Matrix
    rows: NDArray[np.intp]
    centre: Matrix

    def has_both(self, patient: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether there are two held-out participants of each group, which an exchange of diagnoses may undo.

        Args:
            patient: of all participants, [..., N].
        """
        count = patient[..., self.rows].sum(axis=-1)
        return np.minimum(count, len(self.rows) - count) >= 2


def _checksum(people: pd.Index) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.sha256("\n".join(people).encode()).digest(), dtype=np.uint8)


_FIELDS = [field.name for field in fields(FoldCodes)]


def forward_model(volumes: Iterable[NDArray[np.floating]], codes: Matrix, covariates: Matrix) -> Matrix:
    """How each voxel changes with each code, W [d, V], by least squares in one pass over the volumes.

    Args:
        volumes: chunks of participants, together [N, V], in the order of the codes.
        codes: [N, d].
        covariates: [N, k], regressed beside the codes; k = 0 for none.
    """
    design = np.column_stack([codes, covariates, np.ones(len(codes))])
    solver, start = np.linalg.pinv(design)[: codes.shape[1]], 0
    weights: Matrix | None = None
    for chunk in volumes:
        part = solver[:, start : start + len(chunk)] @ chunk.astype(np.float64)
        weights = part if weights is None else weights + part
        start += len(chunk)
    if weights is None or start != len(codes):
        raise ValueError(f"{len(codes)} participants have codes, {start} have volumes")
    return weights


def mean_difference(weights: Matrix, codes: Matrix, ones: NDArray[np.bool_], others: NDArray[np.bool_]) -> Matrix:
    """Difference of the mean codes [N, d] of some participants and of others, as grey matter by W [d, V]: [V]."""
    return (codes[ones].mean(axis=0) - codes[others].mean(axis=0)) @ weights


def excess(codes: Matrix, patient: NDArray[np.bool_]) -> Matrix:
    """Patients' second moment about the controls' mean minus the controls' covariance, of codes [N, d]: [d, d]."""
    controls = codes[~patient]
    from_controls = codes[patient] - controls.mean(axis=0)
    own = controls - controls.mean(axis=0)
    # Divisors: the controls' mean was estimated, so that both have the same expectation where groups are alike.
    expected = (1 + 1 / len(controls)) * own.T @ own / (len(controls) - 1)
    more: Matrix = from_controls.T @ from_controls / len(from_controls) - expected
    return more


def without_voxels(folds: Sequence[FoldCodes]) -> list[FoldCodes]:
    """The folds with W [d, r] in place of W [d, V], in coordinates on r orthonormal maps that all folds share.

    r is the rank of all folds' W together. Inner products of maps, also of different folds, stay what they are.
    """
    products = np.block([[one.weights @ other.weights.T for other in folds] for one in folds])
    values, vectors = np.linalg.eigh(products)
    kept = values > 1e-12 * values.max()
    coordinates = vectors[:, kept] * np.sqrt(values[kept])
    ends = np.cumsum([len(fold.weights) for fold in folds])[:-1]
    return [replace(fold, weights=weights) for fold, weights in zip(folds, np.split(coordinates, ends), strict=True)]


def write_fold_codes(path: Path, folds: Sequence[FoldCodes], people: pd.Index) -> None:
    """Writes all folds without voxels: some kilobytes, and no pass over the volumes for whoever reads them.

    Args:
        path: of the file.
        folds: whose rows are positions in ``people``.
        people: scan ids, of which a checksum is written.
    """
    content = {
        f"{number}.{name}": np.ascontiguousarray(getattr(fold, name))
        for number, fold in enumerate(without_voxels(folds))
        for name in _FIELDS
    }
    write_bytes(path, save(content | {"people": _checksum(people)}))


def read_fold_codes(path: Path, people: pd.Index) -> list[FoldCodes]:
    """Reads what :func:`write_fold_codes` wrote of the same people.

    Raises:
        InputError: if there is no such file, or it is of other people.
    """
    if not path.is_file():
        raise InputError(f"{path}: is missing; the stage `patterns` writes it")
    content = load(read_bytes(path))
    if not np.array_equal(content.pop("people"), _checksum(people)):
        raise InputError(f"{path}: is of another cohort; run the stage `patterns` again")
    count = len(content) // len(_FIELDS)
    return [FoldCodes(*(content[f"{number}.{name}"] for name in _FIELDS)) for number in range(count)]


def all_fold_codes(
    results: Results, method: str, cache: VolumeCache, people: pd.DataFrame, title: str = "patterns"
) -> tuple[list[FoldCodes], NDArray[np.bool_]]:
    """The codes of all folds of a method with a salient space, and the brain: the voxels of W, [X, Y, Z].

    Args:
        results: of the run.
        method: its name in the run.
        cache: the array of all volumes.
        people: rows of ``cohort.tsv``, one a participant, by scan id.
        title: of the work, in messages.

    Raises:
        InputError: if a model or a standardisation was learned from a participant whom its fold holds out.
    """
    numbers = sorted(set(read_tsv(results.splits, text=("scan_id", "participant_id"))["fold"]))
    standardisations = [Standardisation.load(results, fold) for fold in numbers]
    brain: NDArray[np.bool_] = np.any([of_fold.mask.numpy() for of_fold in standardisations], axis=0)
    folds = [
        fold_codes(results, method, fold, of_fold, brain, cache, people)
        for fold, of_fold in followed(zip(numbers, standardisations, strict=True), len(numbers), f"{title}, folds")
    ]
    return folds, brain


def fold_codes(
    results: Results,
    method: str,
    fold: int,
    standardisation: Standardisation,
    brain: NDArray[np.bool_],
    cache: VolumeCache,
    people: pd.DataFrame,
) -> FoldCodes:
    """W of a fold's training participants, 0 outside its mask, and the codes of its held-out participants.

    Args:
        results: of the run.
        method: its name in the run, of a method with a salient space.
        fold: number of the fold, from 0.
        standardisation: of the fold.
        brain: the voxels of W, [X, Y, Z].
        cache: the array of all volumes.
        people: rows of ``cohort.tsv``, one a participant, by scan id.

    Raises:
        InputError: if the model or the standardisation was learned from a participant whom the fold holds out, or the
            splits are others than those of the representations.
    """
    model = load_model(results.model_folder(method, fold))
    represented = read_representations(results.representations(method, fold), results.model_folder(method, fold))
    person, split = people_of(load_cohort(results.cohort)), read_fold(results.splits, results.index, fold)
    refuse_leaks(method, split, represented, model.metadata["train_scan_ids"], person)
    codes = pd.DataFrame(represented.spaces["salient"], index=represented.scan_ids)
    sides = pd.Series(represented.side, index=represented.scan_ids)
    train = [scan for scan in sides.index[sides == "train"] if scan in people.index]
    held_out = [scan for scan in sides.index[sides == "test"] if scan in people.index]
    standardisation.refuse_learned_from(held_out)
    volumes = standardised_voxels(cache, standardisation, train, brain)
    weights = forward_model(volumes, codes.loc[train].to_numpy(), model.covariates.code(people.loc[train]))
    controls = codes.loc[people.loc[train].query("group == 'background'").index]
    return FoldCodes(
        weights,
        codes.loc[held_out].to_numpy(),
        people.index.get_indexer(pd.Index(held_out)),
        controls.mean().to_numpy(),
    )


def judged(values: Matrix, null: NDArray[np.float64]) -> dict[str, float]:
    """The largest voxel of a map [V] beside the null of the largest [P], and how many voxels are beyond its 95th
    percentile; without a null, the largest alone."""
    largest = float(np.abs(values).max())
    if not len(null):
        return {"largest": largest}
    beyond = int((np.abs(values) > np.quantile(null, 0.95, method="higher")).sum())
    return {"largest": largest, "p": permutation_p(largest, null), "voxels_beyond_chance": beyond}
