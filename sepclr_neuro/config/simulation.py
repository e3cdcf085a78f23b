"""Cohorts with known factors: `cohort.simulation` and `cohort.implant` of ``config.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sepclr_neuro.config.names import NameOf
from sepclr_neuro.config.section import Fraction, Section
from sepclr_neuro.core.registry import LateEntry, Registry

__all__ = ["DISEASES", "SYMPTOMS", "DiseaseRegions", "Implant", "KnownDisease", "Simulation"]

SYMPTOMS = ("sans", "saps")
"""The scores that simulated and implanted patients have."""


DiseaseRegions = Literal["frontal-temporal", "parietal-occipital", "frontal-occipital", "parietal-temporal"]

DISEASES: Registry[LateEntry] = Registry(
    "diseases",
    {
        "one-shift": LateEntry("Less grey matter in all patients", "sepclr_neuro.data.diseases:OneShift"),
        "two-signs": LateEntry("Less in half of them, more in the others", "sepclr_neuro.data.diseases:TwoSigns"),
        "two-subtypes": LateEntry("Of either kind of symptoms alone", "sepclr_neuro.data.diseases:TwoSubtypes"),
        "texture": LateEntry("Folds that vary more", "sepclr_neuro.data.diseases:Texture"),
    },
)
"""Implementations are called without arguments and give a :class:`~sepclr_neuro.data.diseases.OneShift` or a kind of
it."""


class KnownDisease(Section):
    """Known properties of a disease that was put into volumes."""

    patient_fraction: float = Field(0.5, gt=0, lt=1, description="Share of participants who have the disease.")
    site_confounding: Fraction = Field(
        0.3, description="0: patients spread over sites as controls do; 1: strongest link of site and diagnosis."
    )
    disease_effect: float = Field(
        1.0, ge=0, description="Size of the disease: 0.67 is ENIGMA's, 1 about one and a half times it, 0 no disease."
    )
    disease_regions: DiseaseRegions = Field(
        "frontal-temporal",
        description="Where the disease acts: regions of negative, then those of positive symptoms.",
    )
    regions_of: dict[str, DiseaseRegions] = Field(
        {},
        description="Of several diseases (`cohort.diseases`), where each acts; a part that two have in common is "
        "shared. One that is not listed acts in `disease_regions`.",
    )
    disease_kind: Annotated[str, NameOf(DISEASES)] = Field(
        "one-shift",
        description="`one-shift`: patients lose grey matter in all regions, each as severely as ill. `two-signs`: half "
        "of them gain it there, so that groups have one mean. `two-subtypes`: half lose it in the regions of negative, "
        "half in those of positive symptoms. `texture`: folds there vary more, at random, so that no linear model of "
        "voxels separates the groups.",
    )
    unrecorded: float = Field(
        0.0,
        ge=0,
        description="Size of a bias that half of the participants have and no table records (scanner software, say): 1 "
        "as large as a site's. More patients have it, as `site_confounding` says.",
    )


class Simulation(KnownDisease):
    """The embedded cohort: volumes made from nilearn's MNI template with known factors. Every result is *simulated*."""

    participants: int = Field(240, ge=8, description="Patients and controls together.")
    sites: int = Field(4, ge=1, le=20, description="Number of sites, each with a bias of its own.")


class Implant(KnownDisease):
    """A disease pattern implanted into real volumes, the target group drawn at random. Results are *implanted*."""

    site_confounding: Fraction = Field(0.0, description="As for the simulation.")
