"""Which people train and which are held out: repeated stratified k-fold, made once, shared by every method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from sepclr_neuro import config as settings_of
from sepclr_neuro.cohort import load_cohort
from sepclr_neuro.config import Config
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.storage import read_tsv, write_tsv

__all__ = ["Fold", "make_splits", "read_fold", "write_splits"]

_QUANTILES = 4


@dataclass(frozen=True)
class Fold:
    """Scan ids of one split; nobody has scans on two sides.

    Attributes:
        train: whom models learn from.
        test: who is held out.
        probe: training people whom models do not see, so that probes can be fitted on them; may be empty.
    """

    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    probe: tuple[str, ...] = ()

    @property
    def probed(self) -> tuple[str, ...]:
        """Whom probes are fitted on."""
        return self.probe or self.train


def make_splits(cohort: pd.DataFrame, settings: settings_of.Splits, seed: int) -> pd.DataFrame:
    """Splits people, not scans: all scans of a participant are on one side.

    Each repeat shuffles afresh. People are spread over folds by group and then by ``stratify_by``; a numeric column
    counts by its quarters. A stratum with fewer people than folds cannot be spread evenly: its people count by one
    column less, then by another, and in the end by their group alone. Where a person's scans differ in a column
    (two sites, say), the first scan counts.

    Args:
        cohort: rows of ``cohort.tsv``.
        settings: the section ``splits``.
        seed: of the run.

    Returns:
        Columns ``fold scan_id participant_id side``, every scan once a fold, folds numbered over the repeats.

    Raises:
        InputError: if a group has fewer people than there are folds, or a person is in both groups.
    """
    people = cohort.drop_duplicates("participant_id").sort_values("participant_id")
    _check_people(cohort, people, settings.folds)
    strata = _strata(people, settings)
    ids = people["participant_id"].to_numpy()
    tables = []
    for repeat in range(settings.repeats):
        shuffle_seed = int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
        splitter = StratifiedKFold(settings.folds, shuffle=True, random_state=shuffle_seed)
        for number, (_, test) in enumerate(splitter.split(ids, strata)):
            table = cohort[["scan_id", "participant_id"]].copy()
            table.insert(0, "fold", repeat * settings.folds + number)
            table["side"] = np.where(table["participant_id"].isin(ids[test]), "test", "train")
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _check_people(cohort: pd.DataFrame, people: pd.DataFrame, folds: int) -> None:
    problems = []
    groups = cohort.groupby("participant_id")["group"].nunique()
    for participant in groups.index[groups > 1]:
        problems.append(f"participant {participant}: is background in one session and target in another; keep one")
    counts = people["group"].value_counts()
    for group in ("background", "target"):
        count = counts.get(group, 0)
        if count < folds:
            problems.append(
                f"splits.folds: {folds} folds need {folds} people of each group, {group} has {count}; use fewer folds"
            )
    if problems:
        raise InputError(problems)


def _strata(people: pd.DataFrame, settings: settings_of.Splits) -> list[str]:
    """One label a person; every label has at least as many people as there are folds."""
    columns = [people["group"].astype(str)]
    for name in settings.stratify_by:
        values = people[name]
        if pd.api.types.is_numeric_dtype(values):
            values = pd.qcut(values, _QUANTILES, duplicates="drop")
        columns.append(values.astype(object).where(values.notna(), "n/a").astype(str))
    keys = pd.DataFrame({level: column.to_numpy() for level, column in enumerate(columns)})
    labels = pd.Series("", index=keys.index)
    for depth in range(len(columns), 0, -1):
        pending = labels == ""
        if not pending.any():
            break
        joined = keys.loc[pending, range(depth)].agg(" | ".join, axis=1)
        enough = joined.map(joined.value_counts()) >= settings.folds
        labels[joined.index[enough]] = joined[enough]
    for group in keys[0].unique():
        rest = keys.index[(labels == "") & (keys[0] == group)]
        if len(rest):
            # The group as a whole has enough people, so some of its strata have.
            labels[rest] = labels[(labels != "") & (keys[0] == group)].value_counts().index[0]
    return labels.tolist()


def write_splits(config: Config, results: Results) -> None:
    """Writes ``splits.tsv`` for the cohort whose volumes are in the cache.

    Raises:
        InputError: as :func:`make_splits`, or if the volumes are those of another cohort.
    """
    cohort = load_cohort(results)
    index = read_tsv(results.index, text=("scan_id",))
    if index["scan_id"].tolist() != cohort["scan_id"].tolist():
        raise InputError(f"{results.index}: lists other scans than {results.cohort}; run the stage `volumes` again")
    write_tsv(results.splits, make_splits(cohort, config.splits, config.seed))


def read_fold(results: Results, fold: int) -> Fold:
    """Reads one split and checks it against leaks and against the volumes.

    Raises:
        InputError: if the fold is absent or has an empty side, a person is on both sides, or the scans are not, once
            each, those of ``index.tsv``.
    """
    table = read_tsv(results.splits, text=("scan_id", "participant_id", "side"))
    table = table[table["fold"] == fold]
    advice = "run the stage `splits` again"
    if set(table["side"]) != {"train", "test"}:
        raise InputError(f"{results.splits}: fold {fold} does not have the sides train and test; {advice}")
    sides = table.groupby("participant_id")["side"].nunique()
    both = sides.index[sides > 1].tolist()
    if both:
        raise InputError(f"{results.splits}: fold {fold} has participant {both[0]!r} in train and in test; {advice}")
    indexed = read_tsv(results.index, text=("scan_id",))["scan_id"].tolist()
    if sorted(table["scan_id"]) != sorted(indexed):
        odd = (
            sorted(set(table["scan_id"]) ^ set(indexed)) or table.loc[table["scan_id"].duplicated(), "scan_id"].tolist()
        )
        raise InputError(
            f"{results.splits}: the scans of fold {fold} are not those of {results.index.name}, once each "
            f"({odd[0]!r} first); {advice}"
        )
    train, test = (tuple(table.loc[table["side"] == side, "scan_id"]) for side in ("train", "test"))
    return Fold(fold, train, test)
