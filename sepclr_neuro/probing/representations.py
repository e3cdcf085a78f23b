"""Representations of all scans, as probes and the report read them.

Free of torch on purpose: of the stages that read them, several need nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv

__all__ = ["Representations", "read_representations"]


@dataclass(frozen=True)
class Representations:
    """Representations of all scans by one encoder, with the side of the split on which the encoder saw each.

    Attributes:
        scan_ids: N scans.
        side: N times ``train``, ``probe`` or ``test``.
        spaces: by name, arrays [N, d].
    """

    scan_ids: list[str]
    side: np.ndarray
    spaces: dict[str, np.ndarray]


def read_representations(results: Results, method: str, fold: int) -> Representations:
    """Reads one fold's table.

    Raises:
        InputError: if a scan that is not a training scan was trained on by the encoder.
    """
    table = read_tsv(results.representations(method, fold), text=("scan_id", "side"))
    trained_on = set(read_json(results.model_folder(method, fold) / "model.json")["train_scan_ids"])
    leaked = table.loc[(table["side"] != "train") & table["scan_id"].isin(trained_on), "scan_id"]
    if len(leaked):
        raise InputError(
            f"leak: {results.representations(method, fold)} calls {leaked.iloc[0]} held-out, but the encoder was "
            f"trained on that scan ({len(leaked)} such scans)"
        )
    spaces = list(dict.fromkeys(column.rsplit("_", 1)[0] for column in table.columns[2:]))
    arrays = {
        space: table[[c for c in table.columns[2:] if c.rsplit("_", 1)[0] == space]].to_numpy(float) for space in spaces
    }
    return Representations(table["scan_id"].tolist(), table["side"].to_numpy(str), arrays)
