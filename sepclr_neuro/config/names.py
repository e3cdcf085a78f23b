"""A value that names something of a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler

from sepclr_neuro.core.errors import nearest
from sepclr_neuro.core.registry import E, Registry

__all__ = ["NameOf"]


def _any(entry: Any) -> bool:
    return True


@dataclass(frozen=True)
class NameOf(Generic[E]):
    """Makes of a text the name of an entry, as in ``Annotated[str, NameOf(ENCODERS)]``.

    Attributes:
        registry: whose names are allowed; what is wrong with others is said with what there is.
        suits: whether an entry may be named here.
        unless: why an entry that does not suit may not be named.
    """

    registry: Registry[E]
    suits: Callable[[E], bool] = _any
    unless: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return AfterValidator(self._known).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # What is installed where the schema is made; the file in the repository has the built-in names.
        return handler(schema) | {"enum": self._names()}

    def _names(self) -> list[str]:
        return [name for name in self.registry if self.suits is _any or self.suits(self.registry[name])]

    def _known(self, name: str) -> str:
        # Names of this package first: they need no look at other packages, and defaults are checked at every import.
        if name not in self.registry.built_in and name not in self.registry:
            raise ValueError(f"no such {self.registry.one}, {name!r}.{nearest(name, self._names(), listed=True)}")
        if self.suits is not _any and not self.suits(self.registry[name]):
            raise ValueError(f"{name!r} {self.unless}.{nearest('', self._names(), listed=True)}")
        return name
