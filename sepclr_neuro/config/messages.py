"""Errors of a configuration, in sentences that name the key, the value found and the value expected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sepclr_neuro.config.section import Section, WrongKeyError
from sepclr_neuro.core.errors import nearest

__all__ = ["explain", "validate"]


def _node(model: type[Section], location: Sequence[Any]) -> dict[str, Any]:
    """What the schema of ``model`` says of the value at ``location``, a path within it; empty where it says nothing."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        for choice in (node, *node.get("anyOf", [])):
            if "$ref" in choice:
                return node | definitions[choice["$ref"].rsplit("/", 1)[1]]
        return node

    node = resolve(schema)
    for part in location:
        if isinstance(part, int):
            lists = [choice for choice in (node, *node.get("anyOf", [])) if "items" in choice]
            node = lists[0]["items"] if lists else {}
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = resolve(node) if isinstance(node, dict) else {}
    return node


def explain(error: ValidationError, model: type[Section], prefix: str = "") -> list[str]:
    """One sentence a problem: the key path, what was found, what is expected."""
    sentences = []
    for item in error.errors():
        location, problem = item["loc"], item["type"]
        said = item["ctx"]["error"] if problem == "value_error" else None
        below = [said.key] if isinstance(said, WrongKeyError) else []
        path = ".".join([part for part in (prefix, *map(str, location)) if part] + below) or "the configuration"
        if problem == "extra_forbidden":
            known = list(_node(model, location[:-1]).get("properties", {}))
            sentences.append(f"{path}: unknown key.{nearest(str(location[-1]), known)}")
        elif said is not None:
            sentences.append(str(said) if not location and not below else f"{path}: {said}")
        elif problem == "missing" and not isinstance(location[-1], int):
            sentences.append(f"{path}: is missing, and has no default; add it")
        else:
            found = json.dumps(item["input"], default=str)
            found = found if len(found) < 80 else found[:77] + "..."
            hint = _meant(problem, item["input"], _node(model, location))
            sentences.append(f"{path}: {_expected(item)}, got {found}{hint}")
    return sentences


_EXPECTED = {
    ("int_type", "int_parsing", "int_from_float"): "a whole number",
    ("float_type", "float_parsing", "finite_number"): "a number",
    ("bool_type", "bool_parsing"): "true or false",
    ("string_type",): "text",
    ("path_type",): "a path",
    ("list_type", "tuple_type"): "a list",
    ("dict_type", "mapping_type", "model_type", "model_attributes_type"): "keys with values",
    ("missing",): "a longer list",
}
_NUMBERS = ("int_type", "int_parsing", "int_from_float", "float_type", "float_parsing", "finite_number")


def _expected(item: Mapping[str, Any]) -> str:
    """What would be right, in words that need no Python."""
    for problems, what in _EXPECTED.items():
        if item["type"] in problems:
            return f"expected {what}"
    if item["type"] == "literal_error":
        return f"expected {item['ctx']['expected']}"
    message = item["msg"][0].lower() + item["msg"][1:]
    return message.replace("input should be", "expected a value", 1)


def _meant(problem: str, value: Any, node: Mapping[str, Any]) -> str:
    """The end of a message about a value of another kind than expected: what YAML made of it, how to write it.

    Args:
        node: what the schema says of the key.
    """
    quoted = "put the whole value into single quotes, as in 'text'"
    if problem in ("string_type", "path_type"):
        if isinstance(value, bool):
            return f"; YAML takes it for a truth value; if text is meant, {quoted}"
        if value is None:
            return f"; YAML takes it for no value; if text is meant, {quoted}"
        if isinstance(value, Mapping):
            return f"; YAML takes {{…}} and `key: value` for keys with values; if text is meant, {quoted}"
        if isinstance(value, int | float):
            return f"; YAML takes it for a number; if text is meant, put it into single quotes, as in '{value}'"
    if value is None:
        default = node.get("default")
        stands = f", which is {json.dumps(default)}" if isinstance(default, int | float | str) else ""
        return f"; YAML takes it for no value; for the default{stands}, remove the line"
    if problem in ("list_type", "tuple_type") and isinstance(value, int | float) and not isinstance(value, bool):
        count = node.get("minItems", 1)
        one = "" if count > 1 else ", a list of one"
        return f"; write [{', '.join([str(value)] * count)}]{one}"
    if isinstance(value, str):
        return _meant_by_text(problem, value, node)
    if isinstance(value, bool) and (problem in _NUMBERS or problem == "literal_error"):
        return "; YAML takes it for a truth value"
    if isinstance(value, list) and problem in ("dict_type", "mapping_type", "model_type", "model_attributes_type"):
        return "; write `key: value`, one a line, without a dash"
    if isinstance(value, Mapping) and problem == "list_type":
        return "; a dash and a space go before each entry of a list"
    if problem == "int_from_float" and isinstance(value, float) and abs(value) < 1:
        return f"; YAML takes it for the number {float(value)!r}"
    return ""


def _meant_by_text(problem: str, value: str, node: Mapping[str, Any]) -> str:
    lists = ("list_type", "tuple_type")
    if value.lower() == "none" and (problem in lists or {"type": "null"} in node.get("anyOf", [])):
        return f"; for none, write {'[]' if problem in lists else 'null'}"
    if problem in _NUMBERS:
        if re.fullmatch(r"[+-]?\d+,\d+", value.strip()):
            return f"; decimals have a point: {value.replace(',', '.')}"
        return "; YAML takes it for text"
    if problem == "list_type" and re.fullmatch(r"[\w.-]+", value):
        return f"; write [{value}], a list of one"
    if problem in lists:
        return "; write [one, another], or one a line after a dash and a space"
    if problem in ("model_type", "dict_type", "mapping_type", "model_attributes_type"):
        if ":" in value:
            return "; between the colon of a key and its value stands a space"
        return "; YAML takes it for text; write `key: value`, one a line, or remove the key for its defaults"
    return ""


def validate(model: type[Section], value: Mapping[str, Any], path: str) -> Any:
    """The section that is written at ``path``.

    Raises:
        ValueError: with every problem, each naming its key path.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ValueError("; ".join(explain(error, model, path))) from error
