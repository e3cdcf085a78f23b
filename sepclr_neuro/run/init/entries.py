"""Settings with the reasons for their values, as a tree, and the YAML text of such a tree."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sepclr_neuro.config.model import OPEN

__all__ = ["Entry", "Tree", "is_open", "scalar", "setting", "shown", "walk", "yaml_of"]

_WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z_/][\w/.+ -]*[\w/+-]|[A-Za-z_]")
_NOT_TEXT = {"true", "false", "null", "~", "yes", "no", "on", "off"}

Scalar = str | int | float | None


@dataclass(frozen=True)
class Entry:
    """A value of the configuration and the comment above it.

    Attributes:
        value: text, a number, a list of them, or entries by key, or a list of such. :data:`OPEN` is an open choice.
        why: what it was made from, or what there is to choose from.
        guessed: whether it may be wrong.
        others: lines that the user may write instead, without their comment sign.
    """

    value: Scalar | Sequence[Scalar] | Tree | Sequence[Tree]
    why: str = ""
    guessed: bool = False
    others: tuple[str, ...] = ()


Tree = Mapping[str, Entry]


def is_open(entry: Entry) -> bool:
    """Whether the user has to choose."""
    return entry.value == OPEN or (isinstance(entry.value, list) and OPEN in entry.value)


def walk(tree: Tree, path: str = "") -> Iterator[tuple[str, Entry]]:
    """All entries with their key paths."""
    for key, entry in tree.items():
        name = f"{path}.{key}".lstrip(".")
        yield name, entry
        if isinstance(entry.value, Mapping):
            yield from walk(entry.value, name)
        elif isinstance(entry.value, list):
            for number, inner in enumerate(entry.value):
                if isinstance(inner, Mapping):
                    yield from walk(inner, f"{name}.{number}")


def yaml_of(tree: Tree, indent: int = 0) -> list[str]:
    """The lines of a tree.

    >>> yaml_of({"site": Entry("a: b", "guessed from the name"), "target": Entry(["x", "1"], others=("target: [y]",))})
    ['# Guessed from the name', "site: 'a: b'", "target: [x, '1']", '# target: [y]']
    """
    lines: list[str] = []
    for key, entry in tree.items():
        sentence = shown(entry.why[:1].upper() + entry.why[1:])
        lines += [f"# {line}" for line in textwrap.wrap(sentence, _WIDTH - indent - 2)]
        lines += setting(scalar(key), entry.value, indent)
        lines += [f"# {shown(other)}" for other in entry.others]
    return lines


def setting(key: str, value: object, indent: int = 0) -> list[str]:
    """The lines of one key, the first of them with its value unless that has keys of its own."""
    if isinstance(value, Mapping) and value:
        return [f"{key}:", *(f"  {line}" for line in yaml_of(value, indent + 2))]
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        lines = [f"{key}:"]
        for inner in value:
            first, *rest = yaml_of(inner, indent + 4)
            lines += [f"  - {first}", *(f"    {line}" for line in rest)]
        return lines
    if isinstance(value, list):
        return [f"{key}: [{', '.join(map(scalar, value))}]"]
    return [f"{key}: {scalar(value)}"]


def scalar(value: object) -> str:
    """A value as YAML and JSON have it; text in quotes where it could be taken for something else.

    >>> [scalar(value) for value in ("Prague", "1", "no", "{id}.nii", "a # b", 1.5)]
    ['Prague', "'1'", "'no'", "'{id}.nii'", "'a # b'", '1.5']
    """
    if isinstance(value, str):
        bare = value.isascii() and _PLAIN.fullmatch(value) and value.casefold() not in _NOT_TEXT
        if bare:
            return value
        return "'" + value.replace("'", "''") + "'" if value.isprintable() else json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def shown(text: str) -> str:
    """Text on one line: what a table or a file's name holds may not end a comment or steer a terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
