"""Wheel and source distribution: built, checked, and used from a folder that has nothing of the checkout."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sepclr_neuro.core.layout import Results
from tests.workflow.running import QUESTIONS, REPOSITORY, small_config

pytestmark = pytest.mark.timeout(1200)

WORKFLOW = (
    "Snakefile",
    "config.yaml",
    "envs/environment-gpu.yaml",
    "workflow/rules/*.smk",
    "workflow/report/*.rst",
    "workflow/schemas/*.json",
    "workflow/profiles/*/*",
    "docs/examples/*.yaml",
)


def shipped() -> set[str]:
    """The files of the workflow in this checkout."""
    return {str(path.relative_to(REPOSITORY)) for pattern in WORKFLOW for path in REPOSITORY.glob(pattern)}


def modules() -> set[str]:
    return {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "sepclr_neuro").rglob("*.py")}


def call(*command: str | Path, folder: Path, status: int = 0) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1", "TERM": "dumb"},
    )
    assert result.returncode == status, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source distribution and wheel, the one made from the other, of what is in version control or about to be."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines():
        if (REPOSITORY / name).is_file():  # not one that is about to be deleted
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, source / name)
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source, folder=source)
    (archive,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return archive, wheel


def needed(wheel: Path) -> list[Distribution]:
    """The distributions, of those installed here, that the wheel with its extra `workflow` asks for, and theirs."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        asked = email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    found: dict[str, Distribution] = {}
    pending = [(Requirement(text), {"workflow"}) for text in asked]
    done: set[tuple[str, frozenset[str]]] = set()
    while pending:
        requirement, extras = pending.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        name, wanted = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, wanted) not in done:
            done.add((name, wanted))
            found[name] = distribution(name)
            pending += [(Requirement(text), {"", *wanted}) for text in found[name].requires or []]
    return list(found.values())


@pytest.fixture(scope="module")
def environment(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel and what it asks for, at the versions of the lock, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    shared = Path(sysconfig.get_path("purelib"))
    for package in needed(built[1]):
        for file in package.files or ():
            source = Path(str(package.locate_file(file)))
            if source.is_relative_to(shared) and source.is_file():
                link_or_copy(source, own / source.relative_to(shared))
    install = ["--quiet", "--no-deps", "--no-index", "--prefix", folder]
    call(sys.executable, "-m", "pip", "--python", python, "install", *install, built[1], folder=folder)
    where = call(python, "-c", "import sepclr_neuro; print(sepclr_neuro.__file__)", folder=folder)
    assert where.startswith(str(own))
    return folder / "bin"


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link takes no time and no room; another disk needs a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_scripts_of_profiles_can_be_run(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        scripts = [file for file in archive.infolist() if re.search(r"/profiles/.*\.(py|sh)$", file.filename)]
    assert len(scripts) == 12
    assert all(file.external_attr >> 16 & 0o111 == 0o111 for file in scripts)  # pip keeps who may run what


def test_index_and_contents_are_in_order(built: tuple[Path, Path], tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    call(programs / "twine", "check", "--strict", *built, folder=tmp_path)
    call(programs / "check-wheel-contents", built[1], folder=tmp_path)


def test_the_wheel_holds_the_package_and_the_workflow_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = {name for name in zipfile.ZipFile(built[1]).namelist() if ".dist-info/" not in name}
    ours = {name for name in names if name.endswith(".py") and "/_workflow/" not in name}
    assert ours == modules(), "tool.setuptools.packages lists all folders"
    inside = "sepclr_neuro/_workflow/"
    assert {name.removeprefix(inside) for name in names if name.startswith(inside)} == shipped()
    other = {Path(name).suffix for name in names if not name.startswith(inside)}
    assert other == {".py", ".csv", ".html", ".css", ".typed"}
    assert "sepclr_neuro/py.typed" in names, "without it type checkers ignore the package's types"


def test_the_source_distribution_holds_them_too(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*modules(), *shipped(), "README.md", "LICENSE", "pyproject.toml"} <= names
    assert not any(name.startswith("tests/") for name in names), "tests need the checkout, some of them would be none"


def test_without_a_configuration_the_examples_of_the_wheel_are_named(environment: Path, tmp_path: Path) -> None:
    said = call(environment / "sepclr-neuro", "run", folder=tmp_path, status=2)
    (example,) = [word for word in said.split() if word.endswith("own_cohort.yaml")]
    assert Path(example).is_relative_to(environment.parent)
    assert Path(example).read_bytes() == (REPOSITORY / "docs" / "examples" / "own_cohort.yaml").read_bytes()


def test_what_the_wheel_does_not_ask_for_is_not_there(environment: Path) -> None:
    for name in ("pytest", "monai", "captum"):
        said = call(environment / "python", "-c", f"import {name}", folder=environment.parent, status=1)
        assert f"No module named '{name}'" in said


def test_the_wheel_plans_and_runs_from_any_folder_as_far_as_the_report(environment: Path, tmp_path: Path) -> None:
    elsewhere, report = tmp_path / "elsewhere", Results(Path("results")).report
    elsewhere.mkdir()
    config = small_config(
        tmp_path,
        methods={"sepclr-linear": {}},
        probes={"targets": QUESTIONS, "permutations": 99, "bootstraps": 99, "paper_regime": False},
        saliency={"samples": 1, "participants": 2, "permutations": 9, "sanity_participants": 0},
        report={"viewers": 0},
    )
    command = [environment / "sepclr-neuro", "run", f"../{config.name}", "--cores", "2"]
    assert "This was a dry-run" in call(*command, "-n", folder=elsewhere)
    assert "This was a dry-run" in call(*command, "--workflow-profile", "slurm", "-n", folder=elsewhere)
    said = call(*command, folder=elsewhere)
    assert str(environment.parent) in said  # the workflow is the wheel's
    assert str(REPOSITORY) not in said.replace(sys.prefix, "")  # Snakemake names its own program
    assert "A small run" in (elsewhere / report).read_text()
    assert "Nothing to be done" in call(*command, folder=elsewhere)
