"""Random views of images: crop and resize, flip, colour jitter and greyscale, drawn per image, computed per batch.

MONAI has no transforms of colour. Definitions are those of torchvision; transforms, ranges and probabilities are those
of SepCLR's released code. The order of the four colour transforms is fixed; torchvision's is random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from sepclr_neuro.config.digits import ImageViews
from sepclr_neuro.data.sampling import Members

__all__ = ["IdenticalViews", "RandomViews", "adjust_colour", "crop_and_resize", "image_views"]

# ITU-R 601, as torchvision and Pillow have it.
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class RandomViews:
    """Random views of images, at most two of each."""

    settings: ImageViews

    def to(self, device: torch.device) -> RandomViews:
        return self

    def unaugmented(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        return scans

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        # Two are always drawn, so that the first does not depend on how many are requested.
        of_both = [*members.positions, *(members.batch_size + position for position in members.positions)]
        twice = Members(of_both, 2 * members.batch_size, members.seed)
        both = image_views(scans.repeat(2, 1, 1, 1), self.settings, members.seed, twice)
        return both.to(dtype).unflatten(0, (2, -1))[:count]


@dataclass(frozen=True)
class IdenticalViews:
    """Each image itself as its views, for methods that reconstruct it."""

    def to(self, device: torch.device) -> IdenticalViews:
        return self

    def unaugmented(self, scans: Tensor, planes: slice = slice(None)) -> Tensor:
        return scans

    def __call__(self, scans: Tensor, members: Members, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        return scans.to(dtype).expand(count, *scans.shape)


def image_views(images: Tensor, settings: ImageViews, seed: int, members: Members | None = None) -> Tensor:
    """One random view of each image; the same seed gives the same views.

    Args:
        images: [B, 3, H, W], 0 to 1.
        settings: the section `digits.views` of the configuration.
        seed: of all random parameters, which are drawn on the CPU.
        members: which images of a batch these are; None for a whole batch.

    Returns:
        [B, 3, size, size].
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
    """Crops a box from each image and resizes it by linear interpolation.

    Args:
        images: [B, C, H, W].
        corner: upper left corner of each box, relative to height and width, [B, 2].
        sides: height and width of each box, likewise, [B, 2].
        flipped: whether left and right are exchanged, [B].
        size: height and width of the result, in pixels.

    Returns:
        [B, C, size, size].
    """
    middle = 2 * corner + sides - 1  # in affine_grid's coordinates, from -1 to 1
    width = torch.where(flipped, -sides[:, 1], sides[:, 1])
    zero = torch.zeros_like(width)
    matrix = torch.stack([width, zero, middle[:, 1], zero, sides[:, 0], middle[:, 0]], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, [len(images), images.shape[1], size, size], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def adjust_colour(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Changes brightness, contrast, saturation and hue of each image, in this order.

    Args:
        images: [B, 3, H, W], 0 to 1.
        brightness: factor of all values, [B].
        contrast: 1 for no change, 0 for the image's mean luminance everywhere, [B].
        saturation: 1 for no change, 0 for greyscale, [B].
        hue: rotation of the colour circle, 1 for a full turn, [B].

    Returns:
        [B, 3, H, W], 0 to 1.
    """

    def blend(image: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
        factor = factor.view(-1, 1, 1, 1)
        return (factor * image + (1 - factor) * other).clamp(0, 1)

    images = blend(images, 0.0, brightness)
    images = blend(images, _luminance(images).mean(dim=(2, 3), keepdim=True), contrast)
    images = blend(images, _luminance(images), saturation)
    return _turn_hue(images, hue)


def _luminance(images: Tensor) -> Tensor:
    """Luminance of each pixel, [B, 3, H, W] -> [B, 1, H, W]."""
    weights = torch.tensor(_LUMINANCE, device=images.device, dtype=images.dtype)
    return torch.einsum("c,bchw->bhw", weights, images)[:, None]


def _turn_hue(images: Tensor, hue: Tensor) -> Tensor:
    """Rotates hue in HSV space: each channel is v - v s max(0, min(k, 4 - k, 1)) with k = (n + 6 h) mod 6.

    h is the hue, s the saturation, v the value; n is 5, 3, 1 for red, green, blue.
    """
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
