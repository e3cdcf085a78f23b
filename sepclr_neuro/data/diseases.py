"""Effects of a known disease on patients: the kinds that `disease_kind` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from sepclr_neuro.data.effects import DISEASE, TEXTURE_FWHM, Array
from sepclr_neuro.data.random_fields import RandomField

__all__ = ["OneShift", "Texture", "TwoSigns", "TwoSubtypes"]

Severity = dict[str, float]
"""By the name of a map of ``DISEASE``; 1 is the mean of patients."""


class OneShift:
    """Patients lose grey matter in all regions, each as severely as ill. Other kinds differ in one of its methods."""

    subtypes: ClassVar[bool] = False
    """Whether the subtype of a patient, 1 or 2, means anything, and is part of the truth."""

    def symptoms(self, severity: Severity, subtype: int) -> Severity:
        """The drawn value that a patient's symptoms follow."""
        return severity

    def effect(self, severity: Severity, subtype: int) -> Severity:
        """The value that a patient's grey matter follows."""
        return severity

    def on_volumes(self, template: Array, voxel_mm: float) -> Callable[[Array, np.random.Generator], Array]:
        """A function of a patient's change of log grey matter, [X, Y, Z], and random numbers, to what it becomes."""
        return lambda change, random: change


class TwoSigns(OneShift):
    """Half of the patients gain what others lose, so that groups have one mean."""

    subtypes: ClassVar[bool] = True

    def effect(self, severity: Severity, subtype: int) -> Severity:
        return {name: -value for name, value in severity.items()} if subtype == 2 else severity


class TwoSubtypes(OneShift):
    """Half lose it in the regions of negative, half in those of positive symptoms."""

    subtypes: ClassVar[bool] = True

    def symptoms(self, severity: Severity, subtype: int) -> Severity:
        return severity | {DISEASE[2 - subtype]: 0.0}


class Texture(OneShift):
    """Folds in the regions vary more, at random, so that no linear model of voxels separates the groups."""

    def on_volumes(self, template: Array, voxel_mm: float) -> Callable[[Array, np.random.Generator], Array]:
        field = RandomField(template.shape, voxel_mm, [(TEXTURE_FWHM, 1.0)])
        return lambda change, random: change * field.draw(random)
