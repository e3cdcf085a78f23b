"""A recipe that a competent MONAI user would write: CacheDataset, dictionary transforms in loader workers, float32,
contiguous tensors, one forward pass per view. Network (of torch's own layers), transforms and probabilities are those
of this project; only a crop, for which MONAI has no probability, is applied to all views or to none.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import (
    Compose,
    MapTransform,
    RandAffined,
    RandCoarseDropoutd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleCropd,
    Resized,
    Transform,
)
from monai.transforms.traits import RandomizableTrait
from monai.utils import convert_to_tensor
from torch import Tensor, nn
from torch.utils.data import Sampler

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.core.threads import free_cores
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.methods.base import Batch, GradientMethod
from sepclr_neuro.methods.networks import PatchStem

__all__ = ["Standardised", "descend", "loader", "of_usual_layers", "random_transforms"]

KEY = "volume"


class Standardised(MapTransform):
    """A fold's standardisation as a dictionary transform."""

    def __init__(self, standardisation: Standardisation) -> None:
        super().__init__(KEY)
        self.standardisation = standardisation

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, KEY: self.standardisation.apply(data[KEY].float()[None])[0]}


class _TwoViews(Transform, RandomizableTrait):  # random, or CacheDataset would draw the views once and keep them
    def __init__(self, transforms: Compose) -> None:
        self.transforms = transforms

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        first, second = (self.transforms(dict(data))[KEY] for _ in range(2))
        return {"first": first, "second": second, "target": data["target"]}


def random_transforms(settings: Augmentation, side: int) -> Compose:
    """The section `augmentation` in MONAI's terms, in the order of this project: geometry, blur, noise, cutout."""
    degrees, shift = settings.rotation_degrees, settings.translation_share * side
    box = [max(1, round(share * side)) for share in settings.cutout_share]
    radians = torch.deg2rad(torch.tensor(degrees)).item()
    steps: list[Transform] = []
    if settings.crop_probability > 0:
        low, high = settings.crop_scale
        steps += [RandScaleCropd(KEY, low, max_roi_scale=high, random_size=True)]
        steps += [Resized(KEY, [side] * 3, mode="trilinear")]
    steps += [
        RandAffined(
            KEY,
            prob=settings.affine_probability,
            rotate_range=[radians] * 3,
            translate_range=[shift] * 3,
            padding_mode="zeros",
        ),
        RandFlipd(KEY, prob=settings.flip_probability, spatial_axis=0),
        RandGaussianSmoothd(
            KEY,
            prob=settings.blur_probability,
            sigma_x=settings.blur_sigma_voxels,
            sigma_y=settings.blur_sigma_voxels,
            sigma_z=settings.blur_sigma_voxels,
        ),
        RandGaussianNoised(KEY, prob=settings.noise_probability, std=settings.noise_sd),
        RandCoarseDropoutd(
            KEY,
            holes=1,
            prob=settings.cutout_probability,
            spatial_size=[box[0]] * 3,
            max_spatial_size=[box[1]] * 3,
            fill_value=0,
        ),
    ]
    return Compose(steps)


def loader(
    data: Sequence[dict[str, Any]],
    before: Sequence[Transform],
    settings: Augmentation,
    side: int,
    batch_size: int,
    pairs: bool = False,
) -> DataLoader:
    """A loader of batches ``first``, ``second`` and ``target``, with one worker per core.

    Args:
        data: dictionaries with ``volume`` (a path, or [1, X, Y, Z]) and ``target``.
        before: deterministic transforms, whose result is cached.
        pairs: whether each epoch shuffles pairs of ``data`` (a control and a patient), for balanced batches; otherwise
            ``data`` is not shuffled.
    """
    whole = Compose([*before, _TwoViews(random_transforms(settings, side))])
    workers = free_cores()
    dataset = CacheDataset(data, whole, cache_rate=1.0, num_workers=workers, progress=False)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=_Pairs(len(data)) if pairs else None,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
    )


class _Pairs(Sampler[int]):
    def __init__(self, size: int) -> None:
        self.size = size // 2 * 2

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        for pair in torch.randperm(self.size // 2).tolist():
            yield from (2 * pair, 2 * pair + 1)


def of_usual_layers(method: GradientMethod) -> GradientMethod:
    """Changes the 3D networks of a method to nn.Conv3d and nn.GroupNorm with the same weights, contiguous."""
    for module in list(method.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, PatchStem):
                setattr(module, name, _as_convolution(layer))
            elif isinstance(layer, nn.GroupNorm):
                usual = nn.GroupNorm(layer.num_groups, layer.num_channels, layer.eps)
                usual.load_state_dict(layer.state_dict())
                setattr(module, name, usual)
    return method.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _as_convolution(stem: PatchStem) -> nn.Conv3d:
    weight = stem.weight.detach().unflatten(1, (-1, *[stem.side] * 3))
    convolution = nn.Conv3d(weight.shape[1], weight.shape[0], stem.side, stride=stem.side)
    convolution.load_state_dict({"weight": weight, "bias": stem.bias.detach()})
    return convolution


def descend(method: GradientMethod, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor]) -> Tensor:
    """A step in float32 with one forward pass per view; returns its loss."""
    views = (convert_to_tensor(batch[name], track_meta=False) for name in ("first", "second"))
    given = Batch(torch.empty(0), batch["target"].bool())
    codes = [method.represent(view) for view in views]
    rows = {space: torch.stack([of_view[space] for of_view in codes], dim=1) for space in codes[0]}
    loss = method.losses(method.heads(rows, given), given)["loss"]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
