"""Files land whole or not at all, and come back as they were."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.core import storage
from sepclr_neuro.core.errors import InputError


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "map.nii.gz"
    with storage.atomic_path(path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.parent == path.parent
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), storage.atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_readable_by_the_lab_as_the_umask_says(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    storage.write_text(tmp_path / "ours", "")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_an_unchanged_text_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert storage.write_text_if_changed(path, "1\n")
    before = path.stat()
    assert not storage.write_text_if_changed(path, "1\n")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert storage.write_text_if_changed(path, "2\n")
    assert path.read_text() == "2\n"


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"participant_id": ["001", "NA", "ü"], "age": [20.5, np.nan, 40.0], "site": ["1", None, "null"]}
    )
    storage.write_tsv(tmp_path / "t.tsv", table)
    text = (tmp_path / "t.tsv").read_text(encoding="utf-8")
    assert text == "participant_id\tage\tsite\n001\t20.5\t1\nNA\tn/a\tn/a\nü\t40\tnull\n"
    back = storage.read_tsv(tmp_path / "t.tsv", text=("participant_id", "site"))
    assert back["participant_id"].tolist() == ["001", "NA", "ü"]
    assert back["site"].isna().tolist() == [False, True, False]
    assert back["site"][2] == "null"
    np.testing.assert_array_equal(back["age"], [20.5, np.nan, 40.0])


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-cmd|x", "+x", "\t=1"])
def test_a_table_holds_no_formula(text: str, tmp_path: Path) -> None:
    for table in (pd.DataFrame({"site": ["prague", text]}), pd.DataFrame({text: [1.0]})):
        with pytest.raises(InputError, match="would run as a formula in a spreadsheet"):
            storage.write_tsv(tmp_path / "t.tsv", table)
    assert list(tmp_path.iterdir()) == []
    storage.write_tsv(tmp_path / "t.tsv", pd.DataFrame({"site": ["-1", "-", "a=b"], "value": [-1.0, 2.0, 3.0]}))


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()
    storage.write_json(tmp_path / "a.json", {"b": [1, "ü"], "a": None})
    assert storage.read_json(tmp_path / "a.json") == {"b": [1, "ü"], "a": None}


def test_checksum_is_sha256_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(content)
    assert storage.sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_fingerprint_tells_contents_apart() -> None:
    assert storage.fingerprint({"a": 1}) != storage.fingerprint({"a": 2})
    assert storage.fingerprint("a", "b") != storage.fingerprint("ab")
    # Names of caches must survive a restart of Python, whose own hashes do not.
    assert storage.fingerprint({"a": [1, 2.5, "ü", None]}) == "51cfbaa481a6c56f"


def test_a_killed_process_frees_its_work(tmp_path: Path) -> None:
    code = (
        "import sys; from sepclr_neuro.core.storage import exclusive\n"
        "with exclusive(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "work.lock"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"work: another process \({other.pid}\)"), storage.exclusive(path):
            pass
        other.kill()
    with storage.exclusive(path):
        assert path.read_text() == str(os.getpid())
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_used_without(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "work.lock"
    with storage.exclusive(path):
        path.write_text("of a process that was killed on another node")
    with storage.exclusive(path):
        pass


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    code = (
        "import sys; from sepclr_neuro.core.storage import append_line\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "for _ in range(10000): append_line(sys.argv[1], sys.argv[2] * 30)"
    )
    path, pipes = tmp_path / "log", {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), letter], **pipes) for letter in "abc"]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("x")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert Counter(path.read_text().splitlines()) == {letter * 30: 10000 for letter in "abc"}


def test_a_file_that_is_written_is_told_to_who_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sepclr_neuro")
    storage.write_text(tmp_path / "table", "1")
    assert caplog.messages == [f"{tmp_path / 'table'}: written"]
