"""One training on two nodes of a real SLURM."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest

from sepclr_neuro.config.model import load_config
from sepclr_neuro.core.layout import Results
from tests.same_model import assert_same_model
from tests.slurm.running import ON_ONE_NODE, said_by
from tests.workflow.running import REPOSITORY, small_config, snakemake

METHOD = "sepclr-k-jem"
MODEL = str(Results(Path("results")).model_folder(METHOD, 0) / "model.safetensors")
# A step of Adam is as long as this even where a gradient is nothing but rounding: kept small.
TRAINING = {"epochs": 2, "batch_size": 8, "precision": "float32", "learning_rate": 1e-5}


@pytest.mark.timeout(2400)
def test_one_training_on_two_nodes_is_that_of_one(slurm_of_two_nodes: None, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    small_config(one, training=TRAINING)
    snakemake(one, "--cores", "2", "--max-threads", "1", MODEL)
    shutil.copytree(one, two)
    shutil.rmtree(two / "results" / "models")
    small_config(two, training=TRAINING | {"nodes": 2})
    # GPUs of a node are asked for by `gres`, those of all nodes by `gpu`.
    said = snakemake(two, MODEL, *(each.replace("train:gpu=1", "train:gres='gpu:1'") for each in ON_ONE_NODE))
    jobs = re.findall(r"has been submitted with SLURM jobid '?(\d+)", said)
    assert len(jobs) == 1, said
    assert "NumNodes=2 NumCPUs=2 NumTasks=2 " in said_by("scontrol", "show", "job", *jobs)
    assert_same_model(load_config(one / "config.yaml"), METHOD, *(Results(each / "results") for each in (one, two)))


@pytest.mark.timeout(2400)
def test_no_process_is_left_on_another_node(slurm_of_two_nodes: None, tmp_path: Path) -> None:
    """Though the job lives on. Each node has a core, a GPU and two processes."""
    command = f"from tests.core.test_processes import endless; endless({str(tmp_path)!r}, devices=2, nodes=2)"
    job = f'PYTHONPATH={REPOSITORY} OMP_NUM_THREADS=1 srun -n1 --nodes=1 {sys.executable} -c "{command}"; sleep 600'
    asked = ["--nodes=2", "--ntasks=2", "--mem=1500", "--gres=gpu:1", f"--output={tmp_path / 'said'}"]
    number = said_by("sbatch", "--parsable", *asked, f"--wrap={job}").strip()
    processes = []
    for place in range(4):
        deadline = time.monotonic() + 300
        while not (tmp_path / str(place)).is_file():
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.05)
        processes.append(psutil.Process(int((tmp_path / str(place)).read_text())))
    of_each = [process.environ() for process in processes]
    assert [each["SLURMD_NODENAME"] for each in of_each] == ["node1", "node1", "node2", "node2"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in of_each] == ["0"] * 4
    processes[0].kill()
    assert psutil.wait_procs(processes, timeout=60)[1] == []
    said_by("scancel", number)
