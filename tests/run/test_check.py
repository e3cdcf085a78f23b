"""``sepclr-neuro check`` finds what would stop a run, and writes nothing but a page of the cohort."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, read_tsv
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volumes import write_volumes
from sepclr_neuro.run import cli
from sepclr_neuro.run.check import Findings, _sex_is_the_group
from sepclr_neuro.run.check import check as look


def configuration(**sections: Any) -> Config:
    small = {
        "volumes": {"shape": [32, 32, 32]},
        "splits": {"folds": 2},
        "training": {"batch_size": 4},
        "cohort": {"source": "simulated", "simulation": {"participants": 12}},
    }
    return parse_config(small | sections)


def check(config: Config) -> str:
    """What a look tells of a cohort without errors."""
    found = look(config)
    assert found.errors == []
    return found.text()


def errors(config: Config) -> list[str]:
    found = look(config)
    assert "folds: 2" not in found.lines  # no plan of what cannot run
    return found.errors


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Any]:
    """Six controls and six patients of one site with tiny volumes."""
    rows = ["participant_id\tdiagnosis\tage\tsex\tsite"]
    rng = np.random.default_rng(0)
    for i in range(12):
        rows.append(f"p{i:02d}\t{'schizophrenia' if i % 2 else 'control'}\t{20 + i}\tfemale\tprague")
        with atomic_path(tmp_path / f"p{i:02d}.nii.gz") as temporary:
            as_image(rng.random((32, 32, 32), dtype=np.float32), grid_affine((32, 32, 32), 6.0)).to_filename(temporary)
    (tmp_path / "participants.tsv").write_text("\n".join(rows) + "\n")
    return {
        "source": "files",
        "studies": [
            {"name": "ours", "participants": str(tmp_path / "participants.tsv"), "volumes": "{participant_id}.nii.gz"}
        ],
    }


TARGETS = {
    "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
    "saliency": {"targets": ["age"]},
}


def test_a_simulated_cohort_is_stated() -> None:
    text = check(configuration())
    assert "12 participants to be simulated (6 background, 6 target)" in text
    assert "2 trainings of 100 epochs" in text


def test_trainings_of_inner_folds_are_counted() -> None:
    methods = {
        "sepclr-linear": {"choose": {"salient_dim": [2, 8], "noise": [0.8, 1, 1.25]}},
        "gcpca": {"choose": {"ridge": [4]}},
    }
    text = check(configuration(methods=methods))
    assert "method sepclr-linear (SepCLR, linear): 62 trainings, 60 of them in inner folds to choose settings\n" in text
    assert re.search(r"(?m)^method gcpca \(.*\): 2 trainings$", text)


def test_a_cohort_of_files_is_counted_and_nothing_is_written(study: dict[str, Any], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    cohort = study | {"include": {"age": [21, 99]}}
    text = check(configuration(cohort=cohort, output=str(tmp_path / "results"), **TARGETS))
    assert "11 participants, 11 scans (5 background, 6 target)\n  left out, " in text
    assert sorted(tmp_path.rglob("*")) == before


def test_people_to_implant_into_need_no_diagnosis(study: dict[str, Any]) -> None:
    text = check(configuration(cohort=study | {"source": "implanted", "implant": {"patient_fraction": 0.35}}))
    assert "12 participants, 12 scans\n" in text
    assert "implanted into participants drawn at random (8 background, 4 target)" in text


def test_damaged_volumes_and_impossible_batches_are_told_together(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p03.nii.gz").write_text("<html>")
    (tmp_path / "p04.nii.gz").write_bytes(b"")
    training = {"batch_size": 4, "validation_fraction": 0.1}
    problems = errors(configuration(cohort=study, training=training, **TARGETS))
    assert len(problems) == 4
    assert problems[0].startswith("p03: ")
    assert problems[1].startswith("p04: ")
    assert problems[2].startswith("sepclr-k-jem, fold 0: training.validation_fraction: 0.1 leaves")


def test_batches_larger_than_the_smaller_group_are_told(study: dict[str, Any]) -> None:
    text = check(configuration(cohort=study, training={"batch_size": 256}, **TARGETS))
    assert "sepclr-k-jem, fold 0: training.batch_size: " in text
    assert " instead of 256, twice the " in text


def test_an_atlas_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    atlas = {"image": str(tmp_path / "none.nii.gz"), "labels": str(tmp_path / "none.tsv")}
    problems = errors(configuration(saliency={"atlas": atlas}))
    assert ["none.tsv: cannot be read" in problems[0], "none.nii.gz" in problems[1]] == [True] * 2


def test_more_folds_than_people_are_refused() -> None:
    assert "fold" in errors(configuration(splits={"folds": 10}))[0]


def test_a_probe_that_does_not_suit_its_column_is_refused(study: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header + "\tscanner", *(row + "\tTrio" for row in rows)]) + "\n")
    targets = {"targets": {"scanner": {"kind": "regression", "expected_in": "common"}}}
    columns = {"others": {"scanner": "scanner"}}
    for source in ("files", "implanted"):
        cohort = study | {"source": source, "columns": columns}
        (problem,) = errors(configuration(cohort=cohort, probes=targets, saliency={"targets": []}))
        assert problem.startswith("probes.targets.scanner.kind: ")
        assert "holds text such as 'Trio'" in problem


def test_tiv_in_words_is_refused(study: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header + "\ttiv", *(row + "\t1400 ml" for row in rows)]) + "\n")
    (problem,) = errors(configuration(cohort=study | {"columns": {"others": {"tiv": "tiv"}}}, **TARGETS))
    assert "the column 'tiv', a covariate of voxel-wise maps, has text such as '1400 ml'" in problem


def test_people_without_a_volume_are_told(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p03.nii.gz").unlink()
    cohort = study | {"include": {"require": ["age", "sex", "site", "volume"]}}
    found = look(configuration(cohort=cohort, **TARGETS), volumes="headers")
    assert found.errors == []
    assert "  left out, no volume: 1" in found.lines
    assert any(line.startswith("left out: ") and "participant p03: expected one" in line for line in found.warnings)


def test_a_grid_or_a_column_that_simulated_volumes_lack_is_refused() -> None:
    # Where there is no section `cohort`, it may be that of a stage that is told of none.
    found = look(parse_config({"volumes": {"shape": [64, 64, 64], "resample_mm": 1.5, "tiv_column": "TIV"}}))
    assert len(found.errors) == 2
    assert found.errors[0].startswith("volumes.resample_mm: ")
    assert found.errors[1].startswith("volumes.tiv_column: a simulated cohort has no column 'TIV'")
    assert "folds: 2" in check(configuration(volumes={"shape": [32, 32, 32], "tiv_column": "tiv"}))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (
            {"batch_size": 4, "validation_fraction": 0.1},
            "validation_fraction: 0.1 leaves 1 background participants for",
        ),
    ],
)
def test_people_whose_loss_is_watched_are_not_trained_on(training: dict[str, Any], message: str) -> None:
    simulation = {"source": "simulated", "simulation": {"participants": 32}}
    assert check(configuration(cohort=simulation, training={"batch_size": 12}))
    assert message in errors(configuration(cohort=simulation, training=training))[0]


def test_simulated_people_are_those_that_will_be_made() -> None:
    rare = {"source": "simulated", "simulation": {"participants": 12, "patient_fraction": 0.05}}
    assert "2 folds need 2 participants of each group, target has 0" in errors(configuration(cohort=rare))[0]


# --- one report of everything --------------------------------------------------------------------------------------


def edit(folder: Path, line: int, old: str, new: str) -> None:
    """Changes one line of the participants table; line 1 is p00."""
    table = folder / "participants.tsv"
    lines = table.read_text().splitlines()
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new)
    table.write_text("\n".join(lines) + "\n")


@pytest.fixture
def faulty(study: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Of twelve people one has no age, one no volume, one a damaged volume; one site has one person."""
    edit(tmp_path, 1, "\t20\t", "\tabc\t")
    edit(tmp_path, 12, "prague", "brno")
    (tmp_path / "p03.nii.gz").unlink()
    whole = (tmp_path / "p04.nii.gz").read_bytes()
    (tmp_path / "p04.nii.gz").write_bytes(whole[:-8] + b"\0\0\0\0" + whole[-4:])
    return study


