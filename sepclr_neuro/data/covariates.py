"""Covariates for which the salient space is adjusted, as numbers, scaled by training participants alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config.columns import DEFAULT_COVARIATES
from sepclr_neuro.core.errors import InputError, nearest

__all__ = ["CovariateCoding", "learn_covariates"]


@dataclass(frozen=True)
class CovariateCoding:
    """How columns of a cohort become numbers with mean 0 in the training participants.

    A number is standardised; of age its square counts too, of TIV its logarithm. Labels become a column for each level
    but the first, less its share of the training participants; a level that training participants lack counts as their
    mean.

    Attributes:
        columns: for each column its values in training participants, JSON-like: ``{"column": "age", "mean": 35.2,
            "sd": 9.1, "mean_square": 1.0}``, ``{"column": "site", "levels": ["A", "B"], "shares": [0.6, 0.4]}``.
        impute: whether a missing value counts as the training participants' mean.
    """

    columns: tuple[dict[str, Any], ...] = ()
    impute: bool = False

    @property
    def names(self) -> list[str]:
        """The cohort's columns."""
        return [column["column"] for column in self.columns]

    def code(self, people: pd.DataFrame) -> NDArray[np.float64]:
        """The covariates of some participants, rows of a cohort: [N, k].

        Raises:
            InputError: if a participant lacks a value and missing ones are not to be imputed.
        """
        found: list[NDArray[np.float64]] = []
        for column in self.columns:
            values = people[column["column"]]
            if values.isna().any() and not self.impute:
                raise InputError(_missing(people, column["column"]))
            coded = _of_labels(values, column) if "levels" in column else _of_numbers(values, column)
            coded[values.isna().to_numpy()] = 0.0
            found.append(coded)
        return np.column_stack(found) if found else np.zeros((len(people), 0))

    def new_levels(self, people: pd.DataFrame) -> dict[str, list[str]]:
        """By column, labels that training participants lack, adjusted as the mean over levels would be."""
        return {
            column["column"]: new
            for column in self.columns
            if "levels" in column
            and (new := sorted(set(people[column["column"]].dropna().astype(str)) - set(column["levels"])))
        }

    def lines_on_new_levels(self, people: pd.DataFrame) -> list[str]:
        """A sentence for each column in which somebody has such a label."""
        return [
            f"no training participant has {column} {', '.join(new)}; adjusted as the mean {column}"
            for column, new in self.new_levels(people).items()
        ]

    def deviations(self, people: pd.DataFrame) -> pd.DataFrame:
        """How many SDs each participant is from the training mean: a column for each that holds numbers, as coded."""
        columns = [column for column in self.columns if "levels" not in column]
        scaled = {column["column"]: _of_numbers(people[column["column"]], column)[:, 0] for column in columns}
        return pd.DataFrame(scaled, index=people.index)

    def to_json(self) -> dict[str, Any]:
        """The content that :meth:`from_json` reads."""
        return {"columns": list(self.columns), "impute": self.impute}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> CovariateCoding:
        return cls(tuple(content["columns"]), content["impute"])


def learn_covariates(train: pd.DataFrame, names: Sequence[str] | None, impute: bool = False) -> CovariateCoding:
    """Covariates, scaled by the training participants' rows of a cohort.

    A column that is the same in all training participants says nothing and is left out.

    Args:
        train: rows of ``cohort.tsv``.
        names: of the columns; None: those of :data:`DEFAULT_COVARIATES` that the cohort has at all.
        impute: whether a missing value is to count as the mean.

    Raises:
        InputError: if there is no such column, or a participant lacks a value that is not to be imputed.
    """
    if names is None:
        names = [name for name in DEFAULT_COVARIATES if name in train and train[name].notna().any()]
    columns = []
    for name in names:
        if name not in train:
            there_are = nearest(name, train.columns, listed=True)
            raise InputError(f"adjust_for: the cohort has no column {name!r}.{there_are}")
        values = train[name]
        if values.isna().any() and not impute:
            raise InputError(_missing(train, name))
        known = values.dropna()
        if known.nunique() > 1:
            numeric = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
            columns.append(_numbers(name, known) if numeric else _labels(name, known))
    return CovariateCoding(tuple(columns), impute)


def _numbers(name: str, known: pd.Series) -> dict[str, Any]:
    values = _logged(known, name)
    mean, sd = float(values.mean()), float(values.std(ddof=0))
    column: dict[str, Any] = {"column": name, "mean": mean, "sd": sd}
    return column | {"mean_square": float(np.square((values - mean) / sd).mean())} if name == "age" else column


def _logged(values: pd.Series, name: str) -> NDArray[np.float64]:
    numbers = values.to_numpy(float)
    return np.log(numbers) if name == "tiv" else numbers


def _labels(name: str, known: pd.Series) -> dict[str, Any]:
    shares = known.astype(str).value_counts(normalize=True).sort_index()
    return {"column": name, "levels": list(shares.index), "shares": [float(share) for share in shares]}


def _of_numbers(values: pd.Series, column: dict[str, Any]) -> NDArray[np.float64]:
    scaled = (_logged(values, column["column"]) - column["mean"]) / column["sd"]
    squares = [np.square(scaled) - column["mean_square"]] if "mean_square" in column else []
    return np.column_stack([scaled, *squares])


def _of_labels(values: pd.Series, column: dict[str, Any]) -> NDArray[np.float64]:
    labels, levels, shares = values.astype(str).to_numpy(), column["levels"][1:], np.array(column["shares"][1:])
    known = np.isin(labels, column["levels"])[:, None]
    return np.where(known, (labels[:, None] == np.array(levels)) - shares, 0.0)


def _missing(people: pd.DataFrame, name: str) -> str:
    missing = people.loc[people[name].isna(), "scan_id" if "scan_id" in people else people.columns[0]]
    first = ", ".join(map(str, missing.head(3)))
    return (
        f"adjust_for: {len(missing)} scans have no {name} ({first}{', …' if len(missing) > 3 else ''}); leave these "
        f"participants out with `cohort.include.require: [{name}]`, take {name} out of `adjust_for`, or let a missing "
        "value count as the training participants' mean with `impute_covariates: true`"
    )
