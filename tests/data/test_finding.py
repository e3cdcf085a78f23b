"""Volumes that a pattern does not find: what is there is looked at, and the pattern that is proposed finds them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data import proposing
from sepclr_neuro.data.cohort import build_cohort
from sepclr_neuro.data.patterns import Folder, Pattern

PATTERN = "mri/mwp1{participant_id}_T1w.nii"
PEOPLE = 12


def ids(form: str, people: int = PEOPLE) -> list[str]:
    return [form.format(number) for number in range(1, people + 1)]


def study(
    folder: Path, names: Iterable[str], files: Iterable[str], columns: dict[str, list[str]] | None = None
) -> None:
    """A table of these people, controls and patients in turn, and empty files."""
    names, columns = list(names), columns or {}
    lines = ["\t".join(["participant_id", "diagnosis", "age", "sex", "site", *columns])]
    for number, name in enumerate(names):
        side = "schizophrenia" if names.index(name) // names.count(name) % 2 else "control"
        lines.append(
            "\t".join([name, side, "30", "female", "prague", *(column[number] for column in columns.values())])
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def build(folder: Path, pattern: str | None = PATTERN, **columns: Any) -> Any:
    """The volumes that are found, from the folder on."""
    one = {"name": "one", "participants": str(folder / "participants.tsv"), "volumes": pattern}
    cohort = {"source": "files", "studies": [one], "columns": columns}
    tables = build_cohort(parse_config({"cohort": cohort, "splits": {"folds": 2}}).cohort, None)
    return [str(Path(path).relative_to(folder)) for path in tables.cohort["volume"]]


def line(folder: Path, pattern: str = PATTERN, **columns: Any) -> str:
    """The one line in which everybody without a volume is told."""
    with pytest.raises(InputError) as error:
        build(folder, pattern, **columns)
    message = str(error.value)
    assert "\n" not in message, message
    return message


def proposed(message: str) -> tuple[str, int, int]:
    found = re.search(r"`([^`]*)` would find (\d+) of (\d+)", message)
    assert found, message
    return found[1], int(found[2]), int(found[3])


# The ids of the table, the files, the pattern that was asked for, what the line says, and the pattern that it proposes.
CAUSES = {
    "ids without sub-": (
        ids("{:02d}"),
        [f"mri/mwp1sub-{name}_T1w.nii" for name in ids("{:02d}")],
        PATTERN,
        "a `sub-` that the ids lack",
        "mri/mwp1sub-{participant_id}_T1w.nii",
    ),
    "ids with sub-": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_T1w.nii" for name in ids("{:02d}")],
        PATTERN,
        "lack the `sub-` of the ids",
        "mri/mwp1{participant_id:label}_T1w.nii",
    ),
    "zeros that Excel took": (
        ids("{}"),
        [f"mri/mwp1sub-{name}_T1w.nii" for name in ids("{:03d}")],
        "mri/mwp1sub-{participant_id}_T1w.nii",
        "Leading zeros differ (1 in the table, 001 in the files; Excel takes them away)",
        "mri/mwp1sub-{participant_id:03}_T1w.nii",
    ),
    "ids that were taken for decimals": (
        ids("{}.0"),
        [f"mri/mwp1{name}_T1w.nii" for name in ids("{:03d}")],
        PATTERN,
        "Leading zeros differ (1.0 in the table, 001 in the files; Excel takes them away)",
        "mri/mwp1{participant_id:03}_T1w.nii",
    ),
    "white matter asked for": (
        ids("sub-{:02d}"),
        [f"mri/{kind}{name}_T1w.nii" for name in ids("sub-{:02d}") for kind in ("mwp1", "wm")],
        "mri/mwp2{participant_id}_T1w.nii",
        "The files are mwp1 (modulated grey matter), not mwp2",
        "mri/mwp1{participant_id}_T1w.nii",
    ),
    "white matter alone": (
        ids("sub-{:02d}"),
        [f"mri/mwp2{name}_T1w.nii" for name in ids("sub-{:02d}")],
        PATTERN,
        "The files are mwp2 (white matter), not mwp1",
        "mri/mwp2{participant_id}_T1w.nii",
    ),
    "smoothed": (
        ids("sub-{:02d}"),
        [f"mri/s6mwp1{name}_T1w.nii" for name in ids("sub-{:02d}")],
        PATTERN,
        "The files are s6mwp1 (modulated grey matter), not mwp1",
        "mri/s6mwp1{participant_id}_T1w.nii",
    ),
    "another session": (
        ids("sub-{:02d}"),
        [f"{name}/ses-02/mwp1{name}_ses-02_T1w.nii" for name in ids("sub-{:02d}")],
        "{participant_id}/ses-01/mwp1{participant_id}_ses-01_T1w.nii",
        "The files are of ses-02",
        "{participant_id}/ses-02/mwp1{participant_id}_ses-02_T1w.nii",
    ),
    "no session asked for": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_ses-baseline_T1w.nii" for name in ids("sub-{:02d}")],
        PATTERN,
        "The files are of ses-baseline",
        "mri/mwp1{participant_id}_ses-baseline_T1w.nii",
    ),
    "no session there": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_T1w.nii" for name in ids("sub-{:02d}")],
        "mri/mwp1{participant_id}_ses-01_T1w.nii",
        "The files have no session in their names",
        PATTERN,
    ),
    "sessions of each their own": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_ses-{number % 3}_T1w.nii" for number, name in enumerate(ids("sub-{:02d}"))],
        PATTERN,
        "The files are of ses-*",
        "mri/mwp1{participant_id}_ses-*_T1w.nii",
    ),
    "wrong case of names": (
        ids("sub-{:02d}"),
        [f"MRI/mwp1{name}_t1W.nii" for name in ids("sub-{:02d}")],
        PATTERN,
        "Capital letters differ",
        "MRI/mwp1{participant_id}_t1W.nii",
    ),
    "wrong case of ids": (
        ids("nor{:02d}"),
        [f"mri/mwp1{name}_T1w.nii" for name in ids("NOR{:02d}")],
        PATTERN,
        "Capital letters differ (nor01 in the table, NOR01 in the files)",
        "mri/mwp1{participant_id:upper}_T1w.nii",
    ),
    "compressed": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_T1w.nii.gz" for name in ids("sub-{:02d}")],
        PATTERN,
        "The files end in .nii.gz",
        "mri/mwp1{participant_id}_T1w.nii.gz",
    ),
    "not compressed": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_T1w.nii" for name in ids("sub-{:02d}")],
        "mri/mwp1{participant_id}_T1w.nii.gz",
        "The files end in .nii",
        PATTERN,
    ),
    "some compressed": (
        ids("sub-{:02d}"),
        [f"mri/mwp1{name}_T1w.nii{'.gz' if n % 2 else ''}" for n, name in enumerate(ids("sub-{:02d}"))],
        PATTERN,
        "The files end in .nii*",
        "mri/mwp1{participant_id}_T1w.nii*",
    ),
    "deeper": (
        ids("sub-{:02d}"),
        [f"derivatives/cat12/{name}/mri/mwp1{name}_T1w.nii" for name in ids("sub-{:02d}")],
        PATTERN,
        "The files are in derivatives/cat12/{participant_id}/mri/",
        "derivatives/cat12/{participant_id}/mri/mwp1{participant_id}_T1w.nii",
    ),
    "less deep": (
        ids("sub-{:02d}"),
        [f"mwp1{name}_T1w.nii" for name in ids("sub-{:02d}")],
        PATTERN,
        "The files lie in no folder of their own",
        "mwp1{participant_id}_T1w.nii",
    ),
    "folders of sites": (
        ids("sub-{:02d}"),
        [f"{'bonn' if n % 2 else 'prague'}/mwp1{name}_T1w.nii" for n, name in enumerate(ids("sub-{:02d}"))],
        "mwp1{participant_id}_T1w.nii",
        "The files are in",
        "*/mwp1{participant_id}_T1w.nii",
    ),
    "a number right after the prefix": (
        ids("{:02d}"),
        [f"vbm/mwp1{name}.nii" for name in ids("{:02d}")],
        "vbm/{participant_id}.nii",
        "The files are mwp1 (modulated grey matter)",
        "vbm/mwp1{participant_id}.nii",
    ),
    "several causes": (
        ids("{}"),
        [f"sub-{name}/mri/mwp1sub-{name}_T1w.nii.gz" for name in ids("{:03d}")],
        "{participant_id}/mri/mwp2{participant_id}_T1w.nii",
        "Excel takes them away); the files' names have a `sub-` that the ids lack; the files are mwp1 (modulated",
        "sub-{participant_id:03}/mri/mwp1sub-{participant_id:03}_T1w.nii.gz",
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_named_and_the_proposed_pattern_finds_everybody(name: str, tmp_path: Path) -> None:
    people, files, pattern, cause, expected = CAUSES[name]
    # Other maps and images beside them must not be taken for the volumes.
    others = [f"raw/{person}_run-1_bold.nii.gz" for person in people]
    study(tmp_path, people, [*files, *others, "atlas.nii.gz", "mri/report.txt"])
    message = line(tmp_path, pattern)
    assert message.startswith(
        f"{PEOPLE if 'some' not in name else PEOPLE // 2} alike ({people[0] if 'some' not in name else people[1]}, "
    )
    assert cause in message
    assert proposed(message) == (expected, PEOPLE, PEOPLE)
    assert len(build(tmp_path, expected)) == PEOPLE


# --- what is not a matter of one pattern ---------------------------------------------------------------------------


def test_two_without_a_volume_are_named_and_no_other_map_is_offered(tmp_path: Path) -> None:
    people = ids("sub-{:02d}")
    study(tmp_path, people, [f"mri/{kind}{name}_T1w.nii" for name in people for kind in ("mwp1", "mwp2")])
    for name in people[3:5]:
        (tmp_path / "mri" / f"mwp1{name}_T1w.nii").unlink()
    message = line(tmp_path)
    assert message.startswith("2 alike (sub-04, sub-05): ")
    assert message.endswith(
        "There is mri/mwp2sub-04_T1w.nii (white matter), but no single pattern finds more volumes. Participants who "
        "have none are left out by `volume` in `cohort.include.require`"
    )


def test_whom_a_proposed_pattern_does_not_find_is_told(tmp_path: Path) -> None:
    people = ids("sub-{:02d}")
    study(tmp_path, people, [f"vbm/mwp1{name}_T1w.nii" for name in people[2:]])
    assert line(tmp_path).endswith("`vbm/mwp1{participant_id}_T1w.nii` would find 10 of 12, not sub-01, sub-02")


def test_several_volumes_of_each_are_told_apart(tmp_path: Path) -> None:
    people = ids("sub-{:02d}")
    files = [f"mri/mwp1{name}_ses-{session}_T1w.nii" for name in people for session in (1, 2)]
    study(tmp_path, people, files)
    message = line(tmp_path, "mri/mwp1{participant_id}*.nii")
    assert "found 2 (mri/mwp1sub-01_ses-1_T1w.nii, mri/mwp1sub-01_ses-2_T1w.nii)" in message
    assert proposed(message)[1:] == (12, 12)


def test_sessions_of_the_table_are_written_as_those_of_the_files(tmp_path: Path) -> None:
    people = [name for name in ids("{:02d}", 6) for _ in range(2)]
    visits = ["1", "2"] * 6
    files = [
        f"sub-{name}/ses-0{visit}/mwp1sub-{name}_ses-0{visit}.nii" for name, visit in zip(people, visits, strict=True)
    ]
    study(tmp_path, people, files, {"visit": visits})
    message = line(tmp_path, "mwp1{participant_id}_{visit}.nii", session_id="visit")
    expected = "sub-{participant_id}/ses-{visit:02}/mwp1sub-{participant_id}_ses-{visit:02}.nii"
    assert proposed(message) == (expected, 12, 12)
    assert len(build(tmp_path, expected, session_id="visit")) == 12


def test_one_scan_is_not_found_for_two_sessions(tmp_path: Path) -> None:
    people = [name for name in ids("sub-{:02d}", 6) for _ in range(2)]
    study(tmp_path, people, [f"mwp1{name}.nii" for name in people], {"visit": ["1", "2"] * 6})
    message = line(tmp_path, "{participant_id}_{visit}.nii", session_id="visit")
    assert proposed(message) == ("mwp1{participant_id}.nii", 6, 12)
    assert message.endswith("not sub-01 2, sub-02 2, sub-03 2 and 3 more")


def test_a_column_of_names_is_found_in_another_folder(tmp_path: Path) -> None:
    names = [f"scan{chr(97 + number)}.nii" for number in range(PEOPLE)]
    study(tmp_path, ids("sub-{:02d}"), [f"vbm/old/{name}" for name in names], {"file": names})
    assert proposed(line(tmp_path, "{file}")) == ("vbm/old/{file}", 12, 12)


def test_a_folder_without_volumes(tmp_path: Path) -> None:
    study(tmp_path, ids("sub-{:02d}"), ["mri/mwp1sub-01_T1w.img"])
    assert line(tmp_path).endswith(
        "No file there ends in .nii, .nii.gz, .npy; correct `volumes_root`, or copy the volumes there"
    )


def test_a_folder_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study(tmp_path, ids("sub-{:02d}"), ["vbm/atlas.nii", "mri/closed"])

    def scandir(path: Path) -> Any:
        if path.name == "mri":
            raise PermissionError
        return os.scandir(path)

    monkeypatch.setattr(proposing, "os", SimpleNamespace(path=os.path, scandir=scandir))
    assert f"The folder {tmp_path / 'mri'} may not be opened; ask for the permission" in line(tmp_path)


def test_volumes_of_others(tmp_path: Path) -> None:
    study(tmp_path, ids("sub-{:02d}"), [f"mri/mwp1{name}_T1w.nii" for name in ids("sub-7{:02d}")])
    message = line(tmp_path)
    assert (
        "None of the 12 volumes there, such as mri/mwp1sub-701_T1w.nii, has the id of sub-01, sub-02, sub-03 and 9 more"
        in message
    )


def test_one_person_alone_is_a_plain_sentence(tmp_path: Path) -> None:
    study(tmp_path, ids("sub-{:02d}"), [f"mri/mwp1{name}_T1w.nii" for name in ids("sub-{:02d}")[1:]])
    message = line(tmp_path)
    assert (
        f"participants.tsv: participant sub-01: expected one volume called mri/mwp1sub-01_T1w.nii in {tmp_path}"
        in message
    )
    assert "alike" not in message


def test_a_large_archive_is_not_walked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = ids("sub-{:02d}")
    study(tmp_path, people, [f"archive/{n}/{m}.dcm" for n in range(30) for m in range(10)])
    for name in people:
        path = tmp_path / "vbm" / f"mwp1{name}.nii"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setattr(proposing, "_MOST_ENTRIES", 50)
    # What lies where the pattern begins is looked at first.
    assert proposed(line(tmp_path, "vbm/{participant_id}.nii"))[0] == "vbm/mwp1{participant_id}.nii"
    (tmp_path / "vbm").rename(tmp_path / "archive" / "29" / "vbm")
    assert "No file there ends in .nii, .nii.gz, .npy among the 50 entries" in line(tmp_path)
    monkeypatch.setattr(proposing, "_MOST_ENTRIES", 10**6)
    monkeypatch.setattr(proposing, "_MOST_SECONDS", 0.0)
    assert "No file there ends in" in line(tmp_path)


def test_each_folder_is_listed_once_however_many_people_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = ids("sub-{:02d}")
    study(tmp_path, people, [f"derivatives/batch-{name}/mri/mwp1{name}_T1w.nii" for name in people])
    listed: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: listed.append(str(place)) or listdir(place))
    pattern = "derivatives/*/mri/mwp1{participant_id}_*.nii"
    assert build(tmp_path, pattern) == [f"derivatives/batch-{name}/mri/mwp1{name}_T1w.nii" for name in people]
    assert len(listed) == len(set(listed)) == 1 + 2 * PEOPLE


def test_a_star_finds_what_the_shell_does(tmp_path: Path) -> None:
    names = ["a/x.nii", "a/[b]/x.nii", "a/.hidden/x.nii", ".b/x.nii", "c/x.nii.gz", "c/.x.nii"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "gone.nii").symlink_to(tmp_path / "nowhere")
    folder = Folder(tmp_path)
    several = ["*", "*/*", "*/*/x.nii", "a/*", "a/x*", "*/x.nii*", "a/../*/x.nii", "a/x.nii/*", "no/*", "a/gone.nii"]
    for pattern in several:
        found = folder.files(Pattern.of(pattern, [])[0].filled({}))
        assert found == set(glob.glob(pattern.replace("a/../", ""), root_dir=tmp_path)), pattern


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    people = ids("sub-{:02d}")
    study(tmp_path, people, [f"vbm/mwp1{name}.nii" for name in people])
    for name in ("again", "twice"):
        (tmp_path / "vbm" / name).symlink_to(tmp_path)
    assert sorted(proposing.list_files(tmp_path).files) == [f"vbm/mwp1{name}.nii" for name in people]
    assert proposed(line(tmp_path))[0] == "vbm/mwp1{participant_id}.nii"


@pytest.mark.parametrize("pattern", ["{participant_id:title}.nii", "{participant_id:3}.nii"])
def test_forms_that_do_not_exist(pattern: str, tmp_path: Path) -> None:
    study(tmp_path, ids("sub-{:02d}"), ["a.nii"])
    expected = f"the pattern of its volumes has {pattern[:-4]}; the form of a column is `label`, `upper`, `lower`"
    assert expected in line(tmp_path, pattern)


@pytest.mark.shared
def test_real_volumes_are_found(shared_data: Path, tmp_path: Path) -> None:
    """70 people whose ids lack the `sub-`, and whose pattern is that of CAT12."""
    real = shared_data / "real_vbm"
    names = [path.name.removesuffix("_mwp1.nii.gz") for path in sorted(real.glob("*_mwp1.nii.gz"))]
    study(tmp_path, [name.removeprefix("sub-") for name in names], [])
    (tmp_path / "vbm").symlink_to(real)
    assert proposed(line(tmp_path)) == ("vbm/sub-{participant_id}_mwp1.nii.gz", 70, 70)
    assert len(build(tmp_path, "vbm/sub-{participant_id}_mwp1.nii.gz")) == 70
