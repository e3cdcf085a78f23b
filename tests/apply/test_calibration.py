"""A new site's controls shift its salient codes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.site_calibration import errors
from sepclr_neuro.apply.calibration import calibrate, site_shift
from sepclr_neuro.apply.controls import Controls
from sepclr_neuro.apply.notes import note_on_calibration
from tests.oracles import apply as oracle


def people(seed: int = 0, count: int = 30, dims: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes, sites, whether controls, and the run's controls."""
    rng = np.random.default_rng(seed)
    sites = np.array(["bonn", "oslo", "rome"])[np.arange(count) % 3]
    offset = {"bonn": 3.0, "oslo": 0.1, "rome": -2.0}
    codes = rng.normal(size=(count, dims)) + np.array([offset[site] for site in sites])[:, None]
    return codes, sites, np.arange(count) % 5 < 2, rng.normal(size=(25, dims))


@pytest.mark.parametrize("seed", range(5))
def test_calibrated_codes_are_those_of_the_oracle(seed: int) -> None:
    codes, sites, control, reference = people(seed)
    names = np.array([f"sub-{k}" for k in range(len(codes))])
    found, shifts = calibrate(codes, sites, names, control, Controls.of(reference, reference))
    expected = oracle.calibrated(codes, list(sites), list(control), reference)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    of_bonn = oracle.shift(codes[(sites == "bonn") & control], reference)
    row = shifts.set_index("site").loc["bonn"]
    np.testing.assert_allclose(row[["shift_0", "shift_1", "shift_2"]].to_numpy(float), of_bonn, rtol=1e-12)
    variance = max(map(oracle.summed_variance, (reference, codes[(sites == "bonn") & control])))
    assert row["distance"] == pytest.approx(np.linalg.norm(of_bonn) / np.sqrt(variance))


def test_a_site_without_a_control_stays_as_it_is() -> None:
    codes, sites, control, reference = people()
    control &= sites != "rome"
    found, shifts = calibrate(
        codes, sites, np.arange(len(codes)).astype(str), control, Controls.of(reference, reference)
    )
    np.testing.assert_array_equal(found[sites == "rome"], codes[sites == "rome"])
    assert shifts.set_index("site").loc["rome", ["controls", "kept", "distance"]].tolist() == [0, 0, 0]


def test_the_scans_of_a_participant_count_once() -> None:
    codes, sites, control, reference = people()
    controls = Controls.of(reference, reference)
    names = np.arange(len(codes)).astype(str)
    twice = [np.concatenate([values, values[:6]]) for values in (codes, sites, names, control)]
    once, _ = calibrate(codes, sites, names, control, controls)
    again, _ = calibrate(*twice, controls)
    np.testing.assert_allclose(again[: len(codes)], once, atol=1e-12)


def test_more_controls_keep_more_of_the_same_difference() -> None:
    reference = Controls.of(*[np.random.default_rng(0).normal(size=(50, 2))] * 2)
    site = reference.mean + np.array([0.8, -0.6])
    kept = [site_shift(np.tile(site, (count, 1)), reference)[1] for count in (1, 2, 5, 20, 1000)]
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] == pytest.approx(1 - reference.variance * (1 / 1000 + 1 / 50))


def test_controls_of_the_reference_site_move_hardly_anything_and_an_offset_is_mostly_removed() -> None:
    """Over many draws of five controls: without an offset the error stays below that of no shrinkage."""
    rng = np.random.default_rng(1)
    reference = Controls.of(*[rng.normal(size=(200, 4))] * 2)
    for offset, most in ((0.0, 0.5), (2.0, 0.7)):
        errors, plain = [], []
        for _ in range(400):
            site = rng.normal(size=(5, 4)) + offset
            errors.append(np.square(site_shift(site, reference)[0] - offset).sum())
            plain.append(np.square(site.mean(axis=0) - reference.mean - offset).sum())
        assert np.mean(errors) < (most if offset == 0 else 1.05) * np.mean(plain)


def test_controls_without_any_difference() -> None:
    reference = Controls.of(*[np.random.default_rng(0).normal(size=(20, 2))] * 2)
    moved, kept = site_shift(np.array([reference.mean]), reference)
    assert kept == 0
    assert not moved.any()


@pytest.mark.parametrize(("controls", "warned"), [(0, False), (1, True), (4, True), (5, False)])
def test_few_controls_are_a_warning(controls: int, warned: bool) -> None:
    note = note_on_calibration({"site": "oslo", "controls": controls, "kept": 0.5, "distance": 0.3})
    assert ("With fewer than 5 controls" in note) == warned


def test_the_benchmark_of_the_number_of_controls() -> None:
    """The oracle: without shrinkage, n controls leave v / n, and no calibration leaves the offset and v / 30."""
    (without, one), (again, ten) = (errors(0.7, controls, draws=400) for controls in (1, 10))
    assert without == again == pytest.approx(0.7**2 + 1 / 30, rel=0.05)
    assert ten == pytest.approx(1 / 10, rel=0.15)
    assert ten < one < without
