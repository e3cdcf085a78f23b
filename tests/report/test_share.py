"""What leaves: a BIDS derivative that describes itself, opens elsewhere, and names nobody unless asked."""

from __future__ import annotations

import csv
import json
import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import pandas as pd
import pytest
from typer.testing import CliRunner

from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, write_json, write_text, write_tsv
from sepclr_neuro.report.share import as_csv, map_name, write_shared
from sepclr_neuro.run.cli import app
from sepclr_neuro.validation.digits.benchmark import digits_table
from sepclr_neuro.validation.separation.measure import FACTORS
from sepclr_neuro.validation.separation.table import comparison_table, separation_table
from tests.report.reported_run import METHOD, OF_FILES, PEOPLE, a_config, page_of, write_run

pytestmark = pytest.mark.usefixtures("undrawn")


def finished(folder: Path, **changes: Any) -> Results:
    config = a_config(folder, report={"viewers": 0}, **changes)
    results = write_run(config)
    page_of(config, results)
    return results


def texts_in(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".nii.gz")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_it_is_a_derivative_by_the_rules_of_bids(tmp_path: Path) -> None:
    write_shared(finished(tmp_path / "results", cohort={"source": "simulated"}), tmp_path / "shared")
    folder = tmp_path / "shared"
    described = read_json(folder / "dataset_description.json")
    assert described["DatasetType"] == "derivative"
    assert "SIMULATED" in described["Name"]
    assert {"Name", "Version"} <= set(described["GeneratedBy"][0])
    assert re.fullmatch(r"1\.\d+\.\d+", described["BIDSVersion"])
    assert (folder / "README.md").is_file()
    maps = sorted((folder / "group").glob("*.nii.gz"))
    assert len(maps) == 2
    for path in maps:
        assert re.fullmatch(r"([a-z]+-[A-Za-z0-9]+_)+statmap\.nii\.gz", path.name)
        about = read_json(path.with_name(path.name.replace(".nii.gz", ".json")))
        assert {"Description", "Units", "Method", "Participants", "Threshold"} <= set(about)
        assert nibabel.load(path).shape == (32, 32, 32)
    # What BIDS has no place for is named, or its validator refuses it.
    ignored = (folder / ".bidsignore").read_text().split()
    known = {"dataset_description.json", "README.md", ".bidsignore"}
    assert {path.name for path in folder.iterdir()} <= {*ignored, *known}


def test_each_table_has_its_columns_described_and_a_twin_for_spreadsheets(tmp_path: Path) -> None:
    results = finished(tmp_path / "results")
    write_shared(results, tmp_path / "shared", participants=True)
    tables = sorted((tmp_path / "shared").rglob("*.tsv"))
    assert {"probes.tsv", "flow.tsv", f"clusters_{METHOD}.tsv", "cohort.tsv", "predictions.tsv"} <= {
        t.name for t in tables
    }
    for path in tables:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        assert list(read_json(path.with_suffix(".json"))) == ["TableDescription", *table.columns]
        twin = (path.parent / "csv" / f"{path.stem}.csv").read_bytes()
        assert twin.startswith(b"\xef\xbb\xbf"), "Excel takes it for UTF-8"
        rows = list(csv.reader(twin.decode("utf-8-sig").splitlines()))
        assert rows[1:] == [["" if cell == "n/a" else cell for cell in row] for row in table.to_numpy().tolist()]
    assert (tmp_path / "shared" / "tables" / "probes.tsv").read_bytes() == results.table(
        "schizophrenia", "tsv"
    ).read_bytes()
    described = read_json(tmp_path / "shared" / "participants" / "cohort.json")
    assert "volume" not in described


def test_ids_stay_text_in_a_csv() -> None:
    table = pd.DataFrame({"participant_id": ["0012", "n/a"], "site": ["Köln, Nord", 'a "b"']})
    assert as_csv(table) == '\ufeffparticipant_id,site\r\n0012,"Köln, Nord"\r\n,"a ""b"""\r\n'


def test_nobody_is_named_unless_asked(tmp_path: Path) -> None:
    results = finished(tmp_path / "results")
    write_shared(results, tmp_path / "shared")
    for name, text in texts_in(tmp_path / "shared").items():
        assert "secret" not in text, name
        assert "sub-gone" not in text, name
        assert str(tmp_path) not in text, name
    said = CliRunner().invoke(app, ["share", str(results.root), str(tmp_path / "all"), "--participants"])
    assert said.exit_code == 0
    named = {name for name, text in texts_in(tmp_path / "all").items() if "secret" in text}
    assert {Path(name).parts[0] for name in named} == {"participants"}
    cohort = pd.read_csv(tmp_path / "all" / "participants" / "cohort.tsv", sep="\t")
    assert len(cohort) == PEOPLE
    assert not [name for name, text in texts_in(tmp_path / "all").items() if str(tmp_path) in text]


