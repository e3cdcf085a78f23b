"""What is installed is what was locked, and no release that is known to be malicious can be."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ENVS = Path(__file__).resolve().parents[1] / "envs"
PYPROJECT = ENVS.parent / "pyproject.toml"


@pytest.fixture(scope="module")
def audit() -> dict[str, Any]:
    return runpy.run_path(str(ENVS / "audit.py"))


def test_this_environment_passes() -> None:
    result = subprocess.run([sys.executable, ENVS / "audit.py"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "each with hashes, none excluded, as installed" in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lightning==2.6.6", "lightning==2.6.3", "has lightning 2.6.3 (malicious release, GHSA-w37p-236h-pfx3)"),
        ("lightning==2.6.6", "lightning==2.3.3", "lightning 2.3.3 is outside"),
        ("monai==1.6.1", "mona==1.6.1", "monai of pyproject.toml is missing"),
        ("combatlearn==2.3.0", "combat==2.3.0", "combatlearn of pyproject.toml is missing"),
        ("nilearn==", "nilearn==0.13.1\nnumexpr==1\nother==", "numexpr 1 has no hash"),
    ],
)
def test_a_lock_that_is_not_as_it_should_be(
    old: str, new: str, expected: str, audit: dict[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "requirements.lock"
    whole = (ENVS / "requirements.lock").read_text()
    assert old in whole
    lock.write_text(whole.replace(old, new, 1))
    found = audit["problems"]([lock], PYPROJECT, ENVS / "excluded_releases.tsv", {"torch": "2.13.0"})
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_malicious_releases_are_outside_the_bounds_and_noticed(
    version: str, audit: dict[str, Any], tmp_path: Path
) -> None:
    (bound,) = [one for one in audit["requirements"](PYPROJECT) if one.name == "lightning"]
    assert not bound.specifier.contains(version)
    loose = tmp_path / "pyproject.toml"
    strict = PYPROJECT.read_text()
    assert "lightning>=2.4,!=2.6.2,!=2.6.3" in strict
    loose.write_text(strict.replace("lightning>=2.4,!=2.6.2,!=2.6.3", "lightning>=2.4"))
    installed = {"torch": "2.13.0", "lightning": version}
    found = audit["problems"]([ENVS / "requirements.lock"], loose, ENVS / "excluded_releases.tsv", installed)
    assert f"pyproject.toml: has lightning {version} (malicious release, GHSA-w37p-236h-pfx3)" in found
    assert f"this environment: has lightning {version} (malicious release, GHSA-w37p-236h-pfx3)" in found


def test_a_release_that_is_not_the_locked_one_is_told(audit: dict[str, Any]) -> None:
    locks = [ENVS / "requirements.lock", ENVS / "cuda.lock"]
    installed = {"torch": "2.12.1+cpu", "monai": "1.6.0", "triton": "1.0"}
    found = audit["problems"](locks, PYPROJECT, ENVS / "excluded_releases.tsv", installed)
    assert sorted(problem.partition(" is installed")[0] for problem in found) == [
        "monai: 1.6.0",
        "torch: 2.12.1+cpu",
        "triton: 1.0",
    ]
    assert "monai: 1.6.0 is installed, 1.6.1 is locked; run `make install`" in found
    installed = {"torch": "2.13.0+cpu"}
    assert not audit["problems"](locks, PYPROJECT, ENVS / "excluded_releases.tsv", installed)