def test_tables_and_voxels_are_told_together_and_apart_from_warnings(faulty: dict[str, Any]) -> None:
    found = look(configuration(cohort=faulty, **TARGETS))
    assert [("'abc'" in error, "found none" in error, "CRC" in error) for error in found.errors] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert found.warnings == ["site 'brno': has one participant"]
    assert "1 warning:\n  - site 'brno'" in found.text()
    assert "3 errors:\n" in found.text()
    assert found.table()["severity"].tolist() == ["error"] * 3 + ["warning"]
    assert len(look(configuration(cohort=faulty, **TARGETS), volumes="headers").errors) == 2


def test_tables_that_cannot_be_read_end_the_look(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_bytes(b"\xff\xfe\0")
    found = look(configuration(cohort=study, **TARGETS))
    assert found == Findings(["configuration: valid"], found.errors, [])
    assert "UTF-16" in found.errors[0]


@pytest.mark.parametrize("people", ["one group", "too few"])
def test_sites_that_tell_groups_apart_are_warned_of(study: dict[str, Any], tmp_path: Path, people: str) -> None:
    for line in (2, 4) if people == "one group" else (1, 2):
        edit(tmp_path, line, "prague", "brno")
    (warning,) = look(
        configuration(cohort=study, splits={"folds": 3 if people == "too few" else 2}, **TARGETS)
    ).warnings
    expected = "all its participants are in the target group" if people == "one group" else "2 participants, fewer than"
    assert warning.startswith("site 'brno': ")
    assert expected in warning


def test_uncompressed_volumes_are_warned_of(study: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "p00.nii").write_bytes(gzip.decompress((tmp_path / "p00.nii.gz").read_bytes()))
    (tmp_path / "p00.nii.gz").unlink()
    study["studies"][0]["volumes"] = "{participant_id}.nii*"
    (warning,) = look(configuration(cohort=study, **TARGETS)).warnings
    assert "p00.nii and 0 more are not compressed" in warning


def test_the_command_prints_and_writes_a_table_with_status_2(faulty: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(configuration(cohort=faulty, **TARGETS).model_dump(mode="json")))
    arguments = ["check", str(path), "--tsv", str(tmp_path / "problems.tsv"), "--no-html"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert "3 errors:" in result.output
    assert read_tsv(tmp_path / "problems.tsv")["severity"].value_counts().to_dict() == {"error": 3, "warning": 1}
    assert CliRunner().invoke(cli.app, ["cohort", str(path)]).exit_code != 0
    assert not (tmp_path / "results").exists()


def test_the_cost_is_told_beside_errors(faulty: dict[str, Any], tmp_path: Path) -> None:
    """Of whom has none: of methods that can be trained, in this case one of two."""
    methods = {"pca": {}, "sepclr-k-jem": {}, "simclr": {"training": {"validation_fraction": 0.1}}}
    config = configuration(cohort=faulty, methods=methods, network={"channels": [8, 16]}, **TARGETS)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    result = CliRunner().invoke(cli.app, ["check", str(path), "--no-html"])
    assert result.exit_code == 2
    assert "5 errors of 4 kinds:\n" in result.output
    assert "  sepclr-k-jem: training about" in result.output
    assert "  simclr: cannot be trained as things stand, not estimated" in result.output
    assert "  together about" in result.output


def test_seventy_alike_are_one_line_and_seventy_rows_of_the_table(study: dict[str, Any], tmp_path: Path) -> None:
    for number in range(12):
        edit(tmp_path, number + 1, f"\t{20 + number}\t", f"\t{20 + number},5\t" if number < 6 else "\t400\t")
        path = tmp_path / f"p{number:02d}.nii.gz"
        whole = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(whole[: -100 - number]) if number != 7 else path.read_bytes()[:-9])
    found = look(configuration(cohort=study | {"on_error": "exclude"}, **TARGETS))
    assert len(found.errors) == 1  # nobody is left
    found = look(configuration(cohort=study, **TARGETS))
    assert len(found.errors) == 12
    text = found.text()
    assert "12 errors of 2 kinds:\n" in text
    assert "  - 6 alike (p00, p01, p02 and 3 more): " in text
    assert "'20,5' (participant p00) is not a finite number; decimals are written with a point" in text
    assert "  - 6 alike (p06, p07, p08 and 3 more): " in text
    assert "`--tsv FILE` writes a table of all of them" in text
    assert found.table()["problem"].str.extract("participant (p..)")[0].tolist() == [f"p{n:02d}" for n in range(12)]


def test_volumes_with_the_same_fault_are_one_line(study: dict[str, Any], tmp_path: Path) -> None:
    """However many bytes each lacks, and whatever its file is called."""
    for number in range(12):
        path = tmp_path / f"p{number:02d}.nii.gz"
        whole = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(whole[: -100 - number]) if number != 7 else path.read_bytes()[:-9])
    found = look(configuration(cohort=study, **TARGETS))
    assert len(found.errors) == 12
    first, second = [line for line in found.text().splitlines() if line.startswith("  - ")]
    assert first.startswith("  - 11 alike (p00, p01, p02 and 8 more): p00: ")
    assert "the file is truncated" in first
    assert second.startswith(f"  - p07: {tmp_path / 'p07.nii.gz'}: the gzip stream is damaged")
    left_out = look(configuration(cohort=study | {"on_error": "exclude"}, **TARGETS))
    assert len(left_out.warnings) == 12
    assert "  - 11 alike (p00, p01, p02 and 8 more): left out: p00: " in left_out.text()


