"""When work says how far it is, and the record of a job that is alive."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from sepclr_neuro.core import jobs, progress
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import Progress


class Clock:
    """Time that a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "sepclr_neuro")
    return caplog


def test_a_line_says_how_much_of_the_work_and_of_the_time_is_left(clock: Clock, said: pytest.LogCaptureFixture) -> None:
    work = Progress("volumes", 240)
    clock.now += 40
    work.at(40)
    assert said.messages == ["volumes: 40 of 240 (17 %), about 3 min left"]
    assert progress.latest() == {"work": "volumes", "at": "40 of 240", "share": 0.1667, "seconds_left": 200}


@pytest.mark.parametrize(("seconds", "total", "lines"), [(0.1, 1000, 10), (1, 1000, 40), (0.001, 1000, 1), (60, 5, 5)])
def test_lines_are_few_however_long_it_takes(
    seconds: float, total: int, lines: int, clock: Clock, said: pytest.LogCaptureFixture
) -> None:
    """A line a tenth where that takes 10 s, one in 30 s where it takes longer, and the last one in any case."""
    work = Progress("volumes", total)
    for done in range(1, total + 1):
        clock.now += seconds
        work.at(done)
    assert abs(len(said.messages) - lines) <= 1
    assert said.messages[-1] == f"volumes: {total} of {total}"


def test_work_that_is_resumed_counts_its_own_time(clock: Clock, said: pytest.LogCaptureFixture) -> None:
    work = Progress("training", 100, done=50)
    clock.now += 30
    work.at(60)
    assert said.messages == ["training: 60 of 100 (60 %), about 2 min left"]


def test_a_job_has_a_record_while_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.01)
    results = Results(tmp_path)
    path = results.alive("train", "a", "fold-0")

    def work() -> None:
        Progress("a, fold 0", 10).at(3)
        deadline = time.monotonic() + 10
        while not path.is_file() or json.loads(path.read_text()).get("at") != "3 of 10":
            assert time.monotonic() < deadline
        assert json.loads(path.read_text())["process"] == os.getpid()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), jobs.alive(results, "train", "a", "fold-0"):
        work()
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_no_results_folder_is_made_for_a_record(tmp_path: Path) -> None:
    with jobs.alive(Results(tmp_path / "results"), "cohort"):
        pass
    assert not (tmp_path / "results").exists()
