"""Linear probes: figures against an independent oracle, nobody leaks, nobody is dropped or invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.statistics import Labels, Verdict, balanced_accuracy
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.probe_fits import LOGISTIC_C, RIDGE_ALPHA, Fit, fit_probe, inner_folds
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.questions import Question, as_asked, confound_features, questions
from sepclr_neuro.probing.representations import Representations, refuse_leaks
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.probing.verdicts import judge, on_permutations, write_verdicts
from tests.oracles import probe_scores as oracle
from tests.oracles import statistics as statistics_oracle

METHOD = "sepclr-k-jem"


def make_cohort(n: int = 60) -> pd.DataFrame:
    """People whose group, sex and site repeat with different periods; every tenth patient has no SANS."""
    number = np.arange(n)
    patient = number % 2 == 1
    ids = [f"sub-{k:03d}" for k in number]
    severity = (number * 37 % n).astype(float)
    sans = np.where(patient & (number % 20 != 1), severity, np.nan)
    return pd.DataFrame(
        {
            "scan_id": ids,
            "participant_id": ids,
            "session_id": np.nan,
            "diagnosis": np.where(patient, "schizophrenia", "control"),
            "group": np.where(patient, "target", "background"),
            "age": 20.0 + number * 7 % 41,
            "sex": np.where(number // 2 % 2 == 0, "female", "male"),
            "site": np.array(["oslo", "prague", "rome"])[number % 3],
            "sans": sans,
            "saps": np.where(patient, severity, np.nan),
            "volume": np.nan,
        }
    )


def write_run(folder: Path, cohort: pd.DataFrame, folds: int = 2) -> tuple[Config, Results]:
    """Files that the earlier stages would leave: common holds age, sex and site, salient diagnosis and severity."""
    config = Config(output=folder, splits={"folds": folds})
    results = Results(folder)
    write_tsv(results.cohort, cohort)
    write_tsv(results.index, cohort[["scan_id"]].assign(sha256=[f"{number:064d}" for number in range(len(cohort))]))
    n = len(cohort)
    fold_of = np.arange(n) // 6 % folds
    noise = np.random.default_rng(0)
    sites = np.stack([cohort["site"] == site for site in ("oslo", "prague", "rome")], axis=1)
    common = np.column_stack([cohort["age"] / 10, cohort["sex"] == "male", sites]).astype(float)
    severity = cohort["saps"].fillna(0) / 10
    salient = np.column_stack([cohort["group"] == "target", severity, noise.normal(size=n)]).astype(float)
    splits = []
    for fold in range(folds):
        side = np.where(fold_of == fold, "test", "train")
        splits.append(cohort[["scan_id", "participant_id"]].assign(fold=fold, unit=cohort["participant_id"], side=side))
        table = cohort[["scan_id"]].assign(side=side)
        for space, values in (("common", common), ("salient", salient)):
            noisy = values + 0.1 * noise.normal(size=values.shape)
            table = table.assign(**{f"{space}_{k}": noisy[:, k] for k in range(values.shape[1])})
        write_tsv(results.representations(METHOD, fold), table)
        trained_on = cohort.loc[side == "train", "scan_id"].tolist()
        write_json(results.model_folder(METHOD, fold) / "model.json", {"train_scan_ids": trained_on})
    write_tsv(results.splits, pd.concat(splits))
    return config, results


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    config, results = write_run(tmp_path_factory.mktemp("run"), make_cohort())
    write_probes(config, results)
    write_verdicts(config, results)
    return config, results


def read_scores(results: Results, regime: str = "standard") -> pd.DataFrame:
    """The paper's figures of a regime."""
    scores = read_tsv(results.scores)
    kept = (scores["regime"] == regime) & scores["metric"].isin(["bacc", "mae"])
    return scores[kept].set_index(["fold", "target", "space"])


def read_predictions(results: Results, regime: str = "standard") -> pd.DataFrame:
    predictions = read_tsv(results.predictions, text=("truth", "prediction"))
    return predictions[predictions["regime"] == regime]


