"""What each column of each table of a run means: the one list, which descriptions.py writes out."""

from __future__ import annotations

import re

from sepclr_neuro.report.benchmark_columns import BENCHMARKS
from sepclr_neuro.report.common_columns import COLUMNS, FIGURE, OF_MAP, PATTERNS, RAW_FIGURE, SPACES, Column, Table

__all__ = ["TABLES", "meaning_of"]


_CODED_SEX = {"sex": Column("Sex, as BIDS codes it", levels={"F": "female", "M": "male", "O": "other"})}
_OF_FOLDS = {
    "value": Column("Figure of held-out participants", RAW_FIGURE),
    "chance": Column("Figure without information, of this fold", RAW_FIGURE),
}
_OF_EPOCHS = {
    "epoch": Column("Epoch, from 1"),
    "loss": Column("Loss of the training batches, mean over the epoch"),
    "validation_loss": Column("Loss of the training participants that were set apart"),
    "dimensions": Column("Dimensions that a linear method keeps of the span of the training scans"),
    "seconds": Column("Time of the epoch", "s"),
    ".+": Column("Term of the loss before weighting, mean over the epoch; the name is the column's"),
}
_OF_TESTS = {
    "sd": Column("SD of the difference over folds (n - 1)", FIGURE),
    "p": Column("Two-sided p of the corrected resampled t-test"),
    "ci_low": Column("Lower end of its 95 % interval", FIGURE),
    "ci_high": Column("Upper end of its 95 % interval", FIGURE),
}
_RAW = {name: COLUMNS[name]._replace(units=RAW_FIGURE) for name in ("pooled", "null95", "ci_low", "ci_high")}

