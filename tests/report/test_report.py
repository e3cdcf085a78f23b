"""The report: one page without a network, without ids, that says no more than the numbers do."""

from __future__ import annotations

import base64
import html
import io
import json
import platform
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nilearn import plotting
from PIL import Image

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, read_tsv, write_json, write_tsv
from sepclr_neuro.data.cache import voxels_sha256
from sepclr_neuro.data.images import as_image
from sepclr_neuro.probing.increments import INCREMENTS
from sepclr_neuro.probing.published import published_schizophrenia
from sepclr_neuro.probing.representations import Representations
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.report import answers, embeddings, figures, pictures, write_report
from sepclr_neuro.report.findings import method_title, results_table, sentences
from sepclr_neuro.report.pictures import Picture
from sepclr_neuro.report.ran import left_out
from sepclr_neuro.report.records import read_records

HOSTILE_IMAGE = "<img src=https://example.org/x onerror=alert(2)>"
METHOD = "sepclr-k-jem"
FOLDS = 2
PEOPLE = 12
GRID = 32


def a_config(output: Path, **changes: Any) -> Config:
    """Two folds, one method; ``changes`` replace whole sections."""
    content = {
        "title": "A trial & more",
        "output": str(output),
        "splits": {"folds": FOLDS},
        "probes": {
            "paper_regime": False,
            "targets": {
                "age": {"kind": "regression", "expected_in": "common", "label": "Age"},
                "diagnosis": {"kind": "classification", "expected_in": "salient", "label": "Diagnosis"},
            },
        },
        "saliency": {"targets": ["diagnosis"]},
        "report": {"viewers": 1},
    }
    return parse_config(content | changes)


def scores_of(config: Config, better: str = "expected") -> pd.DataFrame:
    """Scores where the space that is meant to hold a target does better, or the other one."""
    rows = []
    for fold in range(FOLDS):
        for target, question in config.probes.targets.items():
            accuracy = question.kind == "classification"
            for space in ("common", "salient"):
                good = (space == question.expected_in) == (better == "expected")
                rows.append(
                    {
                        "regime": "standard",
                        "method": METHOD,
                        "fold": fold,
                        "target": target,
                        "metric": "bacc" if accuracy else "mae",
                        "space": space,
                        "value": ((0.8 if good else 0.45) if accuracy else (4.0 if good else 9.0)) + 0.02 * fold,
                        "chance": 0.5 if accuracy else 7.0,
                        "train_value": 0.9 if accuracy else 3.0,
                        "n_train": 6,
                        "n_test": 6,
                    }
                )
    return pd.DataFrame(rows)


