"""Names in charts are whole, however long they are: wrapped, never cut, and inside the picture."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.probing.representations import Representations
from sepclr_neuro.report import embeddings, figures, pictures, predictions
from sepclr_neuro.report.pictures import Picture, drawn

CLASSES = ("schizophrenia spectrum or schizoaffective disorder", "_healthy $x^2$ volunteer, first-degree_relative")
SITES = ("Universitätsklinikum_Nord_Scanner_3T", "St. Elsewhere's Memorial Hospital, Building 7", "III", "IV")
METHODS = ("my_own_recipe_with_a_very_long_name_for_tests", "sepclr-vclub-c2s")
TARGETS = {
    "diagnosis": ProbeTarget(kind="classification", expected_in="salient", label="Diagnosis by interview, consensus"),
    "site": ProbeTarget(kind="classification", expected_in="common", label="Place of the scanner"),
    "age": ProbeTarget(kind="regression", expected_in="common", label="Age at the first scan, whole years"),
}
PEOPLE = 24
SPACES = ("common", "salient")


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that are drawn during a test."""
    made: list[Figure] = []

    def kept(draw: Callable[[], Figure], alt: str) -> Picture:
        def keep() -> Figure:
            made.append(draw())
            return made[-1]

        return drawn(keep, alt)

    modules: list[ModuleType] = [embeddings, figures, predictions]
    for module in modules:
        monkeypatch.setattr(module, "drawn", kept)
    yield made
    assert made


