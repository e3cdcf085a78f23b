"""Contrastive analysis of brain volumes: what patients share with controls, and what is theirs alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any

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

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """The Python interface, on demand: torch and scikit-learn take seconds to import, which no command waits for in
    vain."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
