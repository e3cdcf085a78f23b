"""The SLURM profile on a real SLURM: a small run to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from tests.slurm.running import ON_ONE_NODE
from tests.workflow.running import small_config, snakemake


@pytest.mark.timeout(2400)
def test_a_run_on_slurm_ends_in_a_report(slurm: None, tmp_path: Path) -> None:
    small_config(tmp_path)
    # On SLURM each job takes half a minute, so that it gets those that matter: from the first training on.
    standardised = [Results(Path("results")).standardisation(fold) for fold in range(2)]
    snakemake(tmp_path, "--cores", "2", *map(str, standardised))
    said = snakemake(tmp_path, *ON_ONE_NODE)
    assert Results(tmp_path / "results").report.is_file()
    # Two trainings, representations, the t-map, site leakage, probes, tables, patterns, maps, report.
    assert said.count("has been submitted with SLURM jobid") == 10, said
