"""The report's words follow p and q: a mean above chance is no finding; leakage and doubt stand beside the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.report.findings import ALPHA, results_table, sentences
from sepclr_neuro.report.summary import clearest, leading_target, meaning, site_warnings, uncertainties
from tests.report.reported_run import LEAKAGE, METHOD, Page, a_config, page_of, write_run

TARGETS = {
    "age": ProbeTarget(kind="regression", expected_in="common", label="Age"),
    "site": ProbeTarget(kind="classification", expected_in="common", label="Site"),
    "sans": ProbeTarget(kind="regression", expected_in="salient", label="SANS"),
    "diagnosis": ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis"),
}
CHANCE = {"age": 9.0, "site": 25.0, "sans": 13.0, "diagnosis": 50.0}


def a_table(*rows: tuple[str, str, str, float, float]) -> pd.DataFrame:
    """A table of probes from method, target, space, mean and q; p is half of q."""
    table = pd.DataFrame(rows, columns=["method", "target", "space", "mean", "q"])
    metric = ["bacc" if TARGETS[target].kind == "classification" else "mae" for target in table["target"]]
    known = {"chance": table["target"].map(CHANCE), "p": table["q"] / 2, "sd": 1.0, "metric": metric}
    return table.assign(**known, null95=60.0, ci_low=41.0, ci_high=63.0, n=90)


def at_chance() -> pd.DataFrame:
    """Labels drawn at random: means above chance, all q high."""
    return a_table(
        ("sepclr-k-jem", "age", "common", 8.9, 0.6),
        ("sepclr-k-jem", "age", "salient", 9.1, 0.7),
        ("sepclr-k-jem", "diagnosis", "common", 49.0, 0.8),
        ("sepclr-k-jem", "diagnosis", "salient", 52.9, 0.4),
    )


def found(common_q: float = 0.5, site_q: float = 0.5) -> pd.DataFrame:
    """The diagnosis in the salient spaces of both methods, most clearly in that of the second."""
    return a_table(
        ("sepvae", "diagnosis", "common", 51.0, 0.5),
        ("sepvae", "diagnosis", "salient", 60.0, 0.04),
        ("sepclr-k-jem", "site", "common", 60.0, 0.004),
        ("sepclr-k-jem", "site", "salient", 40.0, site_q),
        ("sepclr-k-jem", "sans", "common", 13.0, 0.5),
        ("sepclr-k-jem", "sans", "salient", 12.9, 0.3),
        ("sepclr-k-jem", "diagnosis", "common", 57.0, common_q),
        ("sepclr-k-jem", "diagnosis", "salient", 70.0, 0.004),
    )


# --- sentences and table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("q", "better"), [(0.4, False), (ALPHA, False), (0.049, True), (np.nan, False)])
@pytest.mark.parametrize("mean", [48.0, 52.9, 90.0])
def test_q_alone_decides_what_is_better_than_chance(mean: float, q: float, better: bool) -> None:
    table = a_table(("m", "diagnosis", "salient", mean, q))
    scores = pd.DataFrame({"method": ["m"], "target": "diagnosis", "fold": 0, "space": "salient", "value": mean / 100})
    said = sentences(table, scores, TARGETS)["m"][0]
    assert (". Better than chance: salient." in said) == better
    assert ("Not shown to be better than chance: salient." in said) == (not better and not np.isnan(q))
    assert ("Not tested: salient." in said) == np.isnan(q)
    cell = results_table(table, TARGETS).rows[0][1][0][1]
    assert cell.mark == ("as-meant" if better else "")


def test_the_table_shows_p_and_q_and_marks_what_is_where_it_should_not_be() -> None:
    table = results_table(found(common_q=0.03), TARGETS)
    marks = {title: [[cell.mark for cell in cells] for cells in targets] for title, targets in table.rows}
    assert marks["SepCLR, k-JEM"] == [["as-meant", ""], ["", ""], ["not-meant", "as-meant"]]
    last = dict(table.rows)["SepCLR, k-JEM"][-1]
    assert [cell.test for cell in last] == [("p\xa0.015", "q\xa0.030"), ("p\xa0.002", "q\xa0.004")]
    assert all(not cell.test for cells in dict(table.rows)["Chance"] for cell in cells)


def test_an_error_above_that_of_the_median_is_said_though_q_is_low() -> None:
    table = a_table(("m", "sans", "salient", 14.0, 0.01), ("m", "sans", "common", 14.0, 0.5))
    scores = pd.DataFrame(
        [{"method": "m", "target": "sans", "fold": 0, "space": space, "value": 14.0} for space in ("salient", "common")]
    )
    said = sentences(table, scores, TARGETS)["m"][0]
    assert said.endswith("Yet with no lower error than predicting the median: salient.")


# --- the answer --------------------------------------------------------------------------------------------------


def test_a_chance_figure_is_not_called_a_finding() -> None:
    said = meaning(at_chance(), TARGETS)
    assert said == [
        "The salient space of SepCLR, k-JEM is not shown to predict Diagnosis better than chance: "
        "52.9 % (chance 50.0 %, p 0.20, q 0.40).",
        "So this run found nothing specific to the target group for Diagnosis; "
        "common spaces are not shown to predict their targets either.",
    ]


def test_the_images_may_hold_what_no_salient_space_does() -> None:
    table = pd.concat([at_chance(), a_table(("voxel-linear", "diagnosis", "single", 88.0, 0.002))])
    assert (
        "though the volumes contain it: the single space of Voxel-wise linear has 88.0 % ("
        in meaning(table, TARGETS)[1]
    )
    table = at_chance().assign(q=[0.01, 0.7, 0.02, 0.4])
    said = meaning(table, TARGETS)[1]
    assert "though a common space predicts Diagnosis: SepCLR, k-JEM, 49.0 % (" in said
    assert said.endswith("common spaces predict Age (p 0.30, q 0.010) better than chance.")


def test_a_score_that_is_read_does_not_gainsay_what_is_not_found() -> None:
    table = pd.concat([at_chance(), a_table(("sepvae", "sans", "salient", 11.0, 0.01))])
    first, second = meaning(table, TARGETS)
    assert first.endswith("52.9 % (chance 50.0 %, p 0.20, q 0.40); predicted instead: SANS (lowest q 0.010).")
    assert second.startswith("So this run found nothing specific to the target group for Diagnosis")


def test_two_sentences_tell_what_was_found_and_whether_spaces_are_separate() -> None:
    first, second = meaning(found(), TARGETS)
    assert first == (
        "The salient space predicts Diagnosis better than chance in 2 of 2 methods, most clearly in SepCLR, k-JEM: "
        "70.0 % (chance 50.0 %, p 0.002, q 0.004); not shown for any method: SANS."
    )
    assert second == (
        "The spaces are separate as far as these probes show: the common space of SepCLR, k-JEM is not shown to "
        "predict Diagnosis, 57.0 % (chance 50.0 %, p 0.25, q 0.50), and its salient space is not shown to predict Site."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"common_q": 0.02}, "the common space of SepCLR, k-JEM predicts Diagnosis too"),
        ({"site_q": 0.02}, "its salient space predicts Site ("),
    ],
)
def test_what_is_in_the_wrong_space_is_no_separation(changes: dict[str, float], words: str) -> None:
    second = meaning(found(**changes), TARGETS)[1]
    assert second.startswith("Separation is incomplete: ")
    assert words in second


def test_single_spaces_say_nothing_about_separation() -> None:
    table = a_table(("voxel-linear", "diagnosis", "single", 88.0, 0.002))
    assert leading_target(table, TARGETS) == "diagnosis"
    first, second = meaning(table, TARGETS)
    assert first.startswith("The representation of Voxel-wise linear predicts Diagnosis better than chance: 88.0 %")
    assert "nothing about separation" in second


@pytest.mark.parametrize("rows", [("age", "common", 8.0, 0.01), ("diagnosis", "salient", np.nan, np.nan)])
def test_without_a_question_of_the_salient_space_nothing_is_said_about_it(rows: tuple[Any, ...]) -> None:
    assert "says nothing about separation" in " ".join(meaning(a_table(("m", *rows)), TARGETS))


def test_of_equal_q_the_better_figure_is_the_clearest() -> None:
    table = a_table(("a", "diagnosis", "salient", 60.0, 0.01), ("b", "diagnosis", "salient", 70.0, 0.01))
    assert clearest(table, "diagnosis")["method"] == "b"  # type: ignore[index]
    table = a_table(("a", "sans", "salient", 12.0, 0.01), ("b", "sans", "salient", 13.0, 0.01))
    assert clearest(table, "sans")["method"] == "a"  # type: ignore[index]


# --- site, and what is uncertain ---------------------------------------------------------------------------------


def of_site(**changes: Any) -> dict[str, Any]:
    return LEAKAGE | {"people": "all", "mean": 100.0, "q": 0.002, "p": 0.001} | changes


def test_a_salient_space_that_tells_the_site_is_warned_of_with_its_figures() -> None:
    rows = [of_site(), of_site(people="background", mean=97.0, probe="nonlinear"), of_site(people="target", q=0.2)]
    assert site_warnings(pd.DataFrame(rows), at_chance()) == [
        "SepCLR, k-JEM: its salient space predicts the site, 100.0 % (chance 25.0 %, p 0.001, q 0.002) of all "
        "participants, linear probe; 97.0 % (chance 25.0 %, p 0.001, q 0.002) of controls alone, nonlinear probe."
    ]


@pytest.mark.parametrize("changes", [{"q": 0.06}, {"space": "common"}, {"harmonised": "yes"}, {"q": np.nan}])
def test_nothing_is_warned_of_without_a_reason(changes: dict[str, Any]) -> None:
    assert site_warnings(pd.DataFrame([of_site(**changes)]), at_chance()) == []


def test_site_is_warned_of_from_the_table_alone_too() -> None:
    assert site_warnings(None, found()) == []
    said = site_warnings(None, found(site_q=0.02))
    assert said == ["SepCLR, k-JEM: its salient space predicts the site, 40.0 % (chance 25.0 %, p 0.010, q 0.020)."]


def test_a_site_that_tells_the_diagnosis_is_warned_of() -> None:
    alone = of_site(method="site", space="site alone", target="diagnosis", mean=58.7, chance=50.0)
    assert (
        "The site alone, without any image, predicts the diagnosis: 58.7 % ("
        in site_warnings(pd.DataFrame([alone]), at_chance())[0]
    )
    assert site_warnings(pd.DataFrame([alone | {"q": 0.3}]), at_chance()) == []


def test_of_many_methods_that_tell_the_site_the_worst_are_named() -> None:
    names = [f"method{k}" for k in range(5)]
    table = a_table(*((name, "site", "salient", 50.0 + k, 0.01) for k, name in enumerate(names)))
    said = site_warnings(None, table)
    assert [line.split(":")[0] for line in said[:3]] == ["method4", "method3", "method2"]
    assert said[3] == "So do those of 2 more methods."


def test_doubt_has_its_figures() -> None:
    row = {"method": METHOD, "target": "diagnosis", "metric": "bacc", "folds": 3, "p": 0.3, "q": 0.6}
    pair = {"space": "common", "other_method": METHOD, "other_space": "salient", "difference": -13.0}
    added = {"space": "salient", "confounds": 62.0, "combined": 71.0, "increment": 9.0}
    said = " ".join(
        uncertainties(found(), TARGETS, pd.DataFrame([row | pair]), pd.DataFrame([row | added | {"q": 0.01}]))
    )
    assert "the 95 % interval over 90 held-out participants is 41.0 % to 63.0 %" in said
    assert "Chance alone reaches 60.0 % there in one of twenty cases" in said
    assert (
        "predicts Diagnosis 13.0 points better than the common one; over 3 folds the difference is not significant (p "
        "0.30" in said
    )
    assert "predict Diagnosis with 62.0 %; the space adds to that (together 71.0 %, p 0.30, q 0.010)" in said
    assert "The table has 8 tests" in said
    lucky = uncertainties(found().assign(p=0.01, q=0.2), TARGETS, None, None)[-1]
    assert lucky.endswith("8 have p below 0.05 but not q.")


# --- the page ----------------------------------------------------------------------------------------------------


def with_q(results: Any, q: dict[str, float]) -> None:
    """Writes the table of a run with other q by space."""
    path = results.table("schizophrenia", "tsv")
    table = read_tsv(path)
    write_tsv(path, table.assign(q=table["space"].map(q), p=table["space"].map(q)))


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


@pytest.mark.usefixtures("undrawn")
def test_the_page_opens_with_the_answer_and_ends_with_what_was_left_out(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 0})
    results = write_run(config)
    write_tsv(results.table("site_leakage", "tsv"), pd.DataFrame([of_site()]))
    text = page_of(config, results)
    order = [given["id"] for tag, given in Page(text).tags if tag == "section"]
    assert order == [
        *("answer", "cohort", "volumes", "training", "leakage", "results", "spaces", "maps", "sanity"),
        *("methods", "checklist", "licence", "ran", "problems"),
    ]
    words = " ".join(Page(section(text, "answer")).text.split())
    parts = ("Site leakage.", "100.0 %", "Method Age", "Interpretation", "Where in the brain", "Uncertainty")
    places = [words.index(part) for part in parts]
    assert places == sorted(places)
    assert "p .010 q .010" in words


@pytest.mark.usefixtures("undrawn")
def test_maps_of_probes_at_chance_say_so_and_fold_away(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 2})
    results = write_run(config)
    with_q(results, {"salient": 0.01, "common": 0.3})
    text = page_of(config, results)
    maps = section(text, "maps")
    before, folded = maps.split('<details class="long">')[:2]
    assert "salient space" in before
    assert "common space" not in before
    assert "common space" in folded
    assert "At chance: 46.0 % (chance 50.0 %, p 0.30, q 0.30)" in folded
    assert "Better than chance: 81.0 % (chance 50.0 %, p 0.010, q 0.010)" in before
    assert "<iframe" not in folded.split("</details>")[0]
    answer = Page(section(text, "answer"))
    assert [given["alt"] for tag, given in answer.tags if tag == "img"] == [
        "Diagnosis: SepCLR, k-JEM, salient space, SmoothGrad: map of the main result"
    ]


@pytest.mark.usefixtures("undrawn")
def test_where_all_is_at_chance_no_map_is_the_answer(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 2})
    results = write_run(config)
    with_q(results, {"salient": 0.3, "common": 0.3})
    page = page_of(config, results)
    assert "No map is shown here" in section(page, "answer")
    assert "<img" not in section(page, "answer")
    maps = section(page, "maps")
    assert "No probe of Diagnosis is shown to be better than chance" in maps
    assert maps.count("At chance: ") == 3, "the fold's title and both maps"
    assert "Better than chance" not in page.replace("Not shown to be better than chance", "")


@pytest.mark.usefixtures("undrawn")
def test_the_report_says_how_far_it_is(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    config = a_config(tmp_path, report={"viewers": 0})
    results = write_run(config)
    page_of(config, results)
    assert said.messages[:-1] == [
        "report: 12 scans of 12 participants; mean and SD of 12 volumes",
        "report: training curves of SepCLR, k-JEM, method 1 of 1",
        "report: 4 figures of 2 targets: table, sentences, charts",
        "report: predictions of the probes and spaces of SepCLR, k-JEM, method 1 of 1",
        "report: 2 maps of Diagnosis",
        "report: 5 charts; filling the page",
    ]
    assert said.messages[-1].startswith(f"report: {results.report}: ")
