"""Many more inputs for the properties of tests/test_properties.py than tests have time for, new ones at every run.

    python -m tests.soak.fuzz --inputs 100000

Prints how many inputs each property was asked, and ends with the first that breaks one.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
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
    asked: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    name, outcome = "", properties.outcome

    def counted(work: Any) -> Any:
        found = outcome(work)
        asked[name] += 1
        refused[name] += found is None
        return found

    properties.outcome = counted
    started = time.monotonic()
    for name, test in tests.items():
        settings(settings.get_profile("soak"))(test)()
        print(f"{name}: {each} inputs, {asked[name]} readings, {refused[name]} refused with a clear error", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(f"{each * len(tests)} inputs in {minutes:.1f} minutes: no other error, no wrong voxel")


if __name__ == "__main__":
    main()
