"""Encoders have the right shapes in 2D and 3D and use where something is."""

from __future__ import annotations

import sys

import pytest
import torch

from sepclr_neuro.config.network import Network
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.methods.networks import PatchStem, _Unpatch, build_decoder, build_encoder


@pytest.mark.parametrize("name", ["linear", "light", "linear-light", "strided", "resnet18", "densenet121"])
@pytest.mark.parametrize("shape", [(1, 32, 32, 32), (3, 32, 32)])
def test_every_encoder_in_2d_and_3d(name: str, shape: tuple[int, ...]) -> None:
    encoder = build_encoder(Network(name=name, channels=[8, 16]), shape, dim=6)
    out = encoder(torch.randn(2, *shape))
    assert out.shape == (2, 6)
    out.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_resnet_takes_a_multiple_of_its_channels() -> None:
    whole, half = (build_encoder(Network(name="resnet18", widen_factor=w), (3, 32, 32), dim=6) for w in (1, 0.5))
    assert half.fc.in_features * 2 == whole.fc.in_features == 512
    group = build_encoder(Network(name="resnet18", widen_factor=0.125, normalisation="group"), (3, 32, 32), dim=6)
    assert group(torch.randn(2, 3, 32, 32)).shape == (2, 6)
    with pytest.raises(ValueError, match=r"makes 19.2 of 64 channels, which are to be a multiple of 8"):
        Network(name="resnet18", widen_factor=0.3)
    with pytest.raises(ValueError, match=r"`widen_factor` is of `resnet18` alone, not of `densenet121`; remove it"):
        Network(name="densenet121", widen_factor=0.5)


def test_networks_of_monai_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(InputError, match=r"resnet18 is MONAI's, .* run `pip install 'sepclr_neuro\[cnn\]'`"):
        build_encoder(Network(name="resnet18"), (1, 32, 32, 32), dim=6)
    build_encoder(Network(name="light", channels=[8, 16]), (1, 32, 32, 32), dim=6)


def test_linear_light_is_the_sum_of_both() -> None:
    encoder, x = (
        build_encoder(Network(name="linear-light", channels=[8, 16]), (1, 32, 32, 32), dim=4),
        torch.randn(2, 1, 32, 32, 32),
    )
    torch.nn.init.zeros_(encoder.convolutional_part.representation.weight)
    torch.nn.init.zeros_(encoder.convolutional_part.representation.bias)
    torch.testing.assert_close(encoder(2 * x) - encoder(x), encoder(x) - encoder(0 * x))


def test_light_takes_sides_of_different_length() -> None:
    encoder = build_encoder(Network(channels=[8, 8, 8]), (1, 32, 48, 64), dim=4)
    assert encoder(torch.randn(1, 1, 32, 48, 64)).shape == (1, 4)


@pytest.mark.parametrize("name", ["linear", "light", "linear-light"])
def test_dropout_is_active_in_training_alone(name: str) -> None:
    encoder = build_encoder(Network(name=name, channels=[8, 16], dropout=0.5), (1, 32, 32, 32), dim=4)
    x = torch.randn(2, 1, 32, 32, 32)
    assert (encoder(x) - encoder(x)).abs().max() > 1e-3
    encoder.eval()
    torch.testing.assert_close(encoder(x), encoder(x))


def test_light_does_not_mix_participants() -> None:
    encoder = build_encoder(Network(channels=[8, 16]), (1, 32, 32, 32), dim=4)
    x = torch.randn(3, 1, 32, 32, 32)
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]))


@pytest.mark.parametrize("name", ["linear", "light", "strided", "resnet18"])
@pytest.mark.parametrize("shape", [(1, 32, 48, 64), (3, 32, 40), (1, 80, 112, 96)])
def test_a_decoder_ends_on_the_grid_that_the_encoder_began_with(name: str, shape: tuple[int, ...]) -> None:
    decoder = build_decoder(Network(name=name, channels=[8, 8, 8, 16]), shape, dim=5)
    with torch.no_grad():
        assert decoder(torch.randn(2, 5)).shape == (2, *shape)


@pytest.mark.parametrize("spatial", [(8, 12), (8, 12, 16)])
def test_patches_are_put_back_where_they_were_cut(spatial: tuple[int, ...]) -> None:
    axes = len(spatial)
    stem, back = PatchStem(2, 2 * 4**axes, side=4, axes=axes), _Unpatch(2 * 4**axes, 2, side=4, axes=axes)
    for layer in (stem, back):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.randn(3, 2, *spatial)
    torch.testing.assert_close(back(stem(x)), x)


@pytest.mark.parametrize("name", ["light", "strided", "resnet18"])
def test_an_encoder_of_means_takes_images_of_another_size(name: str) -> None:
    network = Network(name=name, channels=[8, 16], patch=2, pooling="mean")
    encoder = build_encoder(network, (3, 32, 32), dim=4).eval()
    assert encoder(torch.randn(2, 3, 40, 48)).shape == (2, 4)


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_patches_set_the_first_grid(patch: int) -> None:
    network = Network(channels=[8, 16], patch=patch)
    encoder, decoder = build_encoder(network, (1, 32, 32), dim=4), build_decoder(network, (1, 32, 32), dim=4)
    assert encoder.features[:1](torch.randn(1, 1, 32, 32)).shape == (1, 8, 32 // patch, 32 // patch)
    assert decoder(encoder(torch.randn(1, 1, 32, 32))).shape == (1, 1, 32, 32)
