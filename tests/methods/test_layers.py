"""Layers with gradients of their own give what torch's do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sepclr_neuro.methods.layers import GroupNorm, cut_patches, join_patches

SHAPES = [(3, 16, 4, 6, 5), (2, 32, 16, 16, 16), (4, 16, 15, 15, 15), (4, 16, 8, 7)]


def _draw(shape: tuple[int, ...], dtype: torch.dtype, mean: float = 0.5) -> Tensor:
    """Numbers of SD 1, channels last."""
    rng = torch.Generator().manual_seed(0)
    drawn = (torch.randn(shape, generator=rng) + mean).to(dtype)
    return drawn.to(memory_format=torch.channels_last_3d if len(shape) == 5 else torch.channels_last).requires_grad_()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mean", [0.5, 3.0, 10.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-4), (torch.bfloat16, 1e-2)]
)
def test_group_norm_is_that_of_torch(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, mean: float) -> None:
    """Its error in bfloat16 is that of a few roundings, of which each is up to 2^-9."""
    x = _draw(shape, dtype, mean)
    g = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype) + 0.3
    ours = GroupNorm(8, shape[1])
    nn.init.uniform_(ours.weight, 0.5, 2)
    nn.init.normal_(ours.bias)
    if dtype == torch.float64:
        ours = ours.double()
    y = ours(x)
    assert y.movedim(1, -1).is_contiguous(), "the layout is lost"
    assert "_GroupNormBackward" in type(y.grad_fn).__name__
    theirs = nn.GroupNorm(8, shape[1], dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    exact = x.detach().double().contiguous().requires_grad_()
    expected = theirs(exact)
    assert _error(y, expected) < tolerance
    ours_by = torch.autograd.grad(y, [x, *ours.parameters()], g)
    theirs_by = torch.autograd.grad(expected, [exact, *theirs.parameters()], g.double())
    for found, wanted in zip(ours_by, theirs_by, strict=True):
        assert found.dtype in (dtype, torch.float32)
        assert _error(found, wanted) < tolerance


def test_group_norm_leaves_the_rest_to_torch() -> None:
    last = _draw(SHAPES[0], torch.float32)
    first = last.detach().contiguous().requires_grad_()
    assert "Native" in type(GroupNorm(8, 16)(first).grad_fn).__name__
    GroupNorm(8, 16, affine=False)(last).sum().backward()
    lines = torch.randn(2, 5, 16).movedim(1, -1).requires_grad_()
    GroupNorm(8, 16)(lines).sum().backward()


def _error(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("shape", [(2, 1, 12, 24, 12), (2, 3, 12, 24)])
def test_patches_are_those_of_a_plain_permutation(dtype: torch.dtype, side: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    patches = cut_patches(x, side)
    grid = [size // side for size in shape[2:]]
    assert patches.shape == (shape[0], *grid, shape[1] * side ** len(grid))
    for place in ((0,) * len(grid), (1,) * len(grid), tuple(size - 1 for size in grid)):
        block = x[:, :, *(slice(side * at, side * (at + 1)) for at in place)]
        assert torch.equal(patches[:, *place], block.flatten(1))
    g = torch.randn(patches.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    (by_x,) = torch.autograd.grad(patches, x, g)
    assert torch.equal(cut_patches(by_x, side), g)
    patches = patches.detach().requires_grad_()
    joined = join_patches(patches, side)
    assert torch.equal(joined, x)
    (by_patches,) = torch.autograd.grad(joined, patches, by_x)
    assert torch.equal(by_patches, g)


@pytest.mark.parametrize(
    "x",
    [
        torch.arange(8.0 * 8 * 8).reshape(1, 1, 8, 8, 8).transpose(2, 4),
        torch.arange(8.0 * 8 * 8 + 1)[1:].reshape(1, 1, 8, 8, 8),
    ],
    ids=["not contiguous", "from an odd element on"],
)
def test_patches_of_a_part_of_a_tensor(x: Tensor) -> None:
    assert torch.equal(cut_patches(x, 4), cut_patches(x.clone(memory_format=torch.contiguous_format), 4))
