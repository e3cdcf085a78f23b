"""Encoders have the right shapes in 2D and 3D and use where something is."""

from __future__ import annotations

import pytest
import torch

from sepclr_neuro.config import Network
from sepclr_neuro.networks import build_encoder


@pytest.mark.parametrize("name", ["light", "resnet18", "densenet121"])
@pytest.mark.parametrize("shape", [(1, 32, 32, 32), (3, 32, 32)])
def test_every_encoder_in_2d_and_3d(name: str, shape: tuple[int, ...]) -> None:
    encoder = build_encoder(Network(name=name, channels=[8, 16]), shape, dim=6)
    out = encoder(torch.randn(2, *shape))
    assert out.shape == (2, 6)
    out.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_light_takes_sides_of_different_length() -> None:
    encoder = build_encoder(Network(channels=[8, 8, 8]), (1, 32, 48, 64), dim=4)
    assert encoder(torch.randn(1, 1, 32, 48, 64)).shape == (1, 4)


def test_light_does_not_mix_people() -> None:
    encoder = build_encoder(Network(channels=[8, 16]), (1, 32, 32, 32), dim=4)
    x = torch.randn(3, 1, 32, 32, 32)
    torch.testing.assert_close(encoder(x)[:1], encoder(x[:1]))
