"""The command line: one command a stage; each reads a configuration, calls one function and prints. No logic."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepclr_neuro import __version__
from sepclr_neuro.core import runs
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import set_level, shown
from sepclr_neuro.run.warm import hand_over

# Each command imports what it needs, so that `--help` need not wait for all of it.
if TYPE_CHECKING:
    import pandas as pd

    from sepclr_neuro.config.model import Config

__all__ = ["app", "main"]

logger = logging.getLogger(__name__)

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


@contextmanager
def _stage(name: str, path: Path, *parts: str, method: str | None = None) -> Iterator[tuple[Config, Results]]:
    """Configuration and results folder of a stage; its line in the log, and its receipt once it has succeeded."""
    from sepclr_neuro.config.model import load_config
    from sepclr_neuro.core.provenance import noted, receipt

    config = load_config(path)
    if method is not None:
        _refuse_unknown("--method", method, config.methods, f"{path}: methods")
    results = Results(config.output)
    with noted(results, name, *parts), receipt(results, name, *parts) as record:
        record.read.add(path)
        yield config, results


def _refuse_unknown(option: str, name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise InputError(f"{option} {name}: {where} has no such name; it has {', '.join(known)}")


@contextmanager
def _computing(gpus: int = 1) -> Iterator[None]:
    """On so many GPUs, if this machine has any, the given threads, and memory that is kept."""
    from sepclr_neuro.core import devices

    with devices.free_gpus(gpus) if gpus else nullcontext():
        devices.keep_freed_memory()
        devices.use_given_threads()
        yield


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
def check(
    path: ConfigFile,
    tsv: Annotated[Path | None, typer.Option(help="Write errors and warnings to this table too.")] = None,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Do not read the volumes' voxels, nor estimate the cost of a run.")
    ] = False,
) -> None:
    """Check a configuration and its data: errors, warnings, counts, planned work and its cost. Status 2 on errors."""
    from sepclr_neuro.config.model import load_config
    from sepclr_neuro.core.storage import write_tsv
    from sepclr_neuro.run.check import check

    config = load_config(path)
    found = check(config, volumes="headers" if headers_only else "voxels")
    print(found.text(), flush=True)
    if tsv is not None:
        write_tsv(tsv, found.table())
    if found.sides is not None and not headers_only and config.model_fields_set & {"cohort", "methods"}:
        with _computing():
            from sepclr_neuro.run.cost import estimate

            print("\n".join(estimate(config, found.sides)))
    if found.errors:
        raise typer.Exit(2)


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
def dataset(path: ConfigFile) -> None:
    """Make a simulated cohort, or implant an effect into real volumes."""
    from sepclr_neuro.data.simulation import write_dataset

    with _stage("dataset", path) as stage:
        write_dataset(*stage)


@app.command()
def cohort(path: ConfigFile) -> None:
    """Join the participants and phenotype tables to one validated cohort."""
    from sepclr_neuro.data.cohort import write_cohort

    with _stage("cohort", path) as (config, results):

        def look(participants: pd.DataFrame) -> Mapping[str, str]:
            from sepclr_neuro.data.volume_checks import faulty_volumes

            return faulty_volumes(participants, config.volumes)[0]

        write_cohort(config, results, look)


@app.command()
def volumes(path: ConfigFile) -> None:
    """Check all volumes and bring them to one grid."""
    from sepclr_neuro.data.volumes import write_volumes

    with _stage("volumes", path) as stage:
        write_volumes(*stage)


@app.command()
def splits(path: ConfigFile) -> None:
    """Divide participants into folds."""
    from sepclr_neuro.data.splits import write_splits

    with _stage("splits", path) as stage:
        write_splits(*stage)


@app.command()
def standardise(path: ConfigFile, fold: Fold) -> None:
    """Compute mean, SD and brain mask of the training participants of a fold."""
    from sepclr_neuro.data.standardisation import write_standardisation

    with _stage("standardise", path, f"fold-{fold}") as stage:
        write_standardisation(*stage, fold)


@app.command()
def train(path: ConfigFile, method: Method, fold: Fold) -> None:
    """Train one method on one fold; a second call resumes where the first was stopped."""
    with (
        _stage("train", path, method, f"fold-{fold}", method=method) as stage,
        _computing(stage[0].for_method(method).training.devices),
    ):
        from sepclr_neuro.learning.training import write_fold_model

        write_fold_model(*stage, method, fold)


@app.command()
def embed(path: ConfigFile, method: Method) -> None:
    """Compute the representations of all participants by each fold's model of a method."""
    with _stage("embed", path, method, method=method) as stage, _computing():
        from sepclr_neuro.learning.embedding import write_representations

        write_representations(*stage, method)


@app.command()
def probe(path: ConfigFile) -> None:
    """Probe the representations of all methods on held-out participants."""
    from sepclr_neuro.probing.probes import write_probes

    with _stage("probe", path) as stage:
        write_probes(*stage)


