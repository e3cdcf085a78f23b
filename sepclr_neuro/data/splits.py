"""Which participants train and which are held out: made once, written to a file, shared by every method."""

from __future__ import annotations

import hmac
import logging
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sepclr_neuro.config import splits as settings_of
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import Alike, InputError, nearest, taken_from
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_text, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import seed_of

__all__ = ["Fold", "make_splits", "publishable", "read_fold", "read_list", "stratified_lines", "write_splits"]

logger = logging.getLogger(__name__)

_QUANTILES = 4
_COLUMNS = ["fold", "scan_id", "participant_id", "unit", "side"]
_TEXT = ("scan_id", "participant_id", "unit", "side")


@dataclass(frozen=True)
class Fold:
    """Scan ids of one split; no participant has scans on two sides.

    Attributes:
        train: whom models learn from.
        test: who is held out.
        probe: training participants whom models do not see, so that probes can be fitted on them; may be empty.
    """

    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    probe: tuple[str, ...] = ()

    @property
    def probed(self) -> tuple[str, ...]:
        """Scans on which probes are fitted."""
        return self.probe or self.train


def make_splits(
    cohort: pd.DataFrame, settings: settings_of.Splits, seed: int, listed: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Splits units, not scans: scans of a participant, and participants with one value of ``group_by``, stay together.

    ``k-fold`` shuffles afresh each repeat. Participants are spread over folds by group and then by ``stratify_by``; a
    number with more than four values counts by its quarters. A stratum with fewer participants than folds cannot be
    spread evenly: its participants count by one column less, then by another, and in the end by their group alone.
    Where a participant's scans differ in a column (two sites, say), the first scan counts. With ``group_by`` the spread
    is as even as the units allow.

    ``leave-site-out`` holds out ``sites`` in turn, in their order, ``external-sites`` all of them at once, both but for
    ``site_controls``; ``file`` holds out whom the file says.

    Args:
        cohort: rows of ``cohort.tsv``.
        settings: the section ``splits``.
        seed: of the run.
        listed: with scheme ``file`` its content, as :func:`read_list` gives it.

    Returns:
        Columns ``fold scan_id participant_id unit side``, every scan once a fold; ``side`` is train, probe or test, and
        ``unit`` names what is kept together.

    Raises:
        InputError: if a participant is in both groups, a unit cannot be kept together, a side would lack a group to
            learn from, a site is unknown, or a file does not fit the cohort.
    """
    people = cohort.drop_duplicates("participant_id").sort_values("participant_id").reset_index(drop=True)
    people = people.assign(unit=_units(people, settings.group_by))
    problems = _twofold(cohort)
    if settings.scheme == "k-fold":
        problems += _too_few(people, settings.folds)
    if problems:
        raise InputError(problems)
    if settings.scheme == "file":
        if listed is None:
            raise ValueError("the scheme `file` needs the content of the file")
        held_out = _listed_folds(people, settings, listed)
    else:
        held_out = _k_folds(people, settings, seed) if settings.scheme == "k-fold" else _site_folds(people, settings)
    tables, site_controls = [], _site_controls(people, settings, seed)
    for number, chosen in enumerate(held_out):
        sides = pd.Series(np.where(chosen & ~site_controls, "test", "train"), index=people.index, dtype=object)
        sides[_kept_for_probes(people, ~chosen, settings.probe_fraction, seed_of(seed, 1, number))] = "probe"
        side = dict(zip(people["participant_id"], sides, strict=True))
        unit = dict(zip(people["participant_id"], people["unit"], strict=True))
        table = cohort[["scan_id", "participant_id"]].copy()
        table.insert(0, "fold", number)
        table["unit"] = table["participant_id"].map(unit)
        table["side"] = table["participant_id"].map(side)
        tables.append(table)
    splits = pd.concat(tables, ignore_index=True)
    problems = _divided(splits) + _one_sided(splits, cohort)
    if problems:
        raise InputError(problems)
    return splits


# --- who belongs together, and who can be split at all -----------------------------------------------------------


def _units(people: pd.DataFrame, group_by: str | None) -> pd.Series:
    """The unit that is kept together, by participant: the participant, or the value of ``group_by``."""
    own = "participant " + people["participant_id"]
    if group_by is None:
        return own
    value = people[group_by]
    return own.where(value.isna(), group_by + " " + value.astype(str))


def _twofold(cohort: pd.DataFrame) -> list[str]:
    groups = cohort.groupby("participant_id")["group"].nunique()
    what = "is background in one session and target in another; keep one"
    problems: list[str] = [Alike(f"participant {name}: {what}", name, what) for name in groups.index[groups > 1]]
    return problems


def _too_few(people: pd.DataFrame, folds: int) -> list[str]:
    counts = people["group"].value_counts()
    most = min(counts.get(group, 0) for group in ("background", "target"))
    advice = f"set it to between 2 and {most}" if most >= 2 else "two folds are the fewest: add participants"
    return [
        f"splits.folds: {folds} folds need {folds} participants of each group, {group} has {counts.get(group, 0)}; "
        f"{advice}"
        for group in ("background", "target")
        if counts.get(group, 0) < folds
    ]


def _divided(splits: pd.DataFrame) -> list[str]:
    """Units that stand on two sides of a fold."""
    problems: list[str] = []
    for (fold, unit), members in _on_two_sides(splits, ["fold", "unit"]).groupby(["fold", "unit"]):
        people = ", ".join(sorted(set(members["participant_id"])))
        sentence = (
            f"splits.group_by: fold {fold} has {unit} on two sides ({people}); leave all but one of them out, or "
            "change the scheme"
        )
        problems.append(Alike(sentence, f"fold {fold}: {unit}", "divided units"))
    return problems


def _on_two_sides(splits: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Rows of groups, by these columns, that have several sides. Without a loop over groups: there is one a scan."""
    pairs = splits[[*columns, "side"]].drop_duplicates()
    several = pairs[pairs.duplicated(columns, keep=False)]
    return splits.merge(several[columns].drop_duplicates(), on=columns)


def _one_sided(splits: pd.DataFrame, cohort: pd.DataFrame) -> list[str]:
    """Folds whose training side lacks a group, so that it cannot be learned, or that hold out no participant."""
    merged = splits.merge(cohort[["scan_id", "group"]], on="scan_id")
    problems = []
    for fold, part in merged.groupby("fold"):
        for group in sorted({"background", "target"} - set(part.loc[part["side"] == "train", "group"])):
            problems.append(
                f"splits: fold {fold} has no participant of the {group} group to train on; hold out fewer participants"
            )
        if "test" not in set(part["side"]):
            problems.append(f"splits: fold {fold} holds out no participant; see `splits.sites` or `splits.file`")
    return problems


# --- schemes: for each fold, who is held out, [people] bool; of a site everybody ---------------------------------


def _k_folds(people: pd.DataFrame, settings: settings_of.Splits, seed: int) -> list[np.ndarray]:
    # Here, since every stage reads folds and only one makes them.
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    strata, found = _strata(people, settings), []
    for repeat in range(settings.repeats):
        shuffle_seed = int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
        if settings.group_by is None:
            alone = StratifiedKFold(settings.folds, shuffle=True, random_state=shuffle_seed)
            divisions = alone.split(people, strata)
        else:
            together = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=shuffle_seed)
            divisions = together.split(people, strata, people["unit"])
        found += [np.isin(np.arange(len(people)), test) for _, test in divisions]
    return found


