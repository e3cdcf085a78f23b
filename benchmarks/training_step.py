"""Seconds that a training step spends on views and on the network, on a CPU.

python benchmarks/training_step.py --method sepclr-k-jem --side 64 --batch-size 16
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from sepclr_neuro import devices
from sepclr_neuro.augmentation import augment
from sepclr_neuro.config import Augmentation, Network
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.registry import METHODS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="sepclr-k-jem", choices=METHODS)
    parser.add_argument("--side", default=64, type=int, help="voxels")
    parser.add_argument("--batch-size", default=16, type=int)
    parser.add_argument("--steps", default=10, type=int, help="after three that do not count")
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    arguments = parser.parse_args()
    devices.use_given_threads()
    devices.keep_freed_memory()

    torch.manual_seed(0)
    entry, shape = METHODS[arguments.method], (1, *[arguments.side] * 3)
    method = entry.load()(entry.settings(), Network(), shape).to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.Adam(method.parameters())
    volumes = torch.randn(arguments.batch_size, *shape)
    target = torch.arange(arguments.batch_size) % 2 == 1
    views_seconds, network_seconds = [], []
    for step in range(-3, arguments.steps):
        if step == 0:
            before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        first, second = (augment(volumes, Augmentation(), 2 * (step + 3) + view) for view in (0, 1))
        batch, augmented = Batch((first, second), target), time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bfloat16"):
            loss = method.losses(method.encode(batch), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 0:
            views_seconds.append(augmented - started)
            network_seconds.append(time.perf_counter() - augmented)
    after = resource.getrusage(resource.RUSAGE_SELF)

    views, network = min(views_seconds), min(network_seconds)
    faults = (after.ru_minflt - before.ru_minflt) / arguments.steps
    print(f"{arguments.method}, {arguments.side}³, batch {arguments.batch_size}, {torch.get_num_threads()} threads")
    print(
        f"fastest of {arguments.steps} steps: views {views:.3f} s, network {network:.3f} s, {views / network:.2f} to 1"
    )
    print(f"page faults a step {faults:.0f}, peak memory {after.ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
