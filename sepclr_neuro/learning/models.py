"""Trained models on disk: weights as safetensors and everything else as JSON, so that loading one runs no code in it.

This is a module apart from `training` so that stages which only use models need not import the training loop, which
takes seconds.
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

__all__ = ["TrainedModel", "build_method", "describe_networks", "load_model", "write_model", "write_weights"]


@dataclass(frozen=True)
class TrainedModel:
    """A method with its weights, in evaluation mode, and a record of its training.

    Attributes:
        method: with its final weights.
        metadata: model.json: method (its name in the run), registered_method, fold, ``train_scan_ids``, settings, seed,
            versions, precision, epochs, seconds, losses (names of its terms), networks
            (:func:`describe_networks`); for gradient methods also batch_size, the actual number of participants per
            batch, and views.
    """

    method: Method
    metadata: dict[str, Any]

    @property
    def spaces(self) -> tuple[str, ...]:
        return self.method.spaces

    @property
    def covariates(self) -> CovariateCoding:
        """Coding of the covariates that the salient space is adjusted for, as learned in training."""
        return CovariateCoding.from_json(self.metadata["covariates"])

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Representations of standardised volumes [B, C, *spatial], one [B, d] per space; differentiable."""
        return self.method.represent(volumes, covariates)

    def refuse_trained_on(self, scan_ids: Collection[str]) -> None:
        """Guards against leakage: raises an error if any of these scans was a training scan.

        Args:
            scan_ids: of held-out scans.

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
    """Reads a trained model, after checking the checksum of its weights.

    Raises:
        InputError: if the model is absent, its weights have changed since they were written, or model.json does not
            describe them.
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
    """An untrained method as configured, for inputs of this shape (channels, then voxels along each axis)."""
    configured = config.for_method(name)
    return configured.entry.load()(configured.settings, configured.network, input_shape)


def describe_networks(method: Method) -> dict[str, dict[str, Any]]:
    """Class and number of weights of each network of a method, by name."""
    return {
        name: {"class": type(network).__name__, "weights": weights}
        for name, network in method.named_children()
        if (weights := sum(parameter.numel() for parameter in network.parameters()))
    }


def write_model(folder: Path, method: Method, history: pd.DataFrame, metadata: dict[str, Any]) -> None:
    """Writes model.safetensors, history.tsv and, last, model.json, which marks the model as complete."""
    write_tsv(folder / "history.tsv", history)
    write_weights(folder, method, metadata)


def write_weights(folder: Path, method: Method, metadata: dict[str, Any]) -> None:
    """Writes model.safetensors and, last, model.json, as :func:`load_model` reads them."""
    weights = {key: value.detach().cpu().contiguous() for key, value in method.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(weights))
    write_json(folder / "model.json", metadata | {"sha256": sha256(folder / "model.safetensors")})
