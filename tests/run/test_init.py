"""``sepclr-neuro init``: from a folder to a configuration that passes ``check``, or that says what is to be chosen."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.run import cli
from sepclr_neuro.run.init.layouts import LAYOUTS, layout_of
from tests.data.own_tables import table
from tests.run.init_trees import IDS, PEOPLE, answered, checked, init, people, volumes

# By name: the volumes of a folder, the pattern that is written, and whose volumes they are said to be.
TREES = {
    "CAT12, flat": (["mri/mwp1{id}.nii", "mri/p0{id}.nii"], "mri/mwp1{participant_id}.nii", "mwp1"),
    "CAT12, BIDS": (
        ["derivatives/CAT12.9/{id}/anat/mwp1{id}_T1w.nii.gz", "{id}/anat/{id}_T1w.nii.gz"],
        "derivatives/CAT12.9/{participant_id}/anat/mwp1{participant_id}_T1w.nii.gz",
        "mwp1",
    ),
    "T1Prep, its own names": (
        ["derivatives/T1Prep-v0.3.0/{id}/ses-1/anat/mwp1{id}_ses-1_T1w.nii"],
        "derivatives/T1Prep-v0.3.0/{participant_id}/ses-1/anat/mwp1{participant_id}_ses-1_T1w.nii",
        "mwp1",
    ),
    "T1Prep, names of BIDS": (
        [
            "derivatives/T1Prep/{id}/anat/{id}_space-MNI152NLin2009cAsym-nonlinear-modulated_label-GM_probseg.nii.gz",
            "derivatives/T1Prep/{id}/anat/{id}_space-MNI152NLin2009cAsym-nonlinear-modulated_label-WM_probseg.nii.gz",
            "derivatives/T1Prep/{id}/anat/{id}_space-MNI152NLin2009cAsym-nonlinear_label-GM_probseg.nii.gz",
        ],
        "derivatives/T1Prep/{participant_id}/anat/"
        "{participant_id}_space-MNI152NLin2009cAsym-nonlinear-modulated_label-GM_probseg.nii.gz",
        "T1Prep",
    ),
    "deepmriprep": (
        [f"derivatives/deepmriprep/{{id}}/anat/mri/{kind}{{id}}_T1w.nii.gz" for kind in ("mwp1", "mwp2", "s6mwp1")],
        "derivatives/deepmriprep/{participant_id}/anat/mri/mwp1{participant_id}_T1w.nii.gz",
        "mwp1",
    ),
    "fMRIPrep": (
        [
            "derivatives/fmriprep/{id}/anat/{id}_space-MNI152NLin2009cAsym_res-2_label-GM_probseg.nii.gz",
            "derivatives/fmriprep/{id}/anat/{id}_label-GM_probseg.nii.gz",
            "derivatives/fmriprep/{id}/anat/{id}_space-MNI152NLin2009cAsym_res-2_desc-preproc_T1w.nii.gz",
        ],
        "derivatives/fmriprep/{participant_id}/anat/"
        "{participant_id}_space-MNI152NLin2009cAsym_res-2_label-GM_probseg.nii.gz",
        "not modulated",
    ),
    "SPM": (["mwc1{id}.nii"], "mwc1{participant_id}.nii", "SPM"),
    "smoothed": (["vbm/s8mwp1{id}.nii"], "vbm/s8mwp1{participant_id}.nii", "already smoothed"),
    "names that say nothing": (["vbm/{id}.nii.gz"], "vbm/{participant_id}.nii.gz", "do not say what they are"),
    "OpenBHB": (
        ["train/{id}_preproc-cat12vbm_desc-gm_T1w.npy", "train/{id}_preproc-quasiraw_T1w.npy"],
        "train/{participant_id}_preproc-cat12vbm_desc-gm_T1w.npy",
        "has no affine",
    ),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("tree", TREES)
def test_a_layout_is_recognised_and_passes_the_check(data: Path, tree: str) -> None:
    templates, pattern, said = TREES[tree]
    people(data / "participants.tsv")
    for template in templates:
        volumes(data, template)
    path, printed = init(data)
    assert "CHOOSE" not in path.read_text().split("\n\n", 1)[1]
    assert said.casefold() in printed.casefold()
    config, text = checked(path)
    assert config.cohort.studies[0].volumes == pattern
    assert f"{PEOPLE} participants, {PEOPLE} scans (6 background, 6 target)" in text
    assert config.volumes.shape == ((128,) * 3 if tree == "OpenBHB" else (32,) * 3)


def test_every_usable_kind_has_a_tree() -> None:
    kinds = {layout_of(template).name for templates, *_ in TREES.values() for template in templates}
    rare = {"grey matter, modulated for the non-linear part alone (m0wp1)", "grey matter in MNI space that is not"}
    missing = [layout.name for layout in LAYOUTS if layout.usable and layout.name not in kinds]
    assert [name for name in missing if not any(name.startswith(one) for one in rare)] == []


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("mwp1sub-1.nii", True),
        ("sub-1_mwp1.nii.gz", True),
        ("mwp2sub-1.nii", False),
        ("p1sub-1.nii", False),
        ("rp1sub-1_affine.nii", False),
        ("sub-1_T1w.nii.gz", False),
        ("sub-1_task-rest_bold.nii.gz", False),
        ("sub-1_label-GM_probseg.nii.gz", False),
        ("sub-1_label-WM_probseg.nii.gz", False),
        ("sub-1_space-MNI152NLin6Asym_label-GM_probseg.nii.gz", True),
        ("sub-1_desc-brain_mask.nii.gz", False),
        ("wmsub-1.nii", False),
        ("all_brains.npy", False),
        ("p001.nii", True),
    ],
)
def test_what_the_workflow_can_read_is_told_from_what_it_cannot(name: str, usable: bool) -> None:
    assert layout_of(f"some/{name}").usable is usable


# --- choices that are left open ----------------------------------------------------------------------------------


def left_open(path: Path) -> list[str]:
    """What `check` names."""
    with pytest.raises(InputError) as error:
        load_config(path)
    assert all("a choice that `init` left open" in problem for problem in error.value.problems)
    return [problem.split(": ")[1] for problem in error.value.problems]


def test_codes_of_diagnosis_and_sex_are_left_open_and_named_with_their_line(data: Path) -> None:
    codes = {"diagnosis": None, "Group": ["0", "1"] * 6, "sex": ["1", "2", "2"] * 4}
    people(data / "participants.tsv", codes)
    volumes(data, "mwp1{id}.nii")
    path, printed = init(data)
    expected = ["cohort.values.sex.1", "cohort.values.sex.2", "cohort.background.0", "cohort.target.0"]
    assert left_open(path) == expected
    result = CliRunner().invoke(cli.app, ["check", str(path)])
    line = path.read_text().splitlines().index("  background: [CHOOSE]") + 1
    assert f"{path}, line {line}: cohort.background.0: is CHOOSE" in str(result.exception)
    assert "0 (6), 1 (6)" in printed
    config, text = checked(answered(path, **{"1": "male", "2": "female"}, background="['0']", target="['1']"))
    assert (config.cohort.columns.diagnosis, config.cohort.background) == ("Group", ["0"])
    assert "(6 background, 6 target)" in text


def test_the_json_file_beside_a_table_tells_what_codes_mean(data: Path) -> None:
    people(data / "participants.tsv", {"diagnosis": None, "dx": ["1", "2"] * 6, "sex": ["1", "2", "2"] * 4})
    levels = {"dx": {"1": "Healthy control", "2": "Schizophrenia"}, "sex": {"1": "Male", "2": "Female"}}
    (data / "participants.json").write_text(json.dumps({name: {"Levels": codes} for name, codes in levels.items()}))
    volumes(data, "mwp1{id}.nii")
    config, text = checked(init(data)[0])
    assert config.cohort.values["sex"] == {"1": "male", "2": "female"}
    assert (config.cohort.background, config.cohort.target) == (["Healthy control"], ["Schizophrenia"])
    assert "(6 background, 6 target)" in text


def test_several_diagnoses_are_a_choice(data: Path) -> None:
    people(data / "participants.tsv", {"diagnosis": None, "dx": ["CONTROL", "SCHZ", "BIPOLAR"] * 4})
    volumes(data, "mwp1{id}.nii")
    path, printed = init(data)
    assert left_open(path) == ["cohort.target.0"]
    assert re.search(r"which of these values are those of patients: \w+ \(4\), \w+ \(4\)\?", printed)
    assert "# target: [SCHZ]" in path.read_text()
    assert "(4 background, 4 target)" in checked(answered(path, target="[SCHZ]"))[1]


def test_two_columns_that_divide_participants_differently_are_a_choice(data: Path) -> None:
    people(data / "participants.tsv", {"group": ["HC"] * 6 + ["patient"] * 6})
    volumes(data, "mwp1{id}.nii")
    path, _ = init(data)
    assert "cohort.columns.diagnosis" in left_open(path)
    assert "# diagnosis: group # HC (6), patient (6)" in path.read_text()
    checked(answered(path, diagnosis="group", background="[HC]", target="[patient]"))


def test_sessions_are_a_choice_where_the_table_has_none(data: Path) -> None:
    people(data / "participants.tsv")
    for session in ("ses-01", "ses-02"):
        volumes(data, f"{{id}}/{session}/anat/mwp1{{id}}_{session}_T1w.nii")
    path, printed = init(data)
    assert left_open(path) == ["cohort.studies.0.volumes"]
    first = "{participant_id}/ses-01/anat/mwp1{participant_id}_ses-01_T1w.nii"
    assert f"# volumes: '{first}'" in path.read_text()
    assert first.replace("01", "02") in path.read_text()
    assert "several sessions, runs or folders" in printed
    checked(answered(path, volumes=f"'{first}'"))


def test_a_rare_session_is_no_choice(data: Path) -> None:
    people(data / "participants.tsv")
    for session, ids in (("ses-01", IDS), ("ses-02", IDS[:3])):
        volumes(data, f"{{id}}/{session}/anat/mwp1{{id}}_{session}_T1w.nii", ids)
    path, _ = init(data)
    config, _ = checked(path)
    assert "ses-01" in str(config.cohort.studies[0].volumes)
    assert "3 of 12" in path.read_text()


def test_a_table_with_a_row_for_each_session_uses_all_scans(data: Path) -> None:
    ids = [name for name in IDS for _ in range(2)]
    diagnoses = [side for number in range(PEOPLE) for side in [["control", "patient"][number % 2]] * 2]
    people(data / "all.csv", {"diagnosis": diagnoses, "session": ["ses-01", "ses-02"] * PEOPLE}, ids, ",")
    for session in ("ses-01", "ses-02"):
        volumes(data, f"{{id}}/{session}/mwp1{{id}}.nii")
    path, _ = init(data)
    config, text = checked(path)
    assert config.cohort.columns.session_id == "session"
    assert config.cohort.studies[0].volumes == "{participant_id}/{session}/mwp1{participant_id}.nii"
    assert "12 participants, 24 scans" in text
    assert "# quality: [{column: session, keep: [ses-01]}]" in path.read_text()


def test_without_a_table_the_pattern_is_there_and_the_table_is_asked_for(data: Path) -> None:
    volumes(data, "mri/mwp1{id}_T1w.nii")
    path, printed = init(data)
    assert "there is no table of participants" in printed
    assert left_open(path)[0] == "cohort.studies.0.participants"
    table_path = people(data.parent / "participants.tsv")
    answers = {"diagnosis": "diagnosis", "background": "[control]", "target": "[schizophrenia]"}
    config, _ = checked(answered(path, participants=str(table_path), **answers))
    assert config.cohort.studies[0].volumes == "mri/mwp1{participant_id}_T1w.nii"


def test_raw_images_and_stacks_of_arrays_are_not_taken_for_grey_matter(data: Path) -> None:
    people(data / "participants.tsv")
    volumes(data, "{id}/anat/{id}_T1w.nii.gz")
    volumes(data, "all_brains.npy", ["all"])
    path, printed = init(data)
    assert left_open(path) == ["cohort.studies.0.volumes"]
    assert "12 files: raw images; segment the T1 images" in printed
    assert "1 file: arrays; the workflow reads volumes, one a participant" in printed


def test_people_without_a_diagnosis(data: Path) -> None:
    people(data / "participants.tsv", {"diagnosis": None})
    volumes(data, "mwp1{id}.nii")
    path, printed = init(data)
    assert left_open(path) == ["cohort.columns.diagnosis", "cohort.background.0", "cohort.target.0"]
    assert "`source: implanted`" in printed
    assert "which value of the diagnosis column is that of healthy controls?" in printed
    assert "which values of the diagnosis column are those of patients?" in printed


# --- what tables say ---------------------------------------------------------------------------------------------


def test_codes_for_missing_and_ages_in_words_are_read(data: Path) -> None:
    ages = ["-999", "NA", "89+", *[str(20 + number) for number in range(9)]]
    people(data / "participants.tsv", {"age": ages, "sex": ["F", "unknown", "M"] * 4})
    volumes(data, "mwp1{id}.nii")
    config, text = checked(init(data)[0])
    assert config.cohort.studies[0].missing == ["-999", "NA", "unknown"]
    assert config.cohort.values["age"] == {"89+": "89"}
    assert "left out, age missing: 2" in text


def test_a_site_that_is_called_as_a_code_for_missing_stays(data: Path) -> None:
    people(data / "participants.tsv", {"site": ["NA", "EU"] * 6, "age": ["NA", *["30"] * 11]})
    volumes(data, "mwp1{id}.nii")
    path, _ = init(data)
    assert "missing:" not in path.read_text()


def test_facts_that_no_table_has_are_said_to_be_lacking(data: Path) -> None:
    people(data / "participants.tsv", {"age": None, "sex": None, "site": None})
    volumes(data, "mwp1{id}.nii")
    config, _ = checked(init(data)[0])
    assert config.cohort.studies[0].constants == {"age": "n/a", "sex": "n/a", "site": "data"}
    assert config.cohort.include.require == ["site"]


def test_phenotypes_are_joined_where_they_bring_something(data: Path) -> None:
    people(data / "participants.tsv", {"diagnosis": None, "age": None})
    people(
        data / "phenotype" / "clinical.csv",
        {
            "sex": None,
            "site": None,
            "SANS_total": ["n/a", "30"] * 6,
            "PANSS_total": ["30", "200"] * 6,
            "TIV": ["1400"] * 12,
        },
        separator=",",
    )
    people(data / "phenotype" / "weight.tsv", {"diagnosis": None, "age": None, "sex": None, "site": None})
    volumes(data, "mwp1{id}.nii")
    path, printed = init(data)
    config, _ = checked(path)
    assert [table.name for table in config.cohort.studies[0].phenotypes] == ["clinical.csv"]
    assert "weight.tsv: not needed" in printed
    assert config.cohort.scores["sans"].column == "SANS_total"
    assert config.cohort.scores["panss"].range == (30, 210)
    assert config.volumes.tiv_column == "tiv"


def test_scores_of_everybody_and_scores_out_of_the_scale(data: Path) -> None:
    people(data / "participants.tsv", {"MADRS": ["5", "30"] * 6, "BDI": ["0", "99"] * 6})
    volumes(data, "mwp1{id}.nii")
    path, _ = init(data)
    assert left_open(path) == ["cohort.scores.bdi.range"]
    config, _ = checked(answered(path, range="[0, 99]"))
    assert config.cohort.scores["madrs"].people == "all"
    assert config.cohort.scores["bdi"].people == "target"


@pytest.mark.parametrize(("tiv", "said"), [("1.4", "in ml"), ("n/a", "in 0 of 12 rows")])
def test_tiv_that_cannot_scale_is_left_out(data: Path, tiv: str, said: str) -> None:
    people(data / "participants.tsv", {"eTIV": [tiv] * 12})
    volumes(data, "mwp1{id}.nii")
    path, _ = init(data)
    config, _ = checked(path)
    assert config.volumes.tiv_column is None


@pytest.mark.parametrize(
    ("volumes_in_table", "said"),
    [((0.7, 0.5, 0.3), "litres by its median, 1.5, times 1000"), ((700, 500, 300), "ml by its median, 1500)")],
)
def test_tissues_whose_sum_is_tiv_are_named(data: Path, volumes_in_table: tuple[float, ...], said: str) -> None:
    names = ("gm_vol", "WM", "csf_ml")
    tissues = {name: [str(value)] * 12 for name, value in zip(names, volumes_in_table, strict=True)}
    people(data / "participants.tsv")
    people(data / "tissues.tsv", {"diagnosis": None, "age": None, "sex": None, "site": None, **tissues})
    volumes(data, "mwp1{id}.nii")
    path, _ = init(data)
    text = path.read_text().replace("\n  # ", " ")
    assert "tissues.tsv: the sum of gm_vol, WM, csf_ml" in text
    assert said in text


def test_all_sessions_can_be_used_as_it_says(data: Path) -> None:
    people(data / "demo.csv", separator=",")
    scans = [(name, session) for session in ("ses-1", "ses-2") for name in IDS]
    people(data / "scans.csv", {"session": [session for _, session in scans]}, [name for name, _ in scans], ",")
    for session in ("ses-1", "ses-2"):
        volumes(data, f"{{id}}/{session}/mwp1{{id}}.nii")
    path, printed = init(data)
    assert "scans.csv: not used: it has a row for each session, demo.csv one for each participant" in printed
    assert "add `session_id: session` to `columns`, and write {session} for the session in `volumes`" in printed
    text = path.read_text().replace("demo.csv", "scans.csv")
    path.write_text(text.replace("    participant_id: p", "    session_id: session\n    participant_id: p"))
    _, text = checked(answered(path, volumes="'{participant_id}/{session}/mwp1{participant_id}.nii'"))
    assert "12 participants, 24 scans" in text


def test_the_lines_of_a_quicker_first_look_work(data: Path) -> None:
    people(data / "participants.tsv")
    for name in IDS:
        fine = nibabel.Nifti1Image(np.zeros((121, 145, 121), np.uint8), nibabel.affines.from_matvec(np.eye(3) * 1.5))
        nibabel.save(fine, data / f"mwp1{name}.nii.gz")
    path, _ = init(data)
    text = path.read_text()
    lines = ["shape: [64, 64, 64]", "resample_mm: 3", "smoothing_mm: 3"]
    text = re.sub(r"\n  shape: .*", "", text)
    for line in lines:
        assert f"  # {line}\n" in text
        text = text.replace(f"  # {line}\n", f"  {line}\n")
    path.write_text(text)
    config, _ = checked(path)
    assert (config.volumes.shape, config.volumes.resample_mm, config.volumes.smoothing_mm) == ((64, 64, 64), 3, 3)


def test_tables_that_cannot_be_used_are_told_with_the_reason(data: Path) -> None:
    people(data / "participants.tsv")
    table(data / "ragged.csv", "participant_id,x", "sub-01,1,2")
    table(data / "semicolons.csv", "participant_id;x", "sub-01;1")
    table(data / "regions.csv", "region,volume", "hippocampus,3")
    people(data / "other_name.csv", {"participant_id": None, "subject": IDS}, separator=",")
    (data / "clinical.xlsx").write_bytes(b"PK")
    volumes(data, "mwp1{id}.nii")
    path, printed = init(data)
    checked(path)
    for said in (
        "ragged.csv: line 2 has 3 values",
        "semicolons.csv: its columns are separated by semicolons",
        "regions.csv: no column has a name such as participant_id",
        "other_name.csv: names participants in 'subject'",
        "clinical.xlsx: a spreadsheet; save it as .csv",
    ):
        assert said in printed


def test_a_table_in_another_encoding_is_read(data: Path) -> None:
    path = people(data / "participants.csv", {"site": ["Hôpital", "Žatec"[1:]] * 6}, separator=",")
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp1252"))
    volumes(data, "mwp1{id}.nii")
    config, _ = checked(init(data)[0])
    assert config.cohort.studies[0].encoding == "cp1252"


def test_a_column_of_paths_is_used(data: Path) -> None:
    paths = [f"scans/brain_{number}.nii.gz" for number in range(PEOPLE)]
    people(data / "participants.tsv", {"file": paths})
    for number, path in enumerate(paths):
        volumes(data, path, [str(number)])
    config, text = checked(init(data)[0])
    assert config.cohort.columns.volume == "file"
    assert "12 scans" in text


def test_people_without_a_volume_are_left_out_and_counted(data: Path) -> None:
    people(data / "participants.tsv")
    volumes(data, "mwp1{id}.nii", IDS[:10])
    path, printed = init(data)
    assert "12 participants, 10 with a volume" in printed
    config, text = checked(path)
    assert "volume" in config.cohort.include.require
    assert "left out, no volume: 2" in text


def test_ids_that_differ_from_the_files_are_matched(data: Path) -> None:
    people(data / "participants.csv", ids=[str(number) for number in range(1, PEOPLE + 1)], separator=",")
    volumes(data, "mri/mwp1{id}.nii", [f"sub-{number:03d}" for number in range(1, PEOPLE + 1)])
    config, _ = checked(init(data)[0])
    assert config.cohort.studies[0].volumes == "mri/mwp1sub-{participant_id:03}.nii"


def test_two_studies_side_by_side(data: Path) -> None:
    for study, number in (("one", 0), ("two", 50)):
        ids = [f"sub-{number + k:02d}" for k in range(PEOPLE)]
        people(data / study / "participants.tsv", {"site": None}, ids)
        volumes(data / study, "derivatives/cat12/mwp1{id}.nii", ids)
    config, text = checked(init(data)[0])
    assert [study.name for study in config.cohort.studies] == ["one", "two"]
    assert [study.constants["site"] for study in config.cohort.studies] == ["one", "two"]
    assert "24 participants" in text


def test_studies_whose_columns_differ_are_a_choice(data: Path) -> None:
    for study, number, columns in (
        ("one", 0, {}),
        ("two", 50, {"age": None, "Age": ["30"] * PEOPLE, "diagnosis": None}),
    ):
        ids = [f"sub-{number + k:02d}" for k in range(PEOPLE)]
        people(data / study / "participants.tsv", columns, ids)
        volumes(data / study, "mwp1{id}.nii", ids)
    path, printed = init(data)
    assert left_open(path) == ["cohort.studies.1.constants.diagnosis", "cohort.studies.1.constants.age"]
    assert "two/participants.tsv calls it 'Age', others 'age'" in printed
    _, text = checked(answered(path, diagnosis="control", age="30"))
    assert "24 participants, 24 scans (18 background, 6 target)" in text


def test_a_whole_check_of_what_was_written(data: Path) -> None:
    people(data / "participants.tsv")
    volumes(data, "mwp1{id}.nii.gz")
    checked(init(data)[0], read="voxels")


# --- real data ----------------------------------------------------------------------------------------------------


def linked(shared: Path, template: str, data: Path, ids: list[str]) -> None:
    """Links to maps of real people, each under one of these ids."""
    paths = sorted((shared / "real_vbm").glob("*.nii.gz"))
    for name, path in zip(ids, paths, strict=False):
        link = data / template.format(id=name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)


@pytest.mark.shared
def test_a_bids_tree_of_real_maps(data: Path, shared_data: Path) -> None:
    rows = [line.split("\t") for line in (shared_data / "real_vbm" / "participants.tsv").read_text().splitlines()]
    ids = [row[0] for row in rows[1:]]
    people(
        data / "participants.tsv",
        {"age": [row[1] for row in rows[1:]], "sex": None, "gender": [row[2] for row in rows[1:]]},
        ids,
    )
    for name in ids:
        link = data / "derivatives" / "cat12" / name / "anat" / f"mwp1{name}_T1w.nii.gz"
        link.parent.mkdir(parents=True)
        link.symlink_to(shared_data / "real_vbm" / f"{name}_mwp1.nii.gz")
    config, text = checked(init(data)[0])
    assert config.volumes.shape == (128, 128, 128)
    assert "70 participants, 70 scans (35 background, 35 target)" in text


@pytest.mark.shared
@pytest.mark.parametrize("study", ["ds003944", "ds003947"])
def test_tables_of_items_and_real_maps(data: Path, shared_data: Path, study: str) -> None:
    shutil.copytree(shared_data / "phenotype" / study, data)
    ids = [line.split("\t")[0] for line in (data / "participants.tsv").read_text().splitlines()[1:]]
    linked(shared_data, "derivatives/cat12/{id}/mwp1{id}_T1w.nii.gz", data, ids)
    path, printed = init(data)
    config, _ = checked(path)
    assert config.cohort.columns.diagnosis == "type"
    assert config.cohort.columns.sex == "gender"
    assert (config.cohort.background, config.cohort.target) == (["Control"], ["Psychosis"])
    excluded = {name: [item[6:] for item in score.exclude_items] for name, score in config.cohort.scores.items()}
    assert excluded == {"sans": ["7", "13", "17", "22", "25"], "saps": ["7", "20", "25", "34"]}
    assert {name: score.range for name, score in config.cohort.scores.items()} == {"sans": (0, 100), "saps": (0, 150)}
    assert f"{len(ids)} participants, {min(len(ids), 70)} with a volume" in printed


@pytest.mark.shared
def test_the_document_shows_what_is_printed(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data" / "ds003944"
    shutil.copytree(shared_data / "phenotype" / "ds003944", data)
    ids = [line.split("\t")[0] for line in (data / "participants.tsv").read_text().splitlines()[1:]]
    linked(shared_data, "derivatives/CAT12.9/{id}/anat/mwp1{id}_T1w.nii.gz", data, ids)
    monkeypatch.chdir(tmp_path)
    document = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")
    for command in ("init data/ds003944", "check my_cohort.yaml --headers-only"):
        printed = CliRunner().invoke(cli.app, command.split()).output
        (shown,) = re.findall(rf"(?ms)^```\n\$ sepclr-neuro {command}\n(.*?)^```$", document)
        assert shown.split() == printed.split()


@pytest.mark.shared
def test_two_real_studies_side_by_side(data: Path, shared_data: Path) -> None:
    shutil.copytree(shared_data / "phenotype", data)
    path, _ = init(data)
    assert left_open(path) == ["cohort.studies.0.volumes", "cohort.studies.1.volumes"]
    for study in ("ds003944", "ds003947"):
        ids = [line.split("\t")[0] for line in (data / study / "participants.tsv").read_text().splitlines()[1:]]
        linked(shared_data, "derivatives/cat12/{id}/mwp1{id}_T1w.nii.gz", data / study, ids)
    config, text = checked(init(data, "--force")[0])
    assert [study.constants for study in config.cohort.studies] == [{"site": "ds003944"}, {"site": "ds003947"}]
    assert "131 participants" in text


@pytest.mark.shared
def test_tables_of_many_sites_and_sessions(data: Path, shared_data: Path) -> None:
    shutil.copytree(shared_data / "brain_volumes", data)
    rows = [line.split(",") for line in (data / "brain_volumes.csv").read_text().splitlines()[1:]]
    scans = [(row[0], row[5]) for row in rows]
    for name, session in scans:
        place = data / "cat12" / name / session
        place.mkdir(parents=True, exist_ok=True)
        (place / f"mwp1{name}.nii").touch()
    path, printed = init(data)
    assert "demo.csv: 310 participants" in printed
    assert "brain_volumes.xlsx: a spreadsheet" in printed
    assert left_open(path) == ["cohort.studies.0.volumes"]
    text = path.read_text()
    assert "# volumes: 'cat12/{participant_id}/ses-02/mwp1{participant_id}.nii' # " in text
    assert "284 of 310" in text
    answered(path, volumes="'cat12/{participant_id}/ses-02/mwp1{participant_id}.nii'")
    config, text = checked(path, allowed="file is empty")
    assert "left out, diagnosis missing: 17" in text

    for table_path in data.glob("*.csv"):
        if table_path.name != "brain_volumes.csv":
            table_path.unlink()
    config, text = checked(init(data, "--force")[0], allowed="file is empty")
    assert config.cohort.columns.session_id == "session"
    assert config.cohort.studies[0].volumes == "cat12/{participant_id}/{session}/mwp1{participant_id}.nii"
    assert "scans (" in text


# --- files ---------------------------------------------------------------------------------------------------------


def test_an_existing_file_is_kept_unless_forced_and_data_are_never_written(data: Path) -> None:
    people(data / "participants.tsv")
    volumes(data, "mwp1{id}.nii")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    path, _ = init(data)
    path.write_text("mine")
    for options, message in (
        (["--output", str(path)], "exists; give another name"),
        (["--output", str(data / "participants.tsv"), "--force"], "a configuration is a .yaml file"),
    ):
        result = CliRunner().invoke(cli.app, ["init", str(data), *options])
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)
    assert path.read_text() == "mine"
    init(data, "--force")
    checked(path)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_no_folder() -> None:
    result = CliRunner().invoke(cli.app, ["init", "nowhere"])
    assert "nowhere: is no folder" in str(result.exception)


def test_a_folder_without_tables_and_volumes_is_refused_and_nothing_is_written(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data.mkdir()
    (data / "clinical.xlsx").write_bytes(b"PK")
    monkeypatch.chdir(data)
    monkeypatch.setattr("sys.argv", ["sepclr-neuro", "init", "."])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sepclr-neuro: {data.resolve()}: neither a table of participants")
    assert "clinical.xlsx: a spreadsheet; save it as .csv" in line
    assert "No configuration was written; run `init` again with the folder" in line
    assert not (data / "my_cohort.yaml").exists()


def test_hostile_names_do_not_leave_their_comments(data: Path) -> None:
    people(data / "participants.tsv", {"dx\u2028output: /etc": ["x"] * 12, "group: [#": ["a", "b"] * 6})
    volumes(data, "mwp1{id}.nii")
    volumes(data, "a\nb: 1/{id}.nii")
    path, printed = init(data)
    checked(path)
    assert "\u2028" not in path.read_text()
    assert "\u2028" not in printed


def test_links_of_datalad_are_followed_and_those_without_content_are_named(data: Path) -> None:
    people(data / "participants.tsv")
    volumes(data.parent / "store", "{id}.nii")
    (data / "mri").mkdir()
    for name in IDS:
        (data / "mri" / f"mwp1{name}.nii").symlink_to(data.parent / "store" / f"{name}.nii")
    checked(init(data)[0])
    shutil.rmtree(data.parent / "store")
    for name in IDS:
        (data / "mri" / f"mwp1{name}.nii").unlink()
        (data / "mri" / f"mwp1{name}.nii").symlink_to(f"../.git/annex/objects/{name}.nii")
    path, printed = init(data, "--force")
    assert "datalad get" in printed
    assert load_config(path).cohort.studies[0].volumes == "mri/mwp1{participant_id}.nii"


def test_a_large_tree_takes_seconds(data: Path) -> None:
    ids = [f"sub-{number:04d}" for number in range(1000)]
    people(data / "participants.tsv", ids=ids)
    for name in ids:
        for place, files in (("anat", [f"mwp1{name}_T1w.nii", f"mwp2{name}_T1w.nii"]), ("func", ["a.nii"] * 1)):
            (data / "derivatives" / "cat12" / name / place).mkdir(parents=True)
            for file in files:
                (data / "derivatives" / "cat12" / name / place / file).touch()
    start = time.monotonic()
    path, _ = init(data)
    assert time.monotonic() - start < 20
    pattern = "derivatives/cat12/{participant_id}/anat/mwp1{participant_id}_T1w.nii"
    assert load_config(path).cohort.studies[0].volumes == pattern
