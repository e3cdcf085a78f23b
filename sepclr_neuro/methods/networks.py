"""Encoders, decoders and projectors, for 3D volumes and 2D images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.config.network import Network
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.registry import load
from sepclr_neuro.methods.layers import GroupNorm, cut_patches, join_patches

__all__ = [
    "Decoder",
    "LightEncoder",
    "LinearDecoder",
    "LinearEncoder",
    "LinearLightEncoder",
    "PatchStem",
    "Projector",
    "StridedEncoder",
    "build_decoder",
    "build_encoder",
]

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_AVERAGE = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

STRIDED_CHANNELS = (32, 64, 128, 256, 512)
_GROUPS = 8


class PatchStem(nn.Linear):
    """Cuts the input into patches and maps each linearly: [B, C, *spatial] -> [B, width, *(spatial / side)].

    Equivalent to a convolution whose kernel size equals its stride, but the gradient with respect to the input, which
    saliency maps need, is a matrix product too.
    """

    def __init__(self, in_channels: int, width: int, side: int, axes: int) -> None:
        super().__init__(in_channels * side**axes, width)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(cut_patches(x, self.side)).movedim(-1, 1)


class LightEncoder(nn.Module):
    """A small convolutional encoder that a laptop can train on whole volumes.

    A stem cuts the input into patches, so that no layer works on the full grid; one stride-2 convolution per stage
    follows. The last feature map is flattened, not averaged, since location matters in registered brains. With
    GroupNorm a participant's representation does not depend on the rest of the batch.

    Args:
        input_shape: channels, then voxels along each axis, e.g. ``(1, 128, 128, 128)``.
        channels: after the stem and after each stage; all divisible by 8.
        dim: number of dimensions of the representation.
        patch: side of the stem's patches, in voxels.
        pooled: whether the last feature map is averaged over space; then inputs may have another size.
        dropout: dropout rate of the last feature map.

    Shape: [B, C, *spatial] -> [B, dim].

    >>> import torch
    >>> LightEncoder((1, 32, 32, 32), [8, 16], dim=5)(torch.zeros(2, 1, 32, 32, 32)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        channels: Sequence[int],
        dim: int,
        patch: int = 4,
        pooled: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        convolution = _CONVOLUTION[len(input_shape) - 1]
        layers: list[nn.Module] = []
        before, grid = input_shape[0], list(input_shape[1:])
        for stage, width in enumerate(channels):
            if stage == 0:
                layers.append(PatchStem(before, width, side=patch, axes=len(grid)))
                grid = [size // patch for size in grid]
            else:
                layers.append(convolution(before, width, kernel_size=3, stride=2, padding=1))
                grid = [math.ceil(size / 2) for size in grid]
            layers += [GroupNorm(_GROUPS, width), nn.ReLU(inplace=True)]
            before = width
        self.features = nn.Sequential(*layers)
        self.pooled = pooled
        self.dropout = nn.Dropout(dropout)
        self.representation = nn.Linear(before * (1 if pooled else math.prod(grid)), dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.representation(self.dropout(_to_vector(self.features(x), self.pooled)))


class StridedEncoder(nn.Module):
    """Five convolutions, kernel 4, stride 2, each with BatchNorm and LeakyReLU 0.2; the last feature map is flattened.

    SepCLR's authors use this network for VBM maps in other published code; that it is also the encoder of the
    variational autoencoders of their schizophrenia experiment is inferred.

    Args:
        input_shape: channels, then voxels along each axis, each at least 32.
        dim: number of dimensions of the representation.
        pooled: whether the last feature map is averaged over space; then inputs may have another size.

    Shape: [B, C, *spatial] -> [B, dim].
    """

    def __init__(self, input_shape: Sequence[int], dim: int, pooled: bool = False) -> None:
        super().__init__()
        axes, grid = len(input_shape) - 1, list(input_shape[1:])
        layers: list[nn.Module] = []
        for before, width in pairwise((input_shape[0], *STRIDED_CHANNELS)):
            layers += [_CONVOLUTION[axes](before, width, kernel_size=4, stride=2, padding=1)]
            layers += [_BATCH_NORM[axes](width), nn.LeakyReLU(0.2, inplace=True)]
            grid = [size // 2 for size in grid]
        self.features = nn.Sequential(*layers)
        self.pooled = pooled
        self.representation = nn.Linear(STRIDED_CHANNELS[-1] * (1 if pooled else math.prod(grid)), dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.representation(_to_vector(self.features(x), self.pooled))


class LinearEncoder(nn.Sequential):
    """A linear map of patch means, which has few enough parameters for a small cohort of registered brains.

    Args:
        input_shape: channels, then voxels along each axis.
        dim: number of dimensions of the representation.
        patch: side of the cubes that are averaged, in voxels.
        dropout: dropout rate of the patch means.

    Shape: [B, C, *spatial] -> [B, dim].
    """

    def __init__(self, input_shape: Sequence[int], dim: int, patch: int = 4, dropout: float = 0.0) -> None:
        grid = [size // patch for size in input_shape[1:]]
        average = _AVERAGE[len(grid)](patch)
        linear = nn.Linear(input_shape[0] * math.prod(grid), dim)
        super().__init__(average, nn.Flatten(), nn.Dropout(dropout), linear)


class LinearLightEncoder(nn.Module):
    """A linear map of patch means plus a light convolutional encoder, which adds what no linear map has.

    Shape: [B, C, *spatial] -> [B, dim].
    """

    def __init__(self, linear_part: LinearEncoder, convolutional_part: LightEncoder) -> None:
        super().__init__()
        self.linear_part = linear_part
        self.convolutional_part = convolutional_part

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_part(x) + self.convolutional_part(x)


def _to_vector(grid: Tensor, pooled: bool) -> Tensor:
    """[B, C, *grid] -> [B, C] if pooled over space, otherwise [B, C * positions]."""
    return grid.flatten(start_dim=2).mean(dim=2) if pooled else grid.flatten(start_dim=1)


def build_encoder(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    """The encoder [B, C, *spatial] -> [B, dim] that `network.name` of the configuration chooses."""
    encoder = ENCODERS[network.name].load()(network, input_shape, dim)
    return _with_group_norm(encoder) if network.normalisation == "group" else encoder


def _with_group_norm(network: nn.Module) -> nn.Module:
    """Replaces each BatchNorm by GroupNorm; MONAI's ResNet does not pass its own `norm` argument on to its blocks."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, GroupNorm(_GROUPS, child.num_features))
    return network


def linear(network: Network, input_shape: Sequence[int], dim: int) -> LinearEncoder:
    return LinearEncoder(input_shape, dim, network.patch, network.dropout)


def light(network: Network, input_shape: Sequence[int], dim: int) -> LightEncoder:
    pooled = network.pooling == "mean"
    return LightEncoder(input_shape, network.channels, dim, network.patch, pooled, network.dropout)


def linear_light(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    return LinearLightEncoder(linear(network, input_shape, dim), light(network, input_shape, dim))


def strided(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    return StridedEncoder(input_shape, dim, pooled=network.pooling == "mean")


def resnet(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    # Images of 32 pixels are too small for the usual stem: as in SimCLR's appendix B.9, and as released with SepCLR.
    stem: dict[str, Any] = {"conv1_t_size": 3, "no_max_pool": True} if len(input_shape) == 3 else {}
    return _monai_networks(network).resnet18(
        spatial_dims=len(input_shape) - 1,
        n_input_channels=input_shape[0],
        num_classes=dim,
        widen_factor=network.widen_factor,
        **stem,
    )


def densenet(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    return _monai_networks(network).densenet121(
        spatial_dims=len(input_shape) - 1, in_channels=input_shape[0], out_channels=dim
    )


def _monai_networks(network: Network) -> Any:
    """Imports MONAI's networks only where one is used, since that takes seconds."""
    try:
        return import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise InputError(
            f"network.name: {network.name} is MONAI's, which is not installed; run `pip install 'sepclr_neuro[cnn]'`, "
            "or choose linear, light or strided"
        ) from error


class _Unpatch(nn.Linear):
    """The transpose of the patch stem: [B, width, *grid] -> [B, C, *(grid * side)]."""

    def __init__(self, width: int, out_channels: int, side: int, axes: int) -> None:
        super().__init__(width, out_channels * side**axes)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return join_patches(super().forward(x.movedim(1, -1)), self.side)


class _Upsampling(nn.Module):
    """A transposed convolution of stride 2 to a given output size, which may be odd."""

    def __init__(self, before: int, after: int, grid: Sequence[int], kernel: int) -> None:
        super().__init__()
        self.convolution = _TRANSPOSED[len(grid)](before, after, kernel_size=kernel, stride=2, padding=1)
        self.grid = list(grid)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x, output_size=self.grid)


class Decoder(nn.Module):
    """Decodes a code to a volume by the stages of an encoder in reverse; the last one has no nonlinearity.

    Args:
        name: ``light`` or ``strided``, the encoder that is mirrored.
        output_shape: channels, then voxels along each axis.
        channels: of the encoder's stages, in the encoder's order.
        dim: number of dimensions of the code.
        patch: ``light`` only: side of the stem's patches, in voxels.

    Shape: [B, dim] -> [B, C, *spatial].
    """

    def __init__(
        self, name: str, output_shape: Sequence[int], channels: Sequence[int], dim: int, patch: int = 4
    ) -> None:
        super().__init__()
        light, axes = name == "light", len(output_shape) - 1
        grids = [[size // (patch if light else 2) for size in output_shape[1:]]]
        for _ in channels[1:]:
            grids.append([math.ceil(size / 2) if light else size // 2 for size in grids[-1]])
        self.grid = (channels[-1], *grids[-1])
        self.start = nn.Linear(dim, math.prod(self.grid))

        def activation(width: int) -> list[nn.Module]:
            if light:
                return [GroupNorm(_GROUPS, width), nn.ReLU(inplace=True)]
            return [_BATCH_NORM[axes](width), nn.LeakyReLU(0.2, inplace=True)]

        layers = activation(channels[-1])
        for stage in range(len(channels) - 1, 0, -1):
            before, after = channels[stage], channels[stage - 1]
            layers += [_Upsampling(before, after, grids[stage - 1], 3 if light else 4), *activation(after)]
        if light:
            layers.append(_Unpatch(channels[0], output_shape[0], side=patch, axes=axes))
        else:
            layers.append(_Upsampling(channels[0], output_shape[0], output_shape[1:], 4))
        self.layers = nn.Sequential(*layers)

    def forward(self, code: Tensor) -> Tensor:
        return self.layers(self.start(code).unflatten(1, self.grid))


class LinearDecoder(nn.Sequential):
    """The mirror of :class:`LinearEncoder`, with one value per patch: [B, dim] -> [B, C, *spatial]."""

    def __init__(self, output_shape: Sequence[int], dim: int, patch: int = 4) -> None:
        grid = [output_shape[0], *(size // patch for size in output_shape[1:])]
        super().__init__(nn.Linear(dim, math.prod(grid)), nn.Unflatten(1, grid), nn.Upsample(scale_factor=patch))


def build_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    """The decoder [B, dim] -> [B, C, *spatial] that mirrors the configured encoder, or `strided`'s where none does."""
    mirror = ENCODERS[network.name].decoder or ENCODERS["strided"].decoder
    decoder = load(mirror)(network, output_shape, dim)
    return _with_group_norm(decoder) if network.normalisation == "group" else decoder


def linear_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    return LinearDecoder(output_shape, dim, network.patch)


def light_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    return Decoder("light", output_shape, network.channels, dim, network.patch)


def strided_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    return Decoder("strided", output_shape, STRIDED_CHANNELS, dim)


class Projector(nn.Sequential):
    """Projection head from the representation (input of probes) to the head (input of losses).

    Linear-BatchNorm-ReLU-Linear, as released with SepCLR.

    >>> import torch
    >>> Projector(5, width=16)(torch.zeros(3, 5)).shape
    torch.Size([3, 5])
    """

    def __init__(self, dim: int, width: int = 128) -> None:
        super().__init__(nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True), nn.Linear(width, dim))
