"""No text of a chart is cut, neither in its letters nor by the chart's edge, and none lies on another."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from sepclr_neuro.config.model import ProbeTarget
from sepclr_neuro.learning.embedding import Representations
from sepclr_neuro.report import answers, embeddings, figures, pictures
from sepclr_neuro.report.pictures import Picture

GROUPS = ("healthy control participant", "schizophrenia spectrum disorder")
SITES = ("_Universitätsklinik Hamburg-Eppendorf", "Praha $ 3", "Bonn", "a-site-without-any-space-in-its-name")
TARGETS = {
    "diagnosis": ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis as the clinic made it"),
    "site": ProbeTarget(kind="classification", expected_in="common", label="Site"),
    "age": ProbeTarget(kind="regression", expected_in="common", label="Age at the time of scanning, in years"),
}
METHODS = ("sepclr-vclub-c2s", "a-name-of-the-users-own-that-is-rather-long", "cvae")
SPACES = ("common", "salient")
PEOPLE = 40

RNG = np.random.default_rng(0)
SCANS = [f"sub-{number}" for number in range(PEOPLE)]
COHORT = pd.DataFrame(
    {
        "participant_id": SCANS,
        "diagnosis": np.resize(GROUPS, PEOPLE),
        "group": np.resize(GROUPS, PEOPLE),
        "site": np.resize(SITES, PEOPLE),
        "age": RNG.uniform(20, 60, PEOPLE),
    },
    index=SCANS,
)


def table(targets: dict[str, ProbeTarget], methods: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for method in methods:
        for target, question in targets.items():
            for space in SPACES:
                metric = "bacc" if question.kind == "classification" else "mae"
                rows.append({"method": method, "target": target, "metric": metric, "space": space})
    figures_of = {"mean": 62.0, "chance": 50.0, "null95": 60.0, "ci_low": 55.0, "ci_high": 70.0}
    return pd.DataFrame(rows).assign(**figures_of)


def answered() -> Picture:
    tables = []
    for target, question in TARGETS.items():
        for space in SPACES:
            truth = COHORT[target].astype(str)
            score = np.nan if question.kind == "regression" or target == "site" else RNG.normal(size=PEOPLE)
            rows = {"fold": np.arange(PEOPLE) % 2, "target": target, "space": space, "scan_id": SCANS, "truth": truth}
            tables.append(pd.DataFrame(rows | {"prediction": RNG.permutation(truth), "score": score}))
    return answers.answers_figure(pd.concat(tables), COHORT, TARGETS, "a method")


def embedded() -> Picture:
    side = np.resize(["train", "test", "test"], PEOPLE)
    spaces = {space: RNG.normal(size=(PEOPLE, 3)) for space in SPACES}
    return embeddings.embedding_figure(Representations(SCANS, side, spaces), COHORT, TARGETS, "a method")


def scored(targets: dict[str, ProbeTarget], methods: tuple[str, ...] = METHODS) -> Picture:
    whole = table(targets, methods)
    folds = pd.concat([whole.assign(fold=fold, value=0.6 + 0.02 * fold) for fold in range(2)])
    return figures.scores_figure(whole, folds, targets)


def nulls() -> Picture:
    whole = table(TARGETS, METHODS)
    shape = {f"percentile_{k}": 0.45 + 0.001 * k for k in range(101)}
    keys = whole[["method", "target", "metric", "space"]]
    return figures.nulls_figure(keys.assign(**shape), whole, TARGETS)


def leaking() -> Picture:
    rows = table({"site": TARGETS["site"]}, METHODS).assign(harmonised="no", probe="nonlinear")
    groups = [rows.assign(people=people) for people in ("all", "background", "target")]
    alone = rows.head(1).assign(method="site", space="site alone", people="all", target="diagnosis")
    return figures.leakage_figure(pd.concat([*groups, alone]))


def trained() -> Picture:
    terms = ("loss", "independence", "attribute_a_rating_scale_with_a_long_name_in_the_table", "common_alignment")
    history = pd.DataFrame({"epoch": [1, 2, 3]} | {term: RNG.uniform(size=3) for term in terms})
    return figures.training_figure({0: history, 1: history}, METHODS[1])


CHARTS: dict[str, Callable[[], Picture]] = {
    "answers": answered,
    "spaces": embedded,
    "scores": lambda: scored(TARGETS),
    "scores of one target": lambda: scored({"site": TARGETS["site"]}, ("pca",)),
    "nulls": nulls,
    "leakage": leaking,
    "training": trained,
}
SHOWN = {
    "answers": [*GROUPS, *SITES, *(target.label for target in TARGETS.values())],
    "spaces": [*GROUPS, *SITES, *(target.label for target in TARGETS.values())],
    "scores": [METHODS[1], *(target.label for target in TARGETS.values()), "end of the null"],
    "scores of one target": ["PCA", "Site", "common", "salient", "chance", "95 % interval", "end of the null"],
    "nulls": [f"{METHODS[1]}, salient", *(target.label for target in TARGETS.values())],
    "leakage": [f"{METHODS[1]}, salient, nonlinear", "diagnosis from the site"],
    "training": ["attribute a rating scale with a long name in the table"],
}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn, beside the files that were made of them."""
    figures_drawn: list[Figure] = []

    def drawn(draw: Callable[[], Figure], alt: str) -> Picture:
        def keep() -> Figure:
            figures_drawn.append(draw())
            return figures_drawn[-1]

        return pictures.drawn(keep, alt)

    for module in (answers, embeddings, figures):
        monkeypatch.setattr(module, "drawn", drawn)
    return figures_drawn


def letters(text: object) -> str:
    """Without the places where lines were broken."""
    return re.sub(r"\s|\\", "", text.get_text() if isinstance(text, Text) else str(text))


def boxes(figure: Figure) -> list[tuple[Text, Any]]:
    """Each text that is seen, with the place that it takes."""
    seen: list[Text] = []
    draw = Text.draw

    def noted(text: Text, renderer: Any) -> None:
        seen.append(text)
        draw(text, renderer)

    canvas = FigureCanvasAgg(figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)  # an axis has more labels than it draws
        canvas.draw()
    written = [text for text in seen if text.get_text().strip()]
    return [(text, text.get_window_extent(canvas.get_renderer())) for text in written]


@pytest.mark.parametrize("chart", CHARTS)
def test_every_label_is_whole_inside_and_apart_from_others(chart: str, kept: list[Figure]) -> None:
    picture = CHARTS[chart]()
    width, height = (kept[0].get_size_inches() * kept[0].dpi).tolist()
    texts = boxes(kept[0])
    labels = {letters(label) for label in SHOWN[chart]}
    assert labels <= {letters(text) for text, _ in texts}
    for text, box in texts:
        assert min(box.x0, box.y0) >= -1, f"{text!r} begins outside"
        assert max(box.x1 - width, box.y1 - height) <= 1, f"{text!r} ends outside"
    # The box of a slanted text holds more than its letters.
    named = [(text, box) for text, box in texts if not text.get_rotation() % 90]
    for (one, box), (other, other_box) in combinations(named, 2):
        shared = box.intersection(box, other_box)
        assert shared is None or min(shared.width, shared.height) < 2, f"{one!r} on {other!r}"
    written = "".join(re.findall(r">([^<>]+)</text>", picture.files["svg"].decode()))
    assert letters(SHOWN[chart][0]) in letters(written)
