"""Whom and what a reader of the tables must know about: participants of the run, odd covariates, odd volumes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from sepclr_neuro.apply.exported import ExportedModel
from sepclr_neuro.apply.likeness import STATISTICS
from sepclr_neuro.core.errors import Alike, InputError
from sepclr_neuro.core.words import counted

__all__ = ["note_on_calibration", "notes_on_people", "notes_on_volumes", "refuse_seen"]

_FAR = 4.0  # SDs of a covariate from the training mean, from which on its effect is extrapolated
_ENOUGH = 5  # controls of a site: python -m benchmarks.site_calibration


def refuse_seen(rows: pd.DataFrame, seen: Sequence[str | None], what: str, allow_seen: bool) -> None:
    """Guards against leakage by participants whom model or probes were trained on.

    Args:
        rows: N scans.
        seen: side of the run on which each participant was, [N]; None for new ones.
        what: by which they are recognised, ``id`` or ``volume``.
        allow_seen: whether they are taken all the same.

    Raises:
        InputError: naming each of them.
    """
    names = [name for name, side in zip(rows["participant_id"], seen, strict=True) if side in ("train", "probe")]
    alike = ". If another study only numbers its participants alike, put its name in front of their ids"
    others = alike if what == "id" else ""
    if names and not allow_seen:
        raise InputError(
            [
                Alike(
                    f"leak: participant {name} has the {what} of one that the model or its probes were trained on",
                    name,
                    f"leak by {what}",
                    "Leave such participants out: their codes and predictions look far better than a new participant's "
                    f"would. `--allow-seen` takes them all the same, and marks them in every table{others}",
                )
                for name in dict.fromkeys(names)
            ]
        )


def notes_on_people(exported: ExportedModel, rows: pd.DataFrame, seen: Sequence[str | None]) -> list[str]:
    """Sentences on participants of the run, new labels, and covariates far from those of training."""
    notes = []
    for side, sentence in (
        ("train", "LEAK: {} trained this model; no figure of theirs says anything about new participants"),
        ("probe", "LEAK: {} trained the probes of this model; their predictions say nothing about new participants"),
        ("test", "{} held out in the run: the model is new to them, but intervals and percentiles were made from them"),
    ):
        names = rows["participant_id"][[of == side for of in seen]].unique()
        if len(names):
            was = "" if side != "test" else " was" if len(names) == 1 else " were"
            notes.append(sentence.format(counted(len(names), "participant") + was))
    coding = exported.model.covariates
    notes += [f"{line}, since a new one's effect is not known" for line in coding.lines_on_new_levels(rows)]
    trained = {site for sites in exported.card["training"]["by_group_and_site"].values() for site in sites}
    strange = sorted(set(rows["site"].dropna()) - trained)
    if strange and "site" not in coding.names:
        notes.append(f"no training participant has site {', '.join(strange)}; the model does not adjust for sites")
    deviations = coding.deviations(rows)
    for name in deviations:
        far = deviations[name].abs() > _FAR
        if far.any():
            notes.append(
                f"{name} of {_first(rows.loc[far, 'scan_id'])} is more than {_FAR:g} SD from the training "
                f"participants' mean (up to {deviations[name][far].abs().max():.3g}): another unit? Its effect is "
                "extrapolated"
            )
    return notes


def note_on_calibration(shift: Mapping[Hashable, Any]) -> str:
    """A sentence on a row of the table ``calibration``."""
    if not shift["controls"]:
        return f"site {shift['site']}: not calibrated, since none of its participants is marked as a control"
    few = (
        f". With fewer than {_ENOUGH} controls much of a large offset stays, and a small one may even grow; add "
        "controls of this site where you can"
    )
    return (
        f"site {shift['site']}: {counted(shift['controls'], 'control')} moved the origin of its salient codes by "
        f"{shift['distance']:.2f} SD of controls' codes ({shift['kept']:.0%} of the difference is taken for an "
        f"offset){few if shift['controls'] < _ENOUGH else ''}"
    )


def notes_on_volumes(
    exported: ExportedModel, rows: pd.DataFrame, statistics: pd.DataFrame, odd: pd.DataFrame
) -> list[str]:
    """A sentence on each statistic in which volumes are unlike those of training.

    Args:
        exported: the model.
        rows: N scans.
        statistics: of their volumes, [N, statistics].
        odd: which of these are unlike (:func:`~sepclr_neuro.apply.likeness.unlike`).
    """
    notes = []
    for name, meaning in STATISTICS.items():
        if odd[name].any():
            training, values = exported.training_volumes[name], statistics.loc[odd[name], name]
            what, _, reason = meaning.partition(": ")
            notes.append(
                f"{what}: {_first(rows.loc[odd[name].to_numpy(), 'scan_id'])} unlike training volumes, median "
                f"{values.median():.3g}, there {training['mean']:.3g} ± {training['sd']:.2g} ({reason}?)"
            )
    return notes


def _first(scans: pd.Series) -> str:
    names = scans.tolist()
    return f"{counted(len(names), 'scan')} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
