"""What tests share: small cohorts, and the real data of a development machine where it is present."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# What was started in the background ignores interrupts, and so would the runs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples at every run, so that a test fails for whoever broke it; tests/soak/fuzz.py looks for new ones.
settings.register_profile(
    "tests", max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; a test that asks for it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real data (../shared/data) is not on this machine")
    return SHARED


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the package says: progress, warnings and errors."""
    caplog.set_level(logging.INFO, "sepclr_neuro")
    return caplog


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole runs come first: they take longest, and all processes should end at about the same time.

    Files of tests on SLURM wait for each other: with others between them, no process waits.
    """
    files = sorted(dict.fromkeys(item.path for item in items), key=lambda path: path.parent.name != "workflow")
    on_slurm = [path for path in files if path.parent.name == "slurm"]
    place = {path: float(number) for number, path in enumerate(path for path in files if path not in on_slurm)}
    place |= {path: 12 * number - 0.5 for number, path in enumerate(on_slurm)}
    items.sort(key=lambda item: place[item.path])
