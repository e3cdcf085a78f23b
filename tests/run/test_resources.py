"""What jobs ask for: more of larger cohorts, grids and batches and at each attempt, and of methods what each needs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.run.resources import LONGEST, SHORTEST, UNKNOWN, Needs

METHODS = {
    "sepclr-linear": {},
    "sepclr-k-jem": {},
    "pca": {},
    "big": {"method": "cvae", "network": {"name": "strided", "normalisation": "group"}},
}


def needs(participants: int = 240, on_gpus: tuple[str, ...] = (), **sections: Any) -> Needs:
    cohort = {"source": "simulated", "simulation": {"participants": participants}}
    config = parse_config({"output": "nowhere", "cohort": cohort, "methods": METHODS, **sections})
    return Needs(config, Results(Path("nowhere")), on_gpus)


def memory(rule: str, method: str = "", attempt: int = 1, threads: int = 1, **run: Any) -> int:
    return needs(**run).memory(rule)(SimpleNamespace(method=method), threads, attempt)


def minutes(rule: str, method: str = "", attempt: int = 1, **run: Any) -> int:
    return needs(**run).minutes(rule)(SimpleNamespace(method=method), attempt)


def test_requests_grow_with_cohort_grid_batch_and_method() -> None:
    small: dict[str, Any] = {"volumes": {"shape": [64, 64, 64]}}
    assert memory("solve", "sepclr-linear", participants=1000) > memory("solve", "sepclr-linear") > 900
    # A step sees at most some of them; coordinates on a sketch grow in proportion, as nulls do.
    thin: dict[str, Any] = {"volumes": {"shape": [32, 32, 32]}}
    solving = [memory("solve", "sepclr-linear", participants=count, **thin) for count in (2500, 3000, 10000, 100000)]
    assert solving[0] == solving[1] < solving[2] < solving[1] + 5000
    assert 40000 < solving[3] < 80000
    # All codes of linear methods are held at once; those of networks have few dimensions.
    networks: dict[str, Any] = {"methods": {"sepclr-k-jem": {}}}
    assert 3000 < memory("tables", participants=100000, **networks) - memory("tables", **networks) < 5000
    assert memory("probe", participants=10000) > memory("probe", participants=10000, **networks) + 1000
    assert memory("embed", "pca", participants=10000) > memory("embed", "sepclr-k-jem", participants=10000) + 500
    assert memory("train", "sepclr-k-jem") > memory("train", "sepclr-k-jem", **small)
    assert memory("train", "big") > memory("train", "sepclr-k-jem")
    in_parts = {"training": {"batch_size": 256, "people_in_memory": 16}}
    assert memory("train", "sepclr-k-jem", **in_parts) == memory("train", "sepclr-k-jem")
    assert memory("train", "sepclr-k-jem", training={"batch_size": 64}) > memory("train", "sepclr-k-jem")
    # Memory is asked for on each node.
    on_nodes = {"training": {"devices": 2, "nodes": 3}}
    assert memory("train", "sepclr-k-jem", **on_nodes) == memory("train", "sepclr-k-jem", training={"devices": 2})
    assert needs(**on_nodes).nodes(SimpleNamespace(method="sepclr-k-jem")) == 3
    # A linear method with two spaces has a voxel map a scan, at most 1,000, which each job holds that reads its model.
    # 1,000 scans at 128³ took 11,400 MiB beyond the start (docs/speed.md).
    assert 13000 < memory("solve", "sepclr-linear", participants=1000) < 20000
    assert memory("solve", "pca", participants=1000) < 4000
    for rule in ("embed", "patterns", "saliency"):
        few = {"participants": 1000, "saliency": {"participants": 5}}
        assert 8400 < memory(rule, "sepclr-linear", **few) - memory(rule, "pca", **few) < 30000
    # What is embedded is read a few scans at a time.
    assert memory("embed", "sepclr-k-jem", participants=10000) == memory("embed", "sepclr-k-jem")
    # One plane of each scan is the least that a pass over all volumes holds.
    more = memory("solve", "pca", participants=30000) - memory("solve", "pca", participants=30000, **small)
    assert 1.5 * 0.9 * 30000 * 12e-6 * (128**2 - 64**2) < more < 1.5 * 1.1 * 30000 * 12e-6 * (128**2 - 64**2)
    # On a GPU the network's memory is not the machine's.
    assert memory("train", "big", on_gpus=("train",)) < memory("train", "big")
    assert memory("volumes", threads=8) > memory("volumes")
    assert minutes("train", "sepclr-k-jem", **small, participants=480) > minutes("train", "sepclr-k-jem", **small)
    assert minutes("train", "sepclr-k-jem", on_gpus=("train",)) < minutes("train", "sepclr-k-jem")
    assert minutes("saliency", "sepclr-k-jem", saliency={"samples": 32}) > minutes("saliency", "sepclr-k-jem")
    assert needs(participants=16).threads() == 2
    assert needs().threads() == 8


def test_requests_grow_with_the_attempt_within_bounds() -> None:
    for rule, method in (("solve", "pca"), ("train", "big"), ("volumes", ""), ("digits_run", "cvae")):
        assert memory(rule, method, attempt=3) == 3 * memory(rule, method)
        assert SHORTEST <= minutes(rule, method) <= minutes(rule, method, attempt=9) <= LONGEST
    assert minutes("cohort", attempt=2) == 2 * SHORTEST


def test_scans_are_those_of_the_cohort_else_the_rows_of_its_tables(tmp_path: Path) -> None:
    table = tmp_path / "people.tsv"
    study = {"name": "ours", "participants": str(table)}
    questions = {"diagnosis": {"kind": "classification", "expected_in": "salient"}}
    sections = {"probes": {"targets": questions}, "saliency": {"targets": ["diagnosis"]}}
    config = parse_config({"cohort": {"source": "files", "studies": [study]}, "methods": {"pca": {}}, **sections})
    results = Results(tmp_path)
    assert Needs(config, results).scans == UNKNOWN
    table.write_text("participant_id\nsub-1\nsub-2\nsub-3\n")
    assert Needs(config, results).scans == 3
    write_tsv(results.cohort, pd.DataFrame({"scan_id": ["sub-1", "sub-2"]}))
    assert Needs(config, results).scans == 2


@pytest.mark.parametrize("rule", ["dataset", "standardise", "embed", "probe", "tables", "leakage", "vbm", "report"])
def test_no_rule_asks_for_less_than_a_process_with_torch_takes(rule: str) -> None:
    assert memory(rule, "pca", participants=24, volumes={"shape": [32, 32, 32]}) >= 900
