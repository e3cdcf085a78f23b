"""Registries of names for the configuration: entries of this package, and those of other packages.

A package adds an entry by an entry point, in its pyproject.toml::

    [project.entry-points."sepclr_neuro.encoders"]
    blurred = "my_package:BLURRED"

Nothing is imported before its name is looked up, so that a configuration can be read without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import EntryPoint, distributions
from typing import Any, Generic, TypeVar

from sepclr_neuro.core.errors import InputError

__all__ = ["PACKAGE", "Entry", "LateEntry", "Registry", "Source", "installed", "load"]

PACKAGE = "sepclr_neuro"


@dataclass(frozen=True)
class Entry:
    """An entry of a registry.

    Attributes:
        title: how participants call it.
    """

    title: str


@dataclass(frozen=True)
class LateEntry(Entry):
    """An entry whose implementation is imported, and torch with it, when it is needed.

    Attributes:
        implementation: ``module:name`` of a function or class.
        options: keyword arguments of it that set this entry apart from others with the same implementation.
    """

    implementation: str
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def load(self) -> Callable[..., Any]:
        """Imports the implementation."""
        return partial(load(self.implementation), **self.options)


E = TypeVar("E", bound=Entry)


@dataclass(frozen=True)
class Source(Generic[E]):
    """The origin of an entry.

    Attributes:
        package: the distribution that offers it.
        load: imports it.
    """

    package: str
    load: Callable[[], E]


class Registry(Mapping[str, E]):
    """The entries of one kind, by name: the built-in ones in their order, then those of other packages.

    Args:
        kind: plural; other packages add to the group ``sepclr_neuro.<kind>``.
        built_in: an entry, or ``module:name`` of one, by name.

    >>> colours = Registry("colours", {"red": Entry("Red")})
    >>> list(colours), colours["red"].title, "blue" in colours
    (['red'], 'Red', False)
    """

    def __init__(self, kind: str, built_in: Mapping[str, E | str]) -> None:
        self.kind, self.built_in = kind, dict(built_in)

    @property
    def one(self) -> str:
        """The noun for one entry."""
        return self.kind.removesuffix("s")

    def sources(self) -> dict[str, Source[E]]:
        """The origin of each entry, by name; imports none.

        Raises:
            InputError: if two packages define a name.
        """
        return self.joined([*self._own(), *self._of_others()])

    def joined(self, found: Iterable[tuple[str, Source[E]]]) -> dict[str, Source[E]]:
        """By name; refuses a name that is there twice."""
        sources: dict[str, Source[E]] = {}
        for name, source in found:
            if name in sources:
                raise InputError(
                    f"two packages define the {self.one} {name!r}: {sources[name].package} and {source.package} "
                    f"(entry points of {PACKAGE}.{self.kind}); rename it in one of them, or uninstall one"
                )
            sources[name] = source
        return sources

    def _own(self) -> Iterator[tuple[str, Source[E]]]:
        for name, entry in self.built_in.items():
            yield name, Source(PACKAGE, partial(load, entry) if isinstance(entry, str) else partial(_same, entry))

    def _of_others(self) -> Iterator[tuple[str, Source[E]]]:
        for point in installed().get(f"{PACKAGE}.{self.kind}", ()):
            yield point.name, Source(_package(point), partial(self._load, point))

    def _load(self, point: EntryPoint) -> E:
        what = f"the {self.one} {point.name!r} of the package {_package(point)} (entry point {point.value})"
        try:
            entry = point.load()
        except Exception as error:  # whatever another package raises while it is imported
            raise InputError(
                f"{what} cannot be loaded: {type(error).__name__}: {error}; update or uninstall that package"
            ) from error
        if not isinstance(entry, Entry):
            raise InputError(f"{what} is no entry but a {type(entry).__name__}; docs/adding_a_method.md shows one")
        return entry  # type: ignore[return-value]

    def lines(self, indent: str = "") -> list[str]:
        """One an entry: its name, its title, the package that it comes from."""
        rows = [(name, source.load().title, source.package) for name, source in self.sources().items()]
        name, title = (max(len(row[column]) for row in rows) for column in (0, 1))
        return [f"{indent}{row[0]:{name}}  {row[1]:{title}}  {row[2]}" for row in rows]

    def __getitem__(self, name: str) -> E:
        return self.sources()[name].load()

    def __contains__(self, name: object) -> bool:
        return name in self.sources()

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources())

    def __len__(self) -> int:
        return len(self.sources())


@cache
def installed() -> dict[str, list[EntryPoint]]:
    """The entry points of all packages for this one, by group. Looked for once: it takes some 20 ms."""
    groups: dict[str, list[EntryPoint]] = {}
    packages: set[str] = set()
    for found in distributions():
        points = [point for point in found.entry_points if point.group.startswith(f"{PACKAGE}.")]
        if points and found.name not in packages:  # of a package that is there twice, Python imports the first
            packages.add(found.name)
            for point in points:
                groups.setdefault(point.group, []).append(point)
    return groups


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def load(reference: str) -> Any:
    """The object at ``module:name``, imported."""
    return EntryPoint("", reference, "").load()


def _same(entry: Any) -> Any:
    return entry
