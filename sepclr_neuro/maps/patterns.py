r"""Where in the brain the salient space is at work: its codes expressed as grey matter, patients beside controls.

A probe's gradient shows which voxels a network uses, for noise as much as to the disease. The forward model shows
what the codes mean: least squares of the training participants' standardised volumes :math:`z_i` on their salient
codes, beside the covariates that the salient space is adjusted for,

.. math:: z_i \approx \mu + W^T s_i + B^T a_i .

With it, held-out participants' codes become maps. *Mean patient*, signed: :math:`W^T(\bar s_{patients} - \bar
s_{controls})`, what patients have in common. *Beyond controls*, never negative: in each voxel the root of

.. math:: \mathrm{diag}\, W^T (M - C) W ,

with M the patients' second moment about the controls' mean and C the controls' covariance: what patients' codes explain
of the grey matter more than controls' do. It shows a disease that shifts all patients alike, and also one that moves
them in different directions, of which group means and classifiers know nothing. Which directions these are,
:mod:`sepclr_neuro.maps.directions` says.

Source: Haufe et al., NeuroImage 2014, https://doi.org/10.1016/j.neuroimage.2013.10.067, for forward models in place of
weights; the map beyond controls is a choice of this project.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.metrics import area_under_curve, mean_of_known
from sepclr_neuro.core.progress import followed
from sepclr_neuro.core.statistics import permutation_p, permuted_rows
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.maps.about import About
from sepclr_neuro.maps.directions import direction_titles, leading_directions
from sepclr_neuro.maps.diseases import (
    compare_diseases,
    disease_titles,
    people_of_map,
    t_map_of,
    true_disease_maps,
    with_true_correlations,
)
from sepclr_neuro.maps.fold_codes import (
    FoldCodes,
    Matrix,
    all_fold_codes,
    excess,
    judged,
    mean_difference,
    write_fold_codes,
)
from sepclr_neuro.maps.localisation import localisation, similarity, strength_correlation
from sepclr_neuro.maps.mapping import picture_heading, true_map, write_map

__all__ = [
    "PATTERNS",
    "beyond_controls",
    "distance_auc",
    "mean_patient",
    "pattern_maps",
    "write_patterns",
]

logger = logging.getLogger(__name__)

PATTERNS = {"beyond-controls": "Patients beyond controls", "mean-patient": "Mean patient"}
TABLE = [
    *("map", "largest", "p", "voxels_beyond_chance", "share", "people", "permutations"),
    *(
        "spearman_with_t_map",
        "r_with_truth",
        "relevance_share",
        "volume_share",
        "ratio",
        "rank_share",
        "peak_in_region",
    ),
]


def mean_patient(weights: Matrix, codes: Matrix, patient: NDArray[np.bool_]) -> Matrix:
    """Mean difference of patients' and controls' codes [N, d], as grey matter by W [d, V]: [V], signed."""
    return mean_difference(weights, codes, patient, ~patient)


def beyond_controls(weights: Matrix, codes: Matrix, patient: NDArray[np.bool_]) -> Matrix:
    """Grey matter that patients' codes [N, d] explain by W [d, V] beyond controls' codes: [V], 0 or more."""
    more = excess(codes, patient) @ weights
    return np.sqrt(np.maximum((more * weights).sum(axis=0), 0))


_MAKERS = {"beyond-controls": beyond_controls, "mean-patient": mean_patient}


def pattern_maps(
    folds: list[FoldCodes], patient: NDArray[np.bool_], exchanged: NDArray[np.int32], title: str = "patterns"
) -> dict[str, tuple[Matrix, NDArray[np.float64]]]:
    """Both maps, the mean over folds, and the largest voxel of each where diagnoses are exchanged.

    Not by nilearn's ``permuted_ols``: it knows the t of a column alone, and exchanges participants of different sites.

    Args:
        folds: of each fold W [d, V] and the codes of its held-out participants.
        patient: of each participant, [N].
        exchanged: whose diagnosis each participant is given, [P, N].
        title: of the work, in messages.

    Returns:
        By name of ``PATTERNS`` the map [V] and the null of its largest absolute value, [P].
    """
    found = {}
    for name, make in _MAKERS.items():

        def made(labels: NDArray[np.bool_], make: Callable[..., Matrix] = make) -> Matrix:
            of_folds = [make(fold.weights, fold.codes, labels[fold.rows]) for fold in folds if fold.has_both(labels)]
            return np.mean(of_folds, axis=0) if of_folds else np.zeros(folds[0].weights.shape[1])

        permutations = followed(exchanged, len(exchanged), f"{title}, permutations of {name}")
        null = [float(np.abs(made(patient[rows])).max()) for rows in permutations]
        found[name] = (made(patient), np.array(null))
    return found


def distance_auc(
    folds: list[FoldCodes], patient: NDArray[np.bool_], exchanged: NDArray[np.int32]
) -> tuple[float, NDArray[np.float64]]:
    """How well the distance of a salient code from the training controls' mean separates patients from controls.

    It needs no probe, and finds patients who differ from controls in different directions.

    Args:
        folds: the codes of held-out participants.
        patient: of each participant, [N].
        exchanged: whose diagnosis each participant is given, [P, N].

    Returns:
        The area under the receiver operating characteristic, the mean over folds: 0.5 by chance; and its null, [P].
    """
    labels = patient[np.vstack([np.arange(len(patient)), exchanged])]
    of_folds = []
    for fold in folds:
        distance = np.linalg.norm(fold.codes - fold.centre, axis=1)
        auc = area_under_curve(labels[:, fold.rows].astype(int), distance)
        of_folds.append(np.where(fold.has_both(labels), auc, np.nan))
    auc = mean_of_known(np.array(of_folds))
    return float(auc[0]), auc[1:]


def write_patterns(config: Config, results: Results, method: str) -> None:
    """Writes both maps of a method's salient space and its leading directions, on held-out participants, and the table
    ``patterns``; of several diseases, the maps and the table of :mod:`sepclr_neuro.maps.diseases` too.

    Of a participant's scans the first counts. Diagnoses are exchanged within sites: ``p`` says how often the largest
    voxel is then at least as large, and ``voxels_beyond_chance`` counts voxels beyond the 95th percentile of that
    largest.

    Raises:
        InputError: if a model or a standardisation was learned from a participant whom its fold holds out.
    """
    cache, cohort = VolumeCache(results), load_cohort(results.cohort)
    people = cohort.drop_duplicates("participant_id").set_index("scan_id", drop=False)
    folds, brain = all_fold_codes(results, method, cache, people, f"patterns of {method}")
    patient = (people["group"] == "target").to_numpy()
    sites = people["site"].fillna("n/a").astype(str).to_numpy()
    rng = np.random.default_rng(seed_of(config.seed, 7))
    exchanged = permuted_rows(np.arange(len(patient)), sites, config.saliency.permutations, rng)
    held_out = people.iloc[np.unique(np.concatenate([fold.rows for fold in folds]))]
    counts = {"people": len(held_out), "permutations": len(exchanged)}
    both = pattern_maps(folds, patient, exchanged, f"patterns of {method}")
    found = {name: (values, judged(values, null)) for name, (values, null) in both.items()}
    found |= leading_directions(folds, patient, exchanged, f"patterns of {method}")
    titles = PATTERNS | direction_titles()
    truths = dict.fromkeys(found, true_map(config, results.truth, cache))
    if config.cohort.diseases:
        of_diseases, pairs = compare_diseases(config, folds, people)
        true_maps = true_disease_maps(config, results.truth, cache)
        found, titles, truths = found | of_diseases, titles | disease_titles(config.cohort.diseases), truths | true_maps
        write_tsv(results.patterns(method) / "diseases.tsv", with_true_correlations(pairs, true_maps, brain))
    rows = []
    for name, (values, figures) in found.items():
        image = np.zeros(cache.shape)
        image[brain] = values
        t_map = results.vbm / f"{t_map_of(name)}.nii.gz"
        of_map = counts | {"people": people_of_map(name, held_out)}
        rows.append({"map": name, **figures, **of_map, **_held_against(image, t_map, truths.get(name), brain)})
        title = picture_heading(config, config.for_method(method).title, titles[name], "salient space")
        subtitle = f"Held-out participants, mean over {len(folds)} folds. Not for clinical use."
        about = About(
            what=f"{titles[name]}: salient codes of held-out participants as grey matter, mean over folds"
            f"{'; its absolute value is the amplitude' if name in direction_titles() else ''}",
            statistic="pattern",
            unit=config.standardisation.entry.unit,
            target=t_map_of(name),
            people=of_map["people"],
            folds=len(folds),
            method=method,
            title=config.for_method(method).title,
            space="salient",
            correction="none; the largest voxel was tested by permutation (patterns.tsv)" if len(exchanged) else "",
        )
        with quick_images():
            write_map(results.patterns(method) / f"{name}.nii.gz", image, cache.affine, title, subtitle, about, config)
    write_tsv(results.patterns(method) / "patterns.tsv", pd.DataFrame(rows, columns=TABLE))
    auc, null = distance_auc(folds, patient, exchanged)
    distance = {"auc": auc, "p": permutation_p(auc, null) if len(null) else np.nan, **counts}
    write_tsv(results.patterns(method) / "distance.tsv", pd.DataFrame([distance]))
    write_fold_codes(results.fold_codes(method), folds, people.index)
    logger.info(f"patterns of {method}: distance from controls separates the groups with an AUC of {auc:.2f}")


def _held_against(image: Matrix, t_map: Path, truth: Matrix | None, brain: NDArray[np.bool_]) -> dict[str, float | str]:
    """How like a voxel-wise t-map it is, if there is one, how like the truth, and how much of it lies there."""
    found: dict[str, float | str] = {}
    if t_map.is_file():
        alike = similarity(image, nibabel.Nifti1Image.from_filename(t_map).get_fdata(), brain)
        found["spearman_with_t_map"] = alike["spearman_absolute"]
    if truth is not None and truth.any():  # diseases of the same regions have nothing that is specific
        found["r_with_truth"] = strength_correlation(image[brain], truth[brain])
        found |= localisation(image, truth != 0, brain)
    return found
