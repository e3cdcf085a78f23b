"""Random inputs: the right answer or one clear error, never another one (100,000: tests/soak/fuzz.py).

Each property is about bytes, so that hypothesis may choose any; those that are near a good file are asked most.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import torch
from hypothesis import given
from hypothesis import strategies as st
from nibabel.affines import from_matvec

from sepclr_neuro.config.model import Config, load_config, parse_config
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, read_tsv, write_tsv
from sepclr_neuro.data.cohort import build_cohort
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.volume_files import load_volume
from sepclr_neuro.learning.checkpoints import read_checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
TABLE = (
    b"participant_id\tdiagnosis\tage\tsex\tsite\n"
    b"sub-01\tcontrol\t20\tfemale\tprague\nsub-02\tcontrol\t30.5\tmale\tprague\n"
    b'sub-03\tschizophrenia\t25\tfemale\t"Brno, CZ"\nsub-04\tschizophrenia\t40\tmale\tbrno\n'
)
SETTINGS = Volumes(shape=(32, 32, 32))


@cache
def folder() -> Path:
    """One for all examples, removed with the process."""
    cache.holder = tempfile.TemporaryDirectory()  # type: ignore[attr-defined]
    return Path(cache.holder.name)  # type: ignore[attr-defined]


@cache
def volume() -> bytes:
    """A small grey-matter map, as the bytes of a .nii."""
    affine = from_matvec(np.diag([12.0, 12.0, 12.0]), [-72.0, -100.5, -66.0])
    values = np.random.default_rng(0).uniform(0.2, 0.8, (13, 15, 13)).astype(np.float32)
    path = folder() / "good.nii"
    nibabel.save(as_image(values, affine), path)
    return path.read_bytes()


def loaded(content: bytes, name: str) -> Any:
    path = folder() / name
    path.write_bytes(content)
    return load_volume(path, SETTINGS)[0]


@cache
def right() -> Any:
    return loaded(volume(), "right.nii")


@cache
def checkpoint() -> bytes:
    path = folder() / "good.ckpt"
    torch.save({"epoch": 3, "state_dict": {"weight": torch.arange(500.0)}, "history": [{"loss": 0.5}]}, path)
    return path.read_bytes()


def outcome(work: Callable[[], Any]) -> Any:
    """What a piece of work returns, or None where it ends in the one error that a user is meant to read."""
    try:
        return work()
    except InputError:
        return None


def mutations(content: Callable[[], bytes]) -> st.SearchStrategy[bytes]:
    """Good content with a few bytes replaced, added or taken away, or cut off."""

    def change(edits: list[tuple[float, int, bytes]]) -> bytes:
        changed = bytearray(content())
        for where, removed, put in edits:
            start = int(where * len(changed))
            changed[start : start + removed] = put
        return bytes(changed)

    place = st.floats(0, 1, exclude_max=True)
    edit = st.tuples(place, st.integers(0, 12), st.binary(max_size=12))
    cut = place.map(lambda where: content()[: int(where * len(content()))])
    return st.one_of(st.lists(edit, min_size=1, max_size=4).map(change), cut)


def flips(content: Callable[[], bytes], first: int = 0, last: int | None = None) -> st.SearchStrategy[bytes]:
    """Good content with one bit flipped, from byte ``first`` to before ``last``."""

    def flip(where: tuple[float, int]) -> bytes:
        changed = bytearray(content())
        end = len(changed) if last is None else last
        changed[first + int(where[0] * (end - first))] ^= 1 << where[1]
        return bytes(changed)

    return st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)).map(flip)


def zipped() -> bytes:
    return gzip.compress(volume(), compresslevel=1, mtime=0)


# --- tables, settings, results -------------------------------------------------------------------------------------

cells = st.text(st.sampled_from("\t\n\r\"',;=-+@.019aébn/\\\u200b\0 "), max_size=120).map(lambda text: text.encode())


@given(st.one_of(st.binary(max_size=300), cells.map(lambda rows: TABLE + rows), mutations(lambda: TABLE)))
def test_any_bytes_are_a_cohort_or_a_clear_error(content: bytes) -> None:
    path = folder() / "participants.tsv"
    path.write_bytes(content)
    cohort = {"source": "files", "studies": [{"name": "one", "participants": str(path)}], "on_error": "stop"}
    asked = {
        "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
        "saliency": {"targets": []},
    }
    settings = parse_config({"cohort": cohort, **asked}).cohort
    tables = outcome(lambda: build_cohort(settings, None))
    if tables is None:
        return
    # Whoever is in it is in the table, as it is written, and comes back from the disk.
    text = content.decode("utf-8-sig")
    assert tables.cohort["participant_id"].is_unique
    assert all(cell in text for cell in tables.cohort["participant_id"])
    assert tables.cohort["age"].between(0, 120, inclusive="neither").all()
    assert set(tables.cohort["sex"]) <= {"female", "male"}
    write_tsv(folder() / "cohort.tsv", tables.cohort)
    names = tuple(tables.cohort.columns)
    back = read_tsv(folder() / "cohort.tsv", text=names)
    for name in ("participant_id", "diagnosis", "site"):
        assert back[name].tolist() == tables.cohort[name].tolist()
    # With exclusion no participant is included whom the strict mode would have refused.
    lenient = outcome(lambda: build_cohort(settings.model_copy(update={"on_error": "exclude"}), None))
    assert lenient is not None
    pd.testing.assert_frame_equal(lenient.cohort, tables.cohort)


@given(st.one_of(st.binary(max_size=200), mutations(lambda: (REPOSITORY / "config.yaml").read_bytes())))
def test_any_bytes_are_a_configuration_or_a_clear_error(content: bytes) -> None:
    path = folder() / "config.yaml"
    path.write_bytes(content)
    assert isinstance(outcome(lambda: load_config(path)), Config | None)


@given(st.one_of(st.binary(max_size=200), mutations(lambda: b'{"shape": [32, 32, 32], "affine": [[1.5, 0]]}\n')))
def test_any_bytes_are_a_table_and_json_or_a_clear_error(content: bytes) -> None:
    path = folder() / "result"
    path.write_bytes(content)
    outcome(lambda: read_json(path))
    outcome(lambda: read_tsv(path, text=("scan_id",)))


# --- volumes -------------------------------------------------------------------------------------------------------


@given(st.one_of(mutations(lambda: volume()[:352]), flips(volume, last=352)).map(lambda head: head + volume()[352:]))
def test_any_header_is_a_plausible_volume_or_a_clear_error(content: bytes) -> None:
    for name, written in (("header.nii", content), ("header.nii.gz", gzip.compress(content, compresslevel=1))):
        found = outcome(lambda name=name, written=written: loaded(written, name))
        if found is not None:
            assert found.shape == (32, 32, 32)
            assert np.isfinite(found).all()
            assert found.min() >= 0
            assert found.max() <= SETTINGS.maximum


@given(st.integers(0, 10**9))
def test_a_cut_off_volume_is_a_clear_error(length: int) -> None:
    assert outcome(lambda: loaded(volume()[: length % len(volume())], "cut.nii")) is None
    packed = zipped()
    assert outcome(lambda: loaded(packed[: length % len(packed)], "cut.nii.gz")) is None


@given(flips(zipped))
def test_a_flipped_bit_in_a_gzip_is_the_right_volume_or_a_clear_error(content: bytes) -> None:
    found = outcome(lambda: loaded(content, "flipped.nii.gz"))
    assert found is None or np.array_equal(found, right())


@given(st.one_of(st.binary(max_size=400), mutations(zipped)))
def test_any_bytes_called_gzip_are_the_right_volume_or_a_clear_error(content: bytes) -> None:
    found = outcome(lambda: loaded(content, "any.nii.gz"))
    assert found is None or np.array_equal(found, right())


# --- checkpoints ---------------------------------------------------------------------------------------------------


@given(st.one_of(st.binary(max_size=100), mutations(checkpoint), flips(checkpoint)))
def test_any_bytes_are_the_right_checkpoint_or_a_clear_error(content: bytes) -> None:
    path = folder() / "any.ckpt"
    path.write_bytes(content)
    found = outcome(lambda: read_checkpoint(path))
    if found is not None:
        assert torch.equal(found["state_dict"]["weight"], torch.arange(500.0))
        assert (found["epoch"], found["history"]) == (3, [{"loss": 0.5}])