def write_run(config: Config, sites: tuple[str, str] = ("North", "South"), better: str = "expected") -> Results:
    """A small results folder as docs/architecture.md describes it."""
    results = Results(config.output)
    rng = np.random.default_rng(0)
    ids = [f"sub-secret{number:02d}" for number in range(PEOPLE)]
    target = np.arange(PEOPLE) % 2 == 1
    cohort = pd.DataFrame(
        {
            "scan_id": ids,
            "participant_id": ids,
            "session_id": pd.Series([None] * PEOPLE, dtype="str"),
            "diagnosis": np.where(target, "schizophrenia", "control"),
            "group": np.where(target, "target", "background"),
            "age": rng.uniform(20, 60, PEOPLE).round(1),
            "sex": ["female", "male", "male"] * (PEOPLE // 3),
            "site": [sites[number // 6] for number in range(PEOPLE)],
            "tiv": rng.uniform(1300, 1700, PEOPLE),
            "sans": np.where(target, 30.0, np.nan),
            "saps": np.where(target, 20.0, np.nan),
            "volume": [f"{name}.nii.gz" for name in ids],
        }
    )
    write_tsv(results.cohort, cohort)
    left_out = pd.DataFrame(
        {
            "participant_id": ["sub-gone1", "sub-gone2"],
            "session_id": pd.Series([None, None], dtype="str"),
            "study": "simulated",
            "rule": "age outside 18 to 65",
            "value": ["17", "80"],
        }
    )
    write_tsv(results.exclusions, left_out)
    flow: list[tuple[str, str, int, int]] = [
        ("start", "listed in the tables", 0, PEOPLE + 2),
        ("exclude", "age outside 18 to 65", 2, PEOPLE),
        ("count", "in the target group, without sans", 0, 3),
    ]
    write_tsv(results.flow, pd.DataFrame(flow, columns=["step", "rule", "removed", "remaining"]))

    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -3 * GRID
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, GRID)] * 3, indexing="ij"))
    brain = (place**2 / np.array([0.7, 0.9, 0.7]).reshape(3, 1, 1, 1) ** 2).sum(axis=0) < 0.7
    volumes = (brain * rng.uniform(0.3, 0.9, (PEOPLE, GRID, GRID, GRID))).astype(np.float16)
    results.volumes.parent.mkdir(parents=True, exist_ok=True)
    np.save(results.volumes, volumes)
    index = {"scan_id": ids, "row": range(PEOPLE), "sha256": "0" * 64, "source": cohort["volume"]}
    checksums = [voxels_sha256(volume) for volume in volumes]
    write_tsv(results.index, pd.DataFrame(index).assign(voxels_sha256=checksums))
    write_json(results.grid, {"shape": [GRID] * 3, "affine": affine.tolist()})

    for fold in range(FOLDS):
        folder = results.model_folder(METHOD, fold)
        model = {
            "method": METHOD,
            "fold": fold,
            "train_scan_ids": ids[fold::2],
            "settings": stage_config(config, "training", METHOD),
            "seed": 0,
            "versions": {"torch": "2.13.0", "numpy": "2.4.1"},
            "made_by": {"code_sha256": "c0de" * 16, "hardware": {"processor": "an abacus"}},
            "device": "cuda:0",
            "processor": "aarch64",
            "precision": "32-true",
            "batch_size": 4,
            "views": 2,
            "losses": ["salient_alignment"],
            "networks": {
                name: {"class": "LightEncoder", "weights": 21} for name in ("common_encoder", "salient_encoder")
            },
            "epochs": 3,
            "seconds": 90.0,
        }
        write_json(folder / "model.json", model)
        losses = rng.uniform(0, 1, 3) - fold
        terms = {"epoch": [1, 2, 3], "loss": losses, "salient_alignment": losses / 2, "seconds": 30.0}
        write_tsv(folder / "history.tsv", pd.DataFrame(terms))

        measured = pd.DataFrame({"s": [45.0], "h:m:s": ["0:00:45"], "max_rss": ["-"]})
        write_tsv(results.benchmark("train", METHOD, f"fold-{fold}"), measured)

        spaces = {f"{space}_{k}": rng.normal(size=PEOPLE) for space in ("common", "salient") for k in range(3)}
        side = np.where(np.arange(PEOPLE) % 2 == fold, "train", "test")
        representations = pd.DataFrame({"scan_id": ids, "side": side, **spaces})
        write_tsv(results.representations(METHOD, fold), representations)

    write_tsv(results.predictions, predictions_of(config, cohort))
    scores = scores_of(config, better)
    write_tsv(results.scores, scores)
    probes = scores.drop_duplicates(["target", "space"])[["regime", "method", "target", "metric", "space"]]
    write_tsv(results.verdicts, probes.assign(pooled=0.5, null95=0.6, p=0.01, ci_low=0.4, ci_high=0.7, n=12, missing=0))
    write_tsv(results.increments, pd.DataFrame(columns=INCREMENTS))
    write_tables(config, results)

    for space in ("common", "salient"):
        path = results.saliency(METHOD) / "smoothgrad" / f"diagnosis_{space}.nii.gz"
        with atomic_path(path) as temporary:
            as_image((place[0] * brain).astype(np.float32), affine).to_filename(temporary)
        Figure(figsize=(4, 2)).savefig(path.with_name(f"diagnosis_{space}.png"))
    key = {"attribution": "smoothgrad", "target": "diagnosis", "space": "salient"}
    found = {"relevance_share": 0.31, "volume_share": 0.1, "ratio": 3.1, "people": 6}
    write_tsv(results.saliency(METHOD) / "localisation.tsv", pd.DataFrame([key | found]))
    checked = {"check": "weights", "layers": 3, "last_layer": "encoder.0", "spearman": 0.0123}
    write_tsv(results.saliency(METHOD) / "sanity.tsv", pd.DataFrame([key | checked]))
    cluster = {"contrast": "group", "sign": "negative", "peak_t": -5.55, "region": "Insula"}
    write_tsv(results.saliency(METHOD) / "clusters.tsv", pd.DataFrame([key | cluster]))
    write_tsv(results.vbm / "localisation.tsv", pd.DataFrame([{"target": "diagnosis", **found, "ratio": 4.4}]))
    Figure(figsize=(4, 2)).savefig(results.vbm / "diagnosis.png")
    return results


