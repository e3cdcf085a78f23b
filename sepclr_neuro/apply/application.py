"""An exported model applied to new participants: representations, distances from controls, predictions, maps."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from torch import Tensor

from sepclr_neuro import __version__
from sepclr_neuro.apply.calibration import calibrate
from sepclr_neuro.apply.controls import distances_from, percentiles
from sepclr_neuro.apply.described import described
from sepclr_neuro.apply.exported import ExportedModel, load_exported
from sepclr_neuro.apply.likeness import STATISTICS, covers_mask, statistics_of, unlike
from sepclr_neuro.apply.notes import note_on_calibration, notes_on_people, notes_on_volumes, refuse_seen
from sepclr_neuro.apply.people import NewPeople, marked, read_people
from sepclr_neuro.apply.seen import NEW, SIDES
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_tsv, write_json, write_tsv
from sepclr_neuro.core.words import counted
from sepclr_neuro.data.cache import voxels_sha256
from sepclr_neuro.data.grid import describe, final_affine, same_grid
from sepclr_neuro.data.volume_checks import refuse_twins, scans_of, volume_fault
from sepclr_neuro.data.volume_files import canonical_header, load_volume
from sepclr_neuro.learning.embedding import parts_in_memory, represent_volumes
from sepclr_neuro.maps.mapping import save_image

__all__ = ["Application", "Looked", "apply_model", "look_and_represent", "write_application"]

logger = logging.getLogger(__name__)

Matrix = NDArray[np.float64]

TABLES = ("representations", "distances", "predictions", "volumes", "calibration", "maps")
"""All that may be written."""

_KEYS = ["scan_id", "participant_id", "site", "seen"]


@dataclass(frozen=True)
class Looked:
    """Of N scans, what their volumes gave.

    Attributes:
        spaces: representations, [N, d] each.
        statistics: of each volume, [N, statistics].
        checksums: of each volume's voxels on the grid, [N].
    """

    spaces: dict[str, Matrix]
    statistics: pd.DataFrame
    checksums: list[str]


@dataclass(frozen=True)
class Application:
    """Tables of new participants, each with what its columns mean, and whatever a reader must know.

    Attributes:
        tables: by name, in the order of the scans.
        columns: by name of a table, a description of each column.
        notes: warnings and what was done, a sentence each.
        salient: salient codes after calibration, [N, d]; None without such a space.
    """

    tables: dict[str, pd.DataFrame]
    columns: dict[str, dict[str, Any]]
    notes: list[str]
    salient: Matrix | None


def write_application(
    folder: Path,
    participants: Path,
    pattern: str,
    output: Path,
    *,
    calibrate_with: str | None = None,
    maps: bool = False,
    allow_seen: bool = False,
) -> None:
    """Applies an exported model to a table of participants and writes the tables, each with a JSON file beside it.

    Args:
        folder: of the exported model.
        participants: their table (:func:`~sepclr_neuro.apply.people.read_people`).
        pattern: of the paths of their volumes.
        output: folder of what is written.
        calibrate_with: ``COLUMN=VALUE``, which marks controls that calibrate their site; None without calibration.
        maps: whether to write a map of each scan.
        allow_seen: whether participants may be those that the model was trained on.

    Raises:
        InputError: if the model is damaged or without a salient space that calibration or maps need; if a column,
            value or volume is missing, or a volume is not on the grid or does not fit the mask; or if a participant is
            one that model or probes were trained on, unless ``allow_seen``.
    """
    exported = load_exported(folder)
    if (calibrate_with is not None or maps) and exported.controls is None:
        option = "--maps" if maps else f"--calibrate-with {calibrate_with}"
        raise InputError(f"{option}: {exported.title} has no salient space, in which alone this is defined")
    people = read_people(participants, pattern, exported.model.covariates, exported.volumes.tiv_column)
    control = None if calibrate_with is None else marked(people, calibrate_with)
    if control is not None and people.rows["site"].isna().any():
        raise InputError(f"{participants}: column 'site': --calibrate-with needs the site of each participant")
    seen = [exported.seen.side_of_person(name) for name in people.rows["participant_id"]]
    refuse_seen(people.rows, seen, "id", allow_seen)
    looked = look_and_represent(exported, people.rows)
    seen = [
        by_id or exported.seen.side_of_volume(checksum) for by_id, checksum in zip(seen, looked.checksums, strict=True)
    ]
    refuse_seen(people.rows, seen, "volume", allow_seen)
    applied = apply_model(exported, people, looked, seen, control)
    for note in applied.notes:
        logger.warning(note)
    _remove_earlier(output)
    for name, table in applied.tables.items():
        _write_table(output / f"{name}.tsv", table, applied.columns[name], exported, applied.notes)
    if maps and applied.salient is not None:
        _write_maps(output, exported, people.rows, applied)
    logger.info(f"{counted(len(people.rows), 'scan')} represented by {exported.title}; tables are in {output}")


def look_and_represent(exported: ExportedModel, rows: pd.DataFrame) -> Looked:
    """Reads the volumes of some scans, a few in memory at a time, checks and represents them.

    Args:
        rows: ``scan_id volume`` and covariates, a row a scan.

    Raises:
        InputError: with every volume that cannot be read, is not on the model's grid, or does not fit its mask.
    """
    settings = exported.volumes
    scans = [(scan, path, tiv) for scan, path, tiv in scans_of(rows, settings) if path is not None]
    problems: list[str] = []
    for scan, path, _ in scans:
        try:
            found = final_affine(canonical_header(path, settings)[1], settings)
            if not same_grid(found, exported.affine, settings.shape):
                raise InputError(
                    f"{path}: has {describe(found)} after crop and pad, but the model's grid has "
                    f"{describe(exported.affine)}; bring the volume to the training volumes' voxels (the card has them)"
                )
        except InputError as error:
            problems.append(volume_fault(scan, path, str(error)).after(f"{scan}: "))
    if problems:
        raise InputError(problems)
    statistics: list[dict[str, float]] = []
    checksums: list[str] = []
    sizes = [float(size) for size in voxel_sizes(exported.affine)]
    on_cpu = exported.standardisation

    def read(scan: str, path: Path, tiv: float | None) -> NDArray[np.float16]:
        try:
            volume, _ = load_volume(path, settings, tiv)
            of_volume = statistics_of(volume, on_cpu, sizes)
            if not covers_mask(of_volume["covered"], exported.training_volumes):
                raise InputError(
                    f"{path}: has grey matter in {of_volume['covered']:.0%} of the model's mask, training volumes in "
                    f"{exported.training_volumes['covered']['mean']:.0%}; is it a whole grey-matter map in MNI space?"
                )
        except InputError as error:
            problems.append(volume_fault(scan, path, str(error)).after(f"{scan}: "))
            return np.zeros(settings.shape, dtype=np.float16)
        statistics.append(of_volume)
        # As the run keeps volumes: torch rounds to float16 as it does there.
        return torch.from_numpy(volume).half().numpy()

    def parts() -> Iterator[Tensor]:
        for part in parts_in_memory(len(scans), settings.shape):
            volumes = [read(*scan) for scan in scans[part]]
            checksums.extend(voxels_sha256(volume) for volume in volumes)
            yield torch.from_numpy(np.stack(volumes)[:, None])

    covariates = exported.model.covariates.code(rows)
    spaces = represent_volumes(exported.model.method, parts(), exported.standardisation, covariates)
    if problems:
        raise InputError(problems)
    refuse_twins([scan for scan, *_ in scans], checksums, "their voxels are identical")
    of_all = pd.DataFrame(statistics, columns=list(STATISTICS))
    return Looked({space: values.astype(np.float64) for space, values in spaces.items()}, of_all, checksums)


def apply_model(
    exported: ExportedModel,
    people: NewPeople,
    looked: Looked,
    seen: Sequence[str | None],
    control: NDArray[np.bool_] | None = None,
) -> Application:
    """Tables of new participants, from their representations. Reads and writes nothing.

    Args:
        exported: the model.
        people: of N scans.
        looked: their volumes' representations and statistics.
        seen: side of the run on which each participant was, [N]; None for new ones.
        control: which scans are of controls that calibrate their site, [N]; None without calibration.
    """
    rows = people.rows
    words = [SIDES[side] if side else NEW for side in seen]
    keys = rows[["scan_id", "participant_id", "site"]].assign(seen=words)
    tables: dict[str, pd.DataFrame] = {}
    odd = unlike(looked.statistics, exported.training_volumes)
    notes = [*notes_on_people(exported, rows, seen), *notes_on_volumes(exported, rows, looked.statistics, odd)]
    spaces, reference = dict(looked.spaces), exported.controls
    if reference is not None and control is not None:
        sites, names = (rows[column].to_numpy(str) for column in ("site", "participant_id"))
        spaces["salient"], shifts = calibrate(spaces["salient"], sites, names, control, reference)
        tables["calibration"] = shifts
        notes += [note_on_calibration(row) for row in shifts.to_dict("records")]
    codes = {f"{space}_{k}": column for space, values in spaces.items() for k, column in enumerate(values.T)}
    tables["representations"] = pd.concat([keys, pd.DataFrame(codes)], axis=1)
    if reference is not None:
        distance = distances_from(reference.centre, spaces["salient"])
        tables["distances"] = keys.assign(distance=distance, percentile=percentiles(distance, reference.distances))
        if control is not None:
            tables["distances"]["calibrates"] = np.where(control, "yes", "no")
    predictions = [
        pd.concat(
            [keys.assign(target=probe.target, space=probe.space), probe.predict(spaces[probe.space])],
            axis=1,
        )
        for probe in exported.probes
    ]
    if predictions:
        tables["predictions"] = pd.concat(predictions, ignore_index=True)
    named = [", ".join(name for name in STATISTICS if row[name]) or "none" for row in odd.to_dict("records")]
    tables["volumes"] = pd.concat([keys, looked.statistics], axis=1).assign(unlike_training=named)
    columns = {name: described(name, table, exported, control is not None) for name, table in tables.items()}
    return Application(tables, columns, notes, spaces.get("salient"))


# --- files -------------------------------------------------------------------------------------------------------


def _remove_earlier(output: Path) -> None:
    """Removes tables and maps of an earlier call: with other options or people they would seem to belong to this one.

    Of ``maps/`` it takes the files that ``maps.tsv`` lists, and leaves any other.
    """
    listed = output / "maps.tsv"
    if listed.is_file():
        for file in read_tsv(listed, text=("file",)).get("file", pd.Series(dtype=str)).dropna():
            if Path(file).parent == Path("maps") and file.endswith(".nii.gz"):
                (output / file).unlink(missing_ok=True)
    for name in TABLES:
        for suffix in (".tsv", ".json"):
            (output / f"{name}{suffix}").unlink(missing_ok=True)


def _write_table(
    path: Path, table: pd.DataFrame, columns: dict[str, Any], exported: ExportedModel, notes: Sequence[str]
) -> None:
    write_tsv(path, table)
    about = {
        "Title": exported.card["title"],
        "ClinicalUse": exported.card["clinical_use"],
        "Data": exported.card["data"],
        "Method": exported.card["method"]["name"],
        "Fold": exported.card["method"]["fold"],
        "Weights": exported.model.metadata["sha256"],
    }
    content = {**columns, "Model": about, "GeneratedBy": {"Name": "sepclr_neuro", "Version": __version__}}
    write_json(path.with_suffix(".json"), content | {"Notes": list(notes)})


def _write_maps(output: Path, exported: ExportedModel, rows: pd.DataFrame, applied: Application) -> None:
    """A map of each scan: the pattern of each salient dimension, weighted by the code beyond the controls' mean."""
    if exported.patterns is None or exported.controls is None or applied.salient is None:
        return
    beyond, patterns = applied.salient - exported.controls.centre, exported.patterns
    files = [f"maps/{scan}.nii.gz" for scan in rows["scan_id"]]
    largest = [float(np.abs(np.tensordot(code, patterns, axes=1)).max()) for code in beyond]
    table = applied.tables["distances"][_KEYS].assign(file=files, largest=largest)
    columns = {name: applied.columns["distances"][name] for name in _KEYS}
    columns["file"] = {
        "Description": "Grey matter that the salient code stands for, less that of the mean training control, by the "
        "forward model of the training participants. No test: it shows noise as well as disease.",
        "Units": "SD of the voxel in training participants, where volumes are standardised by voxel",
    }
    columns["largest"] = {"Description": "Largest absolute value of the map.", "Units": "as the map"}
    # The table first: it lists what the next call removes, also after an interruption.
    _write_table(output / "maps.tsv", table, columns, exported, applied.notes)
    for file, code in zip(files, beyond, strict=True):
        save_image(output / file, np.tensordot(code, patterns, axes=1), exported.affine)
