"""A run and its exported models that the tests of this folder read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepclr_neuro.apply.export import write_export
from tests.apply.exported_run import LINEAR, NETWORK, SINGLE, FinishedRun, finished_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finished_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def exported(run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each method's model of fold 0."""
    folder = tmp_path_factory.mktemp("exported")
    for method in (LINEAR, NETWORK, SINGLE):
        write_export(run.results, method, 0, folder / method)
    return {method: folder / method for method in (LINEAR, NETWORK, SINGLE)}
