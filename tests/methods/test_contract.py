"""What every method owes the project, in 2D and 3D. A method added to the registry is tested here as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.methods.base import Batch, ClosedFormMethod, GradientMethod, Method

SHAPES = [(1, 32, 32, 32), (3, 32, 32)]
CASES = [pytest.param(name, shape, id=f"{name}-{len(shape) - 1}d") for name in METHODS for shape in SHAPES]
TRAINED = [case for case in CASES if METHODS[case.values[0]].settings.trained]


def build(name: str, shape: tuple[int, ...]) -> Method:
    torch.manual_seed(0)
    return METHODS[name].load()(METHODS[name].settings(), Network(channels=[8, 16]), shape)


def people(shape: tuple[int, ...], count: int) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def batch(shape: tuple[int, ...], target: list[bool], views: int = 2) -> Batch:
    return Batch(people(shape, 2 * len(target)).unflatten(0, (2, -1))[:views], torch.tensor(target))


def learnt(name: str, shape: tuple[int, ...]) -> Method:
    """As it is after training: a closed form fitted, a network as it starts."""
    method = build(name, shape)
    if isinstance(method, ClosedFormMethod):
        x = people(shape, 12)
        method.fit(lambda rows, planes: x[list(rows)][:, :, planes], range(12), torch.tensor([False, True] * 6))
    return method.eval()


def gradient_method(name: str, shape: tuple[int, ...]) -> GradientMethod:
    method = build(name, shape)
    assert isinstance(method, GradientMethod)
    return method


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_representations_are_one_row_per_participant_and_do_not_depend_on_the_others(name: str, shape: tuple) -> None:
    method = learnt(name, shape)
    x = people(shape, 5)
    representations = method.represent(x)
    assert tuple(representations) == method.spaces
    for space, values in representations.items():
        assert values.ndim == 2
        assert len(values) == 5
        torch.testing.assert_close(method.represent(x[:1])[space], values[:1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "shape"), TRAINED)
def test_as_many_views_are_made_as_the_method_uses(name: str, shape: tuple) -> None:
    method, target = gradient_method(name, shape), [False, False, True, True]
    data, enough = batch(shape, target), batch(shape, target, method.views)
    losses = []
    for given in (data, enough):
        torch.manual_seed(0)
        losses.append(method.losses(method.encode(given), given)["loss"])
    assert losses[0] == losses[1]
    if method.views > 1:
        views = data.views.clone().requires_grad_()
        given = Batch(views, data.target)
        method.losses(method.encode(given), given)["loss"].backward()
        assert views.grad is not None
        assert all(gradient.any() for gradient in views.grad)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_salient_head_has_a_distance_from_its_reference_point(name: str, shape: tuple) -> None:
    method = learnt(name, shape)
    x = people(shape, 3).requires_grad_()
    if not method.has_salient_norm:
        with pytest.raises(NotImplementedError):
            method.salient_norm(x)
        return
    distance = method.salient_norm(x)
    assert distance.shape == (3,)
    assert (distance >= 0).all()
    (gradient,) = torch.autograd.grad(distance.sum(), x)
    assert gradient.any()
    assert "salient" in method.spaces


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_every_space_can_be_mapped_back_to_voxels(name: str, shape: tuple) -> None:
    method = learnt(name, shape)
    for space in method.spaces:
        x = people(shape, 2).requires_grad_()
        method.represent(x)[space].sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "shape"), TRAINED)
@pytest.mark.parametrize(
    "target", [[False, True] * 3, [False, False, True, True], [False, False, False, False, True, True]]
)
def test_every_parameter_has_a_gradient_of_its_own_loss_alone(name: str, shape: tuple, target: list[bool]) -> None:
    method = gradient_method(name, shape)
    data = batch(shape, target)
    estimators = {id(parameter) for parameter in method.estimator_parameters()}
    assert estimators <= {id(parameter) for parameter in method.parameters()}
    encoded = method.encode(data)
    loss = method.estimator_loss(encoded, data)
    assert (loss is not None) == bool(estimators)
    if loss is not None:
        loss.backward()
    for parameter_name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in estimators), parameter_name
        if id(parameter) in estimators:
            assert torch.isfinite(parameter.grad).all(), parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name
            parameter.requires_grad_(False)  # as the loop does before the encoders' step
    losses = method.losses(encoded, data)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    losses["loss"].backward()
    for parameter_name, parameter in method.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("target", [[True] * 4, [False] * 4])
def test_a_batch_without_a_group_is_refused(target: list[bool]) -> None:
    with pytest.raises(ValueError, match="the batch holds no"):
        batch((3, 32, 32), target)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_loaded_method_has_the_same_representations(name: str, shape: tuple, tmp_path: Path) -> None:
    method = learnt(name, shape)
    save_file({k: v.contiguous() for k, v in method.state_dict().items()}, tmp_path / "model.safetensors")
    torch.manual_seed(99)
    other = METHODS[name].load()(METHODS[name].settings(), Network(channels=[8, 16]), shape)
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = people(shape, 3)
    for space, values in method.represent(x).items():
        torch.testing.assert_close(other.eval().represent(x)[space], values)


@pytest.mark.parametrize(("name", "shape"), TRAINED)
def test_bfloat16_autocast_leaves_losses_in_float32(name: str, shape: tuple) -> None:
    method = gradient_method(name, shape)
    data = batch(shape, [False, True] * 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = method.encode(data)
        losses = method.losses(encoded, data)
        loss = method.estimator_loss(encoded, data)
    if loss is not None:
        losses["estimator"] = loss
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("name", METHODS)
def test_it_is_described_and_cited(name: str) -> None:
    settings = METHODS[name].settings()
    text = METHODS[name].describe(settings)
    assert text.endswith(".")
    for reference in settings.references:
        assert reference.url.startswith("https://")
    assert METHODS[name].title
