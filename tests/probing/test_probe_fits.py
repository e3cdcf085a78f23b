"""One probe, on its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.core.metrics import balanced_accuracy
from sepclr_neuro.probing import probe_fits
from sepclr_neuro.probing.probe_fits import LOGISTIC_C, RIDGE_ALPHA, participant_folds
from tests.oracles import probe_scores as oracle
from tests.probing.probed_run import ask


def test_ridge_is_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal([5, -3, 0], [10, 0.1, 1], size=(60, 3))
    y = x @ [0.3, 4.0, -2.0] + rng.normal(size=60)
    answer = ask(list(y), x, train=40, kind="regression")
    gaps = [abs(oracle.ridge(x[:40], y[:40], x[40:], alpha) - answer.prediction).max() for alpha in RIDGE_ALPHA]
    assert min(gaps) < 1e-8


def test_permuted_labels_are_near_chance() -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat(["a", "b"], 400)
    x = (truth == "b")[:, None] + 0.1 * rng.normal(size=(800, 2))
    answer = ask(list(rng.permutation(truth)), x[rng.permutation(800)], train=400, kind="classification")
    assert abs(answer.values["bacc"] - 0.5) < 0.1


def test_several_classes_of_many_dimensions_are_found_as_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """By our solver and by scikit-learn's; of one class an inner training side has nobody."""
    rng = np.random.default_rng(4)
    truth = [*rng.choice(["a", "c", "d"], 119), "b", *rng.choice(["a", "c", "d"], 60)]
    x = np.array([[label == other for other in "abcd"] for label in truth]) + 0.6 * rng.normal(size=(180, 4))
    few = ask(truth, x, train=120, kind="classification")
    monkeypatch.setattr(probe_fits, "WIDE", 3)
    many = ask(truth, x, train=120, kind="classification")
    assert many.penalty == few.penalty
    assert 0.6 < many.values["bacc"] < 1
    assert np.mean(many.prediction == few.prediction) > 0.97


def test_unequal_classes_weigh_the_same() -> None:
    """Nine controls to a patient and no signal: a probe that says control to all would find no patient."""
    rng = np.random.default_rng(3)
    truth = (["a"] * 9 + ["b"]) * 40
    answer = ask(truth, rng.normal(size=(400, 2)), train=200, kind="classification")
    assert 0.2 < np.mean(answer.prediction == "b") < 0.8


def test_balanced_accuracy_is_over_classes_present() -> None:
    truth, prediction = np.array(["a", "a", "b"]), np.array(["a", "c", "b"])
    assert balanced_accuracy(truth, prediction) == oracle.balanced_accuracy(truth, prediction) == 0.75


def test_a_class_unseen_in_training_counts_as_never_found() -> None:
    truth = ["a", "b"] * 5 + ["a", "b", "new", "new"]
    x = np.array([[float(label == "b")] for label in truth])
    answer = ask(truth, x, train=10, kind="classification")
    assert answer.values["bacc"] == pytest.approx(2 / 3)
    assert answer.chance["bacc"] == 0.5


def test_a_class_of_one_participant_stays_a_class() -> None:
    truth = ["a", "b"] * 6 + ["rare"] + ["a", "b"]
    x = np.array([[float(label == "b"), float(label == "rare")] for label in truth])
    answer = ask(truth, x, train=13, kind="classification")
    assert answer.values["bacc"] == 1
    assert answer.chance["bacc"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("truth", "train", "kind", "people"),
    [
        (["a"] * 6, 4, "classification", None),
        (["a", "a", "a", "b", "a", "b"], 4, "classification", None),
        (["a", "b", "a", "b", "a"], 4, "classification", ["p", "q", "p", "q", "r"]),
        (["a", "b", "a", "b"], 4, "classification", None),
        ([1.0, 2.0], 1, "regression", None),
        ([], 0, "regression", None),
    ],
    ids=["one class", "one member", "one person scanned twice", "nobody held out", "one number", "no value at all"],
)
def test_too_few_participants_give_no_figure(truth: list, train: int, kind: str, people: list[str] | None) -> None:
    assert ask(truth, np.arange(2.0 * len(truth)).reshape(-1, 2), train, kind, people) is None


def test_inner_folds_keep_participants_together_and_classes_on_both_sides() -> None:
    """The two participants of class 2 are five rows apart: dealt in order of rows, both would be in the first fold."""
    people = np.array(["p0", "p0", "p1", "p2", "p2", "p3", "p4", "p5", "p6", "p7"])
    truth = np.array([2, 2, 0, 0, 0, 0, 1, 2, 1, 0])
    folds = participant_folds(truth, people)
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(10))
    for train, test in folds:
        assert not set(people[train]) & set(people[test])
        assert set(truth[train]) == {0, 1, 2}


def test_the_penalty_is_the_one_that_scikit_learns_grid_search_chooses() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal([5, -3, 0, 1], [10, 0.1, 1, 2], size=(90, 4))
    truth = np.where(x[:, 2] + 0.8 * rng.normal(size=90) > 0, "b", "a")
    answer = ask(list(truth), x, train=60, kind="classification")
    y, people = (truth[:60] == "b").astype(int), np.array([f"s{k}" for k in range(60)])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=10_000, tol=1e-10)),
        {"logisticregression__C": LOGISTIC_C},
        scoring="balanced_accuracy",
        cv=participant_folds(y, people),
    ).fit(x[:60], y)
    assert answer.score == pytest.approx(search.decision_function(x[60:]), abs=1e-6)


def test_a_support_vector_machine_is_fitted_on_so_many_scans_and_on_all_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe_fits, "SVM_SCANS", 60)
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2], [300, 100, 20]))
    (model,) = probe_fits._support_vectors(rng.normal(size=(420, 2)), y, [1.0])
    assert model.shape_fit_ == (60, 2)
    assert model.classes_.tolist() == [0, 1, 2]
    (of_few,) = probe_fits._support_vectors(rng.normal(size=(60, 2)), y[:60], [1.0])
    assert of_few.shape_fit_ == (60, 2)


def test_a_probe_does_better_on_its_training_participants() -> None:
    rng = np.random.default_rng(6)
    truth = list(rng.permutation(np.repeat(["a", "b"], 30)))
    answer = ask(truth, rng.normal(size=(60, 25)), train=40, kind="classification")
    assert answer.train_values["bacc"] > 0.7 > answer.values["bacc"]
    assert answer.train_values["auc"] > 0.7


def test_one_class_among_held_out_participants_has_no_figure_but_predictions() -> None:
    truth = ["a", "b"] * 6 + ["a", "a"]
    answer = ask(truth, np.array([[float(label == "b")] for label in truth]), train=12, kind="classification")
    assert np.isnan([answer.values["bacc"], answer.values["auc"]]).all()
    assert answer.prediction.tolist() == ["a", "a"]


def test_a_training_class_without_held_out_participants() -> None:
    """A site that is held out as a whole has no prediction."""
    truth = ["a", "b"] * 6 + ["c", "d"]
    assert ask(truth, np.zeros((14, 1)), train=12, kind="classification") is None