def test_each_space_answers_what_it_holds(run: tuple[Config, Results]) -> None:
    scores = read_scores(run[1])["value"]
    for fold in (0, 1):
        assert scores[fold, "sex", "common"] == 1
        assert scores[fold, "site", "common"] == 1
        assert scores[fold, "diagnosis", "salient"] == 1
        assert scores[fold, "age", "common"] < 2 < 8 < scores[fold, "age", "salient"]
        assert scores[fold, "saps", "salient"] < 2 < 8 < scores[fold, "saps", "common"]
        assert scores[fold, "diagnosis", "common"] < 0.8
        assert scores[fold, "sex", "salient"] < 0.8


def test_scores_equal_the_oracle(run: tuple[Config, Results]) -> None:
    scores = read_scores(run[1])
    cohort = make_cohort().set_index("scan_id")
    predictions = read_predictions(run[1])
    split = read_tsv(run[1].splits)
    for (fold, target, space), rows in predictions.groupby(["fold", "target", "space"]):
        row = scores.loc[(fold, target, space)]
        train = cohort.loc[split.loc[(split["fold"] == fold) & (split["side"] == "train"), "scan_id"], target].dropna()
        if row["metric"] == "bacc":
            assert row["value"] == pytest.approx(oracle.balanced_accuracy(rows["truth"], rows["prediction"]), rel=1e-5)
            assert row["chance"] == pytest.approx(1 / train.nunique(), rel=1e-5)
        else:
            assert row["value"] == pytest.approx(
                oracle.mean_absolute_error(rows["truth"], rows["prediction"]), rel=1e-4
            )
            assert row["chance"] == pytest.approx(oracle.median_error(train, rows["truth"]), rel=1e-5)
        assert list(rows["truth"].astype(cohort[target].dtype)) == cohort.loc[rows["scan_id"], target].tolist()
        assert (row["n_train"], row["n_test"]) == (len(train), len(rows))


def test_held_out_people_alone_are_predicted(run: tuple[Config, Results]) -> None:
    predictions, split = read_predictions(run[1]), read_tsv(run[1].splits)
    for fold in (0, 1):
        held_out = split.loc[(split["fold"] == fold) & (split["side"] == "test"), "scan_id"]
        asked = predictions[(predictions["fold"] == fold) & (predictions["target"] == "age")]
        assert set(asked["scan_id"]) == set(held_out)


def test_missing_scores_are_left_out_never_zero(run: tuple[Config, Results]) -> None:
    cohort = make_cohort()
    missing = set(cohort.loc[(cohort["group"] == "target") & cohort["sans"].isna(), "scan_id"])
    controls = set(cohort.loc[cohort["group"] == "background", "scan_id"])
    predictions = read_predictions(run[1])
    asked = set(predictions.loc[predictions["target"] == "sans", "scan_id"])
    assert missing
    assert asked == set(cohort["scan_id"]) - missing - controls
    counts = read_scores(run[1]).loc[(0, "sans", "salient")]
    assert counts["n_train"] + counts["n_test"] == 30 - len(missing)


def test_coefficients_act_on_the_raw_representation(run: tuple[Config, Results]) -> None:
    """weights · r + intercept is the prediction of a regression and the log-odds of two classes."""
    coefficients = read_json(run[1].coefficients)
    assert {entry["target"] for entry in coefficients} == {"age", "sex", "sans", "saps", "diagnosis"}
    predictions = read_predictions(run[1])
    for entry in coefficients:
        keys = ["method", "fold", "target", "space"]
        rows = predictions[(predictions[keys] == [entry[key] for key in keys]).all(axis=1)]
        table = read_tsv(run[1].representations(METHOD, entry["fold"])).set_index("scan_id").loc[rows["scan_id"]]
        raw = table[[name for name in table if name.startswith(entry["space"])]].to_numpy(float)
        found = oracle.decision(raw, entry["weights"], entry["intercept"])
        if entry["classes"]:
            assert found == pytest.approx(rows["score"].to_numpy(), rel=1e-4, abs=1e-4)
            assert [entry["classes"][int(value > 0)] for value in found] == rows["prediction"].tolist()
        else:
            assert found == pytest.approx(rows["prediction"].astype(float).to_numpy(), rel=1e-4, abs=1e-3)
            assert rows["score"].isna().all()


