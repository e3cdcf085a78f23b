"""A trained model on disk: weights as safetensors and everything else as JSON, so that nothing in it can run code.

Apart from `training`, whose loop takes seconds to import: those who only use models need not wait for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, sha256, write_bytes, write_json, write_tsv
from sepclr_neuro.data.covariates import CovariateCoding
from sepclr_neuro.methods.base import Method

__all__ = ["TrainedModel", "build_method", "built_of", "load_model", "write_model"]


@dataclass(frozen=True)
class TrainedModel:
    """A method with its weights, in evaluation mode, that knows whom it was trained on.

    Attributes:
        metadata: model.json: method (its name in the run), registered_method, fold, ``train_scan_ids``, settings, seed,
            versions, precision, epochs, seconds, losses (names of its terms), networks (:func:`built_of`); of a method
            that was trained by gradients also batch_size, the people who really were in a batch, and views.
    """

    method: Method
    metadata: dict[str, Any]

    @property
    def spaces(self) -> tuple[str, ...]:
        return self.method.spaces

    @property
    def covariates(self) -> CovariateCoding:
        """What the salient space is adjusted for, as the training people coded it."""
        return CovariateCoding.from_json(self.metadata["covariates"])

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Representations, one [B, d] a space, of standardised volumes [B, C, *spatial]; differentiable."""
        return self.method.represent(volumes, covariates)

    def refuse_trained_on(self, scan_ids: Collection[str]) -> None:
        """Guards every claim about held-out people.

        Raises:
            InputError: if the model was trained on one of the scans.
        """
        seen = sorted(set(scan_ids) & set(self.metadata["train_scan_ids"]))
        if seen:
            raise InputError(
                f"leak: {len(seen)} scans that are to be held out were trained on by {self.metadata['method']}, "
                f"fold {self.metadata['fold']}, among them {seen[0]}"
            )


def load_model(folder: Path) -> TrainedModel:
    """Reads a trained model, after checking its checksum.

    Raises:
        InputError: if it is absent, its weights are not those that were written, or model.json is not about them.
    """
    if not (folder / "model.json").is_file() or not (folder / "model.safetensors").is_file():
        raise InputError(f"{folder}: no trained model here; run the workflow again to train it")
    metadata = read_json(folder / "model.json")
    try:
        if sha256(folder / "model.safetensors") != metadata["sha256"]:
            raise InputError(f"{folder / 'model.safetensors'}: changed since it was written; delete it and run again")
        config = parse_config(metadata["settings"], str(folder / "model.json"))
        method = build_method(config, metadata["method"], metadata["input_shape"])
        method.load_state_dict(load_file(folder / "model.safetensors"))
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: is no model of this project ({reason}); delete it and run again") from error
    return TrainedModel(method.eval(), metadata)


def build_method(config: Config, name: str, input_shape: list[int]) -> Method:
    """An untrained method, as the configuration sets it, for inputs of this shape (channels, then voxels a side)."""
    configured = config.for_method(name)
    return configured.entry.load()(configured.settings, configured.network, input_shape)


def built_of(method: Method) -> dict[str, dict[str, Any]]:
    """The networks that a method really has: the class and the number of weights of each, by name."""
    return {
        name: {"class": type(network).__name__, "weights": weights}
        for name, network in method.named_children()
        if (weights := sum(parameter.numel() for parameter in network.parameters()))
    }


def write_model(folder: Path, method: Method, history: pd.DataFrame, metadata: dict[str, Any]) -> None:
    """Writes model.safetensors, history.tsv and, last, model.json, without which a model does not count as written."""
    weights = {key: value.detach().cpu().contiguous() for key, value in method.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(weights))
    write_tsv(folder / "history.tsv", history)
    write_json(folder / "model.json", metadata | {"sha256": sha256(folder / "model.safetensors")})
