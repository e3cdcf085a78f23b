"""Who may write into a results folder, what a killed run leaves, and that jobs end with their run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from sepclr_neuro.core import runs
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results

HOLD = (
    "import os, sys; from pathlib import Path; from sepclr_neuro.core import runs; "
    "from sepclr_neuro.core.layout import Results; "
    "runs.hold(Results(Path(sys.argv[1]))); os.chdir('/'); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return Results(Path("results"))


@contextmanager
def holder(results: Results) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its standard input ends, or it is killed."""
    command = [sys.executable, "-c", HOLD, str(results.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def hold_elsewhere(results: Results) -> subprocess.CompletedProcess[str]:
    """A whole run of another process, from taking the folder to giving it back."""
    command = [sys.executable, "-c", HOLD, str(results.root)]
    return subprocess.run(command, input="", capture_output=True, text=True, check=False)


def note(results: Results, host: str, process: int) -> None:
    results.under_way.parent.mkdir(parents=True, exist_ok=True)
    results.under_way.write_text(json.dumps({"host": host, "process": process, "started": "yesterday"}))


def until(happened: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened()


# --- one run a folder ----------------------------------------------------------------------------------------------


def test_a_folder_belongs_to_one_run_at_a_time(results: Results) -> None:
    assert not runs.is_running(results)
    with holder(results) as other:
        assert runs.is_running(results)
        with pytest.raises(InputError, match=rf"a run is under way there \(process {other.pid}, since .* stop"):
            runs.hold(results)
        assert not runs.is_running(Results(Path("results-2")))
        other.communicate("")  # it ends by itself
    assert not results.under_way.exists()
    assert hold_elsewhere(results).stderr == ""


def test_a_killed_run_gives_its_folder_back_at_once(results: Results) -> None:
    with holder(results) as other:
        other.kill()
        assert until(lambda: not runs.is_running(results))  # although no process has waited for it yet
    assert results.under_way.exists()
    said = hold_elsewhere(results)
    assert said.returncode == 0
    assert "results: the run of 20" in said.stderr
    assert "was ended before it was done; this one resumes it" in said.stderr
    assert not results.under_way.exists()


def test_a_file_that_a_power_cut_tore_keeps_nobody_out(results: Results) -> None:
    note(results, platform.node(), 1)
    results.under_way.write_text(results.under_way.read_text()[:20])
    assert not runs.is_running(results)
    assert hold_elsewhere(results).returncode == 0


def test_a_run_of_another_machine_is_never_ended_from_here(results: Results) -> None:
    note(results, "node7", 123)
    assert runs.is_running(results)
    expected = r"a run was started there on node7 \(process 123, yesterday\).*delete results.run.under-way\.json"
    with pytest.raises(InputError, match=expected):
        runs.hold(results)
    assert results.under_way.exists()


def test_without_locks_of_the_system_the_process_itself_is_looked_for(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "fcntl", None)
    note(results, platform.node(), os.getppid())
    assert runs.is_running(results)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note(results, platform.node(), ended.pid)
    assert not runs.is_running(results)


# --- what Snakemake left -------------------------------------------------------------------------------------------


def lock(name: str, *files: str) -> Path:
    path = runs.SNAKEMAKE_LOCKS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(files) + "\n")
    return path


def execute(results: Results, dry: bool, undo: Callable[[], None] = lambda: None) -> SimpleNamespace:
    """What Snakemake does with a workflow that goes on."""
    executed: list[bool] = []
    settings = SimpleNamespace(force_incomplete=False)
    workflow = SimpleNamespace(dag_settings=settings, execute=lambda executor_plugin: executed.append(True))
    runs.resume(workflow, results, undo)
    workflow.execute(executor_plugin=SimpleNamespace(common_settings=SimpleNamespace(dryrun_exec=dry)))
    assert executed == [True]
    return workflow


@pytest.mark.parametrize("dry", [True, False])
def test_locks_of_a_dead_run_of_this_folder_are_removed_and_no_others(
    dry: bool, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs.atexit, "register", lambda function, *given: given)
    ours = lock("0.output.lock", "results/cohort/cohort.tsv"), lock("0.input.lock", "a.tsv", "results/run/cohort.json")
    other = lock("1.output.lock", "results-2/cohort/cohort.tsv")
    assert execute(results, dry).dag_settings.force_incomplete
    assert [path.exists() for path in (*ours, other)] == [False, False, True]
    assert results.under_way.exists() != dry  # a dry run writes nothing


@pytest.mark.parametrize("dry", [True, False])
def test_what_was_written_before_is_taken_back_unless_a_run_executes(
    dry: bool, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Any] = []
    monkeypatch.setattr(runs.atexit, "register", lambda function, *given: at_exit.append(function))
    monkeypatch.setattr(runs.atexit, "unregister", at_exit.remove)

    def undo() -> None: ...

    execute(results, dry, undo)
    assert (undo in at_exit) == dry


def test_a_living_run_keeps_its_lock_and_a_dry_run_may_look(results: Results) -> None:
    with holder(results) as other:
        kept = lock("0.output.lock", "results/cohort/cohort.tsv")
        execute(results, dry=True)
        with pytest.raises(SystemExit, match=f"a run is under way there .process {other.pid}"):
            execute(results, dry=False)
        assert kept.exists()


# --- jobs end with their run ---------------------------------------------------------------------------------------

JOB = (
    "import subprocess, sys, time; from sepclr_neuro.core import runs; runs.end_with_the_run(); "
    "below = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "open('job', 'w').write(f'{below.pid}'); time.sleep(600)"
)
# As Snakemake and its shell do: the shell does not become the command, since something follows it.
RUN = (
    "import os, subprocess, sys; os.environ[sys.argv[1]] = str(os.getpid()); "
    "subprocess.run(['bash', '-c', '\"$0\" -c \"$1\" 2>&1 | cat > said; true', sys.executable, sys.argv[2]])"
)


@pytest.mark.parametrize("killed", ["run", "shell"])
def test_a_job_and_what_it_started_end_with_the_run(killed: str, results: Results) -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN, runs.PROCESS, JOB])
    try:
        assert until(lambda: Path("job").is_file() and Path("job").read_text() != "")
        job = psutil.Process(int(Path("job").read_text())).parent()
        assert job is not None
        shell = job.parent()
        assert shell is not None
        below = [*job.children(), job]
        assert not until(lambda: not job.is_running(), seconds=3 * runs.LOOK_SECONDS)  # nothing ends by itself
        (psutil.Process(run.pid) if killed == "run" else shell).kill()
        assert psutil.wait_procs(below, timeout=30)[1] == []
        assert "the run of this job has ended" in Path("said").read_text()
    finally:
        run.kill()
        run.wait()


def test_a_command_that_a_user_gave_watches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(runs.PROCESS, raising=False)
    monkeypatch.setattr(runs.threading, "Thread", None)
    runs.end_with_the_run()
