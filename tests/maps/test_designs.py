"""Nuisance columns: centred, of full rank, of people whose facts are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.maps.designs import nuisance


def people(count: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.uniform(20, 60, count),
            "tiv": rng.normal(1500, 100, count),
            "sex": rng.choice(["female", "male"], count),
            "site": rng.choice(["a", "b", "c"], count),
        },
        index=[f"scan-{k}" for k in range(count)],
    )


def test_columns_are_centred_and_say_what_is_known() -> None:
    table = people()
    fold = pd.Series(np.arange(24) % 3, index=table.index)
    found = nuisance(Config(), table, fold)
    assert list(found) == ["age", "tiv", "sex male", "site b", "site c", "fold 1", "fold 2"]
    np.testing.assert_allclose(found.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(found["age"], (table["age"] - table["age"].mean()) / table["age"].std(ddof=0))
    assert np.linalg.matrix_rank(np.column_stack([np.ones(24), found])) == 8
    assert list(nuisance(Config(), table.drop(columns="tiv"))) == ["age", "sex male", "site b", "site c"]
    assert "head" in nuisance(Config(volumes={"tiv_column": "head"}), table.rename(columns={"tiv": "head"}))


def test_what_says_nothing_new_is_left_out() -> None:
    table = people().assign(sex="female")
    fold = (table["site"] == "b").astype(int)
    assert list(nuisance(Config(), table, fold)) == ["age", "tiv", "site b", "site c"]


def test_people_of_whom_a_fact_is_missing_are_left_out_unless_nobody_has_it() -> None:
    table = people()
    table.loc["scan-3", "age"] = np.nan
    table["site"] = np.nan
    found = nuisance(Config(), table)
    assert found.index.tolist() == [f"scan-{k}" for k in range(24) if k != 3]
    assert list(found) == ["age", "tiv", "sex male"]


def test_a_sex_that_is_neither_of_two_is_a_column_of_its_own() -> None:
    table = people()
    table.loc["scan-3", "sex"] = "other"
    found = nuisance(Config(), table)
    assert list(found) == ["age", "tiv", "sex male", "sex other", "site b", "site c"]
    assert len(found) == 24


def test_age_as_tiv_is_one_column() -> None:
    assert list(nuisance(Config(volumes={"tiv_column": "age"}), people())) == ["age", "sex male", "site b", "site c"]


def test_tiv_in_words_is_refused() -> None:
    table = people()
    table["tiv"] = table["tiv"].round().astype(str) + " ml"
    with pytest.raises(InputError, match=r"the column 'tiv', .* has text such as '\d+.0 ml'"):
        nuisance(Config(), table)
