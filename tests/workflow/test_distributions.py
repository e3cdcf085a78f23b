"""Wheel and source distribution: built, checked, and used from a folder that has nothing of the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from sepclr_neuro.core.layout import Results
from tests.workflow.running import REPOSITORY, small_config

pytestmark = pytest.mark.timeout(1200)

WORKFLOW = (
    "Snakefile",
    "config.yaml",
    "envs/environment-gpu.yaml",
    "workflow/rules/*.smk",
    "workflow/report/*.rst",
    "workflow/schemas/*.json",
    "workflow/profiles/*/*.yaml",
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


@pytest.fixture(scope="module")
def environment(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel and what it needs, and without the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    # What this environment has is there too; the link to its checkout, a .pth file of its own, is not followed.
    (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", "--prefix", folder]
    call(python, *install, built[1], folder=folder)
    where = call(python, "-c", "import sepclr_neuro; print(sepclr_neuro.__file__)", folder=folder)
    assert where.startswith(str(own))
    return folder / "bin"


def test_index_and_contents_are_in_order(built: tuple[Path, Path], tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    call(programs / "twine", "check", "--strict", *built, folder=tmp_path)
    call(programs / "check-wheel-contents", built[1], folder=tmp_path)


def test_the_wheel_holds_the_package_and_the_workflow_and_nothing_else(built: tuple[Path, Path]) -> None:
    names = {name for name in zipfile.ZipFile(built[1]).namelist() if ".dist-info/" not in name}
    assert {name for name in names if name.endswith(".py")} == modules(), "tool.setuptools.packages lists all folders"
    inside = "sepclr_neuro/_workflow/"
    assert {name.removeprefix(inside) for name in names if name.startswith(inside)} == shipped()
    other = {Path(name).suffix for name in names if not name.startswith(inside)}
    assert other == {".py", ".csv", ".html", ".css"}


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


def test_the_wheel_plans_and_runs_from_any_folder(environment: Path, tmp_path: Path) -> None:
    """As far as the splits: the stages after them are the same commands (test_workflow runs them all)."""
    elsewhere, splits = tmp_path / "elsewhere", Results(Path("results")).splits
    elsewhere.mkdir()
    config = small_config(tmp_path)
    command = [environment / "sepclr-neuro", "run", f"../{config.name}", "--cores", "2"]
    assert "This was a dry-run" in call(*command, "-n", folder=elsewhere)
    assert "This was a dry-run" in call(*command, "--workflow-profile", "slurm", "-n", folder=elsewhere)
    said = call(*command, splits, folder=elsewhere)
    assert str(environment.parent) in said  # the workflow is the wheel's
    assert str(REPOSITORY) not in said.replace(sys.prefix, "")  # Snakemake names its own program
    assert (elsewhere / splits).is_file()
    assert "Nothing to be done" in call(*command, splits, folder=elsewhere)
