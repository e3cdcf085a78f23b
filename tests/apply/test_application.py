"""An exported model and new participants: what comes out is what the run had, and what does not fit is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from sepclr_neuro.apply.application import look_and_represent, write_application
from sepclr_neuro.apply.export import write_export
from sepclr_neuro.apply.exported import load_exported
from sepclr_neuro.apply.people import read_people
from sepclr_neuro.config.model import parse_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import write_cohort
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.splits import read_fold, write_splits
from sepclr_neuro.data.standardisation import Standardisation, write_standardisation
from sepclr_neuro.data.volumes import write_volumes
from sepclr_neuro.learning.embedding import represent_scans, write_representations
from sepclr_neuro.learning.models import load_model
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.probing.probes import write_probes
from sepclr_neuro.run import cli
from sepclr_neuro.run.runfiles import write_run_files
from tests.apply.exported_run import LINEAR, NETWORK, PATTERN, SINGLE, FinishedRun
from tests.oracles import apply as oracle
from tests.small_run import SHAPE

TEXT = ("scan_id", "participant_id", "site", "seen", "prediction", "possible")
Exported = dict[str, Path]


def read(path: Path) -> pd.DataFrame:
    return read_tsv(path, text=TEXT)


@pytest.fixture(scope="module")
def applied(run: FinishedRun, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tables of the held-out participants of fold 0, by each model."""
    folder = tmp_path_factory.mktemp("applied")
    table = run.table(folder / "people.tsv", run.fold().test)
    for method in (LINEAR, NETWORK, SINGLE):
        write_application(exported[method], table, PATTERN, folder / method, maps=method != SINGLE)
    return {method: folder / method for method in (LINEAR, NETWORK, SINGLE)}


# --- the run's own held-out participants ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", [LINEAR, NETWORK, SINGLE])
def test_representations_are_to_the_bit_those_of_the_runs_model(
    run: FinishedRun, exported: Exported, method: str, tmp_path: Path
) -> None:
    model, scans = load_exported(exported[method]), list(run.fold().test)
    people = read_people(run.table(tmp_path / "people.tsv", run.fold().test), PATTERN, model.model.covariates)
    found = look_and_represent(model, people.rows).spaces
    of_run = load_model(run.results.model_folder(method, 0))
    rows = run.cohort.set_index("scan_id", drop=False).loc[scans]
    cache, standardisation = VolumeCache(run.results), Standardisation.load(run.results, 0)
    expected = represent_scans(of_run.method, cache, standardisation, scans, of_run.covariates.code(rows))
    assert people.rows["scan_id"].tolist() == scans
    assert list(found) == list(expected)
    for space, values in expected.items():
        np.testing.assert_array_equal(found[space], values)


@pytest.mark.parametrize("method", [LINEAR, NETWORK, SINGLE])
def test_tables_of_held_out_participants_are_those_of_the_run(
    run: FinishedRun, applied: dict[str, Path], method: str
) -> None:
    scans = list(run.fold().test)
    found = read(applied[method] / "representations.tsv").set_index("scan_id")
    expected = read_tsv(run.results.representations(method, 0), text=("scan_id",)).set_index("scan_id").loc[scans]
    codes = expected.columns.drop("side")
    assert list(found.columns) == ["participant_id", "site", "seen", *codes]
    # A batch of other participants may move the sixth digit.
    np.testing.assert_allclose(found.loc[scans, codes], expected[codes], rtol=2e-5, atol=1e-6)
    assert set(found["seen"]) == {"held out in the run"}

    keys = ["target", "space", "scan_id"]
    predictions = read(applied[method] / "predictions.tsv").set_index(keys)
    of_run = read_tsv(run.results.predictions, text=("scan_id", "truth", "prediction"))
    of_run = of_run[(of_run["method"] == method) & (of_run["fold"] == 0)].set_index(keys)
    assert set(of_run.index) <= set(predictions.index)
    together = of_run.join(predictions.add_suffix("_applied"))
    numbers = together["low_applied"].notna()
    assert together.loc[numbers].index.get_level_values("target").unique().tolist() == ["age", "sans", "saps"]
    pairs = together.loc[numbers, ["prediction", "prediction_applied"]].astype(float)
    np.testing.assert_allclose(pairs["prediction_applied"], pairs["prediction"], rtol=1e-4)
    np.testing.assert_allclose(together.loc[~numbers, "score_applied"], together.loc[~numbers, "score"], rtol=1e-3)
    assert (together.loc[~numbers, "prediction"] == together.loc[~numbers, "prediction_applied"]).all()
    # They made the intervals, so that these hold nine in ten of them at least.
    truth = together.loc[numbers, "truth"].astype(float)
    assert truth.between(*(together.loc[numbers, name] for name in ("low_applied", "high_applied"))).mean() >= 0.9


