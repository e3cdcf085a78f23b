"""The page of a cohort before training: what it shows, says and leaves out, with hostile names."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.data.cohort import CohortTables
from sepclr_neuro.data.facts import disease_columns
from sepclr_neuro.data.simulated_people import simulate_people
from sepclr_neuro.maps.cohort_look import CohortLook, Looked
from sepclr_neuro.report import cohort_page as module
from sepclr_neuro.report.cohort_page import cohort_page
from sepclr_neuro.report.pictures import Picture
from tests.data.test_outliers import AFFINE, people_of
from tests.report.reported_run import hostile
from tests.report.test_browser import found_in_browser

NONE = pd.DataFrame(columns=["severity", "problem"], dtype="str")


class Page(HTMLParser):
    """Headings, images and header cells of a page, and what a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.headers: list[dict[str, str | None]] = []
        self.scripts = 0
        self._hidden = ""
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.images += [dict(attrs)] if tag == "img" else []
        self.headers += [dict(attrs)] if tag == "th" else []
        self.scripts += tag == "script"
        self._hidden = tag if tag in ("style", "title") else ""
        self.text += " " if tag in ("td", "th") else ""

    def handle_endtag(self, tag: str) -> None:
        self._hidden = ""

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


def a_config(**sections: Any) -> Config:
    cohort = {
        "source": "files",
        "studies": [{"name": "ours", "participants": "p.tsv", "volumes": "{participant_id}.nii"}],
    }
    return parse_config({"cohort": cohort, "volumes": {"shape": [48, 48, 48]}} | sections)


def a_cohort(looks: dict[str, Any]) -> tuple[pd.DataFrame, CohortTables, Looked]:
    """Two sites, of which one flips a volume; hostile names where users give them."""
    volumes = people_of(24)
    volumes["sub-07"] = volumes["sub-07"][::-1].copy()
    names = {scan_id: looks.get(scan_id, scan_id) for scan_id in volumes}
    scans = pd.DataFrame({"scan_id": list(names.values()), "participant_id": list(names.values())})
    patient = np.arange(24) % 2 == 1
    scans["diagnosis"] = np.where(patient, "schizophrenia", "control")
    scans["group"] = np.where(patient, "target", "background")
    scans["age"], scans["tiv"] = np.arange(20.0, 44.0), 1500.0 + np.arange(24)
    scans["sex"] = np.where(np.arange(24) < 12, "female", "male")
    scans["site"] = np.where(np.arange(24) < 12, looks.get("site", "prague"), "bonn")
    scans["sans"] = np.where(patient, 17.0, np.nan)
    scans["volume"] = "never read"
    look = CohortLook(scans)
    for scan_id, data in volumes.items():
        look.add(names[scan_id], data, AFFINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sepclr_neuro.maps.cohort_look.read_checked", lambda *_: (volumes["sub-07"], AFFINE))
        looked = look.seen(scans, a_config().volumes)
    gone = pd.DataFrame([(looks.get("gone", "sub-99"), None, "ours", "no age", "n/a")])
    flow = [
        ("start", "listed in the tables", 0, 25),
        ("exclude", "no age", 1, 24),
        ("count", "in the target group", 0, 12),
    ]
    tables = CohortTables(
        scans,
        gone.set_axis(["participant_id", "session_id", "study", "rule", "value"], axis=1),
        pd.DataFrame(flow, columns=["step", "rule", "removed", "remaining"]),
        [],
    )
    return scans, tables, looked


@pytest.fixture(scope="module")
def shown() -> str:
    scans, tables, looked = a_cohort({})
    problems = pd.DataFrame([("warning", "a thing to look at"), ("error", "a thing to mend")], columns=NONE.columns)
    return cohort_page(a_config(), problems, scans, tables, looked)


def test_it_shows_participants_by_diagnosis_and_site(shown: str) -> None:
    text = " ".join(Page(shown).text.split())
    assert "24 participants from 2 sites: 12 background (control) and 12 target (schizophrenia)" in text
    assert "1 error a thing to mend" in text
    assert "1 warning a thing to look at" in text
    assert "no age 1 24" in text, "the flow"
    assert "sub-99 n/a ours no age" in text, "who was left out"
    assert "control 12 31.0 ± 7.2 20–42 50.0 50.0 12 1511.0 ± 7.2 0 n/a" in text
    assert "bonn 12 37.5 ± 3.6 32–43 0.0 100.0 12 1517.5 ± 3.6 6 17.0" in text
    assert "site control schizophrenia bonn 6 6 prague 6 6" in text


def test_many_exclusions_are_folded_and_texts_stand_at_the_left(shown: str) -> None:
    assert re.search(r'<details class="long" open>\s*<summary>1 row of exclusions', shown)
    scans, tables, looked = a_cohort({})
    many = pd.concat([tables.exclusions] * 13, ignore_index=True)
    many.loc[0, "value"] = "a reason"
    page = cohort_page(a_config(), NONE, scans, dataclasses.replace(tables, exclusions=many), looked)
    assert re.search(r'<details class="long">\s*<summary>13 rows of exclusions', page)
    assert "<td>n/a</td></tr>" in page, "a missing text stands where texts do"
    assert '<th scope="col" class="number">removed' in page


def test_several_diseases_are_called_as_the_configuration_calls_them() -> None:
    scans, tables, looked = a_cohort({})
    diseases = {"psychosis": ["SCZ", "SZA"], "mania": ["BD"]}
    config = a_config(cohort=a_config().model_dump(mode="json", exclude_unset=True)["cohort"] | {"diseases": diseases})
    patient = scans["group"] == "target"
    diagnosis = scans["diagnosis"].mask(patient, pd.Series(["SCZ", "BD", "SZA"] * 8))
    scans = scans.assign(diagnosis=diagnosis, **disease_columns(diagnosis, config.cohort))
    text = " ".join(Page(cohort_page(config, NONE, scans, tables, looked)).text.split())
    assert "12 target (psychosis, mania)" in text
    assert "control 12 31.0 ± 7.2" in text
    assert "mania 4 " in text
    assert "psychosis 8 " in text
    assert "site control mania psychosis bonn 6 2 4 prague 6 2 4" in text
    assert not [code for code in ("SCZ", "SZA", "BD") if code in text]


def test_it_shows_each_site_and_the_outlier_by_name(shown: str) -> None:
    page = Page(shown)
    text = " ".join(page.text.split())
    assert "sub-07 correlation of the asymmetry -0." in text
    assert "sub-07: left and right may be exchanged" in text
    alts = [image["alt"] or "" for image in page.images]
    assert sum("mean volume of" in alt for alt in alts) == 2
    # Three of each site, and the outlier.
    assert sum("volume of sub-" in alt for alt in alts) == 7
    assert "mean of 12" in text


def test_it_is_built_for_screen_readers_and_opens_offline(shown: str) -> None:
    page = Page(shown)
    assert page.levels[0] == 1
    assert page.levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.levels, page.levels[1:], strict=False))
    assert all(image["alt"] and (image["src"] or "").startswith("data:") for image in page.images)
    assert all(header.get("scope") for header in page.headers)
    assert len(shown) < 500_000