def test_sources_say_where_a_bids_study_is_to_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("participants.tsv", "participant_id\n")
    write_json("dataset_description.json", {"Name": "COBRE", "DatasetDOI": "doi:10.1/x", "BIDSVersion": "1.4.0"})
    write_shared(finished(tmp_path / "results", cohort={"source": "files"} | OF_FILES), tmp_path / "shared")
    described = read_json(tmp_path / "shared" / "dataset_description.json")
    assert described["SourceDatasets"] == [{"Name": "COBRE", "DOI": "doi:10.1/x"}]
    assert described["Name"] == "A trial & more"


def test_what_is_there_is_not_written_over_and_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    results = finished(tmp_path / "results")
    write_text(tmp_path / "mine" / "notes.txt", "mine")
    with pytest.raises(InputError, match="is there and not empty"):
        write_shared(results, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    next(results.saliency(METHOD).rglob("diagnosis_salient.json")).unlink()
    shutil.rmtree(results.report.parent)
    with pytest.raises(InputError) as caught:
        write_shared(results, tmp_path / "new")
    for missing in ("index.html", "checklist.md", "references.bib", "diagnosis_salient.json"):
        assert missing in str(caught.value)
    assert not (tmp_path / "new").exists()


def benchmarked(folder: Path) -> Results:
    """A folder with the benchmarks' tables, as they are written of two repetitions and two seeds."""
    results = Results(folder)
    config = a_config(folder)
    write_json(results.run_file("report"), stage_config(config, "report"))
    accuracy = {"common": {"digits": 30.0, "objects": 60.0}, "salient": {"digits": 70.0, "objects": 15.0}}
    run = {"accuracy": accuracy, "chance": {"digits": 10.0, "objects": 10.0}, "seconds": 60.0}
    write_tsv(results.table("digits_on_objects", "tsv"), digits_table({"sepclr-k-jem": [run, run], "simclr": [run]}))
    runs = []
    for recipe, seed in product(("ours", "theirs"), (0, 1)):
        rows = [
            {"factor": factor, "space": space, "value": 0.7, "chance": 0.5, "best": 0.9, "share": 0.5 + seed / 10}
            for factor, space in product(FACTORS, ("common", "salient"))
        ]
        values = pd.DataFrame(rows)
        of_run = {"recipe": recipe, "cohort": "small", "seed": seed, "values": values, "held_out": values}
        runs.append(of_run | {"dependence": 0.1, "localisation": {"ratio": 2.0}, "seconds": 3.0})
    write_tsv(results.separation("separation.tsv"), separation_table(runs))
    write_tsv(results.separation("comparisons.tsv"), comparison_table(runs))
    return results


def test_benchmarks_are_shared_with_a_run_and_without_one(tmp_path: Path) -> None:
    names = {"digits", "separation", "separation_comparisons"}
    write_shared(benchmarked(tmp_path / "alone"), tmp_path / "shared")
    folder = tmp_path / "shared"
    assert {path.stem for path in folder.rglob("*.tsv")} == {path.stem for path in folder.rglob("*.csv")} == names
    for path in folder.rglob("*.tsv"):
        columns = [
            column for name, column in read_json(path.with_suffix(".json")).items() if name != "TableDescription"
        ]
        assert not [one for one in columns if "that the configuration names" in one["Description"]], path
    assert read_json(folder / "dataset_description.json")["Name"] == "A trial & more (Benchmark)"
    said = (folder / "README.md").read_text()
    assert "whose truth is known" in said
    assert "checklist.md" not in said
    assert not (folder / "checklist.md").exists()

    finished(tmp_path / "alone")
    write_shared(Results(tmp_path / "alone"), tmp_path / "both")
    assert names | {"probes", "flow"} < {path.stem for path in (tmp_path / "both" / "tables").glob("*.tsv")}
    # A run that is under way is not passed over.
    Results(tmp_path / "alone").report.unlink()
    with pytest.raises(InputError, match=r"index\.html: is missing"):
        write_shared(Results(tmp_path / "alone"), tmp_path / "again")


def test_names_that_differ_in_other_signs_alone_stay_apart(tmp_path: Path) -> None:
    results = finished(tmp_path / "results")
    about = json.loads(next(results.saliency(METHOD).rglob("diagnosis_salient.json")).read_text())
    for name in ("IQ_total", "IQ-total"):
        for suffix in (".nii.gz", ".json"):
            source = next(results.saliency(METHOD).rglob(f"diagnosis_salient{suffix}"))
            shutil.copy(source, source.with_name(f"{name}_salient{suffix}"))
        write_json(source.with_name(f"{name}_salient.json"), about | {"Target": name})
    assert map_name(about | {"Target": "IQ_total"}) == map_name(about | {"Target": "IQ-total"})
    write_shared(results, tmp_path / "shared")
    assert len(list((tmp_path / "shared" / "group").glob("contrast-IQTotal_*.nii.gz"))) == 2
