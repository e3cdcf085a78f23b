"""Estimators: scikit-learn's own checks, the same codes as the workflow's method, pipelines, files, networks, maps."""

from __future__ import annotations

import pickle
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from nilearn.maskers import NiftiMasker
from nilearn.masking import unmask
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from sepclr_neuro import GeneralizedContrastivePCA, RidgeDiscriminant, SepCLR, Volumes, contrastive_maps
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.images import quick_images
from tests.data.small_volumes import make_cohort, run

ESTIMATORS = [SepCLR(steps=3, random_state=0), RidgeDiscriminant(), GeneralizedContrastivePCA(salient_dim=2)]
NAMES = ["sepclr-linear", "ridge-discriminant", "gcpca"]


def people(count: int = 60, voxels: int = 80) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Volumes with a disease in the first ten voxels and an effect of age in the next ten."""
    rng = np.random.default_rng(0)
    y = np.array(["control", "patient"])[np.arange(count) % 2]
    table = pd.DataFrame({"age": rng.uniform(20, 60, count), "site": rng.choice(["a", "b"], count)})
    X = rng.normal(size=(count, voxels))
    X[y == "patient", :10] -= 1.5
    X[:, 10:20] -= 0.1 * table["age"].to_numpy()[:, None]
    return X, y, table


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=NAMES)
def test_scikit_learns_checks(estimator: BaseEstimator) -> None:
    """All of them: none is expected to fail."""
    check_estimator(estimator, on_skip=None)


@pytest.mark.parametrize(("estimator", "name"), list(zip(ESTIMATORS, NAMES, strict=True)), ids=NAMES)
def test_codes_are_those_of_the_workflows_method(estimator: BaseEstimator, name: str) -> None:
    X, y, table = people()
    model = clone(estimator)
    if name == "sepclr-linear":
        model.set_params(random_state=np.random.RandomState(3))
    model.fit(X, y, covariates=table)
    own = {"sepclr-linear": {"steps": 3}, "gcpca": {"salient_dim": 2}}.get(name, {})
    settings = METHODS[name].settings.model_validate(own)
    method = METHODS[name].load()(settings, Network(), (1, 8, 10))
    z = torch.from_numpy((X - X.mean(axis=0)) / X.std(axis=0)).float().reshape(-1, 1, 8, 10)
    a = torch.from_numpy(model.covariates_.code(table))
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    target = torch.from_numpy(y == "patient")
    method.fit(lambda rows, planes: z[list(rows)][:, :, planes], range(len(z)), target, a, seed)
    codes = method.represent(z, a.float())
    for space in ("common", "salient"):
        ours, theirs = model.transform(X, covariates=table, space=space), codes[space].numpy()
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-3 * np.square(ours).sum(axis=1).max())


def test_in_a_pipeline_the_diagnosis_is_predicted_from_the_salient_space() -> None:
    X, y, _ = people()
    salient = GeneralizedContrastivePCA(salient_dim=2).set_output(transform="pandas")
    pipeline = make_pipeline(salient, LogisticRegression())
    predicted = cross_val_predict(pipeline, X, y, cv=5)
    assert (predicted == y).mean() > 0.9
    pipeline.fit(X, y)
    assert list(pipeline[:-1].transform(X).columns) == ["salient0", "salient1"]


def test_patterns_show_the_disease_and_not_the_age() -> None:
    X, y, table = people(200)
    model = GeneralizedContrastivePCA(salient_dim=1).fit(X, y, covariates=table)
    pattern = np.abs(model.patterns()[0])
    assert pattern[:10].min() > 3 * pattern[10:].max()
    codes = model.transform(X, covariates=table)
    assert abs(np.corrcoef(codes[y == "control", 0], table["age"][y == "control"])[0, 1]) < 0.2


def test_with_a_nilearn_masker_patterns_become_images() -> None:
    rng = np.random.default_rng(0)
    mask = nibabel.nifti1.Nifti1Image(np.ones((4, 4, 4), dtype=np.uint8), np.eye(4))
    images = [nibabel.nifti1.Nifti1Image(rng.normal(size=(4, 4, 4)).astype(np.float32), np.eye(4)) for _ in range(12)]
    with quick_images():
        masker = NiftiMasker(mask).fit()
        X = np.vstack([masker.transform(image) for image in images])
    model = RidgeDiscriminant().fit(X, np.arange(12) % 2)
    assert unmask(model.patterns(), mask).shape == (4, 4, 4, 1)


def test_covariates_are_needed_for_all_participants() -> None:
    X, y, table = people()
    model = RidgeDiscriminant().fit(X, y, covariates=table)
    with pytest.raises(ValueError, match="covariates: the estimator was fitted with them"):
        model.transform(X)
    with pytest.raises(ValueError, match="a table of 60 rows with age, site is needed"):
        model.transform(X, covariates=table[:3])
    new_site = table.assign(site="c")
    assert np.isfinite(model.transform(X, covariates=new_site)).all()
    with pytest.raises(ValueError, match="no age"):
        model.transform(X, covariates=table.assign(age=np.nan))
    numbers = RidgeDiscriminant().fit(X, y, covariates=table["age"].to_numpy())
    assert numbers.transform(X, covariates=table["age"].to_numpy()).shape == (60, 1)


def test_one_group_is_refused() -> None:
    X, _, _ = people()
    with pytest.raises(ValueError, match="two groups"):
        RidgeDiscriminant().fit(X, np.zeros(len(X)))


GRID = np.diag([6.0, 6.0, 6.0, 1.0])


def volumes(count: int = 40, side: int = 8) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """The disease is in a cube of one corner; a plane of another corner is 0 in all participants."""
    X, y, table = people(count, side**3)
    X = X.reshape(count, side, side, side).astype(np.float32)
    X[:, :2] = np.random.default_rng(1).normal(size=X[:, :2].shape)
    X[y == "patient", :3, :3, :3] -= 2
    X[:, -1] = 0
    return X, y, table


def saved(X: np.ndarray, folder: Path) -> list[Path]:
    paths = [folder / f"sub-{row:02d}.nii.gz" for row in range(len(X))]
    for path, volume in zip(paths, X, strict=True):
        nibabel.save(nibabel.nifti1.Nifti1Image(volume, GRID), path)
    return paths


def test_volumes_files_and_images_give_the_same_result_as_the_matrix(tmp_path: Path) -> None:
    X, y, table = volumes()
    matrix = X.reshape(len(X), -1)
    expected = GeneralizedContrastivePCA(salient_dim=2).fit(matrix, y, covariates=table)
    paths = saved(X, tmp_path)
    images = [nibabel.nifti1.Nifti1Image.from_filename(path) for path in paths]
    together = nibabel.funcs.concat_images(images)
    for given in (X, paths, list(map(str, paths)), images, together, Volumes(paths), pd.Series(paths)):
        model = GeneralizedContrastivePCA(salient_dim=2).fit(given, y, covariates=table)
        for space in ("salient", "common"):
            codes = model.transform(given, covariates=table, space=space)
            np.testing.assert_allclose(codes, expected.transform(matrix, table, space), atol=1e-3)
        pattern = model.patterns()
        if given is X:
            assert pattern.shape == (2, 8, 8, 8)
            np.testing.assert_allclose(pattern.reshape(2, -1), expected.patterns(), atol=1e-4)
        else:
            flat = np.moveaxis(pattern.get_fdata(), -1, 0).reshape(2, -1)
            np.testing.assert_allclose(flat, expected.patterns(), atol=1e-4)
            assert pattern.shape == (8, 8, 8, 2)
            assert (pattern.affine == GRID).all()


def test_volumes_of_a_run_are_read_by_rows(tmp_path: Path) -> None:
    cache = VolumeCache(run(tmp_path, make_cohort(tmp_path)))
    X, y = Volumes(cache), np.array([0, 0, 1, 1])
    model = RidgeDiscriminant().fit(X, y)
    np.testing.assert_allclose(model.transform(cache)[[3, 1]], model.transform(X[[3, 1]]), atol=1e-6)
    assert (model.patterns().affine == cache.affine).all()


def test_voxels_outside_the_mask_are_ignored(tmp_path: Path) -> None:
    X, y, _ = volumes()
    mask = np.zeros(X.shape[1:], dtype=bool)
    mask[:3, :3, :3] = True
    model = RidgeDiscriminant().fit(Volumes(X, mask=mask), y)
    assert (model.patterns()[0][~mask] == 0).all()
    assert (model.patterns()[0][mask] != 0).all()
    with pytest.raises(ValueError, match="mask: has 3 x 8 x 8 voxels, the volumes have 8 x 8 x 8"):
        Volumes(X, mask=mask[:3])


def test_an_image_that_does_not_fit_is_named(tmp_path: Path) -> None:
    X, y, _ = volumes(6)
    paths = saved(X, tmp_path)
    moved = np.diag([6.0, 6.0, 3.0, 1.0])
    nibabel.save(nibabel.nifti1.Nifti1Image(X[3], moved), paths[3])
    with pytest.raises(ValueError, match=r"sub-03\.nii\.gz: has 8 x 8 x 8 voxels of 6 x 6 x 3 mm"):
        RidgeDiscriminant().fit(paths, y)
    X[3, 0, 0, 0] = np.nan
    saved(X, tmp_path)
    with pytest.raises(ValueError, match=r"sub-03\.nii\.gz: voxels are NaN"):
        RidgeDiscriminant().fit(paths, y)
    with pytest.raises(ValueError, match="X: voxels are NaN"):
        RidgeDiscriminant().fit(X, y)
    paths[3].unlink()
    with pytest.raises(ValueError, match=r"sub-03\.nii\.gz: cannot be read"):
        RidgeDiscriminant().fit(paths, y)
    fitted = RidgeDiscriminant().fit(X[:2].repeat(2, axis=0) + np.arange(4)[:, None, None, None], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="not on the grid of those fitted on"):
        fitted.transform(X[:, :4])


def test_covariates_are_routed_through_pipelines() -> None:
    X, y, table = volumes()
    with config_context(enable_metadata_routing=True):
        encoder = RidgeDiscriminant().set_fit_request(covariates=True).set_transform_request(covariates=True)
        pipeline = make_pipeline(encoder, LogisticRegression())
        assert cross_val_score(pipeline, X, y, cv=4, params={"covariates": table}).mean() > 0.9
        pipeline.fit(X, y, covariates=table)
        assert pipeline[0].covariates_.names == ["age", "site"]
        np.testing.assert_array_equal(pipeline.predict(X, covariates=table), pipeline.predict(X, covariates=table))
    assert RidgeDiscriminant().fit_transform(X, y, covariates=table).shape == (40, 1)


def test_covariates_go_with_volumes_where_routing_does_not_reach() -> None:
    """scikit-learn's ``cross_val_predict`` hands metadata to ``fit`` alone."""
    X, y, table = volumes()
    together = Volumes(X, covariates=table)
    pipeline = make_pipeline(RidgeDiscriminant(), LogisticRegression())
    assert (cross_val_predict(pipeline, together, y, cv=4) == y).mean() > 0.9
    apart, model = RidgeDiscriminant().fit(X, y, covariates=table), RidgeDiscriminant().fit(together, y)
    np.testing.assert_array_equal(model.transform(together[5:9]), apart.transform(X[5:9], covariates=table[5:9]))
    assert Volumes(X, covariates=np.arange(40))[[3, 1]].covariates.tolist() == [3, 1]
    with pytest.raises(ValueError, match="covariates: 39 rows for 40 participants"):
        Volumes(X, covariates=table[:39])


