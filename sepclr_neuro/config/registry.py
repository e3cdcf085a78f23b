"""The methods that ``config.yaml`` may name: which settings each has, and where it lives.

Free of torch on purpose: the Snakefile reads it at every parse, which must take no time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sepclr_neuro.config.methods.base import MethodSettings
from sepclr_neuro.config.methods.ca_vae import ConVAESettings, CVAESettings, MMcVAESettings, SepVAESettings
from sepclr_neuro.config.methods.controls import (
    CPCASettings,
    PCASettings,
    SimCLRSettings,
    SupervisedSettings,
    VoxelLinearSettings,
)
from sepclr_neuro.config.methods.linear import GCPCASettings, LinearSepCLRSettings, RidgeDiscriminantSettings
from sepclr_neuro.config.methods.sepclr import EstimatedSepCLRSettings, IndependenceTerm, SepCLRSettings

__all__ = ["METHODS", "MethodEntry"]


@dataclass(frozen=True)
class MethodEntry:
    """One method: the class that implements it, as ``module:Class``, and the model of its settings.

    Attributes:
        title: how tables and figures call it.
        options: what sets it apart from other methods of the same class: keyword arguments of the class.
    """

    implementation: str
    settings: type[MethodSettings]
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def describe(self, settings: MethodSettings) -> str:
        """The method with these settings, in sentences for a methods section."""
        return settings.describe(**self.options)

    def load(self) -> Callable[[MethodSettings, Any, Sequence[int]], Any]:
        """Imports the implementation (and torch with it): a function of settings, network and shape of the input."""
        module, name = self.implementation.split(":")
        return partial(getattr(importlib.import_module(module), name), **self.options)


def _sepclr(term: IndependenceTerm, title: str, settings: type[SepCLRSettings] = SepCLRSettings) -> MethodEntry:
    return MethodEntry("sepclr_neuro.methods.sepclr:SepCLR", settings, f"SepCLR, {title}", {"independence": term})


METHODS: dict[str, MethodEntry] = {
    "sepclr-k-jem": _sepclr("k-jem", "k-JEM"),
    "sepclr-no-k-jem": _sepclr("none", "no k-JEM"),
    "sepclr-k-mi": _sepclr("k-mi", "k-MI"),
    "sepclr-mmd": _sepclr("mmd", "MMD"),
    "sepclr-tc": _sepclr("tc", "TC", EstimatedSepCLRSettings),
    "sepclr-vclub-sym": _sepclr("vclub-sym", "vCLUB, both ways", EstimatedSepCLRSettings),
    "sepclr-vclub-c2s": _sepclr("vclub-c2s", "vCLUB, common to salient", EstimatedSepCLRSettings),
    "sepclr-vclub-s2c": _sepclr("vclub-s2c", "vCLUB, salient to common", EstimatedSepCLRSettings),
    "sepclr-vl1o-sym": _sepclr("vl1o-sym", "vL1O, both ways", EstimatedSepCLRSettings),
    "sepclr-vl1o-c2s": _sepclr("vl1o-c2s", "vL1O, common to salient", EstimatedSepCLRSettings),
    "sepclr-vl1o-s2c": _sepclr("vl1o-s2c", "vL1O, salient to common", EstimatedSepCLRSettings),
    "sepclr-vub-sym": _sepclr("vub-sym", "vUB, both ways", EstimatedSepCLRSettings),
    "sepclr-vub-c2s": _sepclr("vub-c2s", "vUB, common to salient", EstimatedSepCLRSettings),
    "sepclr-vub-s2c": _sepclr("vub-s2c", "vUB, salient to common", EstimatedSepCLRSettings),
    "sepclr-dcor": _sepclr("dcor", "distance correlation"),
    "sepclr-linear": MethodEntry("sepclr_neuro.methods.linear:LinearSepCLR", LinearSepCLRSettings, "SepCLR, linear"),
    "ridge-discriminant": MethodEntry(
        "sepclr_neuro.methods.linear:RidgeDiscriminant", RidgeDiscriminantSettings, "Ridge discriminant"
    ),
    "gcpca": MethodEntry(
        "sepclr_neuro.methods.linear:GeneralisedContrastivePCA", GCPCASettings, "Generalised contrastive PCA"
    ),
    "cvae": MethodEntry("sepclr_neuro.methods.ca_vae:CVAE", CVAESettings, "cVAE"),
    "convae": MethodEntry("sepclr_neuro.methods.ca_vae:ConVAE", ConVAESettings, "conVAE"),
    "mm-cvae": MethodEntry("sepclr_neuro.methods.ca_vae:MMcVAE", MMcVAESettings, "MM-cVAE"),
    "sepvae": MethodEntry("sepclr_neuro.methods.ca_vae:SepVAE", SepVAESettings, "SepVAE"),
    "simclr": MethodEntry("sepclr_neuro.methods.controls:SimCLR", SimCLRSettings, "SimCLR"),
    "supervised": MethodEntry("sepclr_neuro.methods.controls:Supervised", SupervisedSettings, "Supervised"),
    "pca": MethodEntry("sepclr_neuro.methods.controls:PCA", PCASettings, "PCA"),
    "cpca": MethodEntry("sepclr_neuro.methods.controls:ContrastivePCA", CPCASettings, "Contrastive PCA"),
    "voxel-linear": MethodEntry("sepclr_neuro.methods.controls:VoxelLinear", VoxelLinearSettings, "Voxel-wise linear"),
}
