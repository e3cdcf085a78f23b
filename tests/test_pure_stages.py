"""Each stage is a function of tables and arrays: none of these tests has a folder."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sepclr_neuro.config.cohort import Cohort, Columns, Study
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.splits import Splits
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import cohort_tables, join_people
from sepclr_neuro.data.grid import bring_to_grid, grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.inclusion import people_of_study
from sepclr_neuro.data.participants import join_study
from sepclr_neuro.data.problems import Problems
from sepclr_neuro.data.splits import Fold, make_splits, publishable
from sepclr_neuro.maps.patterns import PATTERNS
from sepclr_neuro.probing.probes import ProbeTables, probe
from sepclr_neuro.probing.questions import all_questions, with_cohort_defaults
from sepclr_neuro.probing.representations import Representations, Represented
from sepclr_neuro.probing.site_leakage import site_leakage
from sepclr_neuro.probing.tables import compare, summarise
from sepclr_neuro.probing.verdicts import judge_probes
from sepclr_neuro.report.assemble import page_of
from sepclr_neuro.report.cohort import cohort_and_volumes
from sepclr_neuro.report.maps import maps_of
from sepclr_neuro.report.patterns import patterns_of
from sepclr_neuro.report.pictures import Picture
from sepclr_neuro.report.reading import Run
from sepclr_neuro.report.records import trained_methods
from sepclr_neuro.report.results import interpretation, results_of, training_curves
from sepclr_neuro.report.run_details import run_details
from tests.probing.probed_run import METHOD, make_cohort

CONFIG = Config(
    splits={"folds": 2}, methods={METHOD: {}}, probes={"permutations": 99, "bootstraps": 99, "paper_regime": False}
)


def represented(cohort: pd.DataFrame) -> Represented:
    """Two folds: the common space predicts age and site, the salient one the diagnosis."""
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


# --- the report ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(probed: ProbeTables) -> Run:
    """No model left a record, and of maps only that of the diagnosis in the salient space was made."""
    cohort = make_cohort()
    asked, spaces = all_questions(CONFIG, cohort), represented(cohort)
    verdicts, nulls = judge_probes(CONFIG, cohort, asked, spaces, probed.scores, probed.predictions)
    _, fold, of_fold = spaces[0]
    scans, arrays = cohort["scan_id"].tolist(), {space: table.to_numpy() for space, table in of_fold.items()}
    values = np.random.default_rng(0).random((8, 8, 8))
    buffer = io.BytesIO()
    Image.new("RGB", (4, 2)).save(buffer, format="PNG")
    png, affine = buffer.getvalue(), grid_affine((8, 8, 8), 24.0)
    volumes = SimpleNamespace(
        scan_ids=scans,
        shape=(8, 8, 8),
        affine=affine,
        read=lambda rows: torch.from_numpy(np.stack([values] * len(rows)))[:, None],
    )
    people = {"people": 60, "permutations": 99}
    names = [*PATTERNS, "direction-1", "direction-2"]
    patterns = pd.DataFrame({"map": names, "largest": 1.0, "p": [0.01, 0.01, 0.01, 0.5], "voxels_beyond_chance": 9})
    return Run(
        config=with_cohort_defaults(CONFIG, cohort),
        cohort=cohort,
        exclusions=pd.DataFrame(columns=["participant_id", "session_id", "study", "rule", "value"]),
        flow=pd.DataFrame([("start", "listed in the tables", 0, 60)], columns=["step", "rule", "removed", "remaining"]),
        volumes=cast(VolumeCache, volumes),
        probes=summarise(probed.scores, verdicts),
        scores=probed.scores,
        verdicts=verdicts,
        tables={"nulls": nulls, "predictions": probed.predictions, "comparisons": compare(probed.scores)},
        histories={(METHOD, 0): pd.DataFrame({"epoch": [1, 2], "loss": [1.0, np.nan], "seconds": 1.0})},
        representations={
            METHOD: (0, Representations(scans, np.where(np.isin(scans, fold.test), "test", "train"), arrays))
        },
        seconds=[("train", 60.0), ("train", 30.0)],
        maps={(METHOD, "smoothgrad", "diagnosis", "salient"): (as_image(values, affine), png)},
        t_maps={"diagnosis": png},
        patterns={METHOD: dict.fromkeys(names, png)},
        method_tables={
            (METHOD, "patterns"): patterns.assign(share=[np.nan, np.nan, 0.8, 0.1], **people),
            (METHOD, "distance"): pd.DataFrame([{"auc": 0.9, "p": 0.01, **people}]),
            (METHOD, "peaks"): pd.DataFrame([{"target": "diagnosis", "space": "salient", "x": 1.0}]),
        },
    )


def test_a_run_to_participants_and_volumes(run: Run) -> None:
    charts: dict[str, Picture] = {}
    found = cohort_and_volumes(run, charts)
    assert (found["people"], found["sites"], found["groups"]) == (60, 3, {"background": 30, "target": 30})
    assert found["volumes"]["voxel"] == "24 × 24 × 24"
    assert found["volumes"]["picture"] is charts["volumes"]


def test_a_run_to_findings_in_words(run: Run) -> None:
    found = interpretation(run)
    assert "SepCLR, k-JEM" in found["meaning"][0]
    assert any("the salient space predicts Diagnosis" in line for line in found["uncertain"])


def test_a_run_to_figures(run: Run) -> None:
    problems: list[str] = []
    charts: dict[str, Picture] = {}
    curves = training_curves(run, problems, charts)
    assert [curve["method"] for curve in curves] == ["SepCLR, k-JEM"]
    assert problems == ["SepCLR, k-JEM, fold 0: the loss is not a number in some epochs."]
    found = results_of(run, problems, charts)
    assert found["results_data"] is run.probes
    assert [name for name, _, _ in found["further"]] == ["comparisons"]
    assert [space["fold"] for space in found["spaces"]] == [0]
    assert charts.keys() == {"nulls", "scores", *(f"{name}_{METHOD}" for name in ("training", "predictions", "spaces"))}


def test_a_run_to_maps_and_patterns(run: Run) -> None:
    problems: list[str] = []
    found = maps_of(run, problems)
    assert [map.title for map in found["targets"]["Diagnosis"].shown] == ["SepCLR, k-JEM, salient space, SmoothGrad"]
    assert found["answer"]["label"] == "Diagnosis"
    assert found["tables"]["peaks"]["method"].tolist() == ["SepCLR, k-JEM"]
    assert problems == ["SANS: no saliency map was found.", "SAPS: no saliency map was found."]
    patterns = patterns_of(run)
    assert patterns is not None
    assert [shown["caption"].split(":")[0] for shown in patterns["shown"]] == [
        *("Group comparison", "Salient space", "Salient space", "Salient space"),
    ]
    assert patterns["shown"][-1]["caption"].startswith("Salient space: direction 1 among patients;")
    assert (
        "patients differ from controls along 1 direction, which holds 80 % of the positive part" in patterns["said"][-1]
    )


def test_patterns_are_of_the_method_that_the_main_result_names(run: Run) -> None:
    methods = run.config.methods | {"gcpca": run.config.methods[METHOD]}
    clearer = {("gcpca", name): run.method_tables[METHOD, name].assign(p=1e-6) for name in ("patterns", "distance")}
    both = replace(
        run,
        config=run.config.model_copy(update={"methods": methods}),
        method_tables=run.method_tables | clearer,
    )
    of_diagnosis = (run.probes["target"] == "diagnosis") & (run.probes["space"] == "salient")
    for q, title in ((0.001, "SepCLR, k-JEM"), (0.5, "Generalised contrastive PCA")):
        patterns = patterns_of(replace(both, probes=run.probes.assign(q=np.where(of_diagnosis, q, 1.0))))
        assert patterns is not None
        assert patterns["method"] == title


def test_records_to_run_details(run: Run) -> None:
    problems: list[str] = []
    made = trained_methods(run.config, run.records, problems)
    assert problems == [f"SepCLR, k-JEM, fold {fold}: there is no model." for fold in (0, 1)]
    assert run_details(run.config, made, run.seconds)["durations"].values.tolist() == [["train", 2, 1.5]]


def test_a_run_to_a_page(run: Run) -> None:
    charts: dict[str, Picture] = {}
    page = page_of(run, charts)
    for section in ("answer", "cohort", "training", "results", "spaces", "patterns", "maps", "ran", "problems"):
        assert f'<section id="{section}">' in page
    assert "volumes" in charts
