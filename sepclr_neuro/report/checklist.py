"""A checklist of COBIDAS and TRIPOD+AI, answered as far as a run knows; the rest is left open for its authors."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sepclr_neuro.config.methods.linear import ChosenByInnerFolds
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.maps.saliency import TABLES as MAP_TABLES
from sepclr_neuro.report.findings import is_better_than_chance, target_label
from sepclr_neuro.report.map_texts import map_tests
from sepclr_neuro.report.methods_text import adjustments, software
from sepclr_neuro.report.reading import Run
from sepclr_neuro.report.records import Trained, span
from sepclr_neuro.report.references import CHECKLISTS
from sepclr_neuro.report.run_details import left_out

__all__ = ["OPEN", "as_markdown", "checklist"]

OPEN = "OPEN:"
"""Stands in an answer before what no run can know."""

_MAPS = {"patterns": "of patterns", "saliency": "of saliency", "vbm": "voxel-wise"}
_CODE_TABLES = ("patterns", "distance", "diseases", "subtypes", "associations")

# What is asked, by which guideline, and the answer.
_Item = tuple[str, str, str]


def checklist(run: Run, made: Mapping[str, Trained]) -> pd.DataFrame:
    """The items in the order of a paper.

    Args:
        run: the files of a run.
        made: the models of each method.

    Returns:
        ``topic item guideline answer``, text; what follows ``OPEN`` in an answer is the authors' to give.
    """
    topics = {
        "Study": _study(run),
        "Participants and data": _data(run),
        "Analysis": _analysis(run, made),
        "Results": _results(run, made),
        "Reproducibility and sharing": _openness(run.config, made),
    }
    rows = [(topic, *item) for topic, items in topics.items() for item in items]
    return pd.DataFrame(rows, columns=["topic", "item", "guideline", "answer"])


def as_markdown(table: pd.DataFrame, title: str) -> str:
    """The checklist as a document: boxes, ticked where the run gave the whole answer."""
    open_items = int(table["answer"].str.contains(OPEN).sum())
    lines = [
        f"# Reporting checklist: {_plain(title)}",
        "",
        f"Filled in by sepclr_neuro from the files of the run: {counted(len(table) - open_items, 'item')}. "
        f"{counted(open_items, 'item')} marked OPEN only the authors can answer. Check all answers before you submit. "
        "The items are shortened; the guidelines have the full wording:",
        "",
        *(f"- {reference.text} <{reference.url}>" for reference in CHECKLISTS),
    ]
    for topic, part in table.groupby("topic", sort=False):
        lines += ["", f"## {topic}", ""]
        for row in part.itertuples():
            box = " " if OPEN in str(row.answer) else "x"
            lines.append(f"- [{box}] **{row.item}** ({row.guideline}): {_plain(str(row.answer))}")
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    """Names of users in one line, without what Markdown and HTML would read in them."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in text)


def _open(what: str) -> str:
    return f"{OPEN} {what}"


def _open_of_real(config: Config, what: str) -> str:
    """What only the authors know of real participants and scans; simulated ones have none of it."""
    return "Not applicable: simulated." if config.cohort.source == "simulated" else _open(what)


def _study(run: Run) -> list[_Item]:
    config = run.config
    targets = config.probes.targets
    known = [target_label(name, targets) for name in targets]
    return [
        ("Title and abstract name the kind of study", "TRIPOD+AI 1, 2", _open("Write them.")),
        (
            "Background, intended use, known inequalities",
            "TRIPOD+AI 3",
            _open("Say for whom and for what the model is meant. This software is not for clinical use."),
        ),
        (
            "Objectives",
            "TRIPOD+AI 4",
            _open(f"Say which predictions were planned and which are exploratory; predicted were {listed(known)}."),
        ),
        ("Kind of data", "TRIPOD+AI 5a; COBIDAS, design", config.cohort.kind_said),
        ("Protocol, registration", "TRIPOD+AI 18c, 18d", _open("Say where, or that there is none.")),
        ("Ethical approval, consent", "TRIPOD+AI 17; COBIDAS, subjects", _open_of_real(config, "Name the board.")),
        (
            "Funding, conflicts of interest, involvement of patients",
            "TRIPOD+AI 18a, 18b, 19",
            _open("State them."),
        ),
    ]


