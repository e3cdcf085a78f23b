"""Data augmentation: random views of volumes, made on the training device.

Transforms and parameters are those of MONAI's `RandSpatialCrop` with `Resize`, `RandAffine`, `RandGaussianSmooth`,
`RandGaussianNoise`, `RandFlip` and `RandCoarseDropout`. Tests compare geometric transforms and blur with MONAI's result
for the same parameters, and views by their distribution. Applied one after the other they would take longer than the
network. But crop, resize, shift, flip and blur are separable, so that together they are one matrix per axis; only a
rotation needs a resampling of the grid, which then crops, shifts and flips as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.data.sampling import Members, seed_of
from sepclr_neuro.learning.noise import normal_numbers

__all__ = ["augment", "axis_matrix", "rotate"]

_PLANES = 16
# Rows of a banded matrix that are multiplied at once, in bytes of one column: a compromise, since small blocks contain
# fewer zeros and large blocks are multiplied faster.
_COLUMN_BYTES = 64


def augment(
    volumes: Tensor, settings: Augmentation, seed: int, members: Members | None = None, out: Tensor | None = None
) -> Tensor:
    """One random view of each volume; it depends on the seed, not on which participants of a batch are in memory.

    Args:
        volumes: [B, C, *spatial], standardised, on the training device; 2 or 3 spatial axes.
        settings: the section `augmentation` of the configuration.
        seed: of all random parameters (drawn on the CPU, the same for every device) and of the noise (on the device).
        members: which participants of a batch these are; None for a whole batch.
        out: contiguous, of the same shape, to be filled; None for a new tensor.

    Returns:
        ``out``, with the data type of ``volumes``.
    """
    rng = torch.Generator().manual_seed(seed)
    members = members or Members.all_of(len(volumes), seed)
    batch, axes = members.batch_size, volumes.ndim - 2

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return members.pick(low + (high - low) * torch.rand(batch, *shape, generator=rng))

    def happens(probability: float) -> Tensor:
        return members.pick(torch.rand(batch, generator=rng) < probability)

    crop = torch.where(happens(settings.crop_probability), uniform(*settings.crop_scale), 1.0)
    centre = (1 - crop[:, None]) * uniform(-0.5, 0.5, axes)
    affine = happens(settings.affine_probability)
    shift = affine[:, None] * uniform(-settings.translation_share, settings.translation_share, axes)
    degrees = affine[:, None] * uniform(-settings.rotation_degrees, settings.rotation_degrees, 3)
    turned = affine & (degrees != 0).any(dim=1)
    centre += shift
    scale = crop[:, None].repeat(1, axes)
    scale[:, 0] *= torch.where(happens(settings.flip_probability), -1.0, 1.0)
    sigma = torch.where(happens(settings.blur_probability)[:, None], uniform(*settings.blur_sigma_voxels, axes), 0.0)
    noise_sd = torch.where(happens(settings.noise_probability), uniform(0, settings.noise_sd), 0.0)
    cutout = happens(settings.cutout_probability)
    box = cutout[:, None] * uniform(*settings.cutout_share, axes)
    corner = (1 - box) * uniform(0, 1, axes)

    lengths = volumes.shape[2:]
    # A rotation includes crop, shift and flip in its interpolation, since a second interpolation would blur.
    with_rotation, along_axes = (
        [torch.where(which[:, None], drawn, rest) for drawn, rest in ((scale, 1.0), (centre, 0.0))]
        for which in (turned, ~turned)
    )
    matrices = _axis_matrices(lengths, *(_beside(volumes, drawn) for drawn in (*along_axes, sigma)))
    views = torch.empty_like(volumes) if out is None else out
    if volumes.is_cuda:
        source = rotate(volumes, degrees, *with_rotation) if turned.any() else volumes
        _along_axes(matrices, source, out=views)
    else:
        still = ((along_axes[0] == 1) & (along_axes[1] == 0) & (sigma == 0)).all(dim=1)
        # One by one: this is faster, since a volume stays in the processor's cache until its last product.
        for i in range(len(volumes)):
            source = volumes[i]
            if turned[i]:
                source = rotate(source[None], *(drawn[i, None] for drawn in (degrees, *with_rotation)))[0]
            if still[i]:
                views[i] = source
            else:
                _along_axes([matrix[i] for matrix in matrices], source, out=views[i])

    for i in noise_sd.nonzero()[:, 0].tolist():
        # A seed for each participant, so that noise does not depend on the others in memory.
        views[i].add_(_noise(views[i], seed_of(seed, members.positions[i])), alpha=float(noise_sd[i]))
    for i in cutout.nonzero()[:, 0].tolist():
        views[i][:, *_box(corner[i], box[i], lengths)] = 0
    return views


def _noise(view: Tensor, seed: int) -> Tensor:
    """Standard normal numbers of a view's shape and data type, drawn on its device."""
    if view.is_cuda:
        rng = torch.Generator(view.device).manual_seed(seed)
        return torch.randn(view.shape, generator=rng, device=view.device).to(view.dtype)
    return normal_numbers(view.shape, seed).to(view.dtype)


