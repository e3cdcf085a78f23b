"""How many controls of a new site are needed: the error of the salient origin with and without calibration.

    python -m benchmarks.site_calibration

Codes are normal, with 8 dimensions of variance 1; the run has 30 controls. The mean code of a new site differs from
the run's in a random direction, by an offset in SDs of a control's code (the root of the variance summed over
dimensions, as the column `distance` of calibration.tsv). The error is the squared distance between the mean of the
run's controls and where the site's true mean lies after calibration, in units of that summed variance, averaged over
draws of the run's and the site's controls. It takes seconds.
"""

from __future__ import annotations

import numpy as np

from sepclr_neuro.apply.calibration import site_shift
from sepclr_neuro.apply.controls import Controls

__all__ = ["errors", "table"]

DIM, REFERENCE, DRAWS = 8, 30, 4000
OFFSETS, CONTROLS = (0.18, 0.7), (1, 3, 5, 10)


def errors(offset: float, controls: int, draws: int = DRAWS) -> tuple[float, float]:
    """Mean squared errors of the origin, without and with calibration by 1 to 10 controls of the site."""
    rng = np.random.default_rng(0)
    without, calibrated = [], []
    for _ in range(draws):
        codes = rng.normal(size=(REFERENCE, DIM))
        reference = Controls.of(codes, codes)
        direction = rng.normal(size=DIM)
        mean = offset * np.sqrt(DIM) * direction / np.linalg.norm(direction)
        shift, _ = site_shift(mean + rng.normal(size=(max(CONTROLS), DIM))[:controls], reference)
        without.append(np.square(mean - reference.mean).sum() / DIM)
        calibrated.append(np.square(mean - shift - reference.mean).sum() / DIM)
    return float(np.mean(without)), float(np.mean(calibrated))


def table() -> str:
    """The errors as a table of docs/apply.md."""
    lines = ["| controls of the site | " + " | ".join(f"offset {offset:g} SD" for offset in OFFSETS) + " |"]
    lines.append("|---" * (1 + len(OFFSETS)) + "|")
    for controls in CONTROLS:
        pairs = [errors(offset, controls) for offset in OFFSETS]
        cells = [f"{without:.2f} → {calibrated:.2f}" for without, calibrated in pairs]
        lines.append(f"| {controls} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
