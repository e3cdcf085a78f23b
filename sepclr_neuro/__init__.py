"""Contrastive analysis of brain volumes: what patients share with controls, and what is theirs alone."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as below, for type checkers and editors
    from sepclr_neuro.data.given_volumes import Volumes
    from sepclr_neuro.estimators import (
        ContrastiveMaps,
        GeneralizedContrastivePCA,
        RidgeDiscriminant,
        SepCLR,
        contrastive_maps,
    )
    from sepclr_neuro.probing.of_arrays import ProbeResult, probe

__version__ = "0.1.0"

_HOMES = {
    "ContrastiveMaps": "sepclr_neuro.estimators",
    "GeneralizedContrastivePCA": "sepclr_neuro.estimators",
    "ProbeResult": "sepclr_neuro.probing.of_arrays",
    "RidgeDiscriminant": "sepclr_neuro.estimators",
    "SepCLR": "sepclr_neuro.estimators",
    "Volumes": "sepclr_neuro.data.given_volumes",
    "contrastive_maps": "sepclr_neuro.estimators",
    "probe": "sepclr_neuro.probing.of_arrays",
}

__all__ = [
    "ContrastiveMaps",
    "GeneralizedContrastivePCA",
    "ProbeResult",
    "RidgeDiscriminant",
    "SepCLR",
    "Volumes",
    "__version__",
    "contrastive_maps",
    "probe",
]


def __getattr__(name: str) -> Any:
    """The Python interface, on demand: torch and scikit-learn take seconds to import, which no command waits for in
    vain."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
