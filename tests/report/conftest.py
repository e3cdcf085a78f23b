"""Pages that several files of tests read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_tsv
from sepclr_neuro.report import embeddings, figures, predictions, write_report
from sepclr_neuro.report.pictures import Picture
from tests.report.reported_run import HOSTILE_IMAGE, METHOD, PLACES, a_config, hostile, page_of, write_run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what a page says: charts take seconds."""
    for module, name in (
        (figures, "training_figure"),
        (figures, "scores_figure"),
        (figures, "volume_figure"),
        (predictions, "predictions_figure"),
        (embeddings, "embedding_figure"),
    ):
        monkeypatch.setattr(module, name, lambda *_: Picture("data:,", "none"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results, str]:
    """A run and its page, for tests that change neither."""
    config = a_config(tmp_path_factory.mktemp("plain"))
    results = write_run(config)
    return config, results, page_of(config, results)


@pytest.fixture(scope="session")
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