def test_a_network_learns_by_the_loop_of_the_workflow(tmp_path: Path) -> None:
    X, y, table = volumes(16, 16)
    before = torch.get_rng_state()
    model = SepCLR(encoder="light", salient_dim=2, common_dim=4, epochs=2, batch_size=8, random_state=0)
    paths = saved(X, tmp_path)
    model.fit(paths, y, covariates=table)
    assert torch.equal(torch.get_rng_state(), before)
    codes = model.transform(X, covariates=table)
    assert codes.shape == (16, 2)
    assert model.transform(X, covariates=table, space="common").shape == (16, 4)
    assert model.patterns().shape == (16, 16, 16, 2)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).transform(X, covariates=table), codes)
    np.testing.assert_allclose(
        clone(model).fit(X, y, covariates=table).transform(X, covariates=table), codes, atol=1e-4
    )
    with pytest.raises(ValueError, match="'light' needs volumes"):
        clone(model).fit(X.reshape(16, -1), y)
    with pytest.raises(ValueError, match=r"encoder\.name: "):
        clone(model).set_params(encoder="heavy").fit(X, y)


def test_maps_of_held_out_participants_show_the_disease() -> None:
    X, y, table = volumes(120)
    train, test = np.arange(60), np.arange(60, 120)
    model = GeneralizedContrastivePCA(salient_dim=2).fit(X[train], y[train], covariates=table.iloc[train])
    found = contrastive_maps(
        model, X[test], y[test], table.iloc[test], within=table["site"].iloc[test], permutations=99, random_state=0
    )
    ill = np.zeros((8, 8, 8), dtype=bool)
    ill[:3, :3, :3] = True
    for values in (found.mean_patient, found.beyond_controls, found.directions[0]):
        assert np.abs(values[ill]).mean() > 3 * np.abs(values[~ill]).mean()
    assert found.mean_patient[ill].max() < 0
    assert found.directions[0][ill].max() < 0
    assert [found.p[name] for name in ("mean-patient", "beyond-controls", "direction-1")] == [0.01] * 3
    assert len(found.p) == 2 + len(found.directions)
    assert found.auc > 0.9
    assert found.auc_p == 0.01
    shuffled = np.random.default_rng(0).permutation(y[test])
    by_chance = contrastive_maps(model, X[test], shuffled, table.iloc[test], permutations=99, random_state=0)
    assert min(*by_chance.p.values(), by_chance.auc_p) > 0.05
    with pytest.raises(ValueError, match="healthy is no group of those fitted on, control and patient"):
        contrastive_maps(model, X[test], ["healthy"] * 60, table.iloc[test])


def test_settings_that_cannot_be_are_named() -> None:
    X, y, _ = people()
    with pytest.raises(ValueError, match=r"GeneralizedContrastivePCA\.salient_dim"):
        GeneralizedContrastivePCA(salient_dim=0).fit(X, y)
