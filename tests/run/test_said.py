"""What a command says at which level, and the line that each stage leaves in the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run import cli

Command = Callable[..., Any]


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command of a stage that does what is given; its exit status, None where it just ended."""
    monkeypatch.setenv("SEPCLR_NEURO_LEVEL", "INFO")
    (tmp_path / "results").mkdir()
    (tmp_path / "my.yaml").write_text(f"output: {tmp_path}/results\n")

    def call(work: Callable[[], object], *options: str) -> Any:
        monkeypatch.setattr("sepclr_neuro.data.splits.write_splits", lambda *_: work())
        monkeypatch.setattr("sys.argv", ["sepclr-neuro", *options, "splits", str(tmp_path / "my.yaml")])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code

    return call


def speak() -> None:
    """As stages do."""
    logger = logging.getLogger("sepclr_neuro.data.splits")
    logger.debug("a file: written")
    logger.info("1 of 2")
    logger.warning("one is odd")
    raise InputError("two is wrong")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["1 of 2", "one is odd"]),
        (["-q"], ["one is odd"]),
        (["--quiet"], ["one is odd"]),
        (["-v"], ["a file: written", "1 of 2", "one is odd"]),
        (["--verbose"], ["a file: written", "1 of 2", "one is odd"]),
    ],
    ids=["by default", "-q", "--quiet", "-v", "--verbose"],
)
def test_quiet_leaves_warnings_and_errors_and_verbose_adds_files(
    options: list[str], expected: list[str], splits: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert splits(speak, *options) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == [*expected, "sepclr-neuro: two is wrong"]
    assert said.out == ""


def test_quiet_and_verbose_at_once_are_refused(splits: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert splits(speak, "-q", "-v") == 2
    assert capsys.readouterr().err == "sepclr-neuro: -v and -q: expected one of them\n"


def test_the_package_alone_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Called from Python, it leaves that to whoever calls it."""
    with pytest.raises(InputError):
        speak()
    assert "1 of 2" not in capsys.readouterr().err


def test_each_stage_leaves_a_line_in_the_log_whatever_its_end(tmp_path: Path, splits: Command) -> None:
    def fail(error: BaseException) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    assert splits(lambda: None) == 0
    assert splits(fail(InputError("no fold\nmore of it"))) == 2
    assert splits(fail(MemoryError())) == 2
    assert splits(fail(SystemExit(143))) == 143
    lines = Results(tmp_path / "results").stages_log.read_text().splitlines()
    found = [line.split("\t") for line in lines]
    assert [line[1] for line in found] == ["splits"] * 4
    assert [line[3] for line in found] == ["ok", "error: no fold", "error: MemoryError", "stopped"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", line[0]) for line in found)
    assert all(re.fullmatch(r"\d+\.\d s", line[2]) for line in found)


def test_the_line_names_method_and_fold(tmp_path: Path, splits: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sepclr_neuro.learning.training.write_fold_model", lambda *_: None)
    told = ["train", str(tmp_path / "my.yaml"), "--method", "sepclr-k-jem", "--fold", "1"]
    monkeypatch.setattr("sys.argv", ["sepclr-neuro", *told])
    with pytest.raises(SystemExit):
        cli.main()
    assert "\ttrain sepclr-k-jem fold-1\t" in Results(tmp_path / "results").stages_log.read_text()


def test_a_log_that_cannot_be_written_stops_no_stage(tmp_path: Path, splits: Command) -> None:
    Results(tmp_path / "results").stages_log.mkdir()
    assert splits(lambda: None) == 0
