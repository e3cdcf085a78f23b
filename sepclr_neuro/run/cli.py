"""The command line: commands that people give, and those of the stages, which the workflow gives. No logic."""

from __future__ import annotations

import errno
import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from sepclr_neuro import __version__
from sepclr_neuro.core import runs
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import set_level, shown
from sepclr_neuro.run.stage_commands import STAGES, ConfigFile, computing, refuse_unknown
from sepclr_neuro.run.warm import hand_over

__all__ = ["app", "main"]

logger = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Your tables and volumes.", show_default=False)],
    output: Annotated[Path, typer.Option(help="The configuration to write.")] = Path("my_cohort.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a configuration for a folder of data: guesses are explained in it, choices left open."""
    from sepclr_neuro.run.init.command import write_configuration

    print(write_configuration(folder, output, force=force))


@app.command()
def check(
    path: ConfigFile,
    tsv: Annotated[Path | None, typer.Option(help="Write errors and warnings to this table too.")] = None,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Do not read the volumes' voxels, nor estimate the cost of a run.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="The page to write.", show_default="check/index.html in the results folder")
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no page.")] = False,
) -> None:
    """Check a configuration and its data: errors, warnings, counts, planned work and its cost. Status 2 on errors.

    A page beside the text shows the cohort: demographics, volumes by site, and those that stand out.
    """
    from sepclr_neuro.config.model import load_config
    from sepclr_neuro.core.storage import write_tsv
    from sepclr_neuro.run.check import check

    if html is not None and no_html:
        raise InputError("--html and --no-html: expected one of them")
    config = load_config(path)
    found = check(config, volumes="headers" if headers_only else "voxels")
    print(found.text(), flush=True)
    if tsv is not None:
        write_tsv(tsv, found.table())
    of_cohort = bool(config.model_fields_set & {"cohort", "methods"})
    if of_cohort and not no_html:
        from sepclr_neuro.report.cohort_page import write_cohort_page

        page = html or Results(config.output).cohort_page
        write_cohort_page(page, config, found.table(), found.people, found.tables, found.looked)
        print(f"\npage: {page}", flush=True)
    if of_cohort and found.sides is not None and not headers_only:
        with computing():
            from sepclr_neuro.run.cost import estimate

            print("\n".join(estimate(config, found.sides)))
    if found.errors:
        raise typer.Exit(2)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    path: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="Your configuration.", show_default=False)
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="OPTIONS OF SNAKEMAKE", help="As `snakemake --help` lists them.")
    ] = None,
) -> None:
    """Run all stages, on all cores unless `--cores` says otherwise; after a kill, the same command resumes."""
    from sepclr_neuro.run import launch

    launch.run(path, options or [])


@app.command()
def status(
    path: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="The results folder, or the configuration.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also a line for each job.")] = False,
) -> None:
    """Show what of a run is done, under way, failed and left. Status 1 if a job failed or was lost; writes nothing."""
    from sepclr_neuro.run import status_text
    from sepclr_neuro.run.status import status

    found = status(path)
    text = status_text.as_text(found, everything)
    print(json.dumps(status_text.as_json(found), indent=2, ensure_ascii=False) if as_json else text)
    if found.failed:
        raise typer.Exit(1)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results folder.")]) -> None:
    """Compare all checksums of a results folder; list damaged and stale files. Status 2 if there are any."""
    from sepclr_neuro.run.verify import verify

    found = verify(Results(folder))
    print(found.text())
    if found.damaged or found.stale:
        raise typer.Exit(2)


@app.command()
def export(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results folder of a run.")],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Name of the method, as in the configuration.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to be made.")],
    fold: Annotated[int, typer.Option(min=0, help="Number of the fold, from 0.")] = 0,
) -> None:
    """Put a trained model into a folder of its own, with a card, for participants whom the run does not have."""
    from sepclr_neuro.apply.export import write_export

    write_export(Results(results), method, fold, folder)


