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

    The same as a convolution whose kernel is its stride, but its gradient with respect to the input, which saliency
    maps need, is a matrix product too.
    """

    def __init__(self, in_channels: int, width: int, side: int, axes: int) -> None:
        super().__init__(in_channels * side**axes, width)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(cut_patches(x, self.side)).movedim(-1, 1)


class LightEncoder(nn.Module):
    """A small convolutional encoder that a laptop can train on whole volumes.

    A stem cuts the input into patches, so that no layer works on the full grid; then one stride-2 convolution a stage;
    the last grid is flattened, not averaged, since in registered brains it matters *where* something is. GroupNorm
    keeps a person's representation free of who else is in the batch.

    Args:
        input_shape: channels, then voxels a side, e.g. ``(1, 128, 128, 128)``.
        channels: after the stem and after each stage; all divisible by 8.
        dim: size of the representation.
        patch: side of the stem's patches.
        pooled: whether the last grid is averaged; then inputs may have another size.
        dropout: share of the last grid that a training step leaves out.

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
    """Five convolutions, kernel 4, stride 2, each with BatchNorm and LeakyReLU 0.2; the last grid is flattened.

    What SepCLR's authors use for VBM maps in other published code; that it is also the encoder of the variational
    autoencoders of their schizophrenia experiment is inferred.

    Args:
        input_shape: channels, then voxels a side, each at least 32.
        dim: size of the representation.
        pooled: whether the last grid is averaged; then inputs may have another size.

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
    """A linear map of patch means: in registered brains, what a small cohort can teach.

    Args:
        input_shape: channels, then voxels a side.
        dim: size of the representation.
        patch: side of the cubes that are averaged.
        dropout: share of the patches that a training step leaves out.

    Shape: [B, C, *spatial] -> [B, dim].
    """

    def __init__(self, input_shape: Sequence[int], dim: int, patch: int = 4, dropout: float = 0.0) -> None:
        grid = [size // patch for size in input_shape[1:]]
        average = _AVERAGE[len(grid)](patch)
        linear = nn.Linear(input_shape[0] * math.prod(grid), dim)
        super().__init__(average, nn.Flatten(), nn.Dropout(dropout), linear)


def _to_vector(grid: Tensor, pooled: bool) -> Tensor:
    """[B, C, *grid] -> [B, C], or flattened."""
    return grid.flatten(start_dim=2).mean(dim=2) if pooled else grid.flatten(start_dim=1)


def build_encoder(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    """An encoder [B, C, *spatial] -> [B, dim] as the configuration names it."""
    encoder = ENCODERS[network.name].load()(network, input_shape, dim)
    return _in_groups(encoder) if network.normalisation == "group" else encoder


def _in_groups(network: nn.Module) -> nn.Module:
    """GroupNorm in the place of each BatchNorm; MONAI's ResNet does not pass its own setting on to its blocks."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, GroupNorm(_GROUPS, child.num_features))
    return network


def linear(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    return LinearEncoder(input_shape, dim, network.patch, network.dropout)


def light(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    pooled = network.pooling == "mean"
    return LightEncoder(input_shape, network.channels, dim, network.patch, pooled, network.dropout)


def strided(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    return StridedEncoder(input_shape, dim, pooled=network.pooling == "mean")


def resnet(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    # Images of 32 pixels have no room for the usual stem: as SimCLR's appendix B.9, and as released with SepCLR.
    stem: dict[str, Any] = {"conv1_t_size": 3, "no_max_pool": True} if len(input_shape) == 3 else {}
    return _of_monai(network).resnet18(
        spatial_dims=len(input_shape) - 1, n_input_channels=input_shape[0], num_classes=dim, **stem
    )


def densenet(network: Network, input_shape: Sequence[int], dim: int) -> nn.Module:
    return _of_monai(network).densenet121(
        spatial_dims=len(input_shape) - 1, in_channels=input_shape[0], out_channels=dim
    )


def _of_monai(network: Network) -> Any:
    """MONAI takes seconds to import, which the light network need not wait for."""
    try:
        return import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise InputError(
            f"network.name: {network.name} is MONAI's, which is not installed; run `pip install 'sepclr_neuro[cnn]'`, "
            "or choose linear, light or strided"
        ) from error


class _Unpatch(nn.Linear):
    """The mirror of the patch stem: [B, width, *grid] -> [B, C, *(grid * side)]."""

    def __init__(self, width: int, out_channels: int, side: int, axes: int) -> None:
        super().__init__(width, out_channels * side**axes)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return join_patches(super().forward(x.movedim(1, -1)), self.side)


class _Upsampling(nn.Module):
    """A transposed convolution of stride 2 to a grid that is given, which may be odd."""

    def __init__(self, before: int, after: int, grid: Sequence[int], kernel: int) -> None:
        super().__init__()
        self.convolution = _TRANSPOSED[len(grid)](before, after, kernel_size=kernel, stride=2, padding=1)
        self.grid = list(grid)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x, output_size=self.grid)


class Decoder(nn.Module):
    """From a code to a volume, by the stages of an encoder in reverse; the last one has no nonlinearity.

    Args:
        name: ``light`` or ``strided``, the encoder that is mirrored.
        output_shape: channels, then voxels a side.
        channels: of the encoder's stages, in the encoder's order.
        dim: size of the code.
        patch: ``light`` only: side of the stem's patches.

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
    """The mirror of :class:`LinearEncoder`: a value a patch. [B, dim] -> [B, C, *spatial]."""

    def __init__(self, output_shape: Sequence[int], dim: int, patch: int = 4) -> None:
        grid = [output_shape[0], *(size // patch for size in output_shape[1:])]
        super().__init__(nn.Linear(dim, math.prod(grid)), nn.Unflatten(1, grid), nn.Upsample(scale_factor=patch))


def build_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    """The decoder [B, dim] -> [B, C, *spatial] that goes with an encoder; those without a mirror have `strided`'s."""
    mirror = ENCODERS[network.name].decoder or ENCODERS["strided"].decoder
    decoder = load(mirror)(network, output_shape, dim)
    return _in_groups(decoder) if network.normalisation == "group" else decoder


def linear_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    return LinearDecoder(output_shape, dim, network.patch)


def light_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    return Decoder("light", output_shape, network.channels, dim, network.patch)


def strided_decoder(network: Network, output_shape: Sequence[int], dim: int) -> nn.Module:
    return Decoder("strided", output_shape, STRIDED_CHANNELS, dim)


class Projector(nn.Sequential):
    """From the representation, which probes read, to the head, which losses read: Linear-BatchNorm-ReLU-Linear.

    As released with SepCLR; BatchNorm here sees representations only, never the volumes' grid.

    >>> import torch
    >>> Projector(5, width=16)(torch.zeros(3, 5)).shape
    torch.Size([3, 5])
    """

    def __init__(self, dim: int, width: int = 128) -> None:
        super().__init__(nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True), nn.Linear(width, dim))