def test_each_fold_of_each_method_is_not_a_line(study: dict[str, Any]) -> None:
    methods = {"sepclr-k-jem": {}, "simclr": {}, "sepclr-tc": {}}
    found = look(configuration(cohort=study, methods=methods, training={"batch_size": 256}, **TARGETS))
    assert len([line for line in found.warnings if "training.batch_size" in line]) == 6
    assert "\n  - 6 alike (sepclr-k-jem, fold 0, sepclr-k-jem, fold 1, " in found.text()


def test_groups_that_are_the_sexes_are_warned_of(study: dict[str, Any], tmp_path: Path) -> None:
    assert not any(warning.startswith("sex:") for warning in look(configuration(cohort=study)).warnings)
    table = tmp_path / "participants.tsv"
    table.write_text(re.sub(r"(schizophrenia\t\d+\t)female", r"\1male", table.read_text()))
    (said,) = [warning for warning in look(configuration(cohort=study)).warnings if warning.startswith("sex:")]
    assert "female is all background, male is all target" in said
    assert "leave `sex` out of probes.targets, probes.confounds and adjust_for" in said
    people = pd.DataFrame({"sex": ["female", "male"], "group": ["background"] * 2})
    assert not _sex_is_the_group(people), "one group is no question"


def test_many_sites_of_one_person_are_one_line(study: dict[str, Any], tmp_path: Path) -> None:
    for line in range(1, 5):
        edit(tmp_path, line, "prague", f"site{line}")
    found = look(configuration(cohort=study, **TARGETS))
    assert "4 alike (site1, site2, site3 and 1 more): site 'site1': has one participant" in found.text()


