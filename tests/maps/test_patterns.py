"""Patterns: codes told as grey matter, where patients differ alike and where they differ in different directions."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, read_tsv, write_tsv
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.fold_codes import FoldCodes, forward_model
from sepclr_neuro.maps.patterns import beyond_controls, distance_auc, mean_patient, pattern_maps, write_patterns
from tests.small_run import small_run

RNG = np.random.default_rng(0)


def test_the_forward_model_is_least_squares_beside_covariates() -> None:
    codes, covariates, volumes = RNG.normal(size=(30, 3)), RNG.normal(size=(30, 2)), RNG.normal(size=(30, 50))
    chunks = (volumes[start : start + 8] for start in range(0, 30, 8))
    design = np.column_stack([np.ones(30), covariates, codes])
    expected = np.linalg.lstsq(design, volumes, rcond=None)[0][3:]
    np.testing.assert_allclose(forward_model(chunks, codes, covariates), expected, atol=1e-10)
    with pytest.raises(ValueError, match="30 participants have codes, 20 have volumes"):
        forward_model([volumes[:20]], codes, covariates)


def test_both_maps_are_their_equations_voxel_by_voxel() -> None:
    weights, codes, patient = RNG.normal(size=(3, 20)), RNG.normal(size=(40, 3)), np.arange(40) % 2 == 1
    codes[patient] *= [3, 1, 1]
    explained = codes @ weights  # [N, V]
    expected = explained[patient].mean(axis=0) - explained[~patient].mean(axis=0)
    np.testing.assert_allclose(mean_patient(weights, codes, patient), expected)
    about_controls = np.square(explained[patient] - explained[~patient].mean(axis=0)).mean(axis=0)
    more = about_controls - (1 + 1 / 20) * explained[~patient].var(axis=0, ddof=1)
    np.testing.assert_allclose(beyond_controls(weights, codes, patient), np.sqrt(np.maximum(more, 0)), atol=1e-10)


def folds_of(codes: np.ndarray, weights: np.ndarray) -> list[FoldCodes]:
    """Two folds of 60 people, whose encoders name dimensions in another order and sign."""
    folds = []
    for fold in range(2):
        rows = np.arange(fold, len(codes), 2)
        turn = np.array([[1.0, 0.0], [0.0, 1.0]]) if fold == 0 else np.array([[0.0, -1.0], [1.0, 0.0]])
        folds.append(FoldCodes(turn @ weights, codes[rows] @ turn.T, rows, np.zeros(2)))
    return folds


@pytest.mark.parametrize("kind", ["shift", "two signs", "nothing"])
def test_what_moves_patients_is_found_where_it_acts_and_nowhere_else(kind: str) -> None:
    rng = np.random.default_rng(1)
    codes, patient = rng.normal(size=(120, 2)), rng.permutation(np.arange(120) % 2 == 1)
    sign = rng.choice([-1, 1], size=120) if kind == "two signs" else 1
    codes[:, 0] += {"shift": 2, "two signs": 3, "nothing": 0}[kind] * patient * sign
    weights = np.zeros((2, 20))
    weights[0, :5], weights[1, 5:10] = 1, 1
    exchanged = np.stack([rng.permutation(120) for _ in range(199)])
    folds = folds_of(codes, weights)
    found = pattern_maps(folds, patient, exchanged)
    p = {name: (1 + (null >= np.abs(values).max()).sum()) / 200 for name, (values, null) in found.items()}
    auc, null = distance_auc(folds, patient, exchanged)
    beyond = found["beyond-controls"][0]
    if kind == "nothing":
        assert min(p.values()) > 0.05
        assert (null >= auc).mean() > 0.05
        return
    assert p["beyond-controls"] == 1 / 200
    assert beyond[:5].min() > 2 * beyond[5:].max()
    assert not beyond[10:].any()
    assert auc > 0.75
    assert (null < auc).all()
    # Groups have one mean where patients differ in sign.
    assert (p["mean-patient"] < 0.05) == (kind == "shift")


def test_a_fold_without_a_group_counts_in_no_mean() -> None:
    rng = np.random.default_rng(2)
    codes, patient = np.round(rng.normal(size=(60, 2)), 1), np.arange(60) % 4 > 1
    folds = folds_of(codes, rng.normal(size=(2, 20)))
    # Exchanges: any, then all patients of the first fold given to the second one.
    one_sided = np.empty(60, dtype=int)
    one_sided[folds[0].rows], one_sided[folds[1].rows] = np.flatnonzero(~patient), np.flatnonzero(patient)
    one_sided[[0, 1]] = one_sided[[1, 0]]  # one patient in the first fold, where two are needed
    spread = rng.permutation(60)
    exchanged = np.stack([spread, one_sided])
    auc, null = distance_auc(folds, patient, exchanged)
    distances = [np.linalg.norm(fold.codes, axis=1) for fold in folds]
    for given, found in ((patient, auc), (patient[spread], null[0])):
        of_folds = [roc_auc_score(given[fold.rows], d) for fold, d in zip(folds, distances, strict=True)]
        assert found == pytest.approx(np.mean(of_folds), abs=1e-12)
    assert np.isnan(null[1])
    maps = pattern_maps(folds, patient, np.stack([one_sided]))
    assert all(null.tolist() == [0.0] for _, null in maps.values())
    # One fold that has both groups is the mean of that fold alone.
    given = patient[one_sided].copy()
    given[folds[1].rows[:6]] = ~given[folds[1].rows[:6]]
    alone = mean_patient(folds[1].weights, folds[1].codes, given[folds[1].rows])
    np.testing.assert_allclose(pattern_maps(folds, given, np.empty((0, 60), dtype=int))["mean-patient"][0], alone)


def test_a_run_writes_maps_of_held_out_people_and_refuses_a_leak(tmp_path: Path) -> None:
    methods = {"sepclr-linear": {"salient_dim": 2, "steps": 20}}
    one_sd = {"intensity": "global"}
    config, results = small_run(
        tmp_path, people=40, methods=methods, saliency={"permutations": 19}, standardisation=one_sd
    )
    for fold in range(2):
        write_fold_model(config, results, "sepclr-linear", fold)
    write_representations(config, results, "sepclr-linear")
    write_patterns(config, results, "sepclr-linear")
    folder = results.patterns("sepclr-linear")
    table = read_tsv(folder / "patterns.tsv").set_index("map")
    assert list(table.index) == ["beyond-controls", "mean-patient", "direction-1", "direction-2"]
    assert {path.name for path in folder.glob("*.nii.gz")} == {f"{name}.nii.gz" for name in table.index}
    # A shift of all patients is the one direction beyond chance.
    assert table.loc["direction-1", "p"] == 0.05
    assert table.loc["direction-2", "p"] > 0.05
    assert table["share"].isna().tolist() == [True, True, False, False]
    assert (table["people"] == 40).all()
    # Patients have more grey matter in a cube; of 19 exchanges none finds as much.
    assert table.loc["mean-patient", "p"] == 0.05
    values = nibabel.Nifti1Image.from_filename(folder / "mean-patient.nii.gz").get_fdata()
    outside = np.ones(values.shape, dtype=bool)
    outside[8:20, 8:20, 8:20] = False
    assert values[~outside].mean() > 2 * np.abs(values[outside]).mean()
    direction = nibabel.Nifti1Image.from_filename(folder / "direction-1.nii.gz").get_fdata()
    assert np.corrcoef(direction.ravel(), values.ravel())[0, 1] > 0.9
    assert read_tsv(folder / "distance.tsv")["auc"].iloc[0] > 0.8
    for name in ("mean-patient", "direction-1"):
        assert read_json(folder / f"{name}.json")["Units"] == "SD of grey matter over all voxels"
    said = read_json(folder / "direction-1.json")["Description"]
    assert said.startswith("Direction 1 among patients: ")
    assert said.endswith("its absolute value is the amplitude.")

    path = results.representations("sepclr-linear", 0)
    swapped = read_tsv(path, text=("scan_id", "side"))
    write_tsv(path, swapped.assign(side=swapped["side"].map({"train": "test", "test": "train"})))
    with pytest.raises(InputError, match=r"leak: .* calls .* held-out, but the encoder was trained on that scan"):
        write_patterns(config, results, "sepclr-linear")
