"""Balanced batches of participants, none twice, the same after a resume; and their parts in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sepclr_neuro.core.errors import InputError

if TYPE_CHECKING:  # making splits needs no torch
    from torch import Tensor

__all__ = [
    "Members",
    "balanced_batches",
    "parts",
    "planned_batches",
    "possible_batch",
    "seed_of",
    "set_apart",
    "smaller_batch",
]


def seed_of(*parts: int) -> int:
    """One 63-bit seed of several numbers, e.g. (seed, fold, epoch, step): stateless, so that a resumed run, which
    starts in the middle, draws what an undisturbed one draws.

    >>> seed_of(0, 1, 2) == seed_of(0, 1, 2), seed_of(0, 1, 2) == seed_of(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def possible_batch(participants: Sequence[str], target: Sequence[bool], batch_size: int) -> int:
    """Participants in a batch: as many as requested, or all of the smaller group and as many of the larger one.

    Raises:
        InputError: if a group has fewer than 2 participants.
    """
    sizes = {
        name: len({person for person, is_target in zip(participants, target, strict=True) if is_target == flag})
        for name, flag in (("background", False), ("target", True))
    }
    smaller = min(sizes.values())
    if smaller < 2:
        raise InputError(
            f"training.batch_size: a batch needs 2 participants of each group, each once, but there are "
            f"{sizes['background']} background and {sizes['target']} target participants to train on"
        )
    return min(batch_size, 2 * smaller)


def smaller_batch(requested: int, possible: int) -> str:
    """The message where batches are smaller than requested."""
    return (
        f"training.batch_size: {possible} instead of {requested}, twice the {possible // 2} participants of the "
        "smaller group, since no participant is in a batch twice"
    )


def set_apart(
    participants: Sequence[str], target: Sequence[bool], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Divides training participants into those trained on and those for validation, the same share of both groups.

    Args:
        participants: the participant behind each scan.
        target: whether each scan is a patient's.
        fraction: share of the participants of each group that is kept for validation.
        seed: of the choice.

    Returns:
        Positions in ``participants`` of the scans trained on, and of those watched.

    Raises:
        InputError: if fewer than 2 participants of a group would be watched, which fill no batch.
    """
    rng = np.random.default_rng(seed)
    watched: set[str] = set()
    for group, name in ((False, "background"), (True, "target")):
        people = sorted({p for p, t in zip(participants, target, strict=True) if t == group})
        chosen = [people[i] for i in rng.permutation(len(people))[: round(fraction * len(people))]]
        if len(chosen) < 2:
            raise InputError(
                f"training.validation_fraction: {fraction} leaves {len(chosen)} {name} participants for validation, 2 "
                "are needed; raise it, or set it to 0"
            )
        watched |= set(chosen)
    positions = range(len(participants))
    return [i for i in positions if participants[i] not in watched], [
        i for i in positions if participants[i] in watched
    ]


def balanced_batches(
    participants: Sequence[str], target: Sequence[bool], batch_size: int, seed: int
) -> list[list[int]]:
    """The batches of one epoch: half background, half target, drawn without replacement until a group is through.

    An epoch passes once over the larger group; the smaller one starts again, reshuffled. No participant is in a batch
    twice, also not by two scans: a participant's other views would count as negatives of that participant.

    Args:
        participants: the participant behind each scan.
        target: whether each scan is a patient's.
        batch_size: scans a batch, even, no more than :func:`possible_batch` says.
        seed: as made by :func:`seed_of` from seed, fold and epoch.

    Returns:
        Lists of positions in ``participants``, background first.

    >>> batches = balanced_batches(["a", "b", "c", "d", "e", "f"], [False] * 4 + [True] * 2, 4, seed=0)
    >>> [len(batch) for batch in batches]
    [4, 4]
    """
    rng = np.random.default_rng(seed)
    half = batch_size // 2
    groups: list[dict[str, list[int]]] = [{}, {}]
    for position, (person, is_target) in enumerate(zip(participants, target, strict=True)):
        groups[int(is_target)].setdefault(person, []).append(position)
    steps = max(len(group) for group in groups) // half
    halves = [_draw(sorted(group), half, steps, rng) for group in groups]
    return [
        [int(rng.choice(groups[side][person])) for side in (0, 1) for person in halves[side][step]]
        for step in range(steps)
    ]


def planned_batches(people: pd.DataFrame, batch_size: int, validation_fraction: float, seed: int) -> tuple[int, int]:
    """How many participants training will have in a batch, and how many batches in an epoch.

    Args:
        people: a row a training scan, ``participant_id group``.
        batch_size: as requested.
        validation_fraction: share of the participants whose loss is watched.
        seed: as made by :func:`seed_of` from seed and fold.

    Raises:
        InputError: as :func:`set_apart` and :func:`possible_batch`.
    """
    participants, target = people["participant_id"].tolist(), (people["group"] == "target").tolist()
    if validation_fraction > 0:
        trained, _ = set_apart(participants, target, validation_fraction, seed)
        participants, target = [participants[i] for i in trained], [target[i] for i in trained]
    size = possible_batch(participants, target, batch_size)
    return size, len(balanced_batches(participants, target, size, seed))


def _draw(people: list[str], size: int, steps: int, rng: np.random.Generator) -> list[list[str]]:
    """Draws of ``size`` different participants, each equally often up to one."""
    queue: list[str] = []
    draws = []
    for _ in range(steps):
        if len(queue) < size:
            waiting = set(queue)
            fresh = [people[i] for i in rng.permutation(len(people)) if people[i] not in waiting]
            # Those still waiting come first, and again after all others: the next `len(participants)` are all
            # different.
            queue = [*queue, *fresh, *rng.permutation(queue).tolist()]
        draws.append(queue[:size])
        queue = queue[size:]
    return draws


# --- a batch that is larger than memory --------------------------------------------------------------------------


@dataclass(frozen=True)
class Members:
    """Those participants of a batch whose scans are in memory, and random numbers that do not depend on who else is.

    Numbers are drawn for the whole batch, in one order, and the members' are picked.
    """

    positions: list[int]
    """In the batch."""
    batch_size: int
    seed: int
    """Of all that is drawn for this batch."""

    @classmethod
    def all_of(cls, batch_size: int, seed: int) -> Members:
        """The whole batch."""
        return cls(list(range(batch_size)), batch_size, seed)

    def pick(self, drawn: Tensor) -> Tensor:
        """The members' rows of what was drawn for the batch: [batch_size, ...] -> [B, ...]."""
        return drawn[self.positions]


def parts(batch_size: int, at_once: int, process: int = 0, processes: int = 1) -> list[list[int]]:
    """Positions in a balanced batch of participants whose scans a process has in memory at once, half of each group.

    >>> parts(8, 4)
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    >>> parts(6, 6, process=1, processes=2)
    [[1, 4]]
    """
    half = batch_size // 2
    pairs = range(process, half, processes)
    blocks = [pairs[start : start + at_once // 2] for start in range(0, len(pairs), at_once // 2)]
    return [[*block, *(half + position for position in block)] for block in blocks]
