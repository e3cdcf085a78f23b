"""The report: one page without a network, without ids, that says no more than the numbers do."""

from __future__ import annotations

import base64
import html
import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.probing.published import published_schizophrenia
from sepclr_neuro.report import write_report
from sepclr_neuro.report.findings import method_title
from sepclr_neuro.report.run_details import left_out
from tests.report.reported_run import (
    FILES_COHORT,
    FOLDS,
    METHOD,
    PLACES,
    Page,
    a_config,
    page_of,
    trained_in,
    write_run,
)


def test_one_file_that_fetches_nothing(plain: tuple[Config, Results, str]) -> None:
    _, results, text = plain
    page = Page(text)
    beside = {path.name for path in results.report.parent.iterdir()}
    assert beside == {"index.html", "maps.html", "checklist.md", "references.bib"}
    assert page.fetched
    assert all(reference.startswith("data:") for reference in page.fetched)
    policy = next(given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_structure_is_whole_and_accessible(plain: tuple[Config, Results, str]) -> None:
    page = Page(plain[2])
    assert page.count("h1") == page.count("main") == page.count("html") == 1
    contents = Page(plain[2].split("<nav")[1].split("</nav>")[0])
    links = [given["href"][1:] for tag, given in contents.tags if tag == "a"]
    assert links == [given["id"] for tag, given in page.tags if tag == "section"]
    within = {given["href"][1:] for tag, given in page.tags if given.get("href", "").startswith("#")}
    assert within <= {given.get("id") for tag, given in page.tags}
    assert all(given["alt"] for tag, given in page.tags if tag == "img")
    assert all(given["title"] for tag, given in page.tags if tag == "iframe")
    assert ("html", {"lang": "en"}) in page.tags


def downloads(page: Page) -> dict[str, str]:
    """The content of the files that a page holds, by name."""
    links = [given for tag, given in page.tags if tag == "a" and "download" in given]
    return {link["download"]: base64.b64decode(link["href"].split("base64,", 1)[1]).decode() for link in links}


def test_no_participant_is_named(plain: tuple[Config, Results, str]) -> None:
    for text in (plain[2], *downloads(Page(plain[2])).values()):
        assert "secret" not in text
        assert "sub-gone" not in text


@pytest.mark.usefixtures("undrawn")
def test_ids_are_told_to_whoever_asks(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 0, "participant_ids": True})
    results = write_run(config)
    page = Page(page_of(config, results))
    assert "sub-gone1" in page.text
    files = downloads(page)
    assert files["exclusions.tsv"] == results.exclusions.read_text()
    assert files["predictions.tsv"] == results.predictions.read_text()


def test_every_table_can_be_downloaded_as_it_is_on_disk(plain: tuple[Config, Results, str]) -> None:
    _, results, text = plain
    page = Page(text)
    files = downloads(page)
    for name in ("schizophrenia", "demographics"):
        assert files[f"{name}.tsv"] == results.table(name, "tsv").read_text()
    assert len(files) == page.count("table")
    assert len(pd.read_csv(io.StringIO(files["published.tsv"]), sep="\t")) == len(published_schizophrenia())


def test_charts_are_files_too(plain: tuple[Config, Results, str]) -> None:
    _, results, text = plain
    names = {"scores", f"training_{METHOD}", f"predictions_{METHOD}", f"spaces_{METHOD}"}
    written = {path.name for path in results.figures.iterdir()}
    assert written == {f"{name}.{suffix}" for name in names for suffix in ("svg", "png")} | {"volumes.png"}
    light = base64.b64encode((results.figures / "scores.svg").read_bytes()).decode()
    assert f'<img src="data:image/svg+xml;base64,{light}"' in text


@pytest.mark.usefixtures("undrawn")
def test_tables_and_page_are_of_the_disorder_that_the_configuration_names(tmp_path: Path) -> None:
    cohort = FILES_COHORT["cohort"] | {"target": ["Depression"]}
    config = a_config(tmp_path, report={"viewers": 0}, cohort=cohort)
    results = write_run(config)
    page = Page(page_of(config, results))
    files = downloads(page)
    assert files["depression.tsv"] == results.table("depression", "tsv").read_text()
    tables = {path.name: path.read_text() for path in results.table("depression", "tsv").parent.iterdir()}
    assert tables.keys() == {
        *("depression.tsv", "depression.md", "depression.tex", "depression_paper.tsv", "demographics.tsv"),
        *("comparisons.tsv", "confounds.tsv"),
    }
    for text in (page.text, *files, *files.values(), *tables.values()):
        assert "schizophrenia" not in text.lower()
    assert "Published, another cohort" not in page.text
    simulated = a_config(tmp_path, report={"viewers": 0}, cohort={"target": ["depression", "anxiety"]})
    assert "says anything about depression or anxiety." in page_of(simulated, write_run(simulated))


