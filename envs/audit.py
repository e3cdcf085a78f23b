"""Looks at what is installed and locked, without a network: ``make audit``.

Every pin of both locks has hashes; no release of excluded_releases.tsv is allowed, locked or installed; what is
installed is what they and torch.txt say. Vulnerabilities that became known since the lock was made need a network:
`pip-audit`.
"""

from __future__ import annotations

import csv
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")


def read_lock(path: Path) -> dict[str, tuple[str, int]]:
    """By package its version and how many hashes it has."""
    pins: dict[str, tuple[str, int]] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := PIN.match(line):
            name = canonicalize_name(found[1])
            pins[name] = (found[2], 0)
        if name and "--hash=sha256:" in line:
            pins[name] = (pins[name][0], pins[name][1] + 1)
    return pins


def requirements(pyproject: Path) -> list[Requirement]:
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for texts in (project["dependencies"], *extras) for text in texts]


def problems(locks: Sequence[Path], pyproject: Path, excluded: Path, installed: Mapping[str, str]) -> list[str]:
    """A sentence for each thing that is not as it should be; the first lock is that of what pyproject.toml names."""
    lock, wanted = locks[0], requirements(pyproject)
    pins = {name: pin for path in reversed(locks) for name, pin in read_lock(path).items()}
    found = [f"{lock.name}: {name} {version} has no hash" for name, (version, hashes) in pins.items() if not hashes]
    # torch is installed first and by version alone: which build fits depends on the machine.
    pins |= read_lock(FOLDER / "torch.txt")
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        version = pins[name][0] if name in pins else None
        if version is None:
            found.append(f"{lock.name}: {name} of {pyproject.name} is missing; run `make lock`")
        elif not requirement.specifier.contains(version):
            found.append(f"{lock.name}: {name} {version} is outside {requirement.specifier} of {pyproject.name}")
    for name, (version, _) in pins.items():
        if installed.get(name, version).partition("+")[0] != version:
            found.append(f"{name}: {installed[name]} is installed, {version} is locked; run `make install`")
    with excluded.open(encoding="utf-8", newline="") as file:
        for release in csv.DictReader(file, delimiter="\t"):
            name, version = canonicalize_name(release["package"]), release["version"]
            allowed = [one for one in wanted if canonicalize_name(one.name) == name and one.specifier.contains(version)]
            places = {
                pyproject.name: bool(allowed),
                lock.name: pins.get(name, ("", 0))[0] == version,
                "this environment": installed.get(name) == version,
            }
            found += [f"{place}: has {name} {version} ({release['why']})" for place, has in places.items() if has]
    return found


def main() -> int:
    installed = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    locks = [FOLDER / "requirements.lock", FOLDER / "cuda.lock"]
    found = problems(locks, FOLDER.parent / "pyproject.toml", FOLDER / "excluded_releases.tsv", installed)
    count = sum(len(read_lock(lock)) for lock in locks)
    print("\n".join(found) or f"{count} locked packages: each with hashes, none excluded, as installed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
