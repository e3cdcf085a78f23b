"""How salient codes were mapped, compared and clustered, and by which nulls, in sentences for a methods section."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.maps.directions import MOST
from sepclr_neuro.maps.diseases import HALVINGS
from sepclr_neuro.report.methods_text import Paragraph
from sepclr_neuro.report.reading import Run

__all__ = ["map_paragraphs", "map_references", "map_tests"]

_HAUFE = Reference(
    "Haufe S, Meinecke F, Görgen K, et al.",
    2014,
    "On the interpretation of weight vectors of linear models in multivariate neuroimaging",
    "https://doi.org/10.1016/j.neuroimage.2013.10.067",
    *("NeuroImage", "87", "96–110", "article"),
)
_NICHOLS = Reference(
    "Nichols T, Brett M, Andersson J, Wager T, Poline J-B",
    2005,
    "Valid conjunction inference with the minimum statistic",
    "https://doi.org/10.1016/j.neuroimage.2004.12.005",
    *("NeuroImage", "25", "653–660", "article"),
)
_LIU = Reference(
    "Liu Y, Hayes DN, Nobel A, Marron JS",
    2008,
    "Statistical significance of clustering for high-dimension, low-sample size data",
    "https://doi.org/10.1198/016214508000000454",
    *("Journal of the American Statistical Association", "103", "1281–1293", "article"),
)
_TIBSHIRANI = Reference(
    "Tibshirani R, Walther G, Hastie T",
    2001,
    "Estimating the number of clusters in a data set via the gap statistic",
    "https://doi.org/10.1111/1467-9868.00293",
    *("Journal of the Royal Statistical Society B", "63", "411–423", "article"),
)


class _Part(NamedTuple):
    """An analysis of salient codes: what its paragraph is called, says of the analysis and of its tests, and cites."""

    title: str
    made: Callable[[Config], list[str]]
    tested: Callable[[Config], list[str]]
    references: tuple[Reference, ...]


def map_paragraphs(run: Run) -> list[Paragraph]:
    """A paragraph for each analysis of salient codes that ran, for the methods text."""
    return [Paragraph(part.title, part.made(run.config) + part.tested(run.config)) for part in _ran(run)]


def map_tests(run: Run) -> list[str]:
    """How each analysis of salient codes that ran was tested: its name and sentences, for the checklist."""
    return [f"{part.title}: {' '.join(part.tested(run.config))}" for part in _ran(run)]


def map_references(run: Run) -> list[Reference]:
    """References of the paragraphs."""
    return [reference for part in _ran(run) for reference in part.references]


def _ran(run: Run) -> list[_Part]:
    """The analyses of which some method has a table; of subtypes one with a figure, not with too few patients alone."""
    found = {name for (_, name), table in run.method_tables.items() if name != "subtypes" or table["p"].notna().any()}
    return [part for name, part in _PARTS.items() if name in found]


def _patterns(config: Config) -> list[str]:
    return [
        "The standardised volumes of a split's training participants were regressed on their salient codes, beside the "
        "covariates that the salient space is adjusted for (a forward model; Haufe et al., 2014).",
        "With its weights, the codes of held-out participants became maps of grey matter "
        f"({config.standardisation.entry.unit}), averaged over splits: the mean difference of patients and controls, "
        "and what patients' codes explain beyond controls', in each voxel the root of the patients' second moment "
        "about the controls' mean minus the controls' variance.",
        "Directions among patients are the leading eigenvectors of that difference as a covariance of voxels, averaged "
        f"over splits, times the root of their eigenvalues, up to the first not beyond chance and at most {MOST}.",
        "The distance of a held-out participant's code from the training controls' mean was scored by the area under "
        "the ROC curve (AUC), averaged over splits.",
    ]


def _tests_of_patterns(config: Config) -> list[str]:
    if not config.saliency.permutations:
        return ["They were not tested."]
    return [
        f"Diagnoses were exchanged within site in {counted(config.saliency.permutations, 'permutation')}, without new "
        "training; compared were the largest absolute voxel of a map, which corrects over its voxels (of a direction, "
        f"that of the {MOST} leading ones, which corrects over these too), and the AUC.",
        "The false discovery rate was controlled over all maps and AUCs of all methods.",
    ]


def _diseases(config: Config) -> list[str]:
    return [
        "By the same weights, the mean patient of each disease was mapped beside the controls and beside the other "
        "patients.",
        "The maps of every two diseases, each against another half of the controls, were correlated over voxels (mean "
        f"of {HALVINGS} random halvings).",
        "What all diseases share is in each voxel the smallest absolute value of their maps where these agree in sign.",
    ]


def _tests_of_diseases(config: Config) -> list[str]:
    if not config.saliency.permutations:
        return ["They were not tested."]
    return [
        f"Exchanges within site in {counted(config.saliency.permutations, 'permutation')}: of a disease's patients "
        "with the controls for its map, of diseases among all patients for its difference from the others, comparing "
        "the largest absolute voxel; of two diseases' patients and the controls for a correlation higher than without "
        "a disease, of two diseases' patients alone for one lower than within one disease.",
        "The p of what all diseases share is in each voxel the largest of the diseases' own, corrected over voxels "
        "(the conjunction null; Nichols et al., 2005).",
        "The false discovery rate was controlled over all maps, and over all correlations, of all methods.",
    ]


def _subtypes(config: Config) -> list[str]:
    clusters = listed([str(count) for count in config.subtypes.clusters], "or")
    return [
        "In each split, the salient codes of held-out patients, expressed in grey matter by the forward model (Haufe "
        "et al., 2014), were taken as deviations from the held-out controls, in units of the controls' standard "
        "deviations, on the axes along which patients deviate more than controls (beyond the Marchenko-Pastur edge, at "
        "least two), and brought to length 1.",
        f"K-means divided these directions into {clusters} clusters; figures are means over splits.",
        "Stability is the mean adjusted Rand index with the clusters of "
        f"{counted(config.subtypes.resamples, 'subsample')} of four fifths of the patients.",
    ]


def _tests_of_subtypes(config: Config) -> list[str]:
    nulls = counted(config.subtypes.nulls, "sample")
    return [
        f"The share of the directions' sum of squares that clusters explain was compared with {nulls} of one Gaussian "
        "with the mean and covariance of the patients' deviations (after Liu et al., 2008) and as many of one uniform "
        "cloud with the covariance of the directions (after Tibshirani et al., 2001); the larger p counts.",
        "The false discovery rate was controlled over methods and numbers of clusters.",
        "What clusters go with was tested by permutations of the clusters within splits.",
    ]


_PARTS = {
    "patterns": _Part("Patterns", _patterns, _tests_of_patterns, (_HAUFE,)),
    "diseases": _Part("Several diseases", _diseases, _tests_of_diseases, (_NICHOLS,)),
    "subtypes": _Part("Subtypes", _subtypes, _tests_of_subtypes, (_HAUFE, _LIU, _TIBSHIRANI)),
}
"""By the name of the table that says that an analysis ran."""
