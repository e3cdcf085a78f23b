"""What columns of the benchmarks' tables mean."""

from __future__ import annotations

from sepclr_neuro.report.common_columns import Column, Table

__all__ = ["BENCHMARKS"]

_INTERVAL = {
    r"(.+_)?low": Column("Lower end of the 95 % interval of the column's figure over seeds (Student's t)"),
    r"(.+_)?high": Column("Upper end of the 95 % interval of the column's figure over seeds (Student's t)"),
}
_SEEDS = Column("Seeds, of which each draws the cohort anew")

BENCHMARKS: dict[str, Table] = {
    "digits": Table(
        "tables/digits_on_objects.tsv",
        "A method of the benchmark of digits on objects, over repetitions",
        own={
            "repetitions": Column("Trainings, from another start each"),
            r"published_delta_tot": Column("delta_tot in Louiset et al. (ICLR 2024)", "percent"),
            r"published_.+": Column("Accuracy in Louiset et al. (ICLR 2024), of their images and networks", "percent"),
            r".+_sd": Column("SD (n - 1) of the column's figure over repetitions", "percent"),
            r"digits_(salient|common)": Column(
                "Accuracy of a linear probe of the digit in this space (common: also of a method with one space)",
                "percent",
            ),
            r"objects_(salient|common)": Column(
                "Accuracy of a linear probe of the object in this space (common: also of a method with one space)",
                "percent",
            ),
            "delta_tot": Column(
                "Deviation from a perfect separation: the four accuracies' distances from what they should be, signed; "
                "0 is best",
                "percent",
            ),
            "minutes": Column("Time of a repetition, mean", "min"),
        },
    ),
    "separation": Table(
        "separation/separation.tsv",
        "A recipe on a cohort whose factors are known, over seeds",
        own={
            "method": Column("Recipe in the configuration"),
            "cohort": Column("Cohort in the configuration, simulated or with an implanted effect"),
            "seeds": _SEEDS,
            **_INTERVAL,
            "score": Column(
                "Separation score: how much more of a factor the space recovers that it belongs in than the other one, "
                "mean over factors; 1: perfect, 0: none"
            ),
            r"score_(salient|common)": Column("The same, over the factors that belong in this space"),
            "held_out_score": Column("The same, by probes that are fitted and scored among held-out participants"),
            r"held_out_.+_value": Column("Figure of such a probe of the factor from the space"),
            r"held_out_.+": Column("Recovery of the factor from the space by such a probe"),
            "diagnosis_nonlinear": Column(
                "Balanced accuracy of the diagnosis by a nonlinear probe of the salient or only space", "proportion"
            ),
            "distance_auc": Column(
                "Area under the ROC curve of the distance from the controls' mean in that space", "proportion"
            ),
            "subtype": Column("Balanced accuracy of the subtype among patients in that space", "proportion"),
            "inflation": Column(
                "Distance of training patients from the controls' mean divided by that of held-out ones; above 1: the "
                "encoder overfits"
            ),
            r"(t_map|mean_patient|beyond_controls)_r": Column(
                "Correlation of the map's strengths with the true effect"
            ),
            r"(t_map|mean_patient|beyond_controls)_ratio": Column(
                "Proportion of the map in affected voxels divided by their proportion of the brain"
            ),
            r".+_value": Column(
                "Figure of the factor's probe from the space: balanced accuracy (proportion) or, of numbers, mean "
                "absolute error"
            ),
            r".+_best": Column("Best achievable figure of the factor"),
            r".+_chance": Column("Figure of the factor without information"),
            r".+_(common|salient|single)": Column(
                "Recovery of the factor from the space: (figure - chance) / (best - chance)"
            ),
            "dependence": Column("Distance correlation of the two spaces in held-out patients, bias-corrected"),
            "localisation": Column(
                "Proportion of relevance in the regions that truly differ divided by their proportion of the brain"
            ),
            "minutes": Column("Time of training, mean over seeds", "min"),
        },
    ),
    "separation_comparisons": Table(
        "separation/comparisons.tsv",
        "Two recipes on the same cohorts and seeds",
        own={
            "cohort": Column("Cohort in the configuration; all: the mean over cohorts"),
            "reference": Column("Recipe"),
            "method": Column("Recipe that is subtracted from it"),
            "part": Column(
                "What is compared",
                levels={
                    "score": "separation score",
                    "salient": "the same over factors that belong in the salient space",
                    "common": "the same over factors that belong in the common space",
                },
            ),
            "difference": Column("reference minus method, mean over seeds; above 0: reference separates better"),
            **_INTERVAL,
            "seeds": _SEEDS,
        },
    ),
}