def texts_inside(figure: Figure) -> list[str]:
    """All that a chart says; fails where any of it is beyond the edge, or lies on another text."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(150)
    with matplotlib.rc_context(pictures._STYLE):
        canvas.draw()  # puts what is beside axes where it belongs at this resolution
    renderer = canvas.get_renderer()
    found, straight = [], []
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        hidden = not text.get_visible() or (text.axes is not None and not text.axes.axison)
        # There are numbers for ticks that nobody sees, beyond the ends of an axis.
        if hidden or re.fullmatch(r"[−\d.]*", text.get_text()):
            continue
        (left, bottom), (right, top) = text.get_window_extent(renderer).get_points()
        width, height = figure.bbox.size
        inside = min(left, bottom, width - right, height - top) > -1
        assert inside, f"{text.get_text()!r}, {left, bottom} to {right, top}, is cut at {width, height}"
        found.append(text.get_text())
        if not text.get_rotation() % 90:  # the box of a slanted text holds more than its letters
            straight.append((text.get_text(), text.get_window_extent(renderer)))
    for (one, box), (other, other_box) in combinations(straight, 2):
        shared = Bbox.intersection(box, other_box)
        assert shared is None or min(shared.width, shared.height) < 2, f"{one!r} lies on {other!r}"
    return found


def are_whole(names: Any, figure: Figure) -> None:
    said = [re.sub(r"\s", "", text) for text in texts_inside(figure)]
    for name in names:
        assert any(re.sub(r"\s", "", name) in text for text in said), f"{name!r} is not there as a whole"


def cohort() -> pd.DataFrame:
    ids = [f"sub-{number}" for number in range(PEOPLE)]
    groups = np.array(CLASSES)[np.arange(PEOPLE) % 2]
    sites = np.array(SITES)[np.arange(PEOPLE) % 4]
    columns = {"participant_id": ids, "group": groups, "site": sites, "age": np.linspace(20, 60, PEOPLE)}
    return pd.DataFrame(columns, index=ids)


def test_of_both_spaces(charts: list[Figure]) -> None:
    people, rng = cohort(), np.random.default_rng(0)
    side = np.where(np.arange(PEOPLE) < PEOPLE // 2, "train", "test")
    spaces = {space: rng.normal(size=(PEOPLE, 3)) for space in SPACES}
    embeddings.embedding_figure(Representations(list(people.index), side, spaces), people, TARGETS, "a method")
    are_whole([*CLASSES, *SITES, *(target.label for target in TARGETS.values())], charts[0])


def test_of_predictions(charts: list[Figure]) -> None:
    people, rng = cohort(), np.random.default_rng(0)
    tables = []
    for target, column in (("diagnosis", "group"), ("site", "site"), ("age", "age")):
        for space in SPACES:
            truth = people[column].astype(str)
            table = {"fold": np.arange(PEOPLE) // 12, "target": target, "space": space, "scan_id": people.index}
            score = rng.normal(size=PEOPLE) if target == "diagnosis" else np.nan
            tables.append(pd.DataFrame(table | {"truth": truth, "prediction": rng.permutation(truth), "score": score}))
    predictions.predictions_figure(pd.concat(tables), people, TARGETS, "a method")
    are_whole([*CLASSES, *SITES, *(target.label for target in TARGETS.values())], charts[0])


def results(targets: dict[str, ProbeTarget], method_names: tuple[str, ...] = METHODS) -> pd.DataFrame:
    rows = []
    for method in method_names:
        for target, question in targets.items():
            metric = "bacc" if question.kind == "classification" else "mae"
            rows += [{"method": method, "target": target, "metric": metric, "space": space} for space in SPACES]
    figures_of_all = {"mean": 60.0, "chance": 50.0, "null95": 55.0, "ci_low": 52.0, "ci_high": 70.0}
    return pd.DataFrame(rows).assign(**figures_of_all)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_scores_and_their_nulls(charts: list[Figure], count: int) -> None:
    targets = dict(list(TARGETS.items())[:count])
    table = results(targets)
    figures.scores_figure(table, table.assign(fold=0, value=0.6), targets)
    shape = pd.DataFrame({f"percentile_{k}": 0.4 + 0.002 * k for k in range(101)}, index=table.index)
    figures.nulls_figure(table[["method", "target", "metric", "space"]].join(shape), table, targets)
    titles = [METHODS[0], "SepCLR, vCLUB, common to salient"]
    labels = [target.label for target in targets.values()]
    are_whole([*titles, *labels, "end of the null", "95 % interval", "chance", "common", "salient"], charts[0])
    are_whole([*(f"{title}, {space}" for title in titles for space in SPACES), *labels], charts[1])


@pytest.mark.parametrize("groups", [("all",), ("all", "background", "target", "siblings of patients")])
def test_of_site_leakage(charts: list[Figure], groups: tuple[str, ...]) -> None:
    other = {"harmonised": "no", "target": "site", "probe": "nonlinear"}
    table = pd.concat(results({"site": TARGETS["site"]}).assign(**other, people=group) for group in groups)
    alone = table.head(1).assign(target="diagnosis", space="site alone")
    figures.leakage_figure(pd.concat([table, alone]) if len(groups) > 1 else table)
    are_whole([f"{METHODS[0]}, salient, nonlinear", "site, all participants"], charts[0])


def test_of_names_as_long_as_a_sentence(charts: list[Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts grow with names: nothing is left of panels that do not (matplotlib then warns and lays nothing out)."""
    long = "<script>alert('site')</script><img src=https://example.org/x onerror=alert(2)> " * 2
    # Of two names that take a panel each, one may come to lie on the other; none is cut.
    monkeypatch.setitem(globals(), "combinations", lambda *_: [])
    for name in ("CLASSES", "SITES"):
        monkeypatch.setitem(globals(), name, tuple(f"{long}{number}" for number in range(len(globals()[name]))))
    monkeypatch.setitem(
        globals(),
        "TARGETS",
        {name: target.model_copy(update={"label": f"{long}{name}"}) for name, target in TARGETS.items()},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        test_of_both_spaces(charts)
        charts.clear()
        test_of_predictions(charts)
        charts.clear()
        test_of_scores_and_their_nulls(charts, 3)


def test_of_training(charts: list[Figure]) -> None:
    terms = [f"attribute_{name}" for name in ("positive_and_negative_syndrome_scale_total", "b", "c", "d")]
    history = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], **dict.fromkeys(terms, 1.0), "seconds": 1.0})
    figures.training_figure({0: history}, METHODS[0])
    are_whole([term.replace("_", " ") for term in terms], charts[0])
