"""Adjusted input, erasure and linear contrastive methods, against voxel-wise algebra without a Gram matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.methods import linear, span
from sepclr_neuro.methods.adjustment import covariate_weights
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.methods.erasure import erasing_weights
from sepclr_neuro.methods.linear import TwoLinearSpaces
from sepclr_neuro.methods.sepclr import Heads
from sepclr_neuro.methods.span import TrainingSet, stratified_folds
from tests.oracles import linear as oracle
from tests.oracles.sepclr import attribute_term

SHAPE = (1, 4, 5, 6)
ADJUSTED_WITHIN_GROUPS = ["sepclr-linear", "ridge-discriminant", "gcpca", "clvm"]
TWO_SPACES = [*ADJUSTED_WITHIN_GROUPS, "normative"]


class People:
    """Simulated volumes: age, a site and the patients' disease change one pattern each; patients are older."""

    def __init__(self, count: int = 40) -> None:
        rng = np.random.default_rng(0)
        self.target = np.arange(2 * count) % 2 == 1
        age = rng.normal(size=2 * count) + self.target
        self.covariates = np.column_stack([age, rng.integers(0, 2, 2 * count)])
        self.covariates = self.covariates - self.covariates[:count].mean(axis=0)
        patterns = rng.normal(size=(3, 4 * 5 * 6))
        of_factors = self.covariates @ patterns[:2] * 3 + np.outer(
            self.target * rng.normal(1, 0.1, 2 * count), patterns[2]
        )
        self.x = of_factors + rng.normal(size=(2 * count, 4 * 5 * 6))
        self.x -= self.x[:count].mean(axis=0)
        self.train, self.held_out = slice(0, count), slice(count, 2 * count)

    def adjusted(self, some: slice) -> NDArray[np.float64]:
        t = self.train
        return oracle.adjusted(self.x[t], self.target[t], self.covariates[t], self.x[some], self.covariates[some])


@pytest.fixture
def people() -> People:
    return People()


def fitted(people: People, name: str, **settings: object) -> TwoLinearSpaces:
    return fitted_with_figures(people, name, **settings)[0]


def fitted_with_figures(people: People, name: str, **settings: object) -> tuple[TwoLinearSpaces, dict[str, float]]:
    method = METHODS[name].load()(METHODS[name].settings.model_validate(settings), Network(), SHAPE)
    x = torch.from_numpy(people.x).float().unflatten(1, SHAPE)
    rows = list(range(people.train.stop))
    covariates = torch.from_numpy(people.covariates[people.train])
    figures = method.fit(
        lambda some, planes: x[list(some)][:, :, planes],
        rows,
        torch.from_numpy(people.target[people.train]),
        covariates,
    )
    return method, figures


def represented(method: TwoLinearSpaces, people: People, some: slice) -> dict[str, NDArray[np.float64]]:
    volumes = torch.from_numpy(people.x[some]).float().unflatten(1, SHAPE)
    with torch.no_grad():
        found = method.represent(volumes, torch.from_numpy(people.covariates[some]).float())
    return {space: values.double().numpy() for space, values in found.items()}


def test_effects_of_covariates_are_those_within_groups(people: People) -> None:
    t = people.train
    effects = covariate_weights(people.covariates[t], people.target[t]) @ people.x[t]
    np.testing.assert_allclose(people.x[t] - people.covariates[t] @ effects, people.adjusted(t), atol=1e-9)


def test_collinear_covariates_and_none_at_all() -> None:
    age = np.array([-1.0, 0.0, 1.0, 0.0])
    target = np.array([False, True, False, True])
    twice = covariate_weights(np.column_stack([age, age]), target)
    np.testing.assert_allclose(twice.sum(axis=0), covariate_weights(age[:, None], target)[0], atol=1e-12)
    assert covariate_weights(np.zeros((4, 0)), target).shape == (0, 4)
    np.testing.assert_allclose(covariate_weights(age[:, None], np.zeros(4, dtype=bool)) @ age, [1.0])


