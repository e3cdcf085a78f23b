"""Demographics of the cohort, by group and site."""

from __future__ import annotations

import pandas as pd

from sepclr_neuro.config.model import Config

__all__ = ["demographics"]

ALL_SITES = "all sites"


def demographics(config: Config, cohort: pd.DataFrame) -> pd.DataFrame:
    """The cohort by group and site, and by group over all sites; each participant counts once, by the first scan.

    Returns:
        ``group site n age_mean age_sd age_min age_max``, ``<sex>_percent`` for each sex in the cohort (of the
        participants whose sex is known), and ``<score>_n <score>_mean <score>_sd`` for each symptom score. SD with n -
        1.
    """
    people = cohort.drop_duplicates("participant_id")
    scores = [name for name in dict.fromkeys(["sans", "saps", *config.cohort.scores]) if name in people]
    sexes = sorted(people["sex"].dropna().unique())
    rows = []
    for group in ("background", "target"):
        members = people[people["group"] == group]
        parts = [(ALL_SITES, members), *members.groupby("site", sort=True)]
        for site, part in parts:
            age = part["age"].agg(["mean", "std", "min", "max"])
            row = {"group": group, "site": site, "n": len(part)}
            row |= {"age_mean": age["mean"], "age_sd": age["std"], "age_min": age["min"], "age_max": age["max"]}
            sex = part["sex"].dropna()
            row |= {f"{label}_percent": 100 * (sex == label).mean() for label in sexes}
            for score in scores:
                row |= {f"{score}_n": part[score].count(), f"{score}_mean": part[score].mean()}
                row |= {f"{score}_sd": part[score].std()}
            rows.append(row)
    return pd.DataFrame(rows)
