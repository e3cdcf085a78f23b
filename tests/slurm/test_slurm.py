"""A profile, changed as its page says, on a real SLURM: a small run through every rule, to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from sepclr_neuro.run.status import status
from tests.clusters.test_pages import to_write, written_profile
from tests.slurm.running import SOON
from tests.workflow.running import small_config, snakemake

NETWORK = {"common_dim": 4, "salient_dim": 4, "projector_width": 8}


@pytest.mark.timeout(2400)
def test_a_run_on_slurm_goes_through_every_rule(slurm: None, tmp_path: Path) -> None:
    small_config(tmp_path, methods={"sepclr-k-jem": NETWORK, "pca": {}}, subtypes={"clusters": [2], "nulls": 19})
    content = to_write("slurm")
    del content["default-resources"]["slurm_account"]  # there is no accounting
    for resources in content["set-resources"].values():
        resources["mem_mb"] = "1500 * attempt"  # a machine of tests is small
    profile = written_profile("slurm-no-accounting", tmp_path, content)
    said = snakemake(tmp_path, "--workflow-profile", str(profile), *SOON)
    results = Results(tmp_path / "results")
    assert results.report.is_file()
    found = status(results.root)
    assert {job.state for job in found.jobs} == {"done"}
    # `cohort` and `splits` run beside Snakemake; two folds of `standardise` and of `solve` are one job each.
    assert said.count("has been submitted with SLURM jobid") == len(found.jobs) - 2 - 2, said