def predictions_of(config: Config, cohort: pd.DataFrame) -> pd.DataFrame:
    """Guesses about every held-out scan."""
    rng = np.random.default_rng(1)
    tables = []
    for fold in range(FOLDS):
        for target, question in config.probes.targets.items():
            for space in ("common", "salient"):
                test = cohort.iloc[1 - fold :: 2]
                number = question.kind == "regression"
                truth = test[target].astype(str)
                table = {"method": METHOD, "fold": fold, "target": target, "space": space, "scan_id": test["scan_id"]}
                table |= {"truth": truth, "prediction": rng.permutation(truth)}
                tables.append(pd.DataFrame(table | {"score": np.nan if number else rng.normal(size=len(test))}))
    return pd.concat(tables)


def page_of(config: Config, results: Results) -> str:
    write_report(config, results)
    return results.report.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Tags, what they would fetch, and the text; documents inside frames are parsed too."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.fetched: list[str] = []
        self.text = ""
        self.frames: list[Page] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self.text += " "
        self._open.append(tag)
        if tag != "a":
            self.fetched += [given[name] for name in ("src", "srcset", "href", "data", "poster") if name in given]
        if "srcdoc" in given:
            self.frames.append(Page(given["srcdoc"]))
            self.fetched += self.frames[-1].fetched

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.fetched += re.findall(r"url\(([^)]*)\)|@import", data)
        elif not (self._open and self._open[-1] == "script"):
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what a page says: charts take seconds."""
    for module, name in (
        (figures, "training_figure"),
        (figures, "scores_figure"),
        (figures, "volume_figure"),
        (answers, "answers_figure"),
        (embeddings, "embedding_figure"),
    ):
        monkeypatch.setattr(module, name, lambda *_: Picture("data:,", "none"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results, str]:
    """A run and its page, for tests that change neither."""
    config = a_config(tmp_path_factory.mktemp("plain"))
    results = write_run(config)
    return config, results, page_of(config, results)


def hostile(place: str) -> str:
    """Markup that would run, named after the place where somebody wrote it."""
    return f"<script>alert('{place}')</script><img src=https://example.org/x onerror=alert(2)>"


# Whatever the page shows that a table, a file's name or the configuration may have said.
PLACES = (
    *("title", "label of a target", "site", "background", "target", "table's name", "volumes' name", "column"),
    *("rule", "counted rule", "participant", "value", "atlas' name", "region", "note"),
)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in which all that users name is hostile (names of studies and methods are letters: test_hostile.py)."""
    folder = tmp_path_factory.mktemp("hostile")
    # A name holds no slash.
    named = {place: hostile(place).replace("/", "") for place in PLACES}
    config = a_config(
        folder,
        title=hostile("title"),
        cohort={
            "source": "files",
            "studies": [
                {"name": "one", "participants": named["table's name"], "volumes": named["volumes' name"]},
            ],
            "background": [hostile("background")],
            "target": [hostile("target")],
            "include": {"quality": [{"column": hostile("column"), "keep": ["good"]}]},
        },
        probes={
            "paper_regime": False,
            "targets": {
                "diagnosis": {
                    "kind": "classification",
                    "expected_in": "salient",
                    "label": "$x^<script>alert(1)</script>",
                },
                "age": {"kind": "regression", "expected_in": "common", "label": hostile("label of a target")},
            },
        },
        saliency={
            "targets": ["diagnosis"],
            "attributions": ["smoothgrad", "occlusion"],
            "atlas": {"image": named["atlas' name"], "labels": "labels.tsv"},
        },
        report={"viewers": 1, "participant_ids": True},
    )
    results = write_run(config, sites=(hostile("site"), HOSTILE_IMAGE))
    gone = {"participant_id": hostile("participant"), "session_id": None, "study": "one"}
    write_tsv(results.exclusions, pd.DataFrame([gone | {"rule": hostile("rule"), "value": hostile("value")}]))
    steps = [("exclude", hostile("rule"), 1, 12), ("count", hostile("counted rule"), 0, 3)]
    write_tsv(results.flow, pd.DataFrame(steps, columns=["step", "rule", "removed", "remaining"]))
    clusters = results.saliency(METHOD) / "clusters.tsv"
    write_tsv(clusters, read_tsv(clusters).assign(region=hostile("region")))
    comparisons = results.table("comparisons", "tsv")
    write_tsv(comparisons, read_tsv(comparisons).assign(note=hostile("note")))
    write_report(config, results)
    return results.report