def test_what_is_erased_cannot_be_predicted_linearly() -> None:
    rng = np.random.default_rng(1)
    salient, common = rng.normal(size=(50, 3)) + 2, rng.normal(size=(50, 6))
    common[:, :2] += salient[:, :2]
    e = erasing_weights(common, salient)
    new = rng.normal(size=(2, 9))
    np.testing.assert_allclose(
        new[:, :6] - (new[:, 6:] - salient.mean(axis=0)) @ e.T,
        oracle.erased(common, salient, new[:, :6], new[:, 6:]),
        atol=1e-9,
    )
    left = common - salient @ e.T
    np.testing.assert_allclose(np.corrcoef(left.T, salient.T)[:6, 6:], 0, atol=1e-9)
    assert not erasing_weights(common, np.ones((50, 1))).any()


@pytest.mark.parametrize("count", [8, 24, 40, 64])
def test_many_codes_of_few_participants_do_not_erase_the_common_space_of_others(count: int) -> None:
    rng = np.random.default_rng(3)
    scale = np.geomspace(3, 0.1, 32)
    salient, common = rng.normal(size=(count, 32)) * scale, rng.normal(size=(count, 6))
    common[:, 0] += salient[:, 0]
    new_salient, new_common = rng.normal(size=(500, 32)) * scale, rng.normal(size=(500, 6))
    e = erasing_weights(common, salient)
    assert (new_common[:, 1:] - new_salient @ e[1:].T).std() < 1.5, "noise is put into the common space"
    assert (common[:, 1:] - salient @ e[1:].T).std() > 0.7, "the common factors are gone"
    left = new_common[:, 0] + new_salient[:, 0] - new_salient @ e[0]
    assert (
        abs(np.corrcoef(left, new_salient[:, 0])[0, 1])
        < 0.6
        < np.corrcoef(new_common[:, 0] + new_salient[:, 0], new_salient[:, 0])[0, 1]
    )


@pytest.mark.parametrize("name", ADJUSTED_WITHIN_GROUPS)
def test_held_out_salient_codes_are_linear_in_the_adjusted_volume(people: People, name: str) -> None:
    """They hold no effect of covariates, although these have large effects on the training volumes."""
    method = fitted(people, name)
    directions = np.zeros((len(method.salient_directions), 4 * 5 * 6))
    directions[:, method.voxels.numpy()] = method.salient_directions.double().numpy()
    expected = people.adjusted(people.held_out) @ directions.T
    controls = ~people.target[people.train]
    expected -= (people.adjusted(people.train)[controls] @ directions.T).mean(axis=0)
    found = represented(method, people, people.held_out)["salient"]
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", TWO_SPACES)
def test_the_common_space_holds_all_but_the_salient_codes(people: People, name: str) -> None:
    method = fitted(people, name)
    codes = represented(method, people, people.train)
    common, salient = (values - values.mean(axis=0) for values in (codes["common"], codes["salient"]))
    directions = np.zeros((common.shape[1], 4 * 5 * 6))
    directions[:, method.voxels.numpy()] = method.common_directions.double().numpy()
    of_adjusted = people.adjusted(people.train) @ directions.T
    of_adjusted -= of_adjusted.mean(axis=0)
    if name in ADJUSTED_WITHIN_GROUPS:  # the other is adjusted by its controls' effects
        assert np.abs(of_adjusted.T @ salient).max() < 1e-4 * np.linalg.norm(of_adjusted) * np.linalg.norm(salient)
    # With the codes themselves it is all that was there, but for a rotation.
    both = np.column_stack([common, salient])
    volumes = people.x[people.train] - people.x[people.train].mean(axis=0)
    left = volumes - both @ np.linalg.lstsq(both, volumes, rcond=None)[0]
    assert np.square(left).sum() < 1e-4 * np.square(volumes).sum()
    variances = common.var(axis=0)
    assert variances.max() / variances.min() < 1.05, "a probe that standardises would change its penalty"


