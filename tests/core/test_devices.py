"""Each command takes a GPU that no other holds, and the threads it was given."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from sepclr_neuro.core import devices
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.threads import free_cores


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose nvidia-smi names two GPUs; gives the folder of their lock files."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho GPU-one\necho GPU-two\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.01)
    return tmp_path


def test_two_commands_take_two_gpus_and_free_them(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with devices.free_gpus(locks=two_gpus) as first:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == first == "GPU-one"
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")  # the second command has an environment of its own
        with devices.free_gpus(locks=two_gpus) as second:
            assert second == "GPU-two"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with devices.free_gpus(locks=two_gpus) as again:
        assert again == "GPU-one"


def test_a_third_command_waits_for_whichever_is_free_first(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    code = (
        "import sys; from pathlib import Path; from sepclr_neuro.core import devices\n"
        "with devices.free_gpus(locks=Path(sys.argv[1])) as gpu: print(gpu, flush=True); sys.stdin.readline()"
    )
    others = []
    for expected in ("GPU-one", "GPU-two"):
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(two_gpus)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        others.append(other)
        assert other.stdout is not None
        assert other.stdout.readline().strip() == expected
    # A killed command frees its GPU.
    killer = threading.Thread(target=lambda: (release.wait(10), others[1].kill()))
    killer.start()
    monkeypatch.setattr(devices.time, "sleep", lambda _: release.set())
    with devices.free_gpus(locks=two_gpus) as third:
        assert third == "GPU-two"
    assert said.messages == ["all 2 GPUs are held by other commands; waiting for one"]
    killer.join()
    others[0].communicate("\n", timeout=10)
    others[1].communicate(timeout=10)


def test_a_command_of_two_gpus_holds_none_while_it_waits(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as held:
        held.enter_context(devices.free_gpus(locks=two_gpus))

        def meanwhile(_: float) -> None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            with devices.free_gpus(locks=two_gpus) as other:
                assert other == "GPU-two"
            held.close()

        monkeypatch.setattr(devices.time, "sleep", meanwhile)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with devices.free_gpus(2, two_gpus) as both:
            assert os.environ["CUDA_VISIBLE_DEVICES"] == both == "GPU-one,GPU-two"
    assert said.messages == ["all but 1 of 2 GPUs are held by other commands; waiting for 2"]
    with pytest.raises(InputError, match=r"training\.devices: 3 GPUs are requested, this machine has 2"):
        devices.free_gpus(3, two_gpus).__enter__()


def test_a_schedulers_choice_stands(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with devices.free_gpus(locks=two_gpus) as gpu:
        assert gpu is None
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_nothing_happens_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with devices.free_gpus(locks=tmp_path) as gpu:
        assert gpu is None
    assert list(tmp_path.iterdir()) == []


def test_torch_takes_the_threads_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        devices.use_given_threads()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(InputError, match="expected a whole number above 0, got 'many'"):
        devices.use_given_threads()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc keeps its own rules")
def test_steps_take_no_new_memory_from_the_system() -> None:
    code = (
        "import resource, sys; from sepclr_neuro.core import devices\n"
        "if sys.argv[1] == 'keep': devices.keep_freed_memory()\n"
        "def steps():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(5): [bytearray(size * 2**20) for size in (24, 48, 96)]\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "steps(); print(steps())"
    )
    page_faults = {
        how: int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "return")
    }
    assert page_faults["keep"] < page_faults["return"] / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc keeps its own rules")
def test_a_thread_takes_what_another_one_freed() -> None:
    code = (
        "import resource, threading; from sepclr_neuro.core import devices\n"
        "devices.keep_freed_memory()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def take(): bytearray(24 * 2**20)\n"
        "before = faults(); take(); first = faults() - before\n"
        "thread = threading.Thread(target=take); before = faults(); thread.start(); thread.join()\n"
        "print(first, faults() - before)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, in_a_thread = map(int, told.split())
    assert in_a_thread < first / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: pytest.fail("no C library is to be opened"))
    devices.keep_freed_memory()


# --- other systems than Linux ----------------------------------------------------------------------------------------


def test_every_module_is_imported_without_what_linux_alone_has() -> None:
    """macOS has no os.sched_getaffinity; Windows has neither that nor fcntl and resource."""
    code = (
        "import importlib, os, pkgutil, sys\n"
        "import joblib, lightning.pytorch, nilearn.plotting\n"  # what they import is their matter
        "del os.sched_getaffinity\n"
        "sys.modules['fcntl'] = sys.modules['resource'] = None\n"
        "import sepclr_neuro\n"
        "for module in pkgutil.walk_packages(sepclr_neuro.__path__, 'sepclr_neuro.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "from sepclr_neuro.core.storage import exclusive\n"
        "with exclusive('nowhere/lock'): pass\n"
        "from sepclr_neuro.probing.probe_fits import fit_in_parallel\n"
        "print(fit_in_parallel([], {}))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\n"


def test_cores_are_counted_where_the_system_does_not_say_which_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert free_cores() == os.cpu_count()
    # Nobody else asks the system.
    root = Path(__file__).resolve().parents[2]
    asking = [path for folder in ("sepclr_neuro", "benchmarks") for path in (root / folder).rglob("*.py")]
    asking = [path.name for path in asking if "sched_getaffinity" in path.read_text(encoding="utf-8")]
    assert asking == ["threads.py"]


def test_commands_share_gpus_where_there_are_no_locks(two_gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "fcntl", None)
    with devices.free_gpus(locks=two_gpus) as gpu:
        assert gpu is None
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU its memory is reported instead")
def test_memory_is_told_in_each_systems_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        ru_maxrss = 2**31

    monkeypatch.setattr(devices.resource, "getrusage", lambda who: Usage)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert devices.peak_memory() == "2.00 GiB"
    monkeypatch.setattr(sys, "platform", "linux")
    assert devices.peak_memory() == "2048.00 GiB"

    class Process:
        def memory_info(self) -> Process:
            return self

        peak_wset = 3 * 2**30

    monkeypatch.setattr(devices, "resource", None)
    monkeypatch.setattr(devices.psutil, "Process", Process)
    assert devices.peak_memory() == "3.00 GiB"
