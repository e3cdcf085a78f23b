"""What the numbers say, in sentences and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.probing.published import published_schizophrenia
from sepclr_neuro.report.findings import results_table, sentences
from tests.report.reported_run import LEAKAGE, Page, a_config, page_of, write_run


@pytest.mark.usefixtures("undrawn")
def test_tests_leakage_and_comparisons_are_shown(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 0})
    results = write_run(config)
    table = read_tsv(results.table("schizophrenia", "tsv"))
    extra = {"null95": 61.5, "p": 0.021, "q": 0.042, "ci_low": 55.5, "ci_high": 77.5, "n": 12, "pooled": 58.0}
    write_tsv(results.table("schizophrenia", "tsv"), table.assign(**extra))
    nulls = table.loc[:, ["method", "target", "metric", "space"]]
    shape = {f"percentile_{k}": 0.45 + 0.001 * k for k in range(101)}
    write_tsv(results.nulls, nulls.join(pd.DataFrame(shape, index=nulls.index)))
    alone = {"method": "site", "space": "site alone", "people": "all", "target": "diagnosis", "mean": 58.7}
    write_tsv(results.table("site_leakage", "tsv"), pd.DataFrame([LEAKAGE, LEAKAGE | alone]))
    comparisons = results.table("comparisons", "tsv")
    write_tsv(comparisons, read_tsv(comparisons).assign(p=0.777))
    page = Page(page_of(config, results))
    words = " ".join(page.text.split())
    assert {"nulls.svg", "site_leakage.svg"} <= {path.name for path in results.figures.iterdir()}
    leakage = (results.figures / "site_leakage.svg").read_text()
    panels = [title for title in ("site, within controls", "diagnosis from the site") if f">{title}<" in leakage]
    assert panels == ["site, within controls", "diagnosis from the site"]
    assert "61.5 0.021 0.042 55.5 77.5 12" in words.split("Tests and intervals")[1]
    assert "31.4" in words.split("Site leakage")[-1]
    assert "0.777" in words.split("Method against method")[-1]
    sections = [given["id"] for tag, given in page.tags if tag == "section"]
    assert sections.index("answer") < sections.index("leakage") < sections.index("results") < sections.index("maps")


@pytest.mark.usefixtures("undrawn")
def test_sentences_follow_the_numbers(plain: tuple[Config, Results, str], tmp_path: Path) -> None:
    won, tested = plain[2], "(p 0.010, q 0.010)"
    assert (
        f"Diagnosis: salient 81.0 % {tested} vs common 46.0 % {tested}, chance 50.0 %; salient does better in 2 " in won
    )
    config = a_config(tmp_path, report={"viewers": 0})
    lost = page_of(config, write_run(config, better="other"))
    assert (
        f"Diagnosis: salient 46.0 % {tested} vs common 81.0 % {tested}, chance 50.0 %; salient does better in 0 "
        in lost
    )
    assert (
        f"Age, mean absolute error: common 9.01 {tested} vs salient 4.01 {tested}, predicting the median 7.00;" in lost
    )
    assert "Yet with no lower error than predicting the median: common." in lost
    assert "9.01† ±\xa00.01" in lost


def test_sentences_say_what_was_not_scored_or_not_tested() -> None:
    targets = {"sex": ProbeTarget(kind="classification", expected_in="common", label="Sex")}
    rows = [("a", "common", 50.0), ("a", "salient", 49.0), ("b", "single", 55.0), ("c", "common", np.nan)]
    results = pd.DataFrame(rows, columns=["method", "space", "mean"]).assign(target="sex", metric="bacc", chance=50.0)
    results = results.assign(p=[0.5, 0.6, np.nan, np.nan], q=[0.5, 0.6, np.nan, np.nan])
    scores = results.assign(fold=0, value=results["mean"] / 100)
    said = sentences(results, scores, targets)
    assert said["a"] == [
        "Sex: common 50.0 % (p 0.50, q 0.50) vs salient 49.0 % (p 0.60, q 0.60), chance 50.0 %; common does better in "
        "1 of 1 fold. Not shown to be better than chance: common and salient."
    ]
    assert said["b"] == ["Sex: single 55.0 % (no test), chance 50.0 %. Not tested: single."]
    assert said["c"] == ["Sex: n/a, no fold could be scored."]


def test_table_has_the_papers_layout() -> None:
    targets = {
        "age": ProbeTarget(kind="regression", expected_in="common", label="Age"),
        "diagnosis": ProbeTarget(kind="classification", expected_in="salient"),
        "absent": ProbeTarget(kind="classification", expected_in="salient"),
    }
    rows = [
        ("sepclr-k-jem", "age", "mae", "common", 6.64, 0.21, 7.0),
        ("sepclr-k-jem", "age", "mae", "salient", 7.72, 0.45, 7.0),
        ("sepclr-k-jem", "diagnosis", "bacc", "common", 60.0, np.nan, 50.0),
        ("sepclr-k-jem", "diagnosis", "bacc", "salient", np.nan, np.nan, 50.0),
        ("other", "age", "mae", "single", 5.0, 0.5, 7.0),
    ]
    table = results_table(
        pd.DataFrame(rows, columns=["method", "target", "metric", "space", "mean", "sd", "chance"]), targets, {"age": 9}
    )
    assert table.targets == [("Age", "MAE"), ("diagnosis", "balanced accuracy, %")]
    assert table.arrows == [["↓", "↑"], ["↓", "↑"]]
    assert [
        (title, [[cell.text.replace("\xa0", " ") for cell in pair] for pair in cells]) for title, cells in table.rows
    ] == [
        ("SepCLR, k-JEM", [["6.64 ± 0.21", "7.72† ± 0.45"], ["60.00", "n/a"]]),
        ("other", [["5.00 ± 0.50"], ["n/a", "n/a"]]),
        ("Chance", [["7.00"], ["50.00"]]),
        ("Held-out scans", [["9"], ["n/a"]]),
    ]


def test_published_figures_are_the_papers_and_marked(plain: tuple[Config, Results, str]) -> None:
    published = published_schizophrenia().set_index(["method", "target", "space"])
    assert published.loc[("sepclr-k-jem", "diagnosis", "salient"), "mean"] == 79.90
    assert len(published) == 5 * 6 * 2
    inside = plain[2].split('<div class="published">')[1].split("</div>\n</section>")[0]
    assert "79.90 ±\xa01.57" in inside
    assert "another cohort" in inside
    assert "Chance" not in inside
