"""What a map is: as a JSON file beside it, and in the NIfTI header, which viewers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import nibabel
import numpy as np

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config

__all__ = ["STATISTICS", "About", "with_header"]

STATISTICS = {
    "t": "t statistic",
    "attribution": "attribution: credit of a voxel for a score",
    "pattern": "pattern: what codes mean in grey matter",
    "truth": "effect that was put in",
}


@dataclass(frozen=True)
class About:
    """Facts about a map of a run.

    Attributes:
        what: the map in one sentence, without a full stop.
        statistic: of ``STATISTICS``.
        unit: of its values.
        target: the variable that it is about.
        people: participants whom it is of; of several folds, those of all folds together or, where folds share
            participants, the mean. None where it is of nobody.
        folds: train-test splits that it is the mean of.
        method: the name in the configuration, and ``title`` in words; empty for a map of no method.
        space: ``common``, ``salient`` or ``single``; empty for a map of no space.
        attribution: by name; empty where voxels were not credited.
        contrast: ``mean`` or ``group`` of a group map; else empty.
        freedom: degrees of it, of a t; of several folds the smallest.
        correction: how a t was tested; empty where it was not.
    """

    what: str
    statistic: Literal["t", "attribution", "pattern", "truth"]
    unit: str
    target: str
    people: int | None = None
    folds: int | None = None
    method: str = ""
    title: str = ""
    space: str = ""
    attribution: str = ""
    contrast: str = ""
    freedom: int | None = None
    correction: str = ""

    def to_json(self, config: Config) -> dict[str, Any]:
        """Keys as BIDS writes them; unknown ones are left out."""
        facts = {
            "Description": f"{self.what}.",
            "Source": config.cohort.kind_said,
            "StatisticType": self.statistic,
            "Statistic": STATISTICS[self.statistic],
            "Units": self.unit,
            "DegreesOfFreedom": self.freedom,
            "Target": self.target,
            "Contrast": self.contrast,
            "Method": self.method,
            "MethodTitle": self.title,
            "Space": self.space,
            "Attribution": self.attribution,
            "Participants": self.people,
            "Folds": self.folds,
            "Threshold": "none",
            "Correction": self.correction or "none: not tested voxel by voxel",
            "SpatialReference": "MNI space, as the volumes were normalised before this software",
            "GeneratedBy": [{"Name": "sepclr_neuro", "Version": __version__}],
        }
        return {key: value for key, value in facts.items() if value not in ("", None)}


def with_header(image: nibabel.Nifti1Image, about: About, config: Config) -> nibabel.Nifti1Image:
    """Says in the header how to show the image: range, kind of statistic, description. Changes it in place.

    ``cal_min`` and ``cal_max`` end where a thousandth of the values is stronger, the same on both sides of 0 for a map
    of both signs. A t has its degrees of freedom, as intent and in the form of SPM (``SPM{T_[20]}``), which viewers
    turn into p.
    """
    header, values = image.header, image.get_fdata(dtype=np.float32)
    strength = np.abs(values[values != 0])
    limit = float(np.quantile(strength, 0.999)) if strength.size else 0.0
    header["cal_max"] = limit
    header["cal_min"] = -limit if (values < 0).any() else 0.0
    said = "" if config.cohort.source == "files" else f"{config.cohort.source.upper()} "
    if about.statistic == "t":
        freedom = about.freedom or 0
        header.set_intent("t test", (freedom,), name="t")
        said = f"SPM{{T_[{freedom:.1f}]}} - {said}"
    else:
        header.set_intent("estimate", name=about.statistic)
    header["descrip"] = _ascii(f"{said}{about.what}", 79)
    return image


def _ascii(text: str, most: int) -> bytes:
    """What fits into a header, which has no other letters."""
    return text.encode("ascii", "replace")[:most]
