"""What columns and codes mean, and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError, by_kind
from tests.data.own_tables import HEADER, PEOPLE, build, flow_of, problems, table


def test_codes_are_mapped_and_never_guessed(folder: Path) -> None:
    people = [person.replace("female", "2").replace("male", "1") for person in PEOPLE]
    table(folder / "participants.tsv", HEADER, *people, "sub-05\tcontrol\t20\t9\tbrno")
    guess = problems(folder)
    assert len(guess) == 3
    assert "column 'sex': '1' (participants sub-02, sub-04) needs a meaning, `female`, `male`" in guess[0]
    (unlisted,) = problems(folder, values={"sex": {"1": "male", "2": "female", "99": "n/a"}})
    assert "'9' (participant sub-05) is not listed in `cohort.values.sex`; add it. Did you mean '99'?" in unlisted
    tables = build(folder, values={"sex": {"1": "male", "2": "female", "9": "n/a"}})
    assert tables.cohort["sex"].tolist() == ["female", "male", "female", "male"]
    assert tables.exclusions["rule"].tolist() == ["sex missing"]


SPELLINGS = ["F", "f", "Female", "FEMALE", "M", "m", "Male", "MALE", "male", "female"]


def test_sex_as_bids_spells_it(folder: Path) -> None:
    rows = [f"sub-{n:02}\t{'control' if n % 2 else 'schizophrenia'}\t20\t{sex}\tx" for n, sex in enumerate(SPELLINGS)]
    others = [f"sub-{n}\tcontrol\t20\t{sex}\tx" for n, sex in enumerate(("O", "o", "other", "Other", "n/a", ""), 20)]
    table(folder / "participants.tsv", HEADER, *rows, *others)
    tables = build(folder)
    expected = ["female"] * 4 + ["male"] * 5 + ["female"] + ["other"] * 4
    assert tables.cohort["sex"].tolist() == expected
    assert tables.exclusions["rule"].tolist() == ["sex missing"] * 2
    assert flow_of(tables)["without female or male as sex, left out by the probe of sex"] == ("count", 0, 4)
    # What the configuration says of a code comes first, and codes that it does not mention keep their meaning.
    told = build(folder, values={"sex": {"M": "F", "O": "n/a", "other": "male"}}).cohort.set_index("scan_id")["sex"]
    assert told["sub-04"] == "female"
    assert told["sub-05"] == "male"
    assert told["sub-22"] == "male"
    assert "sub-20" not in told
    table(folder / "participants.tsv", HEADER, *rows, "sub-30\tcontrol\t20\tweiblich\tx")
    (problem,) = problems(folder)
    assert "'weiblich' (participant sub-30) needs a meaning, `female`, `male`, `other` or `n/a`" in problem
    (problem,) = problems(folder, values={"sex": {"weiblich": "woman"}})
    assert "'woman' (participant sub-30) needs a meaning," in problem


def test_texts_that_mean_missing(folder: Path) -> None:
    more = ("sub-05\tcontrol\t.\tmale\tbrno", "sub-06\tcontrol\t20\tNA\tbrno", "sub-07\t-\t20\tmale\tbrno")
    table(folder / "participants.tsv", HEADER, *PEOPLE, *more, "sub-08\tcontrol\t-999\tmale\tbrno")
    table(folder / "sans.tsv", "participant_id\tQ1\tQ2", "03\t1\t-999", "04\t1\t1")
    study = {"phenotypes": [str(folder / "sans.tsv")], "missing": [".", "NA", "-", -999]}
    tables = build(folder, study, scores={"sans": ITEMS})
    assert tables.exclusions.set_index("participant_id")["rule"].to_dict() == {
        "sub-05": "age missing",
        "sub-06": "sex missing",
        "sub-07": "diagnosis missing",
        "sub-08": "age missing",
    }
    assert tables.cohort["sans"].fillna(-1).tolist() == [-1, -1, -1, 2]
    found = problems(folder, study | {"missing": ["."]}, scores={"sans": ITEMS})
    assert any("'NA' (participant sub-06) needs a meaning" in problem for problem in found)
    assert any("has the age -999" in problem and "list it in the study's `missing`" in problem for problem in found)
    assert any("has -999, but the items" in problem and "`missing`" in problem for problem in found)


def test_a_text_that_means_missing_is_the_studys_own(folder: Path) -> None:
    rows = [person.replace("prague", "NA") for person in PEOPLE]
    table(folder / "participants.tsv", HEADER, *rows)
    table(folder / "two.tsv", HEADER, *(row.replace("sub-", "sub-1") for row in rows))
    one = {"name": "one", "participants": str(folder / "participants.tsv")}
    two = {"name": "two", "participants": str(folder / "two.tsv"), "missing": ["NA"]}
    assert build(folder, studies=[one, two]).cohort["site"].tolist() == ["NA", "NA"] + ["brno"] * 4


def test_numbers_as_text_are_mapped(folder: Path) -> None:
    people = [person.replace("\t40\t", "\t89+\t") for person in PEOPLE]
    rows = [
        f"{person}\t{cells}"
        for person, cells in zip(people, ("<40\t9\t", "120\t9\t", "99\t9\t1", "7\t>9\tnone"), strict=True)
    ]
    table(folder / "participants.tsv", f"{HEADER}\tiq\tiqr\tq1", *rows)
    asked: dict[str, Any] = {
        "columns": {"others": {"iq": "iq"}},
        "scores": {"sans": {"items": ["q1"], "range": [0, 10]}},
        "include": {"quality": [{"column": "iqr", "minimum": 8}]},
    }
    found = "\n".join(problems(folder, **asked))
    for text, key in (("89+", "age"), ("none", "sans"), (">9", "iqr")):
        assert f"{text!r} (participant sub-04) is not a finite number" in found
        assert f"if it means a number, in `cohort.values.{key}`" in found
    values = {"age": {"89+": "90"}, "iq": {"<40": 39, "99": "n/a"}, "sans": {"none": "0"}, "iqr": {">9": 9}}
    cohort = build(folder, values=values, **asked).cohort
    assert cohort["age"].tolist() == [20, 30.5, 25, 90]
    assert cohort["iq"].fillna(-1).tolist() == [39, 120, -1, 7]
    assert cohort["sans"].fillna(-1).tolist() == [-1, -1, 1, 0]


def test_numbers_that_are_codes_must_all_be_listed(folder: Path) -> None:
    bands = [person.replace("\t20\t", "\t1\t").replace("\t25\t", "\t3\t") for person in PEOPLE]
    table(folder / "participants.tsv", HEADER, *bands)
    listed = {"1": "20", "2": "30", "30.5": "30.5", "40": "40"}
    (problem,) = problems(folder, values={"age": listed})
    assert "'3' (participant sub-03) is not listed in `cohort.values.age`" in problem
    assert build(folder, values={"age": listed | {"3": "50"}}).cohort["age"].tolist() == [20, 30.5, 50, 40]


def test_diagnoses(folder: Path) -> None:
    more = ("sub-05\tn/a\t20\tmale\tbrno", "sub-06\tbipolar\t20\tmale\tbrno")
    table(folder / "participants.tsv", HEADER, *PEOPLE, *more)
    tables = build(folder)
    assert tables.exclusions.set_index("participant_id")["rule"].to_dict() == {
        "sub-05": "diagnosis missing",
        "sub-06": "diagnosis neither background nor target",
    }
    assert tables.exclusions["value"].iloc[1] == "bipolar"
    assert flow_of(tables)["diagnosis neither background nor target"] == ("exclude", 1, 4)

    table(folder / "participants.tsv", HEADER, *PEOPLE, "sub-05\tControls\t20\tmale\tbrno")
    (misspelled,) = problems(folder)
    assert "is 'Controls' (participant sub-05) meant to be 'control'?" in misspelled
    meant = {name: name for name in ("control", "schizophrenia", "Controls")}
    assert build(folder, values={"diagnosis": meant}).exclusions["value"].tolist() == ["Controls"]


def test_missing_columns(folder: Path) -> None:
    table(folder / "participants.tsv", "participant_id\tdiagnosis\tages\tsex", *(p.rsplit("\t", 1)[0] for p in PEOPLE))
    age, site = problems(folder)
    assert "has the column 'age' (cohort.columns.age). Did you mean 'ages'?" in age
    assert "`site: n/a`" in site
    assert "no site in `cohort.include.require`" in site
    study = {"constants": {"site": "n/a"}}
    with pytest.raises(InputError, match=r"cohort.studies.0.constants.site: is 'n/a', and `cohort.include.require`"):
        parse_config({"cohort": {"source": "files", "studies": [{"name": "a", "participants": "p.tsv", **study}]}})
    tables = build(folder, study, columns={"age": "ages"}, include={"require": ["age", "sex"]})
    assert tables.cohort["site"].isna().all()
    (participant,) = problems(folder, columns={"participant_id": "subject"})
    assert "has no column 'subject' (cohort.columns.participant_id)" in participant


@pytest.mark.parametrize(
    ("age", "message"),
    [
        ("-3", "has the age -3, expected years above 0 and below 120"),
        ("120", "has the age 120"),
        ("inf", "'inf' (participant sub-05) is not a finite number"),
        ("NaN", "'NaN'"),
        ("1_0", "'1_0'"),
        ("20,5", "decimals are written with a point"),
    ],
)
def test_wrong_ages(folder: Path, age: str, message: str) -> None:
    table(folder / "participants.tsv", HEADER, *PEOPLE, f"sub-05\tcontrol\t{age}\tmale\tbrno")
    (problem,) = problems(folder)
    assert message in problem


def test_ages_in_months(folder: Path) -> None:
    table(folder / "participants.tsv", HEADER, *(f"sub-0{n}\tcontrol\t{240 + n}\tmale\tbrno" for n in range(5)))
    found = problems(folder)
    assert [f"participant sub-0{n} has the age {240 + n}" in found[n] for n in range(5)] == [True] * 5
    (line,) = by_kind(found)
    assert line.startswith("5 alike (sub-00, sub-01, sub-02 and 2 more): ")
    assert "look like months" in line


@pytest.mark.parametrize("names", [("1", "1.0"), ("Brno", "brno")])
def test_one_site_under_two_names(folder: Path, names: tuple[str, str]) -> None:
    people = [person.replace("prague", names[0]).replace("brno", names[1]) for person in PEOPLE]
    table(folder / "participants.tsv", HEADER, *people)
    (problem,) = problems(folder)
    assert f"{names[0]!r}, {names[1]!r} look like one site" in problem
    merged = build(folder, values={"site": dict.fromkeys(names, "brno")})
    assert set(merged.cohort["site"]) == {"brno"}


def test_formulas_in_labels(folder: Path) -> None:
    table(folder / "participants.tsv", HEADER, *(person.replace("brno", "=1+1") for person in PEOPLE))
    (problem,) = problems(folder)
    assert "'=1+1' (participants sub-03, sub-04)" in problem
    table(folder / "participants.tsv", HEADER, *(person.replace("brno", "-1") for person in PEOPLE))
    assert set(build(folder).cohort["site"]) == {"prague", "-1"}


# --- scores ------------------------------------------------------------------------------------------------------


ITEMS = {"items": r"Q\d+", "range": [0, 10]}


def scored(folder: Path, *lines: str, **changed: Any) -> Callable[..., Any]:
    table(folder / "sans.tsv", *lines)
    study = {"phenotypes": [str(folder / "sans.tsv")]}
    return lambda ask: ask(folder, study, scores={"sans": ITEMS | changed})


def test_items_are_summed_and_a_missing_item_makes_a_missing_score(folder: Path) -> None:
    ask = scored(folder, "participant_id\tQ1\tQ2\tQ10x", "sub-03\t1\t2\t5", "sub-04\t3\tn/a\t5", "sub-01\t\t\t")
    tables = ask(build)
    assert tables.cohort["sans"].fillna(-1).tolist() == [-1, -1, 3, -1]
    assert flow_of(tables)["without sans although some items are given, in one"] == ("count", 0, 1)
    assert flow_of(tables)["in the target group, without sans"] == ("count", 0, 1)


@pytest.mark.parametrize(
    ("lines", "changed", "message"),
    [
        (("Q1\tQ2", "sub-03\t9\t9"), {}, "participant sub-03 has a sans of 18, outside 0 to 10"),
        (("Q1\tQ2", "sub-03\t-9\t9"), {}, "has -9, but the items of a sans of at least 0 are not negative"),
        (("Q1\tQ2", "sub-03\tx\t9"), {}, "column 'Q1': 'x' (participant sub-03) is not a finite number"),
        (("Q1\tQ2", "sub-01\t0\t2"), {}, "sub-01 (control) has a sans of 2, which only the target group should have"),
        (("Q1\tQ2", "sub-03\t0\t0"), {"exclude_items": ["Q3"]}, "exclude_items: 'Q3' is no item in one."),
        (("Q1\tQ2", "sub-03\t0\t0"), {"items": "SANS.*"}, "no column of one matches 'SANS.*'"),
        (("Q1\tQ2", "sub-03\t0\t0"), {"items": ["Q1", "Q7"]}, "the column 'Q7' (cohort.scores.sans)"),
        (("Q1\tglobal_Q", "sub-03\t0\t0"), {"items": ".*Q.*"}, "global_Q of one are global ratings"),
    ],
)
def test_wrong_scores(folder: Path, lines: tuple[str, ...], changed: dict[str, Any], message: str) -> None:
    (problem,) = scored(folder, f"participant_id\t{lines[0]}", *lines[1:], **changed)(problems)
    assert message in problem


def test_controls_with_a_score_where_it_is_everybodys(folder: Path) -> None:
    tables = scored(folder, "participant_id\tQ1", "sub-01\t2", "sub-03\t1", people="all")(build)
    assert flow_of(tables)["without sans"] == ("count", 0, 2)


def test_scores_of_people_outside_both_groups(folder: Path) -> None:
    ask = scored(folder, "participant_id\tQ1", "sub-03\t1", "sub-05\t2")
    table(folder / "participants.tsv", HEADER, *PEOPLE, "sub-05\tn/a\t20\tmale\tbrno")
    assert ask(build).exclusions["rule"].tolist() == ["diagnosis missing"]
    table(folder / "participants.tsv", HEADER, *PEOPLE, "sub-05\tbipolar\t20\tmale\tbrno")
    assert ask(build).exclusions["rule"].tolist() == ["diagnosis neither background nor target"]
    assert scored(folder, "participant_id\tQ1", "sub-05\t2", people="all")(build).cohort["sans"].isna().all()


def test_global_ratings_that_only_the_sidecar_names(folder: Path) -> None:
    ask = scored(folder, "participant_id\tQ1\tQ2", "sub-03\t1\t2")
    (folder / "sans.json").write_text('{"Q2": {"Description": "Global rating of flattening"}}')
    (problem,) = ask(problems)
    assert "Q2 of one are global ratings" in problem
    assert scored(folder, "participant_id\tQ1\tQ2", "sub-03\t1\t2", exclude_items=["Q2"])(build).cohort["sans"][2] == 1
    assert scored(folder, "participant_id\tQ1\tQ2", "sub-03\t1\t2", items=["Q1", "Q2"])(build).cohort["sans"][2] == 3
    (folder / "sans.json").write_text("{")
    (problem,) = ask(problems)
    assert f"{folder / 'sans.json'}: is not valid JSON" in problem


def test_studies_with_other_items_or_none(folder: Path) -> None:
    table(folder / "sans.tsv", "participant_id\tQ1\tQ2", "sub-03\t1\t2")
    one = {
        "name": "one",
        "participants": str(folder / "participants.tsv"),
        "phenotypes": [str(folder / "sans.tsv")],
    }
    table(folder / "two.tsv", f"{HEADER}\tQ1", "sub-05\tschizophrenia\t20\tmale\tbrno\t3")
    two = {"name": "two", "participants": str(folder / "two.tsv")}
    scores = {"sans": ITEMS | {"exclude_items": ["Q2"]}}
    (excluded,) = problems(folder, studies=[one, two], scores=scores)
    assert "'Q2' is no item in two" in excluded
    (different,) = problems(folder, studies=[one, two], scores={"sans": ITEMS})
    assert "one and two do not sum the same items (Q2 only in one)" in different
    table(folder / "two.tsv", HEADER, "sub-05\tschizophrenia\t20\tmale\tbrno")
    tables = build(folder, studies=[one, two | {"constants": {"Q1": "n/a"}}], scores=scores)
    assert tables.cohort["sans"].fillna(-1).tolist() == [-1, -1, 1, -1, -1]
