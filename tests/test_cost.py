"""The estimate before a run: counts are those of the run itself, and a longer run is said to take longer."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sepclr_neuro import cli, cost
from sepclr_neuro.config import Training, parse_config
from sepclr_neuro.cost import estimate, steps_of_training
from sepclr_neuro.layout import Results
from sepclr_neuro.sampling import balanced_batches
from sepclr_neuro.storage import read_tsv
from tests.small_run import small_run


@pytest.mark.parametrize(("people", "batch_size"), [(16, 4), (30, 8), (31, 6)])
def test_steps_are_those_of_the_sampling(people: int, batch_size: int, tmp_path: Path) -> None:
    _, results = small_run(tmp_path, people)
    cohort = read_tsv(results.cohort, text=("participant_id",))
    training = Training(epochs=3, batch_size=batch_size)
    target = (cohort["group"] == "target").tolist()
    batches = balanced_batches(cohort["participant_id"].tolist(), target, batch_size, seed=0)
    assert steps_of_training(cohort["group"], training) == 3 * len(batches)


def test_the_parts_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 60 s on four people and a pass of 30 s, with weights of 1 GB."""
    config, results = small_run(
        tmp_path, methods={"sepclr-k-jem": {}, "pca": {}}, saliency={"participants": 4, "samples": 2}
    )
    monkeypatch.setattr(cost, "_measure", lambda *given: (60.0, 30.0, 10**9))
    text = "\n".join(estimate(config, read_tsv(results.cohort, text=("scan_id", "participant_id"))))
    # Two folds of 8 people train in 2 steps an epoch, 3 epochs; 2 folds map 4 people by 2 copies.
    assert "sepclr-k-jem: training about 12 min, maps about 8 min" in text
    assert "together about 20 min" in text
    assert "pca" not in text
    assert "disk 14 GB" in text


def test_the_command_prints_it(tmp_path: Path) -> None:
    settings = {
        "output": str(tmp_path / "results"),
        "cohort": {"source": "simulated", "simulation": {"participants": 40}},
        "volumes": {"shape": [32, 32, 32]},
        "training": {"batch_size": 4, "epochs": 2},
        "network": {"channels": [8, 8]},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(cli.app, ["check", str(path)])
    assert result.exit_code == 0, result.output
    assert "estimate, from a few steps on this machine" in result.output
    assert "sepclr-k-jem: training about" in result.output
    assert not Results(parse_config(settings).output).root.exists()
    assert "estimate" not in CliRunner().invoke(cli.app, ["check", str(path), "--headers-only"]).output
