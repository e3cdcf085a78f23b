"""One command for each stage of the workflow: it reads a run file, calls one function and writes its results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results

# Each command imports what it needs, so that `--help` need not wait for all of it.
if TYPE_CHECKING:
    import pandas as pd

    from sepclr_neuro.config.model import Config

__all__ = ["STAGES", "ConfigFile", "computing", "refuse_unknown"]

ConfigFile = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="config.yaml, or a stage's run file in <output>/run.", show_default=False),
]
Fold = Annotated[int, typer.Option(min=0, help="Number of the fold, from 0.", show_default=False)]
Method = Annotated[str, typer.Option(help="Name of the method, as in the configuration.", show_default=False)]


@contextmanager
def _stage(name: str, path: Path, *parts: str, method: str | None = None) -> Iterator[tuple[Config, Results]]:
    """Configuration and results folder of a stage; its record while it works, its line in the log, and its receipt once
    it has succeeded."""
    from sepclr_neuro.config.model import load_config
    from sepclr_neuro.config.training import TENSORBOARD
    from sepclr_neuro.core.jobs import alive
    from sepclr_neuro.core.provenance import noted, receipt

    config = load_config(path)
    if config.training.tensorboard:  # no run file says it
        os.environ[TENSORBOARD] = "1"
    if method is not None:
        refuse_unknown("--method", method, config.methods, f"{path}: methods")
    results = Results(config.output)
    with alive(results, name, *parts), noted(results, name, *parts), receipt(results, name, *parts) as record:
        record.read.add(path)
        yield config, results


def refuse_unknown(option: str, name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise InputError(f"{option} {name}: {where} has no such name; it has {', '.join(known)}")


@contextmanager
def computing(gpus: int = 1) -> Iterator[None]:
    """On so many GPUs, if this machine has any, the given threads, and memory that is kept."""
    from sepclr_neuro.core import devices

    with devices.free_gpus(gpus) if gpus else nullcontext():
        devices.keep_freed_memory()
        devices.use_given_threads()
        yield


def dataset(path: ConfigFile) -> None:
    """Make a simulated cohort, or implant an effect into real volumes."""
    from sepclr_neuro.data.simulation import write_dataset

    with _stage("dataset", path) as stage:
        write_dataset(*stage)


def cohort(path: ConfigFile) -> None:
    """Join the participants and phenotype tables to one validated cohort."""
    from sepclr_neuro.data.cohort import write_cohort

    with _stage("cohort", path) as (config, results):

        def look(participants: pd.DataFrame) -> Mapping[str, str]:
            from sepclr_neuro.data.volume_checks import faulty_volumes

            return faulty_volumes(participants, config.volumes)[0]

        write_cohort(config, results, look)


def volumes(path: ConfigFile) -> None:
    """Check all volumes and bring them to one grid."""
    from sepclr_neuro.data.volumes import write_volumes

    with _stage("volumes", path) as stage:
        write_volumes(*stage)


def splits(path: ConfigFile) -> None:
    """Divide participants into folds."""
    from sepclr_neuro.data.splits import write_splits

    with _stage("splits", path) as stage:
        write_splits(*stage)


def standardise(path: ConfigFile, fold: Fold) -> None:
    """Compute mean, SD and brain mask of the training participants of a fold."""
    from sepclr_neuro.data.standardisation import write_standardisation

    with _stage("standardise", path, f"fold-{fold}") as stage:
        write_standardisation(*stage, fold)


def train(path: ConfigFile, method: Method, fold: Fold) -> None:
    """Train one method on one fold; a second call resumes where the first was stopped."""
    with _stage("train", path, method, f"fold-{fold}", method=method) as stage:
        configured = stage[0].for_method(method)
        # What has no loop computes on the processor.
        gpus = configured.training.devices if configured.settings.trained else 0
        with computing(gpus):
            from sepclr_neuro.learning.training import write_fold_model

            write_fold_model(*stage, method, fold)


def embed(path: ConfigFile, method: Method) -> None:
    """Compute the representations of all participants by each fold's model of a method."""
    with _stage("embed", path, method, method=method) as stage, computing():
        from sepclr_neuro.learning.embedding import write_representations

        write_representations(*stage, method)


def probe(path: ConfigFile) -> None:
    """Probe the representations of all methods on held-out participants."""
    from sepclr_neuro.probing.probes import write_probes

    with _stage("probe", path) as stage:
        write_probes(*stage)


def tables(path: ConfigFile) -> None:
    """Test the probes against chance, and make the tables."""
    from sepclr_neuro.probing.tables import write_tables
    from sepclr_neuro.probing.verdicts import write_verdicts

    with _stage("tables", path) as stage:
        write_verdicts(*stage)
        write_tables(*stage)


