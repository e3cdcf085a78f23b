"""Saliency maps: known maps are found, captum agrees, held-out people only, interruptions cost one fold."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.storage import read_json, write_json, write_text, write_tsv
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.standardisation import write_standardisation
from tests.saliency_run import AFFINE, FOLDS, METHOD, SHAPE, Quadratic, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


# --- the map -----------------------------------------------------------------------------------------------------


def test_the_map_of_a_linear_model_is_its_field_averaged_over_folds_with_its_sign(run: Run) -> None:
    run.write()
    for target in run.config.saliency.targets:
        for space in ("common", "salient"):
            expected = np.mean([run.field(fold, target, space) for fold in range(FOLDS)], axis=0)
            np.testing.assert_allclose(run.map(target, space), expected, atol=1e-4)
    assert (run.map("sans", "common")[:4] == 0).all(), "outside the mask"


def test_a_probe_of_the_opposite_orientation_has_the_opposite_map(run: Run) -> None:
    run.write()
    before = run.map("diagnosis", "salient")
    run.weights = {key: [-w for w in weights] for key, weights in run.weights.items()}
    run.write_coefficients()
    run.write()
    np.testing.assert_allclose(run.map("diagnosis", "salient"), -before, atol=1e-6)


def test_each_attribution_method_has_its_maps_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attributions = ["smoothgrad", "integrated-gradients", "occlusion"]
    run = Run(tmp_path, monkeypatch, targets=["sans"], attributions=attributions, occlusion_mm=60.0)
    run.write_truth("disease_negative", np.ones(SHAPE))
    run.write()
    maps = [run.map("sans", "salient", attribution) for attribution in attributions]
    assert all(found.any() for found in maps)
    assert not any(np.allclose(one, other) for one, other in itertools.combinations(maps, 2))
    for name in ("localisation", "peaks"):
        assert list(dict.fromkeys(run.table(name)["attribution"])) == attributions
    assert {unit for _, _, unit in run.pictures} == {
        "probe score per SD of grey matter",
        "probe score that a voxel adds",
        "probe score that a region adds",
    }


def test_group_maps_regions_and_likeness_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = tmp_path / "labels.tsv"
    labels.write_text("index\tname\n1\tleft\n2\tright\n")
    halves = np.ones(SHAPE, dtype=np.int16)
    halves[8:] = 2
    nibabel.save(nibabel.Nifti1Image(halves, AFFINE), tmp_path / "atlas.nii.gz")
    atlas = {"image": tmp_path / "atlas.nii.gz", "labels": labels}
    run = Run(
        tmp_path, monkeypatch, targets=["diagnosis"], permutations=9, atlas=atlas, noise_sd=0.0, group_voxel_mm=48
    )
    run.method = Quadratic()
    run.write()
    run.results.vbm.mkdir()
    opposite = as_image(-run.map("diagnosis", "salient"), AFFINE)
    nibabel.save(opposite, run.results.vbm / "diagnosis.nii.gz")
    run.write()
    folder = run.results.saliency(METHOD) / "smoothgrad"
    assert {path.name for path in folder.glob("*-t.nii.gz")} == {
        f"diagnosis_{space}_{contrast}-t.nii.gz" for space in ("common", "salient") for contrast in ("mean", "group")
    }
    regions = run.table("regions")
    assert set(regions["region"]) == {"left", "right"}
    np.testing.assert_allclose(regions.groupby("space")["mass_percent"].sum(), 100, rtol=1e-4)
    clusters = run.table("clusters")
    assert set(clusters["contrast"]) <= {"mean", "group"}
    assert set(clusters["region"]) <= {"left", "right"}
    assert set(clusters["permutations"]) == {9}
    assert set(clusters["people"]) == {12}, "a person with two scans counts once"
    alike = run.table("similarity").set_index("space")
    assert alike.loc["salient", "spearman"] == pytest.approx(-1, abs=1e-3)
    assert alike.loc["salient", "spearman_absolute"] == pytest.approx(1, abs=1e-3)


def test_too_few_people_for_a_group_map_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, monkeypatch, targets=["sans"], permutations=5, participants=2)
    run.write()
    assert "sans, salient space: no group map of the mean: too few participants" in said.text
    assert run.table("clusters").empty
    assert not list((run.results.saliency(METHOD) / "smoothgrad").glob("*-t.nii.gz"))


def test_the_pointing_game_is_of_single_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, targets=["sans"], noise_sd=0.0)
    run.method = Quadratic()
    truth = np.zeros(SHAPE)
    truth[:, :8] = 1
    run.write_truth("disease_negative", truth)
    run.write()
    hits = []
    group = run.cohort.set_index("scan_id")
    for fold in range(FOLDS):
        table = group.loc[run.test[fold]]
        for _, person in table[table["group"] == "target"].groupby("participant_id"):
            values = np.mean([run.standardised(fold, scan) for scan in person.index], axis=0)
            peak = np.unravel_index(np.abs(values * run.field(fold, "sans", "common")).argmax(), SHAPE)
            hits.append(peak[1] < 8)
    row = run.table("localisation").set_index("space").loc["common"]
    assert row["people"] == len(hits) == 6
    assert row["pointing_game"] == pytest.approx(np.mean(hits), abs=1e-5)


def test_images_lie_on_the_volumes_grid_in_mni_space(run: Run) -> None:
    run.write()
    image = nibabel.Nifti1Image.from_filename(run.results.saliency(METHOD) / "smoothgrad" / "saps_common.nii.gz")
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, AFFINE)
    assert (image.header["sform_code"], image.header["qform_code"]) == (4, 4)
    assert image.get_data_dtype() == np.float32


# --- who is mapped -----------------------------------------------------------------------------------------------


def test_held_out_people_count_once_each_however_often_they_were_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, monkeypatch, noise_sd=0.0)
    run.method = Quadratic()
    run.write()
    for target, groups in (("diagnosis", ["background", "target"]), ("sans", ["target"])):
        by_fold = []
        for fold in range(FOLDS):
            table = run.cohort[run.cohort["scan_id"].isin(run.test[fold]) & run.cohort["group"].isin(groups)]
            by_person = [
                np.mean([run.standardised(fold, scan) for scan in person["scan_id"]], axis=0)
                for _, person in table.groupby("participant_id")
            ]
            by_fold.append(np.mean(by_person, axis=0) * run.field(fold, target, "salient"))
        np.testing.assert_allclose(run.map(target, "salient"), np.mean(by_fold, axis=0), atol=1e-4)


@pytest.mark.parametrize("leaked", ["sub-00", "sub-11_ses-1"])
def test_a_model_that_was_trained_on_held_out_people_is_refused(run: Run, leaked: str) -> None:
    fold = 0 if leaked in run.test[0] else 1
    run.train[fold].append(leaked)
    with pytest.raises(InputError, match=f"leak: .*{leaked}"):
        run.write()


@pytest.mark.parametrize("leaked", ["sub-00", "sub-11_ses-1"])
def test_a_standardisation_that_was_learned_from_held_out_people_is_refused(run: Run, leaked: str) -> None:
    path = run.results.standardisation(0 if leaked in run.test[0] else 1).with_suffix(".json")
    metadata = read_json(path)
    write_json(path, metadata | {"train_scan_ids": [*metadata["train_scan_ids"], leaked]})
    with pytest.raises(InputError, match=f"leak: the standardisation .*{leaked}"):
        run.write()


def test_a_scan_beside_the_split_counts_as_its_person(run: Run) -> None:
    """A model that saw one scan of a person must not be asked about another."""
    extra = run.cohort.iloc[[0]].assign(scan_id="sub-00_ses-9")
    write_tsv(run.results.cohort, pd.concat([run.cohort, extra]))
    run.train[0].append("sub-00_ses-9")
    with pytest.raises(InputError, match="leak"):
        run.write()


def test_the_limit_of_the_configuration_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, monkeypatch, participants=2, targets=["diagnosis"])
    run.train = [[], []]
    run.cohort = run.cohort[:12]
    run.write()
    assert run.method.batches[:2] == [2, 2]
    assert len(run.method.batches) in (4, 5), "one person of each group a fold, one of whom has two scans"


# --- interruptions -----------------------------------------------------------------------------------------------


def test_started_again_it_goes_on_with_the_fold_that_was_not_done(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.broken_fold = 1
    with pytest.raises(KeyboardInterrupt):
        run.write()
    assert len(run.method.batches) == len(run.test[0])
    assert not run.results.saliency(METHOD).exists()
    run.broken_fold = None
    run.method.batches.clear()
    run.write()
    assert len(run.method.batches) == len(run.test[1])

    undisturbed = Run(tmp_path_factory.mktemp("undisturbed"), monkeypatch)
    undisturbed.write()
    assert np.array_equal(run.map("sans", "salient"), undisturbed.map("sans", "salient"))


@pytest.mark.parametrize("change", ["model", "coefficients", "standardisation", "samples"])
def test_maps_of_other_inputs_are_not_kept(run: Run, change: str) -> None:
    run.write()
    run.method.batches.clear()
    run.write()
    assert run.method.batches == []
    if change == "model":
        write_text(run.results.model_folder(METHOD, 1) / "model.safetensors", "other weights")
    elif change == "coefficients":
        run.weights[1, "sans", "common"] = [1.0, 2.0, 3.0]
        run.write_coefficients()
    elif change == "standardisation":
        other = run.config.model_copy(
            update={"standardisation": run.config.standardisation.model_copy(update={"mask_threshold": 0.5})}
        )
        write_standardisation(other, run.results, 1)
    else:
        run.config = run.config.model_copy(update={"saliency": run.config.saliency.model_copy(update={"samples": 1})})
    run.write()
    folds = FOLDS if change == "samples" else 1
    assert len(run.method.batches) == sum(len(test) for test in run.test[-folds:])


# --- probes that are missing -------------------------------------------------------------------------------------


def test_a_fold_without_a_probe_is_left_out_of_the_average(run: Run) -> None:
    del run.weights[0, "sans", "salient"]
    run.write_coefficients()
    run.write()
    np.testing.assert_allclose(run.map("sans", "salient"), run.field(1, "sans", "salient"), atol=1e-4)
    subtitles = {title.split(" · ", 2)[2]: subtitle for title, subtitle, _ in run.pictures}
    assert "1 of 2 folds" in subtitles["sans · salient space"]
    assert "2 of 2 folds" in subtitles["sans · common space"]


def test_a_target_without_any_probe_has_a_map_of_zeros_that_says_so(run: Run, said: pytest.LogCaptureFixture) -> None:
    for fold in range(FOLDS):
        del run.weights[fold, "sans", "salient"]
    run.write_coefficients()
    run.write_truth("disease_negative", np.ones(SHAPE))
    run.write()
    assert not run.map("sans", "salient").any()
    assert "sans, salient space: NO MAP" in said.text
    assert [title for title, subtitle, _ in run.pictures if "NO MAP" in subtitle] == [
        "SIMULATED · SepCLR, k-JEM · sans · salient space"
    ]
    row = run.table("localisation").set_index(["target", "space"]).loc[("sans", "salient")]
    assert row[["relevance_share", "ratio", "peak_in_region"]].isna().all()
    peaks = run.table("peaks")
    assert set(zip(peaks["target"], peaks["space"], strict=True)) == set(
        zip(["diagnosis", "diagnosis", "sans", "saps", "saps"], ["common", "salient", "common"] * 2, strict=False)
    ) - {("sans", "salient")}


# --- where it lies -----------------------------------------------------------------------------------------------


def test_a_planted_map_is_localised_in_its_own_truth(run: Run) -> None:
    """Diagnosis reads one place, SANS another; each is held against its own ground truth."""
    places = {"diagnosis": np.s_[5:7, 5:7, 5:7], "sans": np.s_[10:12, 10:12, 10:12]}
    for field in run.method.fields.values():
        field.zero_()
        field[0][places["diagnosis"]] = 1.0
        field[1][places["sans"]] = -1.0
    for key in run.weights:
        run.weights[key] = [0.0, 1.0, 0.0] if key[1] == "sans" else [1.0, 0.0, 0.0]
    run.write_coefficients()
    for name, target in (("disease_mask", "diagnosis"), ("disease_negative", "sans"), ("disease_positive", "sans")):
        truth = np.zeros(SHAPE)
        truth[places[target]] = -0.2
        run.write_truth(name, truth)
    run.write()
    table = run.table("localisation")
    assert list(table.columns) == [
        "attribution",
        "target",
        "space",
        "relevance_share",
        "volume_share",
        "ratio",
        "rank_share",
        "peak_in_region",
        "pointing_game",
        "people",
    ]
    assert len(table) == 6
    shares = table.groupby("target")["relevance_share"].agg(["min", "max"])
    assert shares.loc[["diagnosis", "sans"]].to_numpy().tolist() == [[1, 1], [1, 1]]
    assert shares.loc["saps"].tolist() == [0, 0], "read in the place of diagnosis, held against another"
    assert dict(zip(table["target"], table["peak_in_region"], strict=True)) == {
        "diagnosis": "yes",
        "sans": "yes",
        "saps": "no",
    }
    np.testing.assert_allclose(table["volume_share"], 2**3 / (12 * 16 * 16), rtol=1e-5)


@pytest.mark.parametrize("source", ["simulated", "files"])
def test_without_ground_truth_the_table_has_its_header_only(run: Run, source: str) -> None:
    if source == "files":
        run.write_truth("disease_mask", np.ones(SHAPE))
        study = {"name": "a", "participants": "participants.tsv"}
        cohort = {
            "source": "files",
            "studies": [study],
            "scores": {s: {"column": s, "range": (0, 100)} for s in ("sans", "saps")},
        }
        run.config = Config.model_validate(run.config.model_dump(exclude={"cohort"}) | {"cohort": cohort})
    run.write()
    assert run.table("localisation").empty
    assert all(title.startswith("SIMULATED · ") == (source == "simulated") for title, _, _ in run.pictures)


def test_ground_truth_on_another_grid_is_an_error(run: Run) -> None:
    run.write_truth("disease_mask", np.ones(SHAPE), grid_affine(SHAPE, 10.0))
    with pytest.raises(InputError, match=r"disease_mask\.nii\.gz: lies on another grid"):
        run.write()


def test_titles_say_what_is_mapped_and_in_which_unit(run: Run) -> None:
    run.write()
    titles = [title for title, _, _ in run.pictures]
    assert titles[:2] == [
        "SIMULATED · SepCLR, k-JEM · diagnosis · common space",
        "SIMULATED · SepCLR, k-JEM · diagnosis · salient space",
    ]
    assert {unit for _, _, unit in run.pictures} == {"probe score per SD of grey matter"}
