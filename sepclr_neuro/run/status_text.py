"""The state of a run as text and as JSON."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sepclr_neuro.core.words import counted, duration
from sepclr_neuro.run.status import STATES, JobStatus, Status

__all__ = ["as_json", "as_text"]

_SHOWN = 20
_WHY = 200


def as_text(status: Status, everything: bool = False) -> str:
    """A table of stages, then the jobs that a reader looks for: failed ones first, those that come next last.

    Args:
        everything: also a line for each job; otherwise lists are cut.
    """
    jobs, limit = status.jobs, None if everything else _SHOWN
    blocks = [[_heading(status), *(f"note: {note}" for note in status.notes)], _table(jobs)]
    for state in ("failed", "lost", "stopped", "out of date", "running"):
        found = [job for job in jobs if job.state == state]
        if found:
            blocks.append(_cut(f"{state}:", [_line(status, job) for job in found], limit))
    following = [job for job in jobs if job.next]
    if following:
        blocks.append(_cut("next:", [f"{job.job.title}, {_expected(job)}" for job in following], limit))
    if everything:
        blocks.append(["all jobs:", *(f"  {job.state:<12}{job.job.title}" for job in jobs)])
    blocks.append([_left(jobs)])
    return "\n\n".join("\n".join(block) for block in blocks)


def as_json(status: Status) -> dict[str, Any]:
    """The same, complete, for scripts: ``results run notes jobs``."""
    run = status.run
    return {
        "results": str(status.results),
        "run": None if run is None else {"host": run.host, "process": run.process, "started": run.started},
        "notes": status.notes,
        "jobs": [
            {
                "stage": job.job.stage,
                "parts": list(job.job.parts),
                "state": job.state,
                "why": job.why,
                "log": str(status.results / job.job.log),
                "seconds": job.seconds,
                "next": job.next,
                "record": None if job.record is None else dict(job.record),
            }
            for job in status.jobs
        ],
    }


def _heading(status: Status) -> str:
    run = status.run
    if run is None:
        return f"{status.results}: no run is under way"
    unseen = "" if run.host == platform.node() else ", another machine, where it may have ended"
    return f"{status.results}: a run is under way on {run.host} (process {run.process}, since {run.started}{unseen})"


def _table(jobs: Sequence[JobStatus]) -> list[str]:
    counts: dict[str, Counter[str]] = {}
    for job in jobs:
        counts.setdefault(job.job.stage, Counter())[job.state] += 1
    states = [state for state in STATES if state == "done" or any(found[state] for found in counts.values())]
    rows = [["stage", "jobs", *states]]
    rows += [
        [stage, str(found.total()), *(str(found[state] or "") for state in states)] for stage, found in counts.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]


def _cut(heading: str, lines: Sequence[str], limit: int | None) -> list[str]:
    more = [] if limit is None or len(lines) <= limit else [f"  … and {len(lines) - limit} more (--all)"]
    return [heading, *(f"  {line}" for line in lines[:limit]), *more]


def _line(status: Status, job: JobStatus) -> str:
    title, record = job.job.title, job.record or {}
    if job.state == "running":
        if not record:
            return f"{title}: starting"
        at = f"{record['at']} ({100 * record['share']:.0f} %)" if record.get("at") else "at work"
        left = "" if job.seconds is None else f", {duration(job.seconds)} left"
        return f"{title}: {at}{left}; since {record.get('started')} on {record.get('host')}"
    why = job.why if len(job.why) <= _WHY else f"{job.why[:_WHY]} …"
    log = f"\n    log: {status.results / job.job.log}" if job.state in ("failed", "lost", "stopped") else ""
    return f"{title}: {why}{log}"


def _expected(job: JobStatus) -> str:
    return "time unknown" if job.seconds is None else duration(job.seconds)


def _left(jobs: Sequence[JobStatus]) -> str:
    left = [job for job in jobs if job.state != "done"]
    if not left:
        return "all jobs are done"
    known = [job.seconds for job in left if job.seconds is not None]
    unknown = len(left) - len(known)
    time = f", {duration(sum(known))} one after the other" if known else ""
    rest = f"; of {unknown} the time is unknown, since none like them is done" if unknown else ""
    return f"left: {counted(len(left), 'job')}{time}{rest}"
