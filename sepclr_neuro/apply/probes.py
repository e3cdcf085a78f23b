r"""The run's linear probes on new participants, with what held-out participants say of their error.

The intervals are split conformal ones: for a number, prediction :math:`\pm q`, with q the
:math:`\lceil (n + 1) L \rceil`-th smallest absolute error of the n held-out participants; for two classes, the classes
that cannot be excluded, those c with

.. math:: p_c = (1 + \#\{i \text{ of class } c : a_i \le a\}) / (n_c + 1) > 1 - L ,

a the log-odds towards c. Whatever the distribution, the truth is in them with probability L or more, of participants
who are drawn as the held-out ones were. A new site is not, and its intervals are too short where the probe is worse
there.

Source: Lei et al. 2018, https://doi.org/10.1080/01621459.2017.1307116; by class, Vovk 2013,
https://doi.org/10.1007/s10994-013-5355-6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.probing.probe_fits import LinearModel

__all__ = ["LEVEL", "ExportedProbe", "half_width", "p_of_class"]

Matrix = NDArray[np.float64]

LEVEL = 0.9
"""Of intervals. 90 %: nine held-out participants are enough for one, where 95 % needs nineteen."""


@dataclass(frozen=True)
class ExportedProbe:
    """One probe of a fold.

    Attributes:
        target: the column that it predicts.
        space: of the codes that it reads.
        weights: on the codes as they are, [d].
        intercept: beside them.
        classes: the negative and the positive one; empty for a number.
        held_out: sorted errors of held-out participants: absolute ones under ``""``; of classes, by class, the log-odds
            towards it of those who are of it.
    """

    target: str
    space: str
    weights: Matrix
    intercept: float
    classes: tuple[str, ...]
    held_out: Mapping[str, Matrix]

    @classmethod
    def of(cls, function: Mapping[str, Any], predictions: pd.DataFrame) -> ExportedProbe:
        """From an entry of ``coefficients.json``, and the rows of ``predictions.tsv`` of the same probe."""
        classes = tuple(function["classes"])
        held_out = {}
        for number, name in enumerate(classes):
            towards = predictions.loc[predictions["truth"] == name, "score"].to_numpy(float)
            held_out[name] = np.sort(towards if number else -towards)
        if not classes:
            truth, predicted = (predictions[name].to_numpy(float) for name in ("truth", "prediction"))
            held_out[""] = np.sort(np.abs(truth - predicted))
        weights = np.array(function["weights"], float)
        return cls(function["target"], function["space"], weights, float(function["intercept"]), classes, held_out)

    def predict(self, codes: Matrix) -> pd.DataFrame:
        """Predictions of N codes [N, d]: ``prediction`` (text) ``low high score possible``, a row each.

        ``low`` and ``high`` are of numbers, ``score`` (log-odds of the second class) and ``possible`` (the classes that
        are not excluded) of classes, and missing otherwise.
        """
        model = LinearModel(self.weights, self.intercept, bool(self.classes))
        score = model.decision_function(codes)
        unknown = np.full(len(codes), np.nan)
        if not self.classes:
            half = half_width(self.held_out[""])
            numbers = [f"{value:.6g}" for value in score]
            table = pd.DataFrame({"prediction": numbers, "low": score - half, "high": score + half, "score": unknown})
            return table.assign(possible=pd.Series(np.nan, index=table.index, dtype="str"))
        towards = {name: score if number else -score for number, name in enumerate(self.classes)}
        inside = {name: p_of_class(of, self.held_out[name]) > 1 - LEVEL + 1e-12 for name, of in towards.items()}
        possible = [" or ".join(name for name in self.classes if inside[name][row]) for row in range(len(codes))]
        predicted = [self.classes[number] for number in model.predict(codes)]
        table = pd.DataFrame({"prediction": predicted, "low": unknown, "high": unknown, "score": score})
        return table.assign(possible=[text or "neither" for text in possible])

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "space": self.space,
            "weights": self.weights.tolist(),
            "intercept": self.intercept,
            "classes": list(self.classes),
            "held_out": {name: values.tolist() for name, values in self.held_out.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ExportedProbe:
        held_out = {name: np.array(values, float) for name, values in content["held_out"].items()}
        weights, classes = np.array(content["weights"], float), tuple(content["classes"])
        return cls(content["target"], content["space"], weights, float(content["intercept"]), classes, held_out)


def half_width(errors: Sequence[float] | Matrix) -> float:
    """Half of the interval of a number, from n absolute errors; NaN where n is too small for any.

    >>> half_width(range(1, 20)), half_width(range(1, 9))
    (18.0, nan)
    """
    ordered = np.sort(np.asarray(errors, float))
    rank = math.ceil((len(ordered) + 1) * LEVEL - 1e-9)
    return float(ordered[rank - 1]) if 0 < rank <= len(ordered) else math.nan


def p_of_class(towards: Matrix, held_out: Matrix) -> Matrix:
    """p [N] that a participant is of a class, from log-odds towards it: of each [N], of n held-out ones of the class.

    >>> p_of_class(np.array([-5.0, 0.0, 9.0]), np.array([-1.0, 0.0, 1.0])).tolist()
    [0.25, 0.75, 1.0]
    """
    return (1 + np.searchsorted(np.sort(held_out), towards, side="right")) / (len(held_out) + 1)
