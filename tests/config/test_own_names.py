"""One run that holds a method twice, with different settings: each is trained, probed, mapped and shown by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepclr_neuro.config.model import Config, load_config, parse_config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, sha256
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.models import load_model
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps.saliency import write_saliency
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.published import published_schizophrenia
from sepclr_neuro.probing.site_leakage import write_site_leakage
from sepclr_neuro.probing.tables import write_tables
from sepclr_neuro.probing.verdicts import write_verdicts
from sepclr_neuro.report.run_details import run_details
from sepclr_neuro.run.check import check
from tests.report.reported_run import trained_in
from tests.small_run import small_run

METHOD = "sepclr-k-jem"
OWN = {"common_dim": 4, "salient_dim": 4, "projector_width": 8, "temperature": 0.25}
NAMES = {METHOD: OWN, "same": {"method": METHOD} | OWN, "small": {"method": METHOD} | OWN | {"salient_dim": 2}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    """A run from training to the report's tables, in which each stage is told no more than it needs."""
    config, results = small_run(
        tmp_path_factory.mktemp("run"),
        methods=NAMES,
        training={"epochs": 1, "batch_size": 4},
        probes={
            "targets": {"diagnosis": {"kind": "classification", "expected_in": "salient"}},
            "permutations": 99,
            "bootstraps": 99,
        },
        saliency={"targets": ["diagnosis"], "samples": 1, "participants": 2, "permutations": 0},
    )

    def told(stage: str, method: str | None = None) -> Config:
        return parse_config(stage_config(config, stage, method))

    for name in config.methods:
        for fold in range(config.splits.count):
            write_fold_model(told("training", name), results, name, fold)
        write_representations(told("embedding", name), results, name)
    write_probes(told("probes"), results)
    write_verdicts(told("tables"), results)
    write_tables(told("tables"), results)
    write_site_leakage(told("leakage"), results)
    write_saliency(told("saliency", "small"), results, "small")
    return config, results


def test_each_is_trained_with_its_own_settings(run: tuple[Config, Results]) -> None:
    _, results = run
    models = {name: load_model(results.model_folder(name, 0)) for name in NAMES}
    sizes = {name: model.method.settings.salient_dim for name, model in models.items()}
    assert sizes == {METHOD: 4, "same": 4, "small": 2}
    for name, model in models.items():
        assert (model.metadata["method"], model.metadata["registered_method"]) == (name, METHOD)
    # A name changes nothing that is learned.
    weights = {name: sha256(results.model_folder(name, 0) / "model.safetensors") for name in NAMES}
    assert weights["same"] == weights[METHOD] != weights["small"]


def test_the_tables_have_a_row_for_each(run: tuple[Config, Results]) -> None:
    _, results = run
    table = read_tsv(results.table("schizophrenia", "tsv"))
    assert list(dict.fromkeys(table["method"])) == list(NAMES)
    text = results.table("schizophrenia", "md").read_text(encoding="utf-8")
    for title in ("SepCLR, k-JEM", "same", "small"):
        assert f"| {title} | " in text
    assert set(NAMES) < set(read_tsv(results.table("site_leakage", "tsv"))["method"])
    compared = read_tsv(results.table("comparisons", "tsv"))
    assert ((compared["method"] == "same") & (compared["other_method"] == "small")).any()


def test_each_stands_beside_what_was_published_of_the_method(run: tuple[Config, Results]) -> None:
    _, results = run
    known = published_schizophrenia()
    known = known[(known["method"] == METHOD) & (known["target"] == "diagnosis") & (known["space"] == "salient")]
    beside = read_tsv(results.table("beside_published", "tsv"))
    assert beside["method"].unique().tolist() == list(NAMES)
    salient = beside[beside["space"] == "salient"]
    assert salient["published_mean"].tolist() == known["mean"].tolist() * len(NAMES)


def test_what_ran_says_which_settings_differ(run: tuple[Config, Results], tmp_path: Path) -> None:
    config, results = run
    problems: list[str] = []
    ran = run_details(config, trained_in(config, results, problems), [])
    assert problems == []
    assert ran["models"]["method"].tolist() == ["SepCLR, k-JEM", "same", "small"]
    changed = {row.setting: (row[2], row[3]) for row in ran["changed"].itertuples()}
    assert changed["methods.small.method"] == (METHOD, "not set")
    assert changed["methods.small.salient_dim"] == ("2", "32")
    assert "small (SepCLR, k-JEM)" in check(parse_config({"methods": NAMES, "output": str(tmp_path)})).text()


def test_what_ran_says_numbers_as_they_were_understood(run: tuple[Config, Results], tmp_path: Path) -> None:
    config = run[0]
    path = tmp_path / "my.yaml"
    own = "{temperature: 1e-1, kernel_diagonal: yes, salient_dim: 010}"
    path.write_text(f"output: {config.output}\nmethods:\n  {METHOD}: {own}\n")
    changed = run_details(load_config(path), {}, [])["changed"]
    rows = [tuple(row)[1:] for row in changed.itertuples() if row.setting.startswith("methods.")]
    assert rows == [(f"methods.{METHOD}.temperature", "0.1", "0.5"), (f"methods.{METHOD}.salient_dim", "10", "32")]


def test_maps_are_called_by_the_name(run: tuple[Config, Results]) -> None:
    _, results = run
    assert (results.saliency("small") / "smoothgrad" / "diagnosis_salient.nii.gz").is_file()
