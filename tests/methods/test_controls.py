"""Closed forms against scikit-learn and plain eigenvectors, in bounded memory; SimCLR's loss against its equation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as ReferencePCA  # noqa: N811
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.config.methods.controls import CPCASettings, PCASettings, VoxelLinearSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.methods import base
from sepclr_neuro.methods.base import ClosedFormMethod
from sepclr_neuro.methods.controls import PCA, ContrastivePCA, VoxelLinear
from sepclr_neuro.methods.losses import info_nce
from sepclr_neuro.methods.span import equal_variance_rotation
from tests.oracles import linear as oracle

SHAPE = (1, 4, 5, 6)
TARGET = torch.tensor([False, True] * 10)


@pytest.fixture
def volumes() -> torch.Tensor:
    x = torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(0))
    x[TARGET, :, 2:] *= 2
    x[:, :, 0] = 0  # outside the mask
    return x + (torch.arange(SHAPE[2])[:, None] > 0)


def fitted(method: ClosedFormMethod, volumes: torch.Tensor) -> ClosedFormMethod:
    method.fit(lambda rows, planes: volumes[list(rows)][:, :, planes], range(len(volumes)), TARGET)
    return method


def test_pca_is_scikit_learns(volumes: torch.Tensor) -> None:
    method = fitted(PCA(PCASettings(dim=4), Network(), SHAPE), volumes)
    ours = method.represent(volumes)["single"].numpy()
    theirs = ReferencePCA(4).fit_transform(volumes.flatten(1).double().numpy())
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(0)), theirs, atol=1e-4)
    other = torch.randn(2, *SHAPE)
    assert method.represent(other)["single"].shape == (2, 4)


@pytest.mark.parametrize("contrast", [0.0, 1.0, 3.0])
def test_contrastive_pca_is_the_eigenvectors_of_the_difference(volumes: torch.Tensor, contrast: float) -> None:
    method = fitted(
        ContrastivePCA(CPCASettings(salient_dim=3, common_dim=2, erase=False, contrast=contrast), Network(), SHAPE),
        volumes,
    )
    x = volumes.flatten(1).double().numpy()
    covariance = {side: np.cov(x[TARGET.numpy() == side].T, bias=True) for side in (False, True)}
    for space, matrix in (("salient", covariance[True] - contrast * covariance[False]), ("common", covariance[False])):
        expected = np.linalg.eigh(matrix)[1][:, ::-1]
        directions = np.zeros((len(getattr(method, f"{space}_directions")), x.shape[1]))
        directions[:, method.voxels.numpy()] = getattr(method, f"{space}_directions").numpy()
        likeness = np.abs(directions @ expected[:, : len(directions)])
        np.testing.assert_allclose(likeness, np.eye(len(directions)), atol=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 100.0])
def test_a_probe_of_voxel_linear_is_the_voxel_wise_model(volumes: torch.Tensor, alpha: float) -> None:
    """As probes are made: dimensions scaled to variance 1, then ridge."""
    method = fitted(VoxelLinear(VoxelLinearSettings(), Network(), SHAPE), volumes)
    new = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))
    y = np.random.default_rng(0).normal(size=20)
    scores = method.represent(volumes)["single"].numpy().astype(float)
    scaler = StandardScaler().fit(scores)
    np.testing.assert_allclose(scaler.scale_, scaler.scale_.mean(), rtol=1e-4)
    ours = Ridge(alpha).fit(scaler.transform(scores), y)
    plain = Ridge(alpha * scaler.var_.mean()).fit(volumes.flatten(1).double().numpy(), y)
    np.testing.assert_allclose(
        ours.predict(scaler.transform(method.represent(new)["single"].numpy().astype(float))),
        plain.predict(new.flatten(1).double().numpy()),
        atol=1e-4,
    )


def test_a_rotation_to_equal_variances_is_a_rotation() -> None:
    variances = np.random.default_rng(0).gamma(0.3, size=40)
    rotation = equal_variance_rotation(variances)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(40), atol=1e-12)
    np.testing.assert_allclose(np.diag(rotation @ np.diag(variances) @ rotation.T), variances.mean(), rtol=1e-10)


@pytest.mark.parametrize(("planes_at_once", "reads"), [(0, 4), (1, 4), (3, 2), (100, 1)])
def test_a_few_planes_are_read_at_once_and_it_does_not_matter_how_many(
    volumes: torch.Tensor, planes_at_once: int, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = fitted(PCA(PCASettings(dim=3), Network(), SHAPE), volumes)
    monkeypatch.setattr(base, "VOXELS_AT_ONCE", planes_at_once * 20 * 5 * 6)
    read_voxels = []

    def read(rows: Sequence[int], planes: slice) -> torch.Tensor:
        part = volumes[list(rows)][:, :, planes]
        read_voxels.append(part.numel())
        return part

    method = PCA(PCASettings(dim=3), Network(), SHAPE)
    figures = method.fit(read, range(20), TARGET)
    assert len(read_voxels) == 2 * reads
    assert sum(read_voxels) == 2 * volumes.numel()  # for any number of participants
    torch.testing.assert_close(method.single_directions, reference.single_directions, atol=1e-5, rtol=1e-4)
    kept = ReferencePCA(3).fit(volumes.flatten(1).numpy()).explained_variance_ratio_.sum()
    assert figures["loss"] == pytest.approx(1 - kept, abs=1e-5)


def test_contrastive_pca_of_adjusted_volumes(volumes: torch.Tensor) -> None:
    """Its salient space is that of volumes that were adjusted beforehand, its common one of volumes as they are."""
    covariates = torch.linspace(-1, 1, 20)[torch.randperm(20, generator=torch.Generator().manual_seed(0))][:, None]
    z = (volumes + 3 * covariates[:, :, None, None, None]).flatten(1).double().numpy()
    adjusted = oracle.adjusted(z, TARGET.numpy(), covariates.numpy(), z, covariates.numpy())
    settings = CPCASettings(salient_dim=3, common_dim=2, erase=False)
    methods = []
    for values, given in ((z, covariates), (adjusted, None), (z, None)):
        x = torch.from_numpy(values).float().reshape(volumes.shape)
        method = ContrastivePCA(settings, Network(), SHAPE)
        method.fit(lambda rows, planes, x=x: x[list(rows)][:, :, planes], range(20), TARGET, given)
        methods.append(method.represent(x, given))
    ours, beforehand, plain = methods
    torch.testing.assert_close(ours["salient"], beforehand["salient"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours["common"], plain["common"], atol=1e-3, rtol=1e-3)


def test_voxels_that_are_0_in_all_participants_are_not_stored(volumes: torch.Tensor) -> None:
    masked = volumes.clone()
    masked[..., :2] = 0
    method = fitted(PCA(PCASettings(dim=3), Network(), SHAPE), masked)
    assert method.single_directions.shape == (3, int((masked != 0).any(dim=0).sum()))


def test_no_more_components_than_participants_span(volumes: torch.Tensor) -> None:
    method = fitted(PCA(PCASettings(dim=100), Network(), SHAPE), volumes)
    assert method.represent(volumes)["single"].shape == (20, 19)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_info_nce_equals_its_equation(n: int, tau: float) -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, n, 3))
    z = views.reshape(2 * n, 3) / np.linalg.norm(views.reshape(2 * n, 3), axis=1, keepdims=True)
    total = 0.0
    for i in range(2 * n):
        others = sum(np.exp(z[i] @ z[j] / tau) for j in range(2 * n) if j != i)
        total -= np.log(np.exp(z[i] @ z[(i + n) % (2 * n)] / tau) / others)
    ours = info_nce(torch.tensor(views[0]), torch.tensor(views[1]), tau)
    assert ours.item() == pytest.approx(total / (2 * n), rel=1e-10, abs=1e-12)
