"""The section `methods` of ``config.yaml``: names, and the shared sections as they are for one method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.config.messages import validate
from sepclr_neuro.config.methods.base import MethodSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS, MethodEntry
from sepclr_neuro.config.section import NAME, Section
from sepclr_neuro.config.training import Training
from sepclr_neuro.core.errors import nearest
from sepclr_neuro.core.registry import PACKAGE

__all__ = [
    "ConfiguredMethod",
    "check_method",
    "check_name",
    "check_parts",
    "method_and_settings",
    "of_method",
    "with_empty_settings",
]


@dataclass(frozen=True)
class ConfiguredMethod:
    """A method of a run, with its own settings and the shared sections as they are for it.

    Attributes:
        name: its key in `methods`, which names folders and rows of tables.
        method: its name in the registry, which is the same unless the user chose a name.
    """

    name: str
    method: str
    settings: MethodSettings
    network: Network
    augmentation: Augmentation
    training: Training
    adjust_for: list[str] | None

    @property
    def adjusts(self) -> bool:
        """Whether it has a salient space that can be adjusted for covariates."""
        return hasattr(self.settings, "adjust_for")

    @property
    def adjusted(self) -> bool:
        """Whether this space is adjusted: for the default covariates, or for those that are named."""
        return self.adjusts and self.adjust_for != []

    @property
    def entry(self) -> MethodEntry:
        return METHODS[self.method]

    @property
    def packages(self) -> list[str]:
        """Other packages than this one that method or encoder come from."""
        found = {METHODS.sources()[self.method].package}
        if self.settings.trained:
            found.add(ENCODERS.sources()[self.network.name].package)
        return sorted(found - {PACKAGE})

    @property
    def title(self) -> str:
        """How tables and figures call it: by the user's name, where there is one."""
        return self.entry.title if self.name == self.method else self.name

    @property
    def as_named(self) -> dict[str, str]:
        """The keys that say in `methods` which method it is."""
        return {} if self.name == self.method else {"method": self.method}


def with_empty_settings(methods: Any) -> Any:
    """A method without settings is `name:` in YAML, which reads as None."""
    if isinstance(methods, Mapping):
        return {name: {} if settings is None else settings for name, settings in methods.items()}
    return methods


# Tables of site leakage have rows of these names beside those of methods.
_TAKEN = ("voxels", "site")


def check_method(name: str, path: str) -> None:
    """Refuses a name that is no method's."""
    if name not in METHODS:
        raise ValueError(f"{path}.{name}: no such method.{nearest(name, METHODS)}")


def check_name(name: str, settings: Mapping[str, Any], names: Iterable[str], path: str = "methods") -> None:
    """A name of a section of methods is a method's, or one of the user's own that says which method it is."""
    if name not in METHODS:
        if "method" not in settings:
            raise ValueError(
                f"{path}.{name}: no such method.{nearest(name, METHODS)} Under a name of your own, say which one it "
                f"is: `{name}: {{method: sepclr-k-jem}}`"
            )
        if not re.fullmatch(NAME, name):
            raise ValueError(
                f"{path}.{name}: folders get this name, which is to begin with a letter and hold letters, digits, `_` "
                "and `-` alone; choose another"
            )
        if name in _TAKEN:
            raise ValueError(f"{path}.{name}: tables use this name for something else; choose another")
    method = settings.get("method", name)
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"{path}.{name}.method: no such method, {method!r}.{nearest(str(method), METHODS)}")
    if name in METHODS and method != name:
        raise ValueError(
            f"{path}.{name}.method: {name} is the name of another method; give {method} a name of your own"
        )
    for other in names:
        if other != name and other.lower() == name.lower():
            raise ValueError(f"{path}.{name}: differs from {other} in capitals alone, and so would their folders")


def method_and_settings(name: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which method stands under a name, and its settings without the key that says so."""
    return settings.get("method", name), {key: value for key, value in settings.items() if key != "method"}


def of_method(shared: Section, settings: MethodSettings, keys: Sequence[str], path: str) -> list[Any]:
    """Sections that all methods share, as they are for one."""
    sections = []
    for key in keys:
        section = getattr(shared, key)
        changed = section.model_dump() | getattr(settings, key, {})
        sections.append(validate(type(section), changed, f"{path}.{key}"))
    return sections


def check_parts(settings: MethodSettings, network: Network, training: Training, path: str) -> None:
    """Refuses a network that looks at the whole batch where it would see parts of it."""
    if settings.trained and training.in_parts and network.looks_at_the_batch:
        raise ValueError(
            f"{path}: `network.name: {network.name}` normalises over the participants in memory, who are not the whole "
            "batch with this `training.people_in_memory` or with several processes; set `network.normalisation: group`"
        )
