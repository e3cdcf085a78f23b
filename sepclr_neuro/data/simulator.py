"""The grey matter of simulated people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import fft

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.simulation import Simulation
from sepclr_neuro.data.effects import (
    AGE,
    AGE_GLOBAL_LOSS,
    AGE_REGIONAL_LOSS,
    NOISE_SD,
    SEX,
    SEX_DIFFERENCE,
    SITE_FWHM,
    SITE_SD,
    VARIATION,
    Array,
    disease_change,
    disease_maps,
    grey_template,
    region_map,
    simulated_grid,
)
from sepclr_neuro.data.simulated_people import AGE_MEAN, TIV_REFERENCE, random_stream

__all__ = ["Simulator"]


class _RandomField:
    """Gaussian random fields of mean 0: sums of independent ones, each with its own smoothness and SD."""

    def __init__(self, shape: tuple[int, int, int], voxel_mm: float, scales: Sequence[tuple[float, float]]) -> None:
        power = np.zeros((shape[0], shape[1], shape[2] // 2 + 1))
        for fwhm, sd in scales:
            sigma = fwhm / math.sqrt(8 * math.log(2)) / voxel_mm
            full = [np.exp(-((2 * math.pi * sigma * fft.fftfreq(size)) ** 2)) for size in shape]
            x, y, z = full
            # Divided by its mean, so that the variance of the field is sd squared at any voxel size.
            share = sd**2 / np.prod([axis.mean() for axis in full])
            power += share * x[:, None, None] * y[None, :, None] * z[None, None, : power.shape[2]]
        self._shape = shape
        self._amplitude = np.sqrt(power).astype(np.float32)

    def draw(self, random: np.random.Generator) -> Array:
        """One field, [X, Y, Z]."""
        noise = random.standard_normal(self._shape, np.float32)
        return fft.irfftn(fft.rfftn(noise) * self._amplitude, self._shape)


class Simulator:
    """Makes the grey matter of simulated people.

    Attributes:
        affine: of all volumes and maps, [4, 4].
        template: grey matter that people vary about, [X, Y, Z].
        maps: the ground truth, each [X, Y, Z]: change of log grey matter by a year of ``age``, by being a man rather
            than a woman (``sex``), by having been scanned at ``site-<k>``, and by a severity of 1.
    """

    def __init__(self, config: Config) -> None:
        settings = config.cohort.simulation or Simulation()
        shape, self.affine = simulated_grid(config.volumes)
        voxel_mm = float(self.affine[0, 0])
        self.template = grey_template(shape, self.affine)
        self._brain = (self.template > 0).astype(np.float32)
        self._seed = config.seed
        self._maximum = config.volumes.maximum
        self._variation = _RandomField(shape, voxel_mm, VARIATION)

        bias = _RandomField(shape, voxel_mm, [(SITE_FWHM, SITE_SD)])
        age = AGE_REGIONAL_LOSS * region_map(AGE, shape, self.affine) - AGE_GLOBAL_LOSS
        self.maps = disease_maps(self.template, self.affine, settings.disease_effect, settings.disease_regions)
        self.maps["age"] = self._brain * age
        self.maps["sex"] = self._brain * SEX_DIFFERENCE * region_map(SEX, shape, self.affine)
        for site in (f"site-{number + 1}" for number in range(settings.sites)):
            self.maps[site] = self._brain * bias.draw(random_stream(config.seed, site))

    def volume(self, person: dict[str, Any]) -> Array:
        """The grey matter of a row of :func:`simulate_people`, [X, Y, Z], 0 outside the brain."""
        random = random_stream(self._seed, person["participant_id"], "anatomy")
        change = self._variation.draw(random) + disease_change(self.maps, person)
        change += math.log(person["tiv"] / TIV_REFERENCE) + self.maps[person["site"]]
        change += (person["age"] - AGE_MEAN) * self.maps["age"]
        change += (0.5 if person["sex"] == "M" else -0.5) * self.maps["sex"]
        noise = NOISE_SD * self._brain * random.standard_normal(self.template.shape, np.float32)
        return np.clip(self.template * np.exp(change) + noise, 0, self._maximum)
