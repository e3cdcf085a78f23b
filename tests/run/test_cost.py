"""The estimate before a run: counts are those of the run itself, and a longer run is said to take longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.training import Training
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.core.words import duration
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.models import build_method
from sepclr_neuro.run import cli, cost
from sepclr_neuro.run.cost import estimate
from sepclr_neuro.run.resources import Needs
from tests.small_run import small_run


def sides_of(config: Config, results: Results) -> pd.DataFrame:
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id"))
    return read_tsv(results.splits, text=("scan_id", "participant_id")).merge(cohort[["scan_id", "group"]])


def test_the_parts_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 60 s on four people, a volume 10 s forward and 20 s backward, 1 GB a fold; 40 people, 2 scans each."""
    config, results = small_run(
        tmp_path,
        40,
        methods={"sepclr-k-jem": {}, "pca": {}},
        training={"epochs": 3, "batch_size": 8, "validation_fraction": 0.3},
        saliency={"targets": ["diagnosis", "sans"], "participants": 4, "samples": 6},
    )
    monkeypatch.setattr(cost, "_measure", lambda *given, **how: cost._Cost(60.0, 10.0, 20.0, 2, 10**9))
    sides = sides_of(config, results)
    text = "\n".join(estimate(config, sides))
    # Each of two folds has 10 people a group to train, of whom 3 are watched: 1 step an epoch, of 8 people, not 2.
    assert "sepclr-k-jem: training about 12 min" in text
    # Each maps 4 people, 2 of them patients: 6 x (4 x 10 + (4 + 2) x 2 spaces x 20) s.
    assert "maps about 56 min" in text
    assert "together about 68 min" in text
    # What has no epochs is looked up where the requests to a cluster come from: 40 scans of 32³.
    needs = Needs(config, results)
    seconds = [2 * needs.seconds("solve", "pca"), needs.seconds("saliency", "pca")]
    assert min(seconds) > 0
    assert "pca: training {}, maps {}, at most".format(*map(duration, seconds)) in text
    assert "disk 2 GB" in text
    alone = config.model_copy(update={"methods": {"pca": config.methods["pca"]}})
    assert f"together {duration(sum(seconds))}" in "\n".join(estimate(alone, sides))
    # A second scan of everybody adds none to a batch or an epoch, which are of people.
    again = pd.concat([sides, sides.assign(scan_id=sides["scan_id"] + "_ses-2")])
    assert "training about 12 min" in "\n".join(estimate(config, again))


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        ({"training": {"epochs": 3, "batch_size": 64}}, "training about 30 min"),  # all 10 of a group, one step
        ({"saliency": {"attributions": ["occlusion"]}}, "maps about 0 s without occlusion"),
        # Each of two folds maps 20 people, 10 of them patients: 6 x (20 x 10 + 20 x 2 spaces x 20) s for the diagnosis.
        (
            {"saliency": {"attributions": ["integrated-gradients"], "steps": 6, "targets": ["diagnosis"]}},
            "maps about 3.3 h",
        ),
    ],
)
def test_what_changes_the_time(
    asked: dict[str, Any], right: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, results = small_run(tmp_path, 40, **asked)
    monkeypatch.setattr(cost, "_measure", lambda *given, **how: cost._Cost(60.0, 10.0, 20.0, 2, 10**9))
    assert right in "\n".join(estimate(config, sides_of(config, results)))


@pytest.mark.parametrize(
    ("gpus", "shared", "right"),
    [
        (True, {"devices": 2}, "training about 12 min"),
        (False, {"devices": 2}, "training about 24 min"),
        (True, {"devices": 2, "nodes": 2}, "training about 6 min"),
        (False, {"devices": 2, "nodes": 2}, "training about 12 min"),
    ],
)
def test_processes_that_share_a_processor_gain_nothing(
    gpus: bool, shared: dict[str, int], right: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, results = small_run(tmp_path, 40, training={**shared, "epochs": 3, "batch_size": 8})
    monkeypatch.setattr(cost, "_measure", lambda *given, **how: cost._Cost(60.0, 10.0, 20.0, 2, 10**9))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert right in "\n".join(estimate(config, sides_of(config, results)))


@pytest.mark.parametrize(
    ("training", "measured"),
    [
        ({"people_in_memory": 2}, 2),
        ({"people_in_memory": 6}, 2),
        ({"people_in_memory": 8}, None),
        ({}, None),
        ({"people_in_memory": 4, "devices": 2}, None),  # each has its share in memory
        ({"batch_size": 64, "people_in_memory": 20}, None),  # so many there are
    ],
)
def test_batches_in_parts_are_measured_in_parts(
    training: dict[str, Any], measured: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose people pass twice, all but the last part's. Of 40 people 20 are trained on."""
    seen: list[Training] = []

    def spy(method: Any, scans: Any, views: Any, training: Training, **given: Any) -> Any:
        seen.append(training)
        return fit(method, scans, views, training, **given)

    config, results = small_run(tmp_path, 40, training={"batch_size": 8} | training)
    monkeypatch.setattr(cost, "fit", spy)
    estimate(config, sides_of(config, results))
    assert [training.people_in_memory for training in seen] == [measured]


@pytest.mark.parametrize(
    "settings",
    [
        {"methods": {"sepclr-tc": {"training": {"people_in_memory": 2}}}},
        {"methods": {"sepvae": {}}},
        {"methods": {"sepclr-k-jem": {}}, "network": {"name": "strided"}},  # ends in one voxel: normalised in batches
    ],
)
def test_any_method_is_measured(settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, _ = small_run(tmp_path, **settings)
    found = cost._measure(config, next(iter(config.methods)), in_parts=False)
    assert min(found.step, found.forward) > 0
    # Weights, and those of Adam beside them in two checkpoints; in all three the covariates' effects on each voxel.
    weights = sum(
        part.numel() * 4 for part in build_method(config, next(iter(config.methods)), [1, 32, 32, 32]).parameters()
    )
    effects = 3 * cost._COVARIATES * 4 * 32**3
    assert 6.5 * weights < found.disk - effects < 8 * weights + 2e5
    assert capsys.readouterr() == ("", "")


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
    only_digits = tmp_path / "digits.yaml"
    only_digits.write_text("digits: {methods: {simclr: {}}}")
    result = CliRunner().invoke(cli.app, ["check", str(path), "--no-html"])
    assert result.exit_code == 0, result.output
    assert "estimate, of networks from a few steps on this machine" in result.output
    assert "sepclr-k-jem: training about" in result.output
    assert not Results(parse_config(settings).output).root.exists()
    assert "estimate" not in CliRunner().invoke(cli.app, ["check", str(only_digits)]).output
    assert "estimate" not in CliRunner().invoke(cli.app, ["check", str(path), "--headers-only", "--no-html"]).output
