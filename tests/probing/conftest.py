"""A run that several files of tests read."""

from __future__ import annotations

import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.probing.verdicts import write_verdicts
from tests.probing.probed_run import make_cohort, write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    config, results = write_run(tmp_path_factory.mktemp("run"), make_cohort())
    write_probes(config, results)
    write_verdicts(config, results)
    return config, results
