"""Measures beside recovery: nonlinear group differences, subtypes, overfitting, and agreement with the true map."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sepclr_neuro.maps.fold_codes import forward_model
from sepclr_neuro.maps.localisation import localisation, strength_correlation
from sepclr_neuro.maps.patterns import beyond_controls, mean_patient
from sepclr_neuro.maps.vbm import t_values

__all__ = ["CODES", "MAPS", "code_measures", "map_measures", "true_subtypes"]

CODES = ("diagnosis_nonlinear", "distance_auc", "subtype", "inflation")
MAPS = ("t_map", "mean_patient", "beyond_controls")
Matrix = NDArray[np.float64]


def code_measures(
    train: Matrix, test: Matrix, patient: tuple[NDArray[np.bool_], NDArray[np.bool_]], subtype: tuple[Matrix, Matrix]
) -> dict[str, float]:
    """Measures of held-out participants' salient codes.

    Args:
        train: codes of training participants, [N, d].
        test: codes of held-out participants, [M, d].
        patient: whether each participant is a patient, training [N] and held out [M].
        subtype: of each patient, NaN without one, training [N] and held out [M].

    Returns:
        ``diagnosis_nonlinear``: balanced accuracy of a support vector machine with a Gaussian kernel.
        ``distance_auc``: area under the ROC curve of the distance from the training controls' mean.
        ``subtype``: balanced accuracy of a logistic regression among patients; NaN without subtypes.
        ``inflation``: root mean square distance from the controls' mean of training patients, divided by that of
        held-out patients; above 1 if the encoder overfits.
    """
    machine = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(train, patient[0])
    centre = train[~patient[0]].mean(axis=0)
    distance, train_distance = (np.linalg.norm(codes - centre, axis=1) for codes in (test, train))
    found = {
        "diagnosis_nonlinear": float(balanced_accuracy_score(patient[1], machine.predict(test))),
        "distance_auc": float(roc_auc_score(patient[1], distance)),
        "subtype": float("nan"),
        "inflation": float(_rms(train_distance[patient[0]]) / _rms(distance[patient[1]])),
    }
    known = [np.isfinite(of) for of in subtype]
    if all(len(np.unique(of[is_known])) > 1 for of, is_known in zip(subtype, known, strict=True)):
        regression = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        regression.fit(train[known[0]], subtype[0][known[0]])
        predicted = regression.predict(test[known[1]])
        found["subtype"] = float(balanced_accuracy_score(subtype[1][known[1]], predicted))
    return found


def _rms(values: Matrix) -> float:
    return float(np.sqrt(np.square(values).mean()))


def map_measures(
    volumes: Callable[[], Iterator[NDArray[np.floating]]],
    train: Matrix,
    test: Matrix,
    patient: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    covariates: tuple[Matrix, Matrix],
    truth: Matrix,
) -> dict[str, dict[str, float]]:
    """Agreement with the true map of the training participants' t-map and of patterns of held-out participants' codes.

    Args:
        volumes: iterates over chunks of the training participants' standardised volumes, together [N, V].
        train: salient codes of training participants, [N, d].
        test: salient codes of held-out participants, [M, d].
        patient: whether each participant is a patient, training [N] and held out [M].
        covariates: of the training participants: those in the t-map's design, and those that the codes are adjusted
            for, [N, k] each.
        truth: the disease's effect on each voxel, [V].

    Returns:
        For each of ``MAPS``: ``r``, the correlation of absolute values with the truth; ``ratio``, the proportion of the
        map inside affected voxels divided by their proportion of all voxels.
    """
    weights = forward_model(volumes(), train, covariates[1])
    design = np.column_stack([patient[0].astype(float), np.ones(len(train)), covariates[0]])
    maps = {
        "t_map": t_values(volumes(), design),
        "mean_patient": mean_patient(weights, test, patient[1]),
        "beyond_controls": beyond_controls(weights, test, patient[1]),
    }
    return {name: _agreement(values, truth) for name, values in maps.items()}


def _agreement(values: Matrix, truth: Matrix) -> dict[str, float]:
    ratio = localisation(values, truth != 0, np.ones(len(values), dtype=bool))["ratio"]
    return {"r": strength_correlation(values, truth), "ratio": float(ratio)}


def true_subtypes(factors: pd.DataFrame, participants: pd.Series) -> Matrix:
    """The true subtype of each participant, [N]; NaN without one.

    Args:
        factors: ``participant_id subtype``, of ``factors.tsv``.
        participants: their ids.
    """
    known = factors.drop_duplicates("participant_id").set_index("participant_id")["subtype"]
    values: Matrix = known.reindex(participants).to_numpy(float)
    return values
