"""What columns mean that several tables have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["COLUMNS", "FIGURE", "OF_MAP", "PATTERNS", "RAW_FIGURE", "SPACES", "Column", "Table"]


class Column(NamedTuple):
    """What a column means.

    Attributes:
        description: a sentence without its full stop.
        units: of numbers.
        levels: what each text means, where there are few.
    """

    description: str
    units: str = ""
    levels: Mapping[str, str] = {}


class Table(NamedTuple):
    """One kind of table.

    Attributes:
        files: where its files are, from the results folder on.
        description: what a row is.
        of_participants: whether rows are of single participants, so that it is not for everybody.
        own: columns that mean something else than in other tables; a name may be a pattern, of which the first that
            fits counts.
    """

    files: str
    description: str
    of_participants: bool = False
    own: Mapping[str, Column] = {}


FIGURE = "percent (bacc, auc), the target's own (mae), none (r2)"
RAW_FIGURE = "proportion (bacc, auc), the target's own (mae), none (r2)"
OF_MAP = "units of the map"
SPACES = {
    "common": "what patients share with controls",
    "salient": "what patients alone have",
    "single": "the only space of a method with one",
}
_SEX = {"female": "", "male": "", "other": "neither; an implanted or real cohort may have it"}

COLUMNS: dict[str, Column] = {
    # Who.
    "participant_id": Column("Participant, as the tables of the cohort call them"),
    "session_id": Column("Session; n/a where each participant was scanned once"),
    "scan_id": Column("Scan: participant_id, or participant_id_session_id where participants were scanned repeatedly"),
    "diagnosis": Column("Diagnosis, as the configuration names it"),
    "group": Column("Group", levels={"background": "controls", "target": "patients"}),
    "age": Column("Age at the scan", "years"),
    "sex": Column("Sex", levels=_SEX),
    "site": Column("Where the participant was scanned"),
    "disease": Column("Disease of a patient, of several that the configuration names; n/a for controls"),
    "tiv": Column("Total intracranial volume", "ml"),
    "sans": Column("Scale for the Assessment of Negative Symptoms, total"),
    "saps": Column("Scale for the Assessment of Positive Symptoms, total"),
    "volume": Column("Path of the volume; n/a if the study has none"),
    "study": Column("Name of the study in the configuration"),
    # What was asked, of what.
    "regime": Column(
        "How probes were fitted", levels={"standard": "scaled, penalty chosen", "paper": "as the paper's"}
    ),
    "method": Column("Name of the method in the configuration"),
    "fold": Column("Number of the train-test split, from 0"),
    "target": Column("Variable that was predicted, or that a map is about"),
    "metric": Column(
        "Measure of performance",
        levels={
            "bacc": "balanced accuracy",
            "auc": "area under the ROC curve",
            "mae": "mean absolute error",
            "r2": "1 - sum of squared errors / sum of squares about the held-out mean",
        },
    ),
    "space": Column("Space of the representation", levels=SPACES),
    # Figures.
    "mean": Column("Mean over the folds that have a value", FIGURE),
    "sd": Column("SD over folds (n - 1), which share training participants: no standard error", FIGURE),
    "folds": Column("Folds that have a value"),
    "chance": Column(
        "Figure without information: 100 / number of classes, 50 (auc), that of the training median (mae), 0 (r2)",
        FIGURE,
    ),
    "null95": Column("Value that chance reaches or betters in 5 % of the permutations", FIGURE),
    "p": Column("One-sided p of permutations: (b + 1) / (m + 1); n/a without permutations"),
    "q": Column("p with the false discovery rate controlled over the table (Benjamini-Hochberg)"),
    "ci_low": Column("Lower end of the 95 % bootstrap interval over participants", FIGURE),
    "ci_high": Column("Upper end of the 95 % bootstrap interval over participants", FIGURE),
    "n": Column("Participants with a prediction"),
    "missing": Column("Participants of the target without a value, which is never taken for 0"),
    "pooled": Column("Figure of all held-out predictions at once; for auc the mean over folds", FIGURE),
    "train": Column("Figure of the participants that the probe was fitted on, mean over folds", FIGURE),
    "gap": Column("How much better train is than mean", FIGURE),
    "t": Column("t of the corrected resampled t-test over folds (Nadeau and Bengio)"),
    "value": Column("Figure of held-out participants", RAW_FIGURE),
    "train_value": Column("Figure of the participants that the probe was fitted on", RAW_FIGURE),
    "n_train": Column("Participants that the probe was fitted on"),
    "n_test": Column("Held-out participants that were predicted"),
    "confounds": Column("Figure of the confounds alone", FIGURE),
    "combined": Column("Figure of confounds and the space together", FIGURE),
    "increment": Column("How much better the space makes the confounds' figure; above 0: it helps", FIGURE),
    # Maps.
    "attribution": Column("How voxels were credited: the name in the configuration"),
    "sign": Column("Sign of the values", levels={"positive": "", "negative": ""}),
    "x": Column("Left to right, MNI", "mm"),
    "y": Column("Back to front, MNI", "mm"),
    "z": Column("Bottom to top, MNI", "mm"),
    "people": Column("Participants whom the map is of"),
    "permutations": Column("Permutations of the test"),
    "region": Column("Region of the atlas; n/a without one"),
    "relevance_share": Column("Proportion of the map's strength inside the regions that truly differ"),
    "volume_share": Column("Proportion of the brain that these regions are: relevance_share by chance"),
    "ratio": Column("relevance_share / volume_share; 1: no localisation"),
    "rank_share": Column("Proportion of the strongest voxels, as many as the regions have, that lie inside"),
    "peak_in_region": Column("Whether the strongest voxel lies inside", levels={"yes": "", "no": ""}),
    "spearman": Column("Rank correlation of signed values over the brain's voxels"),
    "spearman_absolute": Column("Rank correlation of strengths over the brain's voxels"),
    # Steps.
    "side": Column(
        "Side of the split",
        levels={
            "train": "the model learned from the scan",
            "probe": "kept from the encoder; probes learned from it",
            "test": "held out",
        },
    ),
    "rule": Column("Rule of inclusion, or the step"),
}

# Columns whose names hold a number or a name of the user's.
PATTERNS: dict[str, Column] = {
    r"of_\d+": Column("Cluster, from 1, where patients were divided into this many kinds"),
    r".+-among-patients": Column("Whether a patient has this disease, among patients; n/a for controls"),
    r"(common|salient|single)_\d+": Column("Coordinate of the representation in this space, counted from 0"),
    r"percentile_\d+": Column("This percentile of the mean over folds under permutation", RAW_FIGURE),
    r"age_(mean|sd|min|max)": Column("Mean, SD (n - 1), lowest or highest age", "years"),
    r".+_percent": Column("Participants of this sex among those whose sex is known", "percent"),
    r".+_n": Column("Participants with a value of this score"),
    r".+_mean": Column("Mean of this score"),
    r".+_sd": Column("SD (n - 1) of this score"),
}
