"""The methods that ``config.yaml`` may name: which settings each has, and where it lives; and all registries.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.config.methods.base import MethodSettings
from sepclr_neuro.config.methods.ca_vae import ConVAESettings, CVAESettings, MMcVAESettings, SepVAESettings
from sepclr_neuro.config.methods.controls import (
    CPCASettings,
    PCASettings,
    SimCLRSettings,
    SupervisedSettings,
    VoxelLinearSettings,
)
from sepclr_neuro.config.methods.linear import (
    CLVMSettings,
    GCPCASettings,
    LinearSepCLRSettings,
    NormativeSettings,
    RidgeDiscriminantSettings,
)
from sepclr_neuro.config.methods.sepclr import EstimatedSepCLRSettings, SepCLRSettings
from sepclr_neuro.config.methods.terms import TERMS
from sepclr_neuro.config.probes import PROBES
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.config.simulation import DISEASES
from sepclr_neuro.config.standardisation import STANDARDISATIONS
from sepclr_neuro.core.registry import LateEntry, Registry, Source

__all__ = ["METHODS", "REGISTRIES", "MethodEntry"]


@dataclass(frozen=True)
class MethodEntry(LateEntry):
    """One method. Its implementation is called with settings, network, shape of the input and the options.

    Attributes:
        title: how tables and figures call it.
        settings: the model of its settings.
    """

    settings: type[MethodSettings]

    def describe(self, settings: MethodSettings) -> str:
        """The method with these settings, in sentences for a methods section."""
        return settings.describe(**self.options)


def _sepclr(term: str) -> MethodEntry:
    settings = EstimatedSepCLRSettings if TERMS[term].estimated else SepCLRSettings
    title = f"SepCLR, {TERMS[term].title}"
    return MethodEntry(title, "sepclr_neuro.methods.sepclr:SepCLR", settings, options={"independence": term})


class _Methods(Registry[MethodEntry]):
    """SepCLR with each term between the spaces, then all other methods."""

    def sources(self) -> dict[str, Source[MethodEntry]]:
        with_term = [
            (f"sepclr-{'no-k-jem' if term == 'none' else term}", Source(source.package, partial(_sepclr, term)))
            for term, source in TERMS.sources().items()
        ]
        return self.joined([*with_term, *super().sources().items()])


METHODS = _Methods(
    "methods",
    {
        "sepclr-linear": MethodEntry(
            "SepCLR, linear", "sepclr_neuro.methods.linear:LinearSepCLR", LinearSepCLRSettings
        ),
        "ridge-discriminant": MethodEntry(
            "Ridge discriminant", "sepclr_neuro.methods.linear:RidgeDiscriminant", RidgeDiscriminantSettings
        ),
        "gcpca": MethodEntry(
            "Generalised contrastive PCA", "sepclr_neuro.methods.linear:GeneralisedContrastivePCA", GCPCASettings
        ),
        "clvm": MethodEntry(
            "Contrastive latent variable model", "sepclr_neuro.methods.latent:ContrastiveLatentVariables", CLVMSettings
        ),
        "normative": MethodEntry(
            "Normative deviation", "sepclr_neuro.methods.linear:NormativeDeviation", NormativeSettings
        ),
        "cvae": MethodEntry("cVAE", "sepclr_neuro.methods.ca_vae:CVAE", CVAESettings),
        "convae": MethodEntry("conVAE", "sepclr_neuro.methods.ca_vae:ConVAE", ConVAESettings),
        "mm-cvae": MethodEntry("MM-cVAE", "sepclr_neuro.methods.ca_vae:MMcVAE", MMcVAESettings),
        "sepvae": MethodEntry("SepVAE", "sepclr_neuro.methods.ca_vae:SepVAE", SepVAESettings),
        "simclr": MethodEntry("SimCLR", "sepclr_neuro.methods.controls:SimCLR", SimCLRSettings),
        "supervised": MethodEntry("Supervised", "sepclr_neuro.methods.controls:Supervised", SupervisedSettings),
        "pca": MethodEntry("PCA", "sepclr_neuro.methods.controls:PCA", PCASettings),
        "cpca": MethodEntry("Contrastive PCA", "sepclr_neuro.methods.controls:ContrastivePCA", CPCASettings),
        "voxel-linear": MethodEntry(
            "Voxel-wise linear", "sepclr_neuro.methods.controls:VoxelLinear", VoxelLinearSettings
        ),
    },
)

REGISTRIES: Mapping[str, Registry[Any]] = {
    registry.kind: registry for registry in (METHODS, TERMS, ENCODERS, ATTRIBUTIONS, PROBES, STANDARDISATIONS, DISEASES)
}
"""All that can be plugged in."""
