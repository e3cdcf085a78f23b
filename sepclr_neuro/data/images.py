"""NIfTI images of arrays, as files and as nilearn takes them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from sepclr_neuro.data.grid import Affine

__all__ = ["as_image", "quick_images"]


def as_image(array: NDArray[Any], affine: Affine) -> nibabel.Nifti1Image:
    """A float32 NIfTI image of an array [X, Y, Z] whose affine leads to MNI mm (qform and sform code 4)."""
    image = nibabel.Nifti1Image(np.asarray(array, dtype=np.float32), affine)
    image.set_qform(affine, code="mni")
    image.set_sform(affine, code="mni")
    image.header.set_xyzt_units("mm")
    return image


@contextmanager
def quick_images() -> Iterator[None]:
    """Lets nilearn work at once: it collects garbage at each access to an image, which looks at all that exists.

    What exists when it starts is left out of that. Not to be nested, since the inner end would end the outer one too.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
