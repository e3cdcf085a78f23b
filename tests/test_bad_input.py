"""Every bad table and volume on the list, through the command line: one message, status 2, and nothing written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.run import cli
from tests.data.small_volumes import save_small
from tests.data.test_volume_files import HEADER_FAULTS, VOXEL_FAULTS

HEADER = "participant_id\tdiagnosis\tage\tsex\tsite\tsans"
PEOPLE = (
    "sub-01\tcontrol\t20\tfemale\tprague\t",
    "sub-02\tcontrol\t30\tmale\tprague\t",
    "sub-03\tschizophrenia\t25\tfemale\tbrno\t10",
    "sub-04\tschizophrenia\t40\tmale\tbrno\t20",
)
SANS = {"scores": {"sans": {"column": "sans", "range": [0, 125]}}}


def lines(*changes: tuple[str, str], extra: tuple[str, ...] = ()) -> bytes:
    """The good table with some text replaced and rows added."""
    text = "\n".join([HEADER, *PEOPLE, *extra]) + "\n"
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


# What the table holds, what the configuration says of the cohort beside it, and the message.
Fault = tuple[bytes, dict[str, Any], str]
TABLES: dict[str, Fault] = {
    "latin-1": (lines(("brno", "Málaga")).decode().encode("latin-1"), {}, "line 4 is not UTF-8 (byte 0xe1)"),
    "UTF-16": (lines().decode().encode("utf-16"), {}, "is UTF-16"),
    "NUL": (lines(("brno", "br\0no")), {}, "NUL bytes"),
    "semicolons": (lines(("\t", ";")), {}, "separated by semicolons, but a .tsv file has tabs"),
    "commas": (lines(("\t", ",")), {}, "separated by commas, but a .tsv file has tabs"),
    "ragged row": (lines(("25\tfemale", "25\tfemale\textra")), {}, "line 4 has 7 values, expected 6"),
    "duplicate header": (lines(("sex\tsite", "age\tsite")), {}, "two columns are called 'age'"),
    "duplicate participant": (lines(("sub-02", "sub-01")), {}, "lines 2, 3 are all about participant sub-01"),
    "duplicate participant without sub-": (lines(("sub-02", "01")), {}, "all about participant sub-01, 01"),
    "no id": (lines(("sub-02", "n/a")), {}, "line 3 has no participant_id"),
    "id of another folder": (lines(("sub-02", "../sub-02")), {}, "line 3: participant_id is '../sub-02'"),
    "absolute id": (lines(("sub-02", "/etc/passwd")), {}, "line 3: participant_id is '/etc/passwd'"),
    "formula as id": (lines(("sub-02", "=cmd|x")), {}, "line 3: participant_id is '=cmd|x'"),
    "negative age": (lines(("\t25", "\t-25")), {}, "participant sub-03 has the age -25"),
    "infinite age": (lines(("\t25", "\tinf")), {}, "'inf' (participant sub-03) is not a finite number"),
    "age in words": (lines(("\t25", "\told")), {}, "'old' (participant sub-03) is not a finite number"),
    "ages in months": (
        lines(("\t20\t", "\t240\t"), ("\t30\t", "\t360\t"), ("\t25", "\t300"), ("\t40", "\t480")),
        {},
        "look like months",
    ),
    "sex 1 and 2": (
        lines(("female", "2"), ("male", "1")),
        {},
        "'1' (participants sub-02, sub-04) needs a meaning,",
    ),
    "sex in words": (lines(("female", "woman")), {}, "'woman' (participants sub-01, sub-03) needs a meaning,"),
    "unlisted code": (
        lines(),
        {"values": {"site": {"brno": "brno"}}},
        "'prague' (participants sub-01, sub-02) is not",
    ),
    "mistyped diagnosis": (
        lines(("02\tcontrol", "02\tcontrl")),
        {},
        "'contrl' (participant sub-02) meant to be 'control'?",
    ),
    "control with SANS": (
        lines(("30\tmale\tprague\t", "30\tmale\tprague\t5")),
        SANS,
        "sub-02 (control) has a sans of 5",
    ),
    "SANS out of range": (lines(("\t20\n", "\t126\n")), SANS, "sub-04 has a sans of 126, outside 0 to 125"),
    "negative SANS": (lines(("\t20\n", "\t-9\n")), SANS, "sub-04 has a sans of -9, outside 0 to 125"),
    "global ratings among items": (
        lines(
            ("\tsans", "\tglobal_q\tq"), ("\t10\n", "\t10\t1\n"), ("\t20\n", "\t20\t1\n"), ("prague\t", "prague\t\t")
        ),
        {"scores": {"sans": {"items": ".*q", "range": [0, 125]}}},
        "global_q of one are global ratings, which count the other items a second time",
    ),
    "a site as number in two spellings": (
        lines(("prague", "35343"), ("brno", "35343.0")),
        {},
        "'35343', '35343.0' look like one site",
    ),
    "a site that is a formula": (lines(("brno", "=cmd()")), {}, "'=cmd()' (participants sub-03, sub-04)"),
    "a measure of quality that is a formula": (
        lines(("\t10", "\t+A1")),
        {"include": {"quality": [{"column": "sans", "keep": ["+A1", "20"]}]}},
        "'+A1' (participant sub-03) holds control characters or would run as a formula",
    ),
    "a missing column": (lines(("site", "centre")), {}, "has the column 'site' (cohort.columns.site)"),
    "one group alone": (
        lines(("schizophrenia", "control"), ("\t10", "\t"), ("brno\t20", "brno\t")),
        {},
        "in the target group",
    ),
}


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder that all users can read, and for the duration an unprivileged user: root can read everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        is_root = os.geteuid() == 0
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)


def drop_privileges(owned: Path | None = None) -> None:
    if os.geteuid() == 0:
        for path in (owned, *owned.rglob("*")) if owned is not None else ():
            os.chown(path, 65534, 65534)
        os.seteuid(65534)


def configured(folder: Path, content: bytes, cohort: dict[str, Any], **study: str) -> Path:
    (folder / "participants.tsv").write_bytes(content)
    settings = {
        "output": str(folder / "results"),
        "volumes": {"shape": [32, 32, 32]},
        "cohort": {
            "source": "files",
            "studies": [{"name": "one", "participants": str(folder / "participants.tsv"), **study}],
            **cohort,
        },
        "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
        "saliency": {"targets": []},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder / "config.yaml"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str]]:
    """Runs the command line in this process: exit status and what it said."""

    def run(*arguments: str) -> tuple[Any, str]:
        monkeypatch.setattr("sys.argv", ["sepclr-neuro", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return end.value.code, said.out + said.err

    return run


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_a_message_and_nothing_is_written(name: str, tmp_path: Path, command: Any) -> None:
    content, cohort, message = TABLES[name]
    status, said = command("cohort", str(configured(tmp_path, content, cohort)))
    assert status == 2
    assert message in said
    assert str(tmp_path / "participants.tsv") in said or "column 'site'" in said or "cohort." in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("content", "column", "expected"),
    [
        (b"\xef\xbb\xbf" + lines(), "site", ["prague", "prague", "brno", "brno"]),
        (lines(("\tprague", " \t prague ")), "site", ["prague", "prague", "brno", "brno"]),
        (lines(("brno", "35343.0")), "site", ["prague", "prague", "35343.0", "35343.0"]),
        (lines(("brno", "NA")), "site", ["prague", "prague", "NA", "NA"]),
        (lines(("brno", "<script>alert(1)</script>")), "site", ["prague"] * 2 + ["<script>alert(1)</script>"] * 2),
        (
            lines(("sub-", "123456789012345678")),
            "participant_id",
            [f"1234567890123456780{number}" for number in range(1, 5)],
        ),
        (lines(("sub-", "")), "participant_id", ["01", "02", "03", "04"]),
    ],
    ids=["BOM", "spaces", "site 35343.0", "site NA", "HTML", "20-digit ids", "leading zeros"],
)
def test_a_harmless_table_is_read_as_it_is_written(
    content: bytes, column: str, expected: list[str], tmp_path: Path, command: Any
) -> None:
    status, said = command("cohort", str(configured(tmp_path, content, {})))
    assert status == 0, said
    assert load_cohort(Results(tmp_path / "results").cohort)[column].tolist() == expected


@pytest.mark.parametrize("name", [*HEADER_FAULTS, *VOXEL_FAULTS])
def test_a_bad_volume_is_a_message_and_no_cache_is_written(name: str, tmp_path: Path, command: Any) -> None:
    write, _ = (HEADER_FAULTS | VOXEL_FAULTS)[name]
    for number in range(1, 5):
        save_small(tmp_path / f"sub-0{number}.nii.gz", number)
    config = str(configured(tmp_path, lines(), {}, volumes="{participant_id}.nii.gz"))
    assert command("cohort", config)[0] == 0
    bad = tmp_path / "sub-03.nii.gz"
    bad.unlink()
    write(bad)
    status, said = command("volumes", config)
    assert status == 2
    assert f"sub-03: {bad}: " in said
    assert list((tmp_path / "results").rglob("volumes/*")) == []


def test_ids_in_the_table_or_on_disk_alone(tmp_path: Path, command: Any) -> None:
    for number in (1, 2, 3, 5):
        save_small(tmp_path / f"sub-0{number}.nii.gz", number)
    config = str(configured(tmp_path, lines(), {}, volumes="sub-*{participant_id}.nii.gz".replace("sub-*", "")))
    status, said = command("cohort", config)
    assert status == 2
    assert "participant sub-04: expected one volume called sub-04.nii.gz" in said
    save_small(tmp_path / "sub-04.nii.gz", 4)
    assert command("cohort", config)[0] == 0
    flow = read_tsv(Results(tmp_path / "results").flow).set_index("rule")
    assert flow.loc["volumes on disk that no row of one names", "remaining"] == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.nii.gz", "link/../../outside.nii.gz"])
def test_a_volume_outside_the_data_is_refused(path: str, tmp_path: Path, command: Any) -> None:
    (tmp_path / "study").mkdir()
    save_small(tmp_path / "outside.nii.gz")
    (tmp_path / "study" / "link").symlink_to(tmp_path)
    content = lines(
        ("\tsans", "\tvolume"), ("prague\t", f"prague\t{path}"), ("\t10", f"\t{path}"), ("\t20\n", f"\t{path}\n")
    )
    config = configured(tmp_path / "study", content, {"columns": {"volume": "volume"}})
    status, said = command("cohort", str(config))
    assert status == 2
    assert "4 alike (sub-01, sub-02, sub-03 and 1 more): " in said
    assert f"leads out of {tmp_path / 'study'}" in said
    assert not (tmp_path / "study" / "results").exists()


def test_volumes_that_are_links_are_read_and_broken_ones_reported(tmp_path: Path, command: Any) -> None:
    """Of two kinds, those of DataLad whose content was not fetched and those to a disk that is not there."""
    for number in range(1, 5):
        save_small(tmp_path / "archive" / f"{number}.nii.gz", number)
    study = tmp_path / "study"
    study.mkdir()
    for number in range(1, 5):
        (study / f"sub-0{number}.nii.gz").symlink_to(tmp_path / "archive" / f"{number}.nii.gz")
    config = str(configured(study, lines(), {}, volumes="{participant_id}.nii.gz"))
    assert command("cohort", config)[0] == command("volumes", config)[0] == 0
    assert read_tsv(Results(study / "results").index)["source"].str.contains("study").all()
    for number in range(1, 5):
        link = study / f"sub-0{number}.nii.gz"
        link.unlink()
        link.symlink_to(f".git/annex/objects/x{number}/MD5E-s{number}.nii.gz" if number < 4 else "/mnt/gone/d.nii.gz")
    for arguments in (("volumes", config), ("check", config)):
        status, said = command(*arguments)
        assert status == 2
        assert f"3 alike (sub-01, sub-02, sub-03): sub-01: {study / 'sub-01.nii.gz'}: " in said
        assert f"content is not on this machine; fetch it: `datalad get {study / 'sub-01.nii.gz'}`" in said
        assert "sub-04.nii.gz is a link to /mnt/gone/d.nii.gz, where nothing is; mount the disk" in said


@pytest.mark.parametrize("what", ["table", "volume"])
def test_a_file_without_permission(what: str, command: Any) -> None:
    with without_privileges() as folder:
        for number in range(1, 5):
            save_small(folder / f"sub-0{number}.nii.gz", number)
        config = str(configured(folder, lines(), {}, volumes="{participant_id}.nii.gz"))
        closed = folder / ("participants.tsv" if what == "table" else "sub-02.nii.gz")
        assert command("cohort", config)[0] == 0
        closed.chmod(0)
        drop_privileges(folder)
        status, said = command("cohort" if what == "table" else "volumes", config)
    assert status == 2
    assert f"{closed}: cannot be read (Permission denied)" in said


def test_an_output_that_may_not_be_written(command: Any) -> None:
    with without_privileges() as folder:
        config = str(configured(folder, lines(), {}))
        drop_privileges()
        status, said = command("cohort", config)
        assert not (folder / "results").exists()
    assert status == 2
    assert f"{folder / 'results'}: the system refused: Permission denied; see that this path exists and may be" in said


def test_a_path_that_no_system_has(tmp_path: Path, command: Any) -> None:
    config = configured(tmp_path, lines(), {})
    config.write_text(
        config.read_text().replace("participants.tsv", '"').replace(f'{tmp_path}/"', f'"{tmp_path}/a\\0b.tsv"')
    )
    status, said = command("cohort", str(config))
    assert status == 2
    assert "cohort.studies.0.participants: holds control characters" in said