def test_one_file_that_fetches_nothing(plain: tuple[Config, Results, str]) -> None:
    _, results, text = plain
    page = Page(text)
    assert [path.name for path in results.report.parent.iterdir()] == ["index.html"]
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
    names = {"scores", f"training_{METHOD}", f"answers_{METHOD}"} | {f"spaces_{METHOD}_fold-{k}" for k in range(FOLDS)}
    written = {path.name for path in results.figures.iterdir()}
    assert written == {f"{name}.{suffix}" for name in names for suffix in ("svg", "png")} | {"volumes.png"}
    light = base64.b64encode((results.figures / "scores.svg").read_bytes()).decode()
    assert f'<img src="data:image/svg+xml;base64,{light}"' in text


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


def pixels_in(text: str) -> list[np.ndarray]:
    """All pictures of a text, each [height, width, 4]."""
    found = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA")) for content in found]


def test_a_map_on_the_page_looks_as_its_file_does(plain: tuple[Config, Results, str]) -> None:
    _, results, text = plain
    given = [given["src"] for tag, given in Page(text).tags if given.get("alt", "").endswith("SmoothGrad, slices")]
    assert len(given) == 2
    assert all(source.startswith("data:image/webp;") for source in given)
    file = np.asarray(Image.open(results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.png").convert("RGBA"))
    assert np.abs(pixels_in(given[0])[0].astype(float) - file).mean() < 2


def test_a_viewer_has_the_pixels_that_nilearn_made(
    plain: tuple[Config, Results, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    view_img = plotting.view_img

    def kept(*arguments: Any, **named: Any) -> Any:
        view = view_img(*arguments, **named)
        made.append(view.html)
        return view

    monkeypatch.setattr(plotting, "view_img", kept)
    frame = html.unescape(pictures.viewer(plain[1].saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz", "x"))
    assert "image/png" not in frame
    assert len(frame) < len(made[0])
    for shown, as_made in zip(pixels_in(frame), pixels_in(made[0]), strict=True):
        np.testing.assert_array_equal(shown, as_made)


def test_what_a_short_run_left_out_is_named(tmp_path: Path) -> None:
    config = a_config(tmp_path, training={"epochs": 3}, volumes={"shape": [64] * 3})
    said = left_out(config, read_records(config, write_run(config), []))
    assert "Maps not made: Integrated gradients, Occlusion by region (saliency.attributions)." in said
    assert "Group maps have 100 permutations; a paper wants 1000 (saliency.permutations)." in said
    assert said[:3] == [
        "Volumes have 64 × 64 × 64 voxels, the paper's 128 × 128 × 128 (volumes.shape).",
        "2 folds instead of 5 (splits.folds).",
        "Trained for 3 epochs instead of 100 (training.epochs): SepCLR, k-JEM.",
    ]
    assert not any("methods" in line for line in said), "what was not run is nobody's business"


LEAKAGE = {
    "method": METHOD,
    "space": "salient",
    "people": "background",
    "harmonised": "no",
    "target": "site",
    "probe": "linear",
    "mean": 31.4,
    "chance": 25.0,
    "null95": 30.0,
    "metric": "bacc",
    "p": 0.04,
    "q": 0.06,
    "ci_low": 26.0,
    "ci_high": 36.0,
}


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


OF_FILES: dict[str, Any] = {
    "studies": [{"name": "one", "participants": "participants.tsv"}],
    "columns": {"others": {"tiv": "tiv"}},
}
FILES_COHORT = {"cohort": {"source": "files"} | OF_FILES}
IMPLANTED_COHORT = {"cohort": {"source": "implanted"} | OF_FILES}


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
    assert captions.count(f"{banner}: ") == 6, "the map of the answer, answers, spaces, two maps and the t-map"
    others = {"SIMULATED", "IMPLANTED", "Real cohort"} - {banner, banner.split()[0]}
    assert not any(other in page.text for other in others)


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
    assert "batches of 4 people (16 were asked for, and a batch has at most twice the smaller training" in method_text
    assert "half from each group, 3 epochs, in float32." in method_text
    assert (
        "Software. torch 2.13.0, numpy 2.4.1; seed 5." in method_text or "numpy 2.4.1, torch 2.13.0; seed 5." in words
    )


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


@pytest.mark.usefixtures("undrawn")
def test_viewers_are_limited_and_pictures_stay(plain: tuple[Config, Results, str], tmp_path: Path) -> None:
    pages = {1: Page(plain[2])}
    for most in (0, 6):
        config = a_config(tmp_path / str(most), report={"viewers": most})
        pages[most] = Page(page_of(config, write_run(config)))
    for most, page in pages.items():
        assert page.count("iframe") == len(page.frames) == min(most, 2)
        pictures = [
            given["alt"] for tag, given in page.tags if tag == "img" and given["alt"].endswith("SmoothGrad, slices")
        ]
        assert len(pictures) == 2


@pytest.mark.usefixtures("undrawn")
def test_an_empty_map_has_no_viewer(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 1})
    results = write_run(config)
    path = results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz"
    as_image(np.zeros((GRID,) * 3, dtype=np.float32), np.diag([6.0, 6, 6, 1])).to_filename(path)
    page = Page(page_of(config, results))
    assert [given["title"] for tag, given in page.tags if tag == "iframe"] == [
        "Diagnosis: SepCLR, k-JEM, common space, SmoothGrad, interactive"
    ]


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


@pytest.mark.usefixtures("undrawn")
def test_maps_stand_beside_the_t_map_and_what_speaks_against_them(tmp_path: Path) -> None:
    config = a_config(tmp_path, report={"viewers": 1})
    page = Page(page_of(config, write_run(config)))
    words = " ".join(page.text.split())
    truth = words.split("Where the truth is known")[1]
    assert "SepCLR, k-JEM smoothgrad diagnosis salient 0.31 0.1 3.1 6" in truth
    assert "Voxel-wise t-map n/a diagnosis n/a 0.31 0.1 4.4 6" in truth
    assert "group negative -5.55 Insula" in words.split("Clusters")[1]
    assert "weights 3 encoder.0 0.0123" in words.split("Sanity checks")[2]
    assert "1 map with a viewer, 1 picture without" in words
    assert any(given.get("alt") == "Diagnosis: Voxel-wise t-map, slices" for _, given in page.tags)


@pytest.mark.usefixtures("undrawn")
def test_further_attribution_methods_are_shown_named_and_cited(tmp_path: Path) -> None:
    attributions = ["smoothgrad", "occlusion", "integrated-gradients"]
    saliency = {"targets": ["diagnosis"], "attributions": attributions, "of": ["probe", "salient-norm"]}
    config = a_config(tmp_path, report={"viewers": 6}, saliency=saliency)
    results = write_run(config)
    for attribution in attributions[1:]:
        shutil.copytree(results.saliency(METHOD) / "smoothgrad", results.saliency(METHOD) / attribution)
    shutil.copy(
        results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz",
        results.saliency(METHOD) / "smoothgrad" / "salient-norm_salient.nii.gz",
    )
    page = Page(page_of(config, results))
    assert page.count("iframe") == 3, "of the first attribution method alone"
    words = " ".join(page.text.split())
    assert "SepCLR, k-JEM, salient space, Occlusion by region" in words
    assert "Distance of the salient head from s'" in words
    assert "Occlusion replaced cubes of 24 mm by the mean of the training controls" in words
    assert "Sundararajan M" in words
    said = left_out(config, {})
    assert not any("Maps not made" in line or "saliency.of" in line for line in said)


# --- what the numbers say ----------------------------------------------------------------------------------------


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


# --- charts -------------------------------------------------------------------------------------------------------


def test_the_plane_is_that_of_the_training_people() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 3)) * [5, 1, 0.1], rng.normal(size=(10, 3)) * [0.1, 1, 9]
    side = np.repeat(["train", "test"], [40, 10])
    one = Representations([str(k) for k in range(50)], side, {"common": np.vstack([train, test])})
    points, shares = embeddings.plane(one, "common")
    values, vectors = np.linalg.eigh(np.cov(train.T))
    expected = (test - train.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum())


def test_a_space_of_one_dimension_or_without_variance_has_a_plane_too() -> None:
    side = np.repeat(["train", "test"], [4, 2])
    for values in (np.arange(6.0)[:, None], np.zeros((6, 3))):
        points, shares = embeddings.plane(Representations(list("abcdef"), side, {"single": values}), "single")
        assert points.shape == (2, 2)
        assert np.isfinite(points).all()
        assert np.isfinite(shares).all()


def test_the_interval_of_a_line_is_a_bootstrap_over_people() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    prediction = 0.5 * truth + rng.normal(size=60)
    people = np.repeat(np.arange(30), 2)
    at = np.array([-1.0, 2.0])
    line, low, high = answers.line_with_interval(truth, prediction, people, at)
    np.testing.assert_allclose(line, np.polyval(np.polyfit(truth, prediction, 1), at))
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(people == person) for person in rng.integers(0, 30, 30)])
        drawn.append(np.polyval(np.polyfit(truth[rows], prediction[rows], 1), at))
    np.testing.assert_allclose([low, high], np.quantile(drawn, [0.025, 0.975], axis=0), atol=0.12)


def test_more_than_two_classes_are_a_table_of_shares() -> None:
    """Of 4 people of a, 3 were taken for a and 1 for c; nobody is b; both of c were taken for c."""
    truth, prediction = list("aaaacc"), list("aaaccc")
    scans = [f"sub-{number}" for number in range(6)]
    given = {"fold": 0, "target": "site", "space": "common", "scan_id": scans, "score": np.nan}
    predictions = pd.DataFrame(given | {"truth": truth, "prediction": prediction})
    cohort = pd.DataFrame({"participant_id": scans}, index=scans)
    site = {"site": ProbeTarget(kind="classification", expected_in="common")}
    drawn = answers.answers_figure(predictions, cohort, site, "a method").files["svg"].decode()
    texts = re.findall(r">([^<>]+)</text>", drawn)
    assert [text for text in texts if text in ("75", "25", "100", "0")] == ["75", "25", "0", "100"]
    assert [text for text in texts if text in "abc"] == ["a", "c", "a", "c"]


# --- in a real browser -------------------------------------------------------------------------------------------


def chromium(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs Chromium on a page with every host blocked; skips where it is absent."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--enable-logging=stderr", "--v=0", "--window-size=1200,9000", "--virtual-time-budget=10000"]
    return subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)


