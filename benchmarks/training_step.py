"""A training step at 128³, batch 8, two cores: against the recipe of a MONAI user, and against a step without views.

Each figure is the mean of steps that follow each other. A rotation is the dearest transform, and the default draws one
for a quarter of the views: the rows `..._rotating_half` say what it is to draw one for half of them.

python -m benchmarks.training_step [--quick]
"""

from __future__ import annotations

import itertools
import resource
import time

import torch

from benchmarks import recipe
from benchmarks.rows import Rows, mean_of, run
from benchmarks.steps import Step, made_up_scans, made_up_standardisation
from sepclr_neuro.config import Augmentation

BATCH_SIZE = 8
SETTINGS = {"": Augmentation(), "_rotating_half": Augmentation(affine_probability=0.5)}


def measure(rows: Rows, quick: bool) -> None:
    side, repetitions = (32, 2) if quick else (128, 10)
    for suffix, augmentation in SETTINGS.items():
        if not rows.has(f"step_ratio_to_recipe{suffix}", f"step_ratio_to_bare{suffix}"):
            ours = _ours(rows, suffix, augmentation, side, repetitions)
            seconds = _recipe(rows, suffix, augmentation, side, repetitions)
            rows.add(f"step_ratio_to_recipe{suffix}", seconds / ours, "times the recipe's volumes a second")
    for method in ("cvae", "sepclr-k-jem"):
        if not rows.has(f"step_{method}_64", f"step_{method}_64_views"):
            step = Step(method, side=32 if quick else 64, batch_size=16)
            rows.add(f"step_{method}_64", mean_of(step, repetitions), "s")
            rows.add(f"step_{method}_64_views", mean_of(step.views, repetitions), "s")


def _ours(rows: Rows, suffix: str, augmentation: Augmentation, side: int, repetitions: int) -> float:
    """Seconds of a step; the parts are rows of their own."""
    step = Step(side=side, batch_size=BATCH_SIZE, augmentation=augmentation)
    ready = step.views()
    bare = mean_of(lambda: step.descend(ready), repetitions)
    views = mean_of(step.views, repetitions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    whole = mean_of(step, repetitions, warm_up=0)
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / repetitions
    plain = step.scans.clone()
    rows.add(f"step{suffix}", whole, "s")
    rows.add(f"step_views{suffix}", views, "s")
    rows.add(f"step_standardisation{suffix}", mean_of(lambda: step.make_views.plain(plain), repetitions), "s")
    rows.add(f"step_bare{suffix}", bare, "s")
    rows.add(f"step_page_faults{suffix}", faults, "a step")
    rows.add(f"step_ratio_to_bare{suffix}", whole / bare, "times the bare step")
    return whole


def _recipe(rows: Rows, suffix: str, augmentation: Augmentation, side: int, repetitions: int) -> float:
    """Seconds of a step of the recipe, its workers running ahead as they do in an epoch."""
    step = Step(side=side, batch_size=BATCH_SIZE, bfloat16=False, augmentation=augmentation)
    method = recipe.of_usual_layers(step.method)
    optimizer = torch.optim.Adam(method.parameters())
    views, target = step.views().views, step.target
    ready = {"first": views[0].contiguous(), "second": views[1].contiguous(), "target": target}
    rows.add(f"recipe_step_network{suffix}", mean_of(lambda: recipe.descend(method, optimizer, ready), 3), "s")
    scans = made_up_scans(BATCH_SIZE, side)
    # Workers are batches ahead: those that were ready before, and cores that idle after the last, would flatter it.
    ahead = 8
    data = [{"volume": scan, "target": number % 2} for number, scan in enumerate(scans)] * (repetitions + 2 * ahead)
    before = [recipe.Standardised(made_up_standardisation(side))]
    batches = iter(recipe.loader(data, before, augmentation, side, BATCH_SIZE))
    for batch in itertools.islice(batches, ahead):
        recipe.descend(method, optimizer, batch)
    started = time.perf_counter()
    for batch in itertools.islice(batches, repetitions):
        recipe.descend(method, optimizer, batch)
    seconds = (time.perf_counter() - started) / repetitions
    rows.add(f"recipe_step{suffix}", seconds, "s")
    return seconds


if __name__ == "__main__":
    run(__doc__, measure)
