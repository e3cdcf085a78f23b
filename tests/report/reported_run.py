"""A run without a computation, and its page as a browser would read it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, write_json, write_tsv
from sepclr_neuro.data.cache import voxels_sha256
from sepclr_neuro.maps.about import About
from sepclr_neuro.maps.mapping import save_map
from sepclr_neuro.probing.increments import INCREMENTS
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.report import write_report
from sepclr_neuro.report.records import Trained, trained_methods

HOSTILE_IMAGE = "<img src=https://example.org/x onerror=alert(2)>"
METHOD = "sepclr-k-jem"
FOLDS = 2
PEOPLE = 12
GRID = 32


def a_config(output: Path, **changes: Any) -> Config:
    """Two folds, one method; ``changes`` replace whole sections. The page of maps is empty unless asked for."""
    report = {"maps": 0} | changes.pop("report", {"viewers": 1})
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
        "report": report,
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
            "diagnosis": np.where(target, config.cohort.target[0], "control"),
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

    write_json(results.run_file("report"), stage_config(config, "report"))
    write_tsv(results.predictions, predictions_of(config, cohort))
    scores = scores_of(config, better)
    write_tsv(results.scores, scores)
    probes = scores.drop_duplicates(["target", "space"])[["regime", "method", "target", "metric", "space"]]
    write_tsv(results.verdicts, probes.assign(pooled=0.5, null95=0.6, p=0.01, ci_low=0.4, ci_high=0.7, n=12, missing=0))
    write_tsv(results.increments, pd.DataFrame(columns=INCREMENTS))
    write_tables(config, results)

    for space in ("common", "salient"):
        path = results.saliency(METHOD) / "smoothgrad" / f"diagnosis_{space}.nii.gz"
        kept = {
            "target": "diagnosis",
            "method": METHOD,
            "title": "SepCLR, k-JEM",
            "space": space,
            "attribution": "smoothgrad",
            "people": 6,
        }
        about = About("SmoothGrad of the probe", "attribution", "probe score per SD of grey matter", **kept)
        save_map(path, (place[0] * brain).astype(np.float32), affine, about, config)
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


def trained_in(config: Config, results: Results, problems: list[str] | None = None) -> dict[str, Trained]:
    """The models of a run that need not have come as far as a report."""
    folders = {key: results.model_folder(*key) for key in product(config.methods, range(config.splits.count))}
    paths = {key: folder / "model.json" for key, folder in folders.items()}
    records = {key: read_json(path) for key, path in paths.items() if path.is_file()}
    return trained_methods(config, records, [] if problems is None else problems)


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


def hostile(place: str) -> str:
    """Markup that would run, named after the place where somebody wrote it."""
    return f"<script>alert('{place}')</script><img src=https://example.org/x onerror=alert(2)>"


# Whatever the page shows that a table, a file's name or the configuration may have said.
PLACES = (
    *("title", "label of a target", "site", "background", "target", "table's name", "volumes' name", "column"),
    *("rule", "counted rule", "participant", "value", "atlas' name", "region", "note"),
)


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


OF_FILES: dict[str, Any] = {
    "studies": [{"name": "one", "participants": "participants.tsv"}],
    "columns": {"others": {"tiv": "tiv"}},
}
FILES_COHORT = {"cohort": {"source": "files"} | OF_FILES}
IMPLANTED_COHORT = {"cohort": {"source": "implanted"} | OF_FILES}
