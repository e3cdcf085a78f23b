"""Representations of all scans, as probes and the report read them.

Free of torch on purpose: of the stages that read them, several need nothing of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import Alike, InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.data.splits import Fold, read_fold

__all__ = ["Representations", "Represented", "read_all_spaces", "read_representations", "refuse_leaks"]

Represented = list[tuple[str, Fold, dict[str, pd.DataFrame]]]
"""Each method and fold with its representations [N, d] of each space, by scan id."""


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


def read_representations(path: Path, model: Path) -> Representations:
    """Reads the table of one fold, whose encoder's folder is ``model``.

    Raises:
        InputError: if a scan that is not a training scan was trained on by the encoder.
    """
    table = read_tsv(path, text=("scan_id", "side"))
    trained_on = set(read_json(model / "model.json")["train_scan_ids"])
    leaked = table.loc[(table["side"] != "train") & table["scan_id"].isin(trained_on), "scan_id"]
    if len(leaked):
        raise InputError(
            f"leak: {path} calls {leaked.iloc[0]} held-out, but the encoder was "
            f"trained on that scan ({len(leaked)} such scans)"
        )
    spaces = list(dict.fromkeys(column.rsplit("_", 1)[0] for column in table.columns[2:]))
    arrays = {
        space: table[[c for c in table.columns[2:] if c.rsplit("_", 1)[0] == space]].to_numpy(float) for space in spaces
    }
    return Representations(table["scan_id"].tolist(), table["side"].to_numpy(str), arrays)


def refuse_leaks(
    method: str, fold: Fold, representations: Representations, trained_on: Collection[str], person: Mapping[str, str]
) -> None:
    """Raises unless the sides are the fold's and no held-out participant trained the model, in this scan or another.

    Participants who are kept from the model so that probes can be fitted on them count as held out.

    Args:
        trained_on: scan ids that the model was trained on.
        person: the participant of each scan.

    Raises:
        InputError: naming each scan.
    """
    where = f"{method}, fold {fold.fold}"
    planned = dict.fromkeys(fold.train, "train") | dict.fromkeys(fold.probe, "probe") | dict.fromkeys(fold.test, "test")
    seen = dict(zip(representations.scan_ids, representations.side.tolist(), strict=True))
    problems = [
        Alike(
            f"{where}: scan {scan!r} is on side {planned.get(scan, 'none')} in splits.tsv, but on side "
            f"{seen.get(scan, 'none')} in the representations; run the method again with the present splits.",
            scan,
            "another side",
        )
        for scan in sorted(planned.keys() | seen.keys())
        if planned.get(scan) != seen.get(scan)
    ]
    trained_people = {person.get(scan, scan) for scan in trained_on}
    problems += [
        Alike(
            f"{where}: scan {scan!r} is held out, but the model was trained on this participant; train the fold again.",
            scan,
            "trained on",
        )
        for scan in sorted([*fold.probe, *fold.test])
        if person.get(scan, scan) in trained_people
    ]
    if problems:
        raise InputError(problems)


def read_all_spaces(config: Config, results: Results, person: Mapping[str, str]) -> Represented:
    """Reads every method and fold, refused where they leak or are not finite: the last one is checked in seconds.

    Raises:
        InputError: if a held-out participant was trained on, or a representation is not finite.
    """
    folds = [read_fold(results.splits, results.index, number) for number in range(config.splits.count)]
    found: Represented = []
    for method, fold in product(config.methods, folds):
        model = results.model_folder(method, fold.fold)
        representations = read_representations(results.representations(method, fold.fold), model)
        refuse_leaks(method, fold, representations, read_json(model / "model.json")["train_scan_ids"], person)
        for space, values in representations.spaces.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f"{method}, fold {fold.fold}: the {space} representation has values that are not finite, so the "
                    "training diverged; lower `learning_rate` and train again."
                )
        scans = representations.scan_ids
        found.append((method, fold, {name: pd.DataFrame(x, index=scans) for name, x in representations.spaces.items()}))
    return found
