"""The encoders that ``network.name`` may be, and what configuration and texts have to know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.registry import LateEntry, Registry
from sepclr_neuro.core.words import counted, listed

if TYPE_CHECKING:
    from sepclr_neuro.config.network import Network

__all__ = ["ENCODERS", "STRIDED_CHANNELS_IN_WORDS", "Encoder"]

STRIDED_CHANNELS_IN_WORDS = "32, 64, 128, 256 and 512 channels"


@dataclass(frozen=True)
class Encoder(LateEntry):
    """One encoder. Its implementation is called with the section `network`, the shape of the input (channels, then
    voxels a side) and the number of dimensions, and gives a module [B, C, *spatial] -> [B, dim].

    Attributes:
        in_words: what it is, after "The encoder was". By default its title.
        decoder: what mirrors it, called likewise, a module [B, dim] -> [B, C, *spatial]. By default that of `strided`.
        batch_normalised: whether it has BatchNorm, in whose place `network.normalisation: group` puts GroupNorm.
        last_grid: what becomes of it. Only where it is averaged, inputs may have another size.
        least_side: pixels or voxels a side that it needs.
        package: whose version texts state.
        references: what a text that uses it cites.
    """

    in_words: Callable[[Network], str] | None = None
    decoder: str = ""
    batch_normalised: bool = False
    last_grid: Literal["flattened", "averaged", "as `pooling` says"] = "as `pooling` says"
    least_side: int = 0
    package: str = ""
    references: tuple[Reference, ...] = ()

    def describe(self, network: Network) -> str:
        """The encoder with these settings, in words."""
        return self.in_words(network) if self.in_words else self.title

    def takes_any_size(self, network: Network) -> bool:
        """Whether inputs may have another size than it was built for."""
        return self.last_grid == "averaged" or (self.last_grid != "flattened" and network.pooling == "mean")


def _normalised(network: Network) -> str:
    return {"batch": "batch normalisation", "group": "normalised in 8 groups of channels"}[network.normalisation]


def _last_grid(network: Network) -> str:
    return f"whose last grid was {'averaged' if network.pooling == 'mean' else 'flattened'}"


def _left_out(network: Network) -> str:
    return f", {100 * network.dropout:g} % of which each training step left out" if network.dropout else ""


def _linear(network: Network) -> str:
    return f"a linear map of the means of cubes of {network.patch} voxels a side{_left_out(network)}"


def _light(network: Network) -> str:
    return (
        f"a light 3D convolutional network (a stem that cuts cubes of {network.patch} voxels a side, then "
        f"{counted(len(network.channels) - 1, 'convolution')} of stride 2; "
        f"{listed(list(map(str, network.channels)))} channels, normalised in 8 groups), {_last_grid(network)}"
        f"{_left_out(network)}"
    )


def _strided(network: Network) -> str:
    return (
        f"five 3D convolutions of stride 2 ({STRIDED_CHANNELS_IN_WORDS}, {_normalised(network)}), {_last_grid(network)}"
    )


def _widened(network: Network) -> str:
    return f"; {network.widen_factor:g} times its channels" if network.widen_factor != 1 else ""


def _monais(title: str, implementation: str, in_words: str, least_side: int = 0) -> Encoder:
    return Encoder(
        title,
        implementation,
        lambda network: f"{in_words} (MONAI; Cardoso et al., 2022; {_normalised(network)}{_widened(network)})",
        batch_normalised=True,
        last_grid="averaged",
        least_side=least_side,
        package="monai",
        references=(
            Reference(
                "Cardoso MJ, Li W, Brown R, et al.",
                2022,
                "MONAI: an open-source framework for deep learning in healthcare",
                "https://arxiv.org/abs/2211.02701",
            ),
        ),
    )


ENCODERS: Registry[Encoder] = Registry(
    "encoders",
    {
        "linear": Encoder(
            "Linear, of patch means",
            "sepclr_neuro.methods.networks:linear",
            _linear,
            decoder="sepclr_neuro.methods.networks:linear_decoder",
            last_grid="flattened",
        ),
        "light": Encoder(
            "Light convolutions, for CPUs",
            "sepclr_neuro.methods.networks:light",
            _light,
            decoder="sepclr_neuro.methods.networks:light_decoder",
        ),
        "linear-light": Encoder(
            "Linear plus light convolutions",
            "sepclr_neuro.methods.networks:linear_light",
            lambda network: f"the sum of {_linear(network)} and {_light(network)}",
            decoder="sepclr_neuro.methods.networks:light_decoder",
            last_grid="flattened",
        ),
        "strided": Encoder(
            "Five convolutions of stride 2",
            "sepclr_neuro.methods.networks:strided",
            _strided,
            decoder="sepclr_neuro.methods.networks:strided_decoder",
            batch_normalised=True,
            least_side=32,
        ),
        "resnet18": _monais("MONAI's ResNet-18", "sepclr_neuro.methods.networks:resnet", "a 3D ResNet-18"),
        "densenet121": _monais(
            "MONAI's DenseNet-121", "sepclr_neuro.methods.networks:densenet", "a 3D DenseNet-121", least_side=32
        ),
    },
)
