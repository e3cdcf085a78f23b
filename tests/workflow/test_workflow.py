"""The workflow as users meet it: its profiles, its messages, one small run to its report, and what reruns."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import yaml

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.maps.mapping import map_files
from sepclr_neuro.report.share import write_shared
from sepclr_neuro.run.runfiles import write_run_files
from tests.report.described import tables_in, undescribed
from tests.report.in_r import unlike_in_r
from tests.workflow.running import (
    QUESTIONS,
    REPOSITORY,
    RULES,
    epochs_of,
    jobs,
    small_config,
    snakemake,
    snakemake_command,
)

pytestmark = pytest.mark.timeout(2400)

METHOD = "sepclr-k-jem"
# Commands that take a GPU where there is one: `computing` in sepclr_neuro/run/stage_commands.py.
ON_GPUS = {"train", "embed", "saliency", "digits_run", "separation_cohort", "separation_run"}
PROFILES = sorted(path.parent for path in (REPOSITORY / "workflow" / "profiles").glob("*/profile.yaml"))
# Two trainings at a time, each on one core.
RUN = ("--cores", "2", "--set-threads", "train=1")


# --- before anything runs ------------------------------------------------------------------------------------------


def needs_its_plugin(profile: Path) -> None:
    executor = yaml.safe_load((profile / "profile.yaml").read_text()).get("executor", "local")
    if executor != "local" and find_spec(f"snakemake_executor_plugin_{executor.replace('-', '_')}") is None:
        pytest.skip(f"the plugin of {executor} is not installed")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_the_demo_is_planned_with_each_profile(profile: Path, tmp_path: Path) -> None:
    needs_its_plugin(profile)
    demo = REPOSITORY / "config.yaml"
    planned = jobs(tmp_path, "--configfile", str(demo), "--workflow-profile", str(profile))
    config = load_config(demo)
    folds, methods = config.splits.count, len(config.methods)
    two_spaces = sum(config.for_method(name).adjusts for name in config.methods)
    in_epochs = sum(config.for_method(name).settings.trained for name in config.methods)
    several = {"standardise": folds, "embed": methods, "saliency": methods}
    several |= {"train": folds * in_epochs, "solve": folds * (methods - in_epochs)}
    several["patterns"] = two_spaces
    assert planned == {rule: several.get(rule, 1) for rule in RULES}


def test_profiles_speak_of_rules_that_exist(tmp_path: Path) -> None:
    assert {"local", "local-gpu", "slurm", "pbs"} <= {profile.name for profile in PROFILES}
    small_config(tmp_path)
    listed = {line.strip() for line in snakemake(tmp_path, "--list-rules").splitlines()}
    assert set(RULES) <= listed
    for profile in PROFILES:
        content = yaml.safe_load((profile / "profile.yaml").read_text())
        named = {*content.get("set-resources", {}), *content.get("set-threads", {})}
        assert named <= listed, profile
        # Where a GPU is asked for at all, each rule that takes one asks for it.
        on_gpu = {rule for rule, asked in content.get("set-resources", {}).items() if "gpu" in asked}
        assert on_gpu in (set(), ON_GPUS), profile
        # Several short jobs are one for a scheduler, never those that take a GPU.
        on_cluster = content.get("executor", "local") != "local"
        assert set(content.get("groups", {})) == ({"standardise", "solve"} if on_cluster else set()), profile
        assert set(content.get("group-components", {})) == set(content.get("groups", {}).values()), profile
        assert not ON_GPUS & set(content.get("groups", {})), profile


def test_the_workflow_is_in_good_style(tmp_path: Path) -> None:
    small_config(tmp_path)
    snakemake(tmp_path, "--lint")
    command = [str(Path(sys.executable).with_name("snakefmt")), "--check", "Snakefile", "workflow/rules"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_mistake_in_the_configuration_is_one_plain_message(tmp_path: Path) -> None:
    small_config(tmp_path, sed=1)
    text = snakemake(tmp_path, "--dry-run", status=1)
    assert re.search(r"config.yaml, line \d+: sed: unknown key. Did you mean 'seed'\?", text)
    assert "Traceback" not in text
    assert 'File "' not in text


def test_another_configuration_replaces_the_default_one(tmp_path: Path) -> None:
    small_config(tmp_path, seed=5, output="first")
    (tmp_path / "other.yaml").write_text("output: second\n")
    planned = snakemake(tmp_path, "--dry-run", "--configfile", str(tmp_path / "other.yaml"))
    assert "second/cohort/cohort.tsv" in planned
    assert "first" not in planned


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    def written() -> dict[Path, tuple[int, str]]:
        files = [path for path in tmp_path.rglob("*") if ".snakemake" not in path.parts and path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_text()) for path in files}

    small_config(tmp_path)
    assert jobs(tmp_path)["dataset"] == 1
    assert not (tmp_path / "results").exists()
    snakemake(tmp_path, "--list-rules")
    assert not (tmp_path / "results").exists()
    write_run_files(load_config(tmp_path / "config.yaml"), Results(tmp_path / "results"))
    small_config(tmp_path, seed=3)
    before = written()
    assert jobs(tmp_path)["dataset"] == 1
    assert written() == before


def test_values_on_the_command_line_are_refused(tmp_path: Path) -> None:
    small_config(tmp_path)
    text = snakemake(tmp_path, "--dry-run", "--config", "seed=5", status=1)
    assert "--config seed: values on the command line are not read" in text


def test_a_cohort_of_ones_own_needs_no_simulation_and_follows_its_tables(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text("participant_id\n")
    study = {"name": "ours", "participants": "participants.tsv"}
    targets = {"diagnosis": {"kind": "classification", "expected_in": "salient"}}
    small_config(
        tmp_path,
        cohort={"source": "files", "studies": [study]},
        probes={"targets": targets},
        saliency={"targets": ["diagnosis"]},
    )
    assert "dataset" not in jobs(tmp_path)
    (tmp_path / "participants.tsv").unlink()
    assert "participants.tsv" in snakemake(tmp_path, "--dry-run", status=1)


# --- one small run -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small run; tests that change something take a copy."""
    folder = tmp_path_factory.mktemp("workflow")
    small_config(folder)
    snakemake(folder, *RUN)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, times and Snakemake's records included."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_run_ends_in_a_report(finished: Path) -> None:
    results = Results(finished / "results")
    page = _Page()
    page.feed(results.report.read_text(encoding="utf-8"))
    assert {"html", "h1", "table", "img"} <= set(page.tags)
    assert "A small run" in page.text
    assert "SIMULATED" in page.text.upper()
    table = read_tsv(results.table("schizophrenia", "tsv"))
    assert set(table["target"]) == {"age", "sex", "site", "sans", "saps", "diagnosis"}
    assert set(table["space"]) == {"common", "salient"}
    folder = results.saliency(METHOD)
    maps = {(target, space) for target in ("diagnosis", "sans", "saps") for space in ("common", "salient")}
    assert {f"{target}_{space}.svg" for target, space in maps} <= {path.name for path in folder.glob("*/*.svg")}
    assert {path.name for path in results.vbm.glob("*.nii.gz")} == {
        *(f"{target}.nii.gz" for target in ("diagnosis", "sans", "saps", "truth"))
    }
    of_table = set(read_tsv(results.patterns(METHOD) / "patterns.tsv")["map"])
    assert of_table == {path.stem for path in results.patterns(METHOD).glob("*.png")} > {"mean-patient", "direction-1"}
    assert "Where in the brain" in page.text
    assert (results.figures / "scores.svg").is_file()
    localised = read_tsv(folder / "localisation.tsv")
    assert set(zip(localised["target"], localised["space"], strict=True)) == maps
    assert localised["people"].min() > 0
    assert not read_tsv(folder / "sanity.tsv").empty


