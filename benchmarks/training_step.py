"""A training step at 128³, batch 8, two cores: against the recipe of a MONAI user, and against a step without views.

python -m benchmarks.training_step [--quick]
"""

from __future__ import annotations

import itertools
import resource
import time

import torch

from benchmarks import recipe
from benchmarks.rows import Rows, best_of, run
from benchmarks.steps import Step, made_up_scans, made_up_standardisation
from sepclr_neuro.config import Augmentation

BATCH_SIZE = 8


def measure(rows: Rows, quick: bool) -> None:
    side, repetitions = (32, 2) if quick else (128, 5)
    if not rows.has("step_ratio_to_recipe", "step_ratio_to_bare"):
        ours = _ours(rows, side, repetitions)
        seconds = _recipe(rows, side, repetitions)
        rows.add("step_ratio_to_recipe", seconds / ours, "times the recipe's volumes a second")
    for method in ("cvae", "sepclr-k-jem"):
        if not rows.has(f"step_{method}_64"):
            step = Step(method, side=32 if quick else 64, batch_size=16)
            rows.add(f"step_{method}_64", best_of(step, repetitions), "s")
            rows.add(f"step_{method}_64_views", best_of(step.views, repetitions), "s")


def _ours(rows: Rows, side: int, repetitions: int) -> float:
    """Seconds of a step; the parts are rows of their own."""
    step = Step(side=side, batch_size=BATCH_SIZE)
    ready = step.views()
    bare = best_of(lambda: step.descend(ready), repetitions)
    views = best_of(step.views, repetitions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    whole = best_of(step, repetitions, warm_up=0)
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / repetitions
    plain = step.scans.clone()
    rows.add("step", whole, "s")
    rows.add("step_views", views, "s")
    rows.add("step_standardisation", best_of(lambda: step.make_views.plain(plain), repetitions), "s")
    rows.add("step_bare", bare, "s")
    rows.add("step_page_faults", faults, "a step")
    rows.add("step_ratio_to_bare", whole / bare, "times the bare step")
    return whole


def _recipe(rows: Rows, side: int, repetitions: int) -> float:
    """Seconds of a step of the recipe, its workers running ahead as they do in an epoch."""
    step = Step(side=side, batch_size=BATCH_SIZE, bfloat16=False)
    method = step.method.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(method.parameters())
    scans = made_up_scans(BATCH_SIZE, side)
    # Workers are batches ahead: those that were ready before, and cores that idle after the last, would flatter it.
    ahead, timed = 8, 2 * repetitions
    data = [{"volume": scan, "target": number % 2} for number, scan in enumerate(scans)] * (timed + 2 * ahead)
    before = [recipe.Standardised(made_up_standardisation(side))]
    batches = iter(recipe.loader(data, before, Augmentation(), side, BATCH_SIZE))
    for batch in itertools.islice(batches, ahead):
        recipe.descend(method, optimizer, batch)
    started = time.perf_counter()
    for batch in itertools.islice(batches, timed):
        recipe.descend(method, optimizer, batch)
    seconds = (time.perf_counter() - started) / timed
    rows.add("recipe_step", seconds, "s")
    rows.add("recipe_step_network", best_of(lambda: recipe.descend(method, optimizer, batch), 2), "s")
    return seconds


if __name__ == "__main__":
    run(__doc__, measure)
