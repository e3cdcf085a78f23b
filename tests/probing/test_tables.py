"""The paper's table: units, arrows, chance, what it says about missing values, and hostile text."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.splits import Splits
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.statistics import corrected_t_test
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.probing.demographics import demographics
from sepclr_neuro.probing.tables import (
    PaperTable,
    arrow,
    compare,
    headline,
    paper_table,
    summarise,
    write_tables,
)
from sepclr_neuro.probing.verdicts import PROBE
from tests.oracles import statistics as oracle

METHOD = "sepclr-k-jem"
VALUES = {
    ("age", "mae", "common"): [5.0, 6.0],
    ("age", "mae", "salient"): [9.0, 9.5],
    ("diagnosis", "bacc", "common"): [0.5, 0.6],
    ("diagnosis", "bacc", "salient"): [0.8, 0.825],
    ("sans", "mae", "common"): [4.0, np.nan],
    ("sans", "mae", "salient"): [np.nan, np.nan],
}
CHANCE = {"age": 8.0, "diagnosis": 0.5, "sans": 3.0}


def make_config(folder: Path, **labels: str) -> Config:
    """Two folds, three targets; ``labels`` rename targets."""
    targets = {
        "age": {"kind": "regression", "expected_in": "common", "label": "Age"},
        "diagnosis": {"kind": "classification", "expected_in": "salient", "label": "Diagnosis"},
        "sans": {"kind": "regression", "people": "target", "expected_in": "salient", "label": "SANS"},
    }
    for name, label in labels.items():
        targets[name]["label"] = label
    return Config(
        title="A & B_1 <trial>",
        output=folder,
        splits={"folds": 2},
        probes={"targets": targets, "paper_regime": False},
        saliency={"targets": ["sans"]},
    )


def make_cohort() -> pd.DataFrame:
    """Three controls and three patients on two sites; the last patient was scanned twice and has no SANS."""
    return pd.DataFrame(
        {
            "scan_id": ["c1", "c2", "c3", "p1", "p2", "p3_a", "p3_b"],
            "participant_id": ["c1", "c2", "c3", "p1", "p2", "p3", "p3"],
            "diagnosis": ["control"] * 3 + ["schizophrenia"] * 4,
            "group": ["background"] * 3 + ["target"] * 4,
            "age": [20.0, 30.0, 40.0, 25.0, 35.0, 50.0, 51.0],
            "sex": ["female", "male", "female", "male", "male", "female", "female"],
            "site": ["oslo", "oslo", "rome", "oslo", "oslo", "rome", "rome"],
            "sans": [np.nan] * 3 + [10.0, 20.0, np.nan, np.nan],
        }
    )


def make_scores() -> pd.DataFrame:
    rows = []
    for (target, metric, space), values in VALUES.items():
        for fold, value in enumerate(values):
            chance = np.nan if np.isnan(value) else CHANCE[target]
            better = value + (0.1 if metric == "bacc" else -1.0)
            rows.append(["standard", METHOD, fold, target, metric, space, value, chance, better, 4, 2])
    columns = ["regime", "method", "fold", "target", "metric", "space", "value", "chance", "train_value"]
    return pd.DataFrame(rows, columns=[*columns, "n_train", "n_test"])


def make_verdicts(scores: pd.DataFrame) -> pd.DataFrame:
    """One a probe, in natural units; p rises by 0.01 from probe to probe."""
    verdicts = scores.drop_duplicates(PROBE)[PROBE].reset_index(drop=True)
    figures = {"pooled": 0.5, "null95": 0.6, "ci_low": 0.4, "ci_high": 0.7, "n": 6, "missing": 1}
    return verdicts.assign(p=0.01 * (1 + verdicts.index), **figures)


def make_increments() -> pd.DataFrame:
    rows = [[METHOD, fold, "age", "mae", "common", 8.0, 6.0 - fold, 2.0 + fold, 4, 2] for fold in (0, 1)]
    columns = ["method", "fold", "target", "metric", "space", "confounds", "combined", "increment", "n_train", "n_test"]
    return pd.DataFrame(rows, columns=columns)


def write_run(folder: Path, scores: pd.DataFrame, **labels: str) -> tuple[Config, Results]:
    results = Results(folder)
    write_tsv(results.cohort, make_cohort())
    write_tsv(results.scores, scores)
    write_tsv(results.verdicts, make_verdicts(scores))
    write_tsv(results.increments, make_increments())
    return make_config(folder, **labels), results


@pytest.fixture
def run(tmp_path: Path) -> tuple[Config, Results]:
    return write_run(tmp_path, make_scores())


def test_summary_is_mean_and_sd_over_folds_with_bacc_in_percent(run: tuple[Config, Results]) -> None:
    write_tables(*run)
    table = read_tsv(run[1].table("schizophrenia", "tsv"))
    first = "method target metric space mean sd folds chance null95 p q ci_low ci_high n"
    assert " ".join(table.columns) == f"{first} missing pooled train gap"
    table = table.set_index(["target", "space"])
    for (target, metric, space), values in VALUES.items():
        row = table.loc[(target, space)]
        known = [value * (100 if metric == "bacc" else 1) for value in values if not np.isnan(value)]
        assert row["folds"] == len(known)
        expected = statistics.fmean(known) if known else np.nan
        assert row["mean"] == pytest.approx(expected, rel=1e-5, nan_ok=True)
        expected = statistics.stdev(known) if len(known) > 1 else np.nan
        assert row["sd"] == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert table.loc[("diagnosis", "salient"), "chance"] == 50
    assert table.loc[("age", "common"), "chance"] == 8


def test_the_summary_has_p_and_intervals_of_each_figure() -> None:
    scores, verdicts = make_scores(), make_verdicts(make_scores())
    auc = [frame.assign(metric="auc") for frame in (scores[scores["metric"] == "bacc"], verdicts[2:4])]
    paper = scores.assign(regime="paper", value=scores["value"] / 2)
    table = summarise(pd.concat([scores, auc[0], paper]), pd.concat([verdicts, auc[1]]))
    assert len(table) == len(VALUES) + 2
    table = table.set_index(["target", "metric", "space"])
    first = headline(table.reset_index())
    assert list(zip(first["target"], first["metric"], first["space"], strict=True)) == list(VALUES)
    assert first["q"].tolist() == pytest.approx(oracle.benjamini_hochberg([0.01, 0.02, 0.03, 0.04, 0.05, 0.06]))
    assert table.loc[("diagnosis", "auc", "common"), "q"] == pytest.approx(0.04)
    diagnosis, age = table.loc[("diagnosis", "bacc", "common")], table.loc[("age", "mae", "common")]
    assert diagnosis[["null95", "ci_low", "ci_high", "pooled"]].tolist() == pytest.approx([60, 40, 70, 50])
    assert age[["null95", "ci_low", "ci_high", "pooled"]].tolist() == pytest.approx([0.6, 0.4, 0.7, 0.5])
    assert diagnosis[["mean", "train", "gap"]].tolist() == pytest.approx([55, 65, 10])
    assert age[["mean", "train", "gap"]].tolist() == pytest.approx([5.5, 4.5, 1])
    assert (diagnosis["n"], diagnosis["missing"]) == (6, 1)
    assert summarise(pd.concat([scores, paper]), verdicts, "paper").loc[0, "mean"] == pytest.approx(2.75)


def test_comparisons_are_corrected_resampled_t_tests() -> None:
    scores = make_scores()
    other = scores.assign(method="pca")
    other.loc[(other["target"] == "age"), "value"] += [0.5, 1.5, 0.1, 0.2]
    table = compare(pd.concat([scores, other, scores.assign(metric="auc"), scores.assign(regime="paper")]))
    key = ["target", "method", "space", "other_method", "other_space"]
    assert set(map(tuple, table.loc[table["target"] == "age", key].to_numpy())) == {
        ("age", METHOD, "common", METHOD, "salient"),
        ("age", METHOD, "common", "pca", "common"),
        ("age", METHOD, "salient", "pca", "salient"),
        ("age", "pca", "common", "pca", "salient"),
    }
    row = table.set_index(key).loc[("age", METHOD, "common", "pca", "common")]
    assert row["difference"] == pytest.approx(1.0)  # an error that is lower by one year is better by one
    assert row["t"] == pytest.approx(oracle.corrected_t([0.5, 1.5], 2, 4))
    assert row["p"] == pytest.approx(corrected_t_test(np.array([0.5, 1.5]), 0.5).p)
    bacc = table.set_index(key).loc[("diagnosis", METHOD, "common", METHOD, "salient")]
    assert bacc["difference"] == pytest.approx(55 - 81.25)
    single = compare(pd.concat([scores, scores[scores["space"] == "common"].assign(method="pca", space="single")]))
    assert {("common", "single"), ("salient", "single")} <= set(
        zip(single["space"], single["other_space"], strict=True)
    )


def test_increments_are_means_over_folds(run: tuple[Config, Results]) -> None:
    write_tables(*run)
    (row,) = read_tsv(run[1].table("confounds", "tsv")).to_dict("records")
    assert (row["confounds"], row["combined"], row["increment"], row["folds"]) == (8, 5.5, 2.5, 2)
    assert row["t"] == pytest.approx(oracle.corrected_t([2.0, 3.0], 2, 4), rel=1e-5)
    assert row["q"] == row["p"]


def test_summary_keeps_the_order_of_the_scores() -> None:
    summary = summarise(make_scores()[::-1], make_verdicts(make_scores()))
    assert list(zip(summary["target"], summary["metric"], summary["space"], strict=True)) == list(VALUES)[::-1]


@pytest.mark.parametrize(
    ("metric", "expected_in", "space", "expected"),
    [
        ("mae", "common", "common", "↓"),
        ("mae", "common", "salient", "↑"),
        ("mae", "salient", "salient", "↓"),
        ("bacc", "common", "common", "↑"),
        ("bacc", "common", "salient", "↓"),
        ("bacc", "salient", "salient", "↑"),
    ],
)
def test_arrows(metric: str, expected_in: str, space: str, expected: str) -> None:
    assert arrow(metric, expected_in, space) == expected


def make_paper_table(scores: pd.DataFrame) -> PaperTable:
    return paper_table(make_config(Path()), make_cohort(), scores, make_verdicts(scores))


def test_paper_table_has_a_row_a_method_and_chance() -> None:
    table = make_paper_table(make_scores()).table.set_index("Method").T
    assert table["SepCLR, k-JEM"].to_dict() == {
        "Age (MAE), common ↓": "5.50 ± 0.71",
        "Age (MAE), salient ↑": "9.25 ± 0.35",
        "Diagnosis (balanced accuracy, %), common ↓": "55.00 ± 7.07",
        "Diagnosis (balanced accuracy, %), salient ↑": "81.25 ± 1.77",
        "SANS (MAE), common ↑": "4.00",
        "SANS (MAE), salient ↓": "n/a",
    }
    assert table["Chance"].tolist() == ["8.00", "8.00", "50.00", "50.00", "3.00", "3.00"]


def test_a_figure_without_spread_has_no_plus_minus() -> None:
    scores = make_scores()
    alike = scores.assign(value=scores.groupby(["target", "metric", "space"])["value"].transform("first"))
    paper = make_paper_table(alike)
    cells = paper.table.drop(columns="Method").to_numpy().ravel().tolist()
    assert "5.00" in cells
    assert not any("±" in cell for cell in cells)
    assert "A figure without ± is that of one fold, or the same in all of them." in paper.notes
    assert "± SD over" in paper.caption


def test_notes_say_what_a_reader_must_know() -> None:
    notes = "\n".join(make_paper_table(make_scores()).notes)
    assert "An MAE worse than predicting the median is overfitting of the probe, not separation." in notes
    assert "SANS: 2 of 4 scans of the target group have a value; the other 2 are left out, never counted as 0." in notes
    assert "Age:" not in notes
    assert "Some folds have too few participants" in notes
    assert "single space" not in notes


@pytest.mark.parametrize(
    ("changed", "blind"),
    [({}, True), ({"splits": Splits(folds=2, probe_fraction=0.2)}, False), ({"adjust_for": []}, False)],
)
def test_what_probes_of_adjusted_codes_cannot_see_is_told(changed: dict[str, object], blind: bool) -> None:
    config, scores = make_config(Path()).model_copy(update=changed), make_scores()
    notes = paper_table(config, make_cohort(), scores, make_verdicts(scores)).notes
    assert any("uncorrelated with the covariates by construction" in note for note in notes) == blind


def test_a_method_with_one_space_stands_in_both_columns() -> None:
    scores = make_scores()
    paper = make_paper_table(scores[scores["space"] == "common"].assign(space="single"))
    row = paper.table.iloc[0]
    assert row["Method"] == "SepCLR, k-JEM (single space)"
    assert row["Age (MAE), common ↓"] == row["Age (MAE), salient ↑"] == "5.50 ± 0.71"
    assert any("single space has one representation" in note for note in paper.notes)


@pytest.mark.parametrize(
    ("source", "word"), [("simulated", "SIMULATED"), ("implanted", "IMPLANTED"), ("files", "Real cohort")]
)
def test_every_form_names_the_group_of_a_target(run: tuple[Config, Results], source: str, word: str) -> None:
    config, results = run
    config = config.model_copy(update={"cohort": config.cohort.model_copy(update={"source": source})})
    write_tables(config, results)
    for text in (
        paper_table(config, make_cohort(), make_scores(), make_verdicts(make_scores())).caption,
        results.table("schizophrenia", "md").read_text(),
        results.table("schizophrenia", "tex").read_text(),
    ):
        assert {name for name in ("SIMULATED", "IMPLANTED", "Real cohort") if name in text} == {word}


def test_markdown_is_one_table_whatever_labels_say(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_scores(), age="Age | <b>years</b>\n*now*")
    write_tables(config, results)
    lines = results.table("schizophrenia", "md").read_text().splitlines()
    rows = [line.replace(r"\|", "") for line in lines if line.startswith("|")]
    assert [row.count("|") for row in rows] == [8] * 4
    assert r"Age \| \<b\>years\</b\> \*now\* (MAE), common ↓" in lines[4]


def test_latex_escapes_what_users_name(tmp_path: Path) -> None:
    config, results = write_run(tmp_path, make_scores(), age=r"Age_1 & {50%} \input{x} #$~^")
    write_tables(config, results)
    text = results.table("schizophrenia", "tex").read_text()
    label = r"Age\_1 \& \{50\%\} \textbackslash{}input\{x\} \#\$\textasciitilde{}\textasciicircum{} (MAE)"
    assert rf"\multicolumn{{2}}{{c}}{{{label}}}" in text
    assert r"SepCLR, k-JEM & 5.50 $\pm$ 0.71 & 9.25 $\pm$ 0.35 & " in text
    assert r"Method & common $\downarrow$ & salient $\uparrow$ & " in text
    assert text.isascii()
    assert [line.replace(r"\&", "").count("&") for line in text.splitlines() if line.endswith(r"\\")] == [3, 6, 6, 6]


def test_two_targets_of_one_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="two targets are called 'Age'"):
        make_config(tmp_path, sans="Age")


def test_demographics_count_participants_once(run: tuple[Config, Results]) -> None:
    write_tables(*run)
    table = read_tsv(run[1].table("demographics", "tsv")).set_index(["group", "site"])
    assert table["n"].to_dict() == {
        ("background", "all sites"): 3,
        ("background", "oslo"): 2,
        ("background", "rome"): 1,
        ("target", "all sites"): 3,
        ("target", "oslo"): 2,
        ("target", "rome"): 1,
    }
    patients = table.loc[("target", "all sites")]
    assert patients["age_mean"] == pytest.approx(110 / 3, rel=1e-5)
    assert patients["age_sd"] == pytest.approx(statistics.stdev([25, 35, 50]), rel=1e-5)
    assert (patients["age_min"], patients["age_max"]) == (25, 50)
    assert patients["female_percent"] == pytest.approx(100 / 3, rel=1e-5)
    assert (patients["sans_n"], patients["sans_mean"]) == (2, 15)
    assert patients["sans_sd"] == pytest.approx(statistics.stdev([10, 20]), rel=1e-5)
    controls = table.loc[("background", "all sites")]
    assert controls["sans_n"] == 0
    assert np.isnan(controls["sans_mean"])


def test_demographics_leave_unknown_sex_out_of_percentages() -> None:
    cohort = make_cohort()
    cohort.loc[0, "sex"] = np.nan
    table = demographics(Config(), cohort).set_index(["group", "site"])
    assert table.loc[("background", "all sites"), "female_percent"] == 50


def test_published_figures_stand_beside_and_are_called_another_cohorts(run: tuple[Config, Results]) -> None:
    write_tables(*run)
    table = read_tsv(run[1].table("beside_published", "tsv")).set_index(["target", "space"])
    assert table.loc[("age", "common"), ["mean", "published_mean", "published_sd"]].tolist() == [5.5, 6.64, 0.21]
    text = run[1].table("beside_published", "md").read_text()
    assert "| Age (MAE) | 5.50 ± 0.71 ↓ | 6.64 ± 0.21 | 9.25 ± 0.35 ↑ | 7.72 ± 0.45 |" in text
    assert "**another cohort**" in text
    assert "SIMULATED" in text
