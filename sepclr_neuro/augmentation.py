"""Random views of volumes, made on the device that trains.

The kinds and parameters are those of MONAI's `RandSpatialCrop` with `Resize`, `RandAffine`, `RandGaussianSmooth`,
`RandGaussianNoise`, `RandFlip` and `RandCoarseDropout`, and the tests compare each with MONAI's result for the same
parameters. One after the other they would cost more than the network; but crop, resize, shift, flip and blur act on
each axis alone, so for a volume all of them are one matrix an axis, and only a rotation needs a resampling of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as functional
from torch import Tensor

from sepclr_neuro.config import Augmentation
from sepclr_neuro.sampling import Members, seed_of

__all__ = ["augment", "axis_matrix", "rotate"]

_PLANES = 16
_ROWS = 16


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
    shift = affine[:, None] * uniform(-settings.translation_share, settings.translation_share, axes)
    degrees = affine[:, None] * uniform(-settings.rotation_degrees, settings.rotation_degrees, 3)
    turned = affine & (degrees != 0).any(dim=1)
    # A rotation shifts as well, by the same interpolation: a second one would blur more than MONAI's affine does.
    centre += torch.where(turned[:, None], 0, shift)
    scale = crop[:, None].repeat(1, axes)
    scale[:, 0] *= torch.where(happens(settings.flip_probability), -1.0, 1.0)
    sigma = torch.where(happens(settings.blur_probability)[:, None], uniform(*settings.blur_sigma_voxels, axes), 0.0)
    noise_sd = torch.where(happens(settings.noise_probability), uniform(0, settings.noise_sd), 0.0)
    cutout = happens(settings.cutout_probability)
    box = cutout[:, None] * uniform(*settings.cutout_share, axes)
    corner = (1 - box) * uniform(0, 1, axes)

    lengths = volumes.shape[2:]
    scale, centre, sigma, on_device_sd = (_beside(volumes, drawn) for drawn in (scale, centre, sigma, noise_sd))
    matrices = _axis_matrices(lengths, scale, centre, sigma)
    views = torch.empty_like(volumes)
    # One by one on a CPU, since a volume that stays in its cache from the first to the last product is done sooner.
    at_once = 1 if device.type == "cpu" else len(volumes)
    for start in range(0, len(volumes), at_once):
        part = slice(start, start + at_once)
        source = volumes[part]
        if turned[part].any():
            source = rotate(source, degrees[part], shift[part])
        _along_axes([matrix[part] for matrix in matrices], source, out=views[part])

    noisy = noise_sd.nonzero()[:, 0].tolist()
    for i, noise in zip(noisy, _noise(volumes, seed, [members.positions[i] for i in noisy]), strict=True):
        views[i].addcmul_(noise, on_device_sd[i])
    for i in cutout.nonzero()[:, 0].tolist():
        views[i][:, *_box(corner[i], box[i], lengths)] = 0
    return views


def _noise(volumes: Tensor, seed: int, positions: Sequence[int]) -> Iterator[Tensor]:
    """Standard normal numbers for a volume of each of these people: a stream a person, whoever else is in memory."""

    def draw(position: int) -> Tensor:
        rng = torch.Generator(volumes.device).manual_seed(seed_of(seed, position))
        return torch.empty_like(volumes[0]).normal_(generator=rng)

    if volumes.is_cuda:
        yield from map(draw, positions)
        return
    # On a CPU torch draws with one thread: as many people at once as there are threads.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as drawing:
        for start in range(0, len(positions), threads):
            yield from drawing.map(draw, positions[start : start + threads])


def _beside(volumes: Tensor, drawn: Tensor) -> Tensor:
    """What was drawn on the CPU, on the device of the volumes, which nothing waits for."""
    drawn = drawn.to(volumes.dtype)
    return drawn.pin_memory().to(volumes.device, non_blocking=True) if volumes.is_cuda else drawn


def _axis_matrices(lengths: Sequence[int], scale: Tensor, centre: Tensor, sigma: Tensor) -> list[Tensor]:
    """A matrix [B, n, n] an axis, from what was drawn, each [B, axes]; those of a cube at once, since a GPU starts few
    large operations sooner than many small ones."""
    if len(set(lengths)) == 1:
        of_cube = axis_matrix(lengths[0], *(drawn.T.flatten() for drawn in (scale, centre, sigma)))
        return list(of_cube.chunk(len(lengths)))
    return [axis_matrix(n, scale[:, axis], centre[:, axis], sigma[:, axis]) for axis, n in enumerate(lengths)]


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


def _along_axes(matrices: Sequence[Tensor], volumes: Tensor, out: Tensor) -> None:
    """Each matrix @ the lines along its spatial axis; [B, n, n] an axis and [B, C, *spatial] -> ``out``, likewise."""
    # Each product takes the first axis and puts it back last, so that after all of them the order is the old one.
    volumes = volumes.movedim(1, -1)
    for matrix in matrices:
        lines = volumes.flatten(2)
        last = matrix is matrices[-1]
        shape = len(volumes), lines.shape[2], matrix.shape[1]
        made = out.view(shape) if last else volumes.new_empty(shape)
        for rows, columns in _blocks(matrix):
            torch.matmul(lines[:, columns].mT, matrix[:, rows, columns].mT, out=made[..., rows])
        volumes = made.unflatten(1, volumes.shape[2:])


def _blocks(matrix: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows of a banded matrix [B, n, n], some at a time, with the columns in which these are not all 0.

    On a GPU all in one, since it would be waited for, and multiplies by zeros faster.
    """
    if matrix.is_cuda:
        yield slice(None), slice(None)
        return
    not_zero = (matrix != 0).any(dim=0)
    for start in range(0, len(not_zero), _ROWS):
        rows = slice(start, start + _ROWS)
        columns = not_zero[rows].any(dim=0).nonzero()[:, 0].tolist() or [0]
        yield rows, slice(columns[0], columns[-1] + 1)


