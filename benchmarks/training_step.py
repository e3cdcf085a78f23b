"""A training step at 128³, batch 8, two cores: against the recipe of a MONAI user, and against a step without views.

Each figure is the median over rounds of the mean of consecutive steps; each round measures everything in turn, since
the speed of a shared machine changes within minutes. Rotation is the slowest transform, and by default a quarter of
the views have one: in the rows `..._rotating_half` it is half of them.

The recipe runs in its own process with default memory settings. In the rows `..._keeping_memory` this process keeps
freed memory as this program does, a setting that is independent of how a step is implemented.

python -m benchmarks.training_step [--quick]
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import pandas as pd
import torch

from benchmarks import recipe
from benchmarks.measuring import held_memory, in_new_process, mean_of, mean_of_each
from benchmarks.rows import Rows, run
from benchmarks.steps import Step, loop, made_up_scans, made_up_standardisation
from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.methods.base import GradientMethod

BATCH_SIZE = 8
SETTINGS = {"": Augmentation(), "_rotating_half": Augmentation(affine_probability=0.5)}
# Warm-up steps. The recipe's workers are some batches ahead: batches made before the start, and idle cores at the end,
# would make it look faster. This project's step allocates memory in its first steps.
AHEAD = 8


def measure(rows: Rows, quick: bool) -> None:
    side, repetitions, rounds = (32, 2, 1) if quick else (128, 10, 3)
    for suffix, augmentation in SETTINGS.items():
        if not rows.has(f"step_ratio_to_recipe_most{suffix}", f"step_ratio_to_recipe_keeping_memory_most{suffix}"):
            _beside_the_recipe(rows, suffix, augmentation, side, repetitions, rounds)
    if not rows.has("step_in_the_loop"):
        rows.add("step_in_the_loop", loop(side, 4 * BATCH_SIZE, BATCH_SIZE)[0], "s, of one run of 16 steps")
    for method in ("cvae", "sepclr-k-jem"):
        if not rows.has(f"step_{method}_64", f"step_{method}_64_views"):
            step = Step(method, side=32 if quick else 64, batch_size=16)
            rows.add(f"step_{method}_64", mean_of(step, repetitions), "s")
            rows.add(f"step_{method}_64_views", mean_of(step.views, repetitions), "s")
        if not rows.has(f"memory_{method}_kept", f"memory_{method}_returned"):
            for how, keeps in (("kept", True), ("returned", False)):
                seconds, memory = in_new_process(_step_and_memory, method, side, repetitions, keep_memory=keeps)
                rows.add(f"step_{method}_memory_{how}", seconds, "s")
                rows.add(f"memory_{method}_{how}", memory, "GiB, the most that the process held")


def _beside_the_recipe(
    rows: Rows, suffix: str, augmentation: Augmentation, side: int, repetitions: int, rounds: int
) -> None:
    step, theirs = Step(side=side, batch_size=BATCH_SIZE, augmentation=augmentation), (side, augmentation, repetitions)
    found = pd.DataFrame(
        [
            _ours(step, repetitions)
            | in_new_process(_recipe, "", *theirs)
            | in_new_process(_recipe, "_keeping_memory", *theirs, keep_memory=True)
            for _ in range(rounds)
        ]
    )
    found["step_ratio_to_bare"] = found["step"] / found["step_bare"]
    for how in ("", "_keeping_memory"):
        found[f"step_ratio_to_recipe{how}"] = found[f"recipe_step{how}"] / found["step"]
    units = {
        "step_page_faults": "a step",
        "step_ratio_to_bare": "times the bare step",
        "step_ratio_to_recipe": "times the recipe's volumes a second",
        "step_ratio_to_recipe_keeping_memory": "times the recipe's volumes a second",
    }
    for name, values in found.items():
        rows.add(f"{name}{suffix}", values.median(), units.get(str(name), "s"))
    for ratio in ("step_ratio_to_bare", "step_ratio_to_recipe", "step_ratio_to_recipe_keeping_memory"):
        for extreme, value in (("least", found[ratio].min()), ("most", found[ratio].max())):
            rows.add(f"{ratio}_{extreme}{suffix}", value, f"of {rounds} rounds")


def _ours(step: Step, repetitions: int) -> dict[str, float]:
    """Seconds of a step of this project and of its parts."""
    ready, standardisation = step.views(), step.make_views.standardisation
    parts: dict[str, Callable[[], object]] = {
        "step_bare": lambda: step.descend(ready),
        "step_views": step.views,
        "step_standardisation": lambda: standardisation.apply(step.scans, dtype=torch.bfloat16),
        "step": step,
    }
    found = mean_of_each(parts, repetitions, warm_up=AHEAD)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repetitions):
        step()
    found["step_page_faults"] = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / repetitions
    return found


def _step_and_memory(method: str, side: int, repetitions: int) -> tuple[float, float]:
    """Seconds of a step, and peak memory of this process, GiB."""
    seconds = mean_of(Step(method, side=side, batch_size=BATCH_SIZE), repetitions, warm_up=AHEAD)
    return seconds, held_memory("VmHWM") / 1024


def _recipe(suffix: str, side: int, augmentation: Augmentation, repetitions: int) -> dict[str, float]:
    """Seconds of a step of the recipe, with workers that read ahead as in an epoch; and of its network alone."""
    step = Step(side=side, batch_size=BATCH_SIZE, bfloat16=False, augmentation=augmentation)
    method = recipe.of_usual_layers(step.method)
    optimizer = torch.optim.Adam(method.parameters())
    whole_step = _with_loader(method, optimizer, side, augmentation, repetitions)
    views = step.views().views
    ready = {"first": views[0].contiguous(), "second": views[1].contiguous(), "target": step.target}
    network = mean_of(lambda: recipe.descend(method, optimizer, ready), 3)
    return {f"recipe_step{suffix}": whole_step, f"recipe_step_network{suffix}": network}


def _with_loader(
    method: GradientMethod, optimizer: torch.optim.Optimizer, side: int, augmentation: Augmentation, repetitions: int
) -> float:
    """Seconds of a step, loading included; its workers end with it."""
    data = [{"volume": scan, "target": number % 2} for number, scan in enumerate(made_up_scans(BATCH_SIZE, side))]
    before = [recipe.Standardised(made_up_standardisation(side))]
    # Batches for the measured steps, and for those before and after.
    batches = iter(recipe.loader(data * (repetitions + 2 * AHEAD), before, augmentation, side, BATCH_SIZE))
    return mean_of(lambda: recipe.descend(method, optimizer, next(batches)), repetitions, warm_up=AHEAD)


if __name__ == "__main__":
    run(__doc__, measure)
