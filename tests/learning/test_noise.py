"""Normal random numbers are normal, independent, and the same for the same seed."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from sepclr_neuro.learning.noise import normal_numbers

COUNT = 1_000_001


def test_they_are_normal() -> None:
    numbers = normal_numbers([COUNT], seed=1).double()
    assert kstest(numbers.numpy(), "norm").pvalue > 0.01
    assert numbers.mean().item() == pytest.approx(0, abs=4 / COUNT**0.5)
    assert numbers.std().item() == pytest.approx(1, abs=0.003)
    assert numbers.pow(4).mean().item() == pytest.approx(3, abs=0.04)
    assert 4.2 < numbers.abs().max() < 4.4


def test_neighbours_and_seeds_are_independent() -> None:
    one, other = normal_numbers([COUNT], seed=1), normal_numbers([COUNT], seed=2)
    rows = torch.stack([one[4:], other[4:], *(one[4 - lag : COUNT - lag] for lag in (1, 2, 3, 4))])
    assert (torch.corrcoef(rows) - torch.eye(len(rows))).abs().max() < 0.005


def test_they_do_not_depend_on_how_many_threads_compute_them() -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(normal_numbers([COUNT], seed=1))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


def test_the_seed_repeats_them_in_any_shape() -> None:
    torch.testing.assert_close(
        normal_numbers([5, 3, 7], seed=3).flatten(), normal_numbers([105], seed=3), atol=0, rtol=0
    )