def _data(run: Run) -> list[_Item]:
    config, cohort = run.config, run.cohort
    people = cohort.drop_duplicates("participant_id")
    groups = people["group"].value_counts()
    by_site = people.groupby("site").size()
    volumes = config.volumes
    grid = " × ".join(map(str, run.volumes.shape))
    prepared = [
        f"smoothed with {volumes.smoothing_mm:g} mm FWHM" if volumes.smoothing_mm else "",
        "scaled by total intracranial volume" if volumes.tiv_column else "",
        f"resampled to {volumes.resample_mm:g} mm" if volumes.resample_mm else "",
        f"on a grid of {grid} voxels",
    ]
    missing = {name: int(people[name].isna().sum()) for name in ("age", "sex", "site") if name in people}
    unknown = [f"{name} of {counted(count, 'participant')}" for name, count in missing.items() if count]
    return [
        (
            "Number of participants",
            "TRIPOD+AI 20a, 21; COBIDAS, subjects",
            f"{counted(len(people), 'participant')} ({counted(len(cohort), 'scan')}): {groups.get('background', 0)} "
            f"background ({listed(config.cohort.background)}), {groups.get('target', 0)} target "
            f"({listed(config.cohort.target)}).",
        ),
        (
            "Sites",
            "TRIPOD+AI 6a; COBIDAS, acquisition",
            f"{counted(len(by_site), 'site')}: {listed([f'{site} ({count})' for site, count in by_site.items()])}. "
            f"{_open_of_real(config, 'Scanners, sequences, dates of recruitment.')}",
        )
        if len(by_site)
        else ("Sites", "TRIPOD+AI 6a; COBIDAS, acquisition", _open("The tables have no sites.")),
        (
            "Inclusion and exclusion",
            "TRIPOD+AI 6b, 20a",
            f"Left out: {counted(len(run.exclusions), 'row')} of the tables; reasons are in the flow of the report.",
        ),
        (
            "Characteristics",
            "TRIPOD+AI 20b; COBIDAS, subjects",
            f"Age {people['age'].mean():.1f} ± {people['age'].std():.1f} years; by group and site in "
            "tables/demographics.tsv. " + _open_of_real(config, "Medication, illness duration, ethnicity, education."),
        ),
        ("Treatments received", "TRIPOD+AI 6c", _open_of_real(config, "Say which, or that they are unknown.")),
        (
            "How diagnosis and symptoms were assessed, and by whom",
            "TRIPOD+AI 8a-8c",
            _open("Interviews, raters, their training, blinding.")
            if config.cohort.source == "files"
            else "Drawn by the program; nobody assessed them.",
        ),
        (
            "Acquisition",
            "COBIDAS, acquisition",
            _open_of_real(config, "Field strength, sequence, voxel size, quality."),
        ),
        (
            "Preprocessing before this software",
            "TRIPOD+AI 7; COBIDAS, preprocessing",
            _open_of_real(config, "Program, version and template of segmentation and normalisation."),
        ),
        (
            "Preprocessing by this software",
            "TRIPOD+AI 7, 9b, 12b; COBIDAS, preprocessing",
            f"Volumes were {listed([part for part in prepared if part])}. {config.standardisation.entry.in_words}, "
            "learned in training participants alone.",
        ),
        (
            "Missing data",
            "TRIPOD+AI 11",
            f"{'Unknown: ' + listed(unknown) if unknown else 'Age, sex and site of all participants are known'}. "
            f"A participant without a value of a target is left out of that target's probe, never filled in. "
            f"Missing covariates are {'' if config.impute_covariates else 'not '}imputed from training participants.",
        ),
        ("Sample size", "TRIPOD+AI 10", _open("Justify it. docs/simulated_cohort.md measures it.")),
    ]


