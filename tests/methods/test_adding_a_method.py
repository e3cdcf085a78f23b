"""The page that shows how to add a method adds one, as it is written."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from sepclr_neuro.config import registry
from sepclr_neuro.config.model import parse_config
from sepclr_neuro.config.schema import json_schema
from sepclr_neuro.core.storage import read_json
from sepclr_neuro.validation.digits.benchmark import write_digits_run
from tests.methods import test_contract as contract
from tests.validation.test_digits import tiny

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_a_method.md"


def test_the_page_works_as_it_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings, method, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = dict(vars(registry))
    for page, folder in ((settings, "sepclr_neuro.config.methods"), (method, "sepclr_neuro.methods")):
        module = types.ModuleType(f"{folder}.autoencoder")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(page, vars(module))  # noqa: S102 (the project's own page)
        names |= vars(module)
    ((name, entry),) = eval(f"{{{line}}}", names).items()  # noqa: S307
    monkeypatch.setitem(registry.METHODS.built_in, name, entry)

    assert (
        parse_config({"methods": {name: {"dim": 3, "training": {"epochs": 2}}}}).for_method(name).training.epochs == 2
    )
    assert name in json_schema()["properties"]["methods"]["properties"]
    for shape in contract.SHAPES:
        contract.test_representations_are_one_row_per_participant_and_do_not_depend_on_the_others(name, shape)
        contract.test_every_space_can_be_mapped_back_to_voxels(name, shape)
        contract.test_every_parameter_has_a_gradient_of_its_own_loss_alone(name, shape, [False, False, True, True])
        contract.test_bfloat16_autocast_leaves_losses_in_float32(name, shape)
    contract.test_it_is_described_and_cited(name)
    config, results = tiny(tmp_path, {name: {}}, images={"train": 40, "test": 20})
    write_digits_run(config, results, name, 0)
    assert set(read_json(results.digits_run(name, 0))["accuracy"]) == {"single"}
