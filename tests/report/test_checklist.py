"""The checklist and the references beside the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.maps.about import About
from sepclr_neuro.maps.mapping import save_map
from sepclr_neuro.report.checklist import OPEN, checklist
from sepclr_neuro.report.reading import read_run
from tests.report.reported_run import FILES_COHORT, METHOD, Page, a_config, hostile, page_of, trained_in, write_run


def answers(config: Config, results: Results) -> dict[str, str]:
    table = checklist(read_run(config, results), trained_in(config, results))
    return dict(zip(table["item"], table["answer"], strict=True))


def test_answers_follow_the_files_of_the_run(tmp_path: Path) -> None:
    config = a_config(tmp_path, cohort={"source": "simulated"})
    results = write_run(config)
    before = answers(config, results)
    assert "SIMULATED" in before["Kind of data"]
    assert before["Number of participants"].startswith("12 participants (12 scans): 6 background (control), 6 target")
    assert before["Sites"].startswith("2 sites: North (6) and South (6).")
    assert "4 figures of 1 method, 4 better than chance" in before["Performance with intervals"]
    assert "Age, sex and site of all participants are known" in before["Missing data"]
    assert "1000 permutations within site" in before["Inference and multiple comparisons"]
    write_tsv(results.cohort, read_tsv(results.cohort).assign(age=[np.nan, *range(20, 31)]).iloc[:11])
    after = answers(config, results)
    assert after["Number of participants"].startswith("11 participants")
    assert "Unknown: age of 1 participant" in after["Missing data"]


def test_maps_and_tests_of_salient_codes_are_counted_and_named(tmp_path: Path) -> None:
    config = a_config(tmp_path, saliency={"targets": ["diagnosis"], "permutations": 19}, subtypes={"clusters": [2]})
    results = write_run(config)
    before = answers(config, results)
    assert before["Maps"].startswith("2 maps (2 of saliency), ")
    said = before["Inference and multiple comparisons"]
    assert "Group maps of saliency: 19 permutations" in said
    assert not re.search("Patterns|diseases|Subtypes", said)
    about = About("Mean patient", "pattern", "SD of grey matter", "diagnosis")
    save_map(results.patterns(METHOD) / "mean-patient.nii.gz", np.ones((4, 4, 4), np.float32), np.eye(4), about, config)
    write_tsv(results.patterns(METHOD) / "patterns.tsv", pd.DataFrame({"map": ["mean-patient"], "p": [0.05]}))
    write_tsv(results.patterns(METHOD) / "diseases.tsv", pd.DataFrame({"disease": ["a"], "other": ["b"]}))
    write_tsv(results.subtypes(METHOD) / "subtypes.tsv", pd.DataFrame({"clusters": [2], "p": [0.005]}))
    after = answers(config, results)
    assert after["Maps"].startswith("3 maps (1 of patterns and 2 of saliency), ")
    assert "tables: patterns.tsv, diseases.tsv, subtypes.tsv" in after["Maps"]
    said = after["Inference and multiple comparisons"]
    assert "Patterns: Diagnoses were exchanged within site in 19 permutations" in said
    assert "the largest absolute voxel of a map" in said
    assert "Several diseases: Exchanges within site in 19 permutations" in said
    assert "Subtypes: The share" in said
    assert "199 samples of one Gaussian" in said


def test_tuning_and_confounds_are_those_of_the_models(tmp_path: Path) -> None:
    methods = {
        METHOD: {"adjust_for": []},
        "sepclr-linear": {"choose": {"salient_dim": [2, 8]}},
        "normative": {"choose": {"salient_dim": [4]}},
    }
    config, results = a_config(tmp_path, methods=methods), write_run(a_config(tmp_path))
    before = answers(config, results)
    assert "The salient space was adjusted in no method." in before["Confounds"]
    assert "inner folds" not in before["Tuning"]
    record = read_json(results.model_folder(METHOD, 0) / "model.json")
    columns = {"columns": [{"column": "age"}, {"column": "tiv"}]}
    for name in ("sepclr-linear", "normative"):
        of_method = {"method": name, "settings": stage_config(config, "training", name), "covariates": columns}
        write_json(results.model_folder(name, 0) / "model.json", record | of_method)
    after = answers(config, results)
    titles = [config.for_method(name).title for name in ("sepclr-linear", "normative")]
    assert f"the distance from the controls predicts the group: {titles[0]} (salient_dim). OPEN:" in after["Tuning"]
    assert (
        f"{titles[0]}: The salient space was computed from volumes adjusted within groups for age and total "
        f"intracranial volume. {titles[1]}: The salient space was computed from volumes adjusted for age and total "
        "intracranial volume, by effects learned in the training controls alone." in after["Confounds"]
    )


OF_REAL = (
    "Ethical approval, consent",
    "Sites",
    "Characteristics",
    "Treatments received",
    "Acquisition",
    "Preprocessing before this software",
)


def test_simulated_participants_have_no_board_and_no_scanner(tmp_path: Path) -> None:
    simulated, real = a_config(tmp_path / "simulated"), a_config(tmp_path / "real", **FILES_COHORT)
    of_simulated, of_real = answers(simulated, write_run(simulated)), answers(real, write_run(real))
    for item in OF_REAL:
        assert of_simulated[item].endswith("Not applicable: simulated.")
        assert OPEN not in of_simulated[item]
        assert OPEN in of_real[item]
        assert "simulated" not in of_real[item]


def test_open_items_are_marked_and_not_ticked(plain: tuple[Config, Results, str]) -> None:
    config, results, text = plain
    written = results.checklist.read_text()
    open_items = sum(OPEN in answer for answer in answers(config, results).values())
    assert written.count("- [ ]") == open_items > 5
    assert written.count("- [x]") == len(answers(config, results)) - open_items > 5
    protocol = next(line for line in written.splitlines() if "Protocol" in line)
    assert protocol.startswith("- [ ]")
    assert OPEN in protocol
    ethics = next(line for line in written.splitlines() if "Ethical approval" in line)
    assert ethics.startswith("- [x]"), "the cohort is simulated"
    assert "Ethical approval" in Page(text).text


@pytest.mark.usefixtures("undrawn")
def test_names_of_users_are_text_in_it(hostile_page: Path) -> None:
    written = (hostile_page.parent / "checklist.md").read_text()
    assert "&lt;script>" in written
    assert hostile("site") not in written


def test_the_bibliography_holds_the_references_of_the_text(plain: tuple[Config, Results, str]) -> None:
    written = plain[1].bibliography.read_text()
    entries = re.findall(r"^@(\w+)\{(\w+),$", written, re.MULTILINE)
    keys = [key for _, key in entries]
    assert len(keys) == len(set(keys))
    assert {"louiset2024", "abraham2014", "pedregosa2011", "paszke2019", "molder2021", "smilkov2017"} <= set(keys)
    # Packages that the run was not made with.
    assert not {"cardoso2022", "falcon2019"} & set(keys)
    assert written.count("{") == written.count("}")
    shown = plain[2].split('<ul class="references">')[1].split("</ul>")[0]
    # Two more: the guidelines of the checklist.
    assert shown.count("<li>") == len(keys) - 2


@pytest.mark.usefixtures("undrawn")
def test_what_finds_subtypes_is_in_the_text_and_cited(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 0}, subtypes={"clusters": [2, 3]})
    results = write_run(config)
    table = {"clusters": 2, "separation": 0.6, "null95": 0.7, "p": 0.3, "people": 30}
    write_tsv(results.subtypes(METHOD) / "subtypes.tsv", pd.DataFrame([table]))
    words = " ".join(Page(page_of(config, results)).text.split()).split("Methods text")[-1]
    assert "K-means divided these directions into 2 or 3 clusters" in words
    assert "Patterns. The standardised" not in words
    keys = set(re.findall(r"^@\w+\{(\w+),$", results.bibliography.read_text(), re.MULTILINE))
    # That the codes are erased from the common space is cited too.
    assert {"haufe2014", "liu2008", "tibshirani2001", "belrose2023"} <= keys
    assert not {"nichols2005", "friedman1989"} & keys