def test_the_target_group_is_positive(run: tuple[Config, Results]) -> None:
    entries = [entry for entry in read_json(run[1].coefficients) if entry["target"] == "diagnosis"]
    assert all(entry["classes"] == ["control", "schizophrenia"] for entry in entries)
    predictions = read_predictions(run[1])
    rows = predictions[(predictions["target"] == "diagnosis") & (predictions["space"] == "salient")]
    assert (rows.loc[rows["truth"] == "schizophrenia", "score"] > 0).all()


def only(config: Config, *targets: str) -> Config:
    """The configuration with some of its targets."""
    kept = {name: config.probes.targets[name] for name in targets}
    return config.model_copy(update={"probes": config.probes.model_copy(update={"targets": kept})})


def test_the_same_data_give_the_same_figures_whatever_else_is_asked(
    run: tuple[Config, Results], tmp_path: Path
) -> None:
    config, results = write_run(tmp_path, make_cohort())
    write_probes(only(config, "diagnosis", "saps"), results)
    before, again = (read_json(each.coefficients) for each in (run[1], results))
    assert len(again) == 8
    assert all(entry in before for entry in again)
    table = read_scores(results)
    pd.testing.assert_frame_equal(table, read_scores(run[1]).loc[table.index])


# --- one probe ---------------------------------------------------------------------------------------------------


def ask(truth: list, representation: np.ndarray, train: int, kind: str, people: list[str] | None = None):
    """Fits on the first ``train`` rows and asks about the others."""
    ids = [f"s{k}" for k in range(len(truth))]
    classes = tuple(sorted(set(truth))) if kind == "classification" else ()
    question = Question("x", kind, pd.Series(truth, index=ids), classes)
    table = pd.DataFrame(representation, index=ids)
    return fit_probe(question, table[:train], table[train:], dict(zip(ids, people or ids, strict=True)))


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


def test_a_class_of_one_person_stays_a_class() -> None:
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
def test_too_few_people_give_no_answer(truth: list, train: int, kind: str, people: list[str] | None) -> None:
    assert ask(truth, np.arange(2.0 * len(truth)).reshape(-1, 2), train, kind, people) is None


def test_inner_folds_keep_people_together_and_classes_on_both_sides() -> None:
    """The two people of class 2 are five apart: dealt in the order of people, both would be in the first fold."""
    people = np.array(["p0", "p0", "p1", "p2", "p2", "p3", "p4", "p5", "p6", "p7"])
    truth = np.array([2, 2, 0, 0, 0, 0, 1, 2, 1, 0])
    folds = inner_folds(truth, people)
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(10))
    for train, test in folds:
        assert not set(people[train]) & set(people[test])
        assert set(truth[train]) == {0, 1, 2}


# --- what figures are worth --------------------------------------------------------------------------------------


def read_verdicts(results: Results, regime: str = "standard") -> pd.DataFrame:
    verdicts = read_tsv(results.verdicts)
    return verdicts[verdicts["regime"] == regime].set_index(["target", "metric", "space"])


