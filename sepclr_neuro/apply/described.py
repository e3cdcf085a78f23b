"""What the columns of the tables of new participants mean, as BIDS describes columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sepclr_neuro.apply.exported import ExportedModel
from sepclr_neuro.apply.likeness import STATISTICS
from sepclr_neuro.apply.probes import LEVEL
from sepclr_neuro.apply.seen import NEW, SIDES

__all__ = ["described"]


def described(name: str, table: pd.DataFrame, exported: ExportedModel, calibrated: bool) -> dict[str, Any]:
    """A description of each column of one table.

    Args:
        name: of the table.
        table: its content.
        exported: the model.
        calibrated: whether sites were calibrated.
    """
    reference = exported.controls.in_words() if exported.controls is not None else ""
    after = " After calibration." if calibrated else ""
    percent = f"{LEVEL:.0%}"
    known = {
        "scan_id": "Participant, and session where there are several.",
        "participant_id": "As in the given table.",
        "site": "As in the given table.",
        "seen": f"What the participant was in the run of the model: {NEW}, {', '.join(SIDES.values())}.",
        "distance": "Euclidean distance of the salient code from the training controls' mean code." + after,
        "percentile": f"Percentage of {reference} that are nearer, equal ones counting half.",
        "calibrates": "Whether this control helped to calibrate its site (its own shift is by the others).",
        "target": "What is predicted.",
        "space": "Of the codes that the probe reads." + after,
        "prediction": "Class or number.",
        "low": f"Lower end of the {percent} interval of a number, from the errors of the run's held-out participants.",
        "high": "Upper end.",
        "score": "Log-odds of the second class at equal frequency of both; no probability of a disease.",
        "possible": f"Classes that are not excluded at {percent}, from the scores of the run's held-out participants.",
        "unlike_training": "Statistics that are more than four SDs from the training volumes' mean.",
        "controls": "Controls of the site that calibrate it.",
        "kept": "Share of the difference from the run's controls that was taken for the site's offset (kappa).",
    }
    if name == "calibration":
        known |= {"distance": "Length of the shift, in SDs of controls' salient codes."}
    known |= {statistic: meaning.partition(":")[0].capitalize() + "." for statistic, meaning in STATISTICS.items()}
    found: dict[str, Any] = {}
    for column in map(str, table.columns):
        space, _, number = column.rpartition("_")
        if column in known:
            found[column] = {"Description": known[column]}
        elif space == "shift":
            found[column] = {"Description": f"Taken from dimension {number} of the salient codes of the site."}
        else:
            of = exported.card["training_controls"][space]
            found[column] = {
                "Description": f"Dimension {number} of the {space} space.{after if space == 'salient' else ''}",
                "TrainingControlsMean": of["mean"][int(number)],
                "TrainingControlsSD": of["sd"][int(number)],
            }
    return found
