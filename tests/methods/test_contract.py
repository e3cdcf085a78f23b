"""What every method owes the project, in 2D and 3D. A method added to the registry is tested here as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sepclr_neuro.config import Network
from sepclr_neuro.methods.base import Method
from sepclr_neuro.registry import METHODS

SHAPES = [(1, 32, 32, 32), (3, 32, 32)]
CASES = [pytest.param(name, shape, id=f"{name}-{len(shape) - 1}d") for name in METHODS for shape in SHAPES]


def build(name: str, shape: tuple[int, ...]) -> Method:
    torch.manual_seed(0)
    return METHODS[name].load()(METHODS[name].settings(), Network(channels=[8, 16]), shape)


def batch(shape: tuple[int, ...], target: list[bool]) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    views = torch.randn(2, len(target), *shape, generator=rng)
    return (views[0], views[1]), torch.tensor(target)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_representations_are_one_row_a_person_and_do_not_depend_on_the_others(name: str, shape: tuple) -> None:
    method = build(name, shape).eval()
    (x, _), _ = batch(shape, [False] * 5)
    representations = method.represent(x)
    assert tuple(representations) == method.spaces
    for space, values in representations.items():
        assert values.ndim == 2
        assert len(values) == 5
        torch.testing.assert_close(method.represent(x[:1])[space], values[:1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize(
    "target", [[False, True] * 3, [False, False, True, True], [False, False, False, False, True, True]]
)
def test_every_parameter_gets_a_gradient(name: str, shape: tuple, target: list[bool]) -> None:
    method = build(name, shape)
    losses = method.losses(*batch(shape, target))
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    losses["loss"].backward()
    for parameter_name, parameter in method.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("target", [[True] * 4, [False] * 4])
def test_a_batch_without_a_group_is_refused(name: str, shape: tuple, target: list[bool]) -> None:
    with pytest.raises(ValueError, match="the batch holds no"):
        build(name, shape).losses(*batch(shape, target))


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_saved_and_loaded_it_represents_alike(name: str, shape: tuple, tmp_path: Path) -> None:
    method = build(name, shape).eval()
    save_file({k: v.contiguous() for k, v in method.state_dict().items()}, tmp_path / "model.safetensors")
    torch.manual_seed(99)
    other = METHODS[name].load()(METHODS[name].settings(), Network(channels=[8, 16]), shape)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    (x, _), _ = batch(shape, [False] * 3)
    for space, values in method.represent(x).items():
        torch.testing.assert_close(other.eval().represent(x)[space], values)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_bfloat16_autocast_leaves_losses_in_float32(name: str, shape: tuple) -> None:
    method = build(name, shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method.losses(*batch(shape, [False, True] * 2))
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in losses.values())