@pytest.mark.parametrize("method", [LINEAR, NETWORK])
def test_distances_and_percentiles(run: FinishedRun, applied: dict[str, Path], method: str) -> None:
    codes = read_tsv(run.results.representations(method, 0), text=("scan_id", "side")).set_index("scan_id")
    salient = codes[[name for name in codes if name.startswith("salient")]].to_numpy(float)
    control = run.cohort.set_index("scan_id").loc[codes.index, "group"].to_numpy() == "background"
    side = codes["side"].to_numpy(str)
    distance = np.linalg.norm(salient - salient[control & (side == "train")].mean(axis=0), axis=1)
    table = read(applied[method] / "distances.tsv").set_index("scan_id")
    at = codes.index.get_indexer(table.index)
    np.testing.assert_allclose(table["distance"], distance[at], rtol=1e-4)
    reference = distance[control & (side == "test")].tolist()
    # Rounded codes may put a participant beside the own distance, half a step away.
    expected = [oracle.percentile(value, reference) for value in distance[at]]
    np.testing.assert_allclose(table["percentile"], expected, atol=51 / len(reference))
    assert "the 12 held-out controls" in read_json(applied[method] / "distances.json")["percentile"]["Description"]
    assert not (applied[SINGLE] / "distances.tsv").exists()


