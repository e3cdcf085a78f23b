"""Precision in which networks compute: bfloat16 where the hardware supports it and its results are right."""

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
    """Lightning's name of the precision; ``auto`` is bfloat16 where the processor or GPU supports it natively."""
    cuda = torch.cuda.is_available()
    native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_computes_bfloat16()
    if training.precision == "bfloat16" or (training.precision == "auto" and native):
        return "bf16-mixed"
    return "32-true"


def _cpu_computes_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@contextlib.contextmanager
def small_convolutions_in_float32(module: nn.Module) -> Iterator[None]:
    """A context in which 3D convolutions of volumes that are thinner than the kernel compute in float32 on a CPU.

    In bfloat16 oneDNN 3.12, which torch 2.13 uses, reads uninitialised memory for the gradient of their weights: it is
    sometimes wrong or not finite, and the process may end with "corrupted size". The last stage of a ResNet-18 at 64³
    voxels has such volumes.
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
    # For a transposed convolution it is the output whose size matters to the gradient of the weights.
    thickness = volume.shape[2] * (part.stride[0] if isinstance(part, nn.ConvTranspose3d) else 1)
    if volume.device.type != "cpu" or thickness >= part.kernel_size[0]:
        return forward(volume, **options)
    with torch.autocast("cpu", enabled=False):
        return forward(volume.float(), **options)
