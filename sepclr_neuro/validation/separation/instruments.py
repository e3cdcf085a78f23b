"""What a share of the best achievable does not say: groups that differ in kind, subtypes, and where in the brain."""

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

from sepclr_neuro.maps.localisation import localisation, strength_correlation
from sepclr_neuro.maps.patterns import beyond_controls, forward_model, mean_patient
from sepclr_neuro.maps.vbm import t_values

__all__ = ["CODES", "MAPS", "of_codes", "of_maps", "true_subtypes"]

CODES = ("diagnosis_nonlinear", "distance_auc", "subtype", "inflation")
MAPS = ("t_map", "mean_patient", "beyond_controls")
Matrix = NDArray[np.float64]


def of_codes(
    train: Matrix, test: Matrix, patient: tuple[NDArray[np.bool_], NDArray[np.bool_]], subtype: tuple[Matrix, Matrix]
) -> dict[str, float]:
    """What the salient codes of held-out people tell.

    Args:
        train: codes of training people, [N, d].
        test: codes of held-out people, [M, d].
        patient: whether each is one, of training and of held-out people.
        subtype: which subtype each patient has, NaN for none; likewise.

    Returns:
        ``diagnosis_nonlinear``: balanced accuracy of a support vector machine with a Gaussian kernel.
        ``distance_auc``: area under the curve of the distance from the training controls' mean.
        ``subtype``: balanced accuracy of a logistic regression among patients; NaN without subtypes.
        ``inflation``: how much farther from the controls' mean training patients' codes are than held-out patients',
        as encoders have fitted themselves to them; 1 is not at all.
    """
    machine = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(train, patient[0])
    centre = train[~patient[0]].mean(axis=0)
    distance, of_train = (np.linalg.norm(codes - centre, axis=1) for codes in (test, train))
    found = {
        "diagnosis_nonlinear": float(balanced_accuracy_score(patient[1], machine.predict(test))),
        "distance_auc": float(roc_auc_score(patient[1], distance)),
        "subtype": float("nan"),
        "inflation": float(_rms(of_train[patient[0]]) / _rms(distance[patient[1]])),
    }
    known = [np.isfinite(of) for of in subtype]
    if all(len(np.unique(of[is_known])) > 1 for of, is_known in zip(subtype, known, strict=True)):
        regression = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        regression.fit(train[known[0]], subtype[0][known[0]])
        said = regression.predict(test[known[1]])
        found["subtype"] = float(balanced_accuracy_score(subtype[1][known[1]], said))
    return found


def _rms(values: Matrix) -> float:
    return float(np.sqrt(np.square(values).mean()))


def of_maps(
    volumes: Callable[[], Iterator[NDArray[np.floating]]],
    train: Matrix,
    test: Matrix,
    patient: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    covariates: tuple[Matrix, Matrix],
    truth: Matrix,
) -> dict[str, dict[str, float]]:
    """How like the truth the voxel-wise t-map of the training people is, and the patterns of held-out people's codes.

    Args:
        volumes: gives chunks of the training people's, standardised, together [N, V].
        train: their salient codes, [N, d].
        test: those of held-out people, [M, d].
        patient: whether each is one, of training and of held-out people.
        covariates: of the training people: what the t-map is held by [N, k], and what the codes are adjusted for.
        truth: what the disease does to each voxel, [V].

    Returns:
        By name of ``MAPS``: ``r``, the correlation of strengths; ``ratio``, the share of the map in affected voxels
        over their share of all.
    """
    weights = forward_model(volumes(), train, covariates[1])
    design = np.column_stack([patient[0].astype(float), np.ones(len(train)), covariates[0]])
    maps = {
        "t_map": t_values(volumes(), design),
        "mean_patient": mean_patient(weights, test, patient[1]),
        "beyond_controls": beyond_controls(weights, test, patient[1]),
    }
    return {name: _beside_truth(values, truth) for name, values in maps.items()}


def _beside_truth(values: Matrix, truth: Matrix) -> dict[str, float]:
    ratio = localisation(values, truth != 0, np.ones(len(values), dtype=bool))["ratio"]
    return {"r": strength_correlation(values, truth), "ratio": float(ratio)}


def true_subtypes(factors: pd.DataFrame, participants: pd.Series) -> Matrix:
    """The subtype of each of some people, NaN where there is none.

    Args:
        factors: ``participant_id subtype`` of the truth.
        participants: whose.
    """
    known = factors.drop_duplicates("participant_id").set_index("participant_id")["subtype"]
    values: Matrix = known.reindex(participants).to_numpy(float)
    return values