def test_a_map_is_the_code_in_grey_matter(applied: dict[str, Path], exported: Exported) -> None:
    for method in (LINEAR, NETWORK):
        model = load_exported(exported[method])
        assert model.patterns is not None
        assert model.controls is not None
        table, codes = read(applied[method] / "maps.tsv"), read(applied[method] / "representations.tsv")
        salient = codes[[name for name in codes if name.startswith("salient")]].to_numpy(float)
        image = nibabel.load(applied[method] / table.loc[3, "file"])
        expected = np.tensordot(salient[3] - model.controls.centre, model.patterns, axes=1)
        np.testing.assert_allclose(image.get_fdata(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_array_equal(image.affine, model.affine)
        assert table.loc[3, "largest"] == pytest.approx(np.abs(expected).max(), rel=1e-3)


def test_maps_of_an_earlier_call_are_removed(run: FinishedRun, exported: Exported, tmp_path: Path) -> None:
    scans, output = run.fold().test, tmp_path / "out"
    table = run.table(tmp_path / "people.tsv", scans[:3])
    write_application(exported[LINEAR], table, PATTERN, output, maps=True)
    (output / "maps" / "mine.nii.gz").write_text("mine")
    run.table(table, scans[2:4])
    write_application(exported[LINEAR], table, PATTERN, output, maps=True)
    kept = {f"{scan}.nii.gz" for scan in scans[2:4]}
    assert {path.name for path in (output / "maps").iterdir()} == kept | {"mine.nii.gz"}
    write_application(exported[LINEAR], table, PATTERN, output)
    assert [path.name for path in (output / "maps").iterdir()] == ["mine.nii.gz"]


def test_every_table_has_a_description_of_every_column(applied: dict[str, Path]) -> None:
    for method, folder in applied.items():
        tables = sorted(folder.glob("*.tsv"))
        assert len(tables) == (3 if method == SINGLE else 5)
        for path in tables:
            about = read_json(path.with_suffix(".json"))
            assert all(about[column]["Description"] for column in read(path).columns)
            assert about["Model"]["ClinicalUse"] == "Not for clinical use."
            assert about["Model"]["Data"].startswith("SIMULATED")
            assert any("held out in the run" in note for note in about["Notes"])


# --- new participants ----------------------------------------------------------------------------------------------


@pytest.fixture
def new(run: FinishedRun, tmp_path: Path) -> Callable[..., Path]:
    """Makes a table of three new participants, whose volumes are those of held-out ones, a little changed."""

    def make(
        change: Callable[[np.ndarray], np.ndarray] = lambda x: x, affine: np.ndarray | None = None, **columns: object
    ) -> Path:
        cache = VolumeCache(run.results)
        rows = []
        for number, scan in enumerate(run.fold().test[:3]):
            volume = cache.array[cache.rows([scan])[0]].astype(np.float32)
            volume = change(volume + np.float32(0.01) * (volume > 0))
            image = as_image(volume, cache.affine if affine is None else affine)
            (tmp_path / "new").mkdir(exist_ok=True)
            nibabel.save(image, tmp_path / "new" / f"sub-new{number}.nii.gz")
            rows.append({"participant_id": f"sub-new{number}", "age": 30 + number, "sex": "F", "site": "bonn"})
        path = tmp_path / "new" / "participants.tsv"
        write_tsv(path, pd.DataFrame(rows).assign(**columns))
        return path

    return make


def apply(exported: Exported, table: Path, method: str = LINEAR, **options: object) -> Path:
    output = table.parent / "out"
    write_application(exported[method], table, PATTERN, output, **options)  # type: ignore[arg-type]
    return output


def test_new_participants_need_no_group(exported: Exported, new: Callable[..., Path], said) -> None:
    table = new()
    output = apply(exported, table)
    assert set(read(output / "distances.tsv")["seen"]) == {"no"}
    assert read(output / "volumes.tsv")["unlike_training"].tolist() == ["none"] * 3
    assert [record.message for record in said.records if record.levelname == "WARNING"] == []
    first = (output / "representations.tsv").read_bytes()
    assert apply(exported, new(diagnosis=["schizophrenia", "control", "n/a"], group="target")) == output
    assert (output / "representations.tsv").read_bytes() == first


def test_one_participant_is_enough(exported: Exported, new: Callable[..., Path]) -> None:
    table = new()
    write_tsv(table, read(table).head(1))
    output = apply(exported, table)
    assert len(read(output / "representations.tsv")) == 1


def test_sessions_are_scans_of_one_participant(exported: Exported, new: Callable[..., Path]) -> None:
    table = new()
    rows = read(table).assign(participant_id="sub-a", session_id=["ses-1", "ses-2", "ses-3"])
    for number in range(3):
        (table.parent / f"sub-new{number}.nii.gz").rename(table.parent / f"sub-a_ses-{number + 1}.nii.gz")
    write_tsv(table, rows)
    output = table.parent / "out"
    write_application(exported[LINEAR], table, "{participant_id}_{session_id}.nii.gz", output)
    assert read(output / "distances.tsv")["scan_id"].tolist() == ["sub-a_ses-1", "sub-a_ses-2", "sub-a_ses-3"]


def test_an_absolute_pattern_and_a_table_elsewhere(
    exported: Exported, new: Callable[..., Path], tmp_path: Path
) -> None:
    table = new()
    moved = shutil.move(table, tmp_path / "elsewhere.csv")
    write_tsv(tmp_path / "elsewhere.tsv", read(Path(moved)))
    write_application(exported[LINEAR], tmp_path / "elsewhere.tsv", f"{table.parent}/{PATTERN}", tmp_path / "out")
    assert len(read(tmp_path / "out" / "distances.tsv")) == 3


def test_a_new_site_counts_as_the_mean_site_and_is_said(exported: Exported, new: Callable[..., Path], said) -> None:
    of_bonn = read(apply(exported, new()) / "representations.tsv")
    of_oslo = read(apply(exported, new(site="oslo")) / "representations.tsv")
    assert "no training participant has site oslo; adjusted as the mean site" in said.text
    model = load_exported(exported[LINEAR]).model
    bonn, oslo = (
        model.covariates.code(pd.DataFrame({"age": [30.0], "sex": ["female"], "site": [site]}))
        for site in ("bonn", "oslo")
    )
    assert oslo[0, -1] == 0
    effect = model.method.state_dict()["salient_covariates"].numpy() @ (bonn - oslo)[0]
    difference = (of_oslo["salient_0"] - of_bonn["salient_0"]).to_numpy()
    np.testing.assert_allclose(difference, effect[0], rtol=1e-3)


def test_a_covariate_far_from_training_is_said(exported: Exported, new: Callable[..., Path], said) -> None:
    apply(exported, new(age=[30, 100, 31]))
    assert "age of 1 scan (sub-new1) is more than 4 SD from the training participants' mean" in said.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: gaussian_filter(x, 1.0), "smoothness, FWHM in mm: 3 scans (sub-new0, sub-new1, sub-new2) unlike"),
        (lambda x: 1.5 * x, "mean within the mask: 3 scans"),
        (lambda x: np.where(np.arange(32)[:, None, None] < 4, 0, x), "share of the mask's voxels with any grey matter"),
    ],
    ids=["smoothed", "another unit", "cut off"],
)
def test_volumes_unlike_training_are_said(
    exported: Exported, new: Callable[..., Path], said, change: Callable[[np.ndarray], np.ndarray], expected: str
) -> None:
    output = apply(exported, new(change))
    assert expected in said.text
    assert "none" not in read(output / "volumes.tsv")["unlike_training"].tolist()
    assert any(expected in note for note in read_json(output / "distances.json")["Notes"])


