"""How far a run is, from its files alone: ``sepclr-neuro status``. Writes nothing, and touches no lock.

What is known of a job: the plan of the last run (``run/plan.json``), its outputs, the record that it writes while it is
alive (``run/alive/``), and its log, to which its shell adds a line when it fails. So a run is followed from any machine
that sees the folder, while it is under way and after it.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.jobs import ENDED
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.runs import RUN_ENDED, RunUnderWay, seen_under_way
from sepclr_neuro.run.plan import Job, Plan, read_plan
from sepclr_neuro.run.runfiles import run_files

__all__ = ["STATES", "JobStatus", "Status", "status"]

STATES = ("done", "running", "to do", "out of date", "stopped", "lost", "failed")
"""Of a job: `stopped` by a signal or with its run, `lost` without a last word; both go on with the same command."""

LOST_SECONDS = 180.0
"""Without a sign of life; clocks of machines may differ by less than that."""
_SLACK = 2.0  # seconds by which times of files of one moment may differ
_STOPPED = (128 + 2, 128 + 15)  # SIGINT, SIGTERM
_TAIL = 8192


@dataclass(frozen=True)
class JobStatus:
    """State of one job.

    Attributes:
        state: one of ``STATES``.
        why: of a failed, stopped or lost job what is known of its end; of one out of date, the reason.
        seconds: how long it will probably take: what is left of a running one, the mean of finished ones of its kind
            for any other; None where nothing is known.
        record: what a running or lost job said: ``host process started work at share seconds_left``.
        next: whether it can be done now: all that it waits for is done, and it did not fail.
    """

    job: Job
    state: str
    why: str = ""
    seconds: float | None = None
    record: Mapping[str, Any] | None = None
    next: bool = False


@dataclass(frozen=True)
class Status:
    """State of a run, its jobs in the order in which they can be done."""

    results: Path
    run: RunUnderWay | None
    jobs: list[JobStatus]
    notes: list[str]

    @property
    def failed(self) -> bool:
        """Whether a job failed or was lost."""
        return any(job.state in ("failed", "lost") for job in self.jobs)


def status(path: Path) -> Status:
    """Looks at the files of a run.

    Args:
        path: a results folder, or the configuration of a run. Of a folder, the configuration that its last run was
            given is looked at if it is still there.

    Raises:
        InputError: if there is no such path, no run has started there, or the given configuration is wrong.
    """
    notes: list[str] = []
    config: Config | None = None
    if path.is_dir():
        results = Results(path)
        plan = read_plan(results)
        try:
            config = load_config(plan.configuration)
        except (InputError, OSError) as error:
            line = str(error).partition("\n")[0]
            notes.append(f"the configuration cannot be compared with what was done: {line}")
    else:
        config = load_config(path)
        results = Results(config.output)
        plan = read_plan(results)
    looked = _Look(results, plan, _changed_settings(results, config))
    return Status(results.root, looked.run, looked.jobs(), notes)


def _changed_settings(results: Results, config: Config | None) -> set[str]:
    """Run files that the configuration would write otherwise, by their names from the results folder on."""
    if config is None:
        return set()
    made = run_files(config, Results(Path(config.output)))
    found = set()
    for path, text in made.items():
        present = results.root / "run" / path.name
        if present.is_file() and present.read_text(encoding="utf-8") != text:
            found.add(f"run/{path.name}")
    return found


class _Look:
    """One look at the files of a run."""

    def __init__(self, results: Results, plan: Plan, changed: set[str]) -> None:
        self.root, self.plan, self.changed = results.root, plan, changed
        self.run = seen_under_way(results)
        self.planned, self.now = results.plan.stat().st_mtime, time.time()
        self.found: dict[int, tuple[str, str, dict[str, Any] | None]] = {}

    def jobs(self) -> list[JobStatus]:
        order = self._order()
        for place in order:
            self.found[place] = self._state(self.plan.jobs[place])
        seconds = self._seconds()
        listed = []
        for place in order:
            job, (state, why, record) = self.plan.jobs[place], self.found[place]
            waits = state not in ("done", "running")
            expected = seconds.get(job.kind) if waits else None
            if state == "running" and record is not None:
                expected = record.get("seconds_left")
            ready = waits and state != "failed" and all(self.found[other][0] == "done" for other in job.after)
            listed.append(JobStatus(job, state, why, expected, record, ready))
        return listed

    def _order(self) -> list[int]:
        """Places of the plan, each after all that it reads from, stages together."""
        jobs = self.plan.jobs
        depth: dict[int, int] = {}
        left = list(range(len(jobs)))
        while left:  # one pass a level, of which there are as many as stages
            ready = [place for place in left if all(other in depth for other in jobs[place].after)]
            for place in ready or left:  # `left`: a damaged plan may run in a circle
                depth[place] = 1 + max((depth[other] for other in jobs[place].after if other in depth), default=0)
            left = [place for place in left if place not in depth]
        first: dict[str, int] = {}
        for place, job in enumerate(jobs):
            first[job.stage] = min(depth[place], first.get(job.stage, depth[place]))
        return sorted(depth, key=lambda place: (depth[place], first[jobs[place].stage], jobs[place].parts))

    def _state(self, job: Job) -> tuple[str, str, dict[str, Any] | None]:
        log = self.root / job.log
        logged = _modified(log)
        begun = logged is not None and logged >= self.planned - _SLACK  # not in a run before
        tail = _tail(log) if begun and job.reason else []
        if tail and (ended := re.fullmatch(re.escape(ENDED) + r" (\d+)", tail[-1])):
            stopped = int(ended[1]) in _STOPPED or RUN_ENDED in tail
            return ("stopped" if stopped else "failed"), _last_words(tail[:-1], int(ended[1])), None
        record, sign = self._record(job)
        if record is not None and self._lives(record, sign):
            return "running", "", record
        times = [_modified(self.root / output) for output in job.outputs]
        known = [moment for moment in times if moment is not None]
        oldest = min(known, default=0.0)
        if record is not None and sign >= self.planned - _SLACK:
            since = datetime.fromtimestamp(sign).isoformat(" ", "seconds")
            return "lost", f"no sign of life from {record.get('host', '?')} since {since}", record
        if len(known) == len(times) and (not job.reason or oldest >= self.planned - _SLACK):
            why = self._out_of_date(job, oldest)
            return ("out of date" if why else "done"), why, None
        if begun and job.reason:
            if self.run is not None:
                return "running", "", None
            return "lost", "it has started, but neither its results nor a message about its end are there", None
        return ("out of date", job.reason, None) if len(known) == len(times) else ("to do", "", None)

    def _record(self, job: Job) -> tuple[dict[str, Any] | None, float]:
        """What a job wrote of itself, and when."""
        path = self.root / "run" / "alive" / Path(job.log).relative_to("logs").with_suffix(".json")
        try:
            return json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
        except (OSError, ValueError):
            return None, 0.0

    def _lives(self, record: Mapping[str, Any], sign: float) -> bool:
        if self.now - sign > LOST_SECONDS:
            return False
        return record.get("host") != platform.node() or psutil.pid_exists(int(record.get("process", 0)))

    def _out_of_date(self, job: Job, oldest: float) -> str:
        """Why a job whose outputs are there would be done again; empty if it would not."""
        if changed := self.changed.intersection(job.settings):
            return f"its settings changed ({', '.join(sorted(changed))})"
        for source in job.sources:
            if (self._moment(source) or 0) > oldest:
                return f"{source} is newer"
        before = [self.plan.jobs[place].title for place in job.after if self.found[place][0] == "out of date"]
        return f"what it is made from is out of date ({before[0]})" if before else ""

    @cache  # noqa: B019 (a look lives for one call)
    def _moment(self, source: str) -> float | None:
        return _modified(self.root / source)

    def _seconds(self) -> dict[str, float]:
        """Of finished jobs, the mean by their kind, for kinds that are not all done."""
        wanted = {self.plan.jobs[place].kind for place, (state, _, _) in self.found.items() if state != "done"}
        taken: dict[str, list[float]] = {}
        for job in self.plan.jobs:
            if job.kind in wanted:
                taken.setdefault(job.kind, []).extend(_benchmarked(self.root / job.benchmark))
        return {kind: mean(seconds) for kind, seconds in taken.items() if seconds}


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _tail(log: Path) -> list[str]:
    """The last lines of a log that are not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _last_words(lines: Iterable[str], ended: int) -> str:
    """The message of a job that ended: its error with what belongs to it, or the last line of a traceback."""
    lines = list(lines)
    errors = [place for place, line in enumerate(lines) if line.startswith("sepclr-neuro: ")]
    if errors:
        return " ".join(line.strip() for line in lines[errors[-1] : errors[-1] + 4]).removeprefix("sepclr-neuro: ")
    if ended == 128 + 9:
        return "was killed (SIGKILL), by the system where memory was short, or by somebody"
    return lines[-1].strip() if lines else f"ended with status {ended}, without a message"


def _benchmarked(path: Path) -> list[float]:
    """Seconds of a job, as Snakemake measured them."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
    except (OSError, ValueError, KeyError, TypeError):
        return []
