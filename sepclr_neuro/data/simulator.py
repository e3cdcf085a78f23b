"""The grey matter of simulated participants, and the effect of a known disease on any volume."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepclr_neuro.config.cohort import Cohort
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.simulation import DISEASES, KnownDisease, Simulation
from sepclr_neuro.data.effects import (
    AGE,
    AGE_GLOBAL_LOSS,
    AGE_REGIONAL_LOSS,
    DISEASE,
    NOISE_SD,
    SEX,
    SEX_DIFFERENCE,
    SITE_FWHM,
    SITE_SD,
    VARIATION,
    Array,
    disease_maps,
    grey_template,
    region_map,
    simulated_grid,
)
from sepclr_neuro.data.random_fields import RandomField
from sepclr_neuro.data.simulated_people import AGE_MEAN, TIV_REFERENCE, random_stream

__all__ = ["Disease", "Simulator"]


class Disease:
    """Effects of known diseases, and of a bias that no table records, on the log grey matter of participants.

    Attributes:
        maps: the ground truth, each [X, Y, Z]: the change by a severity of 1 of each kind of symptom, of several
            diseases their mean; of a texture, the SD of the change; of several diseases ``disease_<name>``, the change
            by each, both kinds of symptoms together; and, where there is one, the bias, ``unrecorded``.
    """

    def __init__(self, seed: int, template: Array, affine: NDArray[np.float64], cohort: Cohort) -> None:
        known: KnownDisease = cohort.implant or cohort.simulation or Simulation()
        self._seed, self._kind = seed, known.disease_kind

        def maps_in(regions: str) -> dict[str, Array]:
            return disease_maps(template, affine, known.disease_effect, regions)

        self.maps = maps_in(known.disease_regions)
        self._of_diagnosis: dict[str, dict[str, Array]] = {}
        if cohort.diseases:
            of_disease = {n: maps_in(known.regions_of.get(n, known.disease_regions)) for n in cohort.diseases}
            self.maps = {name: np.mean([maps[name] for maps in of_disease.values()], axis=0) for name in DISEASE}
            for disease, maps in of_disease.items():
                self.maps[f"disease_{disease}"] = np.sum([maps[name] for name in DISEASE], axis=0)
                self._of_diagnosis |= dict.fromkeys(cohort.diseases[disease], maps)
        voxel_mm = float(affine[0, 0])
        self._on_volumes = DISEASES[known.disease_kind].load()().on_volumes(template, voxel_mm)
        if known.unrecorded:
            bias = RandomField(template.shape, voxel_mm, [(SITE_FWHM, SITE_SD * known.unrecorded)])
            self.maps["unrecorded"] = (template > 0) * bias.draw(random_stream(seed, "unrecorded"))

    def change(self, person: dict[str, Any]) -> Array:
        """Of a row of :func:`simulate_people` or :func:`implant_people`, [X, Y, Z]."""
        maps = self._of_diagnosis.get(person["diagnosis"], self.maps)
        change = np.sum([np.float32(person[name]) * maps[name] for name in DISEASE], axis=0)
        if change.any():
            change = self._on_volumes(change, random_stream(self._seed, person["participant_id"], self._kind))
        return change + self.maps["unrecorded"] if person["unrecorded"] else change


class Simulator:
    """Makes the grey matter of simulated participants.

    Attributes:
        affine: of all volumes and maps, [4, 4].
        template: grey matter that participants vary about, [X, Y, Z].
        maps: the ground truth, each [X, Y, Z]: change of log grey matter by a year of ``age``, by being a man rather
            than a woman (``sex``), by having been scanned at ``site-<k>``, and those of :class:`Disease`.
    """

    def __init__(self, config: Config) -> None:
        settings = config.cohort.simulation or Simulation()
        shape, self.affine = simulated_grid(config.volumes)
        voxel_mm = float(self.affine[0, 0])
        self.template = grey_template(shape, self.affine)
        self._brain = (self.template > 0).astype(np.float32)
        self._seed = config.seed
        self._maximum = config.volumes.maximum
        self._variation = RandomField(shape, voxel_mm, VARIATION)

        self._disease = Disease(config.seed, self.template, self.affine, config.cohort)

        bias = RandomField(shape, voxel_mm, [(SITE_FWHM, SITE_SD)])
        age = AGE_REGIONAL_LOSS * region_map(AGE, shape, self.affine) - AGE_GLOBAL_LOSS
        self.maps = dict(self._disease.maps)
        self.maps["age"] = self._brain * age
        self.maps["sex"] = self._brain * SEX_DIFFERENCE * region_map(SEX, shape, self.affine)
        for site in (f"site-{number + 1}" for number in range(settings.sites)):
            self.maps[site] = self._brain * bias.draw(random_stream(config.seed, site))

    def volume(self, person: dict[str, Any]) -> Array:
        """The grey matter of a row of :func:`simulate_people`, [X, Y, Z], 0 outside the brain."""
        random = random_stream(self._seed, person["participant_id"], "anatomy")
        change = self._variation.draw(random) + self._disease.change(person)
        change += math.log(person["tiv"] / TIV_REFERENCE) + self.maps[person["site"]]
        change += (person["age"] - AGE_MEAN) * self.maps["age"]
        change += (0.5 if person["sex"] == "M" else -0.5) * self.maps["sex"]
        noise = NOISE_SD * self._brain * random.standard_normal(self.template.shape, np.float32)
        return np.clip(self.template * np.exp(change) + noise, 0, self._maximum)