def _beside(volumes: Tensor, drawn: Tensor) -> Tensor:
    """Copies random parameters to the device of the volumes, without waiting for the copy."""
    return drawn.pin_memory().to(volumes.device, non_blocking=True) if volumes.is_cuda else drawn


def _axis_matrices(lengths: Sequence[int], scale: Tensor, centre: Tensor, sigma: Tensor) -> list[Tensor]:
    """A matrix [B, n, n] for each axis, from random parameters [B, axes].

    For a cube all axes are computed together, since a GPU is faster with few large operations.
    """
    if len(set(lengths)) == 1:
        of_cube = axis_matrix(lengths[0], *(drawn.T.flatten() for drawn in (scale, centre, sigma)))
        return list(of_cube.chunk(len(lengths)))
    return [axis_matrix(n, scale[:, axis], centre[:, axis], sigma[:, axis]) for axis, n in enumerate(lengths)]


def axis_matrix(size: int, scale: Tensor, centre: Tensor, sigma: Tensor) -> Tensor:
    """Crop, resize, shift, flip and blur along one axis, as one matrix per volume.

    Linear interpolation at voxel centres, 0 outside; then a Gaussian truncated at 4 SD, as in MONAI.

    Args:
        size: number of voxels along the axis, n.
        scale: proportion of the axis that fills the output, [B]; negative values flip.
        centre: input position of the output's centre, relative to the axis' centre, in units of its length, [B].
        sigma: SD of the blur in output voxels, [B]; 0 for no blur.

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


def _along_axes(matrices: Sequence[Tensor], volumes: Tensor, out: Tensor) -> None:
    """Multiplies each spatial axis by its matrix [..., n, n]: [..., C, *spatial] -> ``out``, of the same shape."""
    axes = len(matrices)
    # Each product moves the first axis to the end, so that after all of them the order is the original one.
    volumes = volumes.movedim(-1 - axes, -1)
    for matrix in matrices:
        lines = volumes.flatten(-axes)
        shape = *lines.shape[:-2], lines.shape[-1], matrix.shape[-2]
        made = out.view(shape) if matrix is matrices[-1] else volumes.new_empty(shape)
        matrix = matrix.to(volumes.dtype)
        for rows, columns in _blocks(matrix):
            torch.matmul(lines[..., columns, :].mT, matrix[..., rows, columns].mT, out=made[..., rows])
        volumes = made.unflatten(-2, volumes.shape[-axes:])


def _blocks(matrix: Tensor) -> Iterator[tuple[slice, slice]]:
    """Blocks of rows of a banded matrix [n, n], each with the range of columns that are not all 0.

    One block on a GPU, where finding the columns would wait for it and take longer than multiplying by zeros.
    """
    if matrix.is_cuda:
        yield slice(None), slice(None)
        return
    not_zero, at_once = matrix != 0, _COLUMN_BYTES // matrix.element_size()
    for start in range(0, len(not_zero), at_once):
        rows = slice(start, start + at_once)
        columns = not_zero[rows].any(dim=0).nonzero()[:, 0].tolist() or [0]
        yield rows, slice(columns[0], columns[-1] + 1)


def rotate(volumes: Tensor, degrees: Tensor, scale: Tensor, centre: Tensor) -> Tensor:
    """Rotates about the centre, crops, flips and shifts by one linear interpolation; 0 outside.

    Args:
        volumes: [B, C, *spatial], 2 or 3 spatial axes.
        degrees: about the first, second and third axis, [B, 3]; in 2D only the last is used.
        scale: proportion of each axis that fills the output, [B, axes]; negative values flip.
        centre: input position of the output's centre, relative to each axis' centre, in units of its length, [B, axes].

    Returns:
        Of the shape and data type of ``volumes``.
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
    rotation *= scale[:, None]
    if axes == 3 and not volumes.is_cuda:
        each = zip(volumes, rotation.float(), centre, strict=True)
        return torch.stack([_turn(volume, turn, middle) for volume, turn, middle in each])
    # affine_grid takes axes in reverse order and coordinates from -1 to 1, so that unequal sides need their ratio.
    sides = torch.tensor(volumes.shape[2:], dtype=torch.float64)
    matrix = (rotation * sides[None, None, :] / sides[None, :, None]).flip(1, 2)
    matrix = torch.cat([matrix, 2 * centre.double().flip(1)[..., None]], dim=2)
    # In float32 even if volumes are in bfloat16, which is too coarse for positions.
    grid = functional.affine_grid(_beside(volumes, matrix.float()), list(volumes.shape), align_corners=False)
    return functional.grid_sample(volumes.float(), grid, align_corners=False).to(volumes.dtype)


