"""The section `digits` of ``config.yaml``: the benchmark of digits on objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.configured import (
    ConfiguredMethod,
    check_name,
    check_parts,
    method_and_settings,
    of_method,
    with_empty_settings,
)
from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.config.messages import validate
from sepclr_neuro.config.methods.base import TwoSpaceSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.section import Fraction, PlainPath, PositiveFraction, Section, ordered
from sepclr_neuro.config.training import Training
from sepclr_neuro.core.errors import nearest

__all__ = ["IMAGE_SIZE", "Digits", "ImageViews", "Images"]

IMAGE_SIZE = 32
"""Pixels a side of an image; smaller digits are padded to it, as released."""


class Images(Section):
    """Images of objects and of digits, which are laid over each other."""

    source: Literal["embedded", "npz", "folder"] = Field(
        "embedded",
        description="`embedded`: scikit-learn's digits over generated textures. `npz`: one file with the arrays "
        "`<set>_train`, `<set>_train_label`, `<set>_test` and `<set>_test_label` of each set of images, values 0 to "
        "255. `folder`: image files and a table `labels.tsv` with the columns `file set side label`, side `train` or "
        "`test`.",
    )
    path: PlainPath | None = Field(None, description="The .npz file, or the folder.")
    objects: str = Field("cifar", description="Name of the set of objects in the file or table; colour, 32 by 32.")
    digits: str = Field("mnist", description="Name of the set of digits; grey, 32 by 32 or less, which is padded.")
    train: int = Field(
        1000, ge=10, description="Training images in each group. Released: 25000. Half of the objects are background."
    )
    test: int = Field(500, ge=10, description="Test images of the target group, which are all that probes look at.")

    @model_validator(mode="after")
    def _a_path_where_one_is_read(self) -> Self:
        if (self.source == "embedded") != (self.path is None):
            raise ValueError(
                "`source: embedded` reads no `path`; remove it"
                if self.path
                else f"`source: {self.source}` needs a `path`"
            )
        return self


class ImageViews(Section):
    """Random changes that make two views of one image. Kinds, ranges and probabilities are the released ones."""

    size: int = Field(24, ge=16, multiple_of=8, description="Side of a view, in pixels. Released: 24.")
    crop_area: Annotated[tuple[PositiveFraction, PositiveFraction], AfterValidator(ordered)] = Field(
        (0.2, 1.0), description="Share of the image that a crop covers; its sides' ratio is 3/4 to 4/3."
    )
    flip_probability: Fraction = Field(0.5, description="Left-right.")
    jitter_probability: Fraction = Field(0.8, description="How often brightness, contrast, saturation and hue change.")
    brightness: Fraction = Field(0.4, description="Largest change, as a share.")
    contrast: Fraction = Field(0.4, description="Largest change, as a share.")
    saturation: Fraction = Field(0.4, description="Largest change, as a share.")
    hue: float = Field(0.1, ge=0, le=0.5, description="Largest change, as a share of the colour circle.")
    greyscale_probability: Fraction = Field(0.2, description="How often the colour is taken away.")


_DIGITS_METHODS: dict[str, dict[str, Any]] = {
    name: {"salient_weight": 1000, "informationless_weight": 1000} for name in ("sepclr-k-jem", "sepclr-no-k-jem")
} | {"sepvae": {"training": {"learning_rate": 1e-3}}}


class Digits(Section):
    """The paper's benchmark of digits on objects; `snakemake digits` runs it."""

    images: Images = Field(Images(), description="The images that are combined.")
    views: ImageViews = Field(
        ImageViews(),
        description="Random changes that make two views of one image. Autoencoders reconstruct images as they are.",
    )
    network: Network = Field(
        Network(patch=2, pooling="mean"), description="The encoder. Released: resnet18 with SimCLR's stem for images."
    )
    training: Training = Field(
        Training(epochs=20, batch_size=128), description="Released: 250 epochs, batches of 512, learning rate 3e-4."
    )
    seeds: int = Field(1, ge=1, description="Repetitions of each method, unless it says otherwise in `more_seeds`.")
    more_seeds: dict[str, Annotated[int, Field(ge=1)]] = Field({}, description="`method: repetitions`.")
    probe_every: int | None = Field(
        None,
        ge=1,
        description="Also probe the spaces after every so many epochs; the figures join the rows of the run's history. "
        "Null: at the end alone.",
    )
    methods: dict[str, dict[str, Any]] = Field(
        _DIGITS_METHODS,
        min_length=1,
        description="Methods to train, with the settings that differ, under names of your own where one stands twice "
        "(`wide: {method: sepclr-k-jem}`). Released for SepCLR: salient_weight 1000, "
        "informationless_weight 1000, independence_weight 10.",
    )

    @field_validator("methods", mode="before")
    @classmethod
    def _bare_names(cls, methods: Any) -> Any:
        return with_empty_settings(methods)

    @field_validator("network", "training", mode="before")
    @classmethod
    def _beside_the_benchmarks_own(cls, given: Any, info: ValidationInfo) -> Any:
        """A key that the user gives leaves the benchmark's other defaults, which differ from those for volumes."""
        if isinstance(given, Mapping):
            return cls.model_fields[str(info.field_name)].default.model_dump() | dict(given)
        return given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in self.methods:
            check_name(name, self.methods[name], self.methods, "digits.methods")
            configured = self.for_method(name)
            settings, network = configured.settings, configured.network
            if settings.columns():
                raise ValueError(f"digits.methods.{name}.attributes: images have none; remove them")
            if getattr(settings, "adjust_for", None):
                raise ValueError(f"digits.methods.{name}.adjust_for: images have no covariates; remove it")
            if "augmentation" in settings.model_fields_set:
                raise ValueError(f"digits.methods.{name}.augmentation: is for volumes; images have `digits.views`")
            if configured.training.nodes > 1:
                raise ValueError(
                    f"digits.methods.{name}: `training.nodes`: images are small, and digits use one node; set it to 1"
                )
            if self.probe_every is not None and configured.training.devices > 1:
                raise ValueError("digits.probe_every: one process probes; set it to null, or `training.devices` to 1")
            encoder = ENCODERS[network.name]
            if settings.augmented and not encoder.takes_any_size(network) and self.views.size != IMAGE_SIZE:
                raise ValueError(
                    f"digits.network.pooling: views have {self.views.size} pixels a side and images {IMAGE_SIZE}; only "
                    "`mean` takes both"
                )
            if settings.augmented and self.views.size < encoder.least_side:
                raise ValueError(
                    f"digits.views.size: `{network.name}` needs {encoder.least_side} pixels; use another network"
                )
        for name in self.more_seeds:
            if name not in self.methods:
                raise ValueError(f"digits.more_seeds.{name}: not in digits.methods.{nearest(name, self.methods)}")
        return self

    def repetitions(self, method: str) -> int:
        """How often a method is trained, from another start each time."""
        return self.more_seeds.get(method, self.seeds)

    def for_method(self, name: str) -> ConfiguredMethod:
        """A method's own settings and the shared sections as they are for it; images have no use for `augmentation`.

        Raises:
            ValueError: if its settings are invalid; the message names the key path.
        """
        method, own = method_and_settings(name, self.methods[name])
        kind = METHODS[method].settings
        published = {"erase": False} if issubclass(kind, TwoSpaceSettings) else {}
        settings = validate(kind, published | own, f"digits.methods.{name}")
        network, training = of_method(self, settings, ("network", "training"), f"digits.methods.{name}")
        check_parts(settings, network, training, f"digits.methods.{name}")
        return ConfiguredMethod(name, method, settings, network, Augmentation(), training, adjust_for=[])