# --- calibration ---------------------------------------------------------------------------------------------------


def test_calibration_moves_the_salient_codes_of_the_site_alone(
    run: FinishedRun, exported: Exported, tmp_path: Path, said
) -> None:
    scans = run.fold().test
    model = load_exported(exported[LINEAR])
    assert model.controls is not None
    group = run.cohort.set_index("scan_id").loc[list(scans), "group"].to_numpy()
    site = ["oslo"] * 10 + ["rome"] * 7 + ["bonn"] * 7
    marks = np.where((np.array(site) != "bonn") & (group == "background"), "yes", "no")
    table = run.table(tmp_path / "people.tsv", scans, site=site, own_control=marks)
    write_application(exported[LINEAR], table, PATTERN, tmp_path / "plain")
    write_application(exported[LINEAR], table, PATTERN, tmp_path / "out", calibrate_with="own_control=yes")
    plain, found = (read(tmp_path / name / "representations.tsv") for name in ("plain", "out"))
    moved = found.columns[(plain != found).any()].tolist()
    assert moved in ([], ["salient_0"])
    shifts = read(tmp_path / "out" / "calibration.tsv").set_index("site")
    assert shifts["controls"].to_dict() == {
        "bonn": 0,
        **{name: int(((np.array(site) == name) & (marks == "yes")).sum()) for name in ("oslo", "rome")},
    }
    patient = (group == "target") & (np.array(site) == "oslo")
    difference = (plain["salient_0"] - found["salient_0"]).to_numpy()
    np.testing.assert_allclose(difference[patient], shifts.loc["oslo", "shift_0"], atol=1e-3)
    assert (difference[np.array(site) == "bonn"] == 0).all()
    assert "site bonn: not calibrated" in said.text
    assert "controls moved the origin of its salient codes" in said.text
    assert read(tmp_path / "out" / "distances.tsv")["calibrates"].tolist() == marks.tolist()
    described = read_json(tmp_path / "out" / "representations.json")
    assert "After calibration" in described["salient_0"]["Description"]
    assert "After calibration" not in described["common_0"]["Description"]
    write_application(exported[LINEAR], table, PATTERN, tmp_path / "out")
    assert not list((tmp_path / "out").glob("calibration.*"))
    assert (tmp_path / "out" / "distances.tsv").read_bytes() == (tmp_path / "plain" / "distances.tsv").read_bytes()


