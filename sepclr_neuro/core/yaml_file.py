"""A YAML file as its author meant it: text as it is written, no guesses, and mistakes named with their line.

PyYAML follows YAML 1.1, which takes `no`, `on`, `08:30` and `2024-01-02` for something else than text and `1e-4` for
text. Here, as in YAML 1.2, only `true`, `false`, `null` and numbers are more than text; and a number remembers how it
was written, so that where text is expected `01` stays "01".

Free of torch and pydantic on purpose: every command reads a file at its start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from sepclr_neuro.core.errors import InputError, taken_from

__all__ = ["YamlFile", "read_yaml"]


class _Number:
    """A number that is written in another way than Python would."""

    written: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)  # type: ignore[call-arg]  # int or float, by what it is mixed into
        number.written = text
        return number

    def __str__(self) -> str:
        return self.written


class _Int(_Number, int):
    pass


class _Float(_Number, float):
    pass


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's few types, for which a key given twice is an error."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Looked at as written: what a merge key (`<<: *other`) brings in later may be overridden.
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                raise yaml.YAMLError(
                    f"line {line}: the key {key.value!r} is given twice, first in line {first[key.value]}; remove one"
                )
            first[key.value] = line
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"  # a key is text, also `1`, `no` or `null`
        return super().construct_mapping(node, deep)

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        return int(node.value) if str(int(node.value)) == node.value else _Int(node.value)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        return float(node.value) if str(float(node.value)) == node.value else _Float(node.value)


for _tag, _pattern, _starts in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", "[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_starts))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


class YamlFile:
    """The content of a file, with its lines.

    Attributes:
        content: mappings, lists, text, numbers, true, false and None.
    """

    def __init__(self, text: str) -> None:
        loader = _Loader(text)
        try:
            self._root = loader.get_single_node()
            self.content = None if self._root is None else loader.construct_document(self._root)
        finally:
            loader.dispose()

    def line(self, path: Sequence[str]) -> int | None:
        """The line, from 1, of the innermost key of ``path`` that the file has; None if it has none of them."""
        node, found = self._root, None
        for part in path:
            if isinstance(node, yaml.MappingNode):
                inner = [(key, value) for key, value in node.value if key.value == part]
            elif isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
                inner = [(node.value[int(part)],) * 2]
            else:
                inner = []
            if not inner:
                break
            found, node = inner[0][0].start_mark.line + 1, inner[0][1]
        return found


def read_yaml(path: Path) -> YamlFile:
    """Reads one file (YAML; JSON is YAML too).

    Raises:
        InputError: if it cannot be read or is no YAML; the message names the line and says what to write instead.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}){taken_from(path)}; give the path of a config.yaml"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not valid YAML: {error}; save it as UTF-8") from error
    try:
        return YamlFile(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: is not valid YAML: {_explained(error, text)}") from error


# The value of a line begins with a character that means something to YAML.
_SPECIAL_START = re.compile(r"""(?:^\s*-|:)\s+([{\[*&!@`%|>"'?,].*)$""")
# It begins with such a character and is closed, so that nothing is wrong with it.
_CLOSED = re.compile(r""":\s+(\[[^\[\]]*\]|{[^{}]*}|'[^']*'|"[^"]*")\s*(#.*)?$""")
_QUOTE = "put the whole value into single quotes, as in 'text'"


def _explained(error: Exception, text: str) -> str:
    """The line, what YAML made of it and how to write it; without a line, what the parser says."""
    said = " ".join(str(error).split())
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return said
    problem, lines = error.problem or "", text.splitlines() or [""]
    number = min(error.problem_mark.line, len(lines) - 1)
    if problem == "could not find expected ':'" and error.context_mark is not None:
        number = error.context_mark.line  # where the key begins, not where the parser gave up
    above = max((row for row in range(number) if lines[row].strip()), default=number)
    no_space = next((row for row in (number, above) if re.match(r"\s*(- )?[\w-]+:[^\s/\\]", lines[row])), None)
    special = next((row for row in (number, above) if _SPECIAL_START.search(lines[row])), None)
    if "\t" in lines[number] and ("\\t" in problem or re.match(r" *\t", lines[number])):
        advice = "it holds a tab, and YAML takes spaces alone; replace the tab by spaces"
    elif "escape" in problem:
        advice = r"in double quotes a backslash begins a code such as \n; " + _QUOTE
    elif no_space is not None and problem in ("could not find expected ':'", "mapping values are not allowed here"):
        number, advice = no_space, "between the colon of a key and its value stands a space"
    elif problem.startswith(("expected <block end>", "mapping values")) and _CLOSED.search(lines[number]):
        advice = "it has another indent than the other lines of its section"
    elif special is not None:
        number, start = special, _start(lines[special])
        closed = "; else see that it is closed" if start in "[{'\"" else ""
        advice = f"a value that begins with {start} is more than text to YAML; if text is meant, {_QUOTE}{closed}"
    elif problem == "mapping values are not allowed here":
        advice = f"it has a second colon, or another indent than the line above; text with a colon: {_QUOTE}"
    elif problem == "could not find expected ':'":
        advice = "a key is followed by a colon and a space, and so is each line of a section"
    else:
        return said
    return f"line {number + 1}, `{lines[number].strip()}`: {advice} ({problem})"


def _start(line: str) -> str:
    found = _SPECIAL_START.search(line)
    return found[1][0] if found else ""
