"""Parts of configurations that several tests read, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.core.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
METHOD = "sepclr-k-jem"
STUDY = {"name": "ours", "participants": "participants.tsv"}
AGE_ALONE = {"targets": {"age": {"kind": "regression", "expected_in": "common"}}}
SMALL = {"small": {"method": METHOD, "salient_dim": 2}}
QUESTIONS = Config().model_dump(mode="json")["probes"]["targets"]


def message(content: Any) -> str:
    with pytest.raises(InputError) as caught:
        parse_config(content, "my.yaml")
    return str(caught.value)
