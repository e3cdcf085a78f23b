"""Methods that are solved at once, as scikit-learn estimators."""

from __future__ import annotations

from typing import Literal

from sepclr_neuro.config.messages import validate
from sepclr_neuro.config.methods.linear import GCPCASettings, RidgeDiscriminantSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.estimators.base import Contrastive, Space
from sepclr_neuro.methods import linear
from sepclr_neuro.methods.base import Method

__all__ = ["GeneralizedContrastivePCA", "RidgeDiscriminant"]


class RidgeDiscriminant(Contrastive):
    """One salient direction, Fisher's discriminant with a ridge.

    Args:
        ridge: in mean variances within groups of an axis.
        erase: whether the common space is left without what the salient code predicts of it.
        space: what :meth:`transform` returns by default.
    """

    def __init__(self, ridge: float = 2.0, erase: bool = True, space: Space = "salient") -> None:
        self.ridge = ridge
        self.erase = erase
        self.space = space

    def _method(self, shape: tuple[int, ...]) -> Method:
        settings = validate(RidgeDiscriminantSettings, {"ridge": self.ridge, "erase": self.erase}, "RidgeDiscriminant")
        return linear.RidgeDiscriminant(settings, Network(), shape)


class GeneralizedContrastivePCA(Contrastive):
    """Directions in which the target group varies most for how much the background group does.

    Args:
        salient_dim: how many.
        ridge: of the background's covariance, in mean variances of an axis.
        about: ``"controls"`` takes the target's moment about the background's mean, ``"own"`` about its own.
        erase: whether the common space is left without what the salient codes predict of it.
        space: what :meth:`transform` returns by default.

    Source: de Oliveira et al., PLoS Computational Biology 2025, https://doi.org/10.1371/journal.pcbi.1012747.
    """

    def __init__(
        self,
        salient_dim: int = 8,
        ridge: float = 4.0,
        about: Literal["controls", "own"] = "controls",
        erase: bool = True,
        space: Space = "salient",
    ) -> None:
        self.salient_dim = salient_dim
        self.ridge = ridge
        self.about = about
        self.erase = erase
        self.space = space

    def _method(self, shape: tuple[int, ...]) -> Method:
        given = {"salient_dim": self.salient_dim, "ridge": self.ridge, "about": self.about, "erase": self.erase}
        settings = validate(GCPCASettings, given, "GeneralizedContrastivePCA")
        return linear.GeneralisedContrastivePCA(settings, Network(), shape)
