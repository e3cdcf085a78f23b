"""Folders of tables and volumes that several files of tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.own_tables import HEADER, PEOPLE, table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table(tmp_path / "participants.tsv", HEADER, *PEOPLE)
    return tmp_path


@pytest.fixture
def with_volumes(folder: Path) -> Path:
    for number in range(1, 5):
        table(folder / "vbm" / "[old]" / f"mwp1sub-0{number}_T1w.nii", "volume")
    return folder