def test_volumes_that_were_not_read_are_left_out_and_it_says_so() -> None:
    scans, tables, _ = a_cohort({})
    text = " ".join(Page(cohort_page(a_config(), NONE, scans, tables, None)).text.split())
    assert "The volumes were not read" in text
    assert "mean of" not in text
    assert "total grey matter" not in text


def test_scans_left_out_for_their_volume_are_in_the_flow() -> None:
    scans, tables, looked = a_cohort({})
    page = cohort_page(a_config(), NONE, scans.iloc[2:], tables, looked)
    assert "volume cannot be used (cohort.on_error: exclude) 2 22" in " ".join(Page(page).text.split())


def test_a_cohort_to_be_simulated_is_called_so() -> None:
    config = a_config(cohort={"source": "simulated", "simulation": {"participants": 12}})
    people = simulate_people(config.cohort, 0)
    people = people.assign(
        scan_id=people["participant_id"], group=np.where(people["diagnosis"] == "control", "background", "target")
    )
    text = " ".join(Page(cohort_page(config, NONE, people, None, None)).text.split())
    assert "12 participants from" in text
    assert "to be simulated" in text
    assert "Its participants do not exist yet" in text
    assert "There are no volumes yet" in text


def test_tables_that_cannot_be_read_leave_the_errors() -> None:
    problems = pd.DataFrame([("error", "p.tsv: cannot be read")], columns=NONE.columns)
    text = " ".join(Page(cohort_page(a_config(), problems, None, None, None)).text.split())
    assert "The tables cannot be read." in text
    assert "1 error p.tsv: cannot be read" in text


def test_names_are_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "distributions_figure", lambda *_: Picture("data:,", "none"))
    names = {name: hostile(name) for name in ("sub-00", "sub-07", "site", "gone")}
    scans, tables, looked = a_cohort(names)
    problems = pd.DataFrame([("error", hostile("problem"))], columns=NONE.columns)
    page = Page(cohort_page(a_config(title=hostile("title")), problems, scans, tables, looked))
    assert page.scripts == 0
    for name in (*names, "problem", "title"):
        assert " ".join(hostile(name).split()) in " ".join(page.text.split())


def test_a_phone_scrolls_it_in_one_direction_and_night_is_dark(shown: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(shown, encoding="utf-8")
    found = found_in_browser(path, tmp_path, "--window-size=500,9000", "--blink-settings=preferredColorScheme=0")
    assert found["broken"] == 0
    assert found["width"] <= 500
    assert found["background"] == "rgb(13, 17, 23)"
    assert found["filtered"] == len(found["charts"]) == 1, "brains stay as they are"
