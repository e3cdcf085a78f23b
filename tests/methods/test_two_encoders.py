"""Networks with two encoders: the salient one reads adjusted volumes, the common space loses the salient codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.methods import base
from sepclr_neuro.methods.two_encoders import TwoEncoders
from tests.oracles import linear as oracle

SHAPE = (1, 32, 32, 32)
PEOPLE = 14
RNG = np.random.default_rng(0)
TARGET = torch.tensor([False, True] * (PEOPLE // 2))
COVARIATES = torch.from_numpy(RNG.normal(size=(PEOPLE, 2)))
COVARIATES -= COVARIATES.mean(dim=0)
VOLUMES = torch.from_numpy(RNG.normal(size=(PEOPLE, *SHAPE))).float()
VOLUMES += torch.tensordot(COVARIATES, torch.from_numpy(RNG.normal(size=(2, *SHAPE))), dims=1).float()


def build(name: str) -> TwoEncoders:
    torch.manual_seed(0)
    method = METHODS[name].load()(METHODS[name].settings(), Network(channels=[8, 16]), SHAPE)
    assert isinstance(method, TwoEncoders)
    return method.eval()


def with_effects(name: str) -> TwoEncoders:
    method = build(name)
    method.learn_effects(lambda rows, planes: VOLUMES[list(rows)][:, :, planes], range(PEOPLE), TARGET, COVARIATES)
    return method


@pytest.mark.parametrize("planes_at_once", [3, 32])
def test_effects_are_least_squares_within_groups(planes_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "VOXELS_AT_ONCE", planes_at_once * PEOPLE * 32 * 32)
    method = with_effects("sepclr-k-jem")
    z, a = VOLUMES.flatten(1).double().numpy(), COVARIATES.numpy()
    expected = oracle.adjusted(z, TARGET.numpy(), a, z[:3], a[:3])
    ours = method.adjust(VOLUMES[:3], COVARIATES[:3])
    np.testing.assert_allclose(ours.flatten(1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["sepclr-k-jem", "cvae"])
def test_the_salient_encoder_alone_reads_adjusted_volumes(name: str) -> None:
    method = with_effects(name)
    with torch.no_grad():
        adjusted = method.adjust(VOLUMES, COVARIATES)
        found = method.represent(VOLUMES, COVARIATES)
        torch.testing.assert_close(found["salient"], method.represent(adjusted)["salient"])
        torch.testing.assert_close(found["common"], method.represent(VOLUMES)["common"])
        torch.testing.assert_close(method.salient_norm(VOLUMES, COVARIATES), method.salient_norm(adjusted))
    assert not torch.allclose(found["salient"], method.represent(VOLUMES)["salient"], atol=1e-4)


@pytest.mark.parametrize("name", ["sepclr-k-jem", "cvae"])
def test_no_linear_probe_finds_salient_codes_in_the_common_space(name: str) -> None:
    method = with_effects(name)
    with torch.no_grad():
        # At most N / 4 axes are erased.
        method.salient_encoder.register_forward_hook(
            lambda module, given, code: code * (torch.arange(code.shape[1]) < 3)
        )
        volumes, adjusted = VOLUMES, method.adjust(VOLUMES, COVARIATES)
        before, of_adjusted = method.represent(volumes), method.represent(adjusted)
        method.learn_erasure(of_adjusted["common"], of_adjusted["salient"])
        after = method.represent(volumes, COVARIATES)
        others = method.represent(volumes, COVARIATES.flip(0))
        left = method.represent(adjusted)["common"].double().numpy()
    codes = (of_adjusted["common"], of_adjusted["salient"][:, :3], before["common"], before["salient"][:, :3])
    expected = oracle.erased(*(x.double().numpy() for x in codes))
    ours = after["common"].double().numpy()
    np.testing.assert_allclose(ours - ours.mean(axis=0), expected - expected.mean(axis=0), atol=1e-5)
    salient = codes[1].double().numpy()
    np.testing.assert_allclose((left - left.mean(axis=0)).T @ (salient - salient.mean(axis=0)), 0, atol=1e-4)
    torch.testing.assert_close(others["common"], after["common"], msg="the common space depends on the covariates")


def test_effects_and_erasure_are_saved_and_loaded(tmp_path: Path) -> None:
    method = with_effects("sepclr-k-jem")
    with torch.no_grad():
        before = method.represent(VOLUMES, COVARIATES)
        method.learn_erasure(before["common"], before["salient"])
        save_file(method.state_dict(), tmp_path / "model.safetensors")
        other = build("sepclr-k-jem")
        other.load_state_dict(load_file(tmp_path / "model.safetensors"))
        for space, values in method.represent(VOLUMES, COVARIATES).items():
            torch.testing.assert_close(other.represent(VOLUMES, COVARIATES)[space], values)


def test_each_loss_reads_adjusted_views() -> None:
    views = torch.stack([VOLUMES, VOLUMES])
    for name in ("sepclr-k-jem", "cvae"):
        method = build(name)
        read = torch.zeros_like(views).requires_grad_()
        batch = base.Batch(views, TARGET, salient_views=read)
        method.losses(method.encode(batch), batch)["loss"].backward()
        assert read.grad is not None
        assert read.grad[0].any()
