"""Maps of one fold: who is mapped, what stands for nothing special, what is kept of single people."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.maps.atlases import cubes
from sepclr_neuro.maps.fold_maps import FoldMapper, mapped_people
from sepclr_neuro.maps.group_maps import CoarseGrid
from sepclr_neuro.maps.mapping import SALIENT_NORM
from tests.saliency_run import AFFINE, METHOD, Linear, Quadratic, Run


def test_as_many_of_both_groups_are_mapped_by_seed() -> None:
    names = [f"sub-{k:02d}" for k in range(20)]
    people = pd.DataFrame({"participant_id": [*names, "sub-19"], "group": ["background"] * 14 + ["target"] * 7})
    chosen = mapped_people(people, 6, seed=0)
    assert chosen.groupby("group")["participant_id"].nunique().to_dict() == {"background": 3, "target": 3}
    for name in set(chosen["participant_id"]):
        assert (chosen["participant_id"] == name).sum() == (people["participant_id"] == name).sum(), "all scans"
    assert chosen.equals(mapped_people(people, 6, seed=0))
    assert not chosen.equals(mapped_people(people, 6, seed=1))
    assert mapped_people(people, None, seed=0).equals(people)
    assert set(mapped_people(people, 1, seed=0)["group"]) == {"target"}
    assert mapped_people(people, 0, seed=0).empty


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch, noise_sd=0.0)


def test_nothing_special_is_the_mean_of_the_training_controls(run: Run) -> None:
    mapper = FoldMapper(run.config, run.results, METHOD, 0)
    group = run.cohort.set_index("scan_id")["group"]
    controls = [scan for scan in run.train[0] if group[scan] == "background"]
    expected = np.mean([run.standardised(0, scan) for scan in controls], axis=0)
    np.testing.assert_allclose(mapper.baseline()[0, 0].cpu(), expected, atol=1e-5)


def test_integrated_gradients_and_occlusion_of_a_linear_model(run: Run) -> None:
    """Each voxel adds its weight times its distance from the mean control; a region what its voxels add."""
    mapper = FoldMapper(run.config, run.results, METHOD, 0)
    pair, scan = ("diagnosis", "salient"), "sub-01"
    scores = mapper.scores([pair], scan)
    away = run.standardised(0, scan) - mapper.baseline()[0, 0].cpu().numpy()
    added = away * run.field(0, *pair)
    found = mapper.explain("integrated-gradients", scores, scan, None)[0].numpy()
    np.testing.assert_allclose(found, added, atol=1e-4)
    regions = cubes(60.0, mapper.mask, AFFINE)
    occluded = mapper.explain("occlusion", scores, scan, regions)[0].numpy()
    for number in regions.names:
        inside = regions.regions == number
        np.testing.assert_allclose(occluded[inside], added[inside].sum(), rtol=1e-3, atol=1e-3)


def test_the_distance_of_the_salient_head_is_mapped_where_a_method_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, monkeypatch, noise_sd=0.0, of=["salient-norm"])
    mapper = FoldMapper(run.config, run.results, METHOD, 0)
    assert list(mapper.decisions) == [(SALIENT_NORM, "salient")]
    found = mapper.maps("smoothgrad", None, None).mean[SALIENT_NORM, "salient"].numpy()
    field = run.method.fields["salient"].numpy()
    by_person = []
    for scan in run.test[0]:
        x = run.standardised(0, scan)
        by_person.append(2 * np.einsum("d,dxyz->xyz", (field * x).sum(axis=(1, 2, 3)), field) * mapper.mask)
    np.testing.assert_allclose(found, np.mean(by_person, axis=0), rtol=1e-3, atol=1e-2)

    monkeypatch.setattr(Linear, "has_salient_norm", False)
    assert FoldMapper(run.config, run.results, METHOD, 0).decisions == {}


def test_what_is_kept_of_each_person(run: Run) -> None:
    run.method = Quadratic()
    mapper = FoldMapper(run.config, run.results, METHOD, 1)
    grid = CoarseGrid.over(mapper.mask, AFFINE, 24.0)
    found = mapper.maps("smoothgrad", grid, None)
    pair = ("sans", "common")
    people = mapper.participants("sans")
    assert people == ["sub-07", "sub-09", "sub-11"]
    for place, person in enumerate(people):
        scans = [scan for scan in run.test[1] if scan.startswith(person)]
        values = np.mean([run.standardised(1, scan) for scan in scans], axis=0) * run.field(1, *pair)
        np.testing.assert_allclose(found.people[pair][place], grid.reduce(values), atol=1e-4)
        assert found.peaks[pair][place] == np.abs(values).argmax()


def test_maps_of_single_people_are_written_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, noise_sd=0.0, targets=["sans"])
    run.method = Quadratic()
    run.write()
    folder = run.results.participant_maps(METHOD)
    assert not folder.exists()
    run = Run(tmp_path, monkeypatch, noise_sd=0.0, targets=["sans"], participant_maps=True)
    run.method = Quadratic()
    run.write()
    names = {path.name for path in (folder / "smoothgrad").iterdir()}
    people = {0: ["sub-01", "sub-03", "sub-05"], 1: ["sub-07", "sub-09", "sub-11"]}
    assert names == {
        f"{person}_sans_{space}_fold-{fold}.nii.gz"
        for fold, held_out in people.items()
        for person in held_out
        for space in ("common", "salient")
    }
    one = nibabel.Nifti1Image.from_filename(folder / "smoothgrad" / "sub-01_sans_common_fold-0.nii.gz").get_fdata()
    np.testing.assert_allclose(one, run.standardised(0, "sub-01") * run.field(0, "sans", "common"), atol=1e-4)