def test_what_a_space_holds_is_beyond_chance_and_what_it_does_not_hold_is_not(run: tuple[Config, Results]) -> None:
    verdicts = read_verdicts(run[1])
    for target, metric, space in (
        ("sex", "bacc", "common"),
        ("sex", "auc", "common"),
        ("site", "bacc", "common"),
        ("age", "mae", "common"),
        ("age", "r2", "common"),
        ("saps", "mae", "salient"),
        ("diagnosis", "bacc", "salient"),
        ("diagnosis", "auc", "salient"),
    ):
        assert verdicts.loc[(target, metric, space), "p"] == pytest.approx(1 / 1001, rel=1e-4)
    for target, metric, space in (
        ("sex", "bacc", "salient"),
        ("diagnosis", "bacc", "common"),
        ("saps", "r2", "common"),
    ):
        assert verdicts.loc[(target, metric, space), "p"] > 0.05
    for target, counts in (("sans", [27, 3]), ("saps", [30, 0]), ("age", [60, 0])):
        assert (verdicts.xs(target, level="target")[["n", "missing"]] == counts).all(axis=None)


def test_a_null_is_that_of_the_mean_over_folds_with_labels_permuted_within_site(run: tuple[Config, Results]) -> None:
    """Written once more as a loop over permutations of the predictions file."""
    cohort = make_cohort().set_index("scan_id")
    predictions = read_predictions(run[1])
    rows = predictions[(predictions["target"] == "diagnosis") & (predictions["space"] == "common")]
    rng = np.random.default_rng(1)
    means = []
    for _ in range(1000):
        shuffled = cohort["diagnosis"].copy()
        for _, members in cohort.groupby("site"):
            shuffled[members.index] = rng.permutation(members["diagnosis"])
        folds = [
            oracle.balanced_accuracy(shuffled[part["scan_id"]], part["prediction"]) for _, part in rows.groupby("fold")
        ]
        means.append(np.mean(folds))
    nulls = read_tsv(run[1].nulls).set_index(["regime", "target", "metric", "space"])
    null = nulls.loc[("standard", "diagnosis", "bacc", "common")]
    assert null[["percentile_5", "percentile_50", "percentile_95"]].tolist() == pytest.approx(
        np.percentile(means, [5, 50, 95]), abs=0.02
    )
    verdict = read_verdicts(run[1]).loc[("diagnosis", "bacc", "common")]
    assert verdict["null95"] == pytest.approx(np.quantile(means, 0.95), abs=0.02)
    observed = read_scores(run[1])["value"].xs("diagnosis", level="target").xs("common", level="space").mean()
    assert verdict["p"] == pytest.approx((np.sum(np.array(means) >= observed - 1e-9) + 1) / 1001, abs=0.04)


def test_site_is_permuted_within_diagnosis(tmp_path: Path) -> None:
    """Site is the diagnosis here: a space that holds the diagnosis tells nothing of the site beyond it."""
    cohort = make_cohort()
    cohort["site"] = np.where(cohort["group"] == "target", "rome", "oslo")
    config, results = write_run(tmp_path, cohort)
    write_probes(only(config, "site", "diagnosis"), results)
    write_verdicts(only(config, "site", "diagnosis"), results)
    verdicts = read_verdicts(results)
    assert verdicts.loc[("site", "bacc", "salient"), "p"] == 1
    assert verdicts.loc[("diagnosis", "bacc", "salient"), "p"] == 1


def test_the_papers_regime_is_scikit_learns_default_on_raw_dimensions_of_patients(run: tuple[Config, Results]) -> None:
    cohort, split = make_cohort().set_index("scan_id"), read_tsv(run[1].splits)
    predictions = read_predictions(run[1], "paper")
    table = read_tsv(run[1].representations(METHOD, 0)).set_index("scan_id")
    common = table[[name for name in table if name.startswith("common")]]
    train = split.loc[(split["fold"] == 0) & (split["side"] == "train"), "scan_id"]
    for target, model in (("sex", LogisticRegression()), ("age", Ridge()), ("diagnosis", LogisticRegression())):
        asked = cohort if target == "diagnosis" else cohort[cohort["group"] == "target"]
        fitted = [scan for scan in train if scan in asked.index]
        model.fit(common.loc[fitted], cohort.loc[fitted, target])
        rows = predictions[(predictions[["fold", "target", "space"]] == [0, target, "common"]).all(axis=1)]
        assert set(rows["scan_id"]) <= set(asked.index) - set(train)
        expected = model.predict(common.loc[rows["scan_id"]])
        if target == "age":
            assert rows["prediction"].astype(float).to_numpy() == pytest.approx(expected, rel=1e-4)
        else:
            assert rows["prediction"].tolist() == list(expected)
    assert {entry["target"] for entry in read_json(run[1].coefficients)} == {"age", "sex", "sans", "saps", "diagnosis"}
    assert len(read_json(run[1].coefficients)) == 2 * 2 * 5


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
        cv=inner_folds(y, people),
    ).fit(x[:60], y)
    assert answer.score == pytest.approx(search.decision_function(x[60:]), abs=1e-6)


