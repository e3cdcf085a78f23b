"""What the Snakefile asks at its start: one configuration, and run files that change only when they must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sepclr_neuro.config.model import Config, load_config, parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.run import runfiles

METHOD = "sepclr-k-jem"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.chdir(tmp_path)
    return Results(Path("results"))


def contents(results: Results) -> dict[str, str]:
    """Of each stage's run file; the note on volumes is none."""
    files = sorted((results.root / "run").iterdir())
    return {path.name: path.read_text() for path in files if path.name != "volumes-on-disk.json"}


def test_one_file_describes_a_run(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("seed: 3")
    assert runfiles.workflow_config([path], {}).seed == 3
    with pytest.raises(InputError, match="--config seed: values on the command line are not read"):
        runfiles.workflow_config([path], {"seed": 4})
    with pytest.raises(InputError, match=r"expected one file, got 2 .*files are not merged"):
        runfiles.workflow_config([path, path], {})


def test_every_stage_has_a_run_file_that_can_be_read(results: Results) -> None:
    runfiles.write_run_files(Config(), results)
    assert set(contents(results)) == {
        *(f"{stage}.json" for stage in runfiles.SHARED),
        *(f"{stage}-{METHOD}.json" for stage in runfiles.PER_METHOD),
        "digits.json",
        *(f"digits-{method}.json" for method in Config().digits.methods),
        "separation.json",
        *(f"separation-{recipe}.json" for recipe in Config().separation.recipes),
        *(f"separation-cohort-{cohort}.json" for cohort in Config().separation.cohorts),
    }
    for path in (results.root / "run").iterdir():
        assert load_config(path).output == Path("results")


def test_an_edited_method_changes_what_that_method_alone_is_told(results: Results) -> None:
    other = "sepclr-no-k-jem"
    runfiles.write_run_files(parse_config({"methods": {METHOD: {}, other: {}}}), results)
    before = {path.name: path.stat().st_ino for path in (results.root / "run").iterdir()}
    runfiles.write_run_files(parse_config({"methods": {METHOD: {"salient_dim": 5}, other: {}}}), results)
    after = {path.name: path.stat().st_ino for path in (results.root / "run").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {f"training-{METHOD}.json", "report.json"}


def test_a_run_under_way_keeps_its_run_files(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runfiles.write_run_files(Config(), results)
    before = contents(results)
    monkeypatch.setattr(runfiles, "is_running", lambda folder: folder == results)
    runfiles.write_run_files(Config(seed=9), results)
    assert contents(results) == before
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    runfiles.write_run_files(Config(seed=9), results)
    assert contents(results) != before


def test_a_replaced_volume_is_noted_once(results: Results, tmp_path: Path) -> None:
    config, note = parse_config({"output": str(results.root)}), results.run_file("volumes-on-disk")
    volumes = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    for volume in volumes:
        volume.write_bytes(b"one")
    results.index.parent.mkdir(parents=True)
    index = "scan_id\trow\tsha256\tsource\n" + "".join(f"{v.name[0]}\t0\t0\t{v}\n" for v in volumes)
    results.index.write_text(index)
    runfiles.write_run_files(config, results)
    assert json.loads(note.read_text()) == {}
    moment = results.index.stat().st_mtime_ns + 1_000_000
    os.utime(volumes[1], ns=(moment, moment))
    runfiles.write_run_files(config, results)
    assert json.loads(note.read_text()) == {str(volumes[1]): moment}
    # Read again: the note is older than the index now, and stays.
    os.utime(results.index, ns=(moment + 1, moment + 1))
    runfiles.write_run_files(config, results)
    assert json.loads(note.read_text()) == {str(volumes[1]): moment}
    volumes[0].unlink()
    runfiles.write_run_files(config, results)
    assert json.loads(note.read_text()) == {str(volumes[0]): None}


def test_a_link_that_leads_elsewhere_is_a_replaced_volume(results: Results, tmp_path: Path) -> None:
    """However old the volume is to which it leads now."""
    config, note = parse_config({"output": str(results.root)}), results.run_file("volumes-on-disk")
    volumes, link = [tmp_path / "a.nii", tmp_path / "b.nii"], tmp_path / "link.nii"
    for volume in volumes:
        volume.touch()
        os.utime(volume, (1, 1))
    link.symlink_to(volumes[0])
    results.index.parent.mkdir(parents=True)
    results.index.write_text(f"scan_id\tsource\na\t{link}\n")
    runfiles.write_run_files(config, results)
    assert json.loads(note.read_text()) == {}
    link.unlink()
    link.symlink_to(volumes[1])
    os.utime(link, (9e9, 9e9), follow_symlinks=False)
    runfiles.write_run_files(config, results)
    assert list(json.loads(note.read_text())) == [str(link)]


def test_tables_of_all_studies_are_inputs() -> None:
    studies = [
        {"name": "a", "participants": "a.tsv", "phenotypes": ["sans.tsv", "saps.tsv"]},
        {"name": "b", "participants": "b.tsv"},
    ]
    config = parse_config(
        {
            "cohort": {"source": "files", "studies": studies},
            "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
            "saliency": {"targets": []},
        }
    )
    assert runfiles.cohort_tables(config) == [Path(name) for name in ("a.tsv", "sans.tsv", "saps.tsv", "b.tsv")]


def test_the_snakefile_loads_no_torch() -> None:
    code = "import sys, sepclr_neuro.run.runfiles; sys.exit('torch' in sys.modules or 'nilearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
