"""What maps say of themselves, in their headers and in the files beside them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from sepclr_neuro.core.storage import read_json
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.maps import mapping
from sepclr_neuro.maps.designs import nuisance
from sepclr_neuro.maps.vbm import write_vbm
from tests.saliency_run import METHOD, Quadratic, Run
from tests.small_run import small_run


def described(header: nibabel.Nifti1Header) -> str:
    return bytes(header["descrip"]).rstrip(b"\0").decode()


@pytest.mark.parametrize("source", ["files", "simulated"])
def test_a_t_map_shows_its_freedom_range_and_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(mapping, "mosaic", lambda *_: None)
    config, results = small_run(tmp_path, people=24)
    # As if it were another cohort; what is computed stays the same.
    object.__setattr__(config.cohort, "source", source)
    write_vbm(config, results)
    image = nibabel.Nifti1Image.from_filename(results.vbm / "diagnosis.nii.gz")
    header, values = image.header, image.get_fdata()
    cohort = load_cohort(results.cohort).set_index("scan_id")
    train = cohort.loc[list(read_fold(results.splits, results.index, 0).train)]
    freedom = len(train) - 2 - nuisance(config, train).shape[1]
    assert header.get_intent() == ("t test", (float(freedom),), "t")
    assert described(header).startswith(f"SPM{{T_[{freedom:.1f}]}} - ")
    assert ("SIMULATED" in described(header)) == (source == "simulated")
    assert (int(header["qform_code"]), int(header["sform_code"])) == (4, 4)
    assert header.get_xyzt_units()[0] == "mm"
    assert header["cal_max"] == -header["cal_min"] == pytest.approx(np.quantile(np.abs(values[values != 0]), 0.999))
    about = read_json(results.vbm / "diagnosis.json")
    assert (about["DegreesOfFreedom"], about["Participants"], about["Folds"]) == (freedom, 12, 2)
    assert ("SIMULATED" in about["Source"]) == (source == "simulated")


def test_each_map_has_a_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, targets=["diagnosis"], permutations=9, noise_sd=0.0, group_voxel_mm=48)
    run.method = Quadratic()
    run.write()
    maps = sorted(run.results.saliency(METHOD).rglob("*.nii.gz"))
    about = {mapping.beside(path, "").name: read_json(mapping.beside(path, ".json")) for path in maps}
    assert len(about) == 6
    mean, tested = about["diagnosis_salient"], about["diagnosis_salient_group-t"]
    facts = ("Statistic", "Target", "Space", "Method", "Attribution", "Participants", "Units")
    assert [mean[key] for key in facts] == [
        *("attribution: credit of a voxel for a score", "diagnosis", "salient", METHOD, "smoothgrad", 12),
        "probe score per SD of grey matter",
    ]
    assert (tested["Statistic"], tested["Contrast"], tested["Participants"]) == ("t statistic", "group", 12)
    assert "9 permutations" in tested["Correction"]
    assert mean["Correction"].startswith("none")
    header = nibabel.load(run.results.saliency(METHOD) / "smoothgrad" / "diagnosis_salient.nii.gz").header
    assert header.get_intent()[0] == "estimate"
