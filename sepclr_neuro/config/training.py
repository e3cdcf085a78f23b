"""The section `training` of ``config.yaml``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Self

from pydantic import Field, model_validator

from sepclr_neuro.config.section import Section

__all__ = ["TENSORBOARD", "Training"]

TENSORBOARD = "SEPCLR_NEURO_TENSORBOARD"
"""The environment variable by which a run tells its trainings to write for TensorBoard."""


class Training(Section):
    """One loop for all methods that have one."""

    epochs: int = Field(100, ge=1, description="Passes over the larger group; the smaller one is repeated.")
    batch_size: int = Field(
        16,
        ge=4,
        description="Participants whom the losses see together, half background and half target, none twice; at most "
        "twice the smaller training group, with a message where that is less.",
    )
    people_in_memory: int | None = Field(
        None,
        ge=2,
        multiple_of=2,
        description="How many of a batch's participants are in the networks at once, half of each group: memory is "
        "that of so many, gradients are those of the whole batch (gradient caching), and time about a half more. Null: "
        "all.",
    )
    devices: int = Field(
        1,
        ge=1,
        description="Processes that share each batch, one a GPU, or all on the processor. Each has `people_in_memory` "
        "in its networks; the losses see the participants of all.",
    )
    nodes: int = Field(
        1,
        ge=1,
        description="Nodes of a SLURM cluster, with `devices` processes on each. The digits and the benchmark of "
        "separation use one.",
    )
    learning_rate: float = Field(3e-4, gt=0, description="Adam. Released SepCLR: 3e-4.")
    weight_decay: float = Field(0.0, ge=0, description="Released SepCLR: none.")
    schedule: Literal["constant", "cosine"] = Field("constant", description="Released SepCLR: constant.")
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of the gradient. Null: no clipping, as released."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="`auto`: bfloat16 where the processor or GPU computes it natively. Losses are float32."
    )
    validation_fraction: float = Field(
        0.0, ge=0, lt=0.5, description="Share of the *training* participants kept for validation of the loss."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after so many epochs without a lower validation loss. Null: all epochs."
    )
    # In no run file and no fingerprint: who only wants to look trains nothing anew.
    tensorboard: bool = Field(
        False,
        exclude=True,
        description="Also write each epoch's losses for TensorBoard, below `<output>/checkpoints`; needs the extra "
        "`tensorboard`. Of the whole run, not of a method. Trains nothing anew.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.batch_size % 2:
            raise ValueError(f"`batch_size` must be even (half background, half target), got {self.batch_size}")
        if self.processes > self.batch_size // 2:
            raise ValueError(
                f"`devices` times `nodes`: {self.processes} processes share {self.batch_size // 2} pairs of "
                "participants; lower one of them"
            )
        if self.tensorboard and find_spec("tensorboard") is None:
            raise ValueError(
                "`tensorboard` needs the package tensorboard, which is not installed here; run `pip install "
                "'sepclr_neuro[tensorboard]'`, or set it to false"
            )
        if self.patience is not None and self.validation_fraction == 0:
            raise ValueError("`patience` watches the validation loss: set `validation_fraction` above 0")
        return self

    @property
    def processes(self) -> int:
        """On all nodes."""
        return self.devices * self.nodes

    @property
    def in_parts(self) -> bool:
        """Whether no network sees a batch as a whole."""
        return self.processes > 1 or (self.people_in_memory or self.batch_size) < self.batch_size
