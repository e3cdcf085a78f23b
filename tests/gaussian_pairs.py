"""Pairs (c, s) of known dependence: both marginals are standard normal, and only a mixing angle varies."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from sepclr_neuro.methods.independence import Independence, TermSettings, build_independence

LEVELS = (0.0, 0.3, 0.6)
"""Angles; dimension by dimension the correlation is sin(2 angle): 0, 0.56, 0.93."""


def pairs(people: int, dim: int, angle: Tensor | float, seed: int) -> tuple[Tensor, Tensor]:
    """c = cos(a) x + sin(a) y and s = sin(a) x + cos(a) y of independent standard normal x and y, each [N, d]."""
    x, y = torch.randn(2, people, dim, generator=torch.Generator().manual_seed(seed))
    a = torch.as_tensor(angle)
    return a.cos() * x + a.sin() * y, a.sin() * x + a.cos() * y


def mutual_information(dim: int, angle: float) -> float:
    """In nats: -d/2 log(1 - sin²(2 angle))."""
    return -dim * math.log(abs(math.cos(2 * angle)))


def estimator_of(term: Independence, learning_rate: float = 1e-2) -> torch.optim.Adam | None:
    parameters = list(term.parameters())
    return torch.optim.Adam(parameters, lr=learning_rate) if parameters else None


def fit(term: Independence, optimizer: torch.optim.Adam | None, c: Tensor, s: Tensor, steps: int) -> None:
    for _ in range(steps if optimizer else 0):
        loss = term.estimator_loss(c.detach(), s.detach())
        assert loss is not None
        assert optimizer is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def values(
    name: str, people: int, dim: int, *, temperature: float = 0.5, seed: int = 0, steps: int = 200
) -> list[float]:
    """The term at each level on a batch of its own; an estimator, if there is one, was fitted on other batches."""
    found = []
    for level, angle in enumerate(LEVELS):
        torch.manual_seed(seed)
        term = build_independence(name, TermSettings(dim, dim, temperature=temperature, width=32))
        assert term is not None
        optimizer = estimator_of(term)
        for step in range(steps if optimizer else 0):
            fit(term, optimizer, *pairs(people, dim, angle, seed=10_000 * (seed + 1) + step), steps=1)
        with torch.no_grad():
            found.append(term(*pairs(people, dim, angle, seed=3 * seed + level)).item())
    return found


def orders(found: list[float]) -> bool:
    """Whether each level is above the one before, by more than float32's rounding."""
    return all(low + 1e-5 * max(1.0, abs(low)) < high for low, high in itertools.pairwise(found))
