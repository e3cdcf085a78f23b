"""Many more inputs for the properties of tests/test_properties.py than tests have time for, new ones at every run.

    python -m tests.soak.fuzz --inputs 100000

Prints how many inputs each property was asked (fewer than wanted where there are no more), and ends with the first that
breaks one.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all properties together")
    wanted = parser.parse_args().inputs

    from tests import test_properties as properties

    tests = {name: test for name, test in vars(properties).items() if name.startswith("test_")}
    each = -(-wanted // len(tests))
    settings.register_profile(
        "soak", max_examples=each, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    settings.load_profile("soak")
    inputs: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    name, outcome = "", properties.outcome

    def counted(work: Any) -> Any:
        found = outcome(work)
        asked[name] += 1
        refused[name] += found is None
        return found

    def counted_input(inner: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(inner)
        def asked_once(*arguments: Any, **named: Any) -> None:
            inputs[name] += 1
            inner(*arguments, **named)

        return asked_once

    properties.outcome = counted
    started = time.monotonic()
    for name, test in tests.items():
        test.hypothesis.inner_test = counted_input(test.hypothesis.inner_test)
        settings(settings.get_profile("soak"))(test)()
        print(
            f"{name}: {inputs[name]} inputs, {asked[name]} readings, {refused[name]} refused with a clear error "
            f"({(time.monotonic() - started) / 60:.1f} minutes so far)",
            flush=True,
        )
    minutes = (time.monotonic() - started) / 60
    print(f"{inputs.total()} inputs in {minutes:.1f} minutes: no other error, no wrong voxel")


if __name__ == "__main__":
    main()
