"""Covariates of voxel-wise models: age, sex, site, TIV and fold, as columns of a design."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError

__all__ = ["nuisance"]

_RANK = 1e-6


def nuisance(config: Config, people: pd.DataFrame, fold: pd.Series | None = None) -> pd.DataFrame:
    """Centred columns, so that beside them an intercept is the mean over participants.

    Age and TIV (the column `volumes.tiv_column`, or else `tiv`, where the cohort has it) are in units of their SD;
    sex, site and fold are a column for each class but one. What the earlier columns say already is left out: a sex
    that all participants have, a site that is a fold.

    Args:
        config: of the run.
        people: rows of the cohort, one a scan or participant.
        fold: of each row, where rows are of several folds.

    Returns:
        A row for each of ``people`` of whom all facts are known; the others are left out.

    Raises:
        InputError: if TIV is no number.
    """
    tiv = config.volumes.tiv_column or "tiv"
    numbers = [name for name in dict.fromkeys(("age", tiv)) if name in people and people[name].notna().any()]
    # A fact that no participant has, where `include.require` does not list it, is no covariate.
    classes = [name for name in ("sex", "site") if people[name].notna().any()]
    text = [name for name in numbers if not pd.api.types.is_numeric_dtype(people[name])]
    if text:
        raise InputError(
            f"the column {text[0]!r}, a covariate of voxel-wise maps, has text such as "
            f"{people[text[0]].dropna().iloc[0]!r}; list what it means in `cohort.values.{text[0]}` or in `missing`"
        )
    known = people[numbers + classes].dropna()
    columns = {name: known[name].astype(float) for name in numbers}
    labels: dict[str, pd.Series] = {name: known[name].astype(str) for name in classes}
    if fold is not None:
        labels["fold"] = fold.loc[known.index].astype(str)
    for name, values in labels.items():
        for value in sorted(values.unique())[1:]:
            columns[f"{name} {value}"] = (values == value).astype(float)
    kept = pd.DataFrame(index=known.index)
    for name, values in columns.items():
        column = values - values.mean()
        if kept.shape[1]:
            explained = kept.to_numpy() @ np.linalg.lstsq(kept.to_numpy(), column.to_numpy(), rcond=None)[0]
            new = float(np.std(column - explained))
        else:
            new = float(np.std(column))
        if new > _RANK * max(1.0, float(values.abs().max())):
            kept[name] = column / column.std(ddof=0)
    return kept
