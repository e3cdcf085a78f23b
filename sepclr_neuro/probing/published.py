"""The figures that the paper published, to be compared with those of a run. Louiset et al., ICLR 2024.

They are of another cohort (schizophrenia) and of larger images and networks (digits): beside a run's figures they show
an order of magnitude, and which space should hold what.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

__all__ = ["beside_published", "published_digits", "published_schizophrenia"]

_FOLDER = Path(__file__).parent


def published_schizophrenia() -> pd.DataFrame:
    """The table of probes: ``method target metric space mean sd``; ``bacc`` in percent, MAE in years and points."""
    return pd.read_csv(_FOLDER / "published_schizophrenia.csv")


def published_digits() -> pd.DataFrame:
    """Digits on objects, by method: ``digits_salient digits_common objects_salient objects_common delta_tot``."""
    return pd.read_csv(_FOLDER / "published_digits_on_objects.csv", comment="#").set_index("method")


def beside_published(summary: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """Figures of a run with the published ones of the same method, target and space, NaN where there are none.

    Args:
        summary: the headline rows of the table of probes.
        methods: the published name of each method of the run, by its name in the table.

    Returns:
        ``method target metric space mean sd published_mean published_sd``, in the order of ``summary``.
    """
    keys = ["method", "target", "metric", "space"]
    names = {"mean": "published_mean", "sd": "published_sd"}
    ours = summary[[*keys, "mean", "sd"]].assign(published=summary["method"].map(methods))
    published = published_schizophrenia().rename(columns={"method": "published"} | names)
    return ours.merge(published, how="left", on=["published", *keys[1:]]).drop(columns="published")
