"""Trainings killed with SIGKILL many times over: at every write and epoch, then at random moments, until they end.

    python -m tests.soak.kills --kills 200

Each method of tests/test_kills.py in turn starts afresh, is killed, goes on, is killed again ..., and must end in the
weights, bit for bit, of a training that nobody disturbed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np

from tests.killing import Point, run, train
from tests.test_kills import METHODS, model, small

POINTS = [Point(place, number) for number in range(1, 9) for place in ("before write", "within write", "after write")]
POINTS += [Point("epoch", number) for number in (1, 2)]
MOST_KILLS = 4  # of one training, which would otherwise hardly ever end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    started, kills, trainings, at_points = time.monotonic(), 0, 0, 0
    points = cycle(POINTS)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        right, seconds = {}, {}
        for method in METHODS:
            config, results = small(root / f"undisturbed-{method}", method)
            assert run(train, config, results, method)
            before = time.monotonic()
            assert run(train, *small(root / f"timed-{method}", method), method)
            seconds[method] = time.monotonic() - before
            right[method] = model(results, method)
        for method in cycle(METHODS):
            if kills >= arguments.kills:
                break
            config, results = small(root / f"killed-{trainings}", method)
            ended = False
            for number in range(MOST_KILLS):
                if number % 2 == 0:
                    ended = run(train, config, results, method, point=next(points))
                    at_points += not ended
                else:
                    ended = run(train, config, results, method, seconds=rng.uniform(0, seconds[method]))
                kills += not ended
            if not ended:
                assert run(train, config, results, method)
            trainings += 1
            assert model(results, method) == right[method], (method, trainings)
    minutes, at_random = (time.monotonic() - started) / 60, kills - at_points
    print(
        f"{kills} kills ({at_points} at writes and epochs, {at_random} at random moments) of {trainings} trainings "
        f"({', '.join(METHODS)}) in {minutes:.1f} minutes: all ended in the undisturbed weights, bit for bit"
    )


if __name__ == "__main__":
    main()
