"""Mean, SD and mask of a fold's training scans, and of no others: what a volume is standardised by."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from sepclr_neuro.config import standardisation as settings_of
from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, sha256, write_bytes, write_json
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.splits import read_fold

__all__ = ["Standardisation", "learn_standardisation", "standardised_voxels", "write_standardisation"]

# Half a step of float16 at 1 to 2: a voxel that varies less is, in the cache, a constant with rounding noise.
_LEAST_SD = 5e-4
_PLANES = 4
_SCANS_AT_ONCE = 8


@dataclass(frozen=True)
class Standardisation:
    """Centre, scale and mask of each voxel, from a fold's training scans.

    .. math:: z = m (x - \\mu) / \\sigma

    Attributes:
        mean: float32 [X, Y, Z], 0 outside the mask.
        sd: float32 [X, Y, Z], 1 outside the mask.
        mask: bool [X, Y, Z], the voxels that a network sees.
        train_scan_ids: the scans that it was learned from.
    """

    mean: torch.Tensor
    sd: torch.Tensor
    mask: torch.Tensor
    train_scan_ids: tuple[str, ...]

    @classmethod
    def load(cls, results: Results, fold: int) -> Standardisation:
        """Reads what :func:`write_standardisation` wrote.

        Raises:
            InputError: if a file is missing, or the two do not belong together.
        """
        path = results.standardisation(fold)
        if not path.is_file() or not path.with_suffix(".json").is_file():
            raise InputError(f"{path}: it or its .json is missing; run the stage `standardise` for fold {fold}")
        metadata = read_json(path.with_suffix(".json"))
        if sha256(path) != metadata["sha256"]:
            raise InputError(f"{path}: is damaged or not that of its .json; run the stage `standardise` again")
        try:
            tensors = load_file(path)
            return cls(tensors["mean"], tensors["sd"], tensors["mask"], tuple(metadata["train_scan_ids"]))
        except (KeyError, SafetensorError) as error:
            raise InputError(f"{path}: is no standardisation ({error}); run the stage `standardise` again") from error

    def refuse_learned_from(self, scan_ids: Collection[str]) -> None:
        """Guards every claim about held-out participants.

        Raises:
            InputError: if it was learned from one of the scans.
        """
        seen = sorted(set(scan_ids) & set(self.train_scan_ids))
        if seen:
            raise InputError(
                f"leak: the standardisation was learned from {len(seen)} scans that are to be held out, among them "
                f"{seen[0]}; run the stage `standardise` again"
            )

    def to(self, device: torch.device | str) -> Standardisation:
        """The same on another device."""
        return replace(self, mean=self.mean.to(device), sd=self.sd.to(device), mask=self.mask.to(device))

    def apply(
        self, volumes: torch.Tensor, planes: slice = slice(None), dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """Standardises volumes [B, 1, X, Y, Z], or ``planes`` along their first axis, on this object's device; voxels
        outside the mask become 0. Computed in float32, then rounded to ``dtype``."""
        mean, mask = self.mean[planes], self.mask[planes]
        sd = self.sd[planes].where(mask, math.inf)  # by which 0 is what remains outside the mask
        if volumes.is_cuda:
            return (volumes - mean).div_(sd).to(dtype)
        # A few planes at a time, so that what is computed from them stays in the processor's cache.
        standardised = volumes.new_empty(volumes.shape, dtype=dtype)
        for start in range(0, len(mean), _PLANES):
            some = slice(start, start + _PLANES)
            standardised[:, :, some] = (volumes[:, :, some] - mean[some]).div_(sd[some])
        return standardised


def standardised_voxels(
    cache: VolumeCache, standardisation: Standardisation, scan_ids: Sequence[str], mask: NDArray[np.bool_]
) -> Iterator[NDArray[np.float32]]:
    """Standardised volumes of some scans, a few at a time, as rows of the mask's voxels, together [N, V]."""
    rows = cache.rows(scan_ids)
    for start in range(0, len(rows), _SCANS_AT_ONCE):
        yield standardisation.apply(cache.read(rows[start : start + _SCANS_AT_ONCE]))[:, 0].numpy()[:, mask]


def learn_standardisation(
    volumes: Iterable[NDArray[np.floating]], scan_ids: Sequence[str], settings: settings_of.Standardisation
) -> Standardisation:
    """Mean, SD and mask of some scans, one volume in memory at a time (Welford's update in float64).

    The mask holds voxels whose training mean reaches ``mask_threshold``. ``voxelwise`` centres and scales each by its
    own mean and SD (divisor n); a voxel whose SD is below 5e-4, the rounding of the cache, says nothing and is left
    out of the mask. ``global`` takes one mean and one SD, over all training scans and masked voxels; ``none`` only
    masks.

    Args:
        volumes: [X, Y, Z] each, in the order of the scans.
        scan_ids: of training scans.
        settings: the section ``standardisation``.

    Raises:
        InputError: if the mask would be empty.
    """
    mean, squares = np.zeros(0), np.zeros(0)
    for count, read in enumerate(volumes, start=1):
        volume = read.astype(np.float64)
        if count == 1:
            mean, squares = np.zeros(volume.shape), np.zeros(volume.shape)
        difference = volume - mean
        mean += difference / count
        squares += difference * (volume - mean)
    variance = squares / len(scan_ids)
    mask = mean >= settings.mask_threshold
    if mask.any():
        centre, scale, mask = settings.entry.load()(mean, variance, mask)
    if not mask.any():
        raise InputError(
            f"standardisation.mask_threshold: no voxel varies and has a training mean of {settings.mask_threshold:g} "
            f"or more (highest: {mean.max():.3g}); lower it"
        )
    return Standardisation(
        torch.from_numpy(np.where(mask, centre, 0).astype(np.float32)),
        torch.from_numpy(np.where(mask, scale, 1).astype(np.float32)),
        torch.from_numpy(mask),
        tuple(scan_ids),
    )


_Floats = NDArray[np.float64]
_Centred = tuple[_Floats, _Floats, NDArray[np.bool_]]


def voxelwise(mean: _Floats, variance: _Floats, mask: NDArray[np.bool_]) -> _Centred:
    """Each voxel's own; one that hardly varies leaves the mask."""
    sd = np.sqrt(variance)
    return mean, sd, mask & (sd >= _LEAST_SD)


def one_for_all(mean: _Floats, variance: _Floats, mask: NDArray[np.bool_]) -> _Centred:
    """Of all training scans and masked voxels together."""
    spread = np.sqrt(variance[mask].mean() + mean[mask].var())
    return np.full_like(mean, mean[mask].mean()), np.full_like(mean, spread), mask


def as_it_is(mean: _Floats, variance: _Floats, mask: NDArray[np.bool_]) -> _Centred:
    """Nothing but the mask."""
    return np.zeros_like(mean), np.ones_like(mean), mask


def write_standardisation(config: Config, results: Results, fold: int) -> None:
    """Learns a fold's standardisation from its training scans and writes it.

    Raises:
        InputError: if the mask would be empty.
    """
    scan_ids = read_fold(results.splits, results.index, fold).train
    learned = learn_standardisation(VolumeCache(results).one_by_one(scan_ids), scan_ids, config.standardisation)
    path = results.standardisation(fold)
    write_bytes(path, save({"mean": learned.mean, "sd": learned.sd, "mask": learned.mask}))
    metadata = {
        "fold": fold,
        "n": len(scan_ids),
        "voxels": int(learned.mask.sum()),
        "settings": config.standardisation.model_dump(mode="json"),
        "sha256": sha256(path),
        "train_scan_ids": list(scan_ids),
    }
    write_json(path.with_suffix(".json"), metadata)
