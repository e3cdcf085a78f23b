"""A batch that is larger than memory, or shared by several processes, teaches what it teaches as a whole."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.digits import ImageViews
from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, read_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.sampling import Members, parts
from sepclr_neuro.learning.augmentation import augment
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.methods import sepclr
from sepclr_neuro.methods.base import Batch, GradientMethod
from sepclr_neuro.validation.digits.views import IdenticalViews, RandomViews
from tests.same_model import assert_same_model
from tests.small_run import small_run
from tests.standing_in import nodes_are_this_machine, on_two_nodes

TRAINED = [name for name, entry in METHODS.items() if entry.settings.trained]
SEPCLR = {"common_dim": 4, "salient_dim": 4, "projector_width": 8}
ONE_STEP = {"epochs": 1, "batch_size": 8, "precision": "float32"}  # of all 8 people that a fold of 16 trains on

two_processes = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need two GPUs, or none")


def gradients(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, training: dict[str, Any], **settings: Any
) -> list[torch.Tensor]:
    """What each optimiser got at each of its steps."""
    taken: list[torch.Tensor] = []
    step = torch.optim.Adam.step

    def spy(adam: torch.optim.Adam, *given: Any, **more: Any) -> Any:
        taken.extend(p.grad.clone() for group in adam.param_groups for p in group["params"] if p.grad is not None)
        return step(adam, *given, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    config, results = small_run(folder, methods={method: settings}, training=training)
    write_fold_model(config, results, method, 0)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    return taken


def assert_alike(one: list[torch.Tensor], other: list[torch.Tensor], share: float) -> None:
    """Differences are small beside the largest gradient of the same weights, or of any: before a norm some are 0."""
    assert len(one) == len(other) > 0
    largest = max(float(a.abs().max()) for a in one)
    for a, b in zip(one, other, strict=True):
        assert float((a - b).abs().max()) <= share * max(float(a.abs().max()), 1e-2 * largest)


@pytest.mark.parametrize("method", TRAINED)
def test_gradients_in_parts_are_those_of_the_whole_batch(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every term, estimators' steps included, with random views."""
    own: dict[str, Any] = SEPCLR if method.startswith("sepclr") else {}
    if method.endswith("vae"):
        own = {"augmentation": {"noise_probability": 1.0, "affine_probability": 0.5}}
    whole = gradients(tmp_path / "whole", monkeypatch, method, ONE_STEP, **own)
    in_parts = gradients(tmp_path / "parts", monkeypatch, method, ONE_STEP | {"people_in_memory": 2}, **own)
    assert_alike(whole, in_parts, 1e-4)
    uneven = gradients(tmp_path / "uneven", monkeypatch, method, ONE_STEP | {"people_in_memory": 6}, **own)
    assert_alike(whole, uneven, 1e-4)


def test_another_encoder_is_as_exact_where_each_scan_is_normalised_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = SEPCLR | {"network": {"name": "strided", "normalisation": "group"}}
    whole = gradients(tmp_path / "whole", monkeypatch, "sepclr-k-jem", ONE_STEP, **own)
    in_parts = gradients(tmp_path / "parts", monkeypatch, "sepclr-k-jem", ONE_STEP | {"people_in_memory": 4}, **own)
    assert_alike(whole, in_parts, 1e-3)


def test_attributes_are_compared_across_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = SEPCLR | {"attributes": {"sans": "continuous"}}
    whole = gradients(tmp_path / "whole", monkeypatch, "sepclr-k-jem", ONE_STEP, **own)
    in_parts = gradients(tmp_path / "parts", monkeypatch, "sepclr-k-jem", ONE_STEP | {"people_in_memory": 2}, **own)
    assert_alike(whole, in_parts, 1e-4)


