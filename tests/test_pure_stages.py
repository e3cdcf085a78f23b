"""Each stage is a function of tables and arrays: none of these tests has a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.cohort import Cohort, Columns, Study
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.splits import Splits
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.data.cohort import cohort_tables, join_people
from sepclr_neuro.data.grid import bring_to_grid, grid_affine
from sepclr_neuro.data.inclusion import people_of_study
from sepclr_neuro.data.participants import join_study
from sepclr_neuro.data.problems import Problems
from sepclr_neuro.data.splits import Fold, make_splits, publishable
from sepclr_neuro.probing.probes import ProbeTables, probe
from sepclr_neuro.probing.questions import all_questions
from sepclr_neuro.probing.representations import Represented
from sepclr_neuro.probing.site_leakage import site_leakage
from sepclr_neuro.probing.verdicts import judge_probes
from tests.probing.probed_run import METHOD, make_cohort

CONFIG = Config(
    splits={"folds": 2}, methods={METHOD: {}}, probes={"permutations": 99, "bootstraps": 99, "paper_regime": False}
)


def represented(cohort: pd.DataFrame) -> Represented:
    """Two folds: the common space tells age and site, the salient one the diagnosis."""
    scans, rng = np.array(cohort["scan_id"]), np.random.default_rng(0)
    known = {
        "common": [cohort["age"] / 10, *(cohort["site"] == site for site in ("oslo", "prague", "rome"))],
        "salient": [cohort["group"] == "target", cohort["saps"].fillna(0) / 10],
    }
    spaces = {
        space: pd.DataFrame(np.column_stack(values) + rng.normal(0, 0.1, (len(cohort), len(values))), index=scans)
        for space, values in known.items()
    }
    half = np.arange(len(cohort)) // 6 % 2 == 0
    return [(METHOD, Fold(k, tuple(scans[half != k]), tuple(scans[half == k])), spaces) for k in (0, 1)]


@pytest.fixture(scope="module")
def probed() -> ProbeTables:
    cohort = make_cohort()
    return probe(CONFIG, cohort, all_questions(CONFIG, cohort), represented(cohort))


def test_tables_to_a_cohort() -> None:
    people, scores = Path("participants.tsv"), Path("scores.tsv")
    tables = {
        people: pd.DataFrame(
            {
                "participant_id": ["sub-1", "sub-2", "sub-3", "sub-4"],
                "diagnosis": ["control", "control", "schizophrenia", "schizophrenia"],
                "age": ["20", "30", "25", "40.5"],
                "sex": ["f", "m", "f", "m"],
                "site": ["a", "b", "a", "b"],
            },
            dtype="str",
        ),
        scores: pd.DataFrame({"participant_id": ["3", "4", "9"], "total": ["10", "12", "1"]}, dtype="str"),
    }
    study = Study(name="one", participants=people, phenotypes=[scores])
    settings = Cohort(source="files", studies=[study], scores={"sans": {"column": "total", "range": [0, 125]}})
    joined = join_study(study, Columns(), tables, {path: {} for path in tables})
    part = people_of_study(joined, settings, Problems())
    made = cohort_tables([part], join_people([part], settings, Problems()), settings)
    assert made.cohort["age"].tolist() == [20, 30, 25, 40.5]
    assert made.cohort["group"].tolist() == ["background"] * 2 + ["target"] * 2
    assert made.cohort["sans"].tolist()[2:] == [10, 12]
    assert made.exclusions["rule"].tolist() == ["not in the participants table"]


def test_an_array_to_the_grid() -> None:
    settings = Volumes(shape=(32, 32, 32))
    data = np.random.default_rng(0).random((40, 28, 32)).astype(np.float32)
    on_grid = bring_to_grid(data, grid_affine(data.shape, 6.0), settings, None)
    np.testing.assert_array_equal(on_grid[:, 2:30], data[4:36])
    assert not on_grid[:, :2].any()


def test_a_cohort_to_folds() -> None:
    cohort = make_cohort()
    splits = make_splits(cohort, Splits(folds=3, stratify_by=[]), seed=0)
    listed = publishable(splits, None).assign(participant_id=lambda table: table["participant_id"].str[4:])
    again = make_splits(cohort, Splits(scheme="file", file=Path("list.tsv"), file_folds=3), 0, listed)
    pd.testing.assert_frame_equal(splits, again)


def test_representations_to_figures(probed: ProbeTables) -> None:
    means = probed.scores.groupby(["target", "metric", "space"])["value"].mean()
    assert means["diagnosis", "bacc", "salient"] > 0.9 > means["diagnosis", "bacc", "common"]
    assert means["age", "mae", "common"] < means["age", "mae", "salient"]
    assert set(probed.predictions["space"]) == {"common", "salient"}
    assert len(probed.increments)


def test_figures_to_verdicts(probed: ProbeTables) -> None:
    cohort = make_cohort()
    asked, spaces = all_questions(CONFIG, cohort), represented(cohort)
    verdicts, nulls = judge_probes(CONFIG, cohort, asked, spaces, probed.scores, probed.predictions)
    p = verdicts.set_index(["target", "metric", "space"])["p"]
    assert p["diagnosis", "bacc", "salient"] == p["age", "mae", "common"] == pytest.approx(0.01)
    assert len(nulls) == len(verdicts)


def test_representations_to_leakage() -> None:
    cohort = make_cohort()
    read = represented(cohort)
    spaces = {fold.fold: {(METHOD, space): values for space, values in of_fold.items()} for _, fold, of_fold in read}
    table = site_leakage(CONFIG, cohort, [fold for _, fold, _ in read], spaces)
    site = table[(table["target"] == "site") & (table["people"] == "all") & (table["probe"] == "linear")]
    mean = site.set_index("space")["mean"]
    assert mean["common"] > 90 > mean["salient"]