def _by_quarters(values: pd.Series) -> bool:
    """Whether a column holds measured numbers; a few whole ones are codes."""
    return pd.api.types.is_numeric_dtype(values) and values.nunique() > _QUANTILES


def stratified_lines(cohort: pd.DataFrame, settings: settings_of.Splits) -> list[str]:
    """Lines on columns of ``stratify_by`` whose values are too many to be balanced one by one."""
    if settings.scheme != "k-fold":
        return []
    people, lines = cohort.drop_duplicates("participant_id"), []
    for name in settings.stratify_by:
        if name in people and _by_quarters(people[name]):
            limits = " | ".join(f"{limit:g}" for limit in people[name].quantile([0.25, 0.5, 0.75]))
            lines.append(
                f"splits.stratify_by: {name} is a number, so that folds balance its quarters (limits {limits})"
            )
    return lines


def _strata(people: pd.DataFrame, settings: settings_of.Splits) -> list[str]:
    """One label a participant; every label has at least as many participants as there are folds."""
    columns = [people["group"].astype(str)]
    for name in settings.stratify_by:
        values = people[name]
        if _by_quarters(values):
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
            # The group as a whole has enough participants, so some of its strata have.
            labels[rest] = labels[(labels != "") & (keys[0] == group)].value_counts().index[0]
    return labels.tolist()


def _site_folds(people: pd.DataFrame, settings: settings_of.Splits) -> list[np.ndarray]:
    site = people["site"].astype(str)
    known = sorted(site.unique())
    unknown = [
        f"splits.sites: the cohort has no site {name!r}.{nearest(name, known)}"
        for name in settings.sites
        if name not in known
    ]
    if unknown:
        raise InputError(unknown)
    always = [name for name in known if name not in settings.sites]
    if always:
        logger.warning(f"splits: never held out, since `splits.sites` does not list them: {', '.join(always)}")
    if settings.scheme == "external-sites":
        return [site.isin(settings.sites).to_numpy()]
    return [(site == name).to_numpy() for name in settings.sites]


