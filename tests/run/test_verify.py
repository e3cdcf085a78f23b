"""Receipts of stages, what they tell of damage and staleness, and the same tables twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import code_sha256, versions
from sepclr_neuro.core.storage import read_json, read_tsv, sha256, write_json, write_tsv
from sepclr_neuro.run import cli
from sepclr_neuro.run.verify import verify
from tests.small_run import small_run

METHOD = "sepclr-k-jem"


def command(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def whole_run(folder: Path) -> tuple[Config, Results]:
    """All stages from standardisation to tables, by their commands."""
    config, results = small_run(folder / "results", people=24, training={"epochs": 1, "batch_size": 4})
    index = read_tsv(results.index, text=("scan_id", "voxels_sha256"))
    sources = [folder / f"{scan_id}.nii.gz" for scan_id in index["scan_id"]]
    for source in sources:
        source.write_bytes(f"stands for {source.name}".encode())
    index["source"], index["sha256"] = [str(source) for source in sources], [sha256(source) for source in sources]
    write_tsv(results.index, index)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    for fold in ("0", "1"):
        command("standardise", path, "--fold", fold)
        command("train", path, "--method", METHOD, "--fold", fold)
    command("embed", path, "--method", METHOD)
    command("probe", path)
    command("tables", path)
    return config, results


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    whole_run(folder)
    return folder


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Results:
    """A copy, to be damaged; what lies outside the results stays where it is."""
    return Results(Path(shutil.copytree(finished / "results", tmp_path / "results")))


def test_the_same_run_twice_makes_the_same_files(finished: Path, tmp_path: Path) -> None:
    _, again = whole_run(tmp_path)
    first = Results(finished / "results")
    compared = 0
    for folder in ("representations", "probes", "tables", "standardisation", "splits"):
        for path in sorted((first.root / folder).rglob("*.*")):
            assert path.read_bytes() == (again.root / path.relative_to(first.root)).read_bytes(), path
            compared += 1
    for fold in range(2):
        one, other = (run.model_folder(METHOD, fold) / "model.safetensors" for run in (first, again))
        assert one.read_bytes() == other.read_bytes()
    assert compared >= 12


def test_a_model_says_how_it_was_made(finished: Path) -> None:
    results = Results(finished / "results")
    model = read_json(results.model_folder(METHOD, 1) / "model.json")
    assert model["inputs"] == {
        "cohort/cohort.tsv": sha256(results.cohort),
        "volumes/index.tsv": sha256(results.index),
        "volumes/grid.json": sha256(results.grid),
        "splits/splits.tsv": sha256(results.splits),
        "standardisation/fold-1.safetensors": sha256(results.standardisation(1)),
    }
    assert model["seed"] == 0
    made_by = model["made_by"]
    assert made_by["sepclr_neuro"] == __version__
    assert made_by["code_sha256"] == code_sha256()
    assert set(made_by["hardware"]) == {"processor", "cores", "system"}
    assert made_by["versions"]["torch"].startswith("2.")


def test_without_an_optional_package_a_record_leaves_it_out() -> None:
    assert list(versions("numpy", "monai-that-nobody-installed")) == ["numpy"]


def test_receipts_hold_what_was_read_and_written(finished: Path) -> None:
    results = Results(finished / "results")
    receipt = read_json(results.receipt("train", METHOD, "fold-0"))
    folder = f"models/{METHOD}/fold-0"
    assert set(receipt["written"]) == {
        f"{folder}/{name}" for name in ("model.safetensors", "model.json", "history.tsv")
    }
    read = {"cohort/cohort.tsv", "volumes/index.tsv", "volumes/grid.json", "splits/splits.tsv"}
    assert set(receipt["read"]) == {*read, "standardisation/fold-0.json", (finished / "config.yaml").as_posix()}
    assert receipt["read"]["splits/splits.tsv"] == sha256(results.splits)


def test_untouched_results_are_whole(results: Results) -> None:
    found = verify(results)
    assert (found.damaged, found.stale, found.notes) == ([], [], [])
    assert "all files are unchanged and made from the present inputs" in command("verify", results.root)
    # Each file once, each row of the array, and the volume that stands for all of them.
    assert found.checked > 24 + 20


def test_changed_and_missing_files_are_told(results: Results) -> None:
    content = bytearray(results.scores.read_bytes())
    content[-3] ^= 1
    results.scores.write_bytes(content)
    results.representations(METHOD, 1).unlink()
    found = verify(results)
    assert found.damaged == [
        f"representations/{METHOD}/fold-1.tsv: is missing; embed/{METHOD} wrote it",
        "probes/scores.tsv: changed since probe wrote it",
    ]
    # The tables read both, since they judge numbers by probes that are fitted anew.
    assert found.stale == [
        f"probe: was made from representations/{METHOD}/fold-1.tsv, which is gone since",
        "tables: was made from probes/scores.tsv, which has changed since",
        f"tables: was made from representations/{METHOD}/fold-1.tsv, which is gone since",
    ]
    result = CliRunner().invoke(cli.app, ["verify", str(results.root)])
    assert result.exit_code == 2
    assert "damaged:\n  - representations" in result.output


def test_what_was_made_from_something_older_is_stale(results: Results) -> None:
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id"))
    write_tsv(results.cohort, cohort.assign(age=cohort["age"] + 1))
    assert verify(results).stale == [
        f"{stage}: was made from cohort/cohort.tsv, which has changed since"
        for stage in (f"embed/{METHOD}", "probe", "tables", f"train/{METHOD}/fold-0", f"train/{METHOD}/fold-1")
    ]


def test_volumes_are_held_against_their_checksums(finished: Path, results: Results) -> None:
    content = bytearray(results.volumes.read_bytes())
    content[-1] ^= 1
    results.volumes.write_bytes(content)
    source = finished / "sub-00.nii.gz"
    before = source.read_bytes()
    source.write_bytes(b"replaced")
    try:
        found = verify(results)
    finally:
        source.write_bytes(before)
    assert len(found.damaged) == 1
    assert "the voxels of sub-23 are not those that were written" in found.damaged[0]
    assert len(found.stale) == 1
    assert found.stale[0] == f"volumes: was made from {source} of sub-00, which has changed since"


def test_another_state_of_the_code_is_noted(results: Results) -> None:
    receipt = read_json(results.receipt("probe"))
    receipt["made_by"]["code_sha256"] = "0" * 64
    write_json(results.receipt("probe"), receipt)
    found = verify(results)
    assert found.notes == ["made by another state of the code: probe"]
    assert (found.damaged, found.stale) == ([], [])


def test_a_folder_without_receipts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no receipts; is .* a results folder"):
        verify(Results(tmp_path))