@pytest.mark.parametrize("name", [*TWO_SPACES, "cpca"])
def test_the_common_space_is_of_the_volumes_alone(people: People, name: str) -> None:
    """A probe must not read from it the age, sex or site that the table gave for the adjustment."""
    method = fitted(people, name)
    found = represented(method, people, people.held_out)
    people.covariates = people.covariates[::-1].copy()
    exchanged = represented(method, people, people.held_out)
    np.testing.assert_array_equal(exchanged["common"], found["common"])
    assert not np.allclose(exchanged["salient"], found["salient"], atol=1e-3)


def test_erasing_has_bounds_where_patients_are_older_and_ageing_looks_like_the_disease() -> None:
    """Otherwise one axis, of the disease, would drown all others in the common space."""
    rng, count = np.random.default_rng(4), 120
    target = np.arange(count) % 2 == 1
    age = rng.normal(size=count) - target
    volumes = rng.normal(size=(count, 60))
    volumes[:, 0] += target + age
    training = TrainingSet(volumes, target, (age - age.mean())[:, None], seed=0)
    common = training.unadjusted(np.eye(60))
    erased = training.erased(common, training.adjusted(np.eye(60)[:1]))
    assert np.linalg.norm(erased.weights, 2) < 1.5
    np.testing.assert_allclose(erased.weights[0], 0, atol=1e-9, err_msg="the salient code is left in the common space")


def test_without_erasure_the_common_space_is_all_components(people: People) -> None:
    common = represented(fitted(people, "ridge-discriminant", erase=False), people, people.train)["common"]
    volumes = people.x[people.train] - people.x[people.train].mean(axis=0)
    np.testing.assert_allclose(common @ common.T, volumes @ volumes.T, atol=1e-3 * np.square(volumes).sum(axis=1).max())


def test_the_discriminant_is_the_voxel_wise_one(people: People) -> None:
    method = fitted(people, "ridge-discriminant", ridge=0.5)
    expected = oracle.ridge_discriminant(people.adjusted(people.train), people.target[people.train], 0.5)
    found = np.zeros(4 * 5 * 6)
    found[method.voxels.numpy()] = method.salient_directions[0].double().numpy()
    assert abs(found @ expected) > 0.9999


def test_generalised_contrastive_pca_finds_the_largest_contrast(people: People) -> None:
    method = fitted(people, "gcpca", salient_dim=2, ridge=0.5)
    e, y = people.adjusted(people.train), people.target[people.train]
    directions = np.zeros((2, 4 * 5 * 6))
    directions[:, method.voxels.numpy()] = method.salient_directions.double().numpy()
    best, second = (oracle.contrast_ratio(e, y, 0.5, w) for w in directions)
    assert best > second
    rng = np.random.default_rng(2)
    for _ in range(50):
        nearby = directions[0] + 0.05 * rng.normal(size=e.shape[1]) @ e.T @ e / np.square(e).sum()
        assert oracle.contrast_ratio(e, y, 0.5, nearby) <= best + 1e-6


def test_linear_sepclr_finds_the_disease_and_not_the_covariates() -> None:
    people = People(120)
    some, target = people.held_out, people.target[people.held_out]
    site = people.covariates[some][~target, 1]
    found = {}
    for adjusted in (True, False):
        if not adjusted:
            people.covariates = people.covariates[:, :0]
        codes = represented(fitted(people, "sepclr-linear", salient_dim=2), people, some)["salient"]
        norm = np.square(codes).sum(axis=1)
        of_site = np.abs(np.corrcoef(codes[~target].T, site)[:-1, -1]).max()
        found[adjusted] = (norm[target][:, None] > norm[~target]).mean(), of_site
    assert found[True][0] > 0.85, "patients are not further from s' than controls"
    assert found[True][1] < 0.45 < 0.7 < found[False][1], "the site is in the salient space"


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_an_attribute_owns_a_dimension_by_the_papers_terms(people: People, kind: str) -> None:
    rng = np.random.default_rng(3)
    score = rng.integers(0, 3, 40) / 2 if kind == "discrete" else rng.random(40)
    score[~people.target[:40]] = np.nan
    score[np.flatnonzero(people.target[:40])[:4]] = np.nan  # patients without a value
    settings = {"attributes": {"sans": kind}, "steps": 1, "noise": 1e-9, "salient_dim": 3}
    method = METHODS["sepclr-linear"].load()(
        METHODS["sepclr-linear"].settings.model_validate(settings), Network(), SHAPE
    )
    training = TrainingSet(
        people.x[:40], people.target[:40], people.covariates[:40], seed=5, attributes={"sans": score}
    )
    _, figures = method.directions(training.adjusted_axes, training, method.settings)
    scores = [training.axes.scores, training.adjusted_axes.scores]
    torch.manual_seed(5)
    encoders = [torch.nn.Linear(x.shape[1], dim) for x, dim in zip(scores, (32, 3), strict=True)]
    x = scores[1] / np.sqrt(np.square(scores[1]).mean())
    s = (x @ encoders[1].weight.detach().double().numpy().T + encoders[1].bias.detach().double().numpy())[:, 0]
    expected = attribute_term([s, s], people.target[:40], score, discrete=kind == "discrete", tau=0.5)
    assert figures["attribute_sans"] == pytest.approx(expected, rel=1e-4)


