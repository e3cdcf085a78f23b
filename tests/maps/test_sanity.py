"""Sanity checks: layers from the representation backwards, weights put back, maps that change only if they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.maps import attribution, sanity
from sepclr_neuro.maps.attribution import Scores
from sepclr_neuro.maps.fold_maps import FoldMapper
from sepclr_neuro.maps.sanity import SANITY, layers_by_depth, sanity_checks, shuffled_layers
from sepclr_neuro.probing.probes import write_probes
from tests.small_run import small_run

METHOD = "sepclr-k-jem"


class TwoEncoders(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        # Defined in another order than they are called.
        self.last = nn.Linear(4, 2)
        self.first = nn.Sequential(nn.Conv3d(1, 2, 2, stride=2), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(16, 4))
        self.other = nn.Linear(64, 2)

    def represent(self, volumes: Tensor) -> Tensor:
        self.other(volumes.flatten(1))
        return self.last(self.first(volumes))


def test_layers_are_those_that_scores_go_through_backwards() -> None:
    network = TwoEncoders()
    found = layers_by_depth(network, lambda x: [network.represent(x)], torch.randn(1, 1, 4, 4, 4))
    assert found == ["last", "first.3", "first.1", "first.0"]
    assert layers_by_depth(nn.Identity(), lambda x: [x.requires_grad_()], torch.randn(1, 2)) == []


def test_weights_are_shuffled_layer_by_layer_and_put_back() -> None:
    network = TwoEncoders()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def changed() -> set[str]:
        return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}

    seen = []
    for layer in shuffled_layers(network, ["last", "first.3"], seed=1):
        seen.append((layer, changed()))
        for name, value in network.state_dict().items():
            assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
    assert [layer for layer, _ in seen] == ["last", "first.3"]
    assert "last.weight" in seen[0][1]
    assert not any(name.startswith("first") for name in seen[0][1])
    assert {"last.weight", "first.3.weight"} <= seen[1][1]
    assert changed() == set()


@pytest.fixture(scope="module")
def mapper(tmp_path_factory: pytest.TempPathFactory) -> FoldMapper:
    config, results = small_run(
        tmp_path_factory.mktemp("sanity"),
        saliency={
            "samples": 1,
            "targets": ["diagnosis", "sans"],
            "sanity_participants": 2,
            "of": ["probe", "salient-norm"],
        },
    )
    for fold in range(2):
        write_fold_model(config, results, METHOD, fold)
    write_representations(config, results, METHOD)
    write_probes(config, results)
    return FoldMapper(config, results, METHOD, 0)


def test_maps_of_a_network_change_with_its_weights_and_its_probes_labels(mapper: FoldMapper) -> None:
    weights = {name: value.clone() for name, value in mapper.model.method.state_dict().items()}
    table = sanity_checks(mapper, "smoothgrad", None)
    assert list(table) == SANITY
    of_weights = table[table["check"] == "weights"]
    assert set(zip(of_weights["target"], of_weights["space"], strict=True)) == set(mapper.decisions)
    deepest = of_weights.groupby(["target", "space"])["layers"].max()
    assert deepest.min() >= 5
    # Salient codes are behind the common map by what they erase alone, which is little in so few participants.
    by_erasure = (of_weights["space"] == "common") & of_weights["last_layer"].str.startswith("salient_encoder")
    assert by_erasure.sum() == 2
    of_own = of_weights.loc[~by_erasure, "spearman"]
    assert (of_own.abs() < 0.9).all(), "a map stayed when weights behind it were shuffled"
    assert (of_weights.loc[by_erasure, "spearman"] < 0.99).all()
    wholly = of_weights.loc[of_weights.groupby(["target", "space"])["layers"].idxmax()]
    assert (wholly["spearman"].abs() < 0.3).all()
    norm = of_weights[of_weights["target"] == "salient-norm"]
    assert norm.iloc[-1]["last_layer"].startswith("salient_encoder")
    assert norm["last_layer"].str.startswith(("salient_encoder", "salient_projector")).all()
    of_labels = table[table["check"] == "labels"]
    assert set(of_labels["target"]) == {"diagnosis", "sans"}
    assert of_labels["last_layer"].isna().all(), "an empty text is n/a for some and a text for others"
    assert all(torch.equal(value, weights[name]) for name, value in mapper.model.method.state_dict().items())


def test_the_gradient_of_a_score_passes_through_the_encoders_that_make_it_alone(mapper: FoldMapper) -> None:
    """The common space, which lacks what salient codes predict, is made of both."""
    passes: list[str] = []
    hooks = [
        getattr(mapper.model.method, f"{space}_encoder").register_full_backward_hook(
            lambda *_, space=space: passes.append(space)
        )
        for space in ("common", "salient")
    ]
    pairs = list(mapper.decisions)
    scan = mapper.mapped_scans.index[0]
    mapper.explain("smoothgrad", mapper.scores(pairs, scan), scan, None)
    for hook in hooks:
        hook.remove()
    made_by = {"common": ["common", "salient"], "salient": ["salient"]}
    assert sorted(passes) == sorted(encoder for _, space in pairs for encoder in made_by[space])


def test_a_map_that_shows_the_volume_alone_is_found_out(mapper: FoldMapper, monkeypatch: pytest.MonkeyPatch) -> None:
    def the_volume(scores: Scores, volume: Tensor, *_: object, **__: object) -> Tensor:
        return volume[0].double().cpu().expand(len(scores(volume)), *volume.shape[2:])

    monkeypatch.setattr(attribution, "smoothgrad", the_volume)
    table = sanity_checks(mapper, "smoothgrad", None)
    np.testing.assert_allclose(table["spearman"], 1.0)


def test_nobody_is_looked_at_where_nobody_is_to_be(tmp_path: Path, mapper: FoldMapper) -> None:
    none = mapper.config.saliency.model_copy(update={"sanity_participants": 0})
    before = mapper.config
    mapper.config = before.model_copy(update={"saliency": none})
    assert sanity_checks(mapper, "smoothgrad", None).empty
    mapper.config = before
    assert sanity.STAGES >= 2
