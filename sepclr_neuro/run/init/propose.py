"""From the tables and volumes of a folder to a configuration, as entries that say what each value was made from."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sepclr_neuro.config.model import OPEN
from sepclr_neuro.core.errors import by_kind
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.matching import Row
from sepclr_neuro.data.proposing import VOLUME_ENDINGS
from sepclr_neuro.run.init.columns import (
    Diagnoses,
    column_of,
    columns_of,
    diagnoses_of,
    missing_texts,
    tiv_of,
    values_of,
)
from sepclr_neuro.run.init.entries import Entry, Tree, scalar
from sepclr_neuro.run.init.grids import Candidate, grid_of, patterns_of
from sepclr_neuro.run.init.layouts import LAYOUTS, layout_of
from sepclr_neuro.run.init.people import StudyTables, studies_of
from sepclr_neuro.run.init.scores import scores_of
from sepclr_neuro.run.init.tables import Table, counts_of, named

__all__ = ["Proposal", "propose"]

_FOLDS = 5


@dataclass(frozen=True)
class Proposal:
    """A configuration with its reasons.

    Attributes:
        tree: the configuration.
        found: what the folder holds.
        remarks: what was not used, or needs attention.
    """

    tree: Tree
    found: list[str]
    remarks: list[str]


def propose(folder: Path, files: Sequence[str], tables: Sequence[Table]) -> Proposal:
    """Proposes a configuration. Reads a few headers, nothing else.

    Args:
        folder: as the configuration shall name it.
        files: volumes, from the folder on.
        tables: those that name participants.
    """
    studies = [(study, _volumes(folder, study, files)) for study in studies_of(tables)]
    volumes = [own for _, own in studies] or [_volumes_without_tables(folder, files)]
    rows = pd.concat([study.rows for study, _ in studies], ignore_index=True) if studies else pd.DataFrame()
    missing = missing_texts(rows)
    rows = rows.where(~rows.isin(missing))
    diagnoses = diagnoses_of(rows, tables)
    used = [own.root / path for own in volumes for path in own.files.values()]
    grid, patch, of_headers = grid_of(used)
    of_columns, of_grid = tiv_of(rows, tables)
    values = values_of(rows, tables, diagnoses)
    scores = scores_of(rows, tables, diagnoses.in_background(rows), missing)
    cohort = {
        "source": Entry("files"),
        "studies": Entry(
            [_study(folder, study, own, missing, rows, diagnoses) for study, own in studies]
            or [_study_without_tables(folder, volumes[0])]
        ),
        "columns": Entry({**_columns(rows, studies, diagnoses), **of_columns}),
        **({"values": Entry(values, "What codes mean. A code that is not listed stops the run.")} if values else {}),
        **diagnoses.groups(),
        **({"scores": Entry(scores)} if scores else {}),
        "include": _include(rows, studies),
    }
    tree = {
        "title": Entry(folder.resolve().name or "My cohort"),
        "output": Entry("results", "The folder of everything that a run writes."),
        "cohort": Entry(cohort),
        "volumes": Entry({**grid, **of_grid}),
        "methods": _methods(patch),
        "splits": Entry({"folds": _folds(rows[_with_volume(studies)] if studies else rows, diagnoses)}),
    }
    remarks = [remark for study, _ in studies for remark in study.remarks]
    if not studies:
        remarks.append("there is no table of participants (.tsv or .csv) with a column such as participant_id")
    return Proposal(tree, _found(studies, files), [*remarks, *_unusable(files, bool(used)), *by_kind(of_headers)])


# --- volumes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Volumes:
    """A study's volumes: where they are, how the configuration finds them, and the files of scans that have one."""

    root: Path
    entry: Entry
    files: Mapping[tuple[str, ...], str]
    column: str | None = None


def _volumes(folder: Path, study: StudyTables, files: Sequence[str]) -> _Volumes:
    root = folder / study.root
    start = f"{study.root}/" if study.root else ""
    own = [path.removeprefix(start) for path in files if path.startswith(start)]
    if files and not own:
        root, own = folder, list(files)
    return _of_column(root, study, own) or _chosen(root, own, study.scans, study.ids)


def _of_column(root: Path, study: StudyTables, files: Sequence[str]) -> _Volumes | None:
    """Volumes by a column of paths, from the folder or from that of the table on."""
    there = set(files)
    for column in study.rows.columns:
        paths = study.rows[column].dropna()
        if not paths.str.lower().str.endswith(VOLUME_ENDINGS).any():
            continue
        for base in dict.fromkeys(("", os.path.relpath(os.path.dirname(study.people.path) or ".", study.root or "."))):
            inside = [os.path.normpath(os.path.join(base, path)) for path in paths]
            keys = study.keys[paths.index]
            known = {key: path for key, path in zip(keys, inside, strict=True) if path in there}
            if 2 * len(known) > len(paths):
                return _Volumes(root, Entry(str(root / base)), known, column)
    return None


