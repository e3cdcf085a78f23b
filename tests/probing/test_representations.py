"""Representations that leak."""

from __future__ import annotations

import numpy as np
import pytest

from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.representations import Representations, refuse_leaks
from tests.probing.probed_run import METHOD


def check(trained_on: list[str], side: list[str], person: dict[str, str] | None = None) -> None:
    ids = ["a_1", "a_2", "b", "c"]
    person = person or {"a_1": "a", "a_2": "a", "b": "b", "c": "c"}
    representations = Representations(ids, np.array(side), {"common": np.zeros((4, 2))})
    refuse_leaks(METHOD, Fold(0, ("a_1", "b"), ("a_2", "c")), representations, trained_on, person)


def test_leak_guard_passes_a_clean_fold() -> None:
    distinct = {"a_1": "a", "a_2": "z", "b": "b", "c": "c"}
    check(["a_1", "b"], ["train", "test", "train", "test"], distinct)


def test_leak_guard_names_a_held_out_scan_that_was_trained_on() -> None:
    with pytest.raises(InputError, match="'c' is held out, but the model was trained on this participant"):
        check(["b", "c"], ["train", "test", "train", "test"])


def test_leak_guard_knows_a_participant_in_another_session() -> None:
    with pytest.raises(InputError, match="'a_2' is held out, but the model was trained on this participant"):
        check(["a_1", "b"], ["train", "test", "train", "test"])


def test_leak_guard_compares_sides_with_the_splits() -> None:
    with pytest.raises(InputError, match=r"'c' is on side test in splits\.tsv, but on side train"):
        check(["b"], ["train", "test", "train", "train"])
