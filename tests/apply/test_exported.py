"""The folder of an exported model: whole or refused, with a card, and without anybody's name."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from sepclr_neuro.apply.application import write_application
from sepclr_neuro.apply.card import in_numbers
from sepclr_neuro.apply.export import gather, write_export
from sepclr_neuro.apply.exported import load_exported, write_exported
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, sha256, write_json, write_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.standardisation import Standardisation
from tests.apply.exported_run import LINEAR, PATTERN, SINGLE, FinishedRun, finished_run
from tests.small_run import SHAPE

FILES = {
    "README.md",
    "card.json",
    "controls.json",
    "mask.nii.gz",
    "mean.nii.gz",
    "model.json",
    "model.safetensors",
    "participants.json",
    "patterns.nii.gz",
    "probes.json",
    "sd.nii.gz",
}


@pytest.fixture
def folder(exported: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(exported[LINEAR], tmp_path / "model"))


def test_what_is_saved_is_loaded(run: FinishedRun, exported: dict[str, Path]) -> None:
    gathered = gather(run.results, LINEAR, 0)
    loaded = load_exported(exported[LINEAR])
    for name in ("mean", "sd", "mask"):
        of_run = getattr(Standardisation.load(run.results, 0), name)
        assert torch.equal(getattr(loaded.standardisation, name), of_run)
    for name, value in gathered.model.method.state_dict().items():
        assert torch.equal(loaded.model.method.state_dict()[name], value), name
    np.testing.assert_array_equal(loaded.patterns, gathered.patterns)
    np.testing.assert_array_equal(loaded.affine, gathered.affine)
    assert gathered.controls is not None
    assert loaded.controls is not None
    assert loaded.controls.to_json() == gathered.controls.to_json()
    assert [probe.to_json() for probe in loaded.probes] == [probe.to_json() for probe in gathered.probes]
    assert json.dumps(loaded.training_volumes) == json.dumps(gathered.training_volumes)
    assert (loaded.volumes, loaded.title) == (gathered.volumes, f"{LINEAR}, fold 0")


def test_the_folder_holds_these_files(exported: dict[str, Path]) -> None:
    assert {path.name for path in exported[LINEAR].iterdir()} == FILES
    assert {path.name for path in exported[SINGLE].iterdir()} == FILES - {"controls.json", "patterns.nii.gz"}


def test_another_method_in_the_same_folder_leaves_no_file_of_the_first(run: FinishedRun, folder: Path) -> None:
    (folder / "mine.txt").write_text("mine")
    write_export(run.results, SINGLE, 0, folder)
    assert {path.name for path in folder.iterdir()} == FILES - {"controls.json", "patterns.nii.gz"} | {"mine.txt"}
    assert load_exported(folder).controls is None


def test_nobody_is_named(run: FinishedRun, exported: dict[str, Path]) -> None:
    """No id, path, title, user or machine, in any file, packed or not."""
    secret = [
        *run.cohort["participant_id"],
        str(run.results.root),
        "results",
        "Obody",
        str(Path.home()),
        "made for a test",
    ]
    checksums = read_tsv(run.results.index, text=("sha256", "voxels_sha256"))
    secret += [*checksums["voxels_sha256"], *checksums["sha256"]]
    for path in (path for folder in exported.values() for path in folder.iterdir()):
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        assert [text for text in secret if text.encode() in content] == [], path.name


def test_the_card_has_numbers_of_the_cohort(run: FinishedRun, exported: dict[str, Path]) -> None:
    card = read_json(exported[LINEAR] / "card.json")
    train = run.cohort.set_index("scan_id").loc[list(run.fold().train)]
    assert card["training"]["participants"] == len(train) == 24
    assert card["training"]["by_group"] == {"background": 12, "target": 12}
    counts = train.groupby(["group", "site"]).size()
    assert card["training"]["by_group_and_site"]["target"] == counts["target"].to_dict()
    assert card["training"]["age"] == {"lowest": int(train["age"].min()), "highest": int(train["age"].max())}
    assert card["grid"] == {
        "shape": list(SHAPE),
        "voxel_mm": [6.0, 6.0, 6.0],
        "smoothing_mm": 0.0,
        "scaled_by_tiv": False,
    }
    assert card["method"]["adjusted_for"] == ["age", "sex", "site"]
    assert card["data"].startswith("SIMULATED")
    assert set(card["versions"]) >= {"sepclr_neuro", "torch", "numpy"}

    scores = read_tsv(run.results.scores)
    of_fold = scores[(scores["method"] == LINEAR) & (scores["fold"] == 0)]
    figures = {(row["target"], row["metric"], row["space"]): row for row in card["figures"]}
    assert len(figures) == len(of_fold)
    table = read_tsv(run.results.table("schizophrenia", "tsv")).set_index(["method", "target", "metric", "space"])
    for row in of_fold.itertuples():
        figure = figures[row.target, row.metric, row.space]
        scale = 100 if row.metric in ("bacc", "auc") else 1
        assert figure["value"] == pytest.approx(scale * row.value)
        assert figure["mean_over_folds"] == pytest.approx(
            table.loc[(LINEAR, row.target, row.metric, row.space), "mean"]
        )
    assert card["distance"]["auc"] == read_tsv(run.results.patterns(LINEAR) / "distance.tsv")["auc"].iloc[0]
    page = (exported[LINEAR] / "README.md").read_text()
    for text in ("Not for clinical use", "SIMULATED", "no medical device", "background 12, target 12", "held-out"):
        assert text in page


def test_ages_above_89_are_given_as_90(run: FinishedRun) -> None:
    assert in_numbers(run.cohort.assign(age=[97.5, *[20.0] * 47]))["age"] == {"lowest": 20, "highest": 90}
    assert in_numbers(run.cohort.assign(age=np.nan))["age"] is None


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(folder: Path, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        load_exported(folder)
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", sorted(FILES - {"README.md", "card.json"}))
def test_a_file_that_changed_or_is_missing(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, f"{folder / name}: changed since it was exported")
    (folder / name).unlink()
    refused(folder, f"{folder / name}: is missing; copy the whole folder again")


def _sealed(folder: Path) -> None:
    """Makes the card's checksums those of the files that are there."""
    card = read_json(folder / "card.json")
    write_json(folder / "card.json", card | {"sha256": {name: sha256(folder / name) for name in card["sha256"]}})


