"""A training step at 128³, batch 8, two cores: against the recipe of a MONAI user, and against a step without views.

Each figure is the mean of steps that follow each other, and the median of rounds, in each of which everything is
measured in turn: a machine that is shared with others changes its speed within minutes. A rotation is the dearest
transform, and the default draws one for a quarter of the views: the rows `..._rotating_half` say what it is to draw one
for half of them.

python -m benchmarks.training_step [--quick]
"""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from benchmarks import recipe
from benchmarks.rows import Rows, mean_of, run
from benchmarks.steps import Step, made_up_scans, made_up_standardisation
from sepclr_neuro.config import Augmentation

BATCH_SIZE = 8
SETTINGS = {"": Augmentation(), "_rotating_half": Augmentation(affine_probability=0.5)}
# Workers are batches ahead: those that were ready before, and cores that idle after the last, would flatter the recipe.
AHEAD = 8


def measure(rows: Rows, quick: bool) -> None:
    side, repetitions, rounds = (32, 2, 1) if quick else (128, 10, 3)
    for suffix, augmentation in SETTINGS.items():
        if not rows.has(f"step_ratio_to_recipe{suffix}", f"step_ratio_to_recipe_most{suffix}"):
            _beside_the_recipe(rows, suffix, augmentation, side, repetitions, rounds)
    for method in ("cvae", "sepclr-k-jem"):
        if not rows.has(f"step_{method}_64", f"step_{method}_64_views"):
            step = Step(method, side=32 if quick else 64, batch_size=16)
            rows.add(f"step_{method}_64", mean_of(step, repetitions), "s")
            rows.add(f"step_{method}_64_views", mean_of(step.views, repetitions), "s")


def _beside_the_recipe(
    rows: Rows, suffix: str, augmentation: Augmentation, side: int, repetitions: int, rounds: int
) -> None:
    step, theirs = Step(side=side, batch_size=BATCH_SIZE, augmentation=augmentation), _Recipe(side, augmentation)
    found = pd.DataFrame([_ours(step, repetitions) | theirs.seconds(repetitions) for _ in range(rounds)])
    found["step_ratio_to_bare"] = found["step"] / found["step_bare"]
    found["step_ratio_to_recipe"] = found["recipe_step"] / found["step"]
    units = {
        "step_page_faults": "a step",
        "step_ratio_to_bare": "times the bare step",
        "step_ratio_to_recipe": "times the recipe's volumes a second",
    }
    for name, values in found.items():
        rows.add(f"{name}{suffix}", values.median(), units.get(str(name), "s"))
    for ratio in ("step_ratio_to_bare", "step_ratio_to_recipe"):
        for extreme, value in (("least", found[ratio].min()), ("most", found[ratio].max())):
            rows.add(f"{ratio}_{extreme}{suffix}", value, f"of {rounds} rounds")


def _ours(step: Step, repetitions: int) -> dict[str, float]:
    """Seconds of a step and of its parts."""
    ready, plain = step.views(), step.scans.clone()
    found = {
        "step_bare": mean_of(lambda: step.descend(ready), repetitions),
        "step_views": mean_of(step.views, repetitions),
        "step_standardisation": mean_of(lambda: step.make_views.plain(plain), repetitions),
    }
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    found["step"] = mean_of(step, repetitions, warm_up=0)
    found["step_page_faults"] = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / repetitions
    return found


class _Recipe:
    """The recipe's network and loader, for the same scans again and again."""

    def __init__(self, side: int, augmentation: Augmentation) -> None:
        step = Step(side=side, batch_size=BATCH_SIZE, bfloat16=False, augmentation=augmentation)
        self.method = recipe.of_usual_layers(step.method)
        self.optimizer = torch.optim.Adam(self.method.parameters())
        views = step.views().views
        self.ready = {"first": views[0].contiguous(), "second": views[1].contiguous(), "target": step.target}
        self.side, self.augmentation = side, augmentation

    def seconds(self, repetitions: int) -> dict[str, float]:
        """Of a step, the workers running ahead as they do in an epoch; and of its network alone."""
        network = mean_of(lambda: recipe.descend(self.method, self.optimizer, self.ready), 3)
        scans = made_up_scans(BATCH_SIZE, self.side)
        data = [{"volume": scan, "target": number % 2} for number, scan in enumerate(scans)]
        before = [recipe.Standardised(made_up_standardisation(self.side))]
        whole = data * (repetitions + 2 * AHEAD)
        # Its workers end with it, so that they take nothing from what is measured next.
        batches = iter(recipe.loader(whole, before, self.augmentation, self.side, BATCH_SIZE))
        self._descend(batches, AHEAD)
        started = time.perf_counter()
        self._descend(batches, repetitions)
        return {"recipe_step": (time.perf_counter() - started) / repetitions, "recipe_step_network": network}

    def _descend(self, batches: Iterator[dict[str, Tensor]], steps: int) -> None:
        for batch in itertools.islice(batches, steps):
            recipe.descend(self.method, self.optimizer, batch)


if __name__ == "__main__":
    run(__doc__, measure)
