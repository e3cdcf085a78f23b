"""Whose data these are, what ran, and how volumes were prepared."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import recorded, write_tsv
from sepclr_neuro.probing.questions import with_cohort_defaults
from sepclr_neuro.report.reading import read_run
from sepclr_neuro.report.run_details import run_details
from tests.report.reported_run import FILES_COHORT, IMPLANTED_COHORT, METHOD, Page, a_config, page_of, write_run


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "banner"),
    [({}, "SIMULATED cohort"), (IMPLANTED_COHORT, "IMPLANTED effect"), (FILES_COHORT, "Real cohort")],
    ids=["simulated", "implanted", "files"],
)
def test_banner_says_whose_data_these_are(tmp_path: Path, changes: dict[str, Any], banner: str) -> None:
    config = a_config(tmp_path, report={"viewers": 0}, **changes)
    text = page_of(config, write_run(config))
    page = Page(text)
    assert banner in page.text.split("Not for clinical use")[0]
    captions = re.findall(r"<(?:fig)?caption>(.*?)<", text)
    for said in (": demographics", ": mean and", ": loss terms", ": mean ±", ": common and", ": relevance share"):
        assert any(caption.startswith(banner + said) for caption in captions), said
    assert captions.count(f"{banner}: ") == 6, "the map of the main result, predictions, spaces, two maps and the t-map"
    others = {"SIMULATED", "IMPLANTED", "Real cohort"} - {banner, banner.split()[0]}
    assert not any(other in page.text for other in others)


def test_only_what_the_user_wrote_is_listed_as_different() -> None:
    scores = {"panss": {"column": "PANSS", "range": [30, 210]}}
    studies = [{"name": "ours", "participants": "people.tsv", "volumes": "{participant_id}.nii.gz"}]
    written = {
        "cohort": {"source": "files", "studies": studies, "scores": scores},
        "volumes": {"shape": [64, 64, 64]},
        "methods": {METHOD: {"training": {"epochs": 100, "batch_size": 8}}},
    }
    config = parse_config(stage_config(parse_config(written), "report"))
    people = ["a", "b", "c", "d"]
    cohort = pd.DataFrame({"scan_id": people, "participant_id": people, "group": ["background", "target"] * 2})
    cohort = cohort.assign(age=[20, 30, 40, 50], sex="male", site="here", diagnosis=["control", "schizophrenia"] * 2)
    cohort = cohort.assign(panss=[None, 50, None, 60])
    changed = run_details(with_cohort_defaults(config, cohort), {}, [])["changed"]
    assert dict(zip(changed["setting"], changed["default"], strict=True)) == {
        "cohort.source": "simulated",
        "cohort.studies": "[]",
        "cohort.scores.panss.column": "not set",
        "cohort.scores.panss.range": "not set",
        "volumes.shape": "[128, 128, 128]",
        f"methods.{METHOD}.training.batch_size": "16 (its section)",
    }
    (studies_shown,) = changed.loc[changed["setting"] == "cohort.studies", "this run"]
    assert studies_shown == "[{name: ours, participants: people.tsv, volumes: '{participant_id}.nii.gz'}]"
    # What is written is listed, also where the cohort would have it otherwise.
    one = parse_config(stage_config(parse_config(written | {"saliency": {"targets": ["diagnosis"]}}), "report"))
    assert "saliency.targets" in run_details(one, {}, [])["changed"]["setting"].tolist()


@pytest.mark.usefixtures("undrawn")
def test_what_ran_is_told(tmp_path: Path) -> None:
    config = a_config(tmp_path, methods={METHOD: {"temperature": 0.7, "training": {"epochs": 3}}}, seed=5)
    results = write_run(config)
    page = Page(page_of(config, results))
    words = " ".join(page.text.split())
    for said in ("methods.sepclr-k-jem.temperature 0.7 0.5", "methods.sepclr-k-jem.training.epochs 3", "seed 5 0"):
        assert said in words
    assert "splits.folds 2 5" in words
    assert "splits.repeats" not in words.split("The whole configuration")[0]
    assert "torch" in words
    assert "2.13.0" in words
    assert "its code c0dec0dec0de" in words
    assert "processor an abacus" in words
    for path in (results.cohort, results.index):
        digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        assert digest in words
    # 90 s a fold.
    assert "SepCLR, k-JEM 2 6 4 3 42 cuda:0 (aarch64) 32-true 0 3 " in words
    made_with = words.split("Report made with")[1]
    for said in (f"Python {platform.python_version()}", "snakemake 9.", "scikit-learn 1.", "nilearn 0."):
        assert said in made_with
    assert "train 2 1.5 " in words
    method_text = words.split("Methods text")[-1]
    assert "batches of 4 participants (16 were requested; a batch has at most twice the smaller training" in method_text
    assert "half from each group, 3 epochs, in float32." in method_text
    assert (
        "Software. torch 2.13.0, numpy 2.4.1; seed 5." in method_text or "numpy 2.4.1, torch 2.13.0; seed 5." in words
    )


def test_what_the_report_itself_took_is_not_read(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    results = write_run(config)
    write_tsv(results.benchmark("report"), pd.DataFrame({"s": [7.0]}))
    with recorded() as record:
        seconds = read_run(config, results).seconds
    assert seconds == [("train", 45.0)] * 2
    assert results.benchmark("report") not in record.read, "verify would call the report stale"


@pytest.mark.usefixtures("undrawn")
def test_folders_around_the_run_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "jane.doe" / "trial"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    study = {
        "name": "one",
        "participants": str(work / "tables" / "participants.tsv"),
        "phenotypes": [str(tmp_path / "jane.doe" / "elsewhere" / "scores.tsv"), "../elsewhere/more.tsv"],
        "volumes": str(tmp_path / "jane.doe" / "scans" / "{participant_id}.nii.gz"),
    }
    config = a_config(work / "runs" / "first", report={"viewers": 0}, cohort={"source": "files", "studies": [study]})
    text = page_of(config, write_run(config))
    assert "jane.doe" not in text
    assert "elsewhere" not in text
    changed, whole = Page(text).text.split("The whole configuration")
    for shown in (changed, whole):
        for path in (
            "runs/first",
            "tables/participants.tsv",
            "…/scores.tsv",
            "…/more.tsv",
            "…/{participant_id}.nii.gz",
        ):
            assert path in shown


PREPARED = {"shape": [64, 64, 64], "smoothing_mm": 8, "tiv_column": "tiv"}
SMOOTHED_AND_SCALED = "smoothed with a Gaussian of 8.0 mm FWHM{} scaled by 1500 ml/TIV"
CROPPED = "cropped and padded to 64 × 64 × 64 voxels"
RESAMPLED = "resampled (trilinear) to 64 × 64 × 64 voxels of 3.0 mm"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("cohort", "volumes", "steps"),
    [
        (FILES_COHORT, PREPARED, f", then {SMOOTHED_AND_SCALED.format(', then')}, then {CROPPED}."),
        (FILES_COHORT, {"shape": [64] * 3, "resample_mm": 3}, f"brought to RAS orientation, then {RESAMPLED}."),
        (
            IMPLANTED_COHORT,
            PREPARED | {"resample_mm": 3},
            f"and {RESAMPLED}; the pattern was implanted there, and all volumes, with and without it, were then "
            f"{SMOOTHED_AND_SCALED.format(' and')}.",
        ),
        (IMPLANTED_COHORT, {"shape": [64] * 3}, f"and {CROPPED}; the pattern was implanted there."),
        (
            {},
            PREPARED,
            # The grid of the run itself.
            f"simulated on a grid of 64 × 64 × 64 voxels of 6 × 6 × 6 mm, then {SMOOTHED_AND_SCALED.format(' and')}.",
        ),
        ({}, {"shape": [64] * 3}, "simulated on a grid of 64 × 64 × 64 voxels of 6 × 6 × 6 mm."),
    ],
    ids=["files", "files-resampled", "implanted-resampled", "implanted", "simulated", "simulated-plain"],
)
def test_methods_text_tells_the_steps_in_their_order(
    tmp_path: Path, cohort: dict[str, Any], volumes: dict[str, Any], steps: str
) -> None:
    config = a_config(tmp_path, report={"viewers": 0}, volumes=volumes, **cohort)
    words = " ".join(Page(page_of(config, write_run(config))).text.split())
    assert steps in words.split("Methods text")[-1]


def test_exclusions_are_counted_by_rule(plain: tuple[Config, Results, str]) -> None:
    words = " ".join(Page(plain[2]).text.split())
    assert "listed in the tables 0 14 age outside 18 to 65 2 12" in words
    assert "in the target group, without sans 3" in words
    assert "simulated age outside 18 to 65 2" in words