def _turn(volume: Tensor, rotation: Tensor, centre: Tensor) -> Tensor:
    """Equivalent of a 3D grid_sample of a volume [C, X, Y, Z], by sampling an image of its planes one below the other.

    On a CPU torch samples images eight times as fast as volumes. Trilinear interpolation is linear interpolation
    between two samples of the image that are one plane apart. In float32 positions have errors of up to 1/1000 voxel
    at 128³.
    """
    depth, height, width = volume.shape[1:]
    pitch = height + 1  # a row of zeros after each plane, for positions outside the second axis
    sizes = depth, height, width
    steps = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in sizes]
    middles = [(size - 1) / 2 + float(share) * size for size, share in zip(sizes, centre, strict=True)]

    def origins(axis: int, planes: slice, unit: float = 1.0, zero: float = 0.0) -> list[Tensor]:
        """Input positions of voxels along an axis: a part per row [planes, height, 1], plus a part along the row."""
        x, y, z = (along * step * unit for along, step in zip(rotation[axis], steps, strict=True))
        return [(x[planes, None] + y + (middles[axis] * unit + zero))[..., None], z]

    turned = torch.empty_like(volume)
    # Some planes of the result at a time, so that intermediate results stay in the processor's cache.
    for start in range(0, depth, _PLANES):
        planes = slice(start, start + _PLANES)
        x = torch.add(*origins(0, planes)).clamp_(-1, depth)
        before = x.floor()
        between = x.sub_(before)
        # Only the planes that are needed, 0 outside the volume: positions in a smaller image are more precise.
        first, last = (int(plane) for plane in before.aminmax())
        inside = slice(*(min(max(plane, 0), depth) for plane in (first, last + 2)))
        images = torch.zeros(len(volume), last + 2 - first, pitch, width)
        images[:, inside.start - first : inside.stop - first, :-1] = volume[:, inside]
        rows = (last - first + 1) * pitch
        # Coordinates of grid_sample are from -1 to 1.
        row, zero = 2 / rows, 1 / rows - 1
        y = torch.add(*origins(1, planes, row)).clamp_(-row, height * row)
        grid = torch.empty(2, *y.shape)
        torch.add(y.add_(zero), before.sub_(first), alpha=pitch * row, out=grid[1])
        torch.add(*origins(2, planes, 2 / width, 1 / width - 1), out=grid[0])
        for image, of_channel in zip(images, turned, strict=True):
            # Both planes of each voxel as two channels, of which the second begins one plane later.
            both = image.as_strided((len(y), 2, rows, width), (0, pitch * width, width, 1))
            above, below = functional.grid_sample(both, grid.movedim(0, -1), align_corners=False).unbind(1)
            of_channel[planes] = above.lerp_(below, between)
    return turned


def _box(corner: Tensor, box: Tensor, lengths: Sequence[int]) -> list[slice]:
    """Along each axis, the voxels whose centres lie in a box; corner and sides are relative to the axes, [axes]."""
    starts, ends = (torch.ceil(share * torch.tensor(lengths) - 0.5).int().tolist() for share in (corner, corner + box))
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]
