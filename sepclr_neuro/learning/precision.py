"""In how many digits networks compute: bfloat16 where the machine computes it itself and computes it right."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sepclr_neuro.config.training import Training

__all__ = ["precision_of", "small_convolutions_in_float32"]


def precision_of(training: Training) -> Literal["bf16-mixed", "32-true"]:
    """As Lightning names it. ``auto`` is bfloat16 where a processor or GPU does not only emulate it."""
    cuda = torch.cuda.is_available()
    native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_computes_bfloat16()
    if training.precision == "bfloat16" or (training.precision == "auto" and native):
        return "bf16-mixed"
    return "32-true"


def _cpu_computes_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@contextlib.contextmanager
def small_convolutions_in_float32(module: nn.Module) -> Iterator[None]:
    """While it lasts, 3D convolutions of a volume that is thinner than their kernel compute in float32 on a CPU.

    In bfloat16 oneDNN 3.12, of torch 2.13, takes the gradient of their weights from memory that nothing has written: it
    is sometimes not finite, or wrong, and the process may end with "corrupted size". The last stage of a ResNet-18 at
    64 voxels a side is such a volume.
    """
    convolutions = [part for part in module.modules() if isinstance(part, (nn.Conv3d, nn.ConvTranspose3d))]
    for part in convolutions:
        part.forward = partial(_forward, part, part.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for part in convolutions:
            del part.forward


def _forward(
    part: nn.Conv3d | nn.ConvTranspose3d, forward: Callable[..., Tensor], volume: Tensor, **options: Any
) -> Tensor:
    # What a transposed convolution writes is what the gradient of its weights reads.
    thickness = volume.shape[2] * (part.stride[0] if isinstance(part, nn.ConvTranspose3d) else 1)
    if volume.device.type != "cpu" or thickness >= part.kernel_size[0]:
        return forward(volume, **options)
    with torch.autocast("cpu", enabled=False):
        return forward(volume.float(), **options)
