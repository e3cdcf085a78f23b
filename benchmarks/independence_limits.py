"""Where each independence term no longer orders three levels of dependence: by batch size, dimensions, bandwidth.

    python -m benchmarks.independence_limits

Prints a Markdown table: the proportion of draws in which the term is lowest for independent pairs, higher at a
correlation of 0.56 and highest at 0.93 in every dimension, with standard normal marginals throughout. Estimators are
first trained on 300 other batches of the same size.
"""

from __future__ import annotations

import torch

from tests.gaussian_pairs import orders, values

PEOPLE = (16, 64, 256)
DIMS = (1, 2, 8, 32)
KERNELS = [(term, temperature) for term in ("k-jem", "k-mi") for temperature in (0.5, 4.0, 32.0)]
OTHERS = ["mmd", "tc", "vclub-sym", "vl1o-sym", "vub-sym"]


def share(name: str, people: int, dim: int, temperature: float, draws: int) -> float:
    return (
        sum(orders(values(name, people, dim, temperature=temperature, seed=seed, steps=300)) for seed in range(draws))
        / draws
    )


def main() -> None:
    torch.set_num_threads(1)
    print("| term | tau | people | " + " | ".join(f"d = {dim}" for dim in DIMS) + " |")
    print("|---|---|---|" + "---|" * len(DIMS))
    rows = [(name, temperature, 20) for name, temperature in [*KERNELS, ("dcor", 0.5)]]
    rows += [(name, 0.5, 5) for name in OTHERS]
    for name, temperature, draws in rows:
        tau = f"{temperature:g}" if name.startswith("k-") else ""
        for people in PEOPLE:
            cells = [f"{share(name, people, dim, temperature, draws):.2f}" for dim in DIMS]
            print(f"| `{name}` | {tau} | {people} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
