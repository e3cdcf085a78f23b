"""An encoder, a term between the spaces and an attribution from outside of sepclr_neuro.

network: {name: two-scales}
methods: {sepclr-cross-covariance: {}}
saliency: {attributions: [gradient-times-input]}
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sepclr_neuro.config.encoders import Encoder
from sepclr_neuro.config.methods.terms import Term
from sepclr_neuro.config.network import Network
from sepclr_neuro.maps.attribution import Attribution, Scan, Scores
from sepclr_neuro.methods.independence import Independence
from sepclr_neuro.methods.networks import LinearEncoder


class TwoScales(nn.Module):
    """A linear map of patch means at two scales: [B, C, *spatial] -> [B, dim]."""

    def __init__(self, network: Network, input_shape: Sequence[int], dim: int) -> None:
        super().__init__()
        self.fine = LinearEncoder(input_shape, dim, network.patch)
        self.coarse = LinearEncoder(input_shape, dim, 2 * network.patch)

    def forward(self, volumes: Tensor) -> Tensor:
        return self.fine(volumes) + self.coarse(volumes)


ENCODER = Encoder(
    "Linear, of patch means at two scales",
    "two_scales:TwoScales",
    lambda network: f"a linear map of the means of cubes of {network.patch} and {2 * network.patch} voxels a side",
    last_grid="flattened",
)


class CrossCovariance(Independence):
    """Sum of squared covariances between the spaces: what a linear model of one could predict of the other."""

    def forward(self, common: Tensor, salient: Tensor) -> Tensor:
        common, salient = common - common.mean(dim=0), salient - salient.mean(dim=0)
        return (common.T @ salient / len(common)).square().sum()


TERM = Term("cross-covariance", "two_scales:CrossCovariance", "squared cross-covariance")


def gradient_times_input(scores: Scores, scan: Scan) -> Tensor:
    """How much each voxel adds to a score, if the score were linear: K maps [K, X, Y, Z]."""
    volume = scan.volume.detach().requires_grad_()
    gradients = [torch.autograd.grad(values.sum(), volume, retain_graph=True)[0] for values in scores(volume)]
    return torch.stack([(gradient * scan.volume)[0, 0].double().cpu() for gradient in gradients])


ATTRIBUTION = Attribution(
    "Gradient times input",
    gradient_times_input,
    unit="that a voxel adds",
    in_words=lambda settings, unit: "The gradient at each volume was multiplied by the volume",
)
