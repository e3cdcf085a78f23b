"""`sepclr-neuro run` in a checkout: what it hands to Snakemake and what it refuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run import check, cli, launch
from sepclr_neuro.run.runfiles import write_run_files

REPOSITORY = Path(__file__).resolve().parents[2]
LOCAL = ["--workflow-profile", str(REPOSITORY / "workflow" / "profiles" / "local")]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my cohort.yaml"
    path.write_text("title: Mine\n")
    return path


def test_a_checkout_is_its_own_workflow_folder() -> None:
    assert launch.workflow_folder() == REPOSITORY


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ([], LOCAL),
        (["--cores", "4", "-n"], LOCAL),
        (["digits"], LOCAL),
        (["-q"], LOCAL),
        (["--quiet", "rules"], LOCAL),
        (["--workflow-profile", "my_profile"], []),
        (["--profile=cluster"], []),
        (["--executor", "slurm"], []),
        (["--workflow-profile", "elsewhere/slurm"], []),
    ],
    ids=" ".join,
)
def test_options_are_handed_on_and_the_profile_of_one_machine_holds_unless_another_does(
    options: list[str], profile: list[str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(launch.os, "execv", lambda program, command: became.append(command))
    monkeypatch.chdir(config.parent)
    result = CliRunner().invoke(cli.app, ["run", config.name, *options])
    assert result.exit_code == 0, result.output
    # Targets must not follow --configfile, which would take them for configurations.
    start = [sys.executable, "-m", "snakemake", "--configfile", str(config), "--snakefile"]
    assert became == [[*start, str(REPOSITORY / "Snakefile"), *profile, *options]]


@pytest.mark.parametrize(("option", "level"), [("-q", "WARNING"), ("-v", "DEBUG")])
def test_what_goes_before_run_holds_for_its_jobs(
    option: str, level: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEPCLR_NEURO_LEVEL", "INFO")
    handed: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        launch.os, "execv", lambda _, command: handed.append((os.environ["SEPCLR_NEURO_LEVEL"], option in command))
    )
    monkeypatch.setattr(sys, "argv", ["sepclr-neuro", option, "run", str(config)])
    with pytest.raises(SystemExit):
        cli.main()
    assert handed == [(level, False)]


SLURM = str(REPOSITORY / "workflow" / "profiles" / "slurm")


@pytest.mark.parametrize(
    ("options", "handed"),
    [
        (["--workflow-profile", "slurm", "-n"], ["--workflow-profile", SLURM, "-n"]),
        (["-n", "--workflow-profile=slurm"], ["-n", f"--workflow-profile={SLURM}"]),
        (["--workflow-profile", "slurm.old"], ["--workflow-profile", "slurm.old"]),
        (["--workflow-profile"], ["--workflow-profile"]),
    ],
    ids=" ".join,
)
def test_a_shipped_profile_is_found_by_its_name(options: list[str], handed: list[str], config: Path) -> None:
    assert launch.snakemake_command(config, options)[-len(handed) :] == handed


def test_a_folder_of_ones_own_goes_before_a_shipped_profile(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    Path("slurm").mkdir()
    assert launch.snakemake_command(config, ["--workflow-profile", "slurm"])[-1] == "slurm"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("title: Mine\ncohort:\n\tsource: simulated\n", r"my cohort\.yaml: .*line 3.*tab"),
        ("title: Mine\ntitle: Yours\n", r"my cohort\.yaml: .*line 2: the key .title. is given twice, first in line 1"),
        ("title: Mine\ntraning: {}\n", r"my cohort\.yaml, line 2: traning: "),
    ],
)
def test_a_broken_configuration_is_named_before_snakemake_reads_it(
    content: str, expected: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.os, "execv", None)
    config.write_text(content)
    with pytest.raises(InputError, match=expected):
        launch.run(config, ["-n"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], r"expected its file first.*own_cohort\.yaml for a cohort of yours, .*config\.yaml for a simulated one"),
        (["--cores", "4"], "no configuration is given; expected its file first, then options of Snakemake"),
        (["nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["CONFIG", "--configfile", "a.yaml"], "--configfile: not with .*give the configuration first"),
        (["CONFIG", "--config", "seed=1"], "--config: not with .*change a copy of the configuration"),
        (["CONFIG", "--snakefile=other"], "--snakefile: not with .*call `snakemake` itself"),
    ],
)
def test_what_cannot_be_run_is_one_message(
    arguments: list[str], expected: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.os, "execv", None)
    given = [str(config) if argument == "CONFIG" else argument for argument in arguments]
    result = CliRunner().invoke(cli.app, ["run", *given])
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=expected):
        raise result.exception


def test_the_examples_that_it_names_are_there() -> None:
    with pytest.raises(InputError) as caught:
        launch.snakemake_command(None, [])
    *examples, profiles = [word.rstrip(",") for word in str(caught.value).split() if word.startswith(str(REPOSITORY))]
    assert [Path(path).is_file() for path in examples] == [True, True]
    shipped = "kubernetes, local, local-gpu, lsf, pbs, sge, slurm and slurm-no-accounting"
    assert f"For --workflow-profile there are {shipped}; to change one" in str(caught.value)
    assert (Path(profiles) / "slurm" / "profile.yaml").is_file()


def test_without_snakemake_it_says_which_extra_brings_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Snakemake is not installed here; pip install 'sepclr_neuro\[workflow\]'"):
        launch.run(config, [])


# --- tables are looked at first ------------------------------------------------------------------------------------

TABLE = "participant_id\tdiagnosis\tage\tsex\tsite"
PEOPLE = [f"sub-{n:02d}\t{'control' if n % 2 else 'schizophrenia'}\t{20 + n}\tM\ta" for n in range(12)]


def run_with(
    folder: Path, people: list[str], options: list[str], monkeypatch: pytest.MonkeyPatch, **sections: Any
) -> tuple[BaseException | None, bool]:
    """Calls `run` on a study of one table, whose volumes are empty files; `started` says whether Snakemake would."""
    monkeypatch.chdir(folder)
    (folder / "people.tsv").write_text("\n".join([TABLE, *people]) + "\n")
    for person in people:
        (folder / f"{person.split(chr(9))[0]}.nii.gz").touch()
    studies = [{"name": "ours", "participants": "people.tsv", "volumes": "{participant_id}.nii.gz"}]
    content = {"cohort": {"source": "files", "studies": studies}, "methods": {"pca": {}}, **sections}
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    started: list[list[str]] = []
    monkeypatch.setattr(launch.os, "execv", lambda program, command: started.append(command))
    result = CliRunner().invoke(cli.app, ["run", "own.yaml", *options])
    return result.exception, bool(started)


def test_a_wrong_table_is_one_message_and_snakemake_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_with(tmp_path, PEOPLE, [], monkeypatch) == (None, True)
    wrong = [PEOPLE[0].replace("\t20\t", "\tforty\t"), *PEOPLE[1:]]
    error, started = run_with(tmp_path, wrong, [], monkeypatch)
    assert isinstance(error, InputError)
    assert "people.tsv: column 'age': 'forty' (participant sub-00) is not a finite number" in str(error)
    assert not started
    error, started = run_with(tmp_path, PEOPLE, [], monkeypatch, splits={"folds": 7})
    assert "splits.folds: 7 folds need 7 participants of each group" in str(error)
    assert not started
    # What reads no table needs none, and one in another folder cannot be looked at from here.
    for options in (["digits"], ["--unlock"], ["--directory=there"]):
        assert run_with(tmp_path, wrong, options, monkeypatch) == (None, True)


def test_a_table_that_was_read_already_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with(tmp_path, PEOPLE, [], monkeypatch) == (None, True)
    config = load_config(tmp_path / "own.yaml")
    write_run_files(config, Results(config.output))
    Results(config.output).cohort.parent.mkdir()
    Results(config.output).cohort.touch()
    monkeypatch.setattr(check, "refuse_wrong_tables", lambda config: pytest.fail("looked again"))
    launch.run(Path("own.yaml"), [])
    os.utime("people.tsv", (2e9, 2e9))
    with pytest.raises(pytest.fail.Exception):
        launch.run(Path("own.yaml"), [])
