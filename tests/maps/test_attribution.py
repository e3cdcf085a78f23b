"""SmoothGrad, integrated gradients and occlusion against captum, on a network that is nothing like linear."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn

from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.learning.noise import normal_numbers
from sepclr_neuro.maps import attribution
from sepclr_neuro.maps.attribution import Scores, integrated_gradients, occlusion, smoothgrad

DIMENSIONS = 3


class Curved(nn.Module):
    """A small network that is nothing like linear, for any volume size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = {}
        for space in ("common", "salient"):
            layers[space] = nn.Sequential(
                nn.Conv3d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(DIMENSIONS), nn.Tanh()
            )
        self.encoders = nn.ModuleDict(layers)

    def forward(self, volumes: Tensor) -> dict[str, Tensor]:
        return {space: encoder(volumes) for space, encoder in self.encoders.items()}


Case = tuple[Scores, Tensor, Tensor, Tensor]


def curved_case() -> Case:
    """Three scores of two spaces, a volume, a mask and a baseline."""
    network = Curved().eval()
    generator = torch.Generator().manual_seed(3)
    volume, baseline = torch.randn(2, 1, 1, 8, 8, 8, generator=generator)
    network(volume)
    mask = torch.rand(8, 8, 8, generator=generator) > 0.3
    weights = torch.randn(3, DIMENSIONS, generator=generator)

    def scores(volumes: Tensor) -> list[Tensor]:
        spaces = network(volumes)
        return [spaces[s] @ w for s, w in zip(("common", "salient", "salient"), weights, strict=True)]

    return scores, volume, mask, baseline


def one(scores: Scores, k: int) -> Callable[[Tensor], Tensor]:
    """One score alone, [B], as captum wants it."""
    return lambda volumes: scores(volumes)[k]


def test_smoothgrad_equals_captum_under_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, volume, mask, _ = curved_case()
    ours = smoothgrad(scores, volume, mask, samples=5, noise_sd=0.7, seed=11)
    noise = torch.cat([normal_numbers(volume.shape, seed_of(11, copy)) for copy in range(5)])
    monkeypatch.setattr(
        NoiseTunnel, "_add_noise_to_input", staticmethod(lambda volume, sd, samples: volume + sd * noise[:samples])
    )
    for k, found in enumerate(ours):
        tunnel = NoiseTunnel(Saliency(lambda x, k=k: one(scores, k)(x * mask)))
        theirs = tunnel.attribute(volume, nt_type="smoothgrad", nt_samples=5, stdevs=0.7, abs=False)
        assert found.abs().max() > 0.01
        torch.testing.assert_close(found.float(), theirs[0, 0], rtol=1e-4, atol=1e-6)


def test_integrated_gradients_equal_captums_and_add_up_to_the_difference() -> None:
    scores, volume, _, baseline = curved_case()
    ours = integrated_gradients(scores, volume, baseline, steps=50)
    for k, found in enumerate(ours):
        integral = IntegratedGradients(one(scores, k))
        theirs = integral.attribute(volume, baseline, method="riemann_middle", n_steps=50)
        torch.testing.assert_close(found.float(), theirs[0, 0], rtol=1e-4, atol=1e-6)
    difference = (torch.cat(scores(volume)) - torch.cat(scores(baseline))).double()
    assert difference.abs().min() > 0.01
    torch.testing.assert_close(ours.sum(dim=(1, 2, 3)), difference, rtol=1e-3, atol=1e-4)


def test_occlusion_equals_captums_ablation_and_leaves_what_is_no_region() -> None:
    scores, volume, _, baseline = curved_case()
    regions = torch.zeros(8, 8, 8, dtype=torch.int32)
    regions[:4], regions[5:, :3], regions[5:, 5:, :2] = 7, 2, 40
    ours = occlusion(scores, volume, baseline, regions)
    for k, found in enumerate(ours):
        theirs = FeatureAblation(one(scores, k)).attribute(volume, baseline, feature_mask=regions.long()[None, None])
        assert found.unique().numel() == 4
        torch.testing.assert_close(found.float(), torch.where(regions > 0, theirs[0, 0], 0.0), rtol=1e-4, atol=1e-6)
    assert not ours[:, regions == 0].any()


def maps_of(case: Case) -> list[Tensor]:
    scores, volume, mask, baseline = case
    regions = torch.arange(8**3).reshape(8, 8, 8) // 64
    return [
        smoothgrad(scores, volume, mask, samples=5, noise_sd=0.7, seed=11),
        integrated_gradients(scores, volume, baseline, steps=5),
        occlusion(scores, volume, baseline, regions),
    ]


def test_how_many_pass_at_once_does_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, volume, mask, baseline = curved_case()
    batches = []

    def counted(volumes: Tensor) -> list[Tensor]:
        batches.append(len(volumes))
        return scores(volumes)

    whole = maps_of((counted, volume, mask, baseline))
    assert batches == [5, 5, 1, 7]
    batches.clear()
    monkeypatch.setattr(attribution, "VOXELS_AT_ONCE", 2 * volume.numel())
    chunked = maps_of((counted, volume, mask, baseline))
    assert batches == [2, 2, 1, 2, 2, 1, 1, 2, 2, 2, 1]
    for one_map, other in zip(whole, chunked, strict=True):
        torch.testing.assert_close(one_map, other, rtol=1e-5, atol=1e-7)


def test_noise_follows_the_seed() -> None:
    scores, volume, mask, _ = curved_case()
    first, same, other = (smoothgrad(scores, volume, mask, samples=2, noise_sd=0.7, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other, rtol=0.01)
