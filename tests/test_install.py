"""The install gives the locked versions, whatever was released since, with a Python that runs; imports are declared."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTALL = runpy.run_path(str(ROOT / "envs" / "install.py"))
LOCKS = {name: INSTALL["pins"](ROOT / "envs" / name) for name in ("requirements.lock", "cuda.lock")}
NEWER = "9999.0"
OUR_BACKEND = """
import shutil
def build_editable(folder, config_settings=None, metadata_directory=None):
    wheel = "sepclr_neuro-0.1.0-py3-none-any.whl"
    shutil.copy(f"../index/sepclr_neuro/{wheel}", folder)
    return wheel
"""


# --- a world in which there is a newer release of everything --------------------------------------------------------


def write_wheel(index: Path, name: str, version: str, requires: Sequence[str], extras: Sequence[str] = ()) -> str:
    """Adds a wheel that holds nothing but what it needs to an index; gives its checksum."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {each}" for each in requires]
    path = index / name / f"{stem}-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    with (path.parent / "index.html").open("a") as page:
        page.write(f'<a href="{path.name}">{path.name}</a>\n')
    return hashlib.sha256(path.read_bytes()).hexdigest()


def needs_of(name: str) -> tuple[list[str], list[str]]:
    """What the real package needs, and its extras; nothing where it is not installed here."""
    try:
        real = distribution(name)
    except PackageNotFoundError:
        return [], []
    return real.requires or [], real.metadata.get_all("Provides-Extra") or []


def newer_world(folder: Path, *, cuda: bool) -> dict[str, str]:
    """Writes an index and a copy of the project whose lock has its files' hashes; gives what is to be installed."""
    project, index = folder / "project", folder / "index"
    (project / "envs").mkdir(parents=True)
    for path in ("Makefile", "envs/install.py", "envs/torch.txt"):
        shutil.copy(ROOT / path, project / path)
    expected = {"sepclr-neuro": "0.1.0"}
    for lock, pins in LOCKS.items():
        lines = []
        for name, block in pins.items():
            line = block.partition("\\")[0].strip()
            requirement = Requirement(line)
            (version,) = [each.version for each in requirement.specifier]
            digest = write_wheel(index, name, version, *needs_of(name))
            write_wheel(index, name, NEWER, *needs_of(name))
            lines.append(f"{line} --hash=sha256:{digest}\n")
            here = requirement.marker is None or requirement.marker.evaluate()
            if here and (lock == "requirements.lock" or cuda):
                expected[name] = version
        (project / "envs" / lock).write_text("".join(lines))
    asks_for_cuda = LOCKS["cuda.lock"]
    torch = [each for each in needs_of("torch")[0] if canonicalize_name(Requirement(each).name) not in asks_for_cuda]
    torch += [f'{name}; platform_system == "Linux"' for name in asks_for_cuda] if cuda else []
    (expected["torch"],) = [block.partition("==")[2] for block in INSTALL["pins"](ROOT / "envs" / "torch.txt").values()]
    write_wheel(index, "torch", expected["torch"], torch)
    write_wheel(index, "torch", NEWER, torch)
    extras = PROJECT["optional-dependencies"]
    ours = PROJECT["dependencies"] + [f"{each}; extra == '{extra}'" for extra in extras for each in extras[extra]]
    write_wheel(index, "sepclr_neuro", "0.1.0", ours, list(extras))
    build_system = '[build-system]\nrequires = []\nbuild-backend = "ours"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(build_system)
    (project / "ours.py").write_text(OUR_BACKEND)
    return expected


