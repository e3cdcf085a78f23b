"""Batches are balanced, nobody is in one twice, everybody gets their turn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.sampling import balanced_batches, possible_batch, seed_of


def people(background: int, target: int, scans: int = 1) -> tuple[list[str], list[bool]]:
    names = [f"b{i}" for i in range(background)] * scans + [f"t{i}" for i in range(target)] * scans
    return names, [name.startswith("t") for name in names]


@pytest.mark.parametrize(("background", "target", "size"), [(40, 40, 16), (53, 11, 16), (8, 30, 10), (5, 5, 10)])
def test_balanced_and_nobody_twice(background: int, target: int, size: int) -> None:
    names, flags = people(background, target, scans=2)
    seen: Counter[str] = Counter()
    for epoch in range(20):
        for batch in balanced_batches(names, flags, size, seed_of(0, epoch)):
            assert sum(flags[i] for i in batch) == size // 2 == len(batch) - size // 2
            persons = [names[i] for i in batch]
            assert len(set(persons)) == size
            seen.update(persons)
    assert len(seen) == background + target
    for prefix in "bt":
        counts = [n for name, n in seen.items() if name.startswith(prefix)]
        assert max(counts) < 1.7 * min(counts)


def test_an_epoch_passes_once_over_the_larger_group() -> None:
    names, flags = people(40, 10)
    batches = balanced_batches(names, flags, 10, seed=1)
    assert len(batches) == 8
    background = [names[i] for batch in batches for i in batch if not flags[i]]
    assert len(set(background)) == 40


def test_the_smaller_group_is_drawn_evenly_within_an_epoch() -> None:
    names, flags = people(60, 7)
    counts = Counter(names[i] for batch in balanced_batches(names, flags, 10, seed=3) for i in batch if flags[i])
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_seed_decides() -> None:
    names, flags = people(20, 20)
    assert balanced_batches(names, flags, 8, seed=5) == balanced_batches(names, flags, 8, seed=5)
    assert balanced_batches(names, flags, 8, seed=5) != balanced_batches(names, flags, 8, seed=6)
    assert len({seed_of(*parts) for parts in np.ndindex(5, 5, 5)}) == 125


def test_the_largest_batch_is_twice_the_smaller_group() -> None:
    names, flags = people(20, 3, scans=4)
    assert [possible_batch(names, flags, size) for size in (4, 6, 8, 256)] == [4, 6, 6, 6]
    with pytest.raises(
        InputError, match=r"training\.batch_size: a batch needs 2 participants .*20 background and 1 target"
    ):
        possible_batch(*people(20, 1, scans=4), 4)