def test_bfloat16_has_gradients_in_parts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast keeps the weights that it cast in the pass without gradients; every part must have some."""
    half = ONE_STEP | {"precision": "bfloat16"}
    whole = gradients(tmp_path / "whole", monkeypatch, "sepclr-k-jem", half, **SEPCLR)
    in_parts = gradients(tmp_path / "parts", monkeypatch, "sepclr-k-jem", half | {"people_in_memory": 2}, **SEPCLR)
    assert len(whole) == len(in_parts)
    # Of the weights together: those of which little is left after bfloat16's rounding would say nothing alone.
    together = [torch.cat([gradient.flatten() for gradient in gradients]) for gradients in (whole, in_parts)]
    assert float(nn.functional.cosine_similarity(*together, dim=0)) > 0.99
    for a, b in zip(whole, in_parts, strict=True):
        assert (float(a.norm()) > 1e-2) <= (float(b.norm()) > 5e-3)


def test_no_more_people_than_that_are_read_or_in_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    seen: list[int] = []
    read_rows, codes = VolumeCache.read, sepclr.SepCLR.codes

    def spy_read(cache: VolumeCache, rows: list[int], **given: Any) -> torch.Tensor:
        if "planes" not in given:  # of which a few are read of everybody, for the covariates' effects
            read.append(len(rows))
        return read_rows(cache, rows, **given)

    def spy_codes(method: sepclr.SepCLR, part: Batch) -> dict[str, torch.Tensor]:
        seen.append(len(part.target))
        assert part.views.shape[1] == len(part.target)
        return codes(method, part)

    monkeypatch.setattr(VolumeCache, "read", spy_read)
    monkeypatch.setattr(sepclr.SepCLR, "codes", spy_codes)
    training = {"epochs": 1, "batch_size": 4, "people_in_memory": 2, "validation_fraction": 0.4}
    config, results = small_run(tmp_path, people=32, training=training)
    write_fold_model(config, results, "sepclr-k-jem", 0)
    assert max(read) == max(seen) == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_views_are_in_the_networks_precision(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And made without autocast, under which positions of voxels would be in bfloat16 too."""
    seen: list[torch.dtype] = []
    codes = sepclr.SepCLR.codes

    def spy_augment(*arguments: Any, **more: Any) -> torch.Tensor:
        assert not torch.is_autocast_enabled("cpu")
        return augment(*arguments, **more)

    def spy_codes(method: sepclr.SepCLR, part: Batch) -> dict[str, torch.Tensor]:
        seen.append(part.views.dtype)
        return codes(method, part)

    monkeypatch.setattr("sepclr_neuro.learning.training.augment", spy_augment)
    monkeypatch.setattr(sepclr.SepCLR, "codes", spy_codes)
    config, results = small_run(tmp_path, training=ONE_STEP | {"precision": precision})
    write_fold_model(config, results, "sepclr-k-jem", 0)
    assert seen == [getattr(torch, precision)]


@pytest.mark.parametrize("views", [RandomViews(ImageViews()), IdenticalViews()])
def test_views_of_images_are_in_the_precision_that_is_asked_for(views: RandomViews | IdenticalViews) -> None:
    made = views(torch.rand(4, 3, 32, 32), Members.all_of(4, 0), 2, torch.bfloat16)
    assert made.dtype == torch.bfloat16
    assert made.shape[:3] == (2, 4, 3)


