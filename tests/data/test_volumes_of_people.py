"""Which file is whose volume."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepclr_neuro.core.errors import by_kind
from tests.data.own_tables import HEADER, PEOPLE, build, flow_of, problems, table


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
        assert [fault.subject for fault in tables.faults] == ["sub-01"]
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
