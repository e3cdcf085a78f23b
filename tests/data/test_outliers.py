"""Volumes that stand out in their cohort are found, and ordinary cohorts have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from sepclr_neuro.config.model import parse_config
from sepclr_neuro.data import outliers
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.outliers import CoarseVolumes, Outliers, find_outliers
from sepclr_neuro.data.simulated_people import simulate_people
from sepclr_neuro.data.simulator import Simulator
from sepclr_neuro.data.volume_files import read_checked

Volumes = dict[str, NDArray[np.float32]]
# Symmetric about x = 0, so that a reversed array is a mirrored brain.
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = [-94.0, -110.5, -88.0]


def people_of(count: int = 24, asymmetry: float = 0.08) -> Volumes:
    """Ellipsoids with folds that all share, a longer right front and left back, and differences of their own."""
    x, y, z = np.moveaxis(apply_affine(AFFINE, np.stack(np.indices((48, 48, 48)), axis=-1)), -1, 0)
    inside = (x / 72) ** 2 + ((y + 18) / 90) ** 2 + ((z - 6) / 66) ** 2 < 1
    shared = 0.5 + 0.2 * np.cos(np.abs(x) / 9) + 0.2 * np.sin(y / 12) + 0.2 * np.sin(z / 10)
    shared += 0.2 * (z > 20) + asymmetry * np.sign(x) * np.sign(y + 18)
    rng = np.random.default_rng(0)
    volumes = {}
    for number in range(count):
        coarse = rng.normal(0, 0.15, (12, 12, 12)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
        size = 1 + 0.05 * np.sin(number)
        volumes[f"sub-{number:02d}"] = (inside * np.clip(size * (shared + coarse), 0, None)).astype(np.float32)
    return volumes


def find(volumes: Volumes, sites: dict[str, str] | None = None, affine: NDArray[np.float64] = AFFINE) -> Outliers:
    coarse = CoarseVolumes(list(volumes))
    for scan_id, data in volumes.items():
        coarse.add(scan_id, data, affine)
    return find_outliers(
        coarse, pd.DataFrame({"scan_id": list(volumes), "site": [(sites or {}).get(s) for s in volumes]})
    )


def swapped(data: NDArray[np.float32]) -> NDArray[np.float32]:
    return data.transpose(0, 2, 1)


CHANGES: list[tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], str, str]] = [
    (lambda data: data[::-1], "asymmetry", "left and right may be exchanged"),
    (lambda data: 2 * data, "total_ml", "2 times the median of its site; another unit or scale"),
    (swapped, "correlation", "if its axes x, y, z were read as x, z, y"),
    (lambda data: data[:, :, ::-1], "correlation", "if its axes x, y, z were read as x, y, -z"),
    (lambda data: np.roll(data, 6, 1), "correlation", "if it were moved by about (0, -24, 0) mm"),
    (lambda data: np.roll(data.ravel(), 7777).reshape(data.shape) * (data > 0.9), "correlation", ""),
]


@pytest.mark.parametrize(("change", "measure", "meaning"), CHANGES)
def test_a_changed_volume_is_named_with_its_reason_and_no_other(
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]], measure: str, meaning: str
) -> None:
    volumes = people_of()
    volumes["sub-07"] = np.ascontiguousarray(change(volumes["sub-07"]))
    found = find(volumes).found
    assert {outlier.scan_id for outlier in found} == {"sub-07"}
    (outlier,) = [outlier for outlier in found if outlier.measure == measure]
    assert meaning in outlier.meaning
    assert outlier.warning().startswith("sub-07: its ")


def test_an_ordinary_cohort_has_none() -> None:
    found = find(people_of())
    assert found.found == []
    assert found.sides_differ


def test_the_measures_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computed a few volumes at a time, they are those of NumPy on all at once."""
    monkeypatch.setattr(outliers, "_CHUNK", 5)
    volumes = people_of(12)
    measures = find(volumes).measures.set_index("scan_id")
    # Two voxels a side make one of 8 mm.
    means = {s: v.reshape(24, 2, 24, 2, 24, 2).mean((1, 3, 5)) for s, v in volumes.items()}
    for scan_id, mean in means.items():
        others = np.mean([other for name, other in means.items() if name != scan_id], axis=0)
        uneven, of_others = mean - mean[::-1], others - others[::-1]
        row = measures.loc[scan_id]
        assert row["correlation"] == pytest.approx(np.corrcoef(mean.ravel(), others.ravel())[0, 1], abs=1e-4)
        assert row["asymmetry"] == pytest.approx(np.corrcoef(uneven.ravel(), of_others.ravel())[0, 1], abs=2e-3)
        assert row["total_ml"] == pytest.approx(volumes[scan_id].sum(dtype=float) * 0.064, rel=1e-4)