@pytest.mark.parametrize(
    ("shape", "affine", "expected"),
    [
        ((16, 32, 32), grid_affine(SHAPE, 6.0), "has 16 x 32 x 32 voxels"),
        (SHAPE, grid_affine(SHAPE, 5.0), "voxels of 5 x 5 x 5 mm"),
    ],
)
def test_a_mask_of_another_grid(folder: Path, shape: tuple[int, ...], affine: np.ndarray, expected: str) -> None:
    nibabel.save(as_image(np.ones(shape), affine), folder / "mask.nii.gz")
    _sealed(folder)
    refused(folder, expected)
    refused(folder, "but the model's grid is 32 x 32 x 32 voxels of 6 x 6 x 6 mm")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda card: card | {"format": 99}, "has the format 99, and sepclr_neuro"),
        (lambda card: {key: value for key, value in card.items() if key != "volumes"}, "is no exported model"),
        (lambda card: [], "is no exported model"),
    ],
)
def test_a_card_of_something_else(folder: Path, change: Callable[[dict], object], expected: str) -> None:
    write_json(folder / "card.json", change(read_json(folder / "card.json")))
    refused(folder, expected)


def test_a_folder_without_a_card(tmp_path: Path) -> None:
    refused(tmp_path, "no exported model here (card.json is missing)")


