"""Tables -> cohort: what is read, joined, mapped, summed and left out, and what every bad table is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError, by_kind
from sepclr_neuro.core.layout import Results
from sepclr_neuro.data.cohort import CohortTables, build_cohort, dataset_volume, load_cohort, write_cohort
from sepclr_neuro.data.volumes import BRAIN_BOX_MM

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "own_cohort.yaml"
HEADER = "participant_id\tdiagnosis\tage\tsex\tsite"
PEOPLE = (
    "sub-01\tcontrol\t20\tfemale\tprague",
    "sub-02\tcontrol\t30.5\tmale\tprague",
    "sub-03\tschizophrenia\t25\tfemale\tbrno",
    "sub-04\tschizophrenia\t40\tmale\tbrno",
)
TARGETS = {"age": {"kind": "regression", "expected_in": "common"}}


def table(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def configured(folder: Path, study: dict[str, Any] | None = None, **cohort: Any) -> Any:
    """A configuration of one study in ``folder``; ``studies`` and other keys of ``cohort`` replace the defaults."""
    default = {"name": "one", "participants": str(folder / "participants.tsv")} | (study or {})
    content = {"source": "files", "studies": [default]} | cohort
    asked = {"probes": {"targets": TARGETS}, "saliency": {"targets": []}, "splits": {"stratify_by": ["diagnosis"]}}
    return parse_config({"output": str(folder / "results"), "cohort": content} | asked)


def build(folder: Path, study: dict[str, Any] | None = None, **cohort: Any) -> CohortTables:
    return build_cohort(configured(folder, study, **cohort).cohort, None)


def problems(folder: Path, study: dict[str, Any] | None = None, **cohort: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        build(folder, study, **cohort)
    return caught.value.problems


def flow_of(tables: CohortTables) -> dict[str, tuple[str, int, int]]:
    assert tables.flow["rule"].is_unique
    return {row.rule: (row.step, row.removed, row.remaining) for row in tables.flow.itertuples()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table(tmp_path / "participants.tsv", HEADER, *PEOPLE)
    return tmp_path


# --- a cohort, written and read back -----------------------------------------------------------------------------


def test_written_cohort_reads_back_equal(folder: Path) -> None:
    table(
        folder / "more.tsv",
        "participant_id\tsans\tTIV\tcode",
        "03\t12\t1432.123456789\t007",
        "04\tn/a\t1\tx",
        "01\t\t2\t8",
        "02\tn/a\t3\tn/a",
    )
    config = configured(
        folder,
        {"phenotypes": [str(folder / "more.tsv")]},
        scores={"sans": {"column": "sans", "range": [0, 125]}},
        columns={"others": {"tiv": "TIV", "code": "code"}},
    )
    results = Results(config.output)
    write_cohort(config, results)
    cohort = load_cohort(results)
    pd.testing.assert_frame_equal(cohort, build_cohort(config.cohort, None).cohort)
    names = "scan_id participant_id session_id diagnosis group age sex site sans tiv code volume"
    assert list(cohort.columns) == names.split()
    assert cohort["scan_id"].tolist() == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert cohort["group"].tolist() == ["background"] * 2 + ["target"] * 2
    assert cohort["tiv"].tolist() == [2, 3, 1432.123456789, 1]
    assert cohort["code"].tolist()[0::2] == ["8", "007"]
    assert cohort["sans"].tolist()[2] == 12
    assert cohort["sans"].isna().tolist() == [True, True, False, True]
    assert cohort[["session_id", "volume"]].isna().all(axis=None)
    assert flow_of(build_cohort(config.cohort, None))["in the target group, without sans"] == ("count", 0, 1)
    assert results.exclusions.read_text() == "participant_id\tsession_id\tstudy\trule\tvalue\n"


def test_nothing_is_written_when_something_is_wrong(folder: Path) -> None:
    table(folder / "participants.tsv", HEADER, *PEOPLE, "sub-05\tcontrol\tabc\tmale\tbrno")
    config = configured(folder)
    with pytest.raises(InputError, match="'abc'"):
        write_cohort(config, Results(config.output))
    assert not config.output.exists()
    with pytest.raises(InputError, match="run the cohort stage first"):
        load_cohort(Results(config.output))


def test_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = [f"{number:03}\t{person.split(chr(9), 1)[1]}" for number, person in enumerate(PEOPLE)]
    table(tmp_path / "participants.tsv", HEADER, *(row.replace("brno", "NA") for row in rows))
    config = configured(tmp_path)
    write_cohort(config, Results(config.output))
    cohort = load_cohort(Results(config.output))
    assert cohort["participant_id"].tolist() == ["000", "001", "002", "003"]
    assert cohort["site"].tolist() == ["prague", "prague", "NA", "NA"]


def test_bom_crlf_blank_lines_and_spaces_are_harmless(folder: Path) -> None:
    text = "\r\n".join([HEADER, *(person.replace("\t", " \t ") for person in PEOPLE), "\t\t\t\t", "", ""])
    (folder / "participants.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert build(folder).cohort["site"].tolist() == ["prague", "prague", "brno", "brno"]


def test_commas_and_quotes_in_csv(folder: Path) -> None:
    lines = [line.replace("\t", ",").replace("brno", '"Brno, CZ"') for line in (HEADER, *PEOPLE)]
    table(folder / "people.csv", *lines)
    assert build(folder, {"participants": str(folder / "people.csv")}).cohort["site"].iloc[-1] == "Brno, CZ"


# --- tables that cannot be read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join([HEADER, *PEOPLE]).encode("utf-16"), "UTF-16"),
        (b"participant_id\tdiagnosis\nsub-\0\tcontrol\n", "NUL"),
        (f"{HEADER}\nsub-01\tcontrol\t20\tmale\tMálaga\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("\n".join([HEADER, *PEOPLE]).replace("\t", ";").encode(), "separated by semicolons, but a .tsv file has tabs"),
        ("\n".join([HEADER, *PEOPLE]).replace("\t", ",").encode(), "or name it .csv"),
        (f"{HEADER}\nsub-01\tcontrol\t20\tmale\tbrno\textra\n".encode(), "line 2 has 6 values, expected 5"),
        (f"{HEADER}\n{PEOPLE[0]}\nsub-02\tcontrol\n".encode(), "line 3 has 2 values, expected 5"),
        (f"{HEADER}\tage\n{PEOPLE[0]}\t3\n".encode(), "two columns are called 'age'"),
        (f"{HEADER}\t\n{PEOPLE[0]}\t3\n".encode(), "column 6 has no name"),
        (f'{HEADER}\n"sub-01\tcontrol\t20\tmale\tbrno\n'.encode(), "stray quotation mark"),
        (HEADER.encode(), "at least one participant"),
        (b"", "at least one participant"),
    ],
)
def test_unreadable_tables(folder: Path, content: bytes, message: str) -> None:
    (folder / "participants.tsv").write_bytes(content)
    (problem,) = problems(folder)
    assert message in problem
    assert str(folder / "participants.tsv") in problem


def test_missing_files_are_reported_together(folder: Path) -> None:
    study = {"participants": str(folder / "a.tsv"), "phenotypes": [str(folder / "b.tsv"), str(folder / "c.xlsx")]}
    found = problems(folder, study)
    assert [problem.split(":")[0] for problem in found] == [str(folder / name) for name in ("a.tsv", "b.tsv", "c.xlsx")]
    assert "No such file" in found[0]
    assert ".tsv (tabs) or .csv (commas)" in found[2]


@pytest.mark.parametrize("participant", ["sub-../x", "a/b", "a\\b", "..", "=cmd()", "@x", "a\u200bb"])
def test_harmful_ids(folder: Path, participant: str) -> None:
    table(folder / "participants.tsv", HEADER, *PEOPLE, f"{participant}\tcontrol\t20\tmale\tbrno")
    (problem,) = problems(folder)
    assert "line 6: participant_id is" in problem


def test_missing_and_repeated_ids(folder: Path) -> None:
    table(folder / "participants.tsv", HEADER, *PEOPLE, "n/a\tcontrol\t20\tmale\tbrno", "04\tcontrol\t20\tmale\tbrno")
    missing, repeated = problems(folder)
    assert "line 6 has no participant_id" in missing
    assert "lines 5, 7 are all about participant sub-04, 04; if these are several scans" in repeated


@pytest.mark.parametrize(
    ("encoding", "site", "likely"),
    [("cp1252", "Málaga", "cp1252"), ("latin-1", "Orléans", "cp1252"), ("mac_roman", "Málaga", "mac_roman")],
)
def test_a_table_in_another_encoding(folder: Path, encoding: str, site: str, likely: str) -> None:
    lines = [line.replace("brno", site) for line in (HEADER, *PEOPLE)]
    (folder / "participants.tsv").write_bytes("\n".join(lines).encode(encoding))
    (problem,) = problems(folder)
    assert "line 4 is not UTF-8 (byte 0x" in problem
    assert f"it is likely {likely}, as which it reads {site!r}: set `encoding: {likely}` of its study" in problem
    told = {"encoding": encoding}
    assert build(folder, told).cohort["site"].tolist() == ["prague", "prague", site, site]
    (problem,) = problems(folder, {"encoding": "ascii"})
    assert "is not UTF-8, nor ascii" in problem


def test_of_a_studys_tables_those_in_utf8_are_read_as_such(folder: Path) -> None:
    """Excel leaves behind both, and nobody should have to convert raw tables."""
    table(folder / "participants.tsv", HEADER, *(person.replace("brno", "Málaga") for person in PEOPLE))
    (folder / "qc.tsv").write_bytes("participant_id\tqc\nsub-01\tà\n".encode("latin-1"))
    (folder / "iq.tsv").write_bytes(b"\xef\xbb\xbfparticipant_id\tiq\nsub-01\t99\n")
    study = {"phenotypes": [str(folder / name) for name in ("qc.tsv", "iq.tsv")], "encoding": "latin-1"}
    cohort = build(folder, study, columns={"others": {"qc": "qc", "iq": "iq"}}).cohort
    assert cohort["site"].iloc[3] == "Málaga"
    assert cohort.loc[0, ["qc", "iq"]].tolist() == ["à", 99]


def test_a_wide_encoding_is_read_where_it_is_told(folder: Path) -> None:
    text = (folder / "participants.tsv").read_text()
    (folder / "participants.tsv").write_bytes(text.encode("utf-16"))
    (problem,) = problems(folder)
    assert "set `encoding: utf-16` of its study" in problem
    assert len(build(folder, {"encoding": "utf-16"}).cohort) == 4
    table(folder / "participants.tsv", text)
    assert len(build(folder, {"encoding": "utf-16"}).cohort) == 4


@pytest.mark.parametrize(("encoding", "near"), [("latin1x", "Did you mean 'latin-1'?"), ("base64", "Known: utf-8")])
def test_an_encoding_that_there_is_not(folder: Path, encoding: str, near: str) -> None:
    (problem,) = problems(folder, {"encoding": encoding})
    assert f"cohort.studies.0.encoding: no encoding is called {encoding!r}." in problem
    assert near in problem


# --- joins -------------------------------------------------------------------------------------------------------


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


# --- what columns and codes mean ---------------------------------------------------------------------------------


def test_codes_are_mapped_and_never_guessed(folder: Path) -> None:
    people = [person.replace("female", "2").replace("male", "1") for person in PEOPLE]
    table(folder / "participants.tsv", HEADER, *people, "sub-05\tcontrol\t20\t9\tbrno")
    guess = problems(folder)
    assert len(guess) == 3
    assert "column 'sex': '1' (participants sub-02, sub-04) must be said to mean `female`, `male`" in guess[0]
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
    assert flow_of(tables)["without female or male as sex, whom the sex probe does not ask"] == ("count", 0, 4)
    # What the configuration says of a code comes first, and codes that it does not mention keep their meaning.
    told = build(folder, values={"sex": {"M": "F", "O": "n/a", "other": "male"}}).cohort.set_index("scan_id")["sex"]
    assert told["sub-04"] == "female"
    assert told["sub-05"] == "male"
    assert told["sub-22"] == "male"
    assert "sub-20" not in told
    table(folder / "participants.tsv", HEADER, *rows, "sub-30\tcontrol\t20\tweiblich\tx")
    (problem,) = problems(folder)
    assert "'weiblich' (participant sub-30) must be said to mean `female`, `male`, `other` or `n/a`" in problem
    (problem,) = problems(folder, values={"sex": {"weiblich": "woman"}})
    assert "'woman' (participant sub-30) must be said to mean" in problem


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
    assert any("'NA' (participant sub-06) must be said" in problem for problem in found)
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
    study = {"constants": {"site": "n/a"}}
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


# --- who stays in ------------------------------------------------------------------------------------------------


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
    assert "fewer than 2 people are in the target group, of 4 listed" in problem
    assert "2 left out: diagnosis neither background nor target" in problem


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
    assert "'Volume' is no column of one. Did you mean 'volume', which leaves out people" in volume
    assert "constants" not in volume


# --- volumes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def with_volumes(folder: Path) -> Path:
    for number in range(1, 5):
        table(folder / "vbm" / "[old]" / f"mwp1sub-0{number}_T1w.nii", "volume")
    return folder


def test_volumes_by_pattern(with_volumes: Path) -> None:
    table(with_volumes / "participants.tsv", HEADER, *PEOPLE, "sub-05\tbipolar\t20\tmale\tbrno")
    table(with_volumes / "vbm" / "[old]" / "mwp1sub-05_T1w.nii", "left out, yet named")
    table(with_volumes / "vbm" / "[old]" / "mwp1sub-77_T1w.nii", "of nobody")
    study = {"volumes": "[old]/mwp1{participant_id}_*.nii", "volumes_root": str(with_volumes / "vbm")}
    tables = build(with_volumes, study)
    assert tables.cohort["volume"].tolist() == [
        str(with_volumes / "vbm" / "[old]" / f"mwp1sub-0{number}_T1w.nii") for number in range(1, 5)
    ]
    assert flow_of(tables)["volumes on disk that no row of one names"] == ("count", 0, 1)


def test_people_without_a_volume(with_volumes: Path) -> None:
    """Those are no error where volumes are required, unless nobody has one: then the pattern is wrong."""
    (with_volumes / "vbm" / "[old]" / "mwp1sub-01_T1w.nii").unlink()
    table(with_volumes / "participants.tsv", HEADER, *PEOPLE, "sub-05\tcontrol\t20\tmale\tbrno")
    table(with_volumes / "vbm" / "[old]" / "mwp1sub-05_T1w.nii", "volume 5")
    study = {"volumes": "vbm/*/mwp1{participant_id}_*.nii"}
    (problem,) = problems(with_volumes, study)
    assert "left out by `volume` in `cohort.include.require`" in by_kind([problem])[0]
    require = {"require": ["age", "sex", "site", "volume"]}
    for told in ({"include": require}, {"on_error": "exclude"}):
        tables = build(with_volumes, study, **told)
        assert tables.exclusions["rule"].tolist() == ["no volume"]
        assert "found none" in tables.exclusions["value"].iloc[0]
        assert flow_of(tables)["no volume"] == ("exclude", 1, 4)
        assert [fault.who for fault in tables.faults] == ["sub-01"]
    table(with_volumes / "vbm" / "[old]" / "mwp1sub-02_run-2_T1w.nii", "second")
    (two,) = problems(with_volumes, study, include=require)
    assert "found 2" in two
    assert len(problems(with_volumes, {"volumes": "{participant_id}.img"}, include=require)) == 5
    (nowhere,) = problems(with_volumes, include=require)
    assert "neither the study's `volumes` nor `cohort.columns.volume` says where they are" in nowhere


def test_volumes_that_are_not_one(with_volumes: Path) -> None:
    vbm = with_volumes / "vbm" / "[old]"
    (vbm / "mwp1sub-01_T1w.nii").unlink()
    table(vbm / "mwp1sub-02_run-2_T1w.nii", "second")
    none, two = problems(with_volumes, {"volumes": "vbm/*/mwp1{participant_id}_*.nii"})
    assert f"expected one volume called vbm/*/mwp1sub-01_*.nii in {with_volumes}, found none" in none
    assert "participant sub-02: expected one volume" in two
    assert "found 2 (vbm/[old]/mwp1sub-02_T1w.nii, vbm/[old]/mwp1sub-02_run-2_T1w.nii)" in two


def test_one_volume_for_two_people(with_volumes: Path) -> None:
    found = problems(with_volumes, {"volumes": "vbm/*/mwp1sub-01_T1w.nii"})
    assert len(found) == 3
    assert "participant sub-02 has the volume of participant sub-01" in found[0]


def test_volumes_outside_their_root(with_volumes: Path) -> None:
    root = with_volumes / "study"
    table(root / "participants.tsv", HEADER, *PEOPLE)
    for number in range(1, 5):
        table(with_volumes / "outside" / f"sub-0{number}.nii", "volume")
    study = {"participants": str(root / "participants.tsv"), "volumes": "../outside/{participant_id}.nii"}
    found = problems(with_volumes, study)
    assert len(found) == 4
    assert f"leads out of {root}, to {with_volumes / 'outside' / 'sub-01.nii'}" in found[0]
    wider = study | {"volumes": "outside/{participant_id}.nii", "volumes_root": str(with_volumes)}
    assert build(with_volumes, wider).cohort["volume"].notna().all()


@pytest.mark.parametrize(
    "text", ["../outside/{}", "vbm/../../outside/{}", "vbm/out/../../outside/{}", "{root}/outside/{}"]
)
def test_the_text_of_a_table_does_not_lead_out_of_the_root(text: str, with_volumes: Path) -> None:
    """Neither by ``..``, also behind a link, where it means another folder, nor by an absolute path."""
    root = with_volumes / "study"
    (root / "vbm").mkdir(parents=True)
    for number in range(1, 5):
        table(with_volumes / "outside" / f"sub-0{number}.nii", "volume")
    (root / "vbm" / "out").symlink_to(with_volumes / "outside")
    rows = [f"{person}\t{text.format(f'{person[:6]}.nii', root=with_volumes)}" for person in PEOPLE]
    table(root / "participants.tsv", f"{HEADER}\tfile", *rows)
    study = {"participants": str(root / "participants.tsv")}
    for cohort in ({"columns": {"volume": "file"}}, {"study": {"volumes": "{file}"}}):
        found = problems(with_volumes, study | cohort.pop("study", {}), **cohort)
        if text.startswith("vbm/out"):
            assert f"in {root}, found none" in found[0]
        else:
            assert [f"leads out of {root}, to {with_volumes / 'outside'}" in problem for problem in found] == [True] * 4


def test_a_path_that_stays_inside_may_be_absolute_or_go_up(with_volumes: Path) -> None:
    vbm = with_volumes / "vbm" / "[old]"
    (with_volumes / "alias").symlink_to(with_volumes / "vbm")
    texts = [f"{vbm}/mwp1sub-01_T1w.nii", "vbm/x/../[old]/mwp1sub-02_T1w.nii", "./vbm/[old]/mwp1sub-03_T1w.nii"]
    texts.append("alias/[old]/mwp1sub-04_T1w.nii")
    rows = [f"{person}\t{text}" for person, text in zip(PEOPLE, texts, strict=True)]
    table(with_volumes / "participants.tsv", f"{HEADER}\tfile", *rows)
    found = build(with_volumes, columns={"volume": "file"}).cohort["volume"]
    assert [Path(path).resolve() for path in found] == [vbm / f"mwp1sub-0{n}_T1w.nii" for n in range(1, 5)]


@pytest.mark.parametrize("what", ["each volume", "a folder of volumes", "a person's folder", "the root"])
def test_links_to_other_places_are_followed(what: str, tmp_path: Path) -> None:
    """As DataLad makes them, and people with scratch disks and archives."""
    root, archive, pattern = tmp_path / "study", tmp_path / "archive", "vbm/{participant_id}/mwp1{participant_id}.nii"
    for number in range(1, 5):
        table(archive / f"sub-0{number}" / f"mwp1sub-0{number}.nii", f"volume {number}")
    if what == "the root":
        (archive / "vbm").mkdir()
        for number in range(1, 5):
            (archive / f"sub-0{number}").rename(archive / "vbm" / f"sub-0{number}")
        root.symlink_to(archive)
    elif what == "a folder of volumes":
        root.mkdir()
        (root / "vbm").symlink_to(archive)
    else:
        for number in range(1, 5):
            folder = root / "vbm" / f"sub-0{number}"
            folder.parent.mkdir(parents=True, exist_ok=True)
            if what == "a person's folder":
                folder.symlink_to(archive / f"sub-0{number}")
            else:
                folder.mkdir()
                (folder / f"mwp1sub-0{number}.nii").symlink_to(archive / f"sub-0{number}" / f"mwp1sub-0{number}.nii")
    table(root / "participants.tsv", HEADER, *PEOPLE)
    study = {"participants": str(root / "participants.tsv"), "volumes": pattern}
    found = build(tmp_path, study).cohort["volume"]
    assert [Path(path).read_text() for path in found] == [f"volume {number}\n" for number in range(1, 5)]
    assert [str(root) in path for path in found] == [True] * 4


def test_two_links_to_one_volume(with_volumes: Path) -> None:
    for number in range(1, 5):
        (with_volumes / f"sub-0{number}.nii").symlink_to(with_volumes / "vbm" / "[old]" / "mwp1sub-01_T1w.nii")
    found = problems(with_volumes, {"volumes": "{participant_id}.nii"})
    assert len(found) == 3
    assert "participant sub-02 has the volume of participant sub-01" in found[0]


def test_a_folder_behind_a_broken_link(with_volumes: Path) -> None:
    (with_volumes / "scratch").symlink_to("/mnt/not/mounted")
    found = problems(with_volumes, {"volumes": "scratch/{participant_id}.nii"})
    link = f"{with_volumes / 'scratch'} is a link to /mnt/not/mounted, where nothing is; mount the disk"
    assert [link in problem for problem in found] == [True] * 4
    assert len(by_kind(found)) == 1
    (root,) = problems(with_volumes, {"volumes": "*.nii", "volumes_root": str(with_volumes / "scratch")})
    assert f"{with_volumes / 'scratch'}, does not exist; {link}" in root


def test_links_in_a_circle_are_a_message(with_volumes: Path) -> None:
    (with_volumes / "a").symlink_to(with_volumes / "b")
    (with_volumes / "b").symlink_to(with_volumes / "a")
    assert f"{with_volumes / 'a'} is a link to" in problems(with_volumes, {"volumes": "a/{participant_id}.nii"})[0]


def test_wrong_patterns(with_volumes: Path) -> None:
    (column,) = problems(with_volumes, {"volumes": "{participant}.nii"})
    assert "has {participant}, which no table has. Did you mean 'participant_id'?" in column
    (root,) = problems(with_volumes, {"volumes": "*.nii", "volumes_root": str(with_volumes / "absent")})
    assert f"{with_volumes / 'absent'}, does not exist" in root
    table(with_volumes / "participants.tsv", f"{HEADER}\tfile", *(f"{person}\tn/a" for person in PEOPLE))
    assert (
        "participant sub-01 has no file, which the path of volumes, {file}.nii, needs"
        in problems(with_volumes, {"volumes": "{file}.nii"})[0]
    )


def test_volumes_by_column(with_volumes: Path) -> None:
    people = [f"{person}\tvbm/[old]/mwp1{person[:6]}_T1w.nii" for person in PEOPLE]
    table(with_volumes / "participants.tsv", f"{HEADER}\tfile", *people, "sub-05\tcontrol\t20\tmale\tbrno\tn/a")
    tables = build(with_volumes, columns={"volume": "file"})
    assert tables.cohort["volume"].iloc[0] == str(with_volumes / "vbm" / "[old]" / "mwp1sub-01_T1w.nii")
    assert tables.exclusions["rule"].tolist() == ["no volume"]
    (problem,) = problems(with_volumes, columns={"volume": "path"})
    assert "'path' (cohort.columns.volume)" in problem


# --- simulated and implanted cohorts -----------------------------------------------------------------------------


def test_simulated(tmp_path: Path) -> None:
    config = parse_config({"output": str(tmp_path / "results"), "cohort": {"source": "simulated"}})
    results = Results(config.output)
    with pytest.raises(InputError, match="run the dataset stage first"):
        write_cohort(config, results)
    people = [f"{person}\t1500\t{n}\tn/a" for n, person in zip(("n/a", "n/a", "20", "30"), PEOPLE, strict=True)]
    table(results.dataset / "participants.tsv", f"{HEADER}\ttiv\tsans\tsaps", *people)
    for number in range(1, 5):
        table(dataset_volume(results.dataset, f"sub-0{number}", f"sub-0{number}"), "volume")
    write_cohort(config, results)
    cohort = load_cohort(results)
    assert cohort["sans"].tolist()[2:] == [20, 30]
    assert cohort["tiv"].tolist() == [1500] * 4
    assert cohort["volume"].iloc[0] == str(results.dataset / "sub-01" / "anat" / "sub-01_mwp1.nii.gz")


@pytest.mark.parametrize("sessions", [False, True])
def test_implanted(tmp_path: Path, sessions: bool) -> None:
    header, session = ("participant_id\tage\tsex\tsite", "")
    if sessions:
        header, session = f"{header}\tvisit", "\tses-1"
    rows = [f"sub-0{number}\t3{number}\tmale\tbrno{session}" for number in range(1, 6)]
    table(tmp_path / "participants.tsv", header, *rows)
    columns = {"session_id": "visit"} if sessions else {}
    config = configured(tmp_path, source="implanted", columns=columns, include={"age": [30, 34]})
    people = build_cohort(config.cohort, None)
    assert people.cohort["participant_id"].tolist() == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert not {"diagnosis", "group", "sans"} & set(people.cohort.columns)

    dataset = Results(config.output).dataset
    drawn = ["04\tcontrol\tn/a\tn/a", "03\tcontrol\tn/a\tn/a", "02\tschizophrenia\t7\tn/a", "01\tschizophrenia\t5\t6"]
    marks = "\tsession_id" if sessions else ""
    table(dataset / "participants.tsv", f"participant_id\tdiagnosis\tsans\tsaps{marks}", *(d + session for d in drawn))
    write_cohort(config, Results(config.output))
    cohort = load_cohort(Results(config.output))
    assert cohort["group"].tolist() == ["target", "target", "background", "background"]
    assert cohort["sans"].fillna(-1).tolist() == [5, 7, -1, -1]
    scan = "sub-01_ses-1" if sessions else "sub-01"
    assert cohort["volume"].iloc[0] == str(dataset / "sub-01" / "anat" / f"{scan}_mwp1.nii.gz")
    flow = flow_of(build_cohort(config.cohort, dataset))
    assert flow["in the target group, without saps"] == ("count", 0, 1)
    assert flow["age outside 30 to 34"] == ("exclude", 1, 4)

    wider = configured(tmp_path, source="implanted", columns=columns)
    renamed = configured(tmp_path, source="implanted", columns=columns, include={"age": [30, 34]}, target=["illness"])
    for stale in (wider, renamed):
        with pytest.raises(InputError, match="made for other people or diagnoses"):
            write_cohort(stale, Results(stale.output))


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        ({"source": "simulated", "values": {"sex": {"1": "male"}}}, "knows its own tables"),
        ({"source": "simulated", "scores": {"x": {"column": "x", "range": [0, 1]}}}, "`scores` are made by"),
        ({"columns": {"others": {"iq": "IQ"}}, "scores": {"iq": {"column": "IQ", "range": [0, 1]}}}, "one meaning"),
        ({"values": {"gender": {"1": "male"}}}, "values.gender: no such fact has codes"),
        ({"source": "implanted", "columns": {"others": {"sans": "SANS"}}}, "'sans' is a column"),
    ],
)
def test_impossible_settings(tmp_path: Path, cohort: dict[str, Any], message: str) -> None:
    studies = {} if cohort.get("source") == "simulated" else {"studies": [{"name": "a", "participants": "p.tsv"}]}
    with pytest.raises(InputError, match=message):
        parse_config({"cohort": {"source": "files"} | studies | cohort, "probes": {"targets": TARGETS}})


# --- real tables -------------------------------------------------------------------------------------------------


def example(data: Path) -> Any:
    content = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8").replace(" data/ds", f" {data}/phenotype/ds"))
    for study in content["cohort"]["studies"]:
        study["volumes"] = None
    content["cohort"]["include"]["require"].remove("volume")
    return content


def test_the_documented_example_is_valid() -> None:
    config = parse_config(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    assert config.cohort.studies[1].participants == Path("data/ds003947/participants.tsv")


def test_the_documented_example_begins_with_the_linear_method_as_it_was_measured() -> None:
    content = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    measured = yaml.safe_load((EXAMPLE.parent / "separation_linear.yaml").read_text(encoding="utf-8"))["separation"]
    assert measured["recipes"][measured["reference"]] == {"method": "sepclr-linear"}
    assert next(iter(content["methods"].items())) == ("sepclr-linear", None)
    assert parse_config(content).for_method("sepclr-linear").adjusts


def test_the_documented_example_trains_the_recipe_on_patches_that_scores_best() -> None:
    """Patches of the millimetres that were measured, whatever the voxels."""
    content = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    measured = yaml.safe_load((EXAMPLE.parent / "separation.yaml").read_text(encoding="utf-8"))
    report = (EXAMPLE.parents[1] / "separation.md").read_text(encoding="utf-8")
    scores = dict(re.findall(r"^\| `([\w-]+)` \| (\d\.\d+) \(", report.partition("## What came out")[2], re.MULTILINE))
    best = max(scores, key=lambda name: float(scores[name]))
    recipe = measured["separation"]["recipes"][best]
    given = content["methods"][recipe["method"]]
    networks = [given.pop("network"), recipe["settings"].pop("network")]
    assert given.pop("augmentation") == measured["augmentation"]
    assert given == recipe["settings"]
    size = [content["volumes"], measured["separation"]["cohorts"]["simulated"]["volumes"]]
    sides = [network["patch"] * 192 / volumes["shape"][0] for network, volumes in zip(networks, size, strict=True)]
    assert sides == [12, 12]
    assert networks[0]["name"] == networks[1]["name"] == "linear"


@pytest.mark.parametrize(("size", "patch"), [(128, 8), (96, 4), (64, 4)])
def test_the_shapes_that_the_example_proposes_hold_the_brain(size: int, patch: int) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert re.search(rf"{192 / size:g} mm .*shape: \[{size}, {size}, {size}\] .*patch: {patch}", text)
    assert (np.array(BRAIN_BOX_MM) <= 192).all()
    content = yaml.safe_load(text)
    content["volumes"]["shape"] = [size] * 3
    content["methods"]["sepclr-k-jem"]["network"]["patch"] = patch
    assert size % patch == 0
    assert parse_config(content).volumes.shape == (size,) * 3


@pytest.mark.shared
def test_two_real_studies(shared_data: Path) -> None:
    tables = build_cohort(parse_config(example(shared_data)).cohort, None)
    cohort, flow = tables.cohort, flow_of(tables)
    assert len(cohort) == 143
    patients = cohort[cohort["group"] == "target"]
    assert len(patients) == 81
    assert patients[["sans", "saps"]].notna().sum().tolist() == [79, 79]
    assert flow["in the target group, without sans"] == flow["in the target group, without saps"] == ("count", 0, 2)
    assert cohort["site"].value_counts().to_dict() == {"ds003944": 82, "ds003947": 61}
    first = cohort.set_index("scan_id").loc["sub-1824"]
    # Summed by hand from the tables' rows, without questions 7, 13, 17, 22, 25 (SANS) and 7, 20, 25, 34 (SAPS).
    assert (first["sans"], first["saps"]) == (28, 16)


@pytest.mark.shared
def test_global_ratings_of_two_real_studies(shared_data: Path) -> None:
    content = example(shared_data)
    for score in content["cohort"]["scores"].values():
        del score["exclude_items"]
    with pytest.raises(InputError) as caught:
        build_cohort(parse_config(content).cohort, None)
    messages = "\n".join(caught.value.problems)
    assert "SANS_Q7, SANS_Q13, SANS_Q17, SANS_Q22, SANS_Q25 of ds003944 are global ratings" in messages
    assert "SAPS_Q7, SAPS_Q20, SAPS_Q25, SAPS_Q34 of ds003947 are global ratings" in messages


@pytest.mark.shared
def test_a_real_study_of_sessions(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "brain_volumes"
    study = {
        "participants": str(folder / "demo.csv"),
        "phenotypes": [str(folder / name) for name in ("gm.csv", "wm.csv", "csf.csv")],
    }
    tables = build(
        tmp_path,
        study,
        columns={"session_id": "session", "diagnosis": "group", "others": {"gm": "gm_vol", "csf": "csf_vol"}},
        values={"sex": {"F": "female", "M": "male"}},
        background=["Control"],
        target=["Patient"],
    )
    flow = flow_of(tables)
    assert flow["listed in the tables"] == ("start", 0, 808)
    ungrouped = flow["diagnosis missing"][1]
    assert tables.exclusions["participant_id"].nunique() == 17
    assert len(tables.cohort) == 808 - ungrouped
    assert flow["different participants"] == ("count", 0, 293)
    assert tables.cohort["gm"].dtype == "float64"