def test_a_supervised_dimension_follows_the_score_of_people_whose_score_was_not_seen() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(300) % 2 == 1
    severity = np.where(target, rng.gamma(2, 0.5, 300), 0)
    x = np.outer(severity, rng.normal(size=120)) * 0.5 + rng.normal(size=(300, 120))
    score = np.where(target & (np.arange(300) < 200), severity / severity.max(), np.nan)
    method = METHODS["sepclr-linear"].load()(
        METHODS["sepclr-linear"].settings.model_validate({"attributes": {"sans": "continuous"}, "salient_dim": 2}),
        Network(),
        SHAPE,
    )
    volumes = torch.from_numpy(x).float().reshape(300, *SHAPE)

    def read(rows: list[int], planes: slice) -> torch.Tensor:
        return volumes[rows][:, :, planes]

    method.fit(read, range(200), torch.from_numpy(target[:200]), attributes={"sans": score[:200].tolist()})
    codes = method.represent(volumes[200:])["salient"][target[200:], 0].numpy()
    assert abs(np.corrcoef(codes, severity[200:][target[200:]])[0, 1]) > 0.7


def test_the_same_seed_gives_the_same_encoders(people: People) -> None:
    first, again = (represented(fitted(people, "sepclr-linear", steps=5), people, people.train) for _ in range(2))
    np.testing.assert_array_equal(first["salient"], again["salient"])


@pytest.mark.parametrize("name", ["gcpca", "sepclr-linear"])
def test_the_number_of_dimensions_is_the_best_of_inner_folds(name: str) -> None:
    """Each inner fold written once more, as a fit of its own and voxel by voxel."""
    several: dict[str, object] = {} if name == "gcpca" else {"steps": 30}
    people, of = People(60), {}
    method, figures = fitted_with_figures(people, name, choose={"salient_dim": [4, 1]}, **several)
    training = TrainingSet(np.eye(60), people.target[:60], people.covariates[:60], 0)
    for dim in (1, 4):
        auc = []
        for rest, held_out in stratified_folds(training):
            inner = People(60)
            order = np.concatenate([rest, held_out])
            inner.x, inner.target = people.x[order], people.target[order]
            inner.covariates = people.covariates[order] - people.covariates[rest].mean(axis=0)
            inner.train, inner.held_out = slice(0, len(rest)), slice(len(rest), 60)
            learned = fitted(inner, name, salient_dim=dim, **several)
            controls = represented(learned, inner, inner.train)["salient"][~inner.target[inner.train]]
            codes = represented(learned, inner, inner.held_out)["salient"]
            distance = np.linalg.norm(codes - controls.mean(axis=0), axis=1)
            auc.append(roc_auc_score(inner.target[inner.held_out], distance))
        of[dim] = np.mean(auc)
    best = max(of, key=of.__getitem__)
    assert figures["salient_dim"] == best
    assert figures["auc"] == pytest.approx(of[best], abs=0.02)
    assert represented(method, people, people.held_out)["salient"].shape[1] == best
    assert method.settings.salient_dim == 8, "what was set stays"


