"""Tables -> cohort: what is read, joined, mapped, summed and left out, and what every bad table is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.data.cohort import build_cohort, dataset_volume, load_cohort, write_cohort
from sepclr_neuro.data.grid import BRAIN_BOX_MM
from tests.data.own_tables import HEADER, PEOPLE, TARGETS, build, configured, flow_of, table

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "own_cohort.yaml"


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
    cohort = load_cohort(results.cohort)
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
        load_cohort(Results(config.output).cohort)


def test_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = [f"{number:03}\t{person.split(chr(9), 1)[1]}" for number, person in enumerate(PEOPLE)]
    table(tmp_path / "participants.tsv", HEADER, *(row.replace("brno", "NA") for row in rows))
    config = configured(tmp_path)
    write_cohort(config, Results(config.output))
    cohort = load_cohort(Results(config.output).cohort)
    assert cohort["participant_id"].tolist() == ["000", "001", "002", "003"]
    assert cohort["site"].tolist() == ["prague", "prague", "NA", "NA"]


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
    cohort = load_cohort(results.cohort)
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
    cohort = load_cohort(Results(config.output).cohort)
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
        with pytest.raises(InputError, match="made for other participants or diagnoses"):
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
    section = report.partition("### Encoders on patches")[2].partition("\n### ")[0]
    scores = dict(re.findall(r"^\| `([\w-]+)` \| (\d\.\d+) \(", section, re.MULTILINE))
    best = max(scores, key=lambda name: float(scores[name]))
    recipe = measured["separation"]["recipes"][best]
    given = content["methods"][recipe["method"]]
    networks = [given.pop("network"), recipe["settings"].pop("network")]
    assert given.pop("augmentation") == measured["augmentation"]
    recipe["settings"].pop("erase")  # was not there yet when recipes were measured
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
