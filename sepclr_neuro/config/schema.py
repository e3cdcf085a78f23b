"""The JSON schema of ``config.yaml``, made from the model."""

from __future__ import annotations

from typing import Any

from sepclr_neuro.config.model import Config
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.section import NAME

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """The JSON schema of ``config.yaml``, for editors. Settings of methods are added to the model's own schema."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    named: dict[str, list[str]] = {}
    for name, entry in METHODS.items():
        named.setdefault(entry.settings.__name__, []).append(name)
        method_schema = entry.settings.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(method_schema.pop("$defs", {}))
        definitions.setdefault(entry.settings.__name__, method_schema)
    for model, names in named.items():
        definitions[model]["properties"]["method"] = {
            "description": "The method, where it stands under a name of your own.",
            "enum": names,
        }

    by_name = {
        name: {
            "anyOf": [
                {"$ref": f"#/$defs/{entry.settings.__name__}", "properties": {"method": {"const": name}}},
                {"type": "null"},
            ]
        }
        for name, entry in METHODS.items()
    }
    own_name = {"anyOf": [{"$ref": f"#/$defs/{model}"} for model in named], "required": ["method"]}
    for section in (schema["properties"]["methods"], definitions["Digits"]["properties"]["methods"]):
        description = section["description"]
        section.clear()
        section |= {
            "type": "object",
            "description": description,
            "properties": by_name,
            "additionalProperties": own_name,
            "propertyNames": {"pattern": NAME},
            "minProperties": 1,
        }
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
