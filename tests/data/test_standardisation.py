"""Standardisation: equal to NumPy on the training scans, blind to the held-out ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import Saliency
from sepclr_neuro.config.standardisation import Standardisation as Settings
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_json, write_tsv
from sepclr_neuro.data.cache import voxels_sha256
from sepclr_neuro.data.standardisation import Standardisation, learn_standardisation, write_standardisation

SHAPE = (6, 5, 4)
TRAIN = [f"s{number:02d}" for number in range(9)]
TEST = ["s09", "s10", "s11"]


def make_results(folder: Path, seed: int = 0, held_out_offset: float = 0.0) -> tuple[Results, np.ndarray]:
    """A cache of 12 scans with a constant voxel, an empty one and a faint half; returns the training volumes too."""
    generator = np.random.default_rng(seed)
    volumes = generator.uniform(0.3, 0.9, (12, *SHAPE)).astype(np.float16)
    volumes[:, 0, 0, 0] = 0.5
    volumes[:, 1, 0, 0] = 0
    volumes[:, :, :, 3] *= np.float16(0.1)
    volumes[9:] += np.float16(held_out_offset)
    results = Results(folder)
    results.volumes.parent.mkdir(parents=True)
    np.save(results.volumes, volumes)
    scan_ids = TRAIN + TEST
    index = pd.DataFrame({"scan_id": scan_ids, "row": range(12), "sha256": scan_ids, "source": "a.nii"})
    write_tsv(results.index, index.assign(voxels_sha256=[voxels_sha256(volume) for volume in volumes]))
    write_json(results.grid, {"shape": SHAPE, "affine": np.eye(4).tolist()})
    sides = ["train"] * 9 + ["test"] * 3
    who = {"scan_id": scan_ids, "participant_id": scan_ids, "unit": scan_ids}
    write_tsv(results.splits, pd.DataFrame({"fold": 0, **who, "side": sides}))
    return results, volumes[:9].astype(np.float64)


def learn(
    results: Results, intensity: Literal["voxelwise", "global", "none"], threshold: float = 0.1
) -> Standardisation:
    settings = Settings(intensity=intensity, mask_threshold=threshold)
    # `none` is refused beside noise of SDs.
    config = Config(standardisation=settings, augmentation=Augmentation(noise_sd=0), saliency=Saliency(noise_sd=0))
    write_standardisation(config, results, 0)
    return Standardisation.load(results, 0)


def test_voxelwise_is_numpys(tmp_path: Path) -> None:
    results, train = make_results(tmp_path)
    learned = learn(results, "voxelwise")
    mask = (train.mean(axis=0) >= 0.1) & (train.std(axis=0) > 0)
    np.testing.assert_array_equal(learned.mask, mask)
    assert not mask[0, 0, 0]
    assert not mask[1, 0, 0]
    assert not mask[:, :, 3].any()
    np.testing.assert_allclose(learned.mean.numpy()[mask], train.mean(axis=0)[mask], rtol=1e-6)
    np.testing.assert_allclose(learned.sd.numpy()[mask], train.std(axis=0)[mask], rtol=1e-6)

    volumes = torch.from_numpy(train.astype(np.float32)).unsqueeze(1)
    standardised = learned.apply(volumes)[:, 0].numpy().astype(np.float64)
    assert standardised.shape == train.shape
    np.testing.assert_allclose(standardised[:, mask].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardised[:, mask].std(axis=0), 1, atol=1e-5)
    assert (standardised[:, ~mask] == 0).all()


def test_global_is_one_mean_and_one_sd_of_the_masked_voxels(tmp_path: Path) -> None:
    results, train = make_results(tmp_path)
    learned = learn(results, "global")
    mask = train.mean(axis=0) >= 0.1
    np.testing.assert_array_equal(learned.mask, mask)
    values = train[:, mask]
    volumes = torch.from_numpy(train.astype(np.float32)).unsqueeze(1)
    expected = np.where(mask, (train - values.mean()) / values.std(), 0)
    np.testing.assert_allclose(learned.apply(volumes)[:, 0].numpy(), expected, atol=1e-5)


def test_it_is_learned_of_arrays() -> None:
    volumes = np.random.default_rng(0).random((5, 3, 4, 2)).astype(np.float32)
    learned = learn_standardisation(volumes, list("abcde"), Settings(mask_threshold=0))
    assert learned.train_scan_ids == ("a", "b", "c", "d", "e")
    np.testing.assert_allclose(learned.mean, volumes.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(learned.sd, volumes.std(axis=0), rtol=1e-5)


def test_in_bfloat16_it_is_rounded_once(tmp_path: Path) -> None:
    results, train = make_results(tmp_path)
    learned, volumes = learn(results, "voxelwise"), torch.from_numpy(train.astype(np.float32)).unsqueeze(1)
    rounded = learned.apply(volumes, dtype=torch.bfloat16)
    torch.testing.assert_close(rounded, learned.apply(volumes).bfloat16(), atol=0, rtol=0)


def test_none_only_masks(tmp_path: Path) -> None:
    results, train = make_results(tmp_path)
    volumes = torch.from_numpy(train.astype(np.float32)).unsqueeze(1)
    expected = np.where(train.mean(axis=0) >= 0.1, train, 0)
    np.testing.assert_allclose(learn(results, "none").apply(volumes)[:, 0].numpy(), expected, rtol=1e-6)


def test_without_threshold_only_constant_voxels_are_masked(tmp_path: Path) -> None:
    results, _ = make_results(tmp_path)
    assert int((~learn(results, "voxelwise", threshold=0).mask).sum()) == 2
    assert bool(learn(results, "global", threshold=0).mask.all())


def test_held_out_scans_change_nothing(tmp_path: Path) -> None:
    one = make_results(tmp_path / "a")[0]
    other = make_results(tmp_path / "b", held_out_offset=0.5)[0]
    first, second = learn(one, "voxelwise"), learn(other, "voxelwise")
    assert first.train_scan_ids == second.train_scan_ids == tuple(TRAIN)
    for name in ("mean", "sd", "mask"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def test_apply_is_differentiable(tmp_path: Path) -> None:
    learned = learn(make_results(tmp_path)[0], "voxelwise")
    volumes = torch.full((2, 1, *SHAPE), 0.5, requires_grad=True)
    learned.to("cpu").apply(volumes).sum().backward()
    assert torch.equal(volumes.grad[0, 0] != 0, learned.mask)


def test_written_beside_says_from_whom(tmp_path: Path) -> None:
    results, _ = make_results(tmp_path)
    learn(results, "voxelwise")
    metadata = json.loads(results.standardisation(0).with_suffix(".json").read_text())
    assert metadata["n"] == 9
    assert metadata["train_scan_ids"] == TRAIN
    assert metadata["settings"] == {"intensity": "voxelwise", "mask_threshold": 0.1}


def test_an_empty_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"standardisation\.mask_threshold"):
        learn(make_results(tmp_path)[0], "voxelwise", threshold=1.5)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    results, _ = make_results(tmp_path)
    with pytest.raises(InputError, match="standardise"):
        Standardisation.load(results, 0)
    learn(results, "voxelwise")
    other, _ = make_results(tmp_path / "other", seed=1)
    learn(other, "voxelwise")
    other.standardisation(0).replace(results.standardisation(0))
    with pytest.raises(InputError, match=r"not that of its \.json"):
        Standardisation.load(results, 0)