def test_stratified_folds_keep_the_scans_of_a_participant_together() -> None:
    target, person = np.arange(60) % 2 == 1, np.arange(60) // 6 * 2 + np.arange(60) % 2
    held_out_with = []
    for rest, held_out in stratified_folds(TrainingSet(np.eye(60), target, np.zeros((60, 0)), 3, person)):
        assert not set(person[rest]) & set(person[held_out])
        held_out_with += held_out.tolist()
    assert sorted(held_out_with) == list(range(60))


def test_repeated_scans_do_not_make_noise_predictable() -> None:
    """Where nothing is to be found, the AUC by which settings are chosen is that of a guess, with repeats too."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(60), 3)
    x = rng.normal(size=(60, 80))[person] + 0.05 * rng.normal(size=(180, 80))
    method = METHODS["gcpca"].load()(METHODS["gcpca"].settings.model_validate({"salient_dim": 2}), Network(), SHAPE)
    training = TrainingSet(x, person % 2 == 1, np.zeros((180, 0)), 0, person)
    assert 0.25 < method._inner_aucs(training, [method.settings])[0] < 0.75
    apart = TrainingSet(x, person % 2 == 1, np.zeros((180, 0)), 0)
    assert method._inner_aucs(apart, [method.settings])[0] > 0.8


@pytest.mark.parametrize("patients", [1, 3])
def test_few_participants_have_fewer_inner_folds_or_none(people: People, patients: int) -> None:
    people.target = np.arange(len(people.target)) < patients
    if patients == 1:
        with pytest.raises(InputError, match=r"choose: inner folds need two .* one group has 1; give the setting one"):
            fitted(people, "gcpca", choose={"salient_dim": [1, 2]})
        return
    _, figures = fitted_with_figures(people, "gcpca", choose={"salient_dim": [1, 2]})
    assert 0 <= figures["auc"] <= 1


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("sepclr-linear", "noise", 0.3),
        ("sepclr-linear", "salient_dim", 3),
        ("sepclr-linear", "informationless_weight", 50),
        ("ridge-discriminant", "ridge", 50),
    ],
)
def test_what_is_chosen_is_what_is_fitted(people: People, name: str, setting: str, value: float) -> None:
    fast = {"steps": 5} if name == "sepclr-linear" else {}
    chosen, given, default = (
        represented(fitted(people, name, **fast, **own), people, people.held_out)["salient"]
        for own in ({"choose": {setting: [value]}}, {setting: value}, {})
    )
    np.testing.assert_array_equal(chosen, given)
    assert chosen.shape != default.shape or np.abs(chosen - default).max() > 1e-6


def test_normative_deviations_are_from_the_controls_alone(people: People) -> None:
    """Codes are the deviations along the patients' principal axes, 0 in the controls' mean and of their variance 1."""
    method = fitted(people, "normative", salient_dim=2)
    t, of = people.train, people.held_out
    y = people.target[t]
    train, new = (
        oracle.normative_deviations(people.x[t], y, people.covariates[t], people.x[some], people.covariates[some])
        for some in (t, of)
    )
    axes = np.linalg.svd(train[y], full_matrices=False)[2][:2]
    expected = new @ axes.T / (train[~y] @ axes.T).std(axis=0)
    found = represented(method, people, of)["salient"]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=2e-3 * np.abs(expected).max())


def test_stratified_folds_hold_out_each_participant_once() -> None:
    target = np.arange(50) % 5 == 0
    left_out = []
    for rest, held_out in stratified_folds(TrainingSet(np.eye(50), target, np.zeros((50, 0)), 3)):
        assert not set(rest) & set(held_out)
        assert target[held_out].sum() == 2
        left_out += held_out.tolist()
    assert sorted(left_out) == list(range(50))


def test_several_settings_are_chosen_together(people: People) -> None:
    method, figures = fitted_with_figures(people, "gcpca", choose={"salient_dim": [1, 3], "ridge": [0.5, 50]})
    assert (figures["salient_dim"], figures["ridge"]) in {(1, 0.5), (1, 50), (3, 0.5), (3, 50)}
    training = TrainingSet(people.x[:40], people.target[:40], people.covariates[:40], 0)
    auc = {
        (dim, ridge): method._inner_aucs(
            training, [method.settings.model_copy(update={"salient_dim": dim, "ridge": ridge})]
        )[0]
        for dim in (1, 3)
        for ridge in (0.5, 50)
    }
    assert auc[figures["salient_dim"], figures["ridge"]] == pytest.approx(max(auc.values()), abs=0.01)


@pytest.mark.parametrize("name", [*TWO_SPACES, "cpca", "pca", "voxel-linear"])
def test_a_sketch_of_all_dimensions_is_the_whole_span(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of more participants than are kept, but of no more dimensions than the sketch has, nothing is lost."""
    people = People(60)
    people.x = people.x @ np.linalg.svd(np.random.default_rng(5).normal(size=(120, 120)))[0][:, :12] @ np.eye(12, 120)
    # Salient axes of all 12 dimensions would leave nothing in the common space.
    own = {"sepclr-linear": {"steps": 5}, "cpca": {"salient_dim": 3}}.get(name, {})
    whole = represented(fitted(people, name, **own), people, people.held_out)
    monkeypatch.setattr(span, "EXACT_UP_TO", 50)
    monkeypatch.setattr(span, "MOST_DIMENSIONS", 20)
    sketched = represented(fitted(people, name, **own), people, people.held_out)
    for space, codes in whole.items():
        np.testing.assert_allclose(sketched[space], codes, atol=2e-3 * np.abs(codes).max())