def test_r_reads_all_tables_of_a_run_as_pandas_does(finished: Path) -> None:
    paths = [
        path for path in (finished / "results").rglob("*.tsv") if not {"benchmarks", "checkpoints"} & set(path.parts)
    ]
    assert len(paths) > 30
    assert unlike_in_r(paths) == []


def test_every_column_of_a_run_has_a_meaning_and_maps_can_be_shared(finished: Path, tmp_path: Path) -> None:
    results = Results(finished / "results")
    assert undescribed(results.root) == []
    cells = [name for name, _, table in tables_in(results.root) for column in table if (table[column] == "").any()]
    assert cells == [], "empty, not n/a"
    write_shared(results, tmp_path / "shared")
    maps = {path.name for path in (tmp_path / "shared" / "group").glob("*.nii.gz")}
    assert len(maps) == len(list(map_files(results))) > 10
    assert "contrast-diagnosis_stat-t_desc-voxelwise_statmap.nii.gz" in maps


def test_a_run_keeps_what_was_said_and_what_it_took(finished: Path) -> None:
    results = Results(finished / "results")
    assert "epoch 1/1" in results.log("train", METHOD, "fold-1").read_text()
    measured = read_tsv(results.benchmark("train", METHOD, "fold-1"))
    assert measured["s"][0] > 0


