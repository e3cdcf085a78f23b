"""Methods of a run: their names, and the sections that they share."""

from __future__ import annotations

from typing import Any

import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.stages import stage_config
from tests.config.contents import METHOD, SMALL, message


def test_a_method_has_its_own_values_of_shared_sections() -> None:
    config = parse_config({"training": {"epochs": 7}, "methods": {METHOD: {"training": {"batch_size": 4}}}})
    training = config.for_method(METHOD).training
    assert (training.epochs, training.batch_size) == (7, 4)
    assert config.training.batch_size == Config().training.batch_size


def test_a_method_may_stand_under_names_of_the_users_own() -> None:
    config = parse_config({"methods": {METHOD: None} | SMALL})
    small, registered = config.for_method("small"), config.for_method(METHOD)
    assert (small.method, small.title, small.settings.salient_dim) == (METHOD, "small", 2)  # type: ignore[attr-defined]
    assert (registered.method, registered.title) == (METHOD, "SepCLR, k-JEM")
    assert small.entry == registered.entry


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"small": {"salient_dim": 2}}, "methods.small: no such method"),
        ({"small": None}, "Under a name of your own, say which one it is: `small: {method: sepclr-k-jem}`"),
        (
            {"small": {"method": "sepclr-kjem"}},
            f"methods.small.method: no such method, 'sepclr-kjem'. Did you mean '{METHOD}'?",
        ),
        ({"small": {"method": ["pca"]}}, "methods.small.method: no such method"),
        ({"small": {"method": "pca", "salient_dim": 2}}, "methods.small.salient_dim: unknown key"),
        ({"gcpca": {"choose": {"noise": [1]}}}, "methods.gcpca.choose.noise: unknown key. Known: salient_dim, ridge"),
        ({"gcpca": {"choose": {"salient_dim": []}}}, "methods.gcpca.choose.salient_dim: no value to choose from"),
        (
            {"gcpca": {"choose": {"salient_dim": [2, 2.5]}}},
            "methods.gcpca.choose.salient_dim: expected a whole number, got 2.5",
        ),
        (
            {"sepclr-linear": {"choose": {"noise": [0, 1]}}},
            "methods.sepclr-linear.choose.noise: expected a value greater than 0, got 0.0",
        ),
        ({"pca": {"method": "cpca"}}, "methods.pca.method: pca is the name of another method"),
        ({"a.b": {"method": "pca"}}, "methods.a.b: folders get this name"),
        ({"../up": {"method": "pca"}}, "methods.../up: folders get this name"),
        ({"{fold}": {"method": "pca"}}, "methods.{fold}: folders get this name"),
        ({"voxels": {"method": "pca"}}, "methods.voxels: tables use this name for something else"),
        ({"small": {"method": "pca"}, "Small": {"method": "pca"}}, "methods.small: differs from Small in capitals"),
        ({"PCA": {"method": "pca"}, "pca": {}}, "methods.PCA: differs from pca in capitals"),
    ],
)
def test_a_name_of_ones_own_that_cannot_be_is_explained(methods: dict[str, Any], expected: str) -> None:
    assert expected in message({"methods": methods})


@pytest.mark.parametrize("stage", ["training", "embedding", "saliency"])
def test_an_edit_or_another_name_concerns_that_method_alone(stage: str) -> None:
    def told(methods: dict[str, Any], name: str) -> dict[str, Any]:
        return stage_config(parse_config({"methods": methods}), stage, name)

    both = {METHOD: {}} | SMALL
    edited = both | {"small": {"method": METHOD, "salient_dim": 3}}
    renamed = {METHOD: {}, "smaller": SMALL["small"]}
    assert told(both, METHOD) == told(edited, METHOD) == told(renamed, METHOD) == told({METHOD: {}}, METHOD)
    assert (told(both, "small") == told(edited, "small")) == (stage != "training")
    # What a stage is told says the same again.
    read = parse_config(told(both, "small"))
    assert (read.for_method("small").method, stage_config(read, stage, "small")) == (METHOD, told(both, "small"))


def test_a_bare_method_name_has_its_defaults() -> None:
    assert parse_config({"methods": {METHOD: None}}).methods == {METHOD: {}}
