"""Demographics of the cohort, by group and site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sepclr_neuro.config.model import Config

__all__ = ["demographics", "described"]

ALL_SITES = "all sites"


def demographics(config: Config, cohort: pd.DataFrame) -> pd.DataFrame:
    """The cohort by group and site, and by group over all sites; each participant counts once, by the first scan.

    Returns:
        ``group site n age_mean age_sd age_min age_max``, ``<sex>_percent`` for each sex in the cohort (of the
        participants whose sex is known), and ``<score>_n <score>_mean <score>_sd`` for each symptom score. SD with n -
        1.
    """
    people = cohort.drop_duplicates("participant_id")
    parts: dict[tuple[str, str], pd.DataFrame] = {}
    for group in ("background", "target"):
        members = people[people["group"] == group]
        parts[group, ALL_SITES] = members
        parts |= {(group, str(site)): part for site, part in members.groupby("site", sort=True)}
    rows = _described(parts, people, _scores(config, people))
    return pd.concat([pd.DataFrame(list(parts), columns=["group", "site"]), rows], axis=1)


def described(config: Config, people: pd.DataFrame, by: str) -> pd.DataFrame:
    """Participants by the values of one column: as :func:`demographics`, with ``tiv``, in ml, where they have it.

    Args:
        people: a row each.
        by: the column, such as ``diagnosis`` or ``site``; it is the first one of the result.
    """
    parts = {str(value): part for value, part in people.groupby(people[by].fillna("n/a"), sort=True)}
    tiv = config.volumes.tiv_column or "tiv"
    measured = [tiv] if tiv in people and pd.api.types.is_numeric_dtype(people[tiv]) else []
    rows = _described(parts, people, [*measured, *_scores(config, people)])
    return pd.concat([pd.DataFrame({by: list(parts)}), rows], axis=1)


def _scores(config: Config, people: pd.DataFrame) -> list[str]:
    return [name for name in dict.fromkeys(["sans", "saps", *config.cohort.scores]) if name in people]


def _described(parts: Mapping[Any, pd.DataFrame], people: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """A row a part of the people: n, age, sexes, and n, mean and SD of each measure."""
    sexes = sorted(people["sex"].dropna().unique())
    rows = []
    for part in parts.values():
        age = part["age"].agg(["mean", "std", "min", "max"])
        row: dict[str, float] = {"n": len(part)}
        row |= {"age_mean": age["mean"], "age_sd": age["std"], "age_min": age["min"], "age_max": age["max"]}
        sex = part["sex"].dropna()
        row |= {f"{label}_percent": 100 * (sex == label).mean() for label in sexes}
        for name in measures:
            row |= {f"{name}_n": part[name].count(), f"{name}_mean": part[name].mean(), f"{name}_sd": part[name].std()}
        rows.append(row)
    return pd.DataFrame(rows)
