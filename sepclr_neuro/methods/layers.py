"""Faster versions of layers whose gradients torch computes slowly on a CPU: group normalisation, patch extraction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["GroupNorm", "cut_patches", "join_patches"]

# Data types as wide as a row of voxels in a patch, by bytes.
_AS_WIDE = {4: torch.int32, 8: torch.int64, 16: torch.complex128}
_PARTS = 64

_Reorder = Callable[[Tensor, int], Tensor]


class GroupNorm(nn.GroupNorm):
    """torch's GroupNorm, but with its own backward pass for channels-last tensors on a CPU.

    There torch's backward pass takes ten times as long as reading and writing the tensors. In bfloat16 the gradients
    have an error of a few rounding steps (less than 1 %), torch's of one. Differentiable once.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and self.affine and _channels_lie_last(x):
            return _GroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(x)


def _channels_lie_last(x: Tensor) -> bool:
    return x.ndim in (4, 5) and x.movedim(1, -1).is_contiguous() and not x.is_contiguous()


class _GroupNorm(torch.autograd.Function):
    r"""y = w (x - m) r + b, with mean m and inverse SD r over each participant's n numbers of a group of channels.

    .. math:: \frac{dL}{dx} = w r g - \frac{r}{n} \sum w g - \frac{r^3 (x - m)}{n} \sum w g (x - m),
        \qquad g = \frac{dL}{dy}

    The sums are over a group; they are computed over space for each channel first.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch_size, channels = x.shape[:2]
        y, mean, inverse_sd = torch.native_group_norm(
            x, weight, bias, batch_size, channels, math.prod(x.shape[2:]), groups, eps
        )
        ctx.save_for_backward(x, weight, mean, inverse_sd)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *of_groups = ctx.saved_tensors
        channels = x.shape[1]
        lines_x, lines_g = (lines.movedim(1, -1).flatten(1, -2) for lines in (x, g))
        each = channels // of_groups[0].shape[1]
        exact = torch.promote_types(x.dtype, torch.float32)
        mean, inverse_sd = (value.to(exact).repeat_interleave(each, dim=1) for value in of_groups)
        sum_g = _over_space(lines_g, exact)
        # Centred before multiplication: otherwise rounding errors would be relative to the mean.
        middle = mean.to(x.dtype)
        sum_gx = _over_space((lines_x - middle[:, None]).mul_(lines_g), exact) + (middle.to(exact) - mean) * sum_g

        def over_group(of_channels: Tensor) -> Tensor:
            means = (weight * of_channels).unflatten(1, (-1, each)).mean(dim=2) / lines_x.shape[1]
            return means.repeat_interleave(each, dim=1)

        slope = -(inverse_sd**3) * over_group(sum_gx)
        constant = -inverse_sd * over_group(sum_g) - slope * mean
        factor, slope, constant = (
            of_channels[:, None].to(x.dtype) for of_channels in (weight * inverse_sd, slope, constant)
        )
        by_x = torch.addcmul(constant, lines_g, factor).addcmul_(lines_x, slope)
        by_x = by_x.unflatten(1, x.shape[2:]).movedim(-1, 1)
        return by_x, (sum_gx * inverse_sd).sum(dim=0), sum_g.sum(dim=0), None, None


def _over_space(lines: Tensor, exact: torch.dtype) -> Tensor:
    """Sums over space, [B, n, C] -> [B, C], in two steps: bfloat16 sums are rounded; errors of many parts cancel."""
    each = max(lines.shape[1] // _PARTS, 1)
    whole = lines.shape[1] // each * each
    of_parts = lines[:, :whole].unflatten(1, (-1, each)).sum(dim=2)
    return of_parts.sum(dim=1, dtype=exact) + lines[:, whole:].sum(dim=1, dtype=exact)


def cut_patches(x: Tensor, side: int) -> Tensor:
    """Cuts volumes or images into patches: [B, C, *spatial] -> [B, *(spatial / side), C * side^axes]."""
    return _Reordering.apply(x, side, _cut, _join)


def join_patches(patches: Tensor, side: int) -> Tensor:
    """Inverse of :func:`cut_patches`: [B, *grid, C * side^axes] -> [B, C, *(grid * side)]."""
    return _Reordering.apply(patches, side, _join, _cut)


class _Reordering(torch.autograd.Function):
    """A permutation of elements, whose backward pass is the inverse permutation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int, there: _Reorder, back: _Reorder) -> Tensor:
        ctx.side, ctx.back = side, back
        return there(x, side)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.back(g, ctx.side), None, None, None


def _cut(x: Tensor, side: int) -> Tensor:
    batch_size, channels, *spatial = x.shape
    axes = len(spatial)
    x = x.reshape(batch_size, channels, *(part for size in spatial for part in (size // side, side)))
    grid, within = range(2, 2 + 2 * axes, 2), range(3, 3 + 2 * axes, 2)
    return _reordered(x, [0, *grid, 1, *within]).flatten(1 + axes)


def _join(patches: Tensor, side: int) -> Tensor:
    batch_size, *grid, width = patches.shape
    axes = len(grid)
    patches = patches.reshape(batch_size, *grid, width // side**axes, *[side] * axes)
    # Channels first, then axes of the grid and axes within a patch alternately.
    turns = (axis for pair in zip(range(1, 1 + axes), range(2 + axes, 2 + 2 * axes), strict=True) for axis in pair)
    return _reordered(patches, [0, 1 + axes, *turns]).reshape(batch_size, -1, *(size * side for size in grid))


def _reordered(x: Tensor, order: Sequence[int]) -> Tensor:
    """A copy with permuted axes; the last axis stays last.

    On a CPU each row along the last axis is moved as one element of a data type of that width, if there is one, which
    takes a fourth of the time.
    """
    x = x.contiguous()
    line = x.shape[-1] * x.element_size()
    if x.device.type != "cpu" or line not in _AS_WIDE or x.storage_offset() * x.element_size() % line:
        return x.permute(*order).contiguous()
    return x.view(_AS_WIDE[line]).permute(*order).contiguous().view(x.dtype)
