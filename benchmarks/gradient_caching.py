"""Memory and time of a training step with the batch in memory as a whole, and in parts.

python -m benchmarks.gradient_caching --side 64
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.steps import made_up_standardisation
from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.training import Training
from sepclr_neuro.core import devices
from sepclr_neuro.learning.batches import Scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.training import VolumeViews

CASES = [(8, None), (64, None), (64, 8), (256, 8)]
"""People in a batch, and of these in memory."""


@dataclass(frozen=True)
class _RandomVolumes:
    side: int

    def __call__(self, rows: list[int]) -> Tensor:
        return torch.randn(len(rows), 1, *[self.side] * 3, generator=torch.Generator().manual_seed(rows[0]))


def measure(
    method: str,
    side: int,
    people: int,
    at_once: int | None,
    steps: int,
    network: str = "light",
    precision: Literal["auto", "float32"] = "auto",
) -> None:
    """Prints memory and time of the steps of one training; runs in its own process."""
    devices.use_given_threads()
    devices.keep_freed_memory()
    torch.manual_seed(0)
    entry = METHODS[method]
    built = entry.load()(entry.settings(), Network(name=network), (1, *[side] * 3))
    target = [person % 2 == 1 for person in range(people)]
    scans = Scans(_RandomVolumes(side), list(range(people)), [f"sub-{i}" for i in range(people)], target, {})
    started, processor = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        # A batch holds all participants, so that an epoch is one step.
        training = Training(epochs=steps, batch_size=people, people_in_memory=at_once, precision=precision)
        views = VolumeViews(made_up_standardisation(side), Augmentation())
        fit(built, scans, views, training, seeds=(0, 0), folder=Path(folder) / "run", identity="", title=method)
    found = {
        "people": people,
        "in memory": at_once or people,
        "peak GiB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}",
        "before GiB": f"{before / 2**20:.2f}",
        "seconds a step": f"{(time.perf_counter() - started) / steps:.1f}",
        "processor seconds a step": f"{(time.process_time() - processor) / steps:.1f}",
    }
    if torch.cuda.is_available():
        found["peak GiB of the GPU"] = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}"
    print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="sepclr-k-jem")
    parser.add_argument("--side", default=64, type=int, help="voxels")
    parser.add_argument("--steps", default=2, type=int)
    parser.add_argument("--network", default="light")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32"])
    parser.add_argument("--people", nargs="*", type=int, help="other batches than the usual ones, whole in memory")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")  # a process per case, to measure its own peak
    for people, at_once in [(people, None) for people in arguments.people] if arguments.people else CASES:
        case = context.Process(
            target=measure,
            args=(arguments.method, arguments.side, people, at_once, arguments.steps),
            kwargs={"network": arguments.network, "precision": arguments.precision},
        )
        case.start()
        case.join()


if __name__ == "__main__":
    main()