# --- defaults that follow the data ---------------------------------------------------------------------------------


def test_what_people_do_not_differ_in_is_not_asked_by_default_and_said(study: dict[str, Any], tmp_path: Path) -> None:
    text = check(configuration(cohort=study))
    assert (
        "neither probed nor a confound, since all participants have one value: sex (all have female), site (all have "
        "prague)\n`cohort.scores` lists no symptom score, so that none is probed or mapped\n"
    ) in text
    assert "probes: age, diagnosis\n" in text
    # Whatever is asked for is asked.
    text = check(configuration(cohort=study, **TARGETS))
    assert "`cohort.scores`" not in text
    assert "probes: age\n" in text


def test_ages_that_nobody_has_are_not_asked_by_default(study: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    rows = [row.split("\t") for row in table.read_text().splitlines()]
    table.write_text("\n".join("\t".join([*row[:2], "n/a" if n else "age", *row[3:]]) for n, row in enumerate(rows)))
    cohort = study | {"include": {"require": []}}
    assert "age (no value), sex (all have female)" in check(configuration(cohort=cohort))
    (problem,) = errors(configuration(cohort=cohort, probes={"confounds": ["age"]}))
    assert problem.startswith("probes.confounds: age is missing for 12 scans")


def test_what_somebody_lacks_is_no_confound_by_default(study: dict[str, Any], tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    rows = [row.split("\t") for row in table.read_text().splitlines()]
    column = rows[0].index("age")
    rows[1][column] = "n/a"
    table.write_text("\n".join("\t".join(row) for row in rows))
    cohort = study | {"include": {"require": []}}
    said = "no confound by default, since it is missing in places: age (1 scans lack it)"
    assert said in check(configuration(cohort=cohort))
    # The default written out is the default.
    assert said in check(configuration(cohort=cohort, probes={"confounds": ["age", "sex", "site"]}))
    (problem,) = errors(configuration(cohort=cohort, probes={"confounds": ["age"]}))
    assert problem.startswith("probes.confounds: age is missing for 1 scans")


@pytest.mark.parametrize("volumes", ["voxels", "headers"])
def test_a_grid_that_is_mostly_padding_is_told_with_the_shape_that_fits(volumes: Any, study: dict[str, Any]) -> None:
    found = look(configuration(cohort=study, volumes={"shape": [128, 128, 128]}, **TARGETS), volumes=volumes)
    assert found.errors == []
    (line,) = [line for line in found.warnings if line.startswith("volumes.shape")]
    assert line.startswith("volumes.shape: 128 x 128 x 128 voxels of 6 x 6 x 6 mm are mostly padding: they hold 768 x")
    assert "[32, 32, 32] would fit, with 64 times fewer voxels" in line
    assert "padding" not in check(configuration(cohort=study, **TARGETS))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, None),
        (
            {"saliency": {"permutations": 5}},
            "saliency.permutations: with 5 the smallest p is 0.17, and of the 4 tests in the table of patterns none "
            "can have a q below 0.05; with 80 permutations a single one can have it",
        ),
        (
            {"probes": {"permutations": 99}, "methods": {f"pca-{k}": {"method": "pca"} for k in range(6)}},
            "probes.permutations: with 99 the smallest p is 0.01, and of the 36 tests in the table of probes 8 must "
            "reach it before any has a q below 0.05; with 720 permutations a single one can have it",
        ),
        ({"saliency": {"permutations": 0}}, None),
        ({"probes": {"permutations": 99}}, None),
    ],
    ids=["defaults", "patterns", "probes", "no patterns", "enough"],
)
def test_too_few_permutations_for_so_many_tests_are_told(sections: dict[str, Any], expected: str | None) -> None:
    cohort = {"simulation": {"participants": 12, "sites": 2}}
    found = look(configuration(cohort=cohort, **sections))
    assert [line for line in found.warnings if "permutations" in line] == ([expected] if expected else [])


