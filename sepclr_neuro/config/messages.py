"""Errors of a configuration, in sentences that name the key, the value found and the value expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sepclr_neuro.config.section import Section
from sepclr_neuro.core.errors import nearest

__all__ = ["explain", "validate"]


def _known_keys(model: type[Section], location: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed where ``location`` (a path within ``model``) ends."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        for choice in (node, *node.get("anyOf", [])):
            if "$ref" in choice:
                return definitions[choice["$ref"].rsplit("/", 1)[1]]
        return node

    node = schema
    for part in location[:-1]:
        node = resolve(node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    return list(resolve(node).get("properties", {}))


def explain(error: ValidationError, model: type[Section], prefix: str = "") -> list[str]:
    """One sentence a problem: the key path, what was found, what is expected."""
    sentences = []
    for item in error.errors():
        location = item["loc"]
        path = ".".join(part for part in (prefix, *map(str, location)) if part) or "the configuration"
        if item["type"] == "extra_forbidden":
            sentences.append(f"{path}: unknown key.{nearest(str(location[-1]), _known_keys(model, location))}")
        elif item["type"] == "value_error":
            message = str(item["ctx"]["error"])
            sentences.append(message if not location else f"{path}: {message}")
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            found = json.dumps(item["input"], default=str)
            found = found if len(found) < 80 else found[:77] + "..."
            sentences.append(f"{path}: {message}, got {found}{_meant(item['type'], item['input'])}")
    return sentences


def _meant(problem: str, value: Any) -> str:
    """The end of a message about a value of another kind than expected: what YAML made of it, how to write it."""
    quoted = "put the whole value into single quotes, as in 'text'"
    if problem == "string_type":
        if isinstance(value, bool):
            return f"; YAML takes it for a truth value; if text is meant, {quoted}"
        if value is None:
            return f"; YAML takes it for no value; if text is meant, {quoted}"
        if isinstance(value, Mapping):
            return f"; YAML takes {{…}} and `key: value` for keys with values; if text is meant, {quoted}"
    if problem in ("list_type", "tuple_type") and isinstance(value, int | float):
        return f"; write [{value}], a list of one"
    if isinstance(value, str):
        if problem in ("list_type", "tuple_type"):
            return "; write [one, another], or one a line after a dash and a space"
        if problem in ("model_type", "dict_type", "model_attributes_type") and ":" in value:
            return "; between the colon of a key and its value stands a space"
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
