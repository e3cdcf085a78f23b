"""What is held against each other is the same work; a benchmark runs, and goes on where it was stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gradient_caching, recipe, scale, scale_of_tests, separation_summary
from benchmarks.rows import Rows
from benchmarks.steps import Step
from benchmarks.time_to_separation import Points, compare
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cohort import build_cohort
from sepclr_neuro.data.volume_checks import faulty_volumes
from sepclr_neuro.methods.layers import GroupNorm
from sepclr_neuro.methods.networks import PatchStem

ROOT = Path(__file__).resolve().parents[1]


def test_the_recipe_and_a_step_minimise_the_same_loss() -> None:
    ours, theirs = Step(side=32, batch_size=4, bfloat16=False), Step(side=32, batch_size=4, bfloat16=False)
    batch = ours.views()
    ours.descend(batch)
    method = recipe.of_usual_layers(theirs.method)
    assert not any(isinstance(module, PatchStem | GroupNorm) for module in method.modules())
    optimizer = torch.optim.Adam(method.parameters())
    loss = recipe.descend(
        method, optimizer, {"first": batch.views[0], "second": batch.views[1], "target": batch.target}
    )
    assert torch.isfinite(loss)
    one, other = (
        torch.cat([parameter.grad.flatten() for parameter in of.parameters()]) for of in (ours.method, method)
    )
    torch.testing.assert_close(other, one, atol=1e-5 * float(one.abs().max()), rtol=1e-3)


def test_the_benchmark_of_memory_runs(capsys: pytest.CaptureFixture[str]) -> None:
    gradient_caching.measure("sepclr-k-jem", side=32, people=8, at_once=4, steps=1)
    assert capsys.readouterr().out.startswith("people 8, in memory 4, peak GiB ")


def test_growth_in_proportion_has_the_exponent_one_and_next_to_nothing_none() -> None:
    assert scale.exponent([1000, 3000], [2.0, 6.0]) == pytest.approx(1)
    assert scale.exponent([1000, 3000], [2.0, 18.0]) == pytest.approx(2)
    assert scale.exponent([1000, 3000], [0.0, 18.0]) != scale.exponent([1000, 3000], [0.0, 18.0])  # NaN


def test_the_made_up_study_joins_and_its_volumes_pass(tmp_path: Path) -> None:
    scale.write_study(tmp_path, 200)
    config = scale.config_of(tmp_path / "results", ["gcpca"])
    tables = build_cohort(config.cohort, None)
    assert tables.cohort["participant_id"].nunique() == 200 < len(tables.cohort)
    assert tables.cohort["sans"].isna().sum() > (tables.cohort["group"] == "background").sum()
    assert faulty_volumes(tables.cohort.head(8), config.volumes) == ({}, [])


@pytest.mark.parametrize("what", ["linear", "nonlinear", "null", "dependence"])
def test_a_single_probe_or_test_is_measured(what: str) -> None:
    seconds, memory = scale_of_tests._measured(what, 200)
    assert seconds > 0
    assert memory >= 0


def test_a_row_that_has_no_value_any_more_leaves_the_table(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "speed.tsv")
    rows.add("never", float("nan"), "s")
    for name, value in (("sometimes", 1.0), ("always", 2.0), ("sometimes", float("nan")), ("always", 3.0)):
        rows.add(name, value, "s")
    assert not rows.has("sometimes")
    assert read_tsv(tmp_path / "speed.tsv", text=("name", "unit")).to_numpy().tolist() == [["always", 3.0, "s"]]


def test_times_to_a_separation_are_means_over_cohorts_of_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "speed.points.tsv"
    others = Points(path, "gpu")
    others.add("recipe", 4, 0, [(2, 1.0, 0.9), (4, 2.0, 0.9)])
    points = Points(path, "cpu")
    points.add("recipe", 2, 0, [(2, 900.0, 0.9)])
    for seed, better in ((0, 0.0), (1, 0.1)):
        points.add("recipe", 4, seed, [(2, 100.0, 0.5 + better), (4, 200.0, 0.6 + better)])
        points.add("ours", 8, seed, [(2, 5.0, 0.7 - better), (4, 6.0, 0.55), (6, 8.0, 0.7), (8, 9.0, 0.6 + better)])
    kept = Points(path, "cpu")
    assert not kept.of("recipe", 4, [0, 1]).empty
    assert kept.of("recipe", 4, [2]).empty
    rows = Rows(tmp_path / "speed.tsv")
    compare(rows, kept, [0, 1], epochs=4, longest=8)

    def found() -> dict[str, float]:
        table = read_tsv(tmp_path / "speed.tsv", text=("name", "unit"))
        return dict(zip(table["name"], table["value"], strict=True))

    assert found() == {
        "recipe_accuracy": 65.0,
        "recipe_epochs": 4.0,
        "recipe_time_to_separation": 200.0,
        "time_to_separation": 8.0,  # after two epochs it was luck
        "time_to_separation_accuracy": 70.0,
        "time_to_separation_epochs": 6.0,
        "time_to_separation_same_choice": 25.0,
        "time_to_separation_ratio": 25.0,
    }
    kept.add("recipe", 4, 2, [(4, 200.0, 0.8)])
    kept.add("ours", 8, 2, [(6, 8.0, 0.7), (8, 9.0, 0.9)])
    compare(rows, kept, [2], epochs=4, longest=8)
    assert "time_to_separation" not in found()
    assert found()["time_to_separation_accuracy"] == 90.0


@pytest.mark.timeout(2400)  # steps on whole volumes: minutes where other work shares the processor
def test_a_benchmark_runs_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    output = tmp_path / "speed.tsv"
    command = [sys.executable, "-m", "benchmarks.training_step", "--quick", "--output", str(output)]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert {line.split("\t")[0] for line in output.read_text().splitlines()[1:]} == {
        line.split("\t")[0] for line in first.stdout.splitlines() if "\t" in line
    }
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.stdout == ""


def test_the_picture_of_separation_reads_the_tables_of_its_page() -> None:
    page = (ROOT / separation_summary.PAGE).read_text(encoding="utf-8")
    for heading, name, *_ in separation_summary.PANELS:
        found = separation_summary.column(page, heading, name)
        assert set(separation_summary.RECIPES) - {"voxel-linear"} <= set(found)
        assert all(low <= value <= high for value, low, high in found.values())
