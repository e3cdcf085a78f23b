"""The section `network` of ``config.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.config.names import NameOf
from sepclr_neuro.config.section import Fraction, Section

__all__ = ["Network"]


class Network(Section):
    """The encoder; a method with two spaces has two of it."""

    name: Annotated[str, NameOf(ENCODERS)] = Field(
        "light",
        description="`linear`, of patch means, for small cohorts; `light`, convolutions for CPUs; `linear-light`, the "
        "sum of both; for GPUs `resnet18` and `densenet121`, which are MONAI's, and `strided`, five stride-2 "
        "convolutions as in other VBM code of SepCLR's authors. A decoder mirrors `linear`, `light` or `strided`.",
    )
    dropout: Fraction = Field(
        0.0, description="`linear` and `light`: share of the last grid that a training step leaves out. As released: 0."
    )
    channels: list[Annotated[int, Field(ge=8, multiple_of=8)]] = Field(
        [32, 64, 128, 256],
        min_length=2,
        description="`light` only: channels after the patch stem and each stage, normalised in 8 groups.",
    )
    patch: Literal[2, 4, 8] = Field(
        4,
        description="`linear` and `light`: side of the patches that are averaged, or that the stem cuts. 4, our "
        "choice: 2 sees finer, for images.",
    )
    widen_factor: float = Field(
        1.0,
        gt=0,
        description="`resnet18` only: its 64, 128, 256 and 512 channels times this; MONAI's name. 1, as published; 0.5 "
        "takes a fourth of the time.",
    )
    pooling: Literal["none", "mean"] = Field(
        "none",
        description="`light` and `strided`: what becomes of the last grid. `none` flattens it, since in registered "
        "brains it matters where something is; `mean` suits images and takes any size. MONAI's encoders take means.",
    )
    normalisation: Literal["batch", "group"] = Field(
        "batch",
        description="Of `strided`, `resnet18` and `densenet121`: `batch`, as published, or `group`, 8 groups of "
        "channels of each scan by itself, without which no batch can be larger than memory "
        "(`training.people_in_memory`, `training.devices`, `training.nodes`). `light` always has groups, `linear` "
        "needs none.",
    )

    @model_validator(mode="after")
    def _possible_width(self) -> Self:
        if self.widen_factor != 1 and self.name != "resnet18":
            raise ValueError(f"`widen_factor` is of `resnet18` alone, not of `{self.name}`; remove it")
        if self.widen_factor * 64 % 8:
            raise ValueError(
                f"`widen_factor` {self.widen_factor:g} makes {self.widen_factor * 64:g} of 64 channels, which are to "
                "be a multiple of 8; take a multiple of 0.125"
            )
        return self

    @property
    def looks_at_the_batch(self) -> bool:
        """Whether what it makes of a scan depends on the others in memory."""
        return ENCODERS[self.name].batch_normalised and self.normalisation == "batch"