def test_a_scanner_that_moves_codes_is_calibrated(run: FinishedRun, exported: Exported, new, tmp_path: Path) -> None:
    """All volumes of a site are changed alike; with its controls, distances come back to those without the change."""
    cache, scans = VolumeCache(run.results), run.fold().test
    pattern = load_exported(exported[LINEAR]).patterns
    assert pattern is not None
    shift = (0.18 * pattern[0] / np.abs(pattern[0]).max()).astype(np.float32)
    for scan in scans:
        volume = cache.array[cache.rows([scan])[0]].astype(np.float32)
        nibabel.save(as_image(volume + shift, cache.affine), tmp_path / f"{scan}.nii.gz")
    group = run.cohort.set_index("scan_id").loc[list(scans), "group"].to_numpy()
    table = run.table(tmp_path / "people.tsv", scans, site="oslo", role=group)
    write_application(exported[LINEAR], table, PATTERN, tmp_path / "plain")
    write_application(exported[LINEAR], table, PATTERN, tmp_path / "out", calibrate_with="role=background")
    plain, found = (read(tmp_path / name / "distances.tsv") for name in ("plain", "out"))
    control = group == "background"
    assert (plain.loc[control, "percentile"] > 70).all()
    assert 25 < found.loc[control, "percentile"].median() < 75
    assert read(tmp_path / "out" / "calibration.tsv")["kept"].iloc[0] > 0.8


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(exported: Exported, table: Path, expected: str, method: str = LINEAR, **options: object) -> None:
    with pytest.raises(InputError) as caught:
        apply(exported, table, method, **options)
    assert expected in str(caught.value)
    assert not (table.parent / "out").exists()


def test_participants_who_were_trained_on(run: FinishedRun, exported: Exported, tmp_path: Path, said) -> None:
    table = run.table(tmp_path / "people.tsv", (run.fold().test[0], *run.fold().train[:4]))
    refused(exported, table, "4 alike")
    refused(exported, table, f"leak: participant {run.fold().train[0]} has the id of one that the model or its probes")
    refused(exported, table, "`--allow-seen` takes them all the same")
    refused(exported, table, "If another study only numbers its participants alike, put its name in front of their ids")
    output = apply(exported, table, allow_seen=True)
    seen = dict.fromkeys(run.fold().train[:4], "trained on") | {run.fold().test[0]: "held out in the run"}
    for name in ("representations", "distances", "predictions", "volumes"):
        of_table = read(output / f"{name}.tsv").set_index("scan_id")["seen"]
        assert of_table.to_dict() == seen
        assert any(
            "LEAK: 4 participants trained this model" in note for note in read_json(output / f"{name}.json")["Notes"]
        )
    assert "LEAK: 4 participants trained this model" in said.text


def test_a_volume_that_was_trained_on_under_another_id(run: FinishedRun, exported: Exported, tmp_path: Path) -> None:
    scan = run.fold().train[0]
    table = run.table(tmp_path / "people.tsv", (scan,), participant_id="sub-anonymous")
    (tmp_path / "sub-anonymous.nii.gz").symlink_to(run.files / f"{scan}.nii.gz")
    refused(exported, table, "leak: participant sub-anonymous has the volume of one that the model or its probes")
    assert read(apply(exported, table, allow_seen=True) / "distances.tsv")["seen"].tolist() == ["trained on"]


def test_covariates_that_are_missing(exported: Exported, new: Callable[..., Path]) -> None:
    table = new()
    rows = read(table)
    write_tsv(table, rows.drop(columns=["age", "site"]))
    refused(exported, table, "has no column 'age' and 'site'; the model needs age, sex and site of each participant")
    write_tsv(table, rows.assign(age=[30, np.nan, np.nan]))
    refused(exported, table, "2 alike (sub-new1, sub-new2): participant sub-new1: ")
    refused(exported, table, "column 'age': is missing; the model adjusts for it")
    write_tsv(table, rows.assign(sex=["1", "2", "2"]))
    refused(exported, table, "nothing is guessed (`apply` reads no configuration: change the table itself)")
    # A method that adjusts for nothing needs none.
    write_tsv(table, rows[["participant_id"]])
    assert len(read(apply(exported, table, SINGLE) / "representations.tsv")) == 3
    write_tsv(table, rows.assign(sex="1", age="old", site="oslo"))
    assert set(read(apply(exported, table, SINGLE) / "representations.tsv")["site"]) == {"oslo"}


