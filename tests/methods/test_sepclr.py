"""The whole of SepCLR's loss, and what it does to a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sepclr_neuro.config.methods.sepclr import SepCLRSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.methods.losses import attribute_alignment, informationless, uniformity
from sepclr_neuro.methods.sepclr import SepCLR
from tests.oracles import sepclr as oracle
from tests.oracles.sepclr import sepclr_loss
from tests.oracles.statistics import u_centred_distance_correlation

WEIGHTS = {"uniformity_weight": 2.0, "salient_weight": 3.0, "informationless_weight": 7.0, "independence_weight": 10.0}


class Heads(SepCLR):
    """SepCLR whose encoders are the input's own halves, so that the heads are known."""

    def __init__(self, term: str = "k-jem", **settings: float) -> None:
        super().__init__(SepCLRSettings(**settings), Network(channels=[8, 8]), (1, 32, 32, 32), term)
        self.common_encoder = self.salient_encoder = torch.nn.Identity()
        self.common_projector = torch.nn.Linear(4, 4, bias=False).double()
        self.salient_projector = torch.nn.Linear(4, 4, bias=False).double()

    def common_codes(self, volumes: torch.Tensor) -> torch.Tensor:
        return volumes[:, :4]

    def salient_codes(self, volumes: torch.Tensor) -> torch.Tensor:
        return volumes[:, 4:]


def losses_of(
    method: SepCLR, views: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor
) -> dict[str, torch.Tensor]:
    batch = Batch(torch.stack(views), target)
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


def test_distance_correlation_is_that_of_representations_with_controls_at_one_point() -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, 8, 8))
    target = np.array([False, True] * 4)
    found = losses_of(Heads("dcor"), (torch.tensor(views[0]), torch.tensor(views[1])), torch.tensor(target))
    expected = [u_centred_distance_correlation(view[:, :4], view[:, 4:] * target[:, None]) for view in views]
    # Not closer: the root of distances is softened, which is felt most where controls lie on one point.
    assert found["independence"].item() == pytest.approx(np.mean(expected), abs=1e-3)


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


# --- supervised ----------------------------------------------------------------------------------------------------

TARGET = np.array([False, True, True, False, True, True])
# Among patients (positions 1, 2, 4 and 5) one has no SANS.
SANS = np.array([np.nan, 0.2, np.nan, np.nan, 0.9, 0.3])
SIDE = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


class SupervisedHeads(SepCLR):
    """Common heads of 4 dimensions and salient ones of 2 + ``free``, all parts of the input."""

    def __init__(self, free: int) -> None:
        settings = SepCLRSettings(
            salient_dim=2 + free, attributes={"sans": "continuous", "side": "discrete"}, attribute_weight=9.0, **WEIGHTS
        )
        super().__init__(settings, Network(channels=[8, 8]), (1, 32, 32, 32), "none")
        self.common_encoder = self.salient_encoder = torch.nn.Identity()
        self.common_projector = torch.nn.Identity()
        if free:
            self.salient_projector = torch.nn.Identity()

    def common_codes(self, volumes: torch.Tensor) -> torch.Tensor:
        return volumes[:, :4]

    def salient_codes(self, volumes: torch.Tensor) -> torch.Tensor:
        return volumes[:, 4:]


@pytest.mark.parametrize("free", [0, 3])
def test_the_supervised_loss_is_the_papers(free: int) -> None:
    method = SupervisedHeads(free)
    views = np.random.default_rng(0).normal(size=(2, 6, 6 + free))
    batch = Batch(
        torch.tensor(views),
        torch.tensor(TARGET),
        {"sans": torch.tensor(SANS), "side": torch.tensor(SIDE)},
    )
    ours = method.losses(method.encode(batch), batch)["loss"].item()
    c = [v[:, :4] / np.linalg.norm(v[:, :4], axis=1, keepdims=True) for v in views]
    expected = oracle.alignment(c[0], c[1], 0.5) + np.mean([oracle.uniformity(x, 0.5) for x in c])
    owned = [
        oracle.attribute_term([v[:, 4] for v in views], TARGET, SANS, discrete=False, tau=0.5),
        oracle.attribute_term([v[:, 5] for v in views], TARGET, SIDE, discrete=True, tau=0.5),
    ]
    expected += 9.0 * np.mean(owned)
    if free:
        rest = [v[:, 6:] for v in views]
        pinned = [np.where(TARGET[:, None], s, 0.0) for s in rest]
        space = oracle.alignment(rest[0][TARGET], rest[1][TARGET], 0.5)
        space += 2.0 * np.mean([oracle.uniformity(p, 0.5) for p in pinned])
        expected += 3.0 * space + 7.0 * np.mean([oracle.informationless(s[~TARGET], 0.5) for s in rest])
    assert ours == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("known", [0, 1])
def test_too_few_values_leave_only_the_alignment_out(known: int) -> None:
    values = torch.full((4,), float("nan"))
    values[:known] = 0.5
    s = torch.randn(4, requires_grad=True)
    value = attribute_alignment(s, values)
    value.backward()
    assert value.item() == 0
    assert torch.equal(s.grad, torch.zeros(4))


def test_training_gives_each_attribute_its_dimension() -> None:
    """Two attributes that patients carry independently: dimension k follows attribute k, and not the other."""
    torch.manual_seed(0)
    n = 64
    a = torch.rand(n, 2)
    target = torch.arange(n) % 2 == 1
    head = torch.nn.Linear(4, 2)
    x = torch.cat([a @ torch.tensor([[1.0, 0.5], [0.5, -1.0]]), torch.randn(n, 2)], dim=1) * target[:, None]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(300):
        s = head(x)
        loss = torch.zeros(())
        for k in range(2):
            pull = attribute_alignment(s[target, k], a[target, k]) + informationless(s[~target, k : k + 1], 0.025)
            loss = loss + pull / 2 + uniformity(s[:, k : k + 1] * target[:, None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    both = torch.corrcoef(torch.cat([head(x)[target], a[target]], dim=1).T)[:2, 2:].abs()
    assert both.diagonal().min() > 0.8
    assert both.fliplr().diagonal().max() < 0.5


def test_more_attributes_than_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="2 of them cannot each own one of 1 salient"):
        SepCLRSettings(salient_dim=1, attributes={"sans": "continuous", "saps": "continuous"})