@app.command()
def tables(path: ConfigFile) -> None:
    """Test the probes against chance, and make the tables."""
    from sepclr_neuro.probing.tables import write_tables
    from sepclr_neuro.probing.verdicts import write_verdicts

    with _stage("tables", path) as stage:
        write_verdicts(*stage)
        write_tables(*stage)


@app.command()
def vbm(path: ConfigFile) -> None:
    """Make the voxel-wise t-maps that saliency maps are compared with."""
    from sepclr_neuro.maps.vbm import write_vbm

    with _stage("vbm", path) as stage:
        write_vbm(*stage)


@app.command()
def patterns(path: ConfigFile, method: Method) -> None:
    """Map how grey matter changes with the salient codes of a method."""
    with _stage("patterns", path, method, method=method) as stage, _computing(gpus=0):
        from sepclr_neuro.maps.patterns import write_patterns

        write_patterns(*stage, method)


@app.command()
def leakage(path: ConfigFile) -> None:
    """Predict the site from each space and from voxels, and test whether the two spaces depend on each other."""
    with _stage("leakage", path) as stage, _computing(gpus=0):
        from sepclr_neuro.probing.site_leakage import write_site_leakage

        write_site_leakage(*stage)


@app.command()
def saliency(path: ConfigFile, method: Method) -> None:
    """Map which voxels the probes of a method use."""
    with _stage("saliency", path, method, method=method) as stage, _computing():
        from sepclr_neuro.maps.saliency import write_saliency

        write_saliency(*stage, method)


@app.command()
def report(path: ConfigFile) -> None:
    """Write the HTML report."""
    from sepclr_neuro.report import write_report

    with _stage("report", path) as stage:
        write_report(*stage)


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
    with _computing():
        from sepclr_neuro.apply.application import write_application

        write_application(
            model, participants, volumes, output, calibrate_with=calibrate_with, maps=maps, allow_seen=allow_seen
        )


@app.command()
def digits(
    path: ConfigFile,
    method: Annotated[str, typer.Option(help="Name of the method, as in `digits.methods`.", show_default=False)],
    repetition: Annotated[int, typer.Option(min=0, help="Number of the repetition, from 0.", show_default=False)],
) -> None:
    """Train and probe one method on digits on objects; a second call resumes where the first was stopped."""
    with _stage("digits", path, method, f"repetition-{repetition}") as (config, results):
        _refuse_unknown("--method", method, config.digits.methods, f"{path}: digits.methods")
        with _computing(config.digits.for_method(method).training.devices):
            from sepclr_neuro.validation.digits.benchmark import write_digits_run

            write_digits_run(config, results, method, repetition)


@app.command()
def digits_table(path: ConfigFile) -> None:
    """Make the table of digits on objects."""
    from sepclr_neuro.validation.digits.benchmark import write_digits_table

    with _stage("digits-table", path) as stage:
        write_digits_table(*stage)


CohortName = Annotated[str, typer.Option(help="Name of the cohort, as in `separation.cohorts`.", show_default=False)]
CohortSeed = Annotated[int, typer.Option(min=0, help="Of the cohort and the training.", show_default=False)]


@app.command()
def separation_cohort(path: ConfigFile, cohort: CohortName, seed: CohortSeed) -> None:
    """Make one cohort of the benchmark of separation, and measure the best achievable figures."""
    with _stage("separation-cohort", path, cohort, f"seed-{seed}") as (config, _), _computing():
        _refuse_unknown("--cohort", cohort, config.separation.cohorts, f"{path}: separation.cohorts")
        from sepclr_neuro.validation.separation.benchmark import prepare_cohort

        prepare_cohort(config, cohort, seed)


@app.command()
def separation(
    path: ConfigFile,
    cohort: CohortName,
    seed: CohortSeed,
    recipe: Annotated[str, typer.Option(help="Its name in `separation.recipes`.", show_default=False)],
) -> None:
    """Train one recipe on a cohort with known factors and measure how far it separates them; a second call resumes."""
    with _stage("separation", path, cohort, f"seed-{seed}", recipe) as (config, _):
        _refuse_unknown("--cohort", cohort, config.separation.cohorts, f"{path}: separation.cohorts")
        _refuse_unknown("--recipe", recipe, config.separation.recipes, f"{path}: separation.recipes")
        run_config = config.separation_run(cohort, seed, recipe)
        with _computing(run_config.for_method(next(iter(run_config.methods))).training.devices):
            from sepclr_neuro.validation.separation.benchmark import run_recipe

            run_recipe(config, cohort, seed, recipe)


@app.command()
def separation_table(path: ConfigFile) -> None:
    """Make the tables and the figure of the benchmark of separation."""
    from sepclr_neuro.validation.separation.table import write_separation_tables

    with _stage("separation-table", path) as stage:
        write_separation_tables(*stage)


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
        _refuse_unknown("list", kind, REGISTRIES, "sepclr_neuro")
    for registry in REGISTRIES.values() if kind is None else [REGISTRIES[kind]]:
        if kind is None:
            print(f"{registry.kind}:")
        print("\n".join(registry.lines("" if kind else "  ")))


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
    """Contrastive analysis of brain volumes, stage by stage. `snakemake` calls these commands in order."""
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
