"""Contrastive analysis of brain volumes: what patients share with controls, and what is theirs alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = ["GeneralizedContrastivePCA", "RidgeDiscriminant", "SepCLR", "__version__"]


def __getattr__(name: str) -> Any:
    """The estimators, on demand: torch and scikit-learn take seconds to import, which no command waits for in vain."""
    if name in __all__:
        return getattr(import_module("sepclr_neuro.estimators"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
