"""Cohorts with known factors: what is put in is there, where its map says, and nothing else is."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.config.simulation import Implant
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, sha256
from sepclr_neuro.data import simulation, simulator
from sepclr_neuro.data.cohort import build_cohort, write_cohort
from sepclr_neuro.data.effects import DISEASE, DISEASE_REGIONS, disease_maps, grey_template, region_map, simulated_grid
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.simulated_people import implant_people, simulate_people
from sepclr_neuro.data.simulation import write_dataset
from sepclr_neuro.data.simulator import Simulator
from sepclr_neuro.data.volume_files import load_volume

GRID = ((32, 32, 32), grid_affine((32, 32, 32), 6.0))
TEMPLATES: dict[tuple[Any, ...], np.ndarray] = {}


@pytest.fixture(autouse=True)
def template_is_made_once_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smoothing the 1 mm template is what takes time in small tests."""
    for module in (simulation, simulator):
        monkeypatch.setattr(module, "grey_template", cached_template)


def cached_template(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    key = (*shape, affine.tobytes())
    if key not in TEMPLATES:
        TEMPLATES[key] = grey_template(shape, affine)
    return TEMPLATES[key]


def configure(output: Path = Path("results"), seed: int = 0, **simulated: Any) -> Config:
    return parse_config(
        {
            "output": str(output),
            "seed": seed,
            "volumes": {"shape": [32, 32, 32]},
            "cohort": {"simulation": {"participants": 8, "sites": 2} | simulated},
        }
    )


def written(config: Config) -> Results:
    results = Results(config.output)
    write_dataset(config, results)
    return results


def checksums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


# --- people ------------------------------------------------------------------------------------------------------


def test_more_participants_change_nothing_for_the_others() -> None:
    few = simulate_people(configure(participants=10).cohort, seed=0)
    many = simulate_people(configure(participants=40).cohort, seed=0)
    pd.testing.assert_frame_equal(few, many.head(10))


def test_seeds_make_different_people() -> None:
    cohort = configure(participants=40).cohort
    one, other = simulate_people(cohort, 0), simulate_people(cohort, 1)
    for column in ("age", "tiv", "disease_negative"):
        assert not np.allclose(one[column], other[column])


def test_groups_are_matched_for_age_and_sex_and_only_patients_have_symptoms() -> None:
    people = simulate_people(configure(participants=300, patient_fraction=0.4).cohort, seed=0)
    groups = people.groupby("diagnosis")
    assert groups.size().to_dict() == {"control": 180, "schizophrenia": 120}
    assert abs(groups["age"].mean().diff().iloc[1]) < 0.5
    assert abs((people["sex"] == "F").groupby(people["diagnosis"]).mean().diff().iloc[1]) < 0.05
    assert people["age"].between(18, 65).all()

    controls, patients = groups.get_group("control"), groups.get_group("schizophrenia")
    assert controls[["sans", "saps"]].isna().all(axis=None)
    assert (controls[["disease_negative", "disease_positive"]] == 0).all(axis=None)
    for score, severity in (("sans", "disease_negative"), ("saps", "disease_positive")):
        assert 0 < patients[score].isna().mean() < 0.15
        assert patients[score].dropna().between(0, 100).all()
        assert (patients[score].dropna() % 1 == 0).all()
        assert patients[score].corr(patients[severity]) > 0.9


@pytest.mark.parametrize(("confounding", "expected"), [(0.0, 0.5), (0.4, 0.7), (1.0, 1.0)])
def test_site_confounding_sets_the_share_of_patients_at_the_last_site(confounding: float, expected: float) -> None:
    cohort = configure(participants=400, sites=4, site_confounding=confounding).cohort
    people = simulate_people(cohort, seed=0)
    share = (people["diagnosis"] == "schizophrenia").groupby(people["site"]).mean()
    assert share["site-4"] == pytest.approx(expected, abs=0.03)
    assert share["site-1"] == pytest.approx(1 - expected, abs=0.03)
    assert people["site"].value_counts().between(90, 110).all()


# --- maps --------------------------------------------------------------------------------------------------------


def test_disease_effects_are_the_published_ones(shared_data: Path) -> None:
    with (shared_data / "enigma_scz_dk.csv").open() as file:
        published = {(row["label"], row["hemi"]): float(row["d"]) for row in csv.DictReader(file)}
    for region in (region for where in DISEASE_REGIONS.values() for regions in where.values() for region in regions):
        assert region.left == published[region.name, "L"]
        assert region.right == published[region.name, "R"]


def test_maps_have_the_relative_size_of_each_region_in_its_middle_on_both_sides() -> None:
    shape, affine = simulated_grid(configure().volumes.model_copy(update={"shape": (96, 96, 96)}))
    for regions in (regions for where in DISEASE_REGIONS.values() for regions in where.values()):
        whole = region_map(regions, shape, affine)
        for region in regions:
            for side, size in ((-1, region.left), (1, region.right)):
                middle = np.array(region.centre) * (side, 1, 1)
                voxel = tuple(np.round(np.linalg.inv(affine) @ [*middle, 1]).astype(int)[:3])
                assert whole[voxel] == pytest.approx(size, rel=0.06)


def test_the_disease_acts_where_the_configuration_says() -> None:
    both = ("frontal-temporal", "parietal-occipital")
    maps = {where: Simulator(configure(disease_regions=where)).maps for where in both}
    for name in DISEASE:
        for where, found in maps.items():
            expected = disease_maps(cached_template(*GRID), GRID[1], 1.0, where)[name]
            np.testing.assert_array_equal(found[name], expected)
        one, other = (found[name] != 0 for found in maps.values())
        assert (one & other).sum() < 0.1 * min(one.sum(), other.sum())


def test_several_diseases_act_each_in_its_own_regions_and_share_a_part() -> None:
    where = {"one": "frontal-temporal", "two": "parietal-temporal"}
    diseases = {"one": ["F20", "F25"], "two": ["F31"]}
    cohort = {"source": "simulated", "diseases": diseases, "simulation": {"participants": 60, "regions_of": where}}
    config = parse_config({"cohort": cohort, "volumes": {"shape": [32, 32, 32]}})
    people = simulate_people(config.cohort, 0)
    assert people["diagnosis"].value_counts().to_dict() == {"control": 30, "F20": 15, "F31": 15}
    simulator = Simulator(config)
    of_one, of_two = (disease_maps(simulator.template, simulator.affine, 1.0, where[name]) for name in where)
    np.testing.assert_array_equal(of_one["disease_positive"], of_two["disease_positive"])
    for name in DISEASE:
        np.testing.assert_allclose(simulator.maps[name], (of_one[name] + of_two[name]) / 2, atol=1e-7)
    for disease, maps in (("one", of_one), ("two", of_two)):
        np.testing.assert_allclose(simulator.maps[f"disease_{disease}"], sum(maps.values()), atol=1e-7)
        person = people[people["diagnosis"] == diseases[disease][0]].iloc[0].to_dict()
        expected = sum(np.float32(person[name]) * maps[name] for name in DISEASE)
        np.testing.assert_allclose(simulator._disease.change(person), expected, atol=1e-6)


def test_disease_maps_scale_with_the_effect_and_stay_in_grey_matter() -> None:
    template = cached_template(*GRID)
    once, twice = disease_maps(template, GRID[1], 1.0), disease_maps(template, GRID[1], 2.0)
    for name, values in once.items():
        np.testing.assert_allclose(twice[name], 2 * values, rtol=1e-6)
        assert values.min() < 0
        assert values.max() == 0
        assert not values[template == 0].any()


# --- volumes -----------------------------------------------------------------------------------------------------

PERSON = {
    "diagnosis": "control",
    "age": 40.0,
    "sex": "F",
    "site": "site-1",
    "tiv": 1500.0,
    **dict.fromkeys(DISEASE, 0.0),
    "unrecorded": 0,
}


@pytest.mark.parametrize(
    ("factor", "value", "steps"),
    [
        ("age", 50.0, 10),
        ("sex", "M", 1),
        ("site", "site-2", 1),
        ("disease_negative", 1.5, 1.5),
        ("disease_positive", 2, 2),
    ],
)
def test_each_factor_acts_where_its_map_says_and_as_much(factor: str, value: Any, steps: float) -> None:
    simulator = Simulator(configure())
    effect = simulator.maps["site-2"] - simulator.maps["site-1"] if factor == "site" else simulator.maps[factor]
    changes = []
    for number in range(20):
        person = PERSON | {"participant_id": f"sub-{number}"}
        before, after = simulator.volume(person), simulator.volume(person | {factor: value})
        np.testing.assert_array_equal(before[effect == 0], after[effect == 0])
        changes.append(after - before)
    # A person's anatomy multiplies the change, and noise may be cut off at 0; the mean of people shows the map.
    expected = simulator.template * np.expm1(steps * effect)
    inside = simulator.template > 0.2
    slope = np.mean(changes, axis=0)[inside] @ expected[inside] / (expected[inside] @ expected[inside])
    assert slope == pytest.approx(1, abs=0.1)
    assert np.corrcoef(np.mean(changes, axis=0)[inside], expected[inside])[0, 1] > 0.95


def test_a_larger_head_has_more_grey_matter() -> None:
    simulator = Simulator(configure())
    person = PERSON | {"participant_id": "sub-1"}
    ratio = simulator.volume(person | {"tiv": 1650.0}).sum() / simulator.volume(person).sum()
    assert ratio == pytest.approx(1.1, abs=0.01)


def test_voxels_vary_over_controls_by_10_to_20_percent() -> None:
    config = configure(participants=60)
    people, simulator = simulate_people(config.cohort, 0), Simulator(config)
    volumes = np.stack([simulator.volume(row) for row in people.to_dict("records")])
    brain = simulator.template > 0.1
    controls = volumes[people["diagnosis"] == "control"][:, brain]
    assert 0.10 < np.median(controls.std(axis=0) / controls.mean(axis=0)) < 0.20
    assert not volumes[:, simulator.template == 0].any()
    assert volumes.min() == 0


def test_without_an_effect_patients_are_as_they_would_be_without_the_disease() -> None:
    config = configure(disease_effect=0)
    simulator = Simulator(config)
    patient = simulate_people(config.cohort, 0).iloc[1].to_dict()
    assert patient["disease_negative"] > 0
    well = simulator.volume(patient | {"disease_negative": 0.0, "disease_positive": 0.0})
    np.testing.assert_array_equal(simulator.volume(patient), well)

    ill = Simulator(configure()).volume(patient)
    changed = ill != well
    mask = np.any([values != 0 for values in disease_maps(simulator.template, GRID[1], 1.0).values()], axis=0)
    assert changed.any()
    assert not changed[~mask].any()


def test_two_signs_leave_groups_with_one_mean() -> None:
    config = configure(participants=200, disease_kind="two-signs")
    people, disease = simulate_people(config.cohort, 0), Simulator(config).maps
    patients = people[people["diagnosis"] == "schizophrenia"]
    doses = patients.groupby("subtype")[list(DISEASE)].mean()
    assert (doses.loc[1] > 0.8).all()
    assert (doses.loc[2] < -0.8).all()
    plain = simulate_people(configure(participants=200).cohort, 0)
    pd.testing.assert_frame_equal(people[["sans", "saps"]], plain[["sans", "saps"]])
    assert people.loc[people["diagnosis"] == "control", "subtype"].isna().all()
    assert (disease["disease_negative"] < 0).any()


def test_subtypes_lose_grey_matter_in_other_regions() -> None:
    people = simulate_people(configure(participants=200, disease_kind="two-subtypes").cohort, 0)
    for subtype, (affected, spared) in {1: DISEASE, 2: DISEASE[::-1]}.items():
        members = people[people["subtype"] == subtype]
        assert len(members) > 30
        assert (members[affected] > 0).all()
        assert not members[spared].any()


def test_a_texture_varies_in_the_regions_alone_and_has_mean_0() -> None:
    config = configure(participants=200, disease_kind="texture")
    simulator = Simulator(config)
    disease = simulator._disease
    patients = simulate_people(config.cohort, 0).query("diagnosis == 'schizophrenia'").to_dict("records")
    changes = np.stack([disease.change(person) for person in patients])
    expected = [np.sum([person[name] * disease.maps[name] for name in DISEASE], axis=0) for person in patients]
    inside = np.abs(np.mean(expected, axis=0)) > 0.03
    assert not changes[:, np.all([disease.maps[name] == 0 for name in DISEASE], axis=0)].any()
    ratio = np.sqrt(np.square(changes[:, inside]).mean() / np.square(np.array(expected)[:, inside]).mean())
    assert ratio == pytest.approx(1, abs=0.1)
    assert np.abs(changes[:, inside].mean(axis=0)).mean() < 0.2 * changes[:, inside].std()
    assert not simulator._disease.change(patients[0] | dict.fromkeys(DISEASE, 0.0)).any()


def test_a_bias_that_no_table_records_is_in_volumes_and_in_the_truth() -> None:
    config = configure(participants=400, site_confounding=1.0, unrecorded=2.0)
    people, simulator = simulate_people(config.cohort, 0), Simulator(config)
    share = people.groupby("diagnosis")["unrecorded"].mean()
    assert share["schizophrenia"] == pytest.approx(0.75, abs=0.08)
    assert share["control"] == pytest.approx(0.25, abs=0.08)
    one = people.iloc[0].to_dict()
    brain = simulator.template > 0.3
    with_it, without = (simulator.volume(one | {"unrecorded": value})[brain] for value in (1, 0))
    slope = np.polyfit(simulator.maps["unrecorded"][brain], np.log(with_it / without), 1)[0]
    assert slope == pytest.approx(1, abs=0.1)
    assert not simulate_people(configure(participants=40).cohort, 0)["unrecorded"].any()


def test_a_grid_that_cuts_the_brain_is_refused() -> None:
    volumes = configure().volumes
    with pytest.raises(InputError, match=r"resample_mm.*do not hold the brain.*set it to 6"):
        simulated_grid(volumes.model_copy(update={"resample_mm": 3.0}))
    shape, affine = simulated_grid(volumes.model_copy(update={"shape": (64, 48, 48)}))
    assert shape == (64, 48, 48)
    assert affine[0, 0] == 4


# --- the data set ------------------------------------------------------------------------------------------------


def test_the_same_configuration_writes_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = written(configure(tmp_path / "one"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    two = written(configure(tmp_path / "two"))
    assert checksums(one.dataset) == checksums(two.dataset)
    other = written(configure(tmp_path / "other", seed=1))
    same = checksums(one.dataset).items() & checksums(other.dataset).items()
    assert not [name for name, _ in same if name.endswith("mwp1.nii.gz") or "/site" in name]


def test_a_data_set_reads_back_as_what_was_simulated(tmp_path: Path) -> None:
    config = configure(tmp_path)
    results = written(config)
    expected = simulate_people(config.cohort, 0)
    people = read_tsv(results.dataset / "participants.tsv")
    assert list(people) == ["participant_id", "diagnosis", "age", "sex", "site", "tiv", "sans", "saps"]
    pd.testing.assert_frame_equal(people, expected[list(people)], check_dtype=False)
    factors = read_tsv(results.truth / "factors.tsv")
    pd.testing.assert_frame_equal(factors, expected[list(factors)], check_dtype=False, rtol=1e-5)

    # The volumes stage must find its own grid, so that truth and volumes agree voxel by voxel.
    simulator = Simulator(config)
    for person in expected.head(2).to_dict("records"):
        name = person["participant_id"]
        path = results.dataset / name / "anat" / f"{name}_mwp1.nii.gz"
        values, affine = load_volume(path, config.volumes)
        np.testing.assert_allclose(affine, simulator.affine)
        np.testing.assert_allclose(values, simulator.volume(person), atol=1e-4)
    for name in (*DISEASE, "age", "sex", "site-1", "site-2", "disease_mask"):
        image = nibabel.load(results.truth / f"{name}.nii.gz")
        np.testing.assert_allclose(image.affine, simulator.affine)
        if name in simulator.maps:
            np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), simulator.maps[name])
        else:
            inside = (simulator.maps["disease_negative"] != 0) | (simulator.maps["disease_positive"] != 0)
            np.testing.assert_array_equal(image.get_fdata() == 1, inside)
    said = (results.dataset / "README.md").read_text()
    assert "*simulated* and say nothing about schizophrenia." in said
    assert read_json(results.dataset / "dataset_description.json")["Name"].startswith("Simulated")


def test_the_cohort_stage_understands_a_simulated_data_set(tmp_path: Path) -> None:
    config = configure(tmp_path)
    write_cohort(config, written(config))
    cohort = build_cohort(config.cohort, Results(tmp_path).dataset).cohort
    assert cohort["group"].value_counts().to_dict() == {"background": 4, "target": 4}
    assert cohort["volume"].map(lambda path: Path(path).is_file()).all()


def test_resampling_is_part_of_the_simulated_grid(tmp_path: Path) -> None:
    config = parse_config(configure(tmp_path).model_dump() | {"volumes": {"shape": [48] * 3, "resample_mm": 4}})
    results = written(config)
    path = results.dataset / "sub-0001" / "anat" / "sub-0001_mwp1.nii.gz"
    values, affine = load_volume(path, config.volumes)
    np.testing.assert_allclose(affine, nibabel.load(results.truth / "age.nii.gz").affine)
    np.testing.assert_allclose(values, nibabel.load(path).get_fdata(), atol=1e-5)


def test_a_failed_write_leaves_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(tmp_path)
    results = written(config)
    (results.truth / "site-9.nii.gz").touch()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(simulation, "_write_truth", full)
    with pytest.raises(OSError, match="no space"):
        write_dataset(config, results)
    assert not (results.dataset / "participants.tsv").exists()
    monkeypatch.undo()
    write_dataset(config, results)
    assert not (results.truth / "site-9.nii.gz").exists()


def test_a_cohort_of_files_has_no_data_set(tmp_path: Path) -> None:
    study = {"name": "own", "participants": "participants.tsv"}
    config = parse_config(
        {
            "output": str(tmp_path),
            "cohort": {"source": "files", "studies": [study], "scores": {}},
            "probes": {"targets": {"age": {"kind": "regression", "expected_in": "common"}}},
            "saliency": {"targets": []},
        }
    )
    with pytest.raises(InputError, match="needs no data set"):
        write_dataset(config, Results(tmp_path))


# --- implanted ---------------------------------------------------------------------------------------------------


def implanted(tmp_path: Path, sessions: bool = False, **implant: Any) -> Config:
    """The configuration of 12 people at 3 sites, whose volumes (6 mm) are made here."""
    random = np.random.default_rng(0)
    template = cached_template(*GRID)
    rows = ["participant_id\tsession_id\tage\tsex\tsite"]
    for number in range(12):
        for session in ("1", "2") if sessions else ("1",):
            name = f"p{number:02d}"
            path = tmp_path / "source" / f"{name}_{session}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            values = template * random.uniform(0.8, 1.2, template.shape)
            nibabel.save(as_image(values, grid_affine(template.shape, 6.0)), path)
            rows.append(f"{name}\t{session}\t{20 + number}\tF\t{'abc'[number % 3]}")
    (tmp_path / "source" / "participants.tsv").write_text("\n".join(rows) + "\n")
    study = {
        "name": "source",
        "participants": str(tmp_path / "source" / "participants.tsv"),
        "volumes": "{participant_id}_{session_id}.nii.gz",
    }
    return parse_config(
        {
            "output": str(tmp_path / "results"),
            # Smoothing and scaling are the volumes stage's: here they would be done twice.
            "volumes": {"shape": [32, 32, 32], "smoothing_mm": 8.0},
            "cohort": {
                "source": "implanted",
                "implant": implant,
                "studies": [study],
                "columns": {"session_id": "session_id"} if sessions else {},
                "target": ["schizophrenia"],
                "values": {"sex": {"F": "female", "M": "male"}},
            },
        }
    )


def test_implanting_changes_patients_alone_and_in_the_mask_alone(tmp_path: Path) -> None:
    config = implanted(tmp_path)
    results = written(config)
    people = read_tsv(results.dataset / "participants.tsv")
    assert list(people) == ["participant_id", "diagnosis", "sans", "saps"]
    mask = nibabel.load(results.truth / "disease_mask.nii.gz").get_fdata() == 1
    factors = read_tsv(results.truth / "factors.tsv").set_index("participant_id")
    maps = {name: nibabel.load(results.truth / f"{name}.nii.gz").get_fdata() for name in DISEASE}
    for row in people.itertuples():
        before = nibabel.load(tmp_path / "source" / f"{row.participant_id}_1.nii.gz").get_fdata()
        path = results.dataset / row.participant_id / "anat" / f"{row.participant_id}_mwp1.nii.gz"
        after = nibabel.load(path).get_fdata()
        change = sum(factors.loc[row.participant_id, name] * values for name, values in maps.items())
        np.testing.assert_allclose(after, before * np.exp(change), atol=1e-4)
        np.testing.assert_allclose(after[~mask], before[~mask], atol=1e-4)
        patient = row.diagnosis == "schizophrenia"
        assert (np.abs(after - before)[mask].max() > 1e-3) == patient
        assert nibabel.load(path).dataobj.slope == pytest.approx(2 / 32767)
    said = (results.dataset / "README.md").read_text()
    assert "*implanted* and say nothing about schizophrenia." in " ".join(said.split())


def test_the_target_group_is_drawn_alike_at_each_site_unless_confounded() -> None:
    cohort = configure().cohort
    people = pd.DataFrame({"participant_id": [f"p{i:02d}" for i in range(24)], "site": list("abc") * 8})

    def patients(seed: int = 0, **implant: Any) -> np.ndarray:
        drawn = implant_people(people, cohort, Implant(**implant), seed)
        return drawn["diagnosis"].to_numpy() == "schizophrenia"

    def shares(**implant: Any) -> dict[str, float]:
        return pd.Series(patients(**implant)).groupby(people["site"]).mean().to_dict()

    assert shares() == {"a": 0.5, "b": 0.5, "c": 0.5}
    assert shares(patient_fraction=0.25) == {"a": 0.25, "b": 0.25, "c": 0.25}
    assert shares(site_confounding=0.5) == {"a": 0.25, "b": 0.5, "c": 0.75}
    assert (patients(seed=0) != patients(seed=1)).any()


def test_many_small_sites_do_not_round_the_target_group_away() -> None:
    cohort = configure().cohort
    people = pd.DataFrame({"participant_id": [f"p{i}" for i in range(20)], "site": [f"s{i:02d}" for i in range(20)]})
    implant = Implant(patient_fraction=0.4)
    drawn = implant_people(people, cohort, implant, 0)
    assert (drawn["diagnosis"] == "schizophrenia").sum() == 8


def test_all_sessions_of_a_person_have_one_disease(tmp_path: Path) -> None:
    config = implanted(tmp_path, sessions=True)
    results = written(config)
    scans = read_tsv(results.dataset / "participants.tsv")
    assert len(scans) == 24
    assert (scans.groupby("participant_id")[["diagnosis", "sans"]].nunique(dropna=False) == 1).all(axis=None)
    write_cohort(config, results)
    cohort = read_tsv(results.cohort)
    assert cohort["volume"].map(lambda path: Path(path).is_relative_to(results.dataset)).all()
    assert cohort["volume"].map(lambda path: Path(path).is_file()).all()
    assert (cohort["group"] == "target").sum() == 12


def test_unusable_volumes_are_all_named_before_anything_is_written(tmp_path: Path) -> None:
    config = implanted(tmp_path)
    for name in ("p03", "p07"):
        (tmp_path / "source" / f"{name}_1.nii.gz").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        written(config)
    assert len(caught.value.problems) == 2
    assert not Results(config.output).dataset.exists()


def test_source_volumes_in_the_data_set_folder_are_not_deleted(tmp_path: Path) -> None:
    config = implanted(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "source").rename(tmp_path / "results" / "dataset")
    content = config.model_dump()
    content["cohort"]["studies"][0]["participants"] = str(tmp_path / "results" / "dataset" / "participants.tsv")
    with pytest.raises(InputError, match="choose another `output`"):
        written(parse_config(content))
    assert len(list((tmp_path / "results" / "dataset").glob("*.nii.gz"))) == 12


def test_real_volumes_can_be_implanted(shared_data: Path, tmp_path: Path) -> None:
    table = read_tsv(shared_data / "real_vbm" / "participants.tsv").head(3)
    path = tmp_path / "participants.tsv"
    table[["participant_id", "age", "sex", "site"]].to_csv(path, sep="\t", index=False)
    study = {
        "name": "real",
        "participants": str(path),
        "volumes": "{participant_id}_mwp1.nii.gz",
        "volumes_root": str(shared_data / "real_vbm"),
    }
    config = parse_config(
        {
            "output": str(tmp_path / "results"),
            "volumes": {"shape": [64, 64, 64], "resample_mm": 3.0},
            "cohort": {
                "source": "implanted",
                "studies": [study],
                "values": {"sex": {"F": "female", "M": "male"}},
            },
        }
    )
    results = written(config)
    people = read_tsv(results.dataset / "participants.tsv")
    mask = nibabel.load(results.truth / "disease_mask.nii.gz").get_fdata() == 1
    for row in people.itertuples():
        source = shared_data / "real_vbm" / f"{row.participant_id}_mwp1.nii.gz"
        before, affine = load_volume(source, config.volumes)
        written_path = results.dataset / row.participant_id / "anat" / f"{row.participant_id}_mwp1.nii.gz"
        after, same = load_volume(written_path, config.volumes)
        np.testing.assert_allclose(affine, same)
        np.testing.assert_allclose(after[~mask], before[~mask], atol=1e-4)
        lost = 1 - after[mask].sum() / before[mask].sum()
        assert (lost > 0.01) == (row.diagnosis == "schizophrenia")
