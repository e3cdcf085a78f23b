"""What another package adds is used as what this one has: the example of the documentation, without installing it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Lasso
from typer.testing import CliRunner

from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.probes import Probe
from sepclr_neuro.config.registry import METHODS, REGISTRIES
from sepclr_neuro.config.schema import json_schema
from sepclr_neuro.config.standardisation import StandardisationEntry
from sepclr_neuro.core import registry
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.registry import LateEntry
from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.data.diseases import OneShift
from sepclr_neuro.data.images import quick_images
from sepclr_neuro.data.simulated_people import simulate_people
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.models import load_model
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.fold_maps import FoldMapper
from sepclr_neuro.maps.saliency import write_saliency
from sepclr_neuro.probing.probe_fits import ProbeModels
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.verdicts import write_verdicts
from sepclr_neuro.run import cli
from tests.small_run import small_run

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "plugin"
METHOD = "sepclr-cross-covariance"

Groups = Mapping[str, Mapping[str, str]]


def installed_at(folder: Path, name: str, groups: Groups) -> Path:
    """What `pip install` leaves of a package's metadata."""
    metadata = folder / f"{name.replace('-', '_')}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [
        line for group, points in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(autouse=True)
def _looked_for_anew() -> Iterator[None]:
    registry.installed.cache_clear()
    yield
    registry.installed.cache_clear()
    sys.modules.pop("two_scales", None)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.syspath_prepend(installed_at(tmp_path / "site", project["name"], project["entry-points"]))


@pytest.mark.usefixtures("plugin")
def test_the_example_trains_and_maps_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, results = small_run(
        tmp_path / "run",
        network={"name": "two-scales", "patch": 4},
        methods={METHOD: {"common_dim": 3, "salient_dim": 3, "projector_width": 8}},
        training={"epochs": 1, "batch_size": 4},
        saliency={
            "targets": ["diagnosis"],
            "attributions": ["gradient-times-input"],
            "permutations": 0,
            "sanity_participants": 0,
        },
    )
    for fold in range(2):
        write_fold_model(config, results, METHOD, fold)
    model = load_model(results.model_folder(METHOD, 0))
    assert type(model.method.salient_encoder).__name__ == "TwoScales"
    assert type(model.method.independence).__name__ == "CrossCovariance"
    assert "independence" in model.metadata["losses"]
    assert "cross-covariance, its weight 10" in METHODS[METHOD].describe(config.for_method(METHOD).settings)
    write_representations(config, results, METHOD)
    write_probes(config, results)
    monkeypatch.setattr("sepclr_neuro.maps.mapping.mosaic", lambda *_: None)
    with quick_images():
        write_saliency(config, results, METHOD)
    assert (results.saliency(METHOD) / "gradient-times-input" / "diagnosis_salient.nii.gz").is_file()

    # All of it but the adjusted input is linear, so that the maps add up to the scores, less what is said of no voxel.
    mapper = FoldMapper(config, results, METHOD, 0)
    pairs, scan = list(mapper.decisions), mapper.mapped_scans.index[0]
    scores, volume = mapper.scores(pairs, scan), mapper.volume(scan)
    maps = mapper.explain("gradient-times-input", scores, scan, None)
    change = [(of_scan - of_none).item() for of_scan, of_none in zip(scores(volume), scores(0 * volume), strict=True)]
    np.testing.assert_allclose(maps.sum(dim=(1, 2, 3)), change, rtol=1e-3, atol=1e-5)
    assert read_json(results.model_folder(METHOD, 0) / "model.json")["versions"]["two-scales"] == "0.1"


@pytest.mark.usefixtures("plugin")
def test_it_is_listed_and_completed_like_what_is_built_in() -> None:
    assert list(ENCODERS)[-1] == "two-scales"
    listed = CliRunner().invoke(cli.app, ["list", "encoders"]).output.splitlines()
    assert listed[-1].split() == [
        "two-scales",
        *["Linear,", "of", "patch", "means", "at", "two", "scales"],
        "two-scales",
    ]
    assert listed[0].split()[-1] == "sepclr_neuro"
    every = CliRunner().invoke(cli.app, ["list"]).output
    assert all(f"{kind}:\n" in every for kind in REGISTRIES)
    schema = json_schema()
    assert "two-scales" in schema["$defs"]["Network"]["properties"]["name"]["enum"]
    assert METHOD in schema["properties"]["methods"]["properties"]
    parse_config({"methods": {"sepclr-linear": {"independence": "cross-covariance"}}})