def rotate(volumes: Tensor, degrees: Tensor, shift: Tensor) -> Tensor:
    """Rotates about the middle and shifts, linear interpolation, 0 outside.

    Args:
        volumes: [B, C, *spatial], 2 or 3 spatial axes.
        degrees: about the first, second and third axis, [B, 3]; in 2D only the last is used.
        shift: where the middle of the output comes from, as a share of each axis from its middle, [B, axes].
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
    if axes == 3 and not volumes.is_cuda:
        each = zip(volumes, rotation.float(), shift, strict=True)
        return torch.stack([_turn(volume, turn, by) for volume, turn, by in each])
    # affine_grid counts axes from the last and from -1 to 1: a rotation in voxels needs the sides' ratio.
    sides = torch.tensor(volumes.shape[2:], dtype=torch.float64)
    matrix = (rotation * sides[None, None, :] / sides[None, :, None]).flip(1, 2)
    matrix = torch.cat([matrix, 2 * shift.double().flip(1)[..., None]], dim=2)
    grid = functional.affine_grid(_beside(volumes, matrix), list(volumes.shape), align_corners=False)
    return functional.grid_sample(volumes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _turn(volume: Tensor, rotation: Tensor, shift: Tensor) -> Tensor:
    """What grid_sample makes of a volume [C, X, Y, Z], its planes laid one below the other as an image.

    torch samples images eight times as fast as volumes on a CPU. Trilinear interpolation is linear interpolation
    between two samples of the image, a plane apart. float32 leaves positions off by up to 1/1000 voxel at 128³.
    """
    channels, (depth, height, width) = len(volume), volume.shape[1:]
    # A row of zeros after each plane, and planes of zeros before and after all: what lies outside of each axis.
    pitch = height + 1
    image = functional.pad(volume, (0, 0, 0, 1, 1, 2)).flatten(1, 2)
    sizes = depth, height, width
    steps = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in sizes]
    middles = [(size - 1) / 2 + float(by) * size for size, by in zip(sizes, shift, strict=True)]
    # grid_sample counts from -1 to 1.
    along_z, middle_z = rotation[2] * 2 / width, (2 * middles[2] + 1) / width - 1
    turned = torch.empty_like(volume)
    # Some planes of the result at a time, so that their positions stay in the processor's cache.
    for start in range(0, depth, _PLANES):
        planes = slice(start, start + _PLANES)
        x, y, z = (
            (along[0] * steps[0][planes, None] + along[1] * steps[1] + middle)[..., None] + along[2] * steps[2]
            for along, middle in ((rotation[0], middles[0]), (rotation[1], middles[1]), (along_z, middle_z))
        )
        before = x.clamp_(-1, depth).floor()
        # The planes that these ones come from; the fewer, the more digits a position among them has.
        first, last = (int(plane) for plane in before.aminmax())
        sources = [
            image[:, (first + plane) * pitch : (last + plane + 1) * pitch].expand(len(before), channels, -1, width)
            for plane in (1, 2)
        ]
        between = x.sub_(before)[:, None]
        row = before.sub_(first).mul_(pitch).add_(y.clamp_(-1, height))
        rows = sources[0].shape[2]
        grid = torch.stack([z, row.mul_(2 / rows).add_(1 / rows - 1)], dim=-1)
        above, below = (functional.grid_sample(source, grid, align_corners=False) for source in sources)
        torch.lerp(above, below, between, out=turned[:, planes].movedim(1, 0))
    return turned


def _box(corner: Tensor, box: Tensor, lengths: Sequence[int]) -> list[slice]:
    """The voxels an axis whose middles lie in a box; corner and sides are shares of the axes, [axes]."""
    starts, ends = (torch.ceil(share * torch.tensor(lengths) - 0.5).int().tolist() for share in (corner, corner + box))
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]
