"""What `sepclr-neuro status` finds in the files of a run: such as jobs, runs and kills leave them, made by hand."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.jobs import ENDED
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.runs import RUN_ENDED
from sepclr_neuro.run import cli
from sepclr_neuro.run.plan import Job, Plan
from sepclr_neuro.run.runfiles import write_run_files
from sepclr_neuro.run.status import LOST_SECONDS, JobStatus, status
from sepclr_neuro.run.status_text import as_text

STARTED = 1_700_000_000.0  # of the last run, in the time of files


class Folder:
    """A results folder of one run that planned trainings of method `a`, all of them to be done."""

    def __init__(self, root: Path, folds: int = 3, **of_all: Any) -> None:
        self.results = Results(root)
        root.mkdir()
        self.jobs = [self.job(fold, **of_all) for fold in range(folds)]
        self.plan()

    def job(self, fold: int, **more: Any) -> Job:
        parts = ("a", f"fold-{fold}")
        name = f"train/a/fold-{fold}"
        files: dict[str, Any] = {"log": f"logs/{name}.log", "benchmark": f"benchmarks/{name}.tsv"}
        files |= {"outputs": (f"models/a/fold-{fold}/model.json",), "reason": "Missing output files"}
        return Job("train", parts, "train a", **files | more)

    def plan(self) -> None:
        self.write("run/plan.json", json.dumps(asdict(Plan("gone.yaml", self.jobs))), 0)

    def write(self, name: str, text: str, after: float) -> Path:
        """A file whose time is so many seconds after the start of the run."""
        path = self.results.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (STARTED + after, STARTED + after))
        return path

    def end(self, fold: int, *lines: str, after: float = 10) -> None:
        self.write(f"logs/train/a/fold-{fold}.log", "\n".join(lines) + "\n", after)

    def finish(self, fold: int, seconds: float = 60, after: float = 10) -> None:
        self.end(fold, "trained", after=after)
        self.write(f"models/a/fold-{fold}/model.json", "{}", after)
        self.write(f"benchmarks/train/a/fold-{fold}.tsv", f"s\th:m:s\n{seconds}\t0:01:00\n", after)

    def live(self, fold: int, age: float = 1.0, **record: Any) -> None:
        """The record of a job, last written some seconds ago."""
        said = {"host": platform.node(), "process": os.getpid(), "started": "2026-11-29 12:00:00+00:00"} | record
        self.write(f"run/alive/train/a/fold-{fold}.json", json.dumps(said), time.time() - age - STARTED)

    def found(self, fold: int = 0) -> JobStatus:
        return next(job for job in status(self.results.root).jobs if job.job.parts[1] == f"fold-{fold}")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results")


def test_each_job_is_done_or_to_do(folder: Folder) -> None:
    folder.finish(0, seconds=40)
    folder.finish(1, seconds=60)
    assert [folder.found(fold).state for fold in range(3)] == ["done", "done", "to do"]
    assert folder.found(2).seconds == 50
    assert folder.found(2).next
    assert "next:\n  train a fold-2, about 50 s" in as_text(status(folder.results.root))


def test_a_running_job_says_how_far_it_is(folder: Folder) -> None:
    folder.live(0, at="epoch 12/100", share=0.12, seconds_left=200.0)
    folder.live(1, host="another", process=1)
    assert [folder.found(fold).state for fold in range(2)] == ["running", "running"]
    text = as_text(status(folder.results.root))
    assert "train a fold-0: epoch 12/100 (12 %), about 3 min left; since 2026-11-29 12:00:00+00:00 on" in text


@pytest.mark.parametrize("how", ["old", "gone"])
def test_a_job_without_a_sign_of_life_is_lost(how: str, folder: Folder) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    if how == "old":
        folder.live(0, age=LOST_SECONDS + 60, host="another")
    else:
        folder.live(0, process=ended.pid)
    folder.write("models/a/fold-0/model.json", "{}", 5)  # torn, perhaps
    assert folder.found().state == "lost"
    assert "no sign of life from" in folder.found().why


@pytest.mark.parametrize(
    ("lines", "state", "why"),
    [
        (
            ["sepclr-neuro: training: the loss", "  - of fold 0", f"{ENDED} 2"],
            "failed",
            "training: the loss - of fold 0",
        ),
        (["Traceback", "ValueError: no", f"{ENDED} 1"], "failed", "ValueError: no"),
        (["epoch 3/100", f"{ENDED} 137"], "failed", "was killed (SIGKILL)"),
        ([f"{ENDED} 127"], "failed", "ended with status 127, without a message"),
        (["stopped by a signal", f"{ENDED} 143"], "stopped", "stopped by a signal"),
        ([RUN_ENDED, f"{ENDED} 137"], "stopped", ""),
        (["epoch 3/100"], "lost", "neither its results nor a message"),
    ],
    ids=["message", "traceback", "killed", "silent", "stopped", "with its run", "with its shell"],
)
def test_the_end_of_a_job_is_told_from_its_log(lines: list[str], state: str, why: str, folder: Folder) -> None:
    folder.end(0, *lines)
    found = folder.found()
    assert (found.state, why in found.why) == (state, True), found.why
    assert not (state == "failed" and found.next)


def test_what_failed_in_a_run_before_is_to_do_in_the_next_one(folder: Folder) -> None:
    folder.end(0, f"{ENDED} 2", after=-100)
    assert folder.found().state == "to do"


def test_while_a_run_is_under_way_a_job_that_has_begun_is_starting(folder: Folder) -> None:
    folder.end(0, "")
    run = {"host": platform.node(), "process": os.getpid(), "started": "now"}
    folder.write("run/under-way.json", json.dumps(run), 0)
    assert folder.found().state == "running"
    assert "a run is under way on" in as_text(status(folder.results.root))


def test_what_was_not_to_be_done_is_done_unless_something_of_the_user_changed(tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    table.write_text("")
    os.utime(table, (STARTED, STARTED))
    folder = Folder(tmp_path / "results", reason="", sources=(str(table),))
    folder.jobs.append(folder.job(3, reason="", after=(0,)))
    folder.plan()
    for fold in range(4):
        folder.finish(fold, after=-500)
    os.utime(table, (STARTED - 600, STARTED - 600))
    assert {folder.found(fold).state for fold in range(4)} == {"done"}
    os.utime(table, (STARTED, STARTED))
    assert folder.found(0).why == f"{table} is newer"
    assert folder.found(3).why == "what it is made from is out of date (train a fold-0)"


def test_an_old_result_that_the_run_has_not_reached_is_out_of_date(folder: Folder) -> None:
    folder.finish(0, after=-500)
    assert folder.found().state == "out of date"
    assert folder.found().why == "Missing output files"


def test_other_settings_make_their_jobs_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sepclr_neuro.config.model import load_config

    monkeypatch.chdir(tmp_path)
    content = "methods: {cvae: {}}\noutput: results\ntraining: {epochs: %s}\n"
    Path("my.yaml").write_text(content % 3)
    folder = Folder(tmp_path / "results", reason="", settings=("run/training-cvae.json",))
    write_run_files(load_config("my.yaml"), Results(Path("results")))
    for fold in range(3):
        folder.finish(fold)
    assert [job.state for job in status(Path("my.yaml")).jobs] == ["done"] * 3
    Path("my.yaml").write_text(content % 4)
    found = status(Path("my.yaml")).jobs
    assert {(job.state, job.why) for job in found} == {("out of date", "its settings changed (run/training-cvae.json)")}


def test_a_failed_job_is_found_among_thousands_in_no_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results", folds=3000)
    folder.end(1234, "sepclr-neuro: no space", f"{ENDED} 2")
    text = as_text(status(folder.results.root))
    assert "failed:\n  train a fold-1234: no space\n    log: " in text
    assert len(text.splitlines()) < 50


def test_the_command_has_a_status_writes_nothing_and_loads_no_torch(folder: Folder) -> None:
    def call(*options: str) -> tuple[int, str]:
        found = CliRunner().invoke(cli.app, ["status", str(folder.results.root), *options])
        return found.exit_code, found.output

    folder.finish(0)
    before = {path: path.stat().st_mtime_ns for path in folder.results.root.rglob("*")}
    assert call()[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.results.root.rglob("*")} == before
    folder.end(1, "sepclr-neuro: no space", f"{ENDED} 2")
    code, output = call("--json")
    assert code == 1
    jobs = {job["parts"][1]: job for job in json.loads(output)["jobs"]}
    assert jobs["fold-1"]["state"] == "failed"
    assert jobs["fold-1"]["why"] == "no space"
    assert Path(jobs["fold-1"]["log"]).is_file()
    assert "  to do       train a fold-2" in call("--all")[1]
    script = (
        "import sys, sepclr_neuro.run.status_text; sys.exit(bool({'torch', 'pandas', 'snakemake'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_where_no_run_has_started_a_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plan.json: no run has written its plan there .*expected a results folder"):
        status(tmp_path)
