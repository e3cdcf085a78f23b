"""Each term against its float64 transcription; that it orders dependence and can be descended on; where it fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sepclr_neuro.methods.independence import (
    ConditionalGaussian,
    TermSettings,
    build_independence,
    club,
    distance_correlation,
    kernel_mutual_information,
    leave_one_out,
    random_partners,
    squared_mmd,
    upper_bound,
)
from sepclr_neuro.methods.losses import median_temperature
from tests.gaussian_pairs import estimator_of, fit, orders, pairs, values
from tests.oracles import independence as oracle
from tests.oracles.sepclr import joint_entropy
from tests.oracles.statistics import u_centred_distance_correlation

VARIATIONAL = [f"{bound}-{way}" for bound in ("vclub", "vl1o", "vub") for way in ("sym", "c2s", "s2c")]
TERMS = ["k-jem", "k-mi", "mmd", "dcor", "tc", *VARIATIONAL]


def arrays(n: int, d: int = 3, k: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, k))


# --- equations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_kernel_terms_equal_their_equations(n: int, tau: float) -> None:
    c, s = arrays(n)
    both = torch.tensor(c), torch.tensor(s)
    expected = oracle.kernel_mutual_information(c, s, tau)
    assert kernel_mutual_information(*both, tau).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for name, value in (("k-mi", expected), ("k-jem", joint_entropy(c, s, tau))):
        term = build_independence(name, TermSettings(3, 2, temperature=tau))
        assert term is not None
        assert term(*both).item() == pytest.approx(value, rel=1e-12, abs=1e-12)
        assert not list(term.parameters())


@pytest.mark.parametrize("tau", [0.5, None])
@pytest.mark.parametrize("diagonal", [True, False])
def test_kernels_of_median_width_or_without_diagonal_equal_their_equations(tau: float | None, diagonal: bool) -> None:
    c, s = arrays(7)
    both = torch.tensor(c), torch.tensor(s)
    for name, equation in (("k-mi", oracle.kernel_mutual_information), ("k-jem", joint_entropy)):
        term = build_independence(name, TermSettings(3, 2, temperature=tau, diagonal=diagonal))
        assert term is not None
        assert term(*both).item() == pytest.approx(equation(c, s, tau, diagonal), rel=1e-12, abs=1e-12)


def test_distant_points_have_a_gradient_without_the_diagonal_only() -> None:
    far = torch.diag(torch.tensor([10.0, 20.0, 30.0, 40.0])).requires_grad_()
    for diagonal, felt in ((True, False), (False, True)):
        term = build_independence("k-jem", TermSettings(4, 4, diagonal=diagonal))
        assert term is not None
        (gradient,) = torch.autograd.grad(term(far, far), far)
        assert (gradient.abs().max() > 1e-3) == felt


def test_the_median_width_of_equal_points_is_1() -> None:
    assert median_temperature(torch.zeros(5, 3)).item() == 1
    assert median_temperature(torch.ones(1, 3)).item() == 1


@pytest.mark.parametrize("n", [4, 9])
def test_distance_correlation_equals_its_equation(n: int) -> None:
    c, s = arrays(n)
    found = distance_correlation(torch.tensor(c), torch.tensor(s)).item()
    # The root of distances is softened, by 1e-6 in the square, where its gradient would be infinite.
    assert found == pytest.approx(u_centred_distance_correlation(c, s), abs=1e-5)
    term = build_independence("dcor", TermSettings(3, 2))
    assert term is not None
    assert term.reads_representations
    assert term(torch.tensor(c), torch.tensor(s)).item() == found


def test_distance_correlation_of_controls_at_one_point_has_a_gradient() -> None:
    c = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    s = torch.cat([torch.zeros(4, 2), torch.randn(4, 2, generator=torch.Generator().manual_seed(1))]).requires_grad_()
    (gradient,) = torch.autograd.grad(distance_correlation(c, s), s)
    assert gradient.isfinite().all()
    assert gradient[4:].abs().max() > 0
    nobody = distance_correlation(c[:3], s[:3])
    assert nobody.item() == 0
    on_one_point = distance_correlation(c, torch.zeros(8, 2, requires_grad=True))
    assert on_one_point.item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 5), (6, 4)])
def test_mmd_equals_its_equation(n: int, m: int) -> None:
    x, y = arrays(n)[0], arrays(m, seed=1)[0] + 0.3
    assert squared_mmd(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(oracle.squared_mmd(x, y), rel=1e-12)


def test_a_negative_mmd_keeps_its_gradient() -> None:
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x + 0.01).requires_grad_()
    value = squared_mmd(x, y)
    value.backward()
    assert value < 0
    assert y.grad is not None
    assert y.grad.abs().max() > 0


def test_mmd_of_fewer_than_two_participants_is_refused() -> None:
    with pytest.raises(ValueError, match="MMD needs 2 participants per sample in a batch, got 1 and 3"):
        squared_mmd(torch.zeros(1, 2), torch.zeros(3, 2))


@pytest.mark.parametrize("n", [2, 6])
@pytest.mark.parametrize("name", VARIATIONAL)
def test_bounds_equal_their_equations(name: str, n: int) -> None:
    bound, way = name.split("-")
    c, s = arrays(n)
    term = build_independence(name, TermSettings(3, 2, width=5))
    assert term is not None
    term.double()
    expected = []
    for direction, a, b in (("c2s", c, s), ("s2c", s, c)):
        if way in (direction, "sym"):
            q = term.estimators[direction]  # type: ignore[union-attr,index,operator]
            mean, log_variance = (part.detach().numpy() for part in q(torch.tensor(a)))
            density = oracle.densities(b, mean, log_variance)
            expected.append(
                oracle.upper_bound(mean, log_variance)
                if bound == "vub"
                else {"vclub": oracle.club, "vl1o": oracle.leave_one_out}[bound](density)
            )
    assert term(torch.tensor(c), torch.tensor(s)).item() == pytest.approx(np.mean(expected), rel=1e-10)


def test_the_leave_one_out_bound_leaves_the_own_condition_out() -> None:
    """A mask of the wrong shape masks everything but a constant and turns this bound into vCLUB."""
    log_q = torch.tensor([[0.0, -1.0], [-3.0, 0.0]])
    assert leave_one_out(log_q).item() == pytest.approx((3 + 1) / 2)
    assert club(log_q).item() == pytest.approx((0.5 + 1.5) / 2)
    with pytest.raises(ValueError, match="leave-one-out bound needs 2 participants"):
        leave_one_out(torch.zeros(1, 1))


def test_the_likelihood_is_the_densitys() -> None:
    a, b = arrays(5)
    q = ConditionalGaussian(3, 2, width=4).double()
    mean, log_variance = (part.detach().numpy() for part in q(torch.tensor(a)))
    logs = np.log(np.diag(oracle.densities(b, mean, log_variance)))
    expected = -(logs + 0.5 * 2 * np.log(2 * np.pi)).mean()
    assert q.negative_log_likelihood(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(expected, rel=1e-10)


def test_the_variance_of_an_estimator_is_bounded() -> None:
    q = ConditionalGaussian(2, 2, width=4)
    mean, log_variance = q(1e6 * torch.randn(8, 2))
    assert log_variance.abs().max() <= 1
    assert upper_bound(torch.zeros(3, 2), torch.zeros(3, 2)).item() == 0
    assert torch.isfinite(mean).all()


def test_the_density_ratio_equals_its_equation() -> None:
    c, s = arrays(6)
    term = build_independence("tc", TermSettings(3, 2, width=4))
    assert term is not None
    term.double()
    torch.manual_seed(3)
    partner = random_partners(6, torch.device("cpu")).numpy()
    torch.manual_seed(3)
    loss = term.estimator_loss(torch.tensor(c), torch.tensor(s))
    assert loss is not None

    def probability(salient: np.ndarray) -> np.ndarray:
        pair = torch.tensor(np.concatenate([c, salient], axis=1))
        return 1 / (1 + np.exp(-term.discriminator(pair).detach().numpy()))  # type: ignore[union-attr,operator]

    assert term(torch.tensor(c), torch.tensor(s)).item() == pytest.approx(oracle.log_ratio(probability(s)), rel=1e-8)
    expected = oracle.cross_entropy(probability(s), probability(s[partner]))
    assert loss.item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n", [2, 3, 16])
def test_each_participant_is_paired_with_another(n: int) -> None:
    torch.manual_seed(0)
    drawn = torch.stack([random_partners(n, torch.device("cpu")) for _ in range(200)])
    assert (drawn.sort(dim=1).values == torch.arange(n)).all()
    assert (drawn != torch.arange(n)).all()
    # Batches are ordered by group: partners must come from both.
    assert {(i, int(j)) for row in drawn for i, j in enumerate(row)} == {
        (i, j) for i in range(n) for j in range(n) if i != j
    }


# --- degenerate batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("case", ["no patient", "one patient", "far points", "one point"])
def test_a_degenerate_batch_has_a_value_and_a_gradient(name: str, case: str) -> None:
    torch.manual_seed(0)
    c, s = torch.nn.functional.normalize(torch.randn(6, 4), dim=1), torch.randn(6, 3)
    if case == "no patient":
        s = torch.zeros(6, 3)
    elif case == "one patient":
        s[1:] = 0
    elif case == "far points":
        s = 1e3 * s
    else:
        c, s = c[:1].repeat(6, 1), s[:1].repeat(6, 1)
    c.requires_grad_()
    s.requires_grad_()
    term = build_independence(name, TermSettings(4, 3))
    assert term is not None
    value = term(c, s)
    value.backward()
    loss = term.estimator_loss(c.detach(), s.detach())
    for number in (value, *(x.grad for x in (c, s) if x.grad is not None), *([loss] if loss is not None else [])):
        assert torch.isfinite(number).all()


def test_none_builds_no_term() -> None:
    assert build_independence("none", TermSettings(2, 2)) is None


# --- what a term is for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TERMS)
def test_a_term_orders_three_levels_of_dependence(name: str) -> None:
    found = values(name, people=256, dim=2, steps=100)
    assert orders(found), found


@pytest.mark.parametrize("name", [name for name in TERMS if not name.startswith("vub")])
def test_minimising_a_term_reaches_independence(name: str) -> None:
    """Only the angle moves, by the gradient of the term with its estimator, fitted to the present angle, frozen."""
    torch.manual_seed(0)
    term = build_independence(name, TermSettings(1, 1, width=16))
    assert term is not None
    estimator = estimator_of(term)
    angle = torch.tensor(0.45, requires_grad=True)
    optimizer = torch.optim.Adam([angle], lr=0.03)
    path = []
    for step in range(80):
        c, s = pairs(128, 1, angle, seed=step)
        fit(term, estimator, c, s, steps=60 if step == 0 else 5)
        optimizer.zero_grad()
        term(c, s).backward()
        optimizer.step()
        path.append(math.sin(2 * angle.item()))
    assert path[0] > 0.7
    assert abs(np.mean(path[-20:])) < 0.2


def test_vub_cannot_be_minimised_with_fixed_marginals() -> None:
    """With q(b|a) frozen it reads a alone: it orders dependence, but its gradient is that of the marginal of a.

    q is the true conditional, and the people are mirrored, so that their moments are those of the normal.
    """
    x, y = torch.randn(2, 100, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = torch.cat([x, x, -y, y]), torch.cat([y, -y, x, x])
    gradient = {}
    for name in ("vub", "vclub"):
        angle = torch.tensor(0.45, dtype=torch.float64, requires_grad=True)
        a, b = angle.cos() * x + angle.sin() * y, angle.sin() * x + angle.cos() * y
        correlation = math.sin(2 * 0.45)
        mean, log_variance = correlation * a, torch.full_like(a, math.log(1 - correlation**2))
        log_q = -0.5 * (b.T - mean) ** 2 / log_variance.exp()
        value = upper_bound(mean, log_variance) if name == "vub" else club(log_q)
        (slope,) = torch.autograd.grad(value, angle)
        gradient[name] = slope.item()
    assert gradient["vub"] == pytest.approx(0, abs=1e-12)
    assert gradient["vclub"] > 1


# --- where terms stop telling --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "people", "dim", "temperature", "tells"),
    [
        ("k-jem", 256, 2, 0.5, True),
        ("k-jem", 16, 2, 0.5, False),  # small batch: noise
        ("k-jem", 256, 32, 0.5, False),  # many dimensions: all are far apart, nothing is left but -log N
        ("k-jem", 256, 32, 4.0, True),  # until the kernel is about as wide as the typical distance
        ("k-jem", 256, 32, 32.0, False),  # wider still: all are in one place
        ("k-mi", 256, 2, 0.5, True),
        ("k-mi", 16, 2, 0.5, False),
        ("k-mi", 256, 32, 0.5, False),
        ("k-mi", 256, 32, 32.0, True),
    ],
)
def test_where_kernel_terms_saturate(name: str, people: int, dim: int, temperature: float, tells: bool) -> None:
    """Counted over draws; docs/methods.md has the whole table, made by benchmarks/independence_limits.py."""
    ordered = [orders(values(name, people, dim, temperature=temperature, seed=seed)) for seed in range(10)]
    assert (np.mean(ordered) >= 0.9) == tells, ordered


def test_saturated_k_jem_is_minus_log_n_whatever_the_dependence() -> None:
    found = values("k-jem", people=16, dim=32)
    assert found == pytest.approx([-math.log(16)] * 3, abs=1e-4)
