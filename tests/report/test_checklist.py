"""The checklist and the references beside the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.report.checklist import OPEN, checklist
from sepclr_neuro.report.reading import read_run
from tests.report.reported_run import Page, a_config, hostile, trained_in, write_run


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


def test_open_items_are_marked_and_not_ticked(plain: tuple[Config, Results, str]) -> None:
    config, results, text = plain
    written = results.checklist.read_text()
    open_items = sum(OPEN in answer for answer in answers(config, results).values())
    assert written.count("- [ ]") == open_items > 5
    assert written.count("- [x]") == len(answers(config, results)) - open_items > 5
    ethics = next(line for line in written.splitlines() if "Ethical approval" in line)
    assert ethics.startswith("- [ ]")
    assert OPEN in ethics
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
