"""What the pages in docs/clusters say to write into a profile: Snakemake reads it, and each job asks for it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.clusters.test_profiles import PROFILES
from tests.workflow.running import REPOSITORY, small_config, snakemake

pytestmark = pytest.mark.timeout(600)

PAGES = {
    "local-gpu": "local_gpu",
    "slurm": "slurm",
    "slurm-no-accounting": "slurm",
    "pbs": "pbs",
    "sge": "sge",
    "lsf": "lsf",
    "kubernetes": "kubernetes",
}
METHODS = {"sepclr-k-jem": {}, "pca": {}}


def page(profile: str) -> str:
    return (REPOSITORY / "docs" / "clusters" / f"{PAGES[profile]}.md").read_text(encoding="utf-8")


def to_write(profile: str) -> dict[str, Any]:
    """The block of keys on the page of a profile."""
    block = re.search(r"^ *```yaml\n(.*?)^ *```$", page(profile), re.DOTALL | re.MULTILINE)
    assert block
    return yaml.safe_load(block[1])


def written_profile(profile: str, folder: Path, content: dict[str, Any]) -> Path:
    """A copy of a profile with these keys in the place of its own."""
    copy = Path(shutil.copytree(PROFILES / profile, folder / "my_profile"))
    shipped = yaml.safe_load((copy / "profile.yaml").read_text(encoding="utf-8"))
    (copy / "profile.yaml").write_text(yaml.safe_dump(shipped | content), encoding="utf-8")
    return copy


def planned(folder: Path, profile: Path, cores: int = 100) -> dict[str, dict[str, str]]:
    """What a job of each rule asks for, threads included, as a user sees it."""
    said = snakemake(folder, "--workflow-profile", str(profile), "--dry-run", "--cores", str(cores))
    asked: dict[str, dict[str, str]] = {}
    for rule, text in re.findall(r"^ *rule (\w+):\n(.*?^ *resources: [^\n]*)", said, re.DOTALL | re.MULTILINE):
        threads = re.search(r"^ *threads: (\d+)$", text, re.MULTILINE)
        resources = text.rpartition("resources: ")[2]
        asked[rule] = dict(re.findall(r"(\w+)=(.*?)(?=, \w+=|$)", resources))
        asked[rule]["threads"] = threads[1] if threads else "1"
    return asked


def first_attempt(value: object) -> str:
    number, expression, _ = str(value).partition(" * attempt")
    return number if expression else str(value)


@pytest.mark.parametrize("profile", PAGES)
def test_jobs_ask_for_what_the_page_says_to_write(profile: str, tmp_path: Path) -> None:
    small_config(tmp_path, methods=METHODS)
    content = to_write(profile)
    asked = planned(tmp_path, written_profile(profile, tmp_path, content))
    for rule, resources in content.get("set-resources", {}).items():
        for name, value in resources.items():
            assert asked[rule][name] == first_attempt(value), (rule, name)
    for name, value in content.get("default-resources", {}).items():
        if name not in ("mem_mb", "runtime"):  # of which each rule asks for its own
            assert asked["vbm"][name] == str(value), name


def test_slurms_plugin_takes_the_other_options() -> None:
    validation = pytest.importorskip("snakemake_executor_plugin_slurm.validation")
    extra = to_write("slurm")["set-resources"]["train"]["slurm_extra"]
    validation.validate_slurm_extra(SimpleNamespace(resources=SimpleNamespace(slurm_extra=extra)))


def test_cores_are_those_of_the_profile_on_whichever_node_a_job_runs(tmp_path: Path) -> None:
    """A job reads the workflow anew, on a node that gives it the cores that it asked for, and no others."""
    small_config(tmp_path, methods=METHODS, cohort={"source": "simulated", "simulation": {"participants": 240}})
    threads = []
    for cores in (8, 100):
        asked = planned(tmp_path, PROFILES / "pbs", cores)
        threads.append({rule: resources["threads"] for rule, resources in asked.items()})
    assert threads[0] == threads[1]
    assert (threads[0]["volumes"], threads[0]["patterns"]) == ("8", "4")


def test_the_pod_of_a_run_on_kubernetes_has_what_its_jobs_have() -> None:
    folder = PROFILES / "kubernetes"
    spec = yaml.safe_load((folder / "job.json").read_text(encoding="utf-8"))["spec"]["template"]["spec"]
    account, role, binding, pod = yaml.safe_load_all((folder / "head.yaml").read_text(encoding="utf-8"))
    (of_run,), (of_job,) = pod["spec"]["containers"], spec["containers"]
    assert of_run["image"] == of_job["image"]
    assert of_run["volumeMounts"] == [each for each in of_job["volumeMounts"] if each["name"] == "shared"]
    assert pod["spec"]["volumes"] == [each for each in spec["volumes"] if each["name"] == "shared"]
    assert {each["name"] for each in of_job["volumeMounts"]} == {each["name"] for each in spec["volumes"]}
    name = account["metadata"]["name"]
    assert pod["spec"]["serviceAccountName"] == binding["subjects"][0]["name"] == name
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    # Each verb of `kubectl` in the scripts is one that the pod may use.
    scripts = "".join((folder / script).read_text(encoding="utf-8") for script in ("cancel.sh", "status.sh"))
    used = {*re.findall(r"kubectl (\w+) job", scripts), "create"}
    assert used == set(role["rules"][0]["verbs"])
