"""Maps of an estimator's salient codes of held-out participants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_consistent_length

from sepclr_neuro.core.statistics import permutation_p, permuted_rows
from sepclr_neuro.estimators.base import Contrastive
from sepclr_neuro.maps.directions import leading_directions
from sepclr_neuro.maps.fold_codes import FoldCodes
from sepclr_neuro.maps.patterns import distance_auc, pattern_maps

__all__ = ["ContrastiveMaps", "contrastive_maps"]


@dataclass(frozen=True)
class ContrastiveMaps:
    """Maps of held-out participants' salient codes, patients beside controls, in SDs of each voxel.

    Maps are images where the affine is known; see :mod:`sepclr_neuro.maps.patterns` for their equations.

    Attributes:
        mean_patient: how patients differ from controls on average, signed.
        beyond_controls: what patients' codes explain more than controls' do, 0 or more: subtypes count too.
        directions: the leading directions of that, signed, as :mod:`sepclr_neuro.maps.directions` chooses them.
        p: of ``"mean-patient"``, ``"beyond-controls"``, ``"direction-1"`` and so on: how often the largest voxel is as
            large by chance.
        auc: how well the distance of a salient code from the training controls' mean separates the groups.
        auc_p: how often it is as high by chance.
    """

    mean_patient: Any
    beyond_controls: Any
    directions: list[Any]
    p: dict[str, float]
    auc: float
    auc_p: float


def contrastive_maps(
    model: Contrastive,
    X: Any,
    y: ArrayLike,
    covariates: pd.DataFrame | ArrayLike | None = None,
    *,
    within: ArrayLike | None = None,
    permutations: int = 1000,
    random_state: Any = None,
) -> ContrastiveMaps:
    """Maps of a fitted estimator's salient space, and how well its codes separate the groups without a probe.

    Args:
        model: fitted on other participants.
        X: volumes of held-out participants, as in ``fit``.
        y: their groups, the labels of ``fit``.
        covariates: as in ``fit``.
        within: of each participant what groups are exchanged within, such as the site; None: among all.
        permutations: exchanges of groups for each p.
        random_state: of the exchanges.

    Raises:
        ValueError: if a label is unknown, or there are not two held-out participants of each group.
    """
    codes = model.transform(X, covariates, space="salient")
    groups = column_or_1d(y)
    check_consistent_length(codes, groups)
    unknown = sorted(set(groups) - set(model.classes_))
    if unknown:
        raise ValueError(f"y: {unknown[0]} is no group of those fitted on, {' and '.join(map(str, model.classes_))}")
    patient = groups == model.classes_[1]
    fold = FoldCodes(model.weights_["salient"], codes, np.arange(len(codes)), model.control_centre_)
    if not fold.has_both(patient):
        raise ValueError("y: two held-out participants of each group are needed")
    strata = np.zeros(len(codes)) if within is None else column_or_1d(within)
    check_consistent_length(codes, strata)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    exchanged = permuted_rows(np.arange(len(codes)), strata, permutations, rng)
    maps = pattern_maps([fold], patient, exchanged)
    p = {name: permutation_p(float(np.abs(values).max()), null) for name, (values, null) in maps.items()}
    directions = leading_directions([fold], patient, exchanged)
    auc, null = distance_auc([fold], patient, exchanged)
    return ContrastiveMaps(
        mean_patient=model.to_map(maps["mean-patient"][0]),
        beyond_controls=model.to_map(maps["beyond-controls"][0]),
        directions=[model.to_map(values) for values, _ in directions.values()],
        p=p | {name: figures.get("p", np.nan) for name, (_, figures) in directions.items()},
        auc=auc,
        auc_p=permutation_p(auc, null),
    )
