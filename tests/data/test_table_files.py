"""Tables that cannot be read, and those that can whatever wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.own_tables import HEADER, PEOPLE, build, problems, table


def test_bom_crlf_blank_lines_and_spaces_are_harmless(folder: Path) -> None:
    text = "\r\n".join([HEADER, *(person.replace("\t", " \t ") for person in PEOPLE), "\t\t\t\t", "", ""])
    (folder / "participants.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert build(folder).cohort["site"].tolist() == ["prague", "prague", "brno", "brno"]


def test_commas_and_quotes_in_csv(folder: Path) -> None:
    lines = [line.replace("\t", ",").replace("brno", '"Brno, CZ"') for line in (HEADER, *PEOPLE)]
    table(folder / "people.csv", *lines)
    assert build(folder, {"participants": str(folder / "people.csv")}).cohort["site"].iloc[-1] == "Brno, CZ"


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


def test_a_table_that_is_not_there_names_the_folder_that_its_path_was_taken_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (said,) = problems(folder, {"participants": "data/people.tsv"})
    assert said.startswith("data/people.tsv: cannot be read (No such file or directory) (a relative path, taken from ")
    assert f"the folder of the command, {folder}); check the path in `cohort.studies`" in said
    (said,) = problems(folder, {"participants": "/nowhere/people.tsv"})
    assert "relative" not in said