def pip_environment(index: Path) -> dict[str, str]:
    """Nothing of this machine's pip settings, and the index alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "MAKE"))}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.as_uri()}


def installed_in(folder: Path) -> dict[str, str]:
    (packages,) = (folder / "lib").glob("python*/site-packages")
    found = [path.name.removesuffix(".dist-info").rsplit("-", 1) for path in packages.glob("*.dist-info")]
    return {canonicalize_name(name): version for name, version in found}


def make_install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "install", *arguments],
        cwd=folder / "project",
        env=pip_environment(folder / "index"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_newer_releases_change_nothing(tmp_path: Path) -> None:
    expected = newer_world(tmp_path, cuda=True)
    result = make_install(tmp_path, f"PYTHON={sys.executable}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"torch {expected['torch']}, a build with CUDA" in result.stdout
    found = installed_in(tmp_path / "project" / ".venv")
    found.pop("pip")
    assert found == expected
    assert NEWER not in found.values()
    # Nothing is left to do, also where the Python is not named.
    again = make_install(tmp_path)
    assert "Nothing to be done" in again.stdout, again.stdout + again.stderr


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pip 22.3 came with Python 3.11 and does not run on later ones")
def test_the_oldest_pip_gives_the_locked_versions(tmp_path: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), "pip==22.3"]
    if subprocess.run(download, capture_output=True, check=False).returncode != 0:
        pytest.skip("pip 22.3, which came with Python 3.11.0, cannot be downloaded here")
    expected = newer_world(tmp_path, cuda=False)
    folder = tmp_path / "project" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    oldest = [folder / "bin" / "python", "-m", "pip", "install", tmp_path / "pip-22.3-py3-none-any.whl"]
    subprocess.run(oldest, env=pip_environment(tmp_path / "index"), check=True)
    result = make_install(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"torch {expected['torch']}, a build without CUDA" in result.stdout
    assert installed_in(folder) == expected | {"pip": "22.3"}


def test_a_file_that_the_lock_does_not_know_is_refused(tmp_path: Path) -> None:
    newer_world(tmp_path, cuda=False)
    lock = tmp_path / "project" / "envs" / "requirements.lock"
    lock.write_text(re.sub(r"(?m)^(setuptools==.*sha256:)\w+", rf"\g<1>{'0' * 64}", lock.read_text()))
    result = make_install(tmp_path, f"PYTHON={sys.executable}")
    assert result.returncode != 0
    assert "DO NOT MATCH THE HASHES" in result.stderr
    assert "this failed: " in result.stderr


# --- which Python ---------------------------------------------------------------------------------------------------


def make_with(tmp_path: Path, running: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What make would do where some of the supported Pythons run and the others only say that they are missing."""
    programs = tmp_path / "bin"
    programs.mkdir(parents=True)
    for version in ("3.11", "3.12", "3.13", "3.14"):
        program = programs / f"python{version}"
        program.write_text(f"#!/bin/sh\n{f'echo {version}' if version in running else 'exit 127'}\n")
        program.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    for name in ("requirements.lock", "cuda.lock", "torch.txt", "install.py"):
        (tmp_path / "envs").mkdir(exist_ok=True)
        (tmp_path / "envs" / name).touch()
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHON", None)
    command = ["make", "--dry-run", "install", *arguments]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_make_takes_the_newest_python_that_runs(tmp_path: Path) -> None:
    assert "python3.13 envs/install.py .venv" in make_with(tmp_path, ["3.11", "3.13"]).stdout


def test_make_takes_the_python_that_needs_a_compiler_only_if_it_is_alone(tmp_path: Path) -> None:
    assert "python3.13 envs/install.py .venv" in make_with(tmp_path, ["3.13", "3.14"]).stdout
    assert "python3.14 envs/install.py .venv" in make_with(tmp_path / "alone", ["3.14"]).stdout


def test_make_takes_the_python_that_is_named(tmp_path: Path) -> None:
    assert "python3.11 envs/install.py .venv" in make_with(tmp_path, ["3.11", "3.13"], "PYTHON=python3.11").stdout


def test_make_says_that_no_python_runs(tmp_path: Path) -> None:
    result = make_with(tmp_path, [])
    assert result.returncode == 2
    assert "No python3.11 to python3.14 is found; name one: make PYTHON=" in result.stderr


def test_an_environment_of_another_python_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "left").touch()
    python = folder / "bin" / "python"
    python.write_text("#!/bin/sh\necho '(3, 1)'\n")
    python.chmod(0o755)
    assert INSTALL["make_environment"](folder) == python
    assert f"{folder} has another Python; it is made anew" in capsys.readouterr().out
    assert not (folder / "left").exists()
    (folder / "stays").touch()
    assert INSTALL["make_environment"](folder) == python
    assert (folder / "stays").exists()


def test_a_python_that_is_not_supported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(SystemExit, match=r"This is Python 3\.10, the lock is for 3\.11, .*, 3\.14: make PYTHON="):
        INSTALL["main"]()


# --- what is declared -----------------------------------------------------------------------------------------------


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level names that a file imports, and whether that happens as soon as it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
        for name in names:
            yield name.partition(".")[0], id(node) not in later


def third_party(folder: Path) -> dict[str, bool]:
    """Distributions that the files of a folder import, and whether one of them does so at once."""
    ours, owners = {"sepclr_neuro", "workflow", "benchmarks", "tests"}, packages_distributions()
    found: dict[str, bool] = {}
    for path in folder.rglob("*.py"):
        for name, at_once in imports_of(path):
            if name in sys.stdlib_module_names or name in ours:
                continue
            package = canonicalize_name(owners.get(name, [name])[0])
            found[package] = found.get(package, False) or at_once
    return found


def declared(*extras: str) -> set[str]:
    texts: list[Any] = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {canonicalize_name(Requirement(text).name) for each in texts for text in each}


def test_what_is_imported_is_declared() -> None:
    found = third_party(ROOT / "sepclr_neuro")
    at_once = {package for package, soon in found.items() if soon}
    assert at_once <= declared(), "a plain `pip install sepclr_neuro` lacks these"
    assert set(found) <= declared("workflow", "cnn", "combat", "atlases")
    assert set(third_party(ROOT / "workflow")) <= declared("workflow")


def test_what_is_declared_is_imported() -> None:
    assert declared() <= set(third_party(ROOT / "sepclr_neuro")) | set(third_party(ROOT / "workflow"))


def test_another_environment_can_meet_the_metadata() -> None:
    assert PROJECT["requires-python"] == ">=3.11"
    for text in PROJECT["dependencies"]:
        operators = {each.operator for each in Requirement(text).specifier}
        assert operators <= {">=", "!="}, f"{text}: pins and upper bounds are the lock's"
