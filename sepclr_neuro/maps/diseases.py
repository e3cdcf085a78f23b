r"""Several diseases in one salient space: the map of each, what is specific to it, and what two of them share.

The map of a disease is the mean patient of :mod:`sepclr_neuro.maps.patterns`, of that disease alone: the forward model
W, learned from training participants, turns the difference of held-out patients' and controls' mean codes into grey
matter, the mean over folds. Every claim has a null of its own, by exchanges within sites among the participants whom it
is about, everybody else left as they are:

- *map of a disease*: its patients and the controls exchange places; the largest voxel is compared.
- *specific*: the disease minus the other patients; patients alone exchange their diseases. Of two diseases the first
  alone is asked: the other way round it is the same question.
- *shared*, two diseases: the correlation over voxels of their maps, each held against another half of the controls,
  since the same controls would make any two maps alike. Patients of both and controls exchange places: what two samples
  without any disease would share in this space. Where a space has few dimensions, such maps are often alike by chance,
  and the null is as wide as that.
- *different*: the same correlation, whether it is lower than where the two diseases' patients exchange places: maps of
  one and the same disease would correlate as much.
- *shared by all*: in each voxel the smallest absolute value of all diseases' maps where they agree in sign, else 0; its
  p is the largest of the diseases' own, corrected over the brain (the conjunction null).

Source: Nichols et al., NeuroImage 2005, https://doi.org/10.1016/j.neuroimage.2004.12.005, for the conjunction; the
correlation of maps against halves of the controls is a choice of this project.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro.config.cohort import AMONG_PATIENTS, among_patients
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.statistics import permutation_p, permuted_rows
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.maps.fold_codes import FoldCodes, Matrix, judged, mean_difference
from sepclr_neuro.maps.mapping import true_region

__all__ = [
    "PAIRS",
    "compare_diseases",
    "contrast_map",
    "disease_maps",
    "disease_titles",
    "map_products",
    "pairs_of_diseases",
    "people_of_map",
    "shared_by_all",
    "sharing",
    "t_map_of",
    "true_disease_maps",
    "with_true_correlations",
]

PAIRS = [
    *("disease", "other", "correlation", "null95", "p_shared", "null5", "p_different"),
    *("true_correlation", "people", "controls", "permutations"),
]
HALVINGS = 10
"""Random halvings of the controls over which a correlation is averaged."""
_NOBODY = -1


def contrast_map(folds: Sequence[FoldCodes], labels: NDArray[np.int64], one: int, other: int) -> Matrix:
    """Difference of mean codes of two kinds of held-out participants as grey matter, the mean over folds: [V].

    Args:
        folds: of each fold W and the codes of its held-out participants.
        labels: the kind of each participant, [N].
        one: a kind.
        other: the kind that is subtracted. Folds that lack a kind count in no mean.
    """
    found = []
    for fold in folds:
        of_fold = labels[fold.rows]
        ones, others = of_fold == one, of_fold == other
        if ones.any() and others.any():
            found.append(mean_difference(fold.weights, fold.codes, ones, others))
    return np.mean(found, axis=0) if found else np.zeros(folds[0].weights.shape[1])


def _exchanged(
    labels: NDArray[np.int64], kinds: Sequence[int], sites: NDArray[Any], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels [count, N] where participants of these kinds exchange theirs within sites; those of others stay."""
    members = np.flatnonzero(np.isin(labels, kinds))
    permuted = np.tile(labels, (count, 1))
    permuted[:, members] = labels[members][permuted_rows(members, sites[members], count, rng)]
    return permuted


def disease_maps(
    folds: Sequence[FoldCodes],
    disease: NDArray[np.int64],
    names: Sequence[str],
    sites: NDArray[Any],
    permutations: int,
    rng: np.random.Generator,
) -> dict[str, tuple[Matrix, NDArray[np.float64]]]:
    """The map of each disease, ``disease-<name>``, and of each against the other patients, ``specific-<name>``.

    Args:
        folds: of each fold W [d, V] and the codes of its held-out participants.
        disease: the number of each participant's disease in ``names``, -1 of controls, [N].
        names: of the diseases.
        sites: of each participant, [N].
        permutations: of each null.
        rng: of the permutations.

    Returns:
        By name the map [V] and the null of its largest absolute value, [P].
    """
    found = {}
    for number, name in enumerate(names):
        exchanged = _exchanged(disease, (number, _NOBODY), sites, permutations, rng)
        null = [float(np.abs(contrast_map(folds, labels, number, _NOBODY)).max()) for labels in exchanged]
        found[f"disease-{name}"] = (contrast_map(folds, disease, number, _NOBODY), np.array(null))
    for name in among_patients(names):
        number = names.index(name)
        # 1 of the disease, 0 of other patients, -1 of controls.
        kinds = np.where(disease == _NOBODY, _NOBODY, disease == number)
        exchanged = _exchanged(kinds, (0, 1), sites, permutations, rng)
        null = [float(np.abs(contrast_map(folds, labels, 1, 0)).max()) for labels in exchanged]
        found[f"specific-{name}"] = (contrast_map(folds, kinds, 1, 0), np.array(null))
    return found


