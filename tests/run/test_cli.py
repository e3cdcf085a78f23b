"""The command line: what it lists, how it fails, and that help stays quick."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.schema import json_schema
from sepclr_neuro.core import devices
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run import cli, stage_commands

COMMAND = str(Path(sys.executable).with_name("sepclr-neuro"))
COMMANDS = [
    "init",
    "check",
    "run",
    "status",
    "dataset",
    "cohort",
    "volumes",
    "splits",
    "standardise",
    "train",
    "embed",
    "probe",
    "tables",
    "vbm",
    "patterns",
    "subtypes",
    "leakage",
    "saliency",
    "report",
    "export",
    "apply",
    "digits",
    "digits_table",
    "separation_cohort",
    "separation",
    "separation_table",
    "verify",
    "share",
    "schema",
    "list",
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_help_names_every_command() -> None:
    text = CliRunner().invoke(cli.app, ["--help"]).output
    assert [name for name in COMMANDS if name.replace("_", "-") not in text] == []
    assert {
        command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback
    } == set(COMMANDS)


def test_help_begins_with_the_first_steps_in_their_order() -> None:
    text = CliRunner().invoke(cli.app, ["--help"]).output
    assert "Begin with `init`, then `check` and `run`." in " ".join(text.split())
    listed = [command.callback.__name__ for command in cli.app.registered_commands if command.callback]
    assert listed[:3] == ["init", "check", "run"]


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, contextlib\nfrom sepclr_neuro.run import cli\n"
        "with contextlib.suppress(SystemExit): cli.app(['train', '--help'])\n"
        "heavy = {'torch', 'lightning', 'monai', 'nilearn', 'nibabel', 'sklearn', 'pandas', 'yaml'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _loads(*modules: str) -> set[str]:
    code = "; ".join(["import sys", *(f"import sepclr_neuro.{name}" for name in modules), "print(*sys.modules)"])
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_stages_load_no_library_that_they_do_not_use() -> None:
    """torch, Lightning and MONAI take seconds each, longer than most stages do."""
    light = "data.cohort", "data.simulation", "data.splits", "data.volumes", "probing.probes", "probing.tables"
    assert not {"torch", "lightning", "monai", "matplotlib"} & _loads(*light)
    assert not {"lightning", "monai"} & _loads("learning.embedding", "maps.saliency", "report")
    assert "monai" not in _loads("learning.training")


def test_a_users_mistake_is_a_message_and_status_2(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("sed: 1\n")
    result = run("cohort", str(path))
    assert result.returncode == 2
    assert result.stderr == f"sepclr-neuro: {path}, line 1: sed: unknown key. Did you mean 'seed'?\n"
    assert result.stdout == ""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can write")
def test_an_output_that_cannot_be_made_is_a_message_and_status_2(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("output: /proc/nowhere\nvolumes: {shape: [32, 32, 32]}\ncohort: {simulation: {participants: 8}}\n")
    result = run("dataset", str(path))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("sepclr-neuro: /proc/nowhere")
    assert "No such file or directory" in line
    assert "set `output` to another folder" in line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ["No space left on device", "free some space"]),
        (PermissionError(errno.EACCES, "Permission denied", "/x/a.tsv"), ["/x/a.tsv: ", "Permission denied", "may be"]),
        (OSError("9 requested and 4 written"), ["9 requested and 4 written"]),
    ],
)
def test_what_the_system_refuses_is_a_message_and_status_2(
    error: OSError,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise error

    (tmp_path / "my.yaml").write_text("{}")
    monkeypatch.setattr("sepclr_neuro.data.splits.write_splits", fail)
    monkeypatch.setattr(sys, "argv", ["sepclr-neuro", "splits", str(tmp_path / "my.yaml")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in expected)


@pytest.mark.parametrize(
    "fill",
    [
        lambda: torch.empty(2**50),
        lambda: np.empty(2**50),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB")),
    ],
    ids=["torch", "numpy", "GPU"],
)
def test_out_of_memory_says_what_to_lower(
    fill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(f"output: {tmp_path}/results")
    monkeypatch.setattr("sepclr_neuro.data.splits.write_splits", lambda *_: list(fill()))
    monkeypatch.setattr(sys, "argv", ["sepclr-neuro", "splits", str(tmp_path / "my.yaml")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sepclr-neuro: out of memory (")
    assert "lower training.batch_size" in line


def test_a_method_that_the_configuration_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("{}")
    result = run("train", str(path), "--method", "sepclr", "--fold", "0")
    assert result.returncode == 2
    assert "--method sepclr" in result.stderr
    assert "it has sepclr-k-jem" in result.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_does_not_report_success(end: signal.Signals) -> None:
    # The command waits in its first import, as long computations do in theirs.
    code = (
        "import signal, sys, time, types\nfrom sepclr_neuro.run import cli\n"
        # A background job of a shell starts with Ctrl-C ignored, and so would this one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "module = types.ModuleType('sepclr_neuro.data.splits')\n"
        "module.write_splits = lambda *_: (print('started', flush=True), time.sleep(60))\n"
        "sys.modules['sepclr_neuro.data.splits'] = module\n"
        "sys.argv = ['sepclr-neuro', 'splits', sys.argv[1]]\n"
        "cli.main()"
    )
    config = Path(__file__).resolve().parents[2] / "config.yaml"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    started = time.monotonic()
    os.kill(process.pid, end)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert time.monotonic() - started < 10


def test_methods_and_schema_and_version() -> None:
    runner = CliRunner()
    assert runner.invoke(cli.app, ["list", "methods"]).output.split()[0] == "sepclr-k-jem"
    assert json.loads(runner.invoke(cli.app, ["schema"]).output) == json_schema()
    assert runner.invoke(cli.app, ["--version"]).output.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "functions", "expected"),
    [
        (["dataset"], ["data.simulation.write_dataset"], ()),
        (["cohort"], ["data.cohort.write_cohort"], (ANY,)),
        (["volumes"], ["data.volumes.write_volumes"], ()),
        (["splits"], ["data.splits.write_splits"], ()),
        (["standardise", "--fold", "2"], ["data.standardisation.write_standardisation"], (2,)),
        (
            ["train", "--method", "sepclr-k-jem", "--fold", "1"],
            ["learning.training.write_fold_model"],
            ("sepclr-k-jem", 1),
        ),
        (["embed", "--method", "sepclr-k-jem"], ["learning.embedding.write_representations"], ("sepclr-k-jem",)),
        (["probe"], ["probing.probes.write_probes"], ()),
        (["tables"], ["probing.verdicts.write_verdicts", "probing.tables.write_tables"], ()),
        (["vbm"], ["maps.vbm.write_vbm"], ()),
        (["patterns", "--method", "sepclr-k-jem"], ["maps.patterns.write_patterns"], ("sepclr-k-jem",)),
        (["subtypes", "--method", "sepclr-k-jem"], ["maps.subtypes.write_subtypes"], ("sepclr-k-jem",)),
        (["saliency", "--method", "sepclr-k-jem"], ["maps.saliency.write_saliency"], ("sepclr-k-jem",)),
        (["report"], ["report.write_report"], ()),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_calls_its_stage(
    arguments: list[str],
    functions: list[str],
    expected: tuple[Any, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[str, Any]] = []

    def note(name: str) -> Any:
        return lambda *given: calls.append((name, given))

    monkeypatch.chdir(tmp_path)
    for name in functions:
        monkeypatch.setattr(f"sepclr_neuro.{name}", note(name))
    (tmp_path / "my.yaml").write_text("output: elsewhere\nseed: 4\n")
    result = CliRunner().invoke(cli.app, [arguments[0], str(tmp_path / "my.yaml"), *arguments[1:]])
    assert result.exit_code == 0, result.output
    config = Config(output=Path("elsewhere"), seed=4)
    assert calls == [(name, (config, Results(Path("elsewhere")), *expected)) for name in functions]


@pytest.mark.parametrize(
    "stage",
    [
        "learning.embedding",
        "probing.probes",
        "probing.tables",
        "probing.site_leakage",
        "maps.vbm",
        "maps.patterns",
        "maps.saliency",
        "data.standardisation",
    ],
)
def test_stages_that_train_nothing_do_not_wait_for_the_loop(stage: str) -> None:
    code = f"import sys, sepclr_neuro.{stage}; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lightning" not in imported


def test_whatever_computes_keeps_memory_and_uses_the_given_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for what in ("keep_freed_memory", "use_given_threads"):
        monkeypatch.setattr(devices, what, lambda what=what: done.append(what))
    with stage_commands.computing(gpus=0):
        assert done == ["keep_freed_memory", "use_given_threads"]