def test_a_probe_does_better_on_those_whom_it_was_fitted_on() -> None:
    rng = np.random.default_rng(6)
    truth = list(rng.permutation(np.repeat(["a", "b"], 30)))
    answer = ask(truth, rng.normal(size=(60, 25)), train=40, kind="classification")
    assert answer.train_values["bacc"] > 0.7 > answer.values["bacc"]
    assert answer.train_values["auc"] > 0.7


def test_one_class_among_held_out_people_has_no_figure_but_predictions() -> None:
    truth = ["a", "b"] * 6 + ["a", "a"]
    answer = ask(truth, np.array([[float(label == "b")] for label in truth]), train=12, kind="classification")
    assert np.isnan([answer.values["bacc"], answer.values["auc"]]).all()
    assert answer.prediction.tolist() == ["a", "a"]


def test_nobody_of_a_training_class_is_held_out() -> None:
    """A site that is held out as a whole cannot be told."""
    truth = ["a", "b"] * 6 + ["c", "d"]
    assert ask(truth, np.zeros((14, 1)), train=12, kind="classification") is None


def test_what_a_space_adds_to_confounds(run: tuple[Config, Results]) -> None:
    increments = read_tsv(run[1].increments).set_index(["target", "space", "fold"])
    assert set(increments["metric"]) == {"bacc", "mae"}
    assert increments.loc[("diagnosis", "salient", 0), "increment"] > 0.3
    assert increments.loc[("saps", "salient", 0), "increment"] > 5
    for target in ("diagnosis", "saps"):
        part = increments.loc[target]
        assert part["confounds"].groupby("fold").nunique().tolist() == [1, 1]
        sign = 1 if target == "diagnosis" else -1
        gain = sign * (part["combined"] - part["confounds"])
        assert part["increment"].to_numpy() == pytest.approx(gain.to_numpy(), abs=1e-4)


def test_confounds_are_numbers_and_a_column_for_each_training_class() -> None:
    cohort = make_cohort(6)
    features = confound_features(cohort, ["age", "site"], cohort.loc[[0, 1, 3], "scan_id"])
    assert features.columns.tolist() == ["age", "site=oslo", "site=prague"]
    assert features.loc["sub-002"].tolist() == [34.0, 0.0, 0.0]
    assert features.loc["sub-001"].tolist() == [27.0, 0.0, 1.0]


def test_a_missing_confound_is_refused() -> None:
    cohort = make_cohort(8)
    cohort.loc[3, "age"] = np.nan
    listed = Config().probes.model_copy(update={"confounds": ["age", "sex"]})
    with pytest.raises(InputError, match=r"probes.confounds: age is missing for 1 scans \(participant sub-003 first\)"):
        questions(Config().model_copy(update={"probes": listed}), cohort)