def test_volumes_that_are_missing(exported: Exported, new: Callable[..., Path], said) -> None:
    table = new()
    (table.parent / "sub-new1.nii.gz").unlink()
    output = apply(exported, table)
    assert read(output / "distances.tsv")["scan_id"].tolist() == ["sub-new0", "sub-new2"]
    assert "1 scan left out, without a volume: sub-new1" in said.text
    shutil.rmtree(output)
    (table.parent / "sub-new0.nii.gz").unlink()
    (table.parent / "sub-new2.nii.gz").unlink()
    refused(exported, table, "expected one volume called sub-new0.nii.gz")


def test_volumes_on_another_grid(exported: Exported, new: Callable[..., Path]) -> None:
    refused(exported, new(affine=grid_affine(SHAPE, 5.0)), "has voxels of 5 x 5 x 5 mm from")
    refused(exported, new(affine=grid_affine(SHAPE, 5.0)), "but the model's grid has voxels of 6 x 6 x 6 mm from")
    shifted = grid_affine(SHAPE, 6.0)
    shifted[:3, 3] += 2
    refused(exported, new(affine=shifted), "3 alike (sub-new0, sub-new1, sub-new2)")


def test_volumes_that_miss_the_mask(exported: Exported, new: Callable[..., Path]) -> None:
    table = new(lambda x: np.where(np.arange(32)[:, None, None] < 20, 0, x))
    refused(exported, table, "has grey matter in 38% of the model's mask, training volumes in 100%")


def test_volumes_that_hold_something_else(exported: Exported, new: Callable[..., Path]) -> None:
    refused(exported, new(lambda x: 255 * x), "above volumes.maximum")


def test_one_volume_under_two_ids(exported: Exported, new: Callable[..., Path]) -> None:
    table = new()
    shutil.copy(table.parent / "sub-new0.nii.gz", table.parent / "sub-new1.nii.gz")
    refused(exported, table, "sub-new0 and sub-new1 have the same volume")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("group", "expected COLUMN=VALUE, such as group=control"),
        ("grup=control", "the table has no column 'grup'. Did you mean 'group'?"),
        ("group=contol", "nobody with a volume has that value. Did you mean 'control'?"),
    ],
)
def test_conditions_of_calibration(exported: Exported, new: Callable[..., Path], condition: str, expected: str) -> None:
    table = new(group=["control", "patient", "control"])
    refused(exported, table, f"--calibrate-with {condition}: {expected}", calibrate_with=condition)


def test_what_needs_a_salient_space_or_a_site(exported: Exported, new: Callable[..., Path]) -> None:
    table = new(group="control")
    refused(exported, table, "--maps: pca, fold 0 has no salient space", SINGLE, maps=True)
    refused(
        exported, table, "--calibrate-with group=control: pca, fold 0 has no", SINGLE, calibrate_with="group=control"
    )


def test_the_commands(run: FinishedRun, new: Callable[..., Path], tmp_path: Path) -> None:
    table = new(group=["control", "control", "patient"])

    def command(*arguments: object) -> str:
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    command("export", run.results.root, NETWORK, tmp_path / "model", "--fold", 1)
    assert read_json(tmp_path / "model" / "card.json")["method"]["fold"] == 1
    options = ("--model", tmp_path / "model", "--volumes", PATTERN, "--output", tmp_path / "out")
    # The test side of fold 0 trained the model of fold 1; these volumes are changed ones.
    command("apply", table, *options, "--calibrate-with", "group=control", "--maps")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tsv")) == [
        "calibration.tsv",
        "distances.tsv",
        "maps.tsv",
        "predictions.tsv",
        "representations.tsv",
        "volumes.tsv",
    ]
    assert len(list((tmp_path / "out" / "maps").glob("*.nii.gz"))) == 3