def test_a_folder_that_holds_something_else_is_left_alone(run: FinishedRun, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is there, and no exported model; name another folder"):
        write_export(run.results, LINEAR, 0, mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]
    write_exported(folder, load_exported(folder), "again")  # an earlier export is replaced
    assert (folder / "README.md").read_text() == "again"
    load_exported(folder)


@pytest.fixture
def copy(run: FinishedRun, tmp_path: Path) -> Results:
    return Results(Path(shutil.copytree(run.results.root, tmp_path / "results")))


def not_exported(results: Results, expected: str, method: str = LINEAR, fold: int = 0) -> None:
    with pytest.raises(InputError) as caught:
        gather(results, method, fold)
    assert expected in str(caught.value)


def test_a_run_that_has_no_such_model(run: FinishedRun, tmp_path: Path) -> None:
    not_exported(run.results, "ridge-discriminent: the run has no such method. Did you mean", "ridge-discriminent")
    not_exported(run.results, "--fold 2: the run has 2 folds, from 0 to 1", fold=2)
    not_exported(Results(tmp_path), "is missing; is ")


def test_a_run_that_is_not_what_its_settings_say(copy: Results) -> None:
    path = copy.run_file("volumes")
    settings = read_json(path)
    write_json(path, settings | {"volumes": settings["volumes"] | {"smoothing_mm": 8.0}})
    not_exported(copy, "is not what the volumes were made with")


def test_intervals_count_participants_and_not_their_scans(run: FinishedRun, copy: Results) -> None:
    """Two held-out scans of one group become those of one participant, of whom the first counts."""
    cohort = load_cohort(copy.cohort)
    held_out = cohort[cohort["scan_id"].isin(run.fold().test) & (cohort["group"] == "target")]
    first, second = held_out["scan_id"].iloc[:2]
    person = held_out["participant_id"].iloc[0]
    write_tsv(
        copy.cohort, cohort.assign(participant_id=cohort["participant_id"].where(cohort["scan_id"] != second, person))
    )
    predictions = read_tsv(copy.predictions, text=("scan_id", "truth", "prediction"))
    write_tsv(copy.predictions, predictions.iloc[::-1])  # the cohort's order says which is the first
    of_age = predictions[
        (predictions["regime"] == "standard")
        & (predictions["method"] == LINEAR)
        & (predictions["fold"] == 0)
        & (predictions["target"] == "age")
        & (predictions["space"] == "salient")
    ].set_index("scan_id")
    assert first in of_age.index
    error = (of_age["truth"].astype(float) - of_age["prediction"].astype(float)).abs()
    probes = {(probe.target, probe.space): probe for probe in gather(copy, LINEAR, 0).probes}
    np.testing.assert_allclose(probes["age", "salient"].held_out[""], np.sort(error.drop(second)))


def test_a_run_without_probes(copy: Results) -> None:
    copy.coefficients.unlink()
    not_exported(copy, "as far as the probes")


def test_a_model_that_saw_a_held_out_participant(run: FinishedRun, copy: Results) -> None:
    path = copy.model_folder(LINEAR, 0) / "model.json"
    metadata = read_json(path)
    write_json(path, metadata | {"train_scan_ids": [*metadata["train_scan_ids"], run.fold().test[0]]})
    not_exported(copy, "leak")


def test_a_run_without_tables_and_patterns_is_exported_too(copy: Results) -> None:
    shutil.rmtree(copy.root / "tables")
    shutil.rmtree(copy.root / "patterns")
    card = gather(copy, LINEAR, 0).card
    assert card["distance"] is None
    assert {row["q"] for row in card["figures"]} == {None}


def test_participants_who_only_the_probes_saw(tmp_path: Path) -> None:
    run = finished_run(tmp_path, 24, {SINGLE: {"dim": 2}}, probe_fraction=0.4)
    write_export(run.results, SINGLE, 0, tmp_path / "model")
    probed = run.fold().probe
    assert read_json(tmp_path / "model" / "card.json")["kept_for_probes"]["participants"] == len(probed) > 0
    assert "| probes |" in (tmp_path / "model" / "README.md").read_text()
    table = run.table(tmp_path / "new" / "people.tsv", probed[:1])
    with pytest.raises(InputError, match=f"leak: participant {probed[0]} has the id of one"):
        write_application(tmp_path / "model", table, PATTERN, tmp_path / "out")
    write_application(tmp_path / "model", table, PATTERN, tmp_path / "out", allow_seen=True)
    notes = read_json(tmp_path / "out" / "predictions.json")["Notes"]
    assert any(note.startswith("LEAK: 1 participant trained the probes of this model") for note in notes)