def test_processes_change_nothing(run: tuple[Config, Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    config, results = write_run(tmp_path, make_cohort())
    write_probes(only(config, "saps", "diagnosis"), results)
    write_verdicts(only(config, "saps", "diagnosis"), results)
    for name in ("scores", "verdicts", "nulls", "increments"):
        both = [read_tsv(getattr(each, name)) for each in (run[1], results)]
        both = [table[table["target"].isin(["diagnosis", "saps"])].reset_index(drop=True) for table in both]
        pd.testing.assert_frame_equal(*both)


# --- chance ------------------------------------------------------------------------------------------------------


def noise(seed: int, effect: float = 0.0, regime: str = "standard", people: int = 60) -> tuple[Labels, list[Fit]]:
    """A number at random on two sites, and a representation that holds ``effect`` times it, in five folds."""
    rng = np.random.default_rng([seed, 2])  # [seed, 0] and [seed, 1] are those of `Labels`
    ids = pd.Index([f"s{k}" for k in range(people)])
    truth = pd.Series(rng.normal(40, 10, people), index=ids)
    question = Question("saps", "regression", truth, (), regime)  # type: ignore[arg-type]
    values = rng.normal(size=(people, 4))
    values[:, 0] += effect * truth / 10
    features = pd.DataFrame(values, index=ids)
    side = rng.permutation(people) % 5
    folds = [Fold(number, tuple(ids[side != number]), tuple(ids[side == number])) for number in range(5)]
    sites = np.arange(people) % 2
    labels = Labels.draw(truth.to_numpy(), ids.to_numpy(str), sites, False, 99, 99, seed)
    return labels, [Fit({}, question, features, fold) for fold in folds]


def judged(labels: Labels, fits: list[Fit], penalty: float) -> dict[str, Verdict]:
    penalties = {fit.fold.fold: penalty for fit in fits}
    return judge(labels, fits[0].question, *on_permutations(labels, fits, penalties))


def test_p_of_numbers_is_uniform_where_nothing_is() -> None:
    """With a penalty that leaves little but each fold's training mean: with predictions that stay as they are while
    answers are exchanged, half of these p were above 0.9."""
    found = [judged(*noise(seed), 1000.0) for seed in range(200)]
    for name in ("mae", "r2"):
        p = np.array([verdicts[name].p for verdicts in found])
        for level, slack in ((0.05, 0.045), (0.2, 0.085), (0.5, 0.11), (0.8, 0.085), (0.95, 0.045)):
            assert abs(np.mean(p <= level) - level) < slack, (name, level)


def test_an_effect_on_numbers_is_found() -> None:
    for seed in range(5):
        for penalty in (1.0, 10.0):
            assert judged(*noise(seed, effect=1.0), penalty)["mae"].p == 0.01


@pytest.mark.parametrize("regime", ["standard", "paper"])
def test_the_null_of_numbers_is_that_of_probes_fitted_on_exchanged_answers(regime: str) -> None:
    """Written once more, permutation by permutation and fold by fold."""
    labels, fits = noise(3, effect=0.3, regime=regime)
    answers, features = labels.truth, fits[0].features
    means = []
    for order in [np.arange(len(answers)), *labels.permuted]:
        given = pd.Series(answers[order], index=features.index)
        errors = []
        for fit in fits:
            train, test = list(fit.fold.train), list(fit.fold.test)
            x, x_new = features.loc[train].to_numpy(), features.loc[test].to_numpy()
            predicted = statistics_oracle.ridge(x, given[train], x_new, 10.0, scaled=regime == "standard")
            errors.append(np.mean(np.abs(given[test] - predicted)))
        means.append(np.mean(errors))
    verdict = judged(labels, fits, 10.0)["mae"]
    assert verdict.mean == pytest.approx(means[0])
    assert verdict.null == pytest.approx(means[1:])


def test_figures_of_numbers_are_those_of_the_probes(run: tuple[Config, Results]) -> None:
    """What verdicts are made of is fitted anew, and is what `scores.tsv` says."""
    for regime in ("standard", "paper"):
        verdicts = read_tsv(run[1].verdicts)
        predictions = read_predictions(run[1], regime)
        part = predictions[(predictions["target"] == "age") & (predictions["space"] == "common")]
        rows = verdicts[
            (verdicts[["regime", "target", "metric", "space"]] == [regime, "age", "mae", "common"]).all(axis=1)
        ]
        errors = (part["truth"].astype(float) - part["prediction"].astype(float)).abs()
        assert rows["pooled"].item() == pytest.approx(errors.mean(), rel=1e-4)


def test_where_nobody_can_exchange_a_number_nothing_is_found() -> None:
    labels, fits = noise(0, effect=3.0)
    alone = Labels.draw(labels.truth, labels.people, np.arange(len(labels.truth)), False, 99, 99, 0)
    assert judged(alone, fits, 1.0)["mae"].p == 1


# --- hostile cohorts ---------------------------------------------------------------------------------------------


def test_all_scores_missing_is_reported_not_a_crash(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_cohort(24).assign(sans=np.nan))
    write_probes(only(config, "sans"), results)
    write_verdicts(only(config, "sans"), results)
    assert read_tsv(results.verdicts)[["p", "null95"]].isna().all(axis=None)
    scores = read_tsv(results.scores)
    assert scores[["value", "chance"]].isna().all(axis=None)
    assert (scores[["n_train", "n_test"]] == 0).all(axis=None)
    assert len(scores) == 2 * 2 * 2 * 2
    assert read_json(results.coefficients) == []
    columns = ["regime", "method", "fold", "target", "space", "scan_id", "truth", "prediction", "score"]
    assert list(read_tsv(results.predictions)) == columns


def test_by_default_nothing_is_asked_in_which_people_do_not_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(24).assign(site="oslo", sans=np.nan)
    config, results = write_run(tmp_path, cohort)
    write_probes(config, results)
    said = "not probed and no confound, since people do not differ in it: sans (nobody has one), site (all have oslo)\n"
    assert capsys.readouterr().err == said
    write_verdicts(config, results)
    write_tables(config, results)
    asked = {"age", "sex", "saps", "diagnosis"}
    for table in (results.scores, results.verdicts, results.table("schizophrenia", "tsv")):
        assert set(read_tsv(table)["target"]) == asked
    assert "Site" not in results.table("schizophrenia", "md").read_text()
    assert as_asked(config, cohort).saliency.targets == ["diagnosis", "saps"]
    # What is listed is asked, as far as it goes.
    listed = only(config, "site", "diagnosis")
    assert list(as_asked(listed, cohort).probes.targets) == ["site", "diagnosis"]
    write_probes(listed, results)
    scores = read_tsv(results.scores)
    assert scores.loc[scores["target"] == "site", "value"].isna().all()


@pytest.mark.parametrize("people", ["background", "target"])
def test_a_target_asks_its_people_only(people: str) -> None:
    cohort = make_cohort(8)
    config = Config(
        probes={"targets": {"age": {"kind": "regression", "expected_in": "common", "people": people}}},
        saliency={"targets": []},
    )
    (question,) = questions(config, cohort)
    assert question.truth.index.tolist() == cohort.loc[cohort["group"] == people, "scan_id"].tolist()


def test_a_sex_that_is_neither_of_two_is_no_answer_and_a_class_of_the_confounds(tmp_path: Path) -> None:
    cohort = make_cohort()
    cohort.loc[[4, 11], "sex"] = "other"
    config, results = write_run(tmp_path, cohort)
    sex = next(question for question in questions(config, cohort) if question.target == "sex")
    assert sex.classes == ("female", "male")
    assert sex.missing == 2
    assert {"sub-004", "sub-011"}.isdisjoint(sex.truth.index)
    features = confound_features(cohort, ["sex"], cohort["scan_id"].tolist())
    assert list(features) == ["sex=female", "sex=male", "sex=other"]
    write_probes(config, results)
    write_verdicts(config, results)
    write_tables(config, results)
    predictions = read_tsv(results.predictions, text=("scan_id",))
    asked = predictions.groupby("target")["scan_id"].nunique()
    assert (asked["sex"], asked["age"]) == (58, 60)
    assert "Sex: 58 of 60 scans have a value" in results.table("schizophrenia", "md").read_text()
    # Of two classes one must be left to be asked about.
    assert "sex" not in as_asked(config, cohort[cohort["sex"] != "male"]).probes.targets


def test_several_diagnoses_of_a_side_are_one_class() -> None:
    cohort = make_cohort(8)
    cohort.loc[1, "diagnosis"] = "schizoaffective"
    config = Config(
        cohort={"source": "simulated", "target": ["schizophrenia", "schizoaffective"]},
        probes={"targets": {"diagnosis": {"kind": "classification", "expected_in": "salient"}}},
        saliency={"targets": []},
    )
    (question,) = questions(config, cohort)
    assert question.classes == ("control", "schizophrenia+schizoaffective")
    assert question.truth.value_counts().tolist() == [4, 4]


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [("site", "regression", "holds text such as 'oslo'"), ("age", "classification", "numbers such as 20.5")],
)
def test_a_kind_that_does_not_suit_the_column_is_refused(target: str, kind: str, message: str) -> None:
    cohort = make_cohort(8)
    cohort["age"] += 0.5
    config = Config()
    targets = {target: ProbeTarget(kind=kind, expected_in="common")}
    config = config.model_copy(update={"probes": config.probes.model_copy(update={"targets": targets})})
    with pytest.raises(InputError, match=f"probes.targets.{target}.kind: .*{message}"):
        questions(config, cohort)


def test_a_diverged_representation_is_refused(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_cohort(24))
    path = results.representations(METHOD, 1)
    table = read_tsv(path)
    table.loc[3, "salient_1"] = np.nan
    write_tsv(path, table)
    with pytest.raises(InputError, match="fold 1: the salient representation has values that are not finite"):
        write_probes(config, results)


# --- leaks -------------------------------------------------------------------------------------------------------


def check(trained_on: list[str], side: list[str], person: dict[str, str] | None = None) -> None:
    ids = ["a_1", "a_2", "b", "c"]
    person = person or {"a_1": "a", "a_2": "a", "b": "b", "c": "c"}
    representations = Representations(ids, np.array(side), {"common": np.zeros((4, 2))})
    refuse_leaks(METHOD, Fold(0, ("a_1", "b"), ("a_2", "c")), representations, trained_on, person)


def test_leak_guard_passes_a_clean_fold() -> None:
    distinct = {"a_1": "a", "a_2": "z", "b": "b", "c": "c"}
    check(["a_1", "b"], ["train", "test", "train", "test"], distinct)


def test_leak_guard_names_a_held_out_scan_that_was_trained_on() -> None:
    with pytest.raises(InputError, match="'c' is held out, but the model was trained on this person"):
        check(["b", "c"], ["train", "test", "train", "test"])


def test_leak_guard_knows_a_person_in_another_session() -> None:
    with pytest.raises(InputError, match="'a_2' is held out, but the model was trained on this person"):
        check(["a_1", "b"], ["train", "test", "train", "test"])


def test_leak_guard_compares_sides_with_the_splits() -> None:
    with pytest.raises(InputError, match=r"'c' is on side test in splits\.tsv, but on side train"):
        check(["b"], ["train", "test", "train", "train"])


def test_write_probes_refuses_models_of_other_splits(tmp_path: Path) -> None:
    """The model and its representations agree, but they were made before the splits changed."""
    config, results = write_run(tmp_path, make_cohort(24))
    path = results.model_folder(METHOD, 1) / "model.json"
    held_out = read_tsv(results.splits).query("fold == 1 and side == 'test'")["scan_id"].iloc[0]
    write_json(path, {"train_scan_ids": [*read_json(path)["train_scan_ids"], held_out]})
    table = read_tsv(results.representations(METHOD, 1))
    table.loc[table["scan_id"] == held_out, "side"] = "train"
    write_tsv(results.representations(METHOD, 1), table)
    with pytest.raises(InputError, match=f"'{held_out}' is held out, but the model was trained on this person"):
        write_probes(config, results)
    assert not results.scores.exists()