def _site_controls(people: pd.DataFrame, settings: settings_of.Splits, seed: int) -> np.ndarray:
    """Controls who train although their site is held out, [people] bool.

    That they train, rather than shift the codes of their site afterwards, needs no third side and no second adjustment:
    the site has a column of the covariates like any other, and whoever trained is not tested.
    """
    chosen = np.zeros(len(people), dtype=bool)
    rng, count, problems = np.random.default_rng(seed_of(seed, 2)), settings.site_controls, []
    for name in settings.sites if count else []:
        here = people["site"].astype(str) == name
        mixed = people.loc[~here | (people["group"] != "background"), "unit"]
        candidates = people.index[here & ~people["unit"].isin(mixed)].to_numpy()
        if len(candidates) <= count:
            problems.append(
                f"splits.site_controls: {count} controls of site {name!r} are to train, and some are to be tested, but "
                f"it has {len(candidates)}{' of their own unit' if settings.group_by else ''}; choose fewer, or leave "
                "the site out of `splits.sites`"
            )
        else:
            chosen[rng.permutation(candidates)[:count]] = True
    if problems:
        raise InputError(problems)
    return chosen


def _listed_folds(people: pd.DataFrame, settings: settings_of.Splits, table: pd.DataFrame) -> list[np.ndarray]:
    path, count = settings.file, settings.file_folds or 0
    problems: list[str] = []
    folds = sorted(set(table["fold"]))
    if folds != list(range(count)):
        problems.append(f"{path}: has the folds {', '.join(map(str, folds))}, expected 0 to {count - 1} (`file_folds`)")
    ids = people["participant_id"].str.removeprefix("sub-")
    of_cohort = table[table["participant_id"].isin(ids)]
    for side in sorted(set(of_cohort["side"]) - {"train", "test"}):
        problems.append(f"{path}: column 'side' has {side!r}; expected train or test")
    twice = of_cohort[of_cohort.duplicated(["fold", "participant_id"])].drop_duplicates(["fold", "participant_id"])
    for row in twice.itertuples():
        sentence = f"{path}: fold {row.fold} lists participant {row.participant_id} more than once"
        problems.append(Alike(sentence, str(row.participant_id), "listed more than once"))
    for fold, rows in table.groupby("fold"):
        absent = people.loc[~ids.isin(rows["participant_id"]), "participant_id"].tolist()
        if absent:
            sentence = (
                f"{path}: fold {fold} lacks {len(absent)} participants of the cohort, {absent[0]} first; add them, or "
                "leave them out by `cohort.include`"
            )
            problems.append(Alike(sentence, f"fold {fold}", "participants that a fold lacks"))
    if problems:
        raise InputError(problems)
    strangers = sorted(set(table["participant_id"]) - set(ids))
    if strangers:
        logger.warning(f"{path}: {len(strangers)} of its participants are not in the cohort ({strangers[0]} first)")
    held_out = table[table["side"] == "test"].groupby("fold")["participant_id"].apply(set).to_dict()
    return [ids.isin(held_out.get(fold, set())).to_numpy() for fold in range(count)]