def _analysis(run: Run, made: Mapping[str, Trained]) -> list[_Item]:
    config = run.config
    adjusted = adjustments(made) or ["The salient space was adjusted in no method."]
    training = [
        f"{method.title} ({counted(len(method.records), 'model')}, "
        f"{span([len(record['train_scan_ids']) for record in method.records])} training scans)"
        for method in made.values()
    ]
    but_for = ", but for some of their controls" if config.splits.site_controls else ""
    return [
        (
            "Training and test data",
            "TRIPOD+AI 12a, 16",
            config.splits.describe(),
        ),
        (
            "Guards against leakage",
            "TRIPOD+AI 12a; COBIDAS, statistical modelling",
            "Every model and standardisation stores the scans that it learned from; embedding, probing and mapping "
            "stop where a fold holds one of them out. All scans of a participant are on one side.",
        ),
        (
            "Models",
            "TRIPOD+AI 12c, 22",
            f"{listed(training) if training else 'No model was found'}. Architecture and training: methods text of the "
            "report; weights: models/.",
        ),
        (
            "Tuning",
            "TRIPOD+AI 12c",
            "Penalties of probes were chosen by cross-validation inside training participants. "
            + _chosen(made)
            + _open("Say how all other settings were chosen, and on which data."),
        ),
        (
            "Seeds",
            "COBIDAS, reproducibility",
            f"{config.seed}; all random numbers are derived from it, fold, epoch and step.",
        ),
        (
            "Confounds",
            "TRIPOD+AI 9; COBIDAS, statistical modelling",
            f"{' '.join(adjusted)} Probes are compared with confounds alone "
            f"({listed(config.probes.confounds or ['none'])}).",
        ),
        (
            "Differences between sites",
            "TRIPOD+AI 12d, 23b",
            "Site is predicted from each space (tables/site_leakage.tsv)"
            + (", also after ComBat" if config.site_leakage.combat else "")
            + (
                f"; whole sites were held out{but_for}."
                if config.splits.by_site
                else "; training and test participants share sites, so the figures do not show how a new site fares."
            ),
        ),
        (
            "Measures of performance",
            "TRIPOD+AI 12e",
            "Balanced accuracy and AUC, mean absolute error and R², per fold and pooled (docs/evaluation.md).",
        ),
        (
            "Class imbalance",
            "TRIPOD+AI 13",
            "Balanced class weights in the probes of classes, and balanced accuracy. No probabilities are reported.",
        ),
        (
            "Inference and multiple comparisons",
            "COBIDAS, statistical modelling",
            f"{counted(config.probes.permutations, 'permutation')} within site, one-sided, false discovery rate over "
            f"the table (Benjamini-Hochberg); {counted(config.probes.bootstraps, 'bootstrap sample')} of participants "
            f"for 95 % intervals. {' '.join([*_tests_of_group_maps(run), *map_tests(run)])}".strip(),
        ),
        (
            "Fairness",
            "TRIPOD+AI 3c, 14",
            _open("Say how performance differs by sex, age, ethnicity; probes/predictions.tsv has it by scan."),
        ),
    ]


def _chosen(made: Mapping[str, Trained]) -> str:
    """The methods whose settings were chosen by inner folds, with these settings."""
    chosen = [
        f"{method.title} ({listed(list(settings.choose))})"
        for method in made.values()
        if isinstance(settings := method.configured.settings, ChosenByInnerFolds) and settings.trainings > 1
    ]
    if not chosen:
        return ""
    return (
        "Settings were chosen by inner folds of the training participants, by how well the distance from the controls "
        f"predicts the group: {listed(chosen)}. "
    )


def _tests_of_group_maps(run: Run) -> list[str]:
    if not run.maps:
        return []
    permutations = run.config.saliency.permutations
    if not permutations:
        return ["Group maps of saliency: there are none."]
    return [
        f"Group maps of saliency: {counted(permutations, 'permutation')}, corrected over the voxels of a map (maximum "
        "t and cluster size), not over maps."
    ]


def _results(run: Run, made: Mapping[str, Trained]) -> list[_Item]:
    config, figures = run.config, run.figures
    found = sum(is_better_than_chance(row) for _, row in figures.iterrows())
    shortened = left_out(config, made)
    names = (*_CODE_TABLES, *MAP_TABLES)
    tables = [f"{name}.tsv" for name in names if any(of == name for _, of in run.method_tables)]
    kinds = {kind: sum(one.file.startswith(f"{folder}/") for one in run.described) for folder, kind in _MAPS.items()}
    of_kinds = listed([f"{count} {kind}" for kind, count in kinds.items() if count])
    return [
        (
            "Performance with intervals",
            "TRIPOD+AI 23a",
            f"tables/{config.cohort.table_name}.tsv: {counted(len(figures), 'figure')} of "
            f"{counted(len(config.methods), 'method')}, {found} better than chance by q. All are reported.",
        ),
        (
            "Maps",
            "COBIDAS, results",
            f"{counted(len(run.described), 'map')}{f' ({of_kinds})' if of_kinds else ''}, not thresholded, as NIfTI in "
            f"MNI space{f'; tables: {listed(tables)}' if tables else ''}.",
        ),
        (
            "What was shortened or left out",
            "COBIDAS, results",
            " ".join(shortened) if shortened else "Nothing beside the defaults.",
        ),
        ("Interpretation, limitations, usability", "TRIPOD+AI 25-27", _open("Discuss them.")),
    ]


def _openness(config: Config, made: Mapping[str, Trained]) -> list[_Item]:
    versions = [f"{name} {number}" for name, number in software(made).items()]
    return [
        (
            "Software",
            "COBIDAS, reproducibility; TRIPOD+AI 18f",
            f"{', '.join(versions) if versions else 'Versions were not recorded'}; references: report/references.bib.",
        ),
        (
            "Provenance",
            "COBIDAS, reproducibility",
            "receipts/ has versions, machine and checksums of each stage; sepclr-neuro verify compares them.",
        ),
        (
            "Data",
            "TRIPOD+AI 18e; COBIDAS, data sharing",
            _open("Say who may have which data. sepclr-neuro share makes a BIDS derivative."),
        ),
        ("Code", "TRIPOD+AI 18f", _open("Publish your configuration; the report holds all of it.")),
    ]