# --- real volumes --------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_a_model_of_one_real_site_is_applied_to_another(shared_data: Path, tmp_path: Path, said) -> None:
    """Groups are drawn at random: a model of one site's volumes, for its held-out people and those of another site."""
    real = shared_data / "real_vbm"
    people = read_tsv(real / "participants.tsv", text=("participant_id", "site"))
    people = people[["participant_id", "age", "sex", "site"]].assign(group=np.arange(len(people)) % 2)
    people["group"] = np.where(people["group"] == 1, "patient", "control")
    sites = {site: rows for site, rows in people.groupby("site") if len(rows) >= 20}
    training, other = (rows.head(20).drop(columns="site").assign(site=site) for site, rows in list(sites.items())[:2])
    write_tsv(tmp_path / "training.tsv", training.rename(columns={"group": "diagnosis"}))
    pattern = f"{real}/{{participant_id}}_mwp1.nii.gz"
    study = {"name": "one", "participants": str(tmp_path / "training.tsv"), "volumes": "{participant_id}_mwp1.nii.gz"}
    config = parse_config(
        {
            "output": str(tmp_path / "results"),
            "cohort": {"source": "files", "studies": [study | {"volumes_root": str(real)}], "target": ["patient"]},
            "volumes": {"shape": [64, 64, 64], "resample_mm": 3, "smoothing_mm": 4},
            "splits": {"folds": 2},
            "methods": {LINEAR: {}},
            "probes": {"paper_regime": False},
        }
    )
    results = Results(config.output)
    write_run_files(config, results)
    write_cohort(config, results)
    write_volumes(config, results)
    write_splits(config, results)
    for fold in range(2):
        write_standardisation(config, results, fold)
        write_fold_model(config, results, LINEAR, fold)
    write_representations(config, results, LINEAR)
    write_probes(config, results)
    write_export(results, LINEAR, 0, tmp_path / "model")

    test = read_fold(results.splits, results.index, 0).test
    write_tsv(tmp_path / "held_out.tsv", training[training["participant_id"].isin(test)].drop(columns="group"))
    write_application(tmp_path / "model", tmp_path / "held_out.tsv", pattern, tmp_path / "held_out")
    found = (
        read(tmp_path / "held_out" / "representations.tsv")
        .set_index("scan_id")
        .drop(columns=["participant_id", "site", "seen"])
    )
    of_run = read_tsv(results.representations(LINEAR, 0), text=("scan_id",)).set_index("scan_id").drop(columns="side")
    np.testing.assert_allclose(found, of_run.loc[found.index], rtol=1e-4, atol=1e-4)

    said.clear()
    write_tsv(tmp_path / "other.tsv", other)
    options = {"calibrate_with": "group=control", "maps": True}
    write_application(tmp_path / "model", tmp_path / "other.tsv", pattern, tmp_path / "other", **options)
    assert f"no training participant has site {other['site'].iloc[0]}; the model does not adjust" in said.text
    # The two sites' volumes were segmented by different programs.
    assert "correlation with the mean training volume over the mask: 20 scans" in said.text
    assert read(tmp_path / "other" / "calibration.tsv")["controls"].tolist() == [10]
    distances = read(tmp_path / "other" / "distances.tsv")
    assert set(distances["seen"]) == {"no"}
    assert distances["percentile"].between(0, 100).all()

    # The same volumes, smoothed before, are told from those of training.
    smoothed = tmp_path / "smoothed"
    smoothed.mkdir()
    for name in other["participant_id"].head(3):
        image = nibabel.load(real / f"{name}_mwp1.nii.gz")
        nibabel.save(as_image(gaussian_filter(image.get_fdata(), 3.0), image.affine), smoothed / f"{name}.nii.gz")
    said.clear()
    write_tsv(smoothed / "people.tsv", other.head(3))
    write_application(tmp_path / "model", smoothed / "people.tsv", PATTERN, tmp_path / "again")
    assert "smoothness, FWHM in mm: 3 scans" in said.text
