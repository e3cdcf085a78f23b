"""A trained model in a folder of its own: all that new participants need, numbers alone, and nothing that runs.

Weights are safetensors, maps NIfTI, the rest JSON; ``card.json`` has the checksum of each other file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray

from sepclr_neuro import __version__
from sepclr_neuro.apply.controls import Controls
from sepclr_neuro.apply.probes import ExportedProbe
from sepclr_neuro.apply.seen import Seen
from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, sha256, write_json, write_text
from sepclr_neuro.data.grid import describe, same_grid
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.models import TrainedModel, load_model, write_weights
from sepclr_neuro.maps.mapping import save_image

__all__ = ["ExportedModel", "load_exported", "write_exported"]

FORMAT = 1
"""Of the folder; raised whenever an earlier version could not read it."""

_CARD, _PATTERNS = "card.json", "patterns.nii.gz"
_MAPS = {"mean": "mean.nii.gz", "sd": "sd.nii.gz", "mask": "mask.nii.gz"}
_ALWAYS = ("model.safetensors", "model.json", "probes.json", "participants.json", *_MAPS.values())
_WITH_SALIENT_SPACE = ("controls.json", _PATTERNS)


@dataclass(frozen=True)
class ExportedModel:
    """A model of one fold, as it leaves the run.

    Attributes:
        model: method, weights, and of its metadata what describes the model and nobody it was trained on.
        volumes: how a volume is brought to the grid.
        affine: of the grid, voxel indices to MNI mm, (4, 4).
        standardisation: of the fold, without scan ids.
        probes: of the fold, linear ones.
        controls: in the salient space; None for a method without one.
        patterns: how voxels change with each salient dimension, in units of the standardised volume, float32
            [d, X, Y, Z]; None likewise.
        training_volumes: :func:`~sepclr_neuro.apply.likeness.summary` of the training volumes.
        seen: participants of the run, hashed.
        card: the rest of ``card.json``, for readers (:func:`~sepclr_neuro.apply.card.card_of`).
    """

    model: TrainedModel
    volumes: Volumes
    affine: NDArray[np.float64]
    standardisation: Standardisation
    probes: tuple[ExportedProbe, ...]
    controls: Controls | None
    patterns: NDArray[np.float32] | None
    training_volumes: Mapping[str, Mapping[str, float | None]]
    seen: Seen
    card: Mapping[str, Any]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.model.metadata['method']}, fold {self.model.metadata['fold']}"


def write_exported(folder: Path, exported: ExportedModel, readme: str) -> None:
    """Writes an exported model; ``card.json`` comes last and marks it as complete.

    Raises:
        InputError: if the folder holds something else than an exported model.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / _CARD).is_file())):
        raise InputError(f"{folder}: is there, and no exported model; name another folder")
    for file in (_CARD, "README.md", *_ALWAYS, *_WITH_SALIENT_SPACE):  # the card first: without it nothing is loaded
        (folder / file).unlink(missing_ok=True)
    write_weights(folder, exported.model.method, exported.model.metadata)
    write_json(folder / "probes.json", [probe.to_json() for probe in exported.probes])
    write_json(folder / "participants.json", exported.seen.to_json())
    for name, file in _MAPS.items():
        values = getattr(exported.standardisation, name).numpy().astype(np.float32)
        save_image(folder / file, values, exported.affine)
    files = [*_ALWAYS]
    if exported.controls is not None and exported.patterns is not None:
        write_json(folder / "controls.json", exported.controls.to_json())
        save_image(folder / _PATTERNS, np.moveaxis(exported.patterns, 0, -1), exported.affine)
        files += _WITH_SALIENT_SPACE
    content = {
        "format": FORMAT,
        **exported.card,
        "volumes": {
            "settings": exported.volumes.model_dump(mode="json"),
            "affine": exported.affine.tolist(),
            "training": exported.training_volumes,
        },
        "sha256": {file: sha256(folder / file) for file in files},
    }
    write_text(folder / "README.md", readme)
    write_json(folder / _CARD, content)


def load_exported(folder: Path) -> ExportedModel:
    """Reads an exported model.

    Raises:
        InputError: if it is none, of a newer version, or a file is missing or not as it was written.
    """
    path = folder / _CARD
    if not path.is_file():
        raise InputError(f"{folder}: no exported model here ({_CARD} is missing); `sepclr-neuro export` makes one")
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise InputError(
                f"{path}: has the format {content['format']}, and sepclr_neuro {__version__} reads {FORMAT}; "
                f"install the version that wrote it ({content['versions']['sepclr_neuro']})"
            )
        for file, expected in content["sha256"].items():
            if not (folder / file).is_file():
                raise InputError(f"{folder / file}: is missing; copy the whole folder again")
            if sha256(folder / file) != expected:
                raise InputError(f"{folder / file}: changed since it was exported; copy the folder or export it again")
        of_volumes = content["volumes"]
        settings = parse_config({"volumes": of_volumes["settings"]}, str(path)).volumes
        affine = np.array(of_volumes["affine"], dtype=np.float64)
        maps = {name: _read_map(folder / file, settings, affine) for name, file in _MAPS.items()}
        has_controls = "controls.json" in content["sha256"]
        card = {key: value for key, value in content.items() if key not in ("format", "volumes", "sha256")}
        model = load_model(folder)
        if tuple(model.metadata["input_shape"][1:]) != settings.shape:
            raise InputError(f"{folder}: the weights are for another grid than the maps; export the model again")
        return ExportedModel(
            model,
            settings,
            affine,
            Standardisation(
                torch.from_numpy(maps["mean"]), torch.from_numpy(maps["sd"]), torch.from_numpy(maps["mask"] > 0.5), ()
            ),
            tuple(ExportedProbe.from_json(probe) for probe in read_json(folder / "probes.json")),
            Controls.from_json(read_json(folder / "controls.json")) if has_controls else None,
            np.moveaxis(_read_map(folder / _PATTERNS, settings, affine), -1, 0) if has_controls else None,
            of_volumes["training"],
            Seen.from_json(read_json(folder / "participants.json")),
            card,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: is no exported model of this project ({error!r}); export it again") from error


def _read_map(path: Path, settings: Volumes, affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """A map on the model's grid, [X, Y, Z] or with dimensions last.

    Raises:
        InputError: if it lies on another grid.
    """
    image = nibabel.Nifti1Image.from_filename(path)
    if image.shape[:3] != settings.shape or not same_grid(np.asarray(image.affine), affine, settings.shape):
        sides = [" x ".join(map(str, shape)) for shape in (image.shape[:3], settings.shape)]
        raise InputError(
            f"{path}: has {sides[0]} {describe(np.asarray(image.affine))}, but the model's grid is {sides[1]} "
            f"{describe(affine)}; export the model again"
        )
    return np.ascontiguousarray(image.get_fdata(dtype=np.float32))