@pytest.mark.usefixtures("undrawn")
def test_what_went_wrong_is_named(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    results = write_run(config)
    path = results.model_folder(METHOD, 1) / "history.tsv"
    history = read_tsv(path)
    write_tsv(path, history.assign(loss=np.where(history.index == 0, np.nan, history["loss"])))
    scores = read_tsv(results.scores)
    write_tsv(results.scores, scores.assign(value=np.where(scores.index == 0, np.nan, scores["value"])))
    words = " ".join(Page(page_of(config, results)).text.split())
    assert f"{method_title(METHOD)}, fold 1: the loss is not a number in some epochs." in words
    assert f"{method_title(METHOD)}, fold {scores['fold'][0]}: " in words
    assert "could not be scored in the" in words


@pytest.mark.parametrize("columns", [["epoch", "loss", "seconds"], ["epoch", "seconds"]], ids=["loss", "no loss"])
def test_a_closed_form_has_no_curve(columns: list[str], tmp_path: Path, undrawn: None) -> None:
    config = a_config(tmp_path)
    results = write_run(config)
    for fold in range(FOLDS):
        path = results.model_folder(METHOD, fold) / "history.tsv"
        write_tsv(path, read_tsv(path).head(1)[columns])
    assert Page(page_of(config, results)).text.count("loss terms before weighting") == 0


def test_what_a_short_run_left_out_is_named(tmp_path: Path) -> None:
    config = a_config(tmp_path, training={"epochs": 3}, volumes={"shape": [64] * 3})
    said = left_out(config, trained_in(config, write_run(config)))
    assert "Maps not made: Integrated gradients, Occlusion by region (saliency.attributions)." in said
    assert "Group maps have 100 permutations; a paper wants 1000 (saliency.permutations)." in said
    assert said[:3] == [
        "Volumes have 64 × 64 × 64 voxels, the paper's 128 × 128 × 128 (volumes.shape).",
        "2 folds instead of 5 (splits.folds).",
        "Trained for 3 epochs instead of 100 (training.epochs): SepCLR, k-JEM.",
    ]
    assert not any("methods" in line for line in said), "what was not run is nobody's business"


@pytest.mark.usefixtures("undrawn")
def test_what_is_missing_is_left_out_and_said(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    results = write_run(config)
    assert "None: every model" in page_of(config, results)
    shutil.rmtree(results.saliency(METHOD))
    (results.model_folder(METHOD, 1) / "model.json").unlink()
    results.table("demographics", "tsv").unlink()
    page = Page(page_of(config, results))
    assert page.count("iframe") == 0
    assert "demographics by group" not in page.text
    assert not any(given.get("id") == "maps" for _, given in page.tags)
    assert "Diagnosis: no saliency map was found." in page.text
    assert "SepCLR, k-JEM, fold 1: there is no model." in page.text


def test_missing_stages_are_named_together(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    results = write_run(config)
    results.scores.unlink()
    results.flow.unlink()
    with pytest.raises(InputError) as caught:
        write_report(config, results)
    assert len(caught.value.problems) == 2
    assert "probe" in str(caught.value)
    assert not results.report.exists()


def test_hostile_text_is_inert(hostile_page: Path) -> None:
    text = hostile_page.read_text(encoding="utf-8")
    page = Page(text)
    for place in PLACES:
        assert f"alert('{place}')" in page.text, f"the {place} is not shown"
    assert page.count("script") == 0
    assert not any("onerror" in given for _, given in page.tags)
    assert all(reference.startswith("data:") for reference in page.fetched)
    for frame in page.frames:
        assert "alert(" not in frame.text
        assert "alert('" not in html.unescape(text.split("srcdoc=", 1)[1].split("</iframe>", 1)[0])