def shared_by_all(maps: Mapping[str, tuple[Matrix, NDArray[np.float64]]]) -> tuple[Matrix, dict[str, float]]:
    """What all diseases' maps share, and how it is judged.

    Args:
        maps: of the diseases, with the nulls of their largest voxels, all of as many permutations.

    Returns:
        The smallest absolute value where all maps agree in sign, with that sign, [V]; ``largest``, ``p`` and the
        ``voxels_beyond_chance``, in which each disease's map is beyond the 95th percentile of its own null.
    """
    stacked = np.stack([values for values, _ in maps.values()])
    agree = np.abs(np.sign(stacked).sum(axis=0)) == len(stacked)
    shared = np.where(agree, np.sign(stacked[0]) * np.abs(stacked).min(axis=0), 0.0)
    nulls = [np.sort(null) for _, null in maps.values()]
    if not len(nulls[0]):
        return shared, {"largest": float(np.abs(shared).max())}
    # In each voxel how many permutations' largest voxel is at least as large; the worst of the diseases counts.
    reached = [
        len(null) - np.searchsorted(null, (1 - 1e-12) * np.abs(values))
        for (values, _), null in zip(maps.values(), nulls, strict=True)
    ]
    p = np.where(agree, (np.max(reached, axis=0) + 1) / (len(nulls[0]) + 1), 1.0)
    limits = np.array([np.quantile(null, 0.95, method="higher") for null in nulls])
    beyond = int((agree & (np.abs(stacked) > limits[:, None]).all(axis=0)).sum())
    return shared, {"largest": float(np.abs(shared).max()), "p": float(p.min()), "voxels_beyond_chance": beyond}


def map_products(folds: Sequence[FoldCodes]) -> Matrix:
    """Products over voxels of all folds' centred maps of a code, [D, D], D codes of all folds together: by them, maps
    that are sums of these correlate without being made."""
    weights = np.vstack([fold.weights - fold.weights.mean(axis=1, keepdims=True) for fold in folds])
    return weights @ weights.T


def sharing(
    folds: Sequence[FoldCodes],
    products: Matrix,
    labels: NDArray[np.int64],
    halves: NDArray[np.bool_],
    one: int,
    other: int,
) -> float:
    """Correlation over voxels of two diseases' maps, each against another half of the controls.

    Args:
        folds: of each fold the codes of its held-out participants.
        products: of :func:`map_products`.
        labels: disease of each participant, -1 of controls, [N].
        halves: which half each participant is in as a control, one row a halving, [H, N].
        one: a disease.
        other: another one.

    Returns:
        The mean over halvings, in each of which either half stands beside either disease; NaN where no fold has both
        diseases and controls in both halves.
    """
    first = np.concatenate([halves, ~halves])
    a: list[Matrix] = []
    b: list[Matrix] = []
    for fold in folds:
        of_fold = labels[fold.rows]
        controls = of_fold == _NOBODY
        sides = [controls & first[:, fold.rows], controls & ~first[:, fold.rows]]
        counts = [side.sum(axis=1, keepdims=True) for side in sides]
        patients = [of_fold == one, of_fold == other]
        # A fold that lacks one of the four counts in no map.
        known = (counts[0] > 0) & (counts[1] > 0) & all(group.any() for group in patients)
        for into, group, side, count in zip((a, b), patients, sides, counts, strict=True):
            mean = group @ fold.codes / max(1, group.sum())
            into.append((mean - side @ fold.codes / np.maximum(count, 1)) * known)
    x, y = np.hstack(a), np.hstack(b)
    size = np.sqrt(np.einsum("hd,de,he->h", x, products, x) * np.einsum("hd,de,he->h", y, products, y))
    found = np.einsum("hd,de,he->h", x, products, y)[size > 0] / size[size > 0]
    return float(found.mean()) if len(found) else float("nan")


