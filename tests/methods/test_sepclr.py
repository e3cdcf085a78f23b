"""The whole of SepCLR's loss, and what it does to a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sepclr_neuro.config import Network
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.methods.sepclr import SepCLR
from sepclr_neuro.registry import SepCLRSettings
from tests.oracles.sepclr import sepclr_loss

WEIGHTS = {"uniformity_weight": 2.0, "salient_weight": 3.0, "informationless_weight": 7.0, "independence_weight": 10.0}


class Heads(SepCLR):
    """SepCLR whose encoders are the input's own halves, so that the heads are known."""

    def __init__(self, **settings: float) -> None:
        super().__init__(SepCLRSettings(**settings), Network(channels=[8, 8]), (1, 32, 32, 32))
        self.common_encoder = self.salient_encoder = torch.nn.Identity()
        self.common_projector = torch.nn.Linear(4, 4, bias=False).double()
        self.salient_projector = torch.nn.Linear(4, 4, bias=False).double()

    def represent(self, volumes: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"common": volumes[:, :4], "salient": volumes[:, 4:]}


def losses_of(
    method: SepCLR, views: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor
) -> dict[str, torch.Tensor]:
    batch = Batch(views, target)
    return method.losses(method.encode(batch), batch)


@pytest.mark.parametrize("tau", [0.5, 1.3])
def test_the_loss_is_the_papers(tau: float) -> None:
    method = Heads(temperature=tau, **WEIGHTS)
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, 6, 8))
    target = np.array([False, True, True, False, True, False])
    ours = losses_of(method, (torch.tensor(views[0]), torch.tensor(views[1])), torch.tensor(target))
    heads = [
        [view @ projector.weight.detach().numpy().T for view in views[:, :, half]]
        for projector, half in ((method.common_projector, slice(0, 4)), (method.salient_projector, slice(4, 8)))
    ]
    expected = sepclr_loss(*heads, target, tau=tau, **WEIGHTS)
    assert ours["loss"].item() == pytest.approx(expected, rel=1e-12)


def test_independence_none_leaves_only_that_term_out() -> None:
    torch.manual_seed(0)
    x = (torch.randn(6, 8).double(), torch.randn(6, 8).double())
    target = torch.tensor([False, True] * 3)
    method = Heads(**WEIGHTS)
    whole = losses_of(method, x, target)
    method.independence = None
    without = losses_of(method, x, target)
    assert "independence" not in without
    assert (whole["loss"] - without["loss"]).item() == pytest.approx(10 * whole["independence"].item())


def test_training_pins_controls_and_pushes_patients_away() -> None:
    """On input where patients differ along one direction, controls end nearer to s' than patients do."""
    torch.manual_seed(0)
    method = SepCLR(SepCLRSettings(), Network(channels=[8, 8]), (1, 32, 32, 32))
    target = torch.tensor([False, True] * 6)
    x = 0.5 * torch.randn(12, 1, 32, 32, 32)
    x[target, :, :16] += 1.0
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    for _ in range(25):
        views = (x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x))
        optimizer.zero_grad()
        losses_of(method, views, target)["loss"].backward()
        optimizer.step()
    norms = method.salient_projector(method.represent(x)["salient"]).norm(dim=1)
    assert norms[target].min() > 2 * norms[~target].max()
