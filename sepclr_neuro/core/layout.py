"""Paths of a run: the one list, read by the Snakefile and by the commands alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """The results folder of one run. ``method`` and ``fold`` may be Snakemake wildcards such as ``"{fold}"``."""

    root: Path

    # The run files of stages.
    def run_file(self, stage: str, method: str | None = None) -> Path:
        return self.root / "run" / (f"{stage}.json" if method is None else f"{stage}-{method}.json")

    @property
    def under_way(self) -> Path:
        """Which run writes here now."""
        return self.root / "run" / "under-way.json"

    @property
    def plan(self) -> Path:
        """The jobs that the last run planned."""
        return self.root / "run" / "plan.json"

    def alive(self, stage: str, *parts: str) -> Path:
        """What a job writes of itself while it works."""
        return self.root.joinpath("run", "alive", stage, *parts).with_suffix(".json")

    # What it said, what it took.
    @property
    def stages_log(self) -> Path:
        """A line for each stage that ended. Not an output of any rule: all of them add to it."""
        return self.root / "sepclr-neuro.log"

    def log(self, stage: str, *parts: str) -> Path:
        return self.root.joinpath("logs", stage, *parts).with_suffix(".log")

    def benchmark(self, stage: str, *parts: str) -> Path:
        """Seconds and memory of a job, as Snakemake measures them."""
        return self.root.joinpath("benchmarks", stage, *parts).with_suffix(".tsv")

    def receipt(self, *parts: str) -> Path:
        """Files that a stage read and wrote, with checksums."""
        return self.root.joinpath("receipts", *parts).with_suffix(".json")

    # A simulated or implanted cohort.
    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def truth(self) -> Path:
        """Ground truth of a simulated or implanted cohort; absent for a real one."""
        return self.dataset / "ground_truth"

    # Cohort, volumes, splits.
    @property
    def cohort_page(self) -> Path:
        """What `check` shows of the cohort. Not an output of any rule."""
        return self.root / "check" / "index.html"

    @property
    def cohort(self) -> Path:
        return self.root / "cohort" / "cohort.tsv"

    @property
    def exclusions(self) -> Path:
        return self.root / "cohort" / "exclusions.tsv"

    @property
    def flow(self) -> Path:
        return self.root / "cohort" / "flow.tsv"

    @property
    def index(self) -> Path:
        return self.root / "volumes" / "index.tsv"

    @property
    def grid(self) -> Path:
        return self.root / "volumes" / "grid.json"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes" / "volumes.npy"

    @property
    def splits(self) -> Path:
        return self.root / "splits" / "splits.tsv"

    @property
    def published_splits(self) -> Path:
        """The splits as a paper can publish them."""
        return self.root / "splits" / "published.tsv"

    @property
    def id_key(self) -> Path:
        """The key of hashed participants. Not an output of any rule: it must outlive them."""
        return self.root / "splits" / "id_key.txt"

    def standardisation(self, fold: int | str) -> Path:
        return self.root / "standardisation" / f"fold-{fold}.safetensors"

    # One method.
    def model_folder(self, method: str, fold: int | str) -> Path:
        return self.root / "models" / method / f"fold-{fold}"

    def checkpoints(self, method: str, fold: int | str) -> Path:
        """Not an output of any rule: Snakemake deletes outputs of a job that it restarts."""
        return self.root / "checkpoints" / method / f"fold-{fold}"

    def representations(self, method: str, fold: int | str) -> Path:
        return self.root / "representations" / method / f"fold-{fold}.tsv"

    # What was found.
    @property
    def scores(self) -> Path:
        return self.root / "probes" / "scores.tsv"

    @property
    def predictions(self) -> Path:
        return self.root / "probes" / "predictions.tsv"

    @property
    def verdicts(self) -> Path:
        """Tests and intervals of each figure."""
        return self.root / "probes" / "verdicts.tsv"

    @property
    def nulls(self) -> Path:
        """Percentiles of each figure's permutation null."""
        return self.root / "probes" / "nulls.tsv"

    @property
    def increments(self) -> Path:
        """Increments of a space over confounds, fold by fold."""
        return self.root / "probes" / "increments.tsv"

    @property
    def coefficients(self) -> Path:
        return self.root / "probes" / "coefficients.json"

    def table(self, name: str, suffix: str) -> Path:
        return self.root / "tables" / f"{name}.{suffix}"

    @property
    def vbm(self) -> Path:
        """The voxel-wise t-maps beside which maps of methods stand."""
        return self.root / "vbm"

    def saliency(self, method: str) -> Path:
        return self.root / "saliency" / method

    def patterns(self, method: str) -> Path:
        """Patterns: a method's salient codes expressed in grey matter."""
        return self.root / "patterns" / method

    def fold_codes(self, method: str) -> Path:
        """What the patterns of a method are made of, without voxels."""
        return self.patterns(method) / "fold-codes.safetensors"

    def subtypes(self, method: str) -> Path:
        """Kinds of patients in a method's salient space."""
        return self.root / "subtypes" / method

    def participant_maps(self, method: str) -> Path:
        """Maps of single participants. No output of a rule: Snakemake deletes outputs of a job that it restarts."""
        return self.root / "participant_maps" / method

    # Digits on objects.
    def digits_run(self, method: str, repetition: int | str) -> Path:
        return self.root / "digits" / method / f"repetition-{repetition}.json"

    def digits_history(self, method: str, repetition: int | str) -> Path:
        return self.root / "digits" / method / f"repetition-{repetition}-history.tsv"

    def digits_checkpoints(self, method: str, repetition: int | str) -> Path:
        """Not an output of any rule, as those of volumes."""
        return self.root / "checkpoints" / "digits" / method / f"repetition-{repetition}"

    # The ground-truth benchmark of separation.
    def separation(self, name: str) -> Path:
        return self.root / "separation" / name

    def separation_cohort(self, cohort: str, seed: int | str) -> Path:
        """A results folder of its own, as far as the splits."""
        return self.root / "separation" / "cohorts" / cohort / f"seed-{seed}"

    def separation_best(self, cohort: str, seed: int | str) -> Path:
        """The best achievable figures of a cohort."""
        return self.root / "separation" / "best" / cohort / f"seed-{seed}.tsv"

    def separation_run(self, cohort: str, seed: int | str, recipe: str) -> Path:
        return self.root / "separation" / "runs" / cohort / f"seed-{seed}" / f"{recipe}.json"

    def separation_checkpoints(self, cohort: str, seed: int | str, recipe: str) -> Path:
        """Not an output of any rule, as the others."""
        return self.root / "checkpoints" / "separation" / cohort / f"seed-{seed}" / recipe

    @property
    def figures(self) -> Path:
        """The report's charts as files, SVG and PNG."""
        return self.root / "figures"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def maps_page(self) -> Path:
        """Maps to be looked at, one after the other."""
        return self.root / "report" / "maps.html"

    @property
    def checklist(self) -> Path:
        """Items of reporting guidelines, answered as far as the run knows."""
        return self.root / "report" / "checklist.md"

    @property
    def bibliography(self) -> Path:
        """The methods text's references as BibTeX."""
        return self.root / "report" / "references.bib"
