"""The tables of a study, joined."""

from __future__ import annotations

from pathlib import Path

from tests.data.own_tables import HEADER, PEOPLE, build, flow_of, problems, table


def test_ids_in_one_table_only_are_counted_and_listed(folder: Path) -> None:
    table(folder / "iq.tsv", "participant_id\tiq", "01\t100", "sub-03\t90", "sub-99\t80")
    tables = build(folder, {"phenotypes": [str(folder / "iq.tsv")]}, columns={"others": {"iq": "iq"}})
    assert tables.exclusions.fillna("n/a").to_numpy().tolist() == [
        ["sub-99", "n/a", "one", "not in the participants table", "iq.tsv"]
    ]
    flow = flow_of(tables)
    assert flow["listed in the tables"] == ("start", 0, 5)
    assert flow["not in the participants table"] == ("exclude", 1, 4)
    assert flow["in participants.tsv of one but not in iq.tsv"] == ("count", 0, 2)
    assert tables.cohort["iq"].fillna(-1).tolist() == [100, -1, 90, -1]


def test_tables_without_a_common_participant(folder: Path) -> None:
    table(folder / "iq.tsv", "participant_id\tiq", "P1\t100")
    (problem,) = problems(folder, {"phenotypes": [str(folder / "iq.tsv")]})
    assert "none of its participants (first: 'P1')" in problem


def test_a_column_has_one_home(folder: Path) -> None:
    table(folder / "iq.tsv", "participant_id\tage\tiq", "sub-01\t100\t1")
    study = {"phenotypes": [str(folder / "iq.tsv")], "constants": {"iq": "1"}}
    joined, constant = problems(folder, study)
    assert f"{folder / 'iq.tsv'}: the column 'age' is in {folder / 'participants.tsv'} too" in joined
    assert "the constant 'iq' is a column of" in constant


def test_sessions_join_and_make_scans(folder: Path) -> None:
    table(
        folder / "scans.tsv",
        "participant_id\tsession\tqc",
        *("01\tses-1\tok", "01\tses-2\tok", "02\tses-1\tok", "03\t1\tok", "04\t1\tbad", "05\t1\tok"),
    )
    table(folder / "sans.tsv", "participant_id\tsession\tsans", "03\tses-1\t9", "04\tses-1\t8", "04\tses-7\t7")
    table(
        folder / "participants.tsv", HEADER, *PEOPLE, "06\tcontrol\t20\tmale\tbrno", "07\tschizophrenia\t20\tmale\tbrno"
    )
    tables = build(
        folder,
        {"phenotypes": [str(folder / "scans.tsv"), str(folder / "sans.tsv")]},
        columns={"session_id": "session", "others": {"qc": "qc"}},
        scores={"sans": {"column": "sans", "range": [0, 125]}},
    )
    assert tables.cohort["scan_id"].tolist() == ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-03_1", "sub-04_1"]
    assert tables.cohort["sans"].fillna(-1).tolist() == [-1, -1, -1, 9, 8]
    assert tables.exclusions[["participant_id", "session_id", "rule"]].fillna("n/a").to_numpy().tolist() == [
        ["04", "ses-7", "not in the participants table"],
        ["05", "1", "not in the participants table"],
        ["06", "n/a", "session missing"],
        ["07", "n/a", "session missing"],
    ]
    assert flow_of(tables)["different participants"] == ("count", 0, 4)


def test_two_people_with_one_scan_id(folder: Path) -> None:
    people = ("a_b\tcontrol\t20\tmale\tbrno\tc", "a\tcontrol\t20\tmale\tbrno\tb_c")
    table(folder / "participants.tsv", f"{HEADER}\tvisit", *(f"{person}\t1" for person in PEOPLE), *people)
    (problem,) = problems(folder, columns={"session_id": "visit"})
    assert "two participants make the same scan id 'a_b_c'" in problem


def test_studies_are_put_together(folder: Path) -> None:
    table(folder / "two" / "participants.tsv", "participant_id\tdiagnosis\tage\tsex", "05\tcontrol\t50\tmale")
    one = {"name": "one", "participants": str(folder / "participants.tsv")}
    two = {"name": "two", "participants": str(folder / "two" / "participants.tsv"), "constants": {"site": "ostrava"}}
    tables = build(folder, studies=[one, two])
    assert tables.cohort["site"].tolist() == ["ostrava", "prague", "prague", "brno", "brno"]
    assert flow_of(tables)["listed in the tables of two"] == ("count", 0, 1)

    table(folder / "two" / "participants.tsv", "participant_id\tdiagnosis\tage\tsex", "04\tcontrol\t50\tfemale")
    assert [problem.split(":")[0] for problem in problems(folder, studies=[one, two])] == [
        "participant sub-04 has several studies",
        "participant sub-04 has several sexes",
        "participant sub-04 has several diagnoses",
    ]
