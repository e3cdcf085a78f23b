"""The workflow's third target, the benchmark of separation: planned, run small, rerun where it changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from tests.workflow.running import REPOSITORY, jobs, snakemake

pytestmark = pytest.mark.timeout(600)

EXAMPLE = REPOSITORY / "docs" / "examples" / "separation.yaml"


def write(folder: Path, **recipes: dict[str, Any]) -> None:
    content = {
        "network": {"name": "linear"},
        "training": {"epochs": 1, "batch_size": 8},
        "separation": {
            "seeds": [0],
            "cohorts": {
                "small": {
                    "cohort": {"source": "simulated", "simulation": {"participants": 40, "sites": 2}},
                    "volumes": {"shape": [32, 32, 32]},
                }
            },
            "recipes": recipes,
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize("path", [EXAMPLE, REPOSITORY / "config.yaml"], ids=lambda path: path.stem)
def test_a_job_a_cohort_seed_and_recipe_is_planned(path: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(path.read_text())
    section = load_config(path).separation
    cohorts = len(section.cohorts) * len(section.seeds)
    planned = {"separation": 1, "separation_cohort": cohorts, "separation_run": cohorts * len(section.recipes)}
    assert jobs(tmp_path, "separation") == planned


def test_a_small_benchmark_ends_in_its_tables_and_is_not_run_twice(tmp_path: Path) -> None:
    write(tmp_path, ours={"method": "sepclr-dcor"}, theirs={"method": "cvae"})
    snakemake(tmp_path, "separation", "--cores", "2")
    results = Results(tmp_path / "results")
    assert read_tsv(results.separation("separation.tsv"))["method"].tolist() == ["ours", "theirs"]
    compared = read_tsv(results.separation("comparisons.tsv"))
    assert {*zip(compared["reference"], compared["method"], strict=True)} == {("ours", "theirs"), ("theirs", "ours")}
    assert results.separation("separation.svg").is_file()
    assert jobs(tmp_path, "separation") == {}
    write(tmp_path, ours={"method": "sepclr-dcor", "settings": {"salient_dim": 4}}, theirs={"method": "cvae"})
    assert jobs(tmp_path, "separation") == {"separation": 1, "separation_run": 1}