def test_what_networks_draw_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout: the second time, the codes of a part are the first time's to the bit."""
    made: dict[tuple[int, ...], list[torch.Tensor]] = {}
    codes = sepclr.SepCLR.codes

    def spy(method: sepclr.SepCLR, part: Batch) -> dict[str, torch.Tensor]:
        found = codes(method, part)
        assert part.members is not None
        made.setdefault(tuple(part.members.positions), []).append(found["salient"].detach().clone())
        return found

    monkeypatch.setattr(sepclr.SepCLR, "codes", spy)
    network = {"channels": [8, 16], "dropout": 0.5}
    config, results = small_run(tmp_path, network=network, training=ONE_STEP | {"people_in_memory": 4})
    write_fold_model(config, results, "sepclr-k-jem", 0)
    assert [len(each) for each in made.values()] == [2, 1]
    first, again = made[0, 1, 4, 5]
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["linear", "light", "strided", "resnet18", "densenet121"])
@pytest.mark.parametrize("method", ["sepclr-k-jem", "supervised", "sepvae"])
def test_nothing_that_looks_at_the_batch_runs_on_a_part_of_it(name: Any, method: str) -> None:
    network = Network(name=name, normalisation="group", channels=[8, 16])
    built = METHODS[method].load()(METHODS[method].settings(), network, (3, 32, 32))
    assert isinstance(built, GradientMethod)
    ran: list[nn.Module] = []
    for module in built.modules():
        module.register_forward_hook(lambda module, *call: ran.append(module))
    built.codes(Batch(torch.randn(2, 4, 3, 32, 32), torch.tensor([False, True] * 2)))
    assert ran
    assert not [module for module in ran if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("training", [{"people_in_memory": 4}, {"devices": 2}, {"nodes": 2}])
def test_batch_norm_over_a_part_is_refused(training: dict[str, int]) -> None:
    content = {"network": {"name": "resnet18"}, "training": {"batch_size": 8} | training}
    with pytest.raises(InputError, match=r"methods.sepclr-k-jem: `network.name: resnet18` .*normalisation: group"):
        parse_config(content)
    parse_config(content | {"methods": {"pca": {}}})
    parse_config(content | {"network": {"name": "resnet18", "normalisation": "group"}})
    parse_config(content | {"training": {"batch_size": 8, "people_in_memory": 8}})
    with pytest.raises(InputError, match=r"digits.methods.simclr: `network.name: resnet18`"):
        parse_config({"digits": content | {"methods": {"simclr": {}}}})


# --- who is in which part, and their random numbers -----------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "at_once", "processes"), [(12, 4, 1), (14, 4, 3), (8, 8, 2), (256, 8, 4)])
def test_parts_of_all_processes_are_the_batch(batch_size: int, at_once: int, processes: int) -> None:
    found = [part for process in range(processes) for part in parts(batch_size, at_once, process, processes)]
    assert sorted(position for part in found for position in part) == list(range(batch_size))
    for part in found:
        assert len(part) <= at_once
        assert sum(position < batch_size // 2 for position in part) == len(part) // 2


def test_a_persons_views_do_not_depend_on_who_else_is_in_memory() -> None:
    x, some = torch.rand(6, 1, 16, 16, 16), Members([1, 4], 6, seed=3)
    whole = augment(x, Augmentation(noise_probability=1.0), 5)
    torch.testing.assert_close(augment(x[[1, 4]], Augmentation(noise_probability=1.0), 5, some), whole[[1, 4]])
    images, views = torch.rand(6, 3, 32, 32), RandomViews(ImageViews())
    for of_all, of_some in zip(views(images, Members.all_of(6, 3)), views(images[[1, 4]], some), strict=True):
        torch.testing.assert_close(of_some, of_all[[1, 4]])
    target = torch.tensor([False] * 3 + [True] * 3)
    noise = Batch(torch.empty(0), target, members=Members.all_of(6, 3)).normal(5)
    assert torch.equal(Batch(torch.empty(0), target[[1, 4]], members=some).normal(5), noise[[1, 4]])


def test_a_batch_larger_than_the_smaller_group_is_made_smaller_and_said(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    config, results = small_run(tmp_path, training={"epochs": 1, "batch_size": 256, "people_in_memory": 4})
    write_fold_model(config, results, "sepclr-k-jem", 0)
    assert "fold 0: training.batch_size: 8 instead of 256, twice the 4 participants" in said.text
    assert read_json(results.model_folder("sepclr-k-jem", 0) / "model.json")["batch_size"] == 8


# --- several processes ----------------------------------------------------------------------------------------------


@two_processes
@pytest.mark.parametrize(
    ("method", "memory"), [("sepclr-k-jem", {"people_in_memory": 2}), ("sepclr-tc", {}), ("mm-cvae", {})]
)
def test_gradients_of_two_processes_are_those_of_one(
    method: str, memory: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their size too, which Adam would hide. This process is the first of the two."""
    own = SEPCLR if method.startswith("sepclr") else {}
    one = gradients(tmp_path / "one", monkeypatch, method, ONE_STEP, **own)
    two = gradients(tmp_path / "two", monkeypatch, method, ONE_STEP | {"devices": 2, **memory}, **own)
    assert_alike(one, two, 1e-4)


@pytest.mark.parametrize(
    "shared",
    [
        pytest.param({"devices": 2}, marks=two_processes),
        pytest.param({"nodes": 2}, marks=on_two_nodes),
    ],
)
def test_two_processes_end_where_one_does(
    shared: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    """Random views, an estimator with its own optimiser, gradient caching within each process, a watched loss."""
    method = "sepclr-tc"
    # Adam makes steps of this length even of the rounding of a gradient that is 0, before a norm: kept small.
    training = ONE_STEP | {"epochs": 2, "validation_fraction": 0.4, "patience": 5, "learning_rate": 1e-5}
    sections: dict[str, Any] = {"people": 40, "methods": {method: SEPCLR}}
    one, one_results = small_run(tmp_path / "one", training=training, **sections)
    write_fold_model(one, one_results, method, 0)
    said.clear()
    nodes_are_this_machine(tmp_path, monkeypatch)
    two, two_results = small_run(tmp_path / "two", training=training | shared | {"people_in_memory": 2}, **sections)
    write_fold_model(two, two_results, method, 0)
    assert said.text.count("epoch 2/2") == 1
    assert_same_model(one, method, one_results, two_results)
    histories = [read_tsv(results.model_folder(method, 0) / "history.tsv") for results in (one_results, two_results)]
    of_one, of_two = (history["validation_loss"].tolist() for history in histories)
    assert of_two == pytest.approx(of_one, rel=1e-3)
    # Its estimator's Adam makes longer steps, and the second epoch's value is a small difference.
    terms = [history["independence"].to_numpy() for history in histories]
    assert terms[1][0] == pytest.approx(terms[0][0], rel=1e-4)
    np.testing.assert_allclose(terms[1], terms[0], rtol=0, atol=1e-3 * abs(terms[0]).max())
    folder = two_results.checkpoints(method, 0)
    assert {path.name for path in folder.iterdir()} == {
        "epoch-00001.ckpt", "epoch-00002.ckpt", "best.ckpt", "metrics.csv", "fingerprint.json"
    }  # fmt: skip


@two_processes
def test_what_another_process_finds_wrong_is_told_as_if_it_were_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the first one does not look at checksums of voxels, so that only the other sees that they are wrong."""
    config, results = small_run(tmp_path, training=ONE_STEP | {"devices": 2}, adjust_for=[])
    damaged = np.load(results.volumes, mmap_mode="r+")
    damaged[:, 0, 0, 0] += 1
    damaged.flush()

    def read(cache: VolumeCache, rows: list[int], dtype: Any = np.float32) -> torch.Tensor:
        return torch.from_numpy(cache.array[rows, None].astype(dtype))

    monkeypatch.setattr(VolumeCache, "read", read)
    with pytest.raises(InputError, match="are not those that were written"):
        write_fold_model(config, results, "sepclr-k-jem", 0)
    assert multiprocessing.active_children() == []


def test_benchmarks_of_small_images_and_volumes_use_one_node() -> None:
    with pytest.raises(InputError, match=r"digits\.methods\.sepclr-k-jem: `training\.nodes`: images are small"):
        parse_config({"digits": {"training": {"nodes": 2}}})
    config = parse_config({"training": {"nodes": 2}})
    cohort, recipe = next(iter(config.separation.cohorts)), next(iter(config.separation.recipes))
    assert config.separation_run(cohort, 0, recipe).training.nodes == 1


def test_more_devices_than_there_are_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"3 processes share 2 pairs"):
        parse_config({"training": {"batch_size": 4, "devices": 3}})
    with pytest.raises(InputError, match=r"`devices` times `nodes`: 4 processes share 2 pairs"):
        parse_config({"training": {"batch_size": 4, "devices": 2, "nodes": 2}})
    config, results = small_run(tmp_path, people=8, training={"batch_size": 64, "devices": 4})
    with pytest.raises(InputError, match=r"4 processes cannot share 2 pairs .*set it to 2 or less"):
        write_fold_model(config, results, "sepclr-k-jem", 0)
    config, results = small_run(tmp_path, training=ONE_STEP | {"devices": 2})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"devices: 2 GPUs are requested, this command has 1; ask the scheduler"):
        write_fold_model(config, results, "sepclr-k-jem", 0)
