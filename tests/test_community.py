"""What hosting platforms, archives and Snakemake's catalogue read: one version, and forms that they understand."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import sepclr_neuro
from tests.workflow.running import small_config

ROOT = Path(__file__).resolve().parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_citation_archive_and_package_agree() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    archive = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for key in ("title", "version", "license"):
        assert archive[key] == citation[key], key
    assert citation["version"] == sepclr_neuro.__version__
    assert citation["license"] == project["license"]
    assert [each["name"] for each in archive["creators"]] == [each["name"] for each in citation["authors"]]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == sepclr_neuro.__version__


@pytest.mark.parametrize("form", [form for form in FORMS if form.name != "config.yml"], ids=lambda form: form.stem)
def test_an_issue_form_is_one(form: Path) -> None:
    content = read_yaml(form)
    assert {"name", "description", "body"} <= set(content) <= {"name", "description", "body", "labels", "title"}
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in asked} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert all(part["attributes"]["label"] for part in asked)
    names = [part["id"] for part in asked]
    assert len(set(names)) == len(names)
    for page in re.findall(r"docs/\w+\.md", form.read_text(encoding="utf-8")):
        assert (ROOT / page).is_file()


def test_the_catalogue_counts_the_workflow_as_standardised(tmp_path: Path) -> None:
    """By its three conditions; `snakedeploy` writes such a Snakefile, which reads config/config.yaml."""
    usage = read_yaml(ROOT / ".snakemake-workflow-catalog.yml")["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} == set(usage)
    assert set(usage["software-stack-deployment"]) == {"conda", "apptainer", "apptainer+conda"}
    assert (ROOT / "config" / "README.md").is_file()
    for folder in ("config", "workflow"):
        (tmp_path / folder).mkdir()
    small_config(tmp_path).rename(tmp_path / "config" / "config.yaml")
    (tmp_path / "workflow" / "Snakefile").write_text(
        'configfile: "config/config.yaml"\n\n'
        f'module deployed:\n    snakefile: "{ROOT / "workflow" / "Snakefile"}"\n    config: config\n\n'
        "use rule * from deployed\n"
    )
    dry_run = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules"]
    result = subprocess.run(dry_run, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert re.search(r"^whole +1$", said, re.MULTILINE)
    assert re.search(r"^report +1$", said, re.MULTILINE)


def test_type_checkers_see_every_public_name() -> None:
    """Public names are imported when they are first used; a type checker only follows what is written."""
    text = (ROOT / "sepclr_neuro" / "__init__.py").read_text(encoding="utf-8")
    (block,) = [node for node in ast.parse(text).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {each.name: node.module for node in imports for each in node.names} == sepclr_neuro._HOMES
    assert set(sepclr_neuro.__all__) == {"__version__", *sepclr_neuro._HOMES}