def pairs_of_diseases(
    folds: Sequence[FoldCodes],
    disease: NDArray[np.int64],
    names: Sequence[str],
    sites: NDArray[Any],
    permutations: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """What every two diseases share and how they differ, as :data:`PAIRS`; arguments as of :func:`disease_maps`.

    ``p_shared``: how often samples without a disease correlate as much; ``p_different``: how often patients of two
    diseases who exchange places correlate as little. ``null95`` and ``null5`` are the 95th and 5th percentile of these
    nulls.
    """
    held_out = np.zeros(len(disease), dtype=bool)
    held_out[np.concatenate([fold.rows for fold in folds])] = True
    halves = np.stack([rng.permutation(np.arange(len(disease)) % 2 == 0) for _ in range(HALVINGS)])
    products = map_products(folds)
    rows = []
    for one, other in combinations(range(len(names)), 2):
        observed, nulls = sharing(folds, products, disease, halves, one, other), {}
        for claim, kinds in (("shared", (one, other, _NOBODY)), ("different", (one, other))):
            exchanged = _exchanged(disease, kinds, sites, permutations, rng)
            nulls[claim] = np.array([sharing(folds, products, labels, halves, one, other) for labels in exchanged])
        rows.append(
            {
                "disease": names[one],
                "other": names[other],
                "correlation": observed,
                "null95": _quantile(nulls["shared"], 0.95),
                "p_shared": permutation_p(observed, nulls["shared"]),
                "null5": _quantile(nulls["different"], 0.05),
                "p_different": permutation_p(observed, nulls["different"], higher_is_better=False),
                "people": int((np.isin(disease, (one, other)) & held_out).sum()),
                "controls": int(((disease == _NOBODY) & held_out).sum()),
                "permutations": permutations,
            }
        )
    return pd.DataFrame(rows)


def _quantile(null: NDArray[np.float64], share: float) -> float:
    known = null[~np.isnan(null)]
    return float(np.quantile(known, share)) if len(known) else float("nan")


def compare_diseases(
    config: Config, folds: Sequence[FoldCodes], people: pd.DataFrame
) -> tuple[dict[str, tuple[Matrix, dict[str, float]]], pd.DataFrame]:
    """All maps of diseases by name, each with its figures, and the table of pairs.

    Args:
        config: of the run; its cohort has several diseases.
        folds: of each fold W and the codes of its held-out participants.
        people: rows of ``cohort.tsv``, one a participant.
    """
    names = list(config.cohort.diseases)
    numbers = dict(zip(names, range(len(names)), strict=True))
    disease = np.array([numbers.get(name, _NOBODY) for name in people["disease"]], dtype=np.int64)
    sites = people["site"].fillna("n/a").astype(str).to_numpy()
    permutations, rng = config.saliency.permutations, np.random.default_rng(seed_of(config.seed, 11))
    maps = disease_maps(folds, disease, names, sites, permutations, rng)
    found = {name: (values, judged(values, null)) for name, (values, null) in maps.items()}
    found["shared"] = shared_by_all({name: maps[f"disease-{name}"] for name in names})
    return found, pairs_of_diseases(folds, disease, names, sites, permutations, rng)


def disease_titles(diseases: Collection[str]) -> dict[str, str]:
    """What readers call the maps."""
    titles = {f"disease-{name}": f"Mean patient with {name}" for name in diseases}
    titles |= {f"specific-{name}": f"{name} minus the other patients" for name in among_patients(diseases)}
    return titles | {"shared": "Shared by all diseases"}


def t_map_of(name: str) -> str:
    """The target of the voxel-wise t-map that a map of :mod:`sepclr_neuro.maps.patterns` is compared with."""
    kind, _, disease = name.partition("-")
    if not disease or kind not in ("disease", "specific"):
        return "diagnosis"
    return disease if kind == "disease" else f"{disease}{AMONG_PATIENTS}"


def people_of_map(name: str, people: pd.DataFrame) -> int:
    """How many of these participants a map shows: with one disease and controls, all patients, or all.

    Args:
        name: of the map, as in ``patterns.tsv``.
        people: ``group``, and ``disease`` where there are several.
    """
    kind, _, disease = name.partition("-")
    if kind == "specific":
        return int((people["group"] == "target").sum())
    if kind == "disease":
        return int(((people["group"] == "background") | (people["disease"] == disease)).sum())
    return len(people)


def true_disease_maps(config: Config, truth: Path, cache: VolumeCache) -> dict[str, Matrix]:
    """The truth of each map of :func:`compare_diseases`, [X, Y, Z]; empty where it is not known.

    Raises:
        InputError: if ground truth and volumes lie on different grids.
    """
    if true_region(config, truth, "diagnosis", cache) is None:
        return {}
    of_disease: dict[str, Matrix] = {
        name: np.asarray(nibabel.Nifti1Image.from_filename(truth / f"disease_{name}.nii.gz").get_fdata())
        for name in config.cohort.diseases
    }
    found: dict[str, Matrix] = {f"disease-{name}": values for name, values in of_disease.items()}
    for name in among_patients(of_disease):
        others = [other for key, other in of_disease.items() if key != name]
        found[f"specific-{name}"] = np.asarray(of_disease[name] - np.mean(others, axis=0))
    no_null = np.empty(0)
    shared, _ = shared_by_all({name: (values.ravel(), no_null) for name, values in of_disease.items()})
    return found | {"shared": shared.reshape(cache.shape)}


def with_true_correlations(pairs: pd.DataFrame, truths: Mapping[str, Matrix], brain: NDArray[np.bool_]) -> pd.DataFrame:
    """The table of pairs with the correlation of their true maps over the brain, where these are known."""
    if not truths:
        return pairs.assign(true_correlation=np.nan)[PAIRS]
    maps = {name.removeprefix("disease-"): values[brain] for name, values in truths.items()}
    pairs_of_maps = zip(pairs["disease"].map(maps), pairs["other"].map(maps), strict=True)
    return pairs.assign(true_correlation=[np.corrcoef(*both)[0, 1] for both in pairs_of_maps])[PAIRS]