# --- leaving people out --------------------------------------------------------------------------------------------


def test_people_with_errors_are_left_out_where_the_configuration_says_so(
    faulty: dict[str, Any], tmp_path: Path
) -> None:
    edit(tmp_path, 7, "control", "bipolar")
    shutil.copy(tmp_path / "p08.nii.gz", tmp_path / "p09.nii.gz")  # a twin: nobody knows whose it is
    cohort, methods = faulty | {"on_error": "exclude"}, {"pca": {}}
    config = configuration(cohort=cohort, methods=methods, output=str(tmp_path / "results"), **TARGETS)
    found = look(config)
    assert found.errors == []
    assert len([line for line in found.warnings if line.startswith("left out: ")]) == 5

    results = Results(config.output)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(stage_config(config, "cohort")))
    assert CliRunner().invoke(cli.app, ["cohort", str(tmp_path / "config.yaml")]).exit_code == 0
    excluded = read_tsv(results.exclusions, text=("participant_id", "value")).set_index("participant_id")
    wrong = excluded.loc[excluded["rule"] == "error in the data", "value"]
    assert wrong.index.tolist() == ["p00", "p04", "p08", "p09"]
    for reason, expected in zip(wrong, ["'abc'", "CRC", "same volume", "same volume"], strict=True):
        assert expected in reason
    assert excluded.loc["p03", "rule"] == "no volume"
    assert "found none" in excluded.loc["p03", "value"]
    assert excluded.loc["p06", "rule"] == "diagnosis neither background nor target"
    flow = read_tsv(results.flow)
    steps = flow[flow["step"] == "exclude"].set_index("rule")
    assert steps.loc[["no volume", "error in the data"], "removed"].tolist() == [1, 4]
    assert steps["remaining"].iloc[-1] == len(read_tsv(results.cohort)) == 6
    write_volumes(config, results)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("female", "x", "'x' (participant p00) needs a meaning,"),
        ("control", "controls", "is 'controls' (participant p00) meant to be 'control'?"),
        ("p00", "p01", "all about participant p01"),
    ],
)
def test_what_concerns_a_code_or_a_table_always_stops(
    study: dict[str, Any], tmp_path: Path, old: str, new: str, message: str
) -> None:
    edit(tmp_path, 1, old, new)
    assert message in errors(configuration(cohort=study | {"on_error": "exclude"}, **TARGETS))[0]


