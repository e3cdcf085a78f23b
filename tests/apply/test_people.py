"""Tables of new participants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.apply.people import NewPeople, read_people
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.data.covariates import CovariateCoding, learn_covariates

TRAINING = pd.DataFrame(
    {
        "scan_id": [f"t{k}" for k in range(6)],
        "age": [20.0, 30.0, 40.0, 50.0, 60.0, 70.0],
        "sex": ["female", "male"] * 3,
        "tiv": [1400.0, 1450.0, 1500.0, 1550.0, 1600.0, 1650.0],
        "scanner": ["1", "2", "A", "1", "2", "A"],
    }
)
CODING = learn_covariates(TRAINING, ["age", "sex", "tiv", "scanner"])


def people(folder: Path, *lines: str, coding: CovariateCoding = CODING, tiv_column: str | None = None) -> NewPeople:
    """Those of a table, each with a file in place of a volume."""
    path = folder / "participants.tsv"
    path.write_text("\n".join(line.replace(" ", "\t") for line in lines) + "\n")
    for line in lines[1:]:
        (folder / f"{line.split(' ')[0]}.nii.gz").touch()
    return read_people(path, "{participant_id}.nii.gz", coding, tiv_column)


def test_covariates_are_typed_as_the_model_codes_them(tmp_path: Path) -> None:
    """A label stays text, also where all of the new ones look like numbers."""
    found = people(tmp_path, "participant_id age sex tiv scanner", "sub-1 25 F 1500 1", "sub-2 35 male 1600 2")
    assert found.rows["scanner"].tolist() == ["1", "2"]
    assert found.rows["sex"].tolist() == ["female", "male"]
    assert found.rows[["age", "tiv"]].to_numpy().tolist() == [[25, 1500], [35, 1600]]
    of_training = TRAINING.iloc[:2].assign(age=[25.0, 35.0], tiv=[1500.0, 1600.0])
    np.testing.assert_allclose(CODING.code(found.rows), CODING.code(of_training))
    assert CODING.new_levels(found.rows) == {}


def test_a_model_that_fills_values_in_takes_empty_cells(tmp_path: Path) -> None:
    coding = learn_covariates(TRAINING, ["age", "tiv"], impute=True)
    found = people(tmp_path, "participant_id age tiv", "sub-1 n/a 1500", coding=coding)
    assert coding.code(found.rows)[0, :2].tolist() == [0, 0]
    assert coding.deviations(found.rows)["age"].isna().all()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("sub-1 25 F big 1",), "column 'tiv': is not a number"),
        (("sub-1 25 F -9 1",), "column 'tiv': is not above 0"),
        (("sub-1 25 F n/a 1", "sub-2 25 F n/a 1"), "2 alike (sub-1, sub-2)"),
        (("sub-1 old F 1500 1",), "'old' (participant sub-1) is not a finite number"),
        (("sub-1 25 F 1500 1", "sub-1 25 F 1500 1"), "are all about participant sub-1"),
        ((), "found 1 lines"),
    ],
)
def test_wrong_tables(tmp_path: Path, lines: tuple[str, ...], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        people(tmp_path, "participant_id age sex tiv scanner", *lines)
    assert expected in str(caught.value)


def test_the_volume_of_intracranial_space_that_volumes_are_scaled_by(tmp_path: Path) -> None:
    coding = CovariateCoding()
    with pytest.raises(InputError, match=r"has no column 'tiv'; the model needs tiv of each participant.*mean 'TIV'"):
        people(tmp_path, "participant_id TIV", "sub-1 1500", coding=coding, tiv_column="tiv")
    found = people(tmp_path, "participant_id tiv", "sub-1 1500", coding=coding, tiv_column="tiv")
    assert found.rows["tiv"].tolist() == [1500.0]


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_people(tmp_path / "none.tsv", "{participant_id}.nii.gz", CODING)
    with pytest.raises(InputError, match="holds braces"):
        read_people(tmp_path / "{a}.tsv", "{participant_id}.nii.gz", CODING)


def test_patterns_that_fit_nobody_are_explained(tmp_path: Path) -> None:
    people(tmp_path, "participant_id age sex tiv scanner", "sub-1 25 F 1500 1", "sub-2 25 F 1500 1")
    for pattern, expected in (
        ("{subject}.nii.gz", "the pattern of its volumes has {subject}, which no table has"),
        ("{participant_id}_mwp1.nii.gz", "expected one volume called sub-1_mwp1.nii.gz"),
        ("none/{participant_id}.nii.gz", "expected one volume called none/sub-1.nii.gz"),
        ("/nowhere/{participant_id}.nii.gz", "does not exist"),
    ):
        with pytest.raises(InputError) as caught:
            read_people(tmp_path / "participants.tsv", pattern, CODING)
        assert expected in str(caught.value)