def test_each_job_of_a_run_has_a_line_in_the_log(finished: Path) -> None:
    results = Results(finished / "results")
    lines = [line.split("\t") for line in results.stages_log.read_text().splitlines()]
    folder = results.receipt("x").parent
    receipts = [" ".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.json")]
    assert sorted(line[1] for line in lines) == sorted(receipts)
    assert {line[3] for line in lines} == {"ok"}


def test_a_second_call_does_nothing(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, *RUN)
    assert jobs(finished, "--set-resources", "train:mem_mb=5", "probe:runtime=7", "--set-threads", "embed=3") == {}


def test_an_edited_method_is_trained_anew_and_nothing_before_it(copy: Path) -> None:
    small_config(copy, methods={METHOD: {"common_dim": 4, "salient_dim": 6, "projector_width": 8}})
    after = ("embed", "probe", "tables", "leakage", "patterns", "saliency", "report")
    assert jobs(copy) == {"train": 2, **dict.fromkeys(after, 1)}


def test_an_edited_question_trains_nothing(copy: Path) -> None:
    small_config(copy, saliency={"samples": 2, "participants": 2})
    assert jobs(copy) == {"saliency": 1, "report": 1}


@pytest.mark.parametrize(
    ("target", "mapped", "redone"),
    [
        ({"label": "Negative symptoms"}, None, {"tables"}),
        # Patterns are held against the t-map.
        ({"people": "all"}, None, {"probe", "tables", "vbm", "patterns", "saliency"}),
        ({}, ["sans"], {"vbm", "patterns", "saliency"}),
    ],
    ids=["name in tables", "question", "mapped targets"],
)
def test_an_edit_of_a_target_makes_anew_what_it_is_in_and_nothing_else(
    copy: Path, target: dict[str, str], mapped: list[str] | None, redone: set[str]
) -> None:
    saliency = {"samples": 1, "participants": 2} | ({"targets": mapped} if mapped else {})
    small_config(copy, probes={"targets": QUESTIONS | {"sans": QUESTIONS["sans"] | target}}, saliency=saliency)
    assert jobs(copy) == dict.fromkeys(redone | {"report"}, 1)


def test_another_number_of_permutations_makes_no_map_anew(copy: Path) -> None:
    small_config(copy, probes={"targets": QUESTIONS, "permutations": 199})
    assert jobs(copy) == {"tables": 1, "leakage": 1, "report": 1}
    snakemake(copy, *RUN)
    in_steps = 200 * read_tsv(Results(copy / "results").table("schizophrenia", "tsv"))["p"]
    assert in_steps.to_numpy() == pytest.approx(in_steps.round().to_numpy(), abs=1e-3)


def test_an_edit_that_is_taken_back_runs_nothing(copy: Path) -> None:
    small_config(copy, seed=3)
    assert jobs(copy)["dataset"] == 1
    small_config(copy)
    assert jobs(copy) == {}


def test_tables_are_called_as_the_disorder(tmp_path: Path) -> None:
    small_config(tmp_path, cohort={"target": ["depression"]})
    planned = snakemake(tmp_path, "--dry-run")
    for name in ("depression.tsv", "depression.md", "depression.tex", "depression_paper.tsv"):
        assert f"results/tables/{name}" in planned
    assert "schizophrenia" not in planned
    assert "beside_published" not in planned


def test_snakemakes_own_report_holds_table_maps_and_page(finished: Path, tmp_path: Path) -> None:
    snakemake(finished, "--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report.html", "schizophrenia.md", "index.html", "diagnosis_salient.png"} <= names


# --- a killed run --------------------------------------------------------------------------------------------------


def _kill_training(workflow: subprocess.Popen[str], results: Results) -> None:
    """Kills the training below a Snakemake process once it has done three epochs."""
    deadline = time.monotonic() + 900
    while epochs_of(results, METHOD, 0) < 3:
        assert workflow.poll() is None, "the workflow ended before its training could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    trainings = [
        process for process in psutil.Process(workflow.pid).children(recursive=True) if "train" in process.cmdline()
    ]
    assert len(trainings) == 1
    trainings[0].send_signal(signal.SIGKILL)


def test_a_killed_training_goes_on_from_its_last_epoch(copy: Path, tmp_path: Path) -> None:
    small_config(copy, training={"epochs": 25, "batch_size": 4})
    undisturbed = Path(shutil.copytree(copy, tmp_path / "undisturbed"))
    model = Results(Path("results")).model_folder(METHOD, 0) / "model.safetensors"
    command = ("--cores", "1", str(model))
    log = Results(copy / "results").log("train", METHOD, "fold-0")
    log.unlink()

    process = subprocess.Popen(
        snakemake_command(copy, *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _kill_training(process, Results(copy / "results"))
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1, said
    assert not (copy / model).exists()

    snakemake(copy, *command)
    resumed = log.read_text()
    assert "resumes after epoch" in resumed
    assert "epoch 1/25" not in resumed
    assert "epoch 25/25" in resumed

    snakemake(undisturbed, *command)
    digests = {hashlib.sha256((folder / model).read_bytes()).hexdigest() for folder in (copy, undisturbed)}
    assert len(digests) == 1


def test_a_table_that_is_wrong_is_read_once(tmp_path: Path) -> None:
    """The profile of one machine retries jobs, which may have been killed, but not those that would fail alike."""
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsex\tdiagnosis\tsite\nsub-1\tx\tM\tcontrol\ta\n", encoding="utf-8"
    )
    study = {"name": "one", "participants": "participants.tsv", "volumes": "{participant_id}.nii.gz"}
    small_config(tmp_path, cohort={"source": "files", "studies": [study]}, probes={}, saliency={})
    profile = str(REPOSITORY / "workflow" / "profiles" / "local")
    said = snakemake(tmp_path, "--cores", "1", "--workflow-profile", profile, status=1)
    assert said.count("Error in rule cohort:") == 1
    assert said.count("'x' (participant sub-1)") == 1
