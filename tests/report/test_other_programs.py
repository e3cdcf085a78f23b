"""Tables and maps in the programs that others read them with."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from nibabel.nifti1 import header_dtype

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.maps.mapping import map_files
from tests.report.in_r import TEXT, in_r, unlike_in_r

ODD = ["1e5", "007", "3-4", "0x1A", "T", "\N{MICRO SIGN}é\"'#%"]
"""Ids that programs take for numbers, dates or marks of their own."""


def test_r_reads_tables_as_they_were_written(plain: tuple[Config, Results, str]) -> None:
    paths = sorted(plain[1].root.rglob("*.tsv"))
    assert len(paths) > 10
    assert unlike_in_r(paths) == []


def test_odd_ids_and_names_stay_as_they_are_in_r(tmp_path: Path) -> None:
    path = tmp_path / "cohort.tsv"
    table = pd.DataFrame({"participant_id": ODD, "one-among-patients": ["yes", "no", None] * 2, "sex": "F"})
    write_tsv(path, table.assign(n=range(6), age=[1, 2.5, None] * 2, none=None))
    assert unlike_in_r([path]) == []
    (found,) = in_r([path])
    assert found["content"][0].split("|") == ODD
    assert dict(zip(found["names"], found["types"], strict=True)) == {
        **dict.fromkeys(("participant_id", "one-among-patients", "sex"), "character"),
        "n": "integer",
        "age": "numeric",
        "none": "logical",
    }


def test_the_document_names_the_columns_of_text() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert "check.names = FALSE" in document
    assert all(f'{name} = "character"' in document for name in TEXT)


def test_headers_of_maps_leave_viewers_nothing_to_guess(plain: tuple[Config, Results, str]) -> None:
    """The bytes themselves: what nibabel hands out, it has mended already."""
    paths = list(map_files(plain[1]))
    assert paths
    for path in paths:
        raw = gzip.decompress(path.read_bytes())
        header = np.frombuffer(raw[:348], header_dtype)[0]
        assert (header["sizeof_hdr"], header["magic"], header["vox_offset"]) == (348, b"n+1", 352)
        assert header["dim"][:4].tolist() == [3, *nibabel.load(path).shape]
        assert (header["datatype"], header["bitpix"]) == (16, 32), "float32"
        # A slope of 0 or NaN is read as 1 by some and as an error by others.
        assert (header["scl_slope"], header["scl_inter"]) == (1, 0)
        assert header["xyzt_units"] == 2, "mm"
        assert (header["sform_code"], header["qform_code"]) == (4, 4), "MNI, for those who read either"
        affine = np.stack([header["srow_x"], header["srow_y"], header["srow_z"], [0, 0, 0, 1]])
        quaternion = nibabel.Nifti1Header(raw[:348]).get_qform()
        np.testing.assert_allclose(quaternion, affine, atol=1e-4)
        assert nibabel.aff2axcodes(affine) == ("R", "A", "S")
        assert header["pixdim"][0] == 1, "no flip"
        np.testing.assert_allclose(header["pixdim"][1:4], np.diag(affine)[:3])
        assert header["intent_code"] in (3, 1001), "t test, estimate"
        assert header["cal_min"] < header["cal_max"]
        assert header["descrip"].decode("ascii").startswith(("SPM{T_[", "SIMULATED"))
        values = np.frombuffer(raw[352:], "<f4")
        assert np.isfinite(values).all(), "NaN is a hole to some, and an error to others"