@pytest.mark.parametrize("exact", [False, True])
def test_the_largest_components_are_kept(monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    """Of 120 participants, in 30 dimensions: covariates and disease, far above the noise, are in them."""
    people = People(120)
    whole = represented(fitted(people, "gcpca", salient_dim=1, ridge=2), people, people.held_out)["salient"]
    monkeypatch.setattr(span, "EXACT_UP_TO", 120 if exact else 50)
    monkeypatch.setattr(span, "MOST_DIMENSIONS", 30)
    method = fitted(people, "gcpca", salient_dim=1, ridge=2)
    sketched = represented(method, people, people.held_out)["salient"]
    assert represented(method, people, people.held_out)["common"].shape[1] == 29  # the salient one is erased
    assert abs(np.corrcoef(whole[:, 0], sketched[:, 0])[0, 1]) > 0.95


@pytest.mark.parametrize("shape", [(3, 8), (6, 4)])
def test_codes_of_views_have_the_noise_that_the_encoder_makes_of_theirs(shape: tuple[int, int]) -> None:
    """Of white noise on the coordinates, W makes noise of covariance noise² W W', independent between views."""
    torch.manual_seed(0)
    encoder = torch.nn.Linear(shape[1], shape[0])
    coordinates = torch.randn(1, shape[1]).expand(40_000, -1)
    first, second = linear._codes_of_views(encoder, coordinates, 1.5).detach().double().chunk(2)
    w, expected = encoder.weight.detach().double().numpy(), encoder(coordinates[0]).detach().double().numpy()
    covariance = 2.25 * w @ w.T
    for codes in (first.numpy(), second.numpy()):
        np.testing.assert_allclose(codes.mean(axis=0), expected, atol=0.03)
        np.testing.assert_allclose(np.cov(codes.T), covariance, atol=0.03 * np.trace(covariance))
    between = np.cov(first.numpy().T, second.numpy().T)[: shape[0], shape[0] :]
    np.testing.assert_allclose(between, 0, atol=0.03 * np.trace(covariance))


def test_linear_sepclr_takes_some_of_very_many_participants_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    people, sizes = People(60), []
    monkeypatch.setattr(linear, "AT_ONCE", 32)
    losses = linear.SepCLR.losses

    def counted(self: linear.SepCLR, heads: Heads, batch: Batch) -> dict[str, torch.Tensor]:
        sizes.append((len(batch.target), len(heads.common[0])))
        return losses(self, heads, batch)

    monkeypatch.setattr(linear.SepCLR, "losses", counted)
    fitted(people, "sepclr-linear", steps=3)
    assert sizes == [(32, 32)] * 3