TABLES: dict[str, Table] = {
    "cohort": Table("cohort/cohort.tsv", "A scan of an included participant", of_participants=True),
    "exclusions": Table(
        "cohort/exclusions.tsv",
        "A row of the tables that was left out",
        of_participants=True,
        own={
            "rule": Column("Rule that left it out"),
            "value": Column("Value that the rule met; of an error in the data, the error in words"),
        },
    ),
    "flow": Table(
        "cohort/flow.tsv",
        "A step from the tables to the cohort, in scans",
        own={
            "step": Column(
                "Kind of step",
                levels={"start": "what the tables list", "exclude": "left out", "count": "counted, not left out"},
            ),
            "removed": Column("Scans that the step left out"),
            "remaining": Column("Scans after the step; of a count, those that it counts"),
        },
    ),
    "index": Table(
        "volumes/index.tsv",
        "A volume of the array volumes.npy",
        of_participants=True,
        own={
            "row": Column("Row of the array, from 0"),
            "sha256": Column("SHA-256 of the source file"),
            "source": Column("Path of the source file"),
            "voxels_sha256": Column("SHA-256 of the voxels in the array"),
        },
    ),
    "splits": Table(
        "splits/splits.tsv",
        "A scan in a fold",
        of_participants=True,
        own={"unit": Column("What is kept on one side together: a participant, or more of them")},
    ),
    "published": Table(
        "splits/published.tsv",
        "A participant in a fold, for a supplement",
        of_participants=True,
        own={"participant_id": Column("Participant; a keyed hash where splits.hash_ids says so")},
    ),
    "history": Table(
        "models/<method>/fold-<k>/history.tsv",
        "An epoch of training",
        own=_OF_EPOCHS,
    ),
    "digits_history": Table(
        "digits/<method>/repetition-<k>-history.tsv",
        "An epoch of training on images; probed where digits.probe_every says so",
        own={
            **{
                name: BENCHMARKS["digits"].own[name]
                for name in (r"digits_(salient|common)", r"objects_(salient|common)", "delta_tot")
            },
            **_OF_EPOCHS,
        },
    ),
    "representations": Table(
        "representations/<method>/fold-<k>.tsv", "A scan, by the fold's model", of_participants=True
    ),
    "scores": Table(
        "probes/scores.tsv",
        "A probe of a fold",
        own={
            **_OF_FOLDS,
            "penalty": Column("Chosen penalty: alpha of a ridge, C of a logistic regression"),
        },
    ),
    "predictions": Table(
        "probes/predictions.tsv",
        "A prediction of a held-out scan",
        of_participants=True,
        own={
            "truth": Column("Value of the target"),
            "prediction": Column("Predicted value"),
            "score": Column("Decision function of two classes; above 0: the second of them"),
        },
    ),
    "verdicts": Table("probes/verdicts.tsv", "The test and interval of a figure", own=_RAW),
    "nulls": Table("probes/nulls.tsv", "Percentiles of a figure's permutation null"),
    "increments": Table(
        "probes/increments.tsv",
        "What a space adds to confounds, in a fold",
        own={name: COLUMNS[name]._replace(units=RAW_FIGURE) for name in ("confounds", "combined", "increment")},
    ),
    "probes": Table("tables/<disorder>.tsv", "A figure over folds, standard regime"),
    "probes_paper": Table("tables/<disorder>_paper.tsv", "A figure over folds, probes fitted as the paper's"),
    "comparisons": Table(
        "tables/comparisons.tsv",
        "A comparison of two methods or two spaces",
        own={
            **_OF_TESTS,
            "other_method": Column("Method that it is compared with"),
            "other_space": Column("Space that it is compared with", levels=SPACES),
            "difference": Column("Mean difference of the figures; above 0: the first is better", FIGURE),
        },
    ),
    "confounds": Table("tables/confounds.tsv", "What a space adds to confounds, over folds", own=_OF_TESTS),
    "demographics": Table(
        "tables/demographics.tsv",
        "A group at a site, or at all sites",
        own={
            "n": Column("Participants"),
            "site": Column("Site, or all sites"),
        },
    ),
    "beside_published": Table(
        "tables/beside_published.tsv",
        "A figure beside that of the paper's own cohort",
        own={
            "published_mean": Column("Mean that the paper reports, of another cohort", FIGURE),
            "published_sd": Column("SD that the paper reports, of another cohort", FIGURE),
        },
    ),
    "site_leakage": Table(
        "tables/site_leakage.tsv",
        "How well something predicts the site, and the like",
        own={
            "method": Column("Method in the configuration; voxels: their principal components; site: the site alone"),
            "space": Column(
                "What it was predicted from",
                levels=SPACES
                | {
                    "components": "principal components of voxels",
                    "site alone": "the site",
                    "common and salient": "both, held against each other",
                },
            ),
            "people": Column(
                "Whom it was probed in", levels={"all": "", "background": "controls", "target": "patients"}
            ),
            "harmonised": Column("Whether after ComBat", levels={"yes": "", "no": ""}),
            "target": Column(
                "What was predicted",
                levels={
                    "site": "the site",
                    "diagnosis": "the diagnosis",
                    "independence": "nothing: the distance correlation of the two spaces",
                },
            ),
            "probe": Column(
                "Kind of probe",
                levels={"linear": "", "nonlinear": "support vector machine", "distance correlation": "none"},
            ),
            "q": Column("p with the false discovery rate controlled over the rows of the same target"),
            "metric": Column(
                "Measure", levels={"bacc": "balanced accuracy", "dcor": "squared distance correlation, bias-corrected"}
            ),
        },
    ),
    "t_localisation": Table(
        "vbm/localisation.tsv",
        "A t-map held against the truth",
        own={
            "n": Column("Training participants, mean over folds"),
        },
    ),
    "patterns": Table(
        "patterns/<method>/patterns.tsv",
        "A map of salient codes as grey matter",
        own={
            "map": Column(
                "Name of the map",
                levels={
                    "beyond-controls": "what patients' codes explain beyond controls'",
                    "mean-patient": "mean difference of patients and controls",
                    "direction-1": "along which patients differ from controls most; direction-2 and so on follow",
                },
            ),
            "largest": Column("Largest absolute value, in the unit of the map (`Units` in its JSON file)"),
            "p": Column("How often the largest value of exchanged diagnoses is as large, by permutation within sites"),
            "voxels_beyond_chance": Column("Voxels beyond the 95th percentile of that largest value"),
            "share": Column(
                "Share of a direction in the positive eigenvalues of what patients have beyond controls; else n/a"
            ),
            "spearman_with_t_map": Column("Rank correlation of strengths with the voxel-wise t-map"),
            "r_with_truth": Column("Correlation of strengths with the true effect; n/a for a real cohort"),
        },
    ),
    "distance": Table(
        "patterns/<method>/distance.tsv",
        "The distance of salient codes from the controls' mean",
        own={
            "auc": Column(
                "Area under the ROC curve by which the distance separates patients from controls", "proportion"
            ),
        },
    ),
    "diseases": Table(
        "patterns/<method>/diseases.tsv",
        "Two diseases of the target group, compared in the salient space",
        own={
            "disease": Column("One disease"),
            "other": Column("The other disease"),
            "correlation": Column("Correlation over voxels of their maps, each against another half of the controls"),
            "null95": Column("Correlation that samples without any disease reach in 5 % of the exchanges"),
            "p_shared": Column("How often samples without any disease correlate as much"),
            "null5": Column("Correlation that maps of one and the same disease fall to in 5 % of the exchanges"),
            "p_different": Column("How often maps of one and the same disease correlate as little"),
            "true_correlation": Column("Correlation of the true maps; n/a for a real cohort"),
            "people": Column("Patients of both diseases"),
            "controls": Column("Controls"),
        },
    ),
    "subtypes": Table(
        "subtypes/<method>/subtypes.tsv",
        "A number of kinds that patients were divided into",
        own={
            "clusters": Column("Number of kinds"),
            "separation": Column("Share of the directions' sum of squares that the clusters explain"),
            "null95": Column("Separation that patients of one kind reach in 5 % of the samples"),
            "p": Column("How often patients of one kind reach this separation: the larger p of two nulls"),
            "stability": Column("Mean adjusted Rand index of all patients' clusters and subsamples'"),
            "stability_null95": Column("Stability that one Gaussian reaches in 5 % of the samples"),
            "smallest": Column("Patients in the smallest cluster"),
            "people": Column("Held-out patients"),
            "axes": Column(
                "Axes used: those along which patients deviate more than controls, at least two; mean over folds"
            ),
            "rand_with_truth": Column("Adjusted Rand index with the true subtypes; n/a for a real cohort"),
        },
    ),
    "associations": Table(
        "subtypes/<method>/associations.tsv",
        "A variable that clusters may go with",
        own={
            "clusters": Column("Number of kinds"),
            "variable": Column("Column of the cohort"),
            "explained": Column("Share of its variance that the clusters explain"),
            "p": Column("How often clusters exchanged within folds explain as much"),
            "q": Column("p with the false discovery rate controlled over the variables of this number of kinds"),
            "people": Column("Patients with a value"),
        },
    ),
    "members": Table(
        "subtypes/<method>/members.tsv",
        "A held-out patient's clusters",
        of_participants=True,
        own={
            "axis_1": Column("Deviation from controls on the strongest axis", "SD of controls"),
            "axis_2": Column("Deviation from controls on the second axis", "SD of controls"),
        },
    ),
    "peaks": Table(
        "saliency/<method>/peaks.tsv",
        "A local maximum or minimum of a map",
        own={
            "value": Column("Value there", OF_MAP),
        },
    ),
    "localisation": Table(
        "saliency/<method>/localisation.tsv",
        "A map held against the truth",
        own={
            "pointing_game": Column("Proportion of participants whose own map peaks inside"),
        },
    ),
    "similarity": Table(
        "saliency/<method>/similarity.tsv",
        "A map beside another one",
        own={
            "with": Column("The other map"),
        },
    ),
    "regions": Table(
        "saliency/<method>/regions.tsv",
        "A region of the atlas in a map",
        own={
            "voxels": Column("Voxels of the region in the brain"),
            "mean": Column("Mean value", OF_MAP),
            "peak": Column("Value of largest strength", OF_MAP),
            "mass_percent": Column("The region's share of the strength over all regions", "percent"),
        },
    ),
    "clusters": Table(
        "saliency/<method>/clusters.tsv",
        "A cluster of a group map",
        own={
            "contrast": Column(
                "What was tested", levels={"mean": "whether maps agree", "group": "whether groups differ"}
            ),
            "peak_t": Column("t at the peak", "t"),
            "size_mm3": Column("Size", "mm^3"),
            "p_peak": Column("p of the peak, corrected over voxels (maximum t)"),
            "p_cluster": Column("p of the cluster, corrected over voxels (maximum size)"),
            "clusters": Column(
                "Clusters of this sign that measure 200 mm^3 or more, of which the strongest are listed"
            ),
        },
    ),
    "sanity": Table(
        "saliency/<method>/sanity.tsv",
        "A map after something was shuffled, beside the map",
        own={
            "check": Column("What was shuffled", levels={"weights": "of layers", "labels": "of the probe"}),
            "layers": Column("How many layers, from the representation backwards"),
            "last_layer": Column("The last of these layers; n/a where there are none"),
        },
    ),
    "dataset": Table(
        "dataset/participants.tsv", "A scan of the simulated or implanted cohort", of_participants=True, own=_CODED_SEX
    ),
    "factors": Table(
        "dataset/ground_truth/factors.tsv",
        "True factors of a participant",
        of_participants=True,
        own={
            **_CODED_SEX,
            "disease_negative": Column("Severity of the disease pattern that goes with negative symptoms"),
            "disease_positive": Column("Severity of the disease pattern that goes with positive symptoms"),
            "subtype": Column("Subtype of the disease, from 1; n/a for controls and where there are none"),
            "unrecorded": Column(
                "Whether the scan has a bias that the tables do not record", levels={"1": "yes", "0": "no"}
            ),
        },
    ),
    **BENCHMARKS,
}


def meaning_of(table: str, column: str) -> Column | None:
    """What a column of a kind of table means: its own meaning there, else the general one; None where unknown."""
    for known in (TABLES[table].own, COLUMNS, PATTERNS):
        for name, meaning in known.items():
            if re.fullmatch(name, column):
                return meaning
    return None
