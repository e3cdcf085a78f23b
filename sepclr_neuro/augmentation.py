"""Random views of volumes, made on the device that trains.

The kinds and parameters are those of MONAI's `RandSpatialCrop` with `Resize`, `RandAffine`, `RandGaussianSmooth`,
`RandGaussianNoise`, `RandFlip` and `RandCoarseDropout`, and the tests compare each with MONAI's result for the same
parameters. One after the other they would cost more than the network; but crop, resize, shift, flip and blur act on
each axis alone, so for a volume all of them are one matrix an axis, and only a rotation needs a resampling of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from sepclr_neuro.config import Augmentation
from sepclr_neuro.sampling import Members, seed_of

__all__ = ["augment", "axis_matrix", "rotate"]


def augment(volumes: Tensor, settings: Augmentation, seed: int, members: Members | None = None) -> Tensor:
    """One random view of each volume; the same seed gives the same views, whoever of a batch is in memory.

    Args:
        volumes: [B, C, *spatial], standardised, on the training device; 2 or 3 spatial axes.
        settings: the section `augmentation` of the configuration.
        seed: draws all random parameters (on the CPU, alike on every device) and the noise (on the device).
        members: whose volumes of a batch these are; None for a whole batch.

    Returns:
        A new tensor of the same shape.
    """
    rng = torch.Generator().manual_seed(seed)
    members = members or Members.all_of(len(volumes), seed)
    batch, axes = members.batch_size, volumes.ndim - 2
    device = volumes.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return members.pick(low + (high - low) * torch.rand(batch, *shape, generator=rng))

    def happens(probability: float) -> Tensor:
        return members.pick(torch.rand(batch, generator=rng) < probability)

    crop = torch.where(happens(settings.crop_probability), uniform(*settings.crop_scale), 1.0)
    centre = (1 - crop[:, None]) * uniform(-0.5, 0.5, axes)
    affine = happens(settings.affine_probability)
    centre += affine[:, None] * uniform(-settings.translation_share, settings.translation_share, axes)
    degrees = affine[:, None] * uniform(-settings.rotation_degrees, settings.rotation_degrees, 3)
    scale = crop[:, None].repeat(1, axes)
    scale[:, 0] *= torch.where(happens(settings.flip_probability), -1.0, 1.0)
    sigma = torch.where(happens(settings.blur_probability), uniform(*settings.blur_sigma_voxels), 0.0)
    noise_sd = torch.where(happens(settings.noise_probability), uniform(0, settings.noise_sd), 0.0)
    cutout = happens(settings.cutout_probability)
    box = cutout[:, None] * uniform(*settings.cutout_share, axes)
    corner = (1 - box) * uniform(0, 1, axes)

    turned = affine & (degrees != 0).any(dim=1)
    lengths = volumes.shape[2:]
    scale, centre, sigma, on_device_sd = (_beside(volumes, drawn) for drawn in (scale, centre, sigma, noise_sd))
    matrices = [axis_matrix(length, scale[:, axis], centre[:, axis], sigma) for axis, length in enumerate(lengths)]
    device_rng = torch.Generator(device)
    views = torch.empty_like(volumes)
    # One by one on a CPU, since a volume that stays in its cache from first to last step is done sooner.
    at_once = 1 if device.type == "cpu" else len(volumes)
    for start in range(0, len(volumes), at_once):
        part = slice(start, start + at_once)
        source, view = volumes[part], views[part]
        if turned[part].any():
            source = rotate(source, degrees[part])
        view.copy_(_along_axes([matrix[part] for matrix in matrices], source))
        if (noise_sd[part] > 0).any():
            # A stream a person: the same noise whoever else is in memory.
            noise = torch.empty_like(view)
            for one, position in zip(noise, members.positions[part], strict=True):
                one.normal_(generator=device_rng.manual_seed(seed_of(seed, position)))
            view.addcmul_(noise, on_device_sd[part].view(-1, *[1] * (axes + 1)))
    for i in cutout.nonzero()[:, 0].tolist():
        views[i][:, *_box(corner[i], box[i], lengths)] = 0
    return views


def _beside(volumes: Tensor, drawn: Tensor) -> Tensor:
    """What was drawn on the CPU, on the device of the volumes, which nothing waits for."""
    drawn = drawn.to(volumes.dtype)
    return drawn.pin_memory().to(volumes.device, non_blocking=True) if volumes.is_cuda else drawn


def axis_matrix(size: int, scale: Tensor, centre: Tensor, sigma: Tensor) -> Tensor:
    """What crop, resize, shift, flip and blur do along one axis, as a matrix a volume.

    Linear interpolation at the voxels' centres, 0 outside; then a Gaussian cut at 4 SD, as MONAI's.

    Args:
        size: voxels along the axis, n.
        scale: share of the axis that fills the output, [B]; negative mirrors.
        centre: where the middle of the output comes from, as a share of the axis from its middle, [B].
        sigma: SD of the blur in output voxels, [B]; 0 leaves it out.

    Returns:
        [B, n, n]; output = matrix @ input.
    """
    voxel = torch.arange(size, dtype=torch.float32, device=scale.device)
    middle = (size - 1) / 2
    origin = middle + scale[:, None] * (voxel - middle) + centre[:, None] * size
    interpolation = (1 - (origin[:, :, None] - voxel).abs()).clamp(min=0)
    distance = voxel[:, None] - voxel
    width = sigma.clamp(min=1e-3)[:, None, None] * math.sqrt(2)
    # A voxel's weight is the Gaussian's integral over it, as in MONAI's `gaussian_1d` (approx="erf").
    blur = 0.5 * (torch.erf((distance + 0.5) / width) - torch.erf((distance - 0.5) / width))
    reach = torch.floor((4 * sigma).clamp(min=0.5) + 0.5)[:, None, None]
    blur = torch.where(distance.abs() <= reach, blur, 0.0)
    blur = torch.where((sigma > 0)[:, None, None], blur, torch.eye(size, device=scale.device))
    return blur @ interpolation


def _along_axes(matrices: Sequence[Tensor], volumes: Tensor) -> Tensor:
    """Each matrix @ the lines along its spatial axis; [B, n, n] an axis and [B, C, *spatial] -> the same shape."""
    # Each product takes the first axis and puts it back last, so that after all of them the order is the old one.
    volumes = volumes.movedim(1, -1)
    for matrix in matrices:
        volumes = (volumes.flatten(2).mT @ matrix.mT).unflatten(1, volumes.shape[2:])
    return volumes


def rotate(volumes: Tensor, degrees: Tensor) -> Tensor:
    """Rotates about the middle, linear interpolation, 0 outside.

    Args:
        volumes: [B, C, *spatial], 2 or 3 spatial axes.
        degrees: about the first, second and third axis, [B, 3]; in 2D only the last is used.
    """
    axes = volumes.ndim - 2
    angles = torch.deg2rad(degrees.double())
    rotation = torch.eye(axes, dtype=torch.float64).repeat(len(volumes), 1, 1)
    planes = {2: [(2, (0, 1))], 3: [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))]}[axes]
    for about, (first, second) in planes:
        turn = torch.eye(axes, dtype=torch.float64).repeat(len(volumes), 1, 1)
        cos, sin = angles[:, about].cos(), angles[:, about].sin()
        turn[:, first, first] = turn[:, second, second] = cos
        turn[:, first, second], turn[:, second, first] = -sin, sin
        rotation = turn @ rotation
    # affine_grid counts axes from the last and from -1 to 1: a rotation in voxels needs the sides' ratio.
    sides = torch.tensor(volumes.shape[2:], dtype=torch.float64)
    matrix = (rotation * sides[None, None, :] / sides[None, :, None]).flip(1, 2)
    matrix = torch.cat([matrix, torch.zeros(len(volumes), axes, 1, dtype=torch.float64)], dim=2)
    grid = functional.affine_grid(_beside(volumes, matrix), list(volumes.shape), align_corners=False)
    return functional.grid_sample(volumes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _box(corner: Tensor, box: Tensor, lengths: Sequence[int]) -> list[slice]:
    """The voxels an axis whose middles lie in a box; corner and sides are shares of the axes, [axes]."""
    starts, ends = (torch.ceil(share * torch.tensor(lengths) - 0.5).int().tolist() for share in (corner, corner + box))
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]
