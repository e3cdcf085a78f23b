"""Each term against its float64 transcription, and where a naive version fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sepclr_neuro.methods import losses
from tests.oracles import sepclr as oracle


@pytest.fixture
def heads() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(7, 5))
    return common / np.linalg.norm(common, axis=1, keepdims=True), rng.normal(size=(7, 3))


def tensor(array: np.ndarray, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(array, dtype=dtype)


@pytest.mark.parametrize("tau", [0.5, 0.1, 3.0])
def test_terms_equal_their_equations(heads: tuple[np.ndarray, np.ndarray], tau: float) -> None:
    c, s = heads
    assert losses.alignment(tensor(c), tensor(c[::-1].copy()), tau).item() == pytest.approx(
        oracle.alignment(c, c[::-1], tau), rel=1e-12
    )
    assert losses.uniformity(tensor(s), tau).item() == pytest.approx(oracle.uniformity(s, tau), rel=1e-12)
    assert losses.informationless(tensor(s), tau).item() == pytest.approx(oracle.informationless(s, tau), rel=1e-12)
    assert losses.joint_entropy(tensor(c), tensor(s), tau).item() == pytest.approx(
        oracle.joint_entropy(c, s, tau), rel=1e-12
    )


@pytest.mark.parametrize("term", ["uniformity", "joint_entropy"])
def test_far_points_stay_finite(term: str) -> None:
    far = torch.arange(4.0)[:, None].repeat(1, 2) * 100
    far.requires_grad_()
    value = losses.uniformity(far) if term == "uniformity" else losses.joint_entropy(far, far)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(far.grad).all()
    # The joint entropy includes the diagonal: it cannot fall below -log N, and there its gradient is gone.
    if term == "joint_entropy":
        assert value.item() == pytest.approx(-math.log(4))
        assert far.grad.abs().max() == 0


def test_distances_of_near_points_are_accurate() -> None:
    """The matrix form |a|² + |b|² - 2ab has an error of 1e-4 here, larger than the distance."""
    x = torch.tensor([[30.0, 40.0], [30.0, 40.001], [0.0, 0.0], [0.0, 0.0]])
    exact = -((x[0].double() - x[1].double()) ** 2).sum().item()
    assert losses.log_kernel(x, 0.5)[0, 1].item() == pytest.approx(exact, rel=1e-5)


def test_autocast_does_not_reach_the_distances() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert losses.joint_entropy(x, x).dtype == torch.float32
        assert losses.uniformity(x.bfloat16()).dtype == torch.float32


def test_equal_points_have_a_finite_gradient() -> None:
    x = torch.zeros(4, 3, requires_grad=True)
    (losses.uniformity(x) + losses.joint_entropy(x, x)).backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: losses.alignment(e, e), "no participant"),
        (lambda e: losses.informationless(e), "no control"),
        (lambda e: losses.uniformity(e), "needs 2 participants"),
        (lambda e: losses.joint_entropy(e, e), "no participant"),
    ],
)
def test_a_mean_over_an_empty_batch_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(0, 3))
