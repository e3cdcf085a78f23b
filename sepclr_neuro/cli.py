"""The command line: one command a stage; each reads a configuration, calls one function and prints. No logic."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepclr_neuro import __version__
from sepclr_neuro.config import Config, json_schema, load_config
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.registry import METHODS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="config.yaml, or a stage's run file in <output>/run.", show_default=False),
]
Fold = Annotated[int, typer.Option(min=0, help="Number of the fold, from 0.", show_default=False)]
Method = Annotated[str, typer.Option(help="Name of the method, as in the configuration.", show_default=False)]


def _read(path: Path, method: str | None = None) -> tuple[Config, Results]:
    config = load_config(path)
    if method is not None and method not in config.methods:
        raise InputError(f"--method {method}: {path} has no such method; it has {', '.join(config.methods)}")
    return config, Results(config.output)


@app.command()
def check(
    path: ConfigFile,
    tsv: Annotated[Path | None, typer.Option(help="Write errors and warnings to this table too.")] = None,
    headers_only: Annotated[bool, typer.Option("--headers-only", help="Do not read the volumes' voxels.")] = False,
) -> None:
    """Look at a configuration and its data: errors, warnings, counts, what would run. Status 2 on errors."""
    from sepclr_neuro.check import check
    from sepclr_neuro.storage import write_tsv

    found = check(load_config(path), headers_only=headers_only)
    print(found.text())
    if tsv is not None:
        write_tsv(tsv, found.table())
    if found.errors:
        raise typer.Exit(2)


@app.command()
def dataset(path: ConfigFile) -> None:
    """Make a simulated cohort, or implant an effect into real volumes."""
    from sepclr_neuro.simulation import write_dataset

    write_dataset(*_read(path))


@app.command()
def cohort(path: ConfigFile) -> None:
    """Join the participants and phenotype tables to one validated cohort."""
    from sepclr_neuro.cohort import write_cohort

    config, results = _read(path)

    def look(people: pd.DataFrame) -> dict[str, str]:
        from sepclr_neuro.volumes import faulty_volumes

        return faulty_volumes(people, config.volumes)[0]

    write_cohort(config, results, look)


@app.command()
def volumes(path: ConfigFile) -> None:
    """Check all volumes and bring them to one grid."""
    from sepclr_neuro.volumes import write_volumes

    write_volumes(*_read(path))


@app.command()
def splits(path: ConfigFile) -> None:
    """Divide people into folds."""
    from sepclr_neuro.splits import write_splits

    write_splits(*_read(path))


@app.command()
def standardise(path: ConfigFile, fold: Fold) -> None:
    """Learn mean, SD and brain mask from the training people of a fold."""
    from sepclr_neuro.standardisation import write_standardisation

    write_standardisation(*_read(path), fold)


@app.command()
def train(path: ConfigFile, method: Method, fold: Fold) -> None:
    """Train one method on one fold; a second call goes on where the first was stopped."""
    from sepclr_neuro import devices

    config, results = _read(path, method)
    with devices.free_gpu():
        devices.use_given_threads()
        from sepclr_neuro.training import train_fold

        train_fold(config, results, method, fold)


@app.command()
def embed(path: ConfigFile, method: Method) -> None:
    """Compute everybody's representation by every fold's model of a method."""
    from sepclr_neuro import devices

    config, results = _read(path, method)
    with devices.free_gpu():
        devices.use_given_threads()
        from sepclr_neuro.embedding import write_representations

        write_representations(config, results, method)


@app.command()
def probe(path: ConfigFile) -> None:
    """Probe the representations of all methods on held-out people, and make the tables."""
    from sepclr_neuro.probes import write_probes
    from sepclr_neuro.tables import write_tables

    config, results = _read(path)
    write_probes(config, results)
    write_tables(config, results)


@app.command()
def saliency(path: ConfigFile, method: Method) -> None:
    """Map which voxels the probes of a method listen to."""
    from sepclr_neuro import devices

    config, results = _read(path, method)
    with devices.free_gpu():
        devices.use_given_threads()
        from sepclr_neuro.saliency import write_saliency

        write_saliency(config, results, method)


@app.command()
def report(path: ConfigFile) -> None:
    """Write the HTML report."""
    from sepclr_neuro.report import write_report

    write_report(*_read(path))


@app.command()
def digits(
    path: ConfigFile,
    method: Annotated[str, typer.Option(help="Name of the method, as in `digits.methods`.", show_default=False)],
    repetition: Annotated[int, typer.Option(min=0, help="Number of the repetition, from 0.", show_default=False)],
) -> None:
    """Train and probe one method on digits on objects; a second call goes on where the first was stopped."""
    from sepclr_neuro import devices

    config = load_config(path)
    if method not in config.digits.methods:
        raise InputError(f"--method {method}: {path} has it not in digits.methods: {', '.join(config.digits.methods)}")
    with devices.free_gpu():
        devices.use_given_threads()
        from sepclr_neuro.digits.benchmark import run_method

        run_method(config, Results(config.output), method, repetition)


@app.command()
def digits_table(path: ConfigFile) -> None:
    """Make the table of digits on objects."""
    from sepclr_neuro.digits.benchmark import write_digits_table

    write_digits_table(*_read(path))


@app.command()
def schema() -> None:
    """Print the JSON schema of config.yaml, for editors."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def methods() -> None:
    """List the methods that config.yaml may name."""
    width = max(map(len, METHODS))
    for name, entry in METHODS.items():
        print(f"{name:{width}}  {entry.title}")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Contrastive analysis of brain volumes, stage by stage. `snakemake` calls these commands in order."""


def main() -> None:
    """Runs the command line; a user's mistake, or what the system refuses, is one message and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"sepclr-neuro: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(f"sepclr-neuro: {_refused(error)}", file=sys.stderr)
        raise SystemExit(2) from None


def _refused(error: OSError) -> str:
    """What the operating system refused, where it says so, and what to do."""
    what = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space, or set `output` of the configuration to a disk with more, and run again"
    else:
        advice = "see that this path exists and may be read and written, or set `output` to another folder"
    return f"{where}the system refused: {what}; {advice}"