LASSO = Probe("Lasso", "tests.test_plugin:lasso", of_classes=False)
HALVED = StandardisationEntry("Halved", "tests.test_plugin:halved", "Intensities were halved")
SILENT = LateEntry("Without symptoms", "tests.test_plugin:Silent")


def lasso() -> ProbeModels:
    def fit(z: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> list[Lasso]:
        return [Lasso(alpha=alpha).fit(z, y) for alpha in penalties]

    return ProbeModels([10.0, 0.1], fit, (Lasso, "alpha"))


def halved(mean: np.ndarray, variance: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros_like(mean), np.full_like(mean, 2), mask


class Silent(OneShift):
    def symptoms(self, severity: dict[str, float], subtype: int) -> dict[str, float]:
        return dict.fromkeys(severity, 0.0)


def test_probes_standardisations_and_diseases_are_added_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "sepclr_neuro.probes": {"lasso": "tests.test_plugin:LASSO"},
        "sepclr_neuro.standardisations": {"halved": "tests.test_plugin:HALVED"},
        "sepclr_neuro.diseases": {"silent": "tests.test_plugin:SILENT"},
    }
    monkeypatch.syspath_prepend(installed_at(tmp_path / "site", "others", points))
    config, results = small_run(
        tmp_path / "run",
        people=24,
        cohort={"simulation": {"participants": 24, "disease_kind": "silent"}},
        methods={"pca": {}},
        standardisation={"intensity": "halved"},
        saliency={"targets": []},
        probes={
            "targets": {"age": {"kind": "lasso", "expected_in": "common"}},
            "permutations": 99,
            "bootstraps": 99,
        },
    )
    standardisation = Standardisation.load(results, 0)
    assert standardisation.sd[standardisation.mask].unique().tolist() == [2]
    for fold in range(2):
        write_fold_model(config, results, "pca", fold)
    write_representations(config, results, "pca")
    write_probes(config, results)
    assert set(read_tsv(results.scores)["penalty"]) <= {10.0, 0.1, 1.0}  # 1: scikit-learn's, of the paper's regime
    assert read_json(results.coefficients) == []  # nothing is known of a probe but what it predicts
    write_verdicts(config, results)
    assert read_tsv(results.verdicts)["p"].between(0, 1).all()
    scores = simulate_people(config.cohort, 0)["sans"].dropna()
    assert len(scores)
    assert scores.max() <= 12  # noise of rating


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"network": {"name": "ligth"}},
            r"network.name: no such encoder, 'ligth'. Did you mean 'light'\? Known: linear, ",
        ),
        ({"saliency": {"attributions": ["lime"]}}, r"no such attribution, 'lime'.* Known: smoothgrad, "),
        ({"standardisation": {"intensity": "all"}}, "no such standardisation, 'all'.* Known: voxelwise, global, none"),
        ({"probes": {"targets": {"age": {"kind": "x", "expected_in": "common"}}}}, "no such probe, 'x'"),
        ({"cohort": {"simulation": {"disease_kind": "one"}}}, "no such disease, 'one'"),
        (
            {"methods": {"sepclr-linear": {"independence": "tc"}}},
            r"independence: 'tc' is estimated by networks, which this method has none of. Known: k-jem, none, ",
        ),
    ],
)
def test_an_unknown_name_is_told_with_what_there_is(content: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        parse_config(content)


def test_a_name_that_two_packages_define_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"sepclr_neuro.encoders": {"light": "two_scales:ENCODER"}}
    monkeypatch.syspath_prepend(installed_at(tmp_path, "brighter", points))
    with pytest.raises(InputError, match=r"two packages define the encoder 'light': sepclr_neuro and brighter"):
        ENCODERS["light"]
    registry.installed.cache_clear()
    points = {"sepclr_neuro.methods": {"sepclr-tc": "two_scales:ENCODER"}}
    monkeypatch.syspath_prepend(installed_at(tmp_path / "second", "other", points))
    with pytest.raises(InputError, match="the method 'sepclr-tc': sepclr_neuro and other"):
        list(METHODS)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("no_such_module:ENTRY", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("sepclr_neuro.core.words:nothing", "cannot be loaded: AttributeError"),
        ("sepclr_neuro.core.words:counted", "is no entry but a function"),
    ],
)
def test_an_entry_that_cannot_be_used_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, expected: str
) -> None:
    monkeypatch.syspath_prepend(installed_at(tmp_path, "broken", {"sepclr_neuro.encoders": {"mine": point}}))
    assert "mine" in ENCODERS  # nothing is imported before it is used
    with pytest.raises(
        InputError, match=rf"the encoder 'mine' of the package broken \(entry point {point}\).*{expected}"
    ):
        ENCODERS["mine"]