def _chosen(root: Path, files: Sequence[str], scans: Sequence[Row], ids: Sequence[str]) -> _Volumes:
    """The pattern of the most preferable kind of volumes; open where several of one kind find about as many."""
    candidates = patterns_of(root, files, scans, ids)
    most = max((len(candidate.files) for candidate in candidates), default=0)
    enough = [candidate for candidate in candidates if 2 * len(candidate.files) >= most]
    peers = [candidate for candidate in enough if candidate.layout == enough[0].layout]
    lines = [_line(candidate, len(scans)) for candidate in candidates]
    if not peers:
        what = f"no name of the {len(files)} volumes has the id of a participant" if files else "no volumes were found"
        why = f"{what}. A pattern such as {{{ids[0]}}}/mri/mwp1{{{ids[0]}}}_T1w.nii; `check` proposes one that fits"
        return _Volumes(root, Entry(OPEN, why), {})
    if len(peers) > 1:
        why = f"{peers[0].layout.name}: several sessions, runs or folders; which one?"
        fewest = min(peers, key=lambda peer: len(peer.files))
        return _Volumes(root, Entry(OPEN, why, others=tuple(lines)), fewest.files)
    best = peers[0]
    remark = f". {best.layout.remark[0].upper()}{best.layout.remark[1:]}" if best.layout.remark else ""
    why = f"{best.layout.name}: {len(best.files)} of {len(scans)} have one such file{remark}"
    others = tuple(line for candidate, line in zip(candidates, lines, strict=True) if candidate is not best)
    return _Volumes(root, Entry(best.pattern, why, True, others), best.files)


def _line(candidate: Candidate, scans: int) -> str:
    return f"volumes: {scalar(candidate.pattern)} # {candidate.layout.name}: {len(candidate.files)} of {scans}"


def _volumes_without_tables(folder: Path, files: Sequence[str]) -> _Volumes:
    """By the ids in the names of files, as BIDS writes them."""
    found = sorted({match[0] for path in files for match in re.finditer(r"sub-[A-Za-z0-9]+", path)})
    return _chosen(folder, files, [{"participant_id": name} for name in found], ["participant_id"])


def _unusable(files: Sequence[str], usable: bool) -> list[str]:
    """What other volumes are: arrays, and everything where nothing is usable."""
    kinds = Counter(layout_of(path) for path in files)
    return [
        f"{counted(kinds[layout], 'file')}: {layout.name}; {layout.remark}"
        for layout in LAYOUTS
        if kinds[layout] and not layout.usable and (not usable or layout.expression.endswith(r"npy$"))
    ]


# --- studies ------------------------------------------------------------------------------------------------------


def _study(
    folder: Path,
    study: StudyTables,
    volumes: _Volumes,
    missing: Sequence[str],
    rows: pd.DataFrame,
    diagnoses: Diagnoses,
) -> Tree:
    name = _name(folder / study.root)
    entries = {
        "name": Entry(name),
        "participants": Entry(
            str(folder / study.people.path), f"{counted(len(study.people.rows), 'row')}, named in {study.ids[0]!r}"
        ),
    }
    if study.phenotypes:
        paths = [str(folder / table.path) for table in study.phenotypes]
        entries["phenotypes"] = Entry(paths, "Joined on the participant (and the session).")
    encodings = sorted({table.encoding for table in (study.people, *study.phenotypes)} - {""})
    if encodings:
        entries["encoding"] = Entry(encodings[0], "of the tables that are not UTF-8, by their bytes", True)
    own = [text for text in missing if study.rows.isin([text]).any(axis=None)]
    if own:
        why = "texts in place of numbers, sex or diagnosis, taken to mean missing in all of the study's tables"
        entries["missing"] = Entry(own, why, True)
    chosen = {"diagnosis": diagnoses.column} | {fact: column_of(rows, fact) for fact in ("age", "sex", "site")}
    lacking = {fact: column for fact, column in chosen.items() if column not in study.rows.columns}
    if diagnoses.column is None:
        lacking.pop("diagnosis")
    constants = {fact: _constant(fact, column, study, name) for fact, column in lacking.items()}
    if constants:
        entries["constants"] = Entry(constants)
    return entries | _found_by(volumes)


