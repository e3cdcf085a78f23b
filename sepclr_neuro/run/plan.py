"""The jobs of a run, as Snakemake planned them: what ``sepclr-neuro status`` compares files with.

A run writes its plan when it starts. The alternatives were to ask Snakemake at each look, which takes seconds and a
Snakemake on the machine of whoever looks, and a list of all jobs made from layout and settings, a second copy of the
rules that would have to be kept true.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import replace_text

__all__ = ["Job", "Plan", "read_plan", "write_plan"]


@dataclass(frozen=True)
class Job:
    """One job. Paths are those from the results folder on, or whole ones where they lie elsewhere.

    Attributes:
        stage: as its logs, benchmarks and receipts name it.
        parts: further names: method and fold, say.
        kind: stage and method, without fold, seed or repetition: jobs of one kind take about the same time.
        log: of its messages.
        benchmark: of its seconds.
        outputs: files and folders.
        settings: run files that it reads.
        sources: files of the user that it reads.
        after: places in the plan of the jobs whose outputs it reads.
        reason: why it was to be done, in Snakemake's words; empty if nothing was to be done.
    """

    stage: str
    parts: tuple[str, ...]
    kind: str
    log: str
    benchmark: str
    outputs: tuple[str, ...]
    settings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    after: tuple[int, ...] = ()
    reason: str = ""

    @property
    def title(self) -> str:
        return " ".join((self.stage, *self.parts))


@dataclass(frozen=True)
class Plan:
    """The jobs of the last run into a results folder, and the configuration that it was given."""

    configuration: str
    jobs: list[Job] = field(default_factory=list)


def write_plan(dag: Any, results: Results, configuration: str | Path) -> None:
    """Writes the plan of a run that starts.

    Args:
        dag: Snakemake's, complete: which jobs there are, and which of them are to be done.
        results: the folder into which the run writes.
        configuration: the file of the run.
    """
    jobs = [job for job in dag.jobs if job.log]  # the rules that compute nothing have none
    places = {job: place for place, job in enumerate(jobs)}
    root = results.root.absolute()

    def name(path: Any) -> str:
        whole = Path(os.path.abspath(str(path)))
        return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.as_posix()

    def described(job: Any) -> Job:
        log = name(job.log[0])
        stage, *parts = Path(log).with_suffix("").parts[1:]
        before = dag.dependencies[job]
        made = {str(path) for files in before.values() for path in files}
        given = [name(path) for path in job.input if str(path) not in made]
        varied = {key: value for key, value in job.wildcards_dict.items() if key not in ("fold", "seed", "repetition")}
        return Job(
            stage,
            tuple(parts),
            " ".join((stage, *varied.values())),
            log,
            name(job.benchmark),
            tuple(name(path) for path in job.output),
            tuple(path for path in given if path.startswith("run/")),
            tuple(path for path in given if not path.startswith("run/")),
            tuple(places[other] for other in before if other in places),
            str(dag.reason(job))[:300] if dag.needrun(job) else "",
        )

    plan = Plan(str(Path(configuration).absolute()), [described(job) for job in jobs])
    replace_text(results.plan, json.dumps(asdict(plan), ensure_ascii=False) + "\n")


def read_plan(results: Results) -> Plan:
    """The plan of the last run.

    Raises:
        InputError: if there is none.
    """
    try:
        return TypeAdapter(Plan).validate_json(results.plan.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{results.plan}: no run has written its plan there ({type(error).__name__}); expected a results folder or "
            "the configuration of a run. `sepclr-neuro run CONFIG -n` lists what would be done"
        ) from error
