"""A user's tables, written to a folder for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.cohort import CohortTables, build_cohort

HEADER = "participant_id\tdiagnosis\tage\tsex\tsite"
PEOPLE = (
    "sub-01\tcontrol\t20\tfemale\tprague",
    "sub-02\tcontrol\t30.5\tmale\tprague",
    "sub-03\tschizophrenia\t25\tfemale\tbrno",
    "sub-04\tschizophrenia\t40\tmale\tbrno",
)
TARGETS = {"age": {"kind": "regression", "expected_in": "common"}}


def table(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def configured(folder: Path, study: dict[str, Any] | None = None, **cohort: Any) -> Any:
    """A configuration of one study in ``folder``; ``studies`` and other keys of ``cohort`` replace the defaults."""
    default = {"name": "one", "participants": str(folder / "participants.tsv")} | (study or {})
    content = {"source": "files", "studies": [default]} | cohort
    asked = {"probes": {"targets": TARGETS}, "saliency": {"targets": []}, "splits": {"stratify_by": ["diagnosis"]}}
    return parse_config({"output": str(folder / "results"), "cohort": content} | asked)


def build(folder: Path, study: dict[str, Any] | None = None, **cohort: Any) -> CohortTables:
    return build_cohort(configured(folder, study, **cohort).cohort, None)


def problems(folder: Path, study: dict[str, Any] | None = None, **cohort: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        build(folder, study, **cohort)
    return caught.value.problems


def flow_of(tables: CohortTables) -> dict[str, tuple[str, int, int]]:
    assert tables.flow["rule"].is_unique
    return {row.rule: (row.step, row.removed, row.remaining) for row in tables.flow.itertuples()}
