"""``sepclr-neuro run``: the whole workflow on one configuration, from any folder.

The Snakefile, its rules, profiles and schema, and the example configurations lie at the root of a checkout, and in a
folder of the package where it was installed from a wheel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import sepclr_neuro
from sepclr_neuro.config.model import Config, load_config
from sepclr_neuro.core.errors import InputError, taken_from
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.words import listed
from sepclr_neuro.run.runfiles import cohort_tables, run_file_text

__all__ = ["run", "snakemake_command", "workflow_folder"]

# What `run` itself says to Snakemake, and what each would break.
OURS = {
    "--configfile": "give the configuration first, without an option",
    "--configfiles": "give the configuration first, without an option",
    "--config": "change a copy of the configuration, so that one file describes the run",
    "-C": "change a copy of the configuration, so that one file describes the run",
    "--snakefile": "call `snakemake` itself for another workflow",
    "-s": "call `snakemake` itself for another workflow",
}
PROFILE = "--workflow-profile"
# With any of these no table of participants is read, or it is taken from another folder than this one.
OTHER_RUNS = {"digits", "separation", "--unlock", "--directory", "-d"}
# With any of these, the user says where jobs run.
PLACES = {PROFILE, "--profile", "--executor", "-e"}


def workflow_folder() -> Path:
    """The folder of the Snakefile, with ``workflow/profiles`` and ``docs/examples`` below it."""
    package = Path(sepclr_neuro.__file__).resolve().parent
    shipped = package / "_workflow"
    return shipped if shipped.is_dir() else package.parent


def snakemake_command(path: Path | None, options: Sequence[str]) -> list[str]:
    """The command that starts Snakemake, by this Python, on one configuration.

    Args:
        path: the configuration.
        options: further options, and targets, of Snakemake. Unless they say where jobs run, the profile for one machine
            holds. ``--workflow-profile slurm`` means the shipped profile, unless there is a folder of that name.

    Raises:
        InputError: if there is no such configuration or something in it is wrong, or an option is one of those that
            are said here.
    """
    folder = workflow_folder()
    if path is None or str(path).startswith("-"):
        raise InputError(
            "no configuration is given; expected its file first, then options of Snakemake: "
            "sepclr-neuro run my_cohort.yaml --cores 4. To begin, copy an example: "
            f"{folder / 'docs' / 'examples' / 'own_cohort.yaml'} for a cohort of yours, {folder / 'config.yaml'} for a "
            f"simulated one. For {PROFILE} there are {listed(_shipped_profiles(folder))}; to change one, copy its "
            f"folder from {folder / 'workflow' / 'profiles'}"
        )
    if not path.is_file():
        raise InputError(f"{path}: there is no such file{taken_from(path)}; expected a configuration")
    names = {option.partition("=")[0] for option in options}
    for name in OURS.keys() & names:
        raise InputError(f"{name}: not with `sepclr-neuro run`; {OURS[name]}")
    load_config(path)  # Snakemake, which reads it before the Snakefile, would say less of what is wrong
    command = [sys.executable, "-m", "snakemake", "--configfile", str(path.absolute())]
    command += ["--snakefile", str(folder / "Snakefile")]
    if not PLACES & names:
        command += [PROFILE, str(folder / "workflow" / "profiles" / "local")]
    return [*command, *_with_shipped_profiles(options, folder / "workflow" / "profiles")]


def _shipped_profiles(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in (folder / "workflow" / "profiles").glob("*/profile.yaml"))


def _with_shipped_profiles(options: Sequence[str], profiles: Path) -> list[str]:
    """The options, in which the bare name of a shipped profile is its folder."""
    found = list(options)
    for number, option in enumerate(options):
        name, equals, value = option.partition("=")
        if name != PROFILE:
            continue
        if not equals:
            value = options[number + 1] if number + 1 < len(options) else ""
        shipped = profiles / value
        if value and Path(value).name == value and shipped.is_dir() and not Path(value).is_dir():
            found[number if equals else number + 1] = f"{name}={shipped}" if equals else str(shipped)
    return found


def _look_at_tables(config: Config) -> None:
    """Looks at tables that the run would read, since Snakemake says a hundred lines around a message of a job.

    Raises:
        InputError: if something in them would stop it.
    """
    results, tables = Results(config.output), cohort_tables(config)
    run_files = {results.run_file(stage): run_file_text(config, stage) for stage in ("cohort", "splits", "probes")}
    if all(path.is_file() for path in (results.cohort, *run_files, *tables)):
        read_at = results.cohort.stat().st_mtime
        if all(path.read_text(encoding="utf-8") == text for path, text in run_files.items()) and all(
            table.stat().st_mtime <= read_at for table in tables
        ):
            return  # they have been read as they are
    from sepclr_neuro.run.check import refuse_wrong_tables  # takes a second or two, which a run that goes on need not

    refuse_wrong_tables(config)


def run(path: Path | None, options: Sequence[str]) -> None:
    """Becomes Snakemake: no process stays between it and the user, so that a signal reaches it, whatever its kind.

    Raises:
        InputError: as :func:`snakemake_command`, without Snakemake, and if tables are wrong or do not suit the
            configuration.
    """
    command = snakemake_command(path, options)
    if find_spec("snakemake") is None:
        raise InputError("Snakemake is not installed here; pip install 'sepclr_neuro[workflow]' brings it")
    if path is not None and not OTHER_RUNS & {option.partition("=")[0] for option in options}:
        _look_at_tables(load_config(path))
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted)
