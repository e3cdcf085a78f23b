r"""The run's controls in the salient space: the distance of a code from them, and its percentile.

The distance is the Euclidean one from the mean code of the training controls, :math:`\|s - \bar s_{training}\|`, as in
the run's ``patterns/<method>/distance.tsv``. Encoders pull the codes of those whom they are trained on together, so
that training controls are nearer to their mean than new controls are. The percentile is therefore among held-out
controls where the fold has :data:`LEAST_HELD_OUT` of them, and among training controls otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_HELD_OUT", "Controls", "distances_from", "percentiles"]

Matrix = NDArray[np.float64]

LEAST_HELD_OUT = 10
"""Held-out controls from which on they are the reference: fewer give percentiles in steps of more than 10."""


@dataclass(frozen=True)
class Controls:
    """Statistics of the controls' salient codes, a participant once; no code of a single participant.

    Attributes:
        centre: mean code of the training controls, [d], from which distances are taken.
        kind: which controls new participants are compared with, ``held-out`` or ``training``.
        mean: mean code of these, [d].
        variance: the sum over dimensions of the variance of their codes about that mean (divisor n - 1).
        distances: of these from the centre, sorted, [n].
    """

    centre: Matrix
    kind: str
    mean: Matrix
    variance: float
    distances: Matrix

    @classmethod
    def of(cls, training: Matrix, held_out: Matrix) -> Controls:
        """From the codes of the training controls, [m, d], and of the held-out ones, [n, d]."""
        centre = training.mean(axis=0)
        kind, codes = ("held-out", held_out) if len(held_out) >= LEAST_HELD_OUT else ("training", training)
        variance = float(codes.var(axis=0, ddof=1).sum()) if len(codes) > 1 else 0.0
        return cls(centre, kind, codes.mean(axis=0), variance, np.sort(distances_from(centre, codes)))

    def in_words(self) -> str:
        """Which controls these are, for messages and tables."""
        inflated = (
            " (whose codes the model has pulled together: percentiles are high)" if self.kind == "training" else ""
        )
        return f"the {len(self.distances)} {self.kind} controls of the run{inflated}"

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name).tolist() for name in ("centre", "mean", "distances")}
        return values | {"kind": self.kind, "variance": self.variance}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Controls:
        centre, mean, distances = (np.array(content[name], float) for name in ("centre", "mean", "distances"))
        return cls(centre, content["kind"], mean, float(content["variance"]), distances)


def distances_from(centre: Matrix, codes: Matrix) -> Matrix:
    """Euclidean distances [N] of codes [N, d] from a point [d]."""
    return np.linalg.norm(codes - centre, axis=1)


def percentiles(distances: Matrix, reference: Matrix) -> Matrix:
    """The percentage of ``reference`` [n] that each distance [N] exceeds, equal ones counting half.

    >>> percentiles(np.array([0.5, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])).tolist()
    [0.0, 37.5, 100.0]
    """
    ordered = np.sort(reference)
    below, up_to = (np.searchsorted(ordered, distances, side) for side in ("left", "right"))
    return 50.0 * (below + up_to) / len(ordered)