def vbm(path: ConfigFile) -> None:
    """Make the voxel-wise t-maps that saliency maps are compared with."""
    from sepclr_neuro.maps.vbm import write_vbm

    with _stage("vbm", path) as stage:
        write_vbm(*stage)


def patterns(path: ConfigFile, method: Method) -> None:
    """Map how grey matter changes with the salient codes of a method."""
    with _stage("patterns", path, method, method=method) as stage, computing(gpus=0):
        from sepclr_neuro.maps.patterns import write_patterns

        write_patterns(*stage, method)


def subtypes(path: ConfigFile, method: Method) -> None:
    """Look for kinds of patients in the salient space of a method."""
    with _stage("subtypes", path, method, method=method) as stage, computing(gpus=0):
        from sepclr_neuro.maps.subtypes import write_subtypes

        write_subtypes(*stage, method)


def leakage(path: ConfigFile) -> None:
    """Predict the site from each space and from voxels, and test whether the two spaces depend on each other."""
    with _stage("leakage", path) as stage, computing(gpus=0):
        from sepclr_neuro.probing.site_leakage import write_site_leakage

        write_site_leakage(*stage)


def saliency(path: ConfigFile, method: Method) -> None:
    """Map which voxels the probes of a method use."""
    with _stage("saliency", path, method, method=method) as stage, computing():
        from sepclr_neuro.maps.saliency import write_saliency

        write_saliency(*stage, method)


def report(path: ConfigFile) -> None:
    """Write the HTML report."""
    from sepclr_neuro.report import write_report

    with _stage("report", path) as stage:
        write_report(*stage)


def digits(
    path: ConfigFile,
    method: Annotated[str, typer.Option(help="Name of the method, as in `digits.methods`.", show_default=False)],
    repetition: Annotated[int, typer.Option(min=0, help="Number of the repetition, from 0.", show_default=False)],
) -> None:
    """Train and probe one method on digits on objects; a second call resumes where the first was stopped."""
    with _stage("digits", path, method, f"repetition-{repetition}") as (config, results):
        refuse_unknown("--method", method, config.digits.methods, f"{path}: digits.methods")
        with computing(config.digits.for_method(method).training.devices):
            from sepclr_neuro.validation.digits.benchmark import write_digits_run

            write_digits_run(config, results, method, repetition)


def digits_table(path: ConfigFile) -> None:
    """Make the table of digits on objects."""
    from sepclr_neuro.validation.digits.benchmark import write_digits_table

    with _stage("digits-table", path) as stage:
        write_digits_table(*stage)


CohortName = Annotated[str, typer.Option(help="Name of the cohort, as in `separation.cohorts`.", show_default=False)]
CohortSeed = Annotated[int, typer.Option(min=0, help="Of the cohort and the training.", show_default=False)]


def separation_cohort(path: ConfigFile, cohort: CohortName, seed: CohortSeed) -> None:
    """Make one cohort of the benchmark of separation, and measure the best achievable figures."""
    with _stage("separation-cohort", path, cohort, f"seed-{seed}") as (config, _), computing():
        refuse_unknown("--cohort", cohort, config.separation.cohorts, f"{path}: separation.cohorts")
        from sepclr_neuro.validation.separation.benchmark import prepare_cohort

        prepare_cohort(config, cohort, seed)


def separation(
    path: ConfigFile,
    cohort: CohortName,
    seed: CohortSeed,
    recipe: Annotated[str, typer.Option(help="Its name in `separation.recipes`.", show_default=False)],
) -> None:
    """Train one recipe on a cohort with known factors and measure how far it separates them; a second call resumes."""
    with _stage("separation", path, cohort, f"seed-{seed}", recipe) as (config, _):
        refuse_unknown("--cohort", cohort, config.separation.cohorts, f"{path}: separation.cohorts")
        refuse_unknown("--recipe", recipe, config.separation.recipes, f"{path}: separation.recipes")
        run_config = config.separation_run(cohort, seed, recipe)
        with computing(run_config.for_method(next(iter(run_config.methods))).training.devices):
            from sepclr_neuro.validation.separation.benchmark import run_recipe

            run_recipe(config, cohort, seed, recipe)


def separation_table(path: ConfigFile) -> None:
    """Make the tables and the figure of the benchmark of separation."""
    from sepclr_neuro.validation.separation.table import write_separation_tables

    with _stage("separation-table", path) as stage:
        write_separation_tables(*stage)


STAGES = (
    dataset,
    cohort,
    volumes,
    splits,
    standardise,
    train,
    embed,
    probe,
    tables,
    vbm,
    patterns,
    subtypes,
    leakage,
    saliency,
    report,
    digits,
    digits_table,
    separation_cohort,
    separation,
    separation_table,
)
"""In the order of the workflow, then the benchmarks of digits and separation."""
