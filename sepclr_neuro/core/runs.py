"""One run at a time into a results folder; after a kill the same command goes on, and jobs end with their run.

Snakemake's own lock outlives a killed run and does not say whose it is. Beside it a run holds the system's lock on
``<output>/run/under-way.json``, which says on which machine and as which process it runs. The system frees that lock
however a run ends.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psutil

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "PROCESS",
    "RUN_ENDED",
    "SNAKEMAKE_LOCKS",
    "RunUnderWay",
    "end_with_the_run",
    "hold",
    "is_running",
    "resume",
    "seen_under_way",
]

PROCESS = "SEPCLR_NEURO_RUN"  # the environment variable that names a job the process of its Snakemake
SNAKEMAKE_LOCKS = Path(".snakemake", "locks")
RUN_ENDED = "the run of this job has ended, so the job ends; the same command resumes it"
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class RunUnderWay:
    """The run that writes into a results folder."""

    host: str
    process: int
    started: str


def resume(workflow: Any, results: Results, undo: Callable[[], None]) -> None:
    """Makes a Snakemake workflow go on from what a killed run left, and hold its results folder while it executes.

    The Snakefile is read before Snakemake knows whether it will execute anything, so that the one call by which it
    executes is wrapped here. A living run of the same folder ends this one with a message; the lock of a dead one is
    removed, and jobs that it left half done are started again, as ``--rerun-incomplete`` says.

    Args:
        workflow: Snakemake's ``workflow``, in the process that the user started.
        results: the folder into which it writes.
        undo: takes back what was written before Snakemake knows whether it will execute anything. It is called at the
            end of a process that executes nothing: a dry run writes nothing.
    """
    execute = workflow.execute
    atexit.register(undo)

    def execute_alone(executor_plugin: Any, **others: Any) -> Any:
        workflow.dag_settings.force_incomplete = True
        if not executor_plugin.common_settings.dryrun_exec:
            try:
                hold(results)
            except InputError as error:
                sys.exit(f"{error}")
            atexit.unregister(undo)
            _remove_locks(results)
        elif not is_running(results):
            _remove_locks(results)
        return execute(executor_plugin=executor_plugin, **others)

    workflow.execute = execute_alone


def hold(results: Results) -> None:
    """Makes this process the one that writes into a results folder, until it ends; says so if a run before was killed.

    Raises:
        InputError: if another run is under way there, or one of another machine, of which this one cannot see whether
            it still is.
    """
    path = results.under_way.absolute()  # Snakemake leaves the working directory before it ends
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+", encoding="utf-8")
        left = _read(file)
        living = _living(file)
        if living is not None:
            file.close()
            raise InputError(_refusal(results, living))
        # The run before may have removed the file between our opening and locking it.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            break
        file.close()
    if left is not None:
        print(
            f"{results.root}: the run of {left.started} was ended before it was done; this one resumes it",
            file=sys.stderr,
        )
    run = RunUnderWay(platform.node(), os.getpid(), datetime.now().astimezone().isoformat(" ", "seconds"))
    file.truncate(0)
    file.write(json.dumps(asdict(run), indent=2) + "\n")
    file.flush()
    atexit.register(_free, path, file, run.process)


def _free(path: Path, file: IO[str], process: int) -> None:
    if os.getpid() == process:  # not in a fork
        path.unlink(missing_ok=True)
        file.close()


def is_running(results: Results) -> bool:
    """Whether a run is under way in a results folder, or one of another machine may be."""
    try:
        with results.under_way.open(encoding="utf-8") as file:
            return _living(file) is not None
    except FileNotFoundError:
        return False


def seen_under_way(results: Results) -> RunUnderWay | None:
    """The run that seems to be under way in a results folder, without touching a lock, for those who only look.

    Of a run of another machine it is not known whether it has been killed.
    """
    try:
        with results.under_way.open(encoding="utf-8") as file:
            run = _read(file)
    except OSError:
        return None
    return run if run is not None and (run.host != platform.node() or psutil.pid_exists(run.process)) else None


def _living(file: IO[str]) -> RunUnderWay | None:
    """The run that holds an open file, or that may hold it on another machine; if there is none, the file is locked."""
    run = _read(file)
    here = platform.node()
    try:
        if fcntl is None:
            raise OSError("this system has no such locks")
        # A file that is open for reading alone cannot be locked for writing on every file system.
        fcntl.flock(file, (fcntl.LOCK_EX if file.writable() else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return run or RunUnderWay(here, 0, "this moment")
    except OSError:  # a file system without locks
        if run is not None and run.host == here and psutil.pid_exists(run.process):
            return run
    # Locks of other machines are not seen on every shared file system.
    return run if run is not None and run.host != here else None


def _read(file: IO[str]) -> RunUnderWay | None:
    """The run that a file records; none if it is empty, or torn by a power cut."""
    file.seek(0)
    try:
        return RunUnderWay(**json.load(file))
    except (ValueError, TypeError):
        return None


def _refusal(results: Results, run: RunUnderWay) -> str:
    if run.host == platform.node():
        return (
            f"{results.root}: a run is under way there (process {run.process}, since {run.started}); "
            "wait for it, or stop it, or set another `output`"
        )
    return (
        f"{results.root}: a run was started there on {run.host} (process {run.process}, {run.started}), and this "
        f"machine cannot see whether it still runs; look on {run.host} (`ps {run.process}`). If it has ended, delete "
        f"{results.under_way} and give the same command again"
    )


def _remove_locks(results: Results) -> None:
    """Removes the locks that Snakemake runs into a results folder left behind; those of other folders stay."""
    for lock in SNAKEMAKE_LOCKS.glob("*.lock"):
        with suppress(FileNotFoundError):
            files = lock.read_text(encoding="utf-8").splitlines()
            if any(Path(file.strip()).is_relative_to(results.root) for file in files):
                lock.unlink()


def end_with_the_run() -> None:
    """In a job: ends this process and those below it as soon as its Snakemake, or the shell between, has ended.

    Otherwise a training would go on unseen after Snakemake was killed, beside the same training of the next run.
    Nothing is lost by an end at any moment but the epoch in flight. Does nothing in a command that a user gave.
    """
    run = os.environ.get(PROCESS)
    if run:
        threading.Thread(target=_watch, args=(int(run),), daemon=True).start()


def _watch(run: int) -> None:
    """Polls, since a signal at a parent's death exists on Linux alone, and for direct parents."""
    me = psutil.Process()
    while run in {process.pid for process in me.parents()}:
        time.sleep(LOOK_SECONDS)
    with suppress(OSError):
        print(RUN_ENDED, file=sys.stderr)
        sys.stderr.flush()
    for process in me.children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
    me.kill()
