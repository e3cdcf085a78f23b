"""The schema and the model say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.schema import json_schema
from tests.config.contents import METHOD, REPOSITORY, SMALL, message


def test_the_schema_file_is_what_the_model_says() -> None:
    path = REPOSITORY / "workflow" / "schemas" / "config.schema.json"
    same = json.loads(path.read_text(encoding="utf-8")) == json_schema()
    assert same, f"run `sepclr-neuro schema > {path.relative_to(REPOSITORY)}`"


def test_the_schema_describes_every_setting() -> None:
    schema = json_schema()
    models = {"Config": schema} | schema["$defs"]
    assert [
        f"{model}.{key}"
        for model, definition in models.items()
        for key, setting in definition.get("properties", {}).items()
        if "description" not in setting
    ] == []


def test_the_schema_knows_every_method_and_forbids_unknown_keys() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    method = schema["properties"]["methods"]["properties"][METHOD]["anyOf"][0]["$ref"].rsplit("/", 1)[1]
    assert "salient_dim" in schema["$defs"][method]["properties"]
    assert all(definition.get("additionalProperties") is False for definition in schema["$defs"].values())


@pytest.mark.parametrize(
    ("content", "valid"),
    [
        ({"methods": {METHOD: None} | SMALL}, True),
        ({"methods": {METHOD: {"method": METHOD}}}, True),
        ({"methods": {"small": {"method": METHOD, "salient_dimm": 2}}}, False),
        ({"methods": {"small": {"method": "pca", "salient_dim": 2}}}, False),
        ({"methods": {"small": {"salient_dim": 2}}}, False),
        ({"methods": {"small": {"method": "none"}}}, False),
        ({"methods": {"a.b": {"method": "pca"}}}, False),
        ({"methods": {"pca": {"method": "cpca"}}}, False),
        ({"digits": {"methods": {"cvae": None}}}, True),
        ({"digits": {"methods": {"cvae": {"method": "pca"}}}}, False),
        ({"digits": {"methods": {"small": {"method": "cvae"}}}}, True),
        ({"digits": {"methods": {"small": {}}}}, False),
    ],
)
def test_the_schema_and_the_model_agree_on_names(content: dict[str, Any], valid: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(content) == valid
    if valid:
        parse_config(content)
    else:
        message(content)