def _constant(fact: str, column: str | None, study: StudyTables, name: str) -> Entry:
    """The value of a fact that a study's tables lack, or have in another column than those of the other studies."""
    other = next(iter(named(study.rows.columns, fact)), None)
    if column is not None and other is not None:
        why = f"{study.people.path} calls it {other!r}, others {column!r}: rename one, and remove this line"
        return Entry(OPEN, why)
    if fact == "site":
        why = "no column is called site, scanner or the like: taken to be one site, named after the folder"
        return Entry(name, why, True)
    if column is not None:
        return Entry(OPEN, f"no column here is {column!r}, as in other studies; one value for all of this study?")
    return Entry("n/a", f"no column has a usual name for {fact}")


def _found_by(volumes: _Volumes) -> dict[str, Entry]:
    if volumes.column is not None:
        return {"volumes_root": volumes.entry}
    return {"volumes": volumes.entry, "volumes_root": Entry(str(volumes.root))}


def _study_without_tables(folder: Path, volumes: _Volumes) -> Tree:
    why = "no table of participants was found: one row each, columns participant_id, diagnosis, age, sex and site"
    return {"name": Entry(_name(folder)), "participants": Entry(OPEN, why), **_found_by(volumes)}


def _name(folder: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")
    return name if name[:1].isalpha() else f"study-{name}".rstrip("-")


# --- cohort -------------------------------------------------------------------------------------------------------

Studies = Sequence[tuple[StudyTables, _Volumes]]


def _found(studies: Studies, files: Sequence[str]) -> list[str]:
    found = [counted(len(files), "volume")]
    for study, volumes in studies:
        scans = counted(len(study.scans), "scan" if study.repeated else "participant")
        found.append(f"{study.people.path}: {scans}, {len(volumes.files)} with a volume")
    return found


def _with_volume(studies: Studies) -> pd.Series:
    """Rows that have one; all rows of a study whose volumes are not known."""
    parts = [study.keys.isin(list(own.files)) if own.files else study.keys.notna() for study, own in studies]
    return pd.concat(parts, ignore_index=True)


def _columns(rows: pd.DataFrame, studies: Studies, diagnoses: Diagnoses) -> Tree:
    if not studies:
        return columns_of(rows, "participant_id", None, False, diagnoses)
    session = next((study.ids[1] for study, _ in studies if study.ids[1:]), None)
    repeated = any(study.repeated for study, _ in studies)
    entries = columns_of(rows, studies[0][0].ids[0], session, repeated, diagnoses)
    paths = next((own.column for _, own in studies if own.column is not None), None)
    if paths is None:
        return entries
    return {**entries, "volume": Entry(paths, "it holds paths of volumes, from `volumes_root` on", True)}


def _include(rows: pd.DataFrame, studies: Studies) -> Entry:
    required = [fact for fact in ("age", "sex", "site") if fact == "site" or column_of(rows, fact)]
    why = "Participants with missing values in these columns are excluded, and listed with the reason."
    if any(len(own.files) < len(study.scans) for study, own in studies):
        required.append("volume")
        why = f"{why} `volume`: some participants have none."
    session = next((study.ids[1] for study, _ in studies if study.repeated and study.ids[1:]), None)
    lines: tuple[str, ...] = ()
    if session is not None:
        first = counts_of(rows[session], most=1).rpartition(" (")[0]
        lines = (f"quality: [{{column: {scalar(session)}, keep: [{scalar(first)}]}}] # one session alone",)
    return Entry({"require": Entry(required, why, others=lines)})


def _folds(rows: pd.DataFrame, diagnoses: Diagnoses) -> Entry:
    """As many as the smaller group has participants with all that is required, five at most.

    Args:
        rows: of those who have a volume.
    """
    if diagnoses.column is None or not diagnoses.controls:
        return Entry(_FOLDS)
    facts = [column for column in (column_of(rows, fact) for fact in ("age", "sex", "site")) if column is not None]
    people = rows.dropna(subset=[*facts, diagnoses.column]).drop_duplicates(named(rows.columns, "participant_id")[:1])
    controls = int(diagnoses.in_background(people).sum())
    fewest = min(controls, len(people) - controls)
    if fewest >= _FOLDS:
        return Entry(_FOLDS)
    return Entry(
        max(2, fewest), f"the smaller group has {counted(fewest, 'participant')} with all that is needed", True
    )


def _methods(patch: int) -> Entry:
    """The two that take seconds, and the recipe with networks to go on with."""
    recipe = (
        "sepclr-k-jem: {salient_dim: 8, kernel_width: median, kernel_diagonal: false,",
        f"               network: {{name: linear, patch: {patch}}}, augmentation: {{crop_probability: 0.0}},",
        "               training: {epochs: 100, batch_size: 64, learning_rate: 1.0e-3}}",
    )
    why = (
        "These two take seconds. With networks, which take far longer: the lines below them; docs/methods.md has more."
    )
    return Entry({"sepclr-linear": Entry({}), "voxel-linear": Entry({}, others=recipe)}, why)
