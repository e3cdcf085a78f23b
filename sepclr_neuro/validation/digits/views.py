"""Random views of images: crop and resize, flip, colour jitter and greyscale, each image by itself, one batch at once.

MONAI has no transforms of colour. Definitions are those of torchvision; kinds, ranges and probabilities are the
released ones of SepCLR. The order of the four changes of colour is fixed, where torchvision draws it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from sepclr_neuro.config.digits import ImageViews
from sepclr_neuro.data.sampling import Members

__all__ = ["AsTheyAre", "RandomViews", "adjust_colour", "crop_and_resize", "image_views"]

# ITU-R 601, as torchvision and Pillow have it.
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class RandomViews:
    """Two random views of each image."""

    settings: ImageViews

    def to(self, device: torch.device) -> RandomViews:
        return self

    def unaugmented(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        return scans

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        # Both are drawn in any case, so that the first does not depend on how many are requested.
        of_both = [*members.positions, *(members.batch_size + position for position in members.positions)]
        twice = Members(of_both, 2 * members.batch_size, members.seed)
        both = image_views(scans.repeat(2, 1, 1, 1), self.settings, members.seed, twice)
        return both.to(dtype).unflatten(0, (2, -1))[:count]


@dataclass(frozen=True)
class AsTheyAre:
    """Each image twice, for methods that reconstruct it."""

    def to(self, device: torch.device) -> AsTheyAre:
        return self

    def unaugmented(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        return scans

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        return scans.to(dtype).expand(count, *scans.shape)


def image_views(images: Tensor, settings: ImageViews, seed: int, members: Members | None = None) -> Tensor:
    """One random view of each image [B, 3, H, W], 0 to 1; the same seed gives the same views: [B, 3, size, size].

    Args:
        images: [B, 3, H, W], 0 to 1.
        settings: the section `digits.views` of the configuration.
        seed: draws all random parameters, on the CPU.
        members: whose images of a batch these are; None for a whole batch.
    """
    rng = torch.Generator().manual_seed(seed)
    members, device = members or Members.all_of(len(images), seed), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return members.pick(low + (high - low) * torch.rand(members.batch_size, *shape, generator=rng))

    def happens(probability: float) -> Tensor:
        return members.pick(torch.rand(members.batch_size, generator=rng) < probability)

    ratio = torch.exp(uniform(math.log(3 / 4), math.log(4 / 3)))
    area = uniform(*settings.crop_area)
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], dim=1).clamp(max=1)
    corner = (1 - sides) * uniform(0, 1, 2)
    flipped = happens(settings.flip_probability)
    views = crop_and_resize(
        images,
        corner.to(device, non_blocking=True),
        sides.to(device, non_blocking=True),
        flipped.to(device, non_blocking=True),
        settings.size,
    )

    jittered = happens(settings.jitter_probability)
    factors = [
        torch.where(jittered, uniform(1 - width, 1 + width), 1.0)
        for width in (settings.brightness, settings.contrast, settings.saturation)
    ]
    hue = torch.where(jittered, uniform(-settings.hue, settings.hue), 0.0)
    grey = happens(settings.greyscale_probability)
    # Greyscale is saturation 0, after which hue has no effect.
    factors[2] = torch.where(grey, 0.0, factors[2])
    return adjust_colour(views, *(factor.to(device, non_blocking=True) for factor in (*factors, hue)))


def crop_and_resize(images: Tensor, corner: Tensor, sides: Tensor, flipped: Tensor, size: int) -> Tensor:
    """A box of each image, resized by linear interpolation.

    Args:
        images: [B, C, H, W].
        corner: upper left one of each box, as shares of height and width, [B, 2].
        sides: of each box, likewise, [B, 2].
        flipped: whether left and right are exchanged, [B].
        size: pixels a side of the result.

    Returns:
        [B, C, size, size].
    """
    middle = 2 * corner + sides - 1  # from -1 to 1, as affine_grid counts
    width = torch.where(flipped, -sides[:, 1], sides[:, 1])
    zero = torch.zeros_like(width)
    matrix = torch.stack([width, zero, middle[:, 1], zero, sides[:, 0], middle[:, 0]], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, [len(images), images.shape[1], size, size], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def adjust_colour(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue of each image, one after the other.

    Args:
        images: [B, 3, H, W], 0 to 1.
        brightness: factor of all values, [B].
        contrast: 0 leaves the image's mean luminance, 1 the image, [B].
        saturation: 0 leaves each pixel's luminance, 1 the image, [B].
        hue: turn of the colour circle, 1 once round, [B].
    """

    def blend(image: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
        factor = factor.view(-1, 1, 1, 1)
        return (factor * image + (1 - factor) * other).clamp(0, 1)

    images = blend(images, 0.0, brightness)
    images = blend(images, _luminance(images).mean(dim=(2, 3), keepdim=True), contrast)
    images = blend(images, _luminance(images), saturation)
    return _turn_hue(images, hue)


def _luminance(images: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 1, H, W]."""
    weights = torch.tensor(_LUMINANCE, device=images.device, dtype=images.dtype)
    return torch.einsum("c,bchw->bhw", weights, images)[:, None]


def _turn_hue(images: Tensor, hue: Tensor) -> Tensor:
    """Through hue, saturation and value; with hue h in sixths, a channel is v - v s max(0, min(k, 4 - k, 1)), where
    k = (n + 6 h) mod 6 and n is 5, 3, 1 for red, green, blue."""
    value, lowest = images.amax(dim=1), images.amin(dim=1)
    chroma = value - lowest
    safe = torch.where(chroma > 0, chroma, 1.0)
    red, green, blue = images.unbind(dim=1)
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * hue.view(-1, 1, 1)
    channels = []
    for n in (5, 3, 1):
        k = (n + sixth) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)
