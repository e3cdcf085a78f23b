"""Files from strangers: nothing in a results folder runs code, nothing that a user writes becomes a command."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sepclr_neuro.config.model import load_config, parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, sha256, write_json
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.models import load_model
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.fold_maps import _kept
from sepclr_neuro.run.verify import verify
from tests.small_run import small_run
from tests.test_bad_input import lines
from tests.workflow.running import snakemake

METHOD = "sepclr-k-jem"


class Evil:
    """What a pickle can do when it is read: here, make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Results:
    config, results = small_run(tmp_path_factory.mktemp("run"), training={"epochs": 1, "batch_size": 4})
    write_fold_model(config, results, METHOD, 0)
    return results


@pytest.fixture
def results(trained: Results, tmp_path: Path) -> Results:
    return Results(Path(shutil.copytree(trained.root, tmp_path / "results")))


def _vouch(path: Path, metadata: Path) -> None:
    """Whoever changes a file can change the checksum beside it too."""
    write_json(metadata, read_json(metadata) | {"sha256": sha256(path)})


def _model(results: Results) -> Path:
    return results.model_folder(METHOD, 0) / "model.safetensors"


def _read_model(results: Results) -> Any:
    _vouch(_model(results), _model(results).with_name("model.json"))
    return load_model(results.model_folder(METHOD, 0))


def _read_standardisation(results: Results) -> Any:
    _vouch(results.standardisation(0), results.standardisation(0).with_suffix(".json"))
    return Standardisation.load(results, 0)


def _read_maps(results: Results) -> Any:
    if _kept(results.checkpoints(METHOD, 0) / "saliency.safetensors", "identity") is None:
        raise InputError("maps that cannot be read are computed again")


@pytest.mark.parametrize(
    ("file", "read"),
    [
        (_model, _read_model),
        (lambda results: results.standardisation(0), _read_standardisation),
        (lambda results: results.volumes, VolumeCache),
        (lambda results: results.checkpoints(METHOD, 0) / "saliency.safetensors", _read_maps),
        (lambda results: results.coefficients, lambda results: read_json(results.coefficients)),
        (lambda results: results.splits, lambda results: read_tsv(results.splits)),
        (lambda results: results.grid, VolumeCache),
    ],
    ids=["model", "standardisation", "volumes", "maps", "coefficients", "splits", "grid"],
)
@pytest.mark.parametrize("kind", ["pickle", "array of objects"])
def test_a_pickle_in_a_results_folder_is_never_run(
    file: Callable[[Results], Path],
    read: Callable[[Results], Any],
    kind: str,
    results: Results,
    tmp_path: Path,
) -> None:
    path, marker = file(results), tmp_path / "marker"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Evil(marker)))
    else:
        with path.open("wb") as opened:
            np.save(opened, np.array([Evil(marker)], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        read(results)
    assert not marker.exists()


@pytest.mark.parametrize("key", ["method", "settings", "input_shape", "sha256"])
def test_metadata_of_a_model_is_data(key: str, results: Results) -> None:
    path = results.model_folder(METHOD, 0) / "model.json"
    load_model(path.parent)
    write_json(path, read_json(path) | {key: ["os.system"]})
    with pytest.raises(InputError):
        load_model(path.parent)


def test_a_receipt_is_data(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for number, content in enumerate([[], {"written": 3}, {"made_by": {}, "written": {}, "read": {}}]):
        write_json(results.receipt(f"stage-{number}"), content)
    assert [problem.partition(": ")[2] for problem in verify(results).damaged] == [
        f"is no receipt; run stage-{number} again" for number in range(3)
    ]


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['touch marker']", "title: !!python/name:os.system"])
def test_yaml_runs_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="is not valid YAML"):
        load_config(tmp_path / "config.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("key", ["output", "participants"])
def test_a_path_cannot_be_a_wildcard(key: str) -> None:
    path = "results/{fold}"
    cohort = {"source": "files", "studies": [{"name": "a", "participants": path if key == "participants" else "p.tsv"}]}
    content = {"cohort": cohort} | ({"output": path} if key == "output" else {})
    with pytest.raises(InputError, match=r"the path results/\{fold\} holds braces, which Snakemake"):
        parse_config(content)


@pytest.mark.parametrize("name", ["../models", "a b", "a;b", "$(a)", "=a", "<b>", "-rf"])
def test_names_that_become_parts_of_files_are_plain(name: str) -> None:
    study = {"name": name, "participants": "p.tsv"}
    with pytest.raises(InputError, match=r"cohort\.studies\.0\.name"):
        parse_config({"cohort": {"source": "files", "studies": [study]}})
    with pytest.raises(InputError, match="no such method"):
        parse_config({"methods": {name: {}}})


def test_shell_characters_in_paths_run_nothing(tmp_path: Path) -> None:
    """Folders called like commands, through the real workflow and its shell."""
    name = "it's; touch pwned $(touch pwned) `touch pwned` && touch pwned #"
    data = tmp_path / name
    data.mkdir()
    (data / "participants.tsv").write_bytes(lines(("brno", "$(touch pwned);`touch pwned`")))
    settings = {
        "output": f"{name}/results",
        "cohort": {"source": "files", "studies": [{"name": "one", "participants": f"{name}/participants.tsv"}]},
        "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
        "saliency": {"targets": []},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    snakemake(tmp_path, "--cores", "1", f"{name}/results/cohort/cohort.tsv")
    cohort = read_tsv(data / "results" / "cohort" / "cohort.tsv")
    assert cohort["site"].tolist()[2:] == ["$(touch pwned);`touch pwned`"] * 2
    assert list(tmp_path.rglob("pwned")) == []