def found_in_browser(page: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What a browser makes of a page: a copy writes down where its pictures and viewers are."""
    # The page itself runs no script.
    probe = """<script>addEventListener("load", () => {
        const where = (element) => { const r = element.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; };
        document.body.dataset.found = JSON.stringify({
            viewers: [...document.querySelectorAll("iframe")].map(where),
            broken: [...document.images].filter((image) => !image.naturalWidth).length,
            width: document.documentElement.scrollWidth,
            window: innerWidth,
            background: getComputedStyle(document.body).backgroundColor,
            charts: [...document.images].filter((image) => image.src.includes("svg"))
                .map((image) => getComputedStyle(image).filter),
            filtered: [...document.images].filter((image) => getComputedStyle(image).filter != "none").length,
        });
    });</script></body>"""
    instrumented = folder / "probe.html"
    instrumented.write_text(page.read_text(encoding="utf-8").replace("</body>", probe, 1), encoding="utf-8")
    dumped = chromium(instrumented, folder, "--dump-dom", *options).stdout
    found: dict[str, Any] = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', dumped).group(1)))  # type: ignore[union-attr]
    return found


def test_a_dark_page_has_dark_charts(hostile_page: Path, tmp_path: Path) -> None:
    light = found_in_browser(hostile_page, tmp_path)
    dark = found_in_browser(hostile_page, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert (light["background"], dark["background"]) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
    assert len(light["charts"]) == len(dark["charts"]) > 3
    assert set(light["charts"]) == {"none"}
    assert set(dark["charts"]) == {"invert(1) hue-rotate(180deg)"}
    assert dark["filtered"] == len(dark["charts"]), "brains stay as they are"


def test_a_phone_scrolls_the_page_in_one_direction(hostile_page: Path, tmp_path: Path) -> None:
    # Chromium has no narrower window than 500.
    found = found_in_browser(hostile_page, tmp_path, "--window-size=500,9000")
    assert found["window"] == 500
    assert found["width"] <= 500


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_paper_shows_what_is_folded_but_for_the_long(hostile_page: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "page.pdf"
    chromium(hostile_page, tmp_path, f"--print-to-pdf={pdf}")
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True).stdout
    text = " ".join(text.split())
    assert "Minutes of all jobs of a stage together." in text, "a folded table"
    assert "The whole configuration (not printed" in text
    assert "Clusters (not printed" in text
    assert "the strongest clusters" not in text
    assert "durations.tsv" not in text, "nobody clicks on paper"


def test_browser_draws_the_page_without_an_error(hostile_page: Path, tmp_path: Path) -> None:
    found = found_in_browser(hostile_page, tmp_path)
    assert found["broken"] == 0
    assert found["width"] <= 1200
    assert len(found["viewers"]) == 1

    shot = tmp_path / "page.png"
    ran = chromium(hostile_page, tmp_path, f"--screenshot={shot}")
    assert "CONSOLE" not in ran.stderr
    pixels = matplotlib.image.imread(shot)[..., :3]
    for x, y, width, height in found["viewers"]:
        inside = pixels[int(y) : int(y + height), int(x) : int(x + width)]
        assert inside.std() > 0.05
        # Red and blue of the map, not only a grey template.
        assert (np.ptp(inside, axis=2) > 0.3).mean() > 0.005
