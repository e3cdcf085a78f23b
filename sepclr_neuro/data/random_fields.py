"""Smooth random volumes: individual anatomy, the bias of a site, a texture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["RandomField"]


class RandomField:
    """Gaussian random fields of mean 0: sums of independent ones, each with its own smoothness and SD."""

    def __init__(self, shape: tuple[int, int, int], voxel_mm: float, scales: Sequence[tuple[float, float]]) -> None:
        power = np.zeros((shape[0], shape[1], shape[2] // 2 + 1))
        for fwhm, sd in scales:
            sigma = fwhm / math.sqrt(8 * math.log(2)) / voxel_mm
            full = [np.exp(-((2 * math.pi * sigma * fft.fftfreq(size)) ** 2)) for size in shape]
            x, y, z = full
            # Divided by its mean, so that the variance of the field is sd squared at any voxel size.
            share = sd**2 / np.prod([axis.mean() for axis in full])
            power += share * x[:, None, None] * y[None, :, None] * z[None, None, : power.shape[2]]
        self._shape = shape
        self._amplitude = np.sqrt(power).astype(np.float32)

    def draw(self, random: np.random.Generator) -> NDArray[np.float32]:
        """One field, [X, Y, Z]."""
        noise = random.standard_normal(self._shape, np.float32)
        return fft.irfftn(fft.rfftn(noise) * self._amplitude, self._shape)
