"""The workflow's second target, digits on objects: planned from the examples, run small, rerun where it changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sepclr_neuro.config.model import load_config
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.probing.published import published_digits
from tests.workflow.running import REPOSITORY, jobs, snakemake

pytestmark = pytest.mark.timeout(600)

PUBLISHED = list(published_digits().index.intersection(METHODS))


def write(folder: Path, **methods: dict[str, object]) -> None:
    digits = {
        "images": {"train": 20, "test": 20},
        "network": {"channels": [8, 16], "patch": 2, "pooling": "mean"},
        "training": {"epochs": 1, "batch_size": 8},
        "methods": methods,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"digits": digits}, sort_keys=False))


@pytest.mark.parametrize(
    ("example", "methods"),
    [
        ("digits_published", {*PUBLISHED, "simclr"}),
        ("digits_reduced", {*PUBLISHED, "simclr"}),
        ("digits_recipe", {"sepclr-k-jem", "sepclr-dcor"}),
    ],
)
def test_the_examples_ask_for_their_methods(example: str, methods: set[str], tmp_path: Path) -> None:
    content = yaml.safe_load((REPOSITORY / "docs" / "examples" / f"{example}.yaml").read_text())
    content["digits"]["images"]["path"] = str(tmp_path / "images.npz")
    (tmp_path / "images.npz").touch()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    config = load_config(tmp_path / "config.yaml").digits
    assert len(PUBLISHED) == 18
    assert set(config.methods) == methods
    runs = sum(config.repetitions(method) for method in config.methods)
    assert jobs(tmp_path, "digits") == {"digits": 1, "digits_run": runs}


def test_a_small_benchmark_ends_in_its_table_and_is_not_run_twice(tmp_path: Path) -> None:
    write(tmp_path, **{"sepclr-no-k-jem": {}, "cvae": {}})
    snakemake(tmp_path, "digits", "--cores", "2")
    table = read_tsv(Results(tmp_path / "results").table("digits_on_objects", "tsv"))
    assert table["method"].tolist() == ["sepclr-no-k-jem", "cvae"]
    assert table["published_digits_common"].tolist() == [94.4, 23.0]
    assert jobs(tmp_path, "digits") == {}
    write(tmp_path, **{"sepclr-no-k-jem": {}, "cvae": {"beta": 2.0}})
    assert jobs(tmp_path, "digits") == {"digits": 1, "digits_run": 1}