def _kept_for_probes(people: pd.DataFrame, training: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Training participants kept from the encoders, [people] bool: the same share of each group's units."""
    if not fraction:
        return np.zeros(len(people), dtype=bool)
    kept: list[str] = []
    rng = np.random.default_rng(seed)
    # A family may have members in both groups; it is a kind of its own.
    kinds = people[training].groupby("unit")["group"].apply(lambda groups: " and ".join(sorted(set(groups))))
    for _, units in kinds.groupby(kinds):
        names = sorted(units.index)
        kept += [names[i] for i in rng.permutation(len(names))[: round(fraction * len(names))]]
    return training & people["unit"].isin(kept).to_numpy()


# --- files -------------------------------------------------------------------------------------------------------


def write_splits(config: Config, results: Results) -> None:
    """Writes ``splits.tsv`` for the cohort whose volumes are in the cache, and ``published.tsv``.

    Raises:
        InputError: as :func:`make_splits`; if the volumes are those of another cohort; or if two participants have the
            same volume.
    """
    cohort = load_cohort(results.cohort)
    index = read_tsv(results.index, text=("scan_id", "sha256"))
    if index["scan_id"].tolist() != cohort["scan_id"].tolist():
        raise InputError(f"{results.index}: lists other scans than {results.cohort}; run the stage `volumes` again")
    twins = [
        f"{results.index}: {' and '.join(same)} have the same volume, by its checksum; remove or replace all but one"
        for same in index.groupby("sha256")["scan_id"].agg(list)
        if len(same) > 1
    ]
    if twins:
        raise InputError(twins)
    for line in stratified_lines(cohort, config.splits):
        logger.info(line)
    splits = make_splits(cohort, config.splits, config.seed, read_list(config.splits))
    write_tsv(results.splits, splits)
    key = None
    if config.splits.hash_ids:
        if not results.id_key.is_file():
            write_text(results.id_key, secrets.token_hex(32) + "\n")
        key = results.id_key.read_text(encoding="utf-8").strip()
    write_tsv(results.published_splits, publishable(splits, key))


def read_list(settings: settings_of.Splits) -> pd.DataFrame | None:
    """The list that ``scheme: file`` names: ``fold participant_id side``, folds as numbers, participants without
    ``sub-``; None with any other scheme.

    Raises:
        InputError: if it is not such a table.
    """
    path = settings.file
    if settings.scheme != "file" or path is None:
        return None
    try:
        table = read_tsv(path, text=("fold", "participant_id", "side"))
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}){taken_from(path)}; expected a table `fold participant_id side`"
        ) from error
    missing = [name for name in ("fold", "participant_id", "side") if name not in table]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(map(repr, missing))}; expected fold, participant_id, side")
    wrong = table.loc[table["fold"].isna() | ~table["fold"].fillna("").str.fullmatch(r"\d+"), "fold"]
    if len(wrong):
        raise InputError(f"{path}: line {wrong.index[0] + 2}: fold is {wrong.iloc[0]!r}; expected a number from 0")
    empty = table.index[table[["participant_id", "side"]].isna().any(axis=1)]
    if len(empty):
        raise InputError(f"{path}: line {empty[0] + 2} lacks a participant_id or a side")
    return table.assign(fold=table["fold"].astype(int), participant_id=table["participant_id"].str.removeprefix("sub-"))


def publishable(splits: pd.DataFrame, key: str | None) -> pd.DataFrame:
    """``fold participant_id side``, a row a participant and fold, sorted; the fixed list of ``scheme: file`` is alike.

    Args:
        key: with it, participants are HMAC-SHA256 of their ids, 16 hexadecimal digits. A hash without a key could be
            undone by hashing every likely id.
    """
    table = splits.drop_duplicates(["fold", "participant_id"])[["fold", "participant_id", "side"]]
    if key is not None:
        hashed = [hmac.new(key.encode(), name.encode(), "sha256").hexdigest()[:16] for name in table["participant_id"]]
        table = table.assign(participant_id=hashed)
    return table.sort_values(["fold", "participant_id"], ignore_index=True)


def read_fold(splits: Path, index: Path, fold: int) -> Fold:
    """Reads one split of ``splits.tsv`` and checks it against leaks and against ``index.tsv``, the volumes.

    Raises:
        InputError: if the fold is absent or has an empty side; if a participant, participants who belong together, or
            one volume under two names are on two sides; or if the scans are not, once each, those of the index.
    """
    table = read_tsv(splits, text=_TEXT)
    table = table[table["fold"] == fold]
    advice = "run the stage `splits` again"
    if not {"train", "test"} <= set(table["side"]) <= {"train", "probe", "test"}:
        raise InputError(f"{splits}: fold {fold} does not have the sides train and test; {advice}")
    volumes = read_tsv(index, text=("scan_id", "sha256"))
    indexed = volumes["scan_id"].tolist()
    if sorted(table["scan_id"]) != sorted(indexed):
        odd = (
            sorted(set(table["scan_id"]) ^ set(indexed)) or table.loc[table["scan_id"].duplicated(), "scan_id"].tolist()
        )
        raise InputError(
            f"{splits}: the scans of fold {fold} are not those of {index.name}, once each ({odd[0]!r} first); {advice}"
        )
    table = table.merge(volumes[["scan_id", "sha256"]], on="scan_id")
    for column, what in (("participant_id", "participant"), ("unit", "unit"), ("sha256", "the volume with checksum")):
        divided = _on_two_sides(table, [column]).groupby(column)["side"]
        both = divided.agg(lambda side: " and in ".join(sorted(set(side), reverse=True)))
        if len(both):
            raise InputError(f"{splits}: fold {fold} has {what} {both.index[0]!r} in {both.iloc[0]}; {advice}")
    train, test, probe = (tuple(table.loc[table["side"] == side, "scan_id"]) for side in ("train", "test", "probe"))
    return Fold(fold, train, test, probe)
