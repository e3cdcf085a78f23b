"""Keys that name a column: each takes the cohort's name or the tables', and no name ends in a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import pytest
from pydantic import BaseModel

from sepclr_neuro.config.columns import ColumnOf
from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import atomic_path
from sepclr_neuro.data.cohort import build_cohort
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.run.check import check

# --- which keys there are ----------------------------------------------------------------------------------------


def marked(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, ColumnOf]]:
    """The keys of a section and its parts that are marked; ``*`` stands for names and numbers of entries."""
    for key, field in model.model_fields.items():
        yield from _marked(Annotated[field.annotation, "", *field.metadata], f"{path}.{key}".lstrip("."))


def _marked(kind: Any, path: str) -> Iterator[tuple[str, ColumnOf]]:
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        yield from ((path, mark) for mark in arguments[1:] if isinstance(mark, ColumnOf))
        yield from _marked(arguments[0], path)
    elif get_origin(kind) in (Union, UnionType):
        for argument in arguments:
            yield from _marked(argument, path)
    elif get_origin(kind) in (list, dict):
        for argument in arguments:
            yield from _marked(argument, f"{path}.*" if isinstance(argument, type) else path)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from marked(kind, path)


def all_marked() -> dict[str, ColumnOf]:
    found = dict(marked(Config))
    for name, entry in METHODS.items():
        found |= {path.replace(name, "*"): mark for path, mark in marked(entry.settings, f"methods.{name}")}
    return found


TARGET = {"kind": "classification", "expected_in": "common"}
REGRESSION = {"kind": "regression", "expected_in": "common"}

KEPT = [f"{age}" for age in range(21, 32)]

# By key what is written for a name of a column, and the names of one column: the cohort's and the tables'.
Written = Callable[[str], dict[str, Any]]
KEYS: dict[str, tuple[Written, str, str]] = {
    **{
        f"cohort.columns.{fact}": (lambda name, fact=fact: {"cohort": {"columns": {fact: name}}}, "", column)
        for fact, column in {
            "participant_id": "ID",
            "session_id": "visit",
            "diagnosis": "dx",
            "age": "years",
            "sex": "gender",
            "site": "scanner",
        }.items()
    },
    "cohort.columns.volume": (
        lambda name: {"cohort": {"columns": {"volume": name}, "studies": {"volumes": None}}},
        "",
        "file",
    ),
    "cohort.columns.others": (lambda name: {"cohort": {"columns": {"others": {"more": name}}}}, "sex", "gender"),
    "cohort.values": (lambda name: {"cohort": {"values": {name: {"1": "male", "2": "female"}}}}, "sex", "gender"),
    "cohort.scores.*.column": (
        lambda name: {"cohort": {"scores": {"sans": {"column": name, "range": [0, 100]}}}},
        "total",
        "PANSS",
    ),
    "cohort.scores.*.items": (
        lambda name: {"cohort": {"scores": {"sans": {"column": None, "items": [name, "q1"], "range": [0, 100]}}}},
        "total",
        "PANSS",
    ),
    "cohort.scores.*.exclude_items": (
        lambda name: {
            "cohort": {
                "scores": {"sans": {"column": None, "items": "q1|PANSS", "exclude_items": [name], "range": [0, 9]}}
            }
        },
        "total",
        "PANSS",
    ),
    "cohort.include.quality.*.column": (
        lambda name: {"cohort": {"include": {"quality": [{"column": name, "minimum": 22, "keep": KEPT}]}}},
        "age",
        "years",
    ),
    "cohort.include.require": (lambda name: {"cohort": {"include": {"require": [name]}}}, "family", "Family"),
    "volumes.tiv_column": (lambda name: {"volumes": {"tiv_column": name}}, "tiv", "TIV ml"),
    "splits.stratify_by": (lambda name: {"splits": {"stratify_by": [name]}}, "site", "scanner"),
    "splits.group_by": (lambda name: {"splits": {"group_by": name}}, "family", "Family"),
    "adjust_for": (lambda name: {"adjust_for": [name], "methods": {"sepclr-linear": {}}}, "tiv", "TIV ml"),
    "methods.*.adjust_for": (lambda name: {"methods": {"sepclr-linear": {"adjust_for": [name]}}}, "age", "years"),
    "probes.targets": (lambda name: {"probes": {"targets": {name: REGRESSION}}}, "age", "years"),
    "probes.confounds": (lambda name: {"probes": {"confounds": [name]}}, "tiv", "TIV ml"),
    "saliency.targets": (
        lambda name: {"probes": {"targets": {name: TARGET}}, "saliency": {"targets": [name]}},
        "site",
        "scanner",
    ),
    "methods.*.attributes": (
        lambda name: {"methods": {"sepclr-k-jem": {"attributes": {name: "continuous"}}}},
        "sans",
        "SANS total",
    ),
}
# The benchmark's own cohorts and volumes are these sections again.
TIV_OF_A_BENCHMARK = "separation.cohorts.*.volumes.tiv_column"


def test_every_key_that_names_a_column_is_tried_here() -> None:
    others = {path for path in all_marked() if not path.startswith("separation.cohorts.*.cohort.")}
    assert others == {*KEYS, TIV_OF_A_BENCHMARK}


# Keys that speak of columns without naming one of a cohort's.
NOT_NAMES = {
    "cohort.columns",
    "cohort.studies.*.constants",  # columns that tables lack: test_a_constant_has_…
    "cohort.studies.*.volumes",  # a pattern: test_patterns_take_either_name
    "cohort.scores",
    "cohort.studies.*.missing",
    "probes.targets.*.label",
    "saliency.atlas.labels",
}


def all_fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    for key, field in model.model_fields.items():
        own = f"{path}.{key}".lstrip(".")
        yield own, f"{key} {field.description}"
        pending = [field.annotation]
        while pending:
            kind = pending.pop()
            pending += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                several = get_origin(field.annotation) in (list, dict)
                yield from all_fields(kind, f"{own}.*" if several else own)


def test_a_key_that_speaks_of_columns_is_marked() -> None:
    spoken = {path for path, text in all_fields(Config) if "column" in text.casefold()}
    spoken = {path for path in spoken if not path.startswith(("separation.cohorts.*.", "digits."))}
    assert spoken - {*all_marked()} <= NOT_NAMES


# --- what they take ----------------------------------------------------------------------------------------------

HEADER = (
    "ID",
    "dx",
    "years",
    "gender",
    "scanner",
    "TIV ml",
    "Family",
    "SANS total",
    "PANSS",
    "q1",
    "visit",
    "file",
    "note",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six controls and six patients with tiny volumes."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    rows = ["\t".join(HEADER)]
    for i in range(12):
        name = f"p{i:02d}"
        with atomic_path(folder / f"{name}.nii.gz") as temporary:
            as_image(rng.random((32, 32, 32), dtype=np.float32), grid_affine((32, 32, 32), 6.0)).to_filename(temporary)
        patient = ["schizophrenia", str(i), str(i), "1"] if i % 2 else ["control", "", "", ""]
        facts = [name, patient[0], f"{20 + i}", "12"[i // 2 % 2], "ab"[i // 3 % 2], f"{1400 + i}", f"f{i // 2}"]
        rows.append("\t".join([*facts, *patient[1:], f"s{i % 2}", f"{name}.nii.gz", ["free text", "5", ""][i % 3]]))
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    return folder


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def configured(folder: Path, change: dict[str, Any]) -> Config:
    study = {"name": "ours", "participants": str(folder / "participants.tsv"), "volumes": "{ID}.nii.gz"}
    change = merged({"cohort": {"studies": {}}}, change)
    cohort = {
        "source": "files",
        "columns": {
            "participant_id": "ID",
            "diagnosis": "dx",
            "age": "years",
            "sex": "gender",
            "site": "scanner",
            "others": {"tiv": "TIV ml", "family": "Family", "total": "PANSS", "note": "note"},
        },
        "values": {"sex": {"1": "male", "2": "female"}},
        "scores": {"sans": {"column": "SANS total", "range": [0, 100]}},
    }
    base = {
        "cohort": cohort,
        "volumes": {"shape": [32, 32, 32]},
        "splits": {"folds": 2, "stratify_by": ["diagnosis"]},
        "training": {"batch_size": 4},
        "probes": {"targets": {"diagnosis": TARGET}},
        "saliency": {"targets": []},
    }
    content = merged(base, change)
    content["cohort"]["studies"] = [study | change["cohort"]["studies"]]
    if "values" in change["cohort"]:
        content["cohort"]["values"] = change["cohort"]["values"]
    return parse_config(content)


@pytest.mark.parametrize("key", [key for key, (_, own, _) in KEYS.items() if own])
def test_a_key_takes_the_cohorts_name_or_the_tables(key: str, folder: Path) -> None:
    written, own, column = KEYS[key]
    one, other = (configured(folder, written(name)) for name in (own, column))
    if all_marked()[key] is ColumnOf.COHORT:
        assert one == other
    tables = [build_cohort(config.cohort, None) for config in (one, other)]
    assert tables[0].cohort.equals(tables[1].cohort)
    assert tables[0].exclusions["participant_id"].equals(tables[1].exclusions["participant_id"])
    assert check(other, volumes="headers").errors == check(one, volumes="headers").errors == []


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", ["nonsense", ""])
def test_a_column_that_there_is_not_is_told_with_those_that_there_are(key: str, name: str, folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        build_cohort(configured(folder, KEYS[key][0](name)).cohort, None)
    problem = next(problem for problem in caught.value.problems if repr(name) in problem or f".{name}:" in problem)
    assert key.replace("*.", "").split(".")[:2][-1] in problem
    assert "Known: " in problem or "; columns: " in problem
    assert "years" in problem or "age" in problem or "q1" in problem


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", ["ID", "gender", "TIV ml", "SANS total", "visit", "note", "age", "group"])
def test_no_column_ends_in_a_traceback(key: str, name: str, folder: Path) -> None:
    try:
        found = check(configured(folder, KEYS[key][0](name)), volumes="headers")
    except InputError:
        return
    assert "configuration: valid" in found.lines


@pytest.mark.parametrize("name", ["family", "Family"])
def test_a_constant_has_the_cohorts_name_or_the_tables(name: str, folder: Path, tmp_path: Path) -> None:
    table = (folder / "participants.tsv").read_text().replace("\tFamily", "\tIgnored")
    (tmp_path / "participants.tsv").write_text(table)
    study = {"participants": str(tmp_path / "participants.tsv"), "constants": {name: "one"}, "volumes": None}
    tables = build_cohort(configured(folder, {"cohort": {"studies": study}}).cohort, None)
    assert set(tables.cohort["family"]) == {"one"}


def test_patterns_take_either_name(folder: Path) -> None:
    paths = [
        build_cohort(configured(folder, {"cohort": {"studies": {"volumes": pattern}}}).cohort, None).cohort["volume"]
        for pattern in ("{ID}.nii.gz", "{participant_id}.nii.gz")
    ]
    assert paths[0].equals(paths[1])


@pytest.mark.parametrize(
    ("separation", "message"),
    [
        ({"cohorts": {"a": {"volumes": {"tiv_column": "TIV"}}}}, "volumes.tiv_column: the cohort has no column 'TIV'"),
        (
            {"recipes": {"a": {"method": "sepclr-k-jem", "settings": {"attributes": {"SANS": "continuous"}}}}},
            "separation.recipes.a.settings.attributes.SANS: the cohort has no column 'SANS'. Did you mean 'sans'?",
        ),
    ],
)
def test_the_benchmarks_columns_are_those_of_its_cohorts(separation: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config({"separation": separation})
    assert message in str(caught.value)


def test_a_simulated_cohort_says_which_columns_it_has() -> None:
    with pytest.raises(InputError, match=r"volumes.tiv_column: the cohort has no column 'TIV'. Did you mean 'tiv'?"):
        parse_config({"cohort": {"source": "simulated"}, "volumes": {"tiv_column": "TIV"}})


def test_two_names_of_one_column_are_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"probes.targets.years: is the column 'age', which is listed already"):
        configured(folder, {"probes": {"targets": {"age": REGRESSION, "years": REGRESSION}}})
    with pytest.raises(InputError, match=r"values.gender: is 'sex', which is listed already"):
        configured(folder, {"cohort": {"values": {"sex": {}, "gender": {}}}})
