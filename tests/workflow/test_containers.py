"""Recipes of images hold what an install needs; jobs of `--software-deployment-method apptainer` run in an image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from tests.workflow.running import REPOSITORY, small_config, snakemake
from tests.workflow.test_distributions import shipped

RECIPES = {
    "Containerfile": (r"^COPY (?!--from)(.+) /opt/sepclr_neuro\S*$", r"^FROM (\S+)"),
    "apptainer.def": (r"^    (\S+) /opt/sepclr_neuro/\S+$", r"^From: (\S+)"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_copies_what_the_install_needs(name: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "envs" / name).read_text(encoding="utf-8")
    files, base = RECIPES[name]
    assert set(re.findall(base, text, re.MULTILINE)) == {"docker.io/library/python:3.13-slim-bookworm"}
    assert "python /opt/sepclr_neuro/envs/install.py /opt/venv" in text
    source, target = tmp_path / "sepclr_neuro", tmp_path / "wheels"
    for copied in [each for line in re.findall(files, text, re.MULTILINE) for each in line.split()]:
        (source / copied).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / copied).is_dir():
            shutil.copytree(REPOSITORY / copied, source / copied, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / copied, source / copied)
    assert {"install.py", "requirements.lock", "cuda.lock", "torch.txt"} <= set(os.listdir(source / "envs"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", target, source], check=True)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as wheel:
        inside = {name.partition("_workflow/")[2] for name in wheel.namelist() if "/_workflow/" in name}
    assert inside == shipped()


def test_the_oci_image_is_run_by_a_user_without_rights() -> None:
    lines = (REPOSITORY / "envs" / "Containerfile").read_text(encoding="utf-8").splitlines()
    image = lines[lines.index("FROM docker.io/library/python:3.13-slim-bookworm") :]
    assert "USER sepclr" in image
    # Of a user whom the image doesn't know, Docker sets HOME=/ and no name: Snakemake then ends with an error.
    given = {word for line in image if line.startswith("ENV ") for word in line.split()}
    assert {"HOME=/tmp", "USER=sepclr"} <= given


CALL = "from sepclr_neuro.run.cli import main; main()"
APPTAINER = """#!/bin/sh
# Stands in for Apptainer: an "image" is a file, and what is installed in it lies beside this command.
[ "$1" = --version ] && echo "apptainer version 1.3.0" && exit
echo "$@" >> "$(dirname "$0")/called"
while [ "$(basename "$1")" != sepclr_neuro.sif ]; do shift; done
shift
PATH="$(dirname "$0")/in-image:/usr/bin:/bin" exec "$@"
"""


def test_jobs_run_what_is_installed_in_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = tmp_path / "bin"
    (commands / "in-image").mkdir(parents=True)
    ours = f'#!/bin/sh\necho "in the image: $1"\nexec {sys.executable} -c "{CALL}" "$@"\n'
    for path, text in ((commands / "apptainer", APPTAINER), (commands / "in-image" / "sepclr-neuro", ours)):
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    small_config(tmp_path)
    (tmp_path / "sepclr_neuro.sif").touch()
    cohort = str(Results(Path("results")).cohort)
    options = ("--cores", "1", "--software-deployment-method", "apptainer", "--apptainer-args=--nv")
    snakemake(tmp_path, *options, cohort)
    results = Results(tmp_path / "results")
    assert "in the image: dataset" in results.log("dataset").read_text()
    assert "in the image: cohort" in results.log("cohort").read_text()
    assert (commands / "called").read_text().count("--nv") == 2
