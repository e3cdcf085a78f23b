"""Cohorts with known factors: `cohort.simulation` and `cohort.implant` of ``config.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sepclr_neuro.config.section import Fraction, Section

__all__ = ["SYMPTOMS", "DiseaseRegions", "Implant", "Simulation"]

SYMPTOMS = ("sans", "saps")
"""The scores that simulated and implanted patients have."""


DiseaseRegions = Literal["frontal-temporal", "parietal-occipital"]


class Simulation(Section):
    """The embedded cohort: volumes made from nilearn's MNI template with known factors. Every result is *simulated*."""

    participants: int = Field(240, ge=8, description="Patients and controls together.")
    patient_fraction: float = Field(0.5, gt=0, lt=1, description="Share of participants who are patients.")
    sites: int = Field(4, ge=1, le=20, description="Number of sites, each with a bias of its own.")
    site_confounding: Fraction = Field(
        0.3, description="0: patients spread over sites as controls do; 1: strongest link of site and diagnosis."
    )
    disease_effect: float = Field(
        1.0, ge=0, description="Size of the disease: 0.67 is ENIGMA's, 1 about one and a half times it, 0 no disease."
    )
    disease_regions: DiseaseRegions = Field("frontal-temporal", description="Where the disease acts.")


class Implant(Section):
    """A disease pattern implanted into real volumes, the target group drawn at random. Results are *implanted*."""

    patient_fraction: float = Field(0.5, gt=0, lt=1, description="Share of people who are given the disease.")
    site_confounding: Fraction = Field(0.0, description="As for the simulation.")
    disease_effect: float = Field(
        1.0, ge=0, description="Size of the disease: 0.67 is ENIGMA's, 1 about one and a half times it, 0 no disease."
    )
    disease_regions: DiseaseRegions = Field("frontal-temporal", description="Where the disease acts.")