def test_symmetric_brains_do_not_tell_left_from_right() -> None:
    volumes = people_of(asymmetry=0)
    volumes["sub-07"] = volumes["sub-07"][::-1].copy()
    found = find(volumes)
    assert found.found == []
    assert not found.sides_differ


def test_an_unusual_brain_among_nearly_symmetric_ones_is_not_called_flipped() -> None:
    volumes = people_of(asymmetry=0.03)
    volumes["sub-07"] = people_of(asymmetry=-0.1)["sub-07"]
    found = find(volumes)
    assert found.measures.set_index("scan_id").loc["sub-07", "asymmetry"] < -0.45
    assert found.found == []
    assert not found.sides_differ


def test_a_site_has_a_median_of_its_own_from_ten_scans_on() -> None:
    volumes = people_of()
    for of_site, named in ((10, 0), (4, 4)):
        other = list(volumes)[:of_site]
        halved = {s: v * (0.5 if s in other else 1) for s, v in volumes.items()}
        found = find(halved, dict.fromkeys(other, "other")).found
        assert [outlier.scan_id for outlier in found] == other[:named]
        assert all("median of the cohort" in outlier.meaning for outlier in found)


def test_few_scans_are_not_judged() -> None:
    volumes = people_of(9)
    volumes["sub-07"] *= 4
    found = find(volumes)
    assert found.found == []
    assert found.measures["total_ml"].notna().all()
    assert found.measures["correlation"].isna().all()


def test_a_scan_without_a_volume_or_outside_the_cohort_is_left_out() -> None:
    volumes = people_of(14)
    coarse = CoarseVolumes([*volumes, "absent"])
    for scan_id, data in volumes.items():
        coarse.add(scan_id, data, AFFINE)
    cohort = pd.DataFrame({"scan_id": [*list(volumes)[2:], "absent"], "site": "here"})
    assert find_outliers(coarse, cohort).measures["scan_id"].tolist() == list(volumes)[2:]


def test_the_affine_is_followed() -> None:
    """Voxels are put where they are in the brain, not where they are in the file."""
    volumes = people_of(12)
    plain = find(volumes).measures
    order = [1, 2, 0]
    turned = {scan_id: np.ascontiguousarray(data.transpose(order)) for scan_id, data in volumes.items()}
    affine = AFFINE[:, [*order, 3]]
    pd.testing.assert_frame_equal(find(turned, affine=affine).measures, plain, atol=1e-9)


@pytest.mark.parametrize("simulation", [{}, {"site_confounding": 1.0, "disease_effect": 2.0}])
def test_simulated_cohorts_have_none(simulation: dict[str, float]) -> None:
    config = parse_config(
        {
            "cohort": {"source": "simulated", "simulation": {"participants": 48, "sites": 3, **simulation}},
            "volumes": {"shape": [32, 32, 32]},
        }
    )
    simulator = Simulator(config)
    people = simulate_people(config.cohort, config.seed)
    volumes = {person["participant_id"]: simulator.volume(person) for person in people.to_dict("records")}  # type: ignore[arg-type]
    sites = dict(zip(people["participant_id"], people["site"], strict=True))
    assert find(volumes, sites, grid_affine((32, 32, 32), 6.0)).found == []


@pytest.mark.shared
def test_real_maps_have_none_and_each_that_is_flipped_is_found(shared_data: Path) -> None:
    settings = parse_config({"volumes": {"shape": [64, 64, 64], "resample_mm": 3}}).volumes
    folder = shared_data / "real_vbm"
    people = pd.read_csv(folder / "participants.tsv", sep="\t")
    cohort = people.rename(columns={"participant_id": "scan_id"})[["scan_id", "site"]]
    volumes = {s: read_checked(folder / f"{s}_mwp1.nii.gz", settings) for s in cohort["scan_id"]}
    coarse = CoarseVolumes(list(volumes))
    for scan_id, (data, affine) in volumes.items():
        coarse.add(scan_id, data, affine)
    assert find_outliers(coarse, cohort).found == []
    for scan_id, (data, affine) in list(volumes.items())[::5]:
        coarse.add(scan_id, np.ascontiguousarray(data[::-1]), affine)
        found = find_outliers(coarse, cohort).found
        assert [(outlier.scan_id, outlier.measure) for outlier in found] == [(scan_id, "asymmetry")]
        coarse.add(scan_id, data, affine)
