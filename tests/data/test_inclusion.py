"""Who stays in, and by which rule the others are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.core.errors import by_kind
from tests.data.own_tables import HEADER, PEOPLE, build, flow_of, problems, table
from tests.data.test_facts import ITEMS


def test_every_rule_and_the_flow_adds_up(folder: Path) -> None:
    extra = (
        "sub-05\tbipolar\t20\tmale\tbrno\t9\tgood",
        "sub-06\tcontrol\tn/a\tmale\tbrno\t9\tgood",
        "sub-07\tcontrol\t20\t\tbrno\t9\tgood",
        "sub-08\tcontrol\t70\tmale\tbrno\t9\tgood",
        "sub-09\tcontrol\t20\tmale\tbrno\t1\tgood",
        "sub-10\tcontrol\t20\tmale\tbrno\tn/a\tgood",
        "sub-11\tcontrol\t20\tmale\tbrno\t9\tpoor",
        "sub-12\tcontrol\t20\tmale\tn/a\t9\tgood",
    )
    table(folder / "participants.tsv", f"{HEADER}\tiqr\tqc", *(f"{person}\t9\tgood" for person in PEOPLE), *extra)
    quality = [{"column": "iqr", "minimum": 2, "maximum": 10}, {"column": "qc", "keep": ["good", "fair"]}]
    tables = build(folder, include={"age": [18, 65], "quality": quality})
    assert len(tables.cohort) == 4
    assert tables.exclusions.set_index("participant_id")[["rule", "value"]].fillna("n/a").T.to_dict("list") == {
        "sub-05": ["diagnosis neither background nor target", "bipolar"],
        "sub-06": ["age missing", "n/a"],
        "sub-07": ["sex missing", "n/a"],
        "sub-08": ["age outside 18 to 65", "70"],
        "sub-09": ["iqr not at least 2 and at most 10", "1"],
        "sub-10": ["iqr not at least 2 and at most 10", "n/a"],
        "sub-11": ["qc not one of good, fair", "poor"],
        "sub-12": ["site missing", "n/a"],
    }
    steps = tables.flow[tables.flow["step"] != "count"]
    assert steps["remaining"].tolist() == [12 - removed for removed in steps["removed"].cumsum()]
    assert steps["remaining"].iloc[-1] == len(tables.cohort)
    assert tables.exclusions["rule"].value_counts().to_dict() == {
        row.rule: row.removed for row in steps.itertuples() if row.removed
    }


def test_a_missing_fact_stays_in_where_it_is_not_required(folder: Path) -> None:
    table(folder / "participants.tsv", HEADER, *PEOPLE, "sub-05\tcontrol\tn/a\tn/a\tbrno")
    tables = build(folder, include={"require": ["site"]})
    assert tables.cohort[["age", "sex"]].iloc[-1].isna().all()


def test_a_quality_measure_must_be_a_number(folder: Path) -> None:
    table(folder / "participants.tsv", f"{HEADER}\tiqr", *(f"{person}\tA+" for person in PEOPLE))
    (line,) = by_kind(problems(folder, include={"quality": [{"column": "iqr", "minimum": 2}]}))
    assert line.startswith("4 alike (sub-01, sub-02, sub-03 and 1 more): ")
    assert "column 'iqr': 'A+' (participant sub-01) is not a finite number" in line
    (problem,) = problems(folder, include={"quality": [{"column": "IQR", "keep": ["A+"]}]})
    assert "'IQR' (cohort.include.quality.0.column)" in problem


def test_a_group_without_people(folder: Path) -> None:
    (problem,) = problems(folder, target=["psychosis"])
    assert "fewer than 2 participants are in the target group, of 4 listed" in problem
    assert "2 left out: diagnosis neither background nor target" in problem
    assert "the tables also have the diagnoses 'schizophrenia' (2); check" in problem


def test_all_problems_come_at_once(folder: Path) -> None:
    table(folder / "participants.tsv", HEADER, *PEOPLE, "sub-05\tcontrl\t-1\tX\tbrno")
    one = {"name": "one", "participants": str(folder / "participants.tsv")}
    found = problems(folder, studies=[one, {"name": "two", "participants": str(folder / "absent.tsv")}])
    assert len(found) == 4


# What is wrong with a person, by column, and what the message would say if this person stayed.
WRONG_CELLS = {
    "sans": ("7x", "'7x'"),
    "sans out of range": ("999", "outside 0 to 100"),
    "age": ("abc", "'abc'"),
    "age -1": ("-1", "has the age -1"),
    "sex": ("x", "'x'"),
    "site": ("=cmd()", "=cmd()"),
    "site spelled otherwise": ("PRAGUE", "look like one site"),
    "handed": ("sideways", "is not listed in `cohort.values.handed`"),
    "iqr": ("poor", "'poor'"),
    "diagnosis": ("contrl", "meant to be 'control'"),
    "volume": ("", "found none"),
}


# One cell cannot be wrong and leave its person out.
WRONG_AND_OUT = [
    (name, out)
    for name in WRONG_CELLS
    for out in ("diagnosis", "quality", "age", "require", "")
    if name.split()[0] != out
]


@pytest.mark.parametrize(("name", "out"), WRONG_AND_OUT)
def test_what_is_wrong_with_people_who_are_left_out_stops_nobody(tmp_path: Path, out: str, name: str) -> None:
    wrong, message = WRONG_CELLS[name]
    columns = ["participant_id", "diagnosis", "age", "sex", "site", "sans", "handed", "iqr", "qc", "consent"]
    person = dict(
        zip(columns, ["sub-05", "schizophrenia", "30", "F", "prague", "7", "r", "2", "good", "yes"], strict=True)
    )
    person |= {
        "diagnosis": {"diagnosis": "bipolar"},
        "quality": {"qc": "bad"},
        "age": {"age": "80"},
        "require": {"consent": ""},
    }.get(out, {})  # type: ignore[dict-item]
    column = name.split()[0]
    if name != "volume":
        person[column] = wrong
    rows = ["\t".join([*row.split("\t"), "" if "control" in row else "5", "r", "2", "good", "yes"]) for row in PEOPLE]
    table(tmp_path / "participants.tsv", "\t".join(columns), *rows, "\t".join(person.values()))
    for number in range(1, 5 if name == "volume" else 6):
        table(tmp_path / f"sub-0{number}.nii", f"volume {number}")
    told: dict[str, Any] = {
        "columns": {"others": {"handed": "handed"}},
        "values": {"handed": {"r": "right"}},
        "scores": {"sans": {"column": "sans", "range": [0, 100]}},
        "include": {
            "age": [18, 65],
            "quality": [{"column": "qc", "keep": ["good"]}, {"column": "iqr", "maximum": 3}],
            "require": ["age", "sex", "site", "consent"],
        },
    }
    study = {"volumes": "{participant_id}.nii"}
    if out:
        tables = build(tmp_path, study, **told)
        assert tables.cohort["participant_id"].tolist() == ["sub-01", "sub-02", "sub-03", "sub-04"]
        assert tables.exclusions["rule"].str.contains(
            {"diagnosis": "neither", "quality": "qc", "age": "age outside", "require": "consent missing"}[out]
        ).tolist() == [True]
    else:
        (problem,) = problems(tmp_path, study, **told)
        assert message in problem


@pytest.mark.parametrize("where", ["participants.tsv", "sans.tsv"])
def test_several_lines_about_somebody_who_is_left_out(folder: Path, where: str) -> None:
    out = "sub-05\tbipolar\t20\tmale\tbrno"
    lines = {"participants.tsv": [HEADER, *PEOPLE, out], "sans.tsv": ["participant_id\tQ1", "05\t0", "sub-03\t2"]}
    lines[where].append(lines[where][5 if where == "participants.tsv" else 1])
    for name, content in lines.items():
        table(folder / name, *content)
    study = {"phenotypes": [str(folder / "sans.tsv")]}
    tables = build(folder, study, scores={"sans": ITEMS})
    assert tables.cohort["sans"].fillna(-1).tolist() == [-1, -1, 2, -1]
    assert set(tables.exclusions["participant_id"]) == {"sub-05"}
    # One of the lines says that this person stays: nobody knows which is right.
    table(folder / "participants.tsv", *lines["participants.tsv"], out.replace("bipolar", "control"))
    (problem, *more) = problems(folder, study, scores={"sans": ITEMS})
    assert "are all about participant sub-05" in problem
    assert len(more) == (where == "sans.tsv")


def test_several_lines_without_a_session(folder: Path) -> None:
    rows = [f"{person}\tses-1" for person in PEOPLE] + [f"{PEOPLE[0]}\tn/a"] * 2
    table(folder / "participants.tsv", f"{HEADER}\tvisit", *rows)
    tables = build(folder, columns={"session_id": "visit"})
    assert len(tables.cohort) == 4
    assert tables.exclusions["rule"].tolist() == ["session missing"] * 2


def test_two_people_of_one_name_of_whom_one_is_left_out(folder: Path) -> None:
    table(folder / "two.tsv", HEADER, "sub-01\tbipolar\t30\tmale\tostrava", *(p.replace("-0", "-1") for p in PEOPLE))
    one = {"name": "one", "participants": str(folder / "participants.tsv")}
    assert len(build(folder, studies=[one, {"name": "two", "participants": str(folder / "two.tsv")}]).cohort) == 8


def test_controls_who_were_rated_without_symptoms(folder: Path) -> None:
    table(folder / "panss.tsv", "participant_id\tQ1\tpanss", "01\t0\t30", "02\t0\t30", "03\t0\t30", "04\t2\t45")
    scores = {"sans": ITEMS, "panss": {"column": "panss", "range": [30, 210]}}
    cohort = build(folder, {"phenotypes": [str(folder / "panss.tsv")]}, scores=scores).cohort
    assert cohort["sans"].fillna(-1).tolist() == [-1, -1, 0, 2]
    assert cohort["panss"].fillna(-1).tolist() == [-1, -1, 30, 45]


def test_any_column_may_be_required(folder: Path) -> None:
    rows = [f"{person}\t{cells}" for person, cells in zip(PEOPLE, ("\t9", "yes\t", "yes\t9", "yes\t8"), strict=True)]
    extra = ("sub-05\tcontrol\t20\tmale\tbrno\tyes\t", "sub-06\tschizophrenia\t20\tmale\tbrno\tyes\t")
    extra += ("sub-07\tcontrol\t20\tmale\tbrno\tyes\t0", "sub-08\tschizophrenia\t20\tmale\tbrno\tyes\t1")
    table(folder / "participants.tsv", f"{HEADER}\tconsent\tSANS", *rows, *extra)
    scores = {"sans": {"column": "SANS", "range": [0, 10]}}
    asked: dict[str, Any] = {"scores": scores, "values": {"sans": {"9": "n/a"}}}
    for name in ("sans", "SANS"):  # asked of patients alone
        tables = build(folder, include={"require": ["consent", name]}, **asked)
        assert tables.exclusions.set_index("participant_id")["rule"].to_dict() == {
            "sub-01": "consent missing",
            "sub-03": f"{name} missing",
            "sub-06": f"{name} missing",
        }
        flow = flow_of(tables)
        assert flow["consent missing"] == ("exclude", 1, 7)
        assert flow[f"{name} missing"] == ("exclude", 2, 5)
    (problem,) = problems(folder, include={"require": ["consnt"]})
    assert "has the column 'consnt' (cohort.include.require). Did you mean 'consent'? Known: " in problem
    (volume,) = problems(folder, include={"require": ["Volume"]})
    assert "'Volume' is no column of one. Did you mean 'volume', which leaves out participants" in volume
    assert "constants" not in volume
