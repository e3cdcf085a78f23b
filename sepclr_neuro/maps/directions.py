r"""Leading directions: along which maps patients differ from controls, the strongest first.

In the notation of :mod:`sepclr_neuro.maps.patterns`, patients beyond controls are a covariance of voxels, the mean over
folds f,

.. math:: T = \frac{1}{F} \sum_f W_f^T (M_f - C_f) W_f ,

whose diagonal is the mean of the folds' squared maps beyond controls, where none is cut at 0. Its eigenvectors
:math:`u_k` are maps themselves, so that no direction has to be matched, although each fold's encoder has a space of its
own. The map of a direction with a positive eigenvalue is

.. math:: \sqrt{\lambda_k} \, u_k ,

signed, in the unit of the standardised volumes. Its absolute value is the direction's amplitude, the standard deviation
of patients along it beyond that of controls, and the squares of all directions' amplitudes add up to the diagonal of T,
up to negative eigenvalues. An eigenvector has no sign: the one is taken that the mean patient lies on, so that red is
more grey matter where patients are shifted alike. Of patients on both sides of the controls it says nothing.

T has at most the rank of all folds' W together and is never made: its eigenvectors are those of a small matrix, in the
coordinates of :func:`~sepclr_neuro.maps.fold_codes.without_voxels`.

Each direction is held against the largest voxel of any leading direction where diagnoses are exchanged, which corrects
over voxels and directions. T also holds what differs between the encoders of the folds, as further weak directions,
which the exchanges do not make: a direction beyond chance after the first may be one of these. No more directions are
looked at than a fold's space has dimensions.

Alternatives not taken: eigenvectors fold by fold, matched afterwards, which turn freely where two are of like size; and
the patients' covariance about their own mean in place of M, which leaves out what all patients share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sepclr_neuro.core.progress import followed
from sepclr_neuro.maps.fold_codes import FoldCodes, Matrix, excess, judged, mean_difference, without_voxels

__all__ = ["MOST", "direction_titles", "leading_directions"]

MOST = 4
"""Directions that are looked at."""
_CHANCE = 0.05


def leading_directions(
    folds: Sequence[FoldCodes], patient: NDArray[np.bool_], exchanged: NDArray[np.int32], title: str = "patterns"
) -> dict[str, tuple[Matrix, dict[str, float]]]:
    """Maps of the leading directions with their figures, as far as they are beyond chance, and the first that is not.

    That one is there so that a correction for the number of tests counts all that was looked at. Without exchanges, the
    first direction alone.

    Args:
        folds: of each fold W [d, V] and the codes of its held-out participants.
        patient: of each participant, [N].
        exchanged: whose diagnosis each participant is given, [P, N].
        title: of the work, in messages.

    Returns:
        By name, ``direction-1`` and so on, the map [V], and beside what :func:`~sepclr_neuro.maps.fold_codes.judged`
        says the ``share`` that the direction has of all positive eigenvalues, NaN where there is none.
    """
    few = without_voxels(folds)

    def in_voxels(coordinates: Matrix) -> Matrix:
        scaled = coordinates / np.sum([np.square(fold.weights).sum(axis=0) for fold in few], axis=0)
        return np.sum([scaled @ small.weights.T @ fold.weights for small, fold in zip(few, folds, strict=True)], axis=0)

    permutations = followed(exchanged, len(exchanged), f"{title}, permutations of directions")
    null = np.array([np.abs(in_voxels(_strongest(few, patient[rows])[0])).max() for rows in permutations])
    coordinates, shares = _strongest(few, patient)
    found = {}
    most = min(MOST, *(len(fold.weights) for fold in folds))  # what a space has not, folds can only differ in
    for number, (values, share) in enumerate(zip(in_voxels(coordinates[:most]), shares[:most], strict=True), start=1):
        if number > 1 and not values.any():
            break
        figures = judged(values, null)
        found[f"direction-{number}"] = (values, figures | {"share": share})
        if figures.get("p", 1.0) > _CHANCE:
            break
    return found


def _strongest(few: Sequence[FoldCodes], patient: NDArray[np.bool_]) -> tuple[Matrix, NDArray[np.float64]]:
    """The first :data:`MOST` directions in the coordinates of folds without voxels, [MOST, r], zeros where there are
    fewer, and the share of each; a fold without two of each group counts in no mean."""
    rank = few[0].weights.shape[1]
    moment, mean, known = np.zeros((rank, rank)), np.zeros(rank), [fold for fold in few if fold.has_both(patient)]
    for fold in known:
        of_fold = patient[fold.rows]
        moment += fold.weights.T @ excess(fold.codes, of_fold) @ fold.weights / len(known)
        mean += mean_difference(fold.weights, fold.codes, of_fold, ~of_fold) / len(known)
    values, vectors = np.linalg.eigh(moment)
    values = np.maximum(values, 0)
    shares = values / values.sum() if values.any() else np.full(rank, np.nan)
    coordinates, of_each = np.zeros((MOST, rank)), np.full(MOST, np.nan)
    count = min(MOST, rank)
    signs = np.where(mean @ vectors < 0, -1, 1)
    coordinates[:count] = (signs * np.sqrt(values) * vectors).T[::-1][:count]
    of_each[:count] = shares[::-1][:count]
    return coordinates, of_each


def direction_titles() -> dict[str, str]:
    """What readers call the maps."""
    return {f"direction-{number}": f"Direction {number} among patients" for number in range(1, MOST + 1)}