def test_leaving_out_is_for_files() -> None:
    with pytest.raises(InputError, match="`on_error: exclude` is for `source: files`"):
        configuration(cohort={"source": "simulated", "on_error": "exclude"})


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_page_where_it_says(study: dict[str, Any], tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    config = configuration(cohort=study, output=str(results.root), **TARGETS)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))

    def called(*options: str) -> Any:
        return CliRunner().invoke(cli.app, ["check", str(path), *options])

    assert called("--headers-only", "--no-html").exit_code == 0
    assert not results.root.exists()
    assert isinstance(called("--no-html", "--html", "x.html").exception, InputError)
    result = called("--headers-only")
    assert f"page: {results.cohort_page}\n" in result.output
    assert "The volumes were not read" in results.cohort_page.read_text(encoding="utf-8")
    other = tmp_path / "elsewhere" / "page.html"
    assert f"page: {other}\n" in called("--html", str(other)).output
    page = other.read_text(encoding="utf-8")
    assert "None of 12 volumes stands out" in page
    assert "Three slices of the mean volume of prague." in page
    assert list(results.root.rglob("*.html")) == [results.cohort_page]


def test_volumes_that_cannot_be_used_are_not_compared(study: dict[str, Any], tmp_path: Path) -> None:
    """Neither a damaged one nor two that are the same."""
    (tmp_path / "p03.nii.gz").write_text("<html>")
    shutil.copy(tmp_path / "p04.nii.gz", tmp_path / "p05.nii.gz")
    found = look(configuration(cohort=study | {"on_error": "exclude"}, **TARGETS))
    assert found.people is not None
    assert found.looked is not None
    scans = found.looked.outliers.measures["scan_id"].tolist()
    assert scans == found.people["scan_id"].tolist() == [f"p{i:02d}" for i in range(12) if i not in (3, 4, 5)]


@pytest.mark.shared
def test_outliers_among_real_maps_are_a_line_of_a_kind(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "real_vbm"
    for file in source.iterdir():
        (tmp_path / file.name).symlink_to(file)
    volumes = sorted(source.glob("*.nii.gz"))
    changes = {3: lambda data: data[::-1], 9: lambda data: data[::-1], 50: lambda data: 2 * data}
    # The second axis is longer: a rotated brain is cut to fit.
    changes[20] = lambda data: np.pad(data.transpose(0, 2, 1), ((0, 0), (12, 12), (0, 0)))[:, :, :113]
    for number, change in changes.items():
        image = nibabel.load(volumes[number])
        changed = np.ascontiguousarray(change(image.get_fdata(dtype=np.float32)))  # type: ignore[attr-defined]
        assert changed.shape == image.shape  # type: ignore[attr-defined]
        (tmp_path / volumes[number].name).unlink()
        nibabel.save(nibabel.Nifti1Image(changed, image.affine), tmp_path / volumes[number].name)  # type: ignore[attr-defined]
    studies = [{"name": "vbm", "participants": str(tmp_path / "participants.tsv"), "volumes": "{participant_id}_mwp1*"}]
    cohort = {"source": "implanted", "studies": studies, "values": {"sex": {"F": "female", "M": "male"}}}
    shape = {"shape": [64, 64, 64], "resample_mm": 3, "maximum": 5}
    found = look(configuration(cohort=cohort, volumes=shape))
    assert found.errors == []
    assert len(found.warnings) == 4
    lines = found.text().splitlines()[-6:-2]
    assert "4 warnings of 3 kinds:" in lines[0]
    assert lines[1].startswith("  - 2 alike (sub-IXI206HH1650, ")
    assert lines[1].endswith("left and right may be exchanged")
    assert "sub-IXI353HH1996: its correlation" in lines[2]
    assert "if its axes x, y, z were read as x, z, y" in lines[2]
    assert "sub-OAS10145: its total grey matter is 1312 ml" in lines[3]
