"""Encoders and projectors, for 3D volumes and 2D images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from sepclr_neuro.config import Network

__all__ = ["LightEncoder", "Projector", "build_encoder"]

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


class _PatchStem(nn.Linear):
    """Cuts the input into patches and maps each linearly: [B, C, *spatial] -> [B, width, *(spatial / side)].

    The same as a convolution whose kernel is its stride, but its gradient with respect to the input, which saliency
    maps need, is a matrix product too.
    """

    def __init__(self, in_channels: int, width: int, side: int, axes: int) -> None:
        super().__init__(in_channels * side**axes, width)
        self.side, self.axes = side, axes

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, *spatial = x.shape
        split = [part for size in spatial for part in (size // self.side, self.side)]
        x = x.reshape(batch, channels, *split)
        grid, patch = range(2, 2 + 2 * self.axes, 2), range(3, 3 + 2 * self.axes, 2)
        x = x.permute(0, *grid, 1, *patch).flatten(start_dim=1 + self.axes)
        return super().forward(x).movedim(-1, 1)


class LightEncoder(nn.Module):
    """A small convolutional encoder that a laptop can train on whole volumes.

    A stem cuts the input into patches 4 voxels wide, so that no layer works on the full grid; then one stride-2
    convolution a stage; the last grid is flattened, not averaged, since in registered brains it matters *where*
    something is. GroupNorm keeps a person's representation free of who else is in the batch.

    Args:
        input_shape: channels, then voxels a side, e.g. ``(1, 128, 128, 128)``.
        channels: after the stem and after each stage; all divisible by 8.
        dim: size of the representation.

    Shape: [B, C, *spatial] -> [B, dim].

    >>> LightEncoder((1, 32, 32, 32), [8, 16], dim=5)(torch.zeros(2, 1, 32, 32, 32)).shape
    torch.Size([2, 5])
    """

    def __init__(self, input_shape: Sequence[int], channels: Sequence[int], dim: int) -> None:
        super().__init__()
        convolution = _CONVOLUTION[len(input_shape) - 1]
        layers: list[nn.Module] = []
        before, grid = input_shape[0], list(input_shape[1:])
        for stage, width in enumerate(channels):
            if stage == 0:
                layers.append(_PatchStem(before, width, side=4, axes=len(grid)))
                grid = [size // 4 for size in grid]
            else:
                layers.append(convolution(before, width, kernel_size=3, stride=2, padding=1))
                grid = [math.ceil(size / 2) for size in grid]
            layers += [nn.GroupNorm(8, width), nn.ReLU(inplace=True)]
            before = width
        self.features = nn.Sequential(*layers)
        self.representation = nn.Linear(before * math.prod(grid), dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.representation(self.features(x).flatten(start_dim=1))


def build_encoder(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    """An encoder [B, C, *spatial] -> [B, dim] as the configuration names it."""
    spatial_dims = len(input_shape) - 1
    if network.name == "light":
        return LightEncoder(input_shape, network.channels, dim)
    # MONAI takes seconds to import, which the light network need not wait for.
    from monai.networks.nets import densenet121, resnet18

    if network.name == "resnet18":
        return resnet18(spatial_dims=spatial_dims, n_input_channels=input_shape[0], num_classes=dim)
    return densenet121(spatial_dims=spatial_dims, in_channels=input_shape[0], out_channels=dim)


class Projector(nn.Sequential):
    """From the representation, which probes read, to the head, which losses read: Linear-BatchNorm-ReLU-Linear.

    As released with SepCLR; BatchNorm here sees representations only, never the volumes' grid.

    >>> Projector(5, width=16)(torch.zeros(3, 5)).shape
    torch.Size([3, 5])
    """

    def __init__(self, dim: int, width: int = 128) -> None:
        super().__init__(nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True), nn.Linear(width, dim))