@app.command()
def apply(
    participants: Annotated[
        Path, typer.Argument(metavar="PARTICIPANTS", help="Table of participants with the model's covariates.")
    ],
    model: Annotated[Path, typer.Option(help="Folder that `export` made.", show_default=False)],
    volumes: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="Of the volumes' paths from the table's folder on, such as 'vbm/{participant_id}_mwp1.nii.gz'.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the tables.", show_default=False)],
    calibrate_with: Annotated[
        str | None, typer.Option(metavar="COLUMN=VALUE", help="Participants who are controls of a new site.")
    ] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Also write a map of each scan.")] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Take participants that the model was trained on, and mark them.")
    ] = False,
) -> None:
    """Apply an exported model to new participants: representations, distances from controls, predictions."""
    with computing():
        from sepclr_neuro.apply.application import write_application

        write_application(
            model, participants, volumes, output, calibrate_with=calibrate_with, maps=maps, allow_seen=allow_seen
        )


@app.command()
def share(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results folder of a finished run.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to be made.")],
    participants: Annotated[
        bool, typer.Option("--participants", help="Also tables of single participants, with their ids.")
    ] = False,
) -> None:
    """Make a BIDS derivative of a finished run or benchmark: maps and tables, described; nothing of participants."""
    from sepclr_neuro.report.share import write_shared

    write_shared(Results(results), folder, participants=participants)


@app.command()
def schema() -> None:
    """Print the JSON schema of config.yaml, for editors."""
    from sepclr_neuro.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command("list")
def list_names(
    kind: Annotated[
        str | None, typer.Argument(help="`methods` or another kind. By default all kinds.", show_default=False)
    ] = None,
) -> None:
    """List the names that config.yaml may use: methods, terms, encoders and so on, each with its package."""
    from sepclr_neuro.config.registry import REGISTRIES

    if kind is not None:
        refuse_unknown("list", kind, REGISTRIES, "sepclr_neuro")
    for registry in REGISTRIES.values() if kind is None else [REGISTRIES[kind]]:
        if kind is None:
            print(f"{registry.kind}:")
        print("\n".join(registry.lines("" if kind else "  ")))


for stage in STAGES:
    app.command(rich_help_panel="Stages, called by the workflow")(stage)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show which files are written.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings and errors.")] = False,
) -> None:
    """Contrastive analysis of brain volumes. Begin with `init`, then `check` and `run`."""
    if verbose and quiet:
        raise InputError("-v and -q: expected one of them")
    if verbose or quiet:
        set_level("DEBUG" if verbose else "WARNING")


def main() -> None:
    """Runs the command line; a user's mistake, or what the system refuses, is one message and exit status 2."""
    runs.end_with_the_run()
    status = hand_over()
    if status is not None:
        raise SystemExit(status)
    with shown():
        try:
            app()
        except InputError as error:
            logger.error(f"sepclr-neuro: {error}")
            raise SystemExit(2) from None
        except OSError as error:
            logger.error(f"sepclr-neuro: {_refused(error)}")
            raise SystemExit(2) from None
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            logger.error(
                f"sepclr-neuro: out of memory ({str(error).strip().partition(chr(10))[0]}); lower "
                "training.batch_size, network.channels or volumes.shape (with a larger volumes.resample_mm), run fewer "
                "jobs at once (`snakemake --cores`), or take a machine with more memory"
            )
            raise SystemExit(2) from None


def _is_out_of_memory(error: Exception) -> bool:
    """torch reports only in its message that a processor's memory is full."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "allocate memory" in words


def _refused(error: OSError) -> str:
    """The error of the operating system, its path, and what to do."""
    what = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "free some space, or set `output` of the configuration to a disk with more, and run again"
    else:
        advice = "see that this path exists and may be read and written, or set `output` to another folder"
    return f"{where}the system refused: {what}; {advice}"
