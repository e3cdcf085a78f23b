"""Estimators: scikit-learn's own checks, the same codes as the workflow's method, pipelines and nilearn's maskers."""

from __future__ import annotations

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from nilearn.maskers import NiftiMasker
from nilearn.masking import unmask
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from sepclr_neuro import GeneralizedContrastivePCA, RidgeDiscriminant, SepCLR
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS

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
    masker = NiftiMasker(mask).fit()
    X = np.vstack([masker.transform(image) for image in images])
    model = RidgeDiscriminant().fit(X, np.arange(12) % 2)
    assert unmask(model.patterns(), mask).shape == (4, 4, 4, 1)


def test_covariates_are_needed_of_everybody() -> None:
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
