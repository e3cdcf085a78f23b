"""Training is bitwise reproducible and resumable; models record their training scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.registry import METHODS
from sepclr_neuro.config.training import Training
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import Members
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning import batches
from sepclr_neuro.learning.embedding import write_representations
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.learning.loop import Loop
from sepclr_neuro.learning.models import load_model
from sepclr_neuro.learning.training import VolumeViews, write_fold_model
from sepclr_neuro.methods.base import Batch
from sepclr_neuro.methods.sepclr import SepCLR
from sepclr_neuro.methods.two_encoders import TwoEncoders
from sepclr_neuro.probing.representations import read_representations
from tests.small_run import small_run

METHOD = "sepclr-k-jem"
SPACES = ("common", "salient")
NOT_LEARNED = ("running_mean", "running_var", "num_batches_tracked")


def weights(results: Results, fold: int = 0) -> dict[str, torch.Tensor]:
    return load_file(results.model_folder(METHOD, fold) / "model.safetensors")


def assert_equal_to_the_bit(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    config, results = small_run(tmp_path_factory.mktemp("trained"))
    for fold in range(2):
        write_fold_model(config, results, METHOD, fold)
    return config, results


def test_a_model_says_what_it_is(trained) -> None:
    _, results = trained
    metadata = read_json(results.model_folder(METHOD, 0) / "model.json")
    assert metadata["train_scan_ids"] == list(read_fold(results.splits, results.index, 0).train)
    assert metadata["epochs"] == 3
    assert metadata["settings"]["training"]["batch_size"] == 4
    assert metadata["versions"]["torch"] in torch.__version__
    history = read_tsv(results.model_folder(METHOD, 0) / "history.tsv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"loss", "common_alignment", "independence", "seconds"} <= set(history.columns)
    assert set(metadata["losses"]) == set(history.columns) - {"epoch", "loss", "seconds"}
    assert (metadata["batch_size"], metadata["views"]) == (4, 2)
    saved = weights(results)
    assert set(metadata["networks"]) == {f"{space}_{part}" for space in SPACES for part in ("encoder", "projector")}
    for name, network in metadata["networks"].items():
        of_network = [key for key in saved if key.startswith(f"{name}.") and not key.endswith(NOT_LEARNED)]
        assert network["weights"] == sum(saved[key].numel() for key in of_network)
    assert metadata["networks"]["common_encoder"]["class"] == "LightEncoder"


def test_a_model_says_what_batch_it_really_had(tmp_path: Path) -> None:
    """Eight training participants, four per group, are too few for batches of 64."""
    config, results = small_run(tmp_path, training={"epochs": 1, "batch_size": 64})
    write_fold_model(config, results, METHOD, 0)
    metadata = read_json(results.model_folder(METHOD, 0) / "model.json")
    assert metadata["settings"]["training"]["batch_size"] == 64
    assert metadata["batch_size"] == 8


def test_only_training_participants_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sepclr_neuro.data.cache import VolumeCache

    config, results = small_run(tmp_path, training={"epochs": 1, "batch_size": 4, "validation_fraction": 0.4})
    read: set[str] = set()
    original = VolumeCache.read

    def spy(cache: VolumeCache, rows: list[int], **given: type) -> torch.Tensor:
        read.update(cache.scan_ids[row] for row in rows)
        return original(cache, rows, **given)

    monkeypatch.setattr(VolumeCache, "read", spy)
    write_fold_model(config, results, METHOD, 0)
    assert read
    assert read <= set(read_fold(results.splits, results.index, 0).train)


def test_the_same_seed_gives_the_same_bits(trained, tmp_path: Path) -> None:
    again, results = small_run(tmp_path / "again")
    write_fold_model(again, results, METHOD, 0)
    assert_equal_to_the_bit(weights(trained[1]), weights(results))
    other, results = small_run(tmp_path / "other", seed=1)
    write_fold_model(other, results, METHOD, 0)
    assert not torch.equal(
        weights(trained[1])["common_encoder.representation.weight"],
        weights(results)["common_encoder.representation.weight"],
    )


def test_estimators_are_trained_apart_from_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoders' step leaves the estimator as it is, and the estimator's steps the encoders."""
    sections = {"training": {"epochs": 1, "batch_size": 4}, "methods": {"sepclr-tc": {"estimator_steps": 3}}}
    config, results = small_run(tmp_path, **sections)
    calls: list[str] = []
    seen: dict[str, list[torch.Tensor]] = {}

    def state(method: SepCLR) -> list[torch.Tensor]:
        return [
            p.detach().clone() for p in (method.independence.discriminator[0].weight, method.common_projector[0].weight)
        ]

    estimator_loss, losses = SepCLR.estimator_loss, SepCLR.losses

    def spy_estimator(method: SepCLR, *arguments: object) -> torch.Tensor | None:
        calls.append("estimator")
        seen.setdefault(f"before estimator {len(calls)}", state(method))
        return estimator_loss(method, *arguments)

    def spy_losses(method: SepCLR, *arguments: object) -> dict[str, torch.Tensor]:
        calls.append("encoders")
        seen.setdefault(f"before encoders {len(calls)}", state(method))
        return losses(method, *arguments)

    monkeypatch.setattr(SepCLR, "estimator_loss", spy_estimator)
    monkeypatch.setattr(SepCLR, "losses", spy_losses)
    write_fold_model(config, results, "sepclr-tc", 0)
    assert calls[:5] == ["estimator"] * 3 + ["encoders", "estimator"]
    first, after_estimator, after_encoders = (
        seen[key] for key in ("before estimator 1", "before encoders 4", "before estimator 5")
    )
    assert not torch.equal(first[0], after_estimator[0])
    assert torch.equal(first[1], after_estimator[1])
    assert torch.equal(after_estimator[0], after_encoders[0])
    assert not torch.equal(after_estimator[1], after_encoders[1])


def test_changed_settings_start_afresh_and_say_so(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    config, results = small_run(tmp_path)
    write_fold_model(config, results, METHOD, 0)
    changed, _ = small_run(tmp_path, training={"epochs": 3, "batch_size": 4, "learning_rate": 1e-3})
    write_fold_model(changed, results, METHOD, 0)
    assert "training starts afresh" in said.text
    assert len(read_tsv(results.model_folder(METHOD, 0) / "history.tsv")) == 3


def test_early_stopping_validates_on_training_participants_and_keeps_the_best(tmp_path: Path) -> None:
    settings = {"epochs": 30, "batch_size": 4, "validation_fraction": 0.4, "patience": 1, "learning_rate": 0.05}
    config, results = small_run(tmp_path, training=settings)
    write_fold_model(config, results, METHOD, 0)
    history = read_tsv(results.model_folder(METHOD, 0) / "history.tsv")
    assert len(history) < 30
    assert history["validation_loss"].iloc[-1] > history["validation_loss"].min()


def test_a_group_of_one_is_refused_before_training(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, training={"epochs": 1, "batch_size": 16})
    cohort = read_tsv(results.cohort, text=("scan_id", "participant_id"))
    patients = [scan for scan in read_fold(results.splits, results.index, 0).train if int(scan[4:]) % 2]
    cohort.loc[cohort["scan_id"].isin(patients[1:]), "group"] = "background"
    write_tsv(results.cohort, cohort)
    with pytest.raises(InputError, match=r"training\.batch_size: a batch needs 2 participants of each group"):
        write_fold_model(config, results, METHOD, 0)
    assert not results.checkpoints(METHOD, 0).exists()


def test_a_changed_model_is_refused(trained, tmp_path: Path) -> None:
    config, results = small_run(tmp_path)
    write_fold_model(config, results, METHOD, 0)
    path = results.model_folder(METHOD, 0) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="changed since it was written"):
        load_model(results.model_folder(METHOD, 0))


def test_representations_mark_held_out_scans(trained) -> None:
    config, results = trained
    write_representations(config, results, METHOD)
    for fold in range(2):
        table = read_representations(results.representations(METHOD, fold), results.model_folder(METHOD, fold))
        held_out = {s for s, side in zip(table.scan_ids, table.side, strict=True) if side == "test"}
        assert held_out == set(read_fold(results.splits, results.index, fold).test)
        assert {space: array.shape for space, array in table.spaces.items()} == {"common": (16, 4), "salient": (16, 4)}


def test_a_model_refuses_participants_it_was_trained_on(trained) -> None:
    _, results = trained
    model = load_model(results.model_folder(METHOD, 0))
    fold = read_fold(results.splits, results.index, 0)
    with pytest.raises(InputError, match="leak: 1 scans that are to be held out were trained on"):
        model.refuse_trained_on([fold.train[0], *fold.test])


def test_a_table_that_calls_a_trained_scan_held_out_is_refused(trained, tmp_path: Path) -> None:
    config, results = trained
    write_representations(config, results, METHOD)
    path = results.representations(METHOD, 1)
    before = path.read_text()
    table = read_tsv(path, text=("scan_id", "side"))
    table.loc[table["side"] == "train", "side"] = "test"
    write_tsv(path, table)
    with pytest.raises(InputError, match=r"leak: .*held-out"):
        read_representations(results.representations(METHOD, 1), results.model_folder(METHOD, 1))
    path.write_text(before)


def test_splits_changed_after_training_are_refused(tmp_path: Path) -> None:
    """A model of other splits is refused: some of its training participants would count as held out."""
    config, results = small_run(tmp_path, training={"epochs": 1, "batch_size": 4})
    for fold in range(2):
        write_fold_model(config, results, METHOD, fold)
    folders = [results.model_folder(METHOD, fold) for fold in range(2)]
    metadata = [read_json(folder / "model.json") for folder in folders]
    metadata[0]["train_scan_ids"] = metadata[1]["train_scan_ids"]
    write_json(folders[0] / "model.json", metadata[0])
    with pytest.raises(InputError, match="leak"):
        write_representations(config, results, METHOD)


# --- attributes and closed forms -----------------------------------------------------------------------------------


def test_attributes_are_scaled_on_training_participants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = {"sans": "continuous", "sex": "discrete"}
    settings = {METHOD: {"common_dim": 4, "salient_dim": 4, "attributes": attributes}}
    config, results = small_run(tmp_path, methods=settings, training={"epochs": 1, "batch_size": 4})
    cohort = read_tsv(results.cohort, text=("scan_id",)).set_index("scan_id")
    lacking = next(
        scan for scan in read_fold(results.splits, results.index, 0).train if cohort.loc[scan, "group"] == "target"
    )
    cohort.loc[lacking, "sans"] = float("nan")
    write_tsv(results.cohort, cohort.reset_index())
    seen: list[torch.Tensor] = []
    losses = SepCLR.losses

    def spy(method: SepCLR, encoded: object, batch: Batch) -> dict[str, torch.Tensor]:
        assert set(batch.attributes) == {"sans", "sex"}
        assert set(batch.attributes["sex"].tolist()) <= {0.0, 1.0}
        assert batch.attributes["sans"][~batch.target].isnan().all()
        seen.append(batch.attributes["sans"][batch.target])
        return losses(method, encoded, batch)

    monkeypatch.setattr(SepCLR, "losses", spy)
    write_fold_model(config, results, METHOD, 0)
    values = torch.cat(seen)
    assert values.isnan().any()
    assert values[~values.isnan()].min() == 0
    assert values[~values.isnan()].max() == 1
    history = read_tsv(results.model_folder(METHOD, 0) / "history.tsv")
    assert history[["attribute_sans", "attribute_sex", "loss"]].notna().all().all()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"site": "continuous"}, r"attributes\.site: the column holds labels"),
        ({"saps": "continuous"}, r"attributes\.saps: the patients that fold 0 trains on have 1 different values"),
    ],
)
def test_constant_attributes_are_refused(attributes: dict, message: str, tmp_path: Path) -> None:
    config, results = small_run(tmp_path, methods={METHOD: {"attributes": attributes}})
    cohort = read_tsv(results.cohort, text=("scan_id",))
    cohort.loc[cohort["group"] == "target", "saps"] = 3
    write_tsv(results.cohort, cohort)
    with pytest.raises(InputError, match=message):
        write_fold_model(config, results, METHOD, 0)


@pytest.mark.parametrize("method", ["pca", "cpca", "voxel-linear"])
def test_a_closed_form_is_a_model_as_others_are(method: str, tmp_path: Path) -> None:
    config, results = small_run(tmp_path, methods={method: {}})
    for fold in range(2):
        write_fold_model(config, results, method, fold)
    history = read_tsv(results.model_folder(method, 0) / "history.tsv")
    assert history["epoch"].tolist() == [1]
    assert -1e-6 <= history["loss"].item() < 1
    model = load_model(results.model_folder(method, 0))
    assert model.metadata["train_scan_ids"] == list(read_fold(results.splits, results.index, 0).train)
    assert "training" not in model.metadata["settings"]
    write_representations(config, results, method)
    represented = read_representations(results.representations(method, 0), results.model_folder(method, 0))
    assert set(represented.spaces) == set(model.spaces)


@pytest.mark.parametrize("method", ["cpca", "voxel-linear", "sepclr-linear", "sepclr-k-jem"])
def test_a_model_of_volumes_in_their_own_unit_is_read_again(method: str, tmp_path: Path) -> None:
    weak = {"noise_sd": 0.05}
    given = {"standardisation": {"intensity": "none"}, "augmentation": weak, "saliency": weak}
    config, results = small_run(tmp_path, methods={method: {}}, **given)
    write_fold_model(config, results, method, 0)
    assert load_model(results.model_folder(method, 0)).metadata["method"] == method


# --- GPUs ------------------------------------------------------------------------------------------------------------


def test_settings_are_chosen_without_a_participants_other_scans(tmp_path: Path) -> None:
    """Where nothing is to be found, several scans of each participant make nothing look predictable."""
    random = torch.Generator().manual_seed(0)
    person = torch.arange(60).repeat_interleave(3)
    volumes = torch.randn(60, 1, 4, 5, 6, generator=random)[person]
    volumes = volumes + 0.05 * torch.randn(volumes.shape, generator=random)

    class Standardised:
        def unaugmented(self, volumes: torch.Tensor, planes: slice = slice(None)) -> torch.Tensor:
            return volumes

    entry = METHODS["gcpca"]
    method = entry.load()(entry.settings.model_validate({"choose": {"salient_dim": [2, 3]}}), Network(), (1, 4, 5, 6))
    scans = batches.Scans(
        lambda rows, planes: volumes[rows][:, :, planes],
        list(range(180)),
        [f"sub-{number:02d}" for number in person.tolist()],
        (person % 2 == 1).tolist(),
        {},
    )
    options = {"seeds": (0, 0), "folder": tmp_path, "identity": "identity", "title": "title"}
    history, _ = fit(method, scans, Standardised(), Training(), **options)  # type: ignore[arg-type]
    assert 0.2 < history[0]["auc"] < 0.75


def test_reading_ahead_changes_nothing(trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, results = small_run(tmp_path)
    monkeypatch.setattr(batches, "DataLoader", lambda of_epoch, batch_size: batches._ReadAhead(of_epoch))
    monkeypatch.setattr(batches, "_pinned", lambda batch: batch)  # memory that only a GPU's driver has
    write_fold_model(config, results, METHOD, 0)
    assert_equal_to_the_bit(weights(trained[1]), weights(results))


def test_an_error_while_reading_ahead_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, results = small_run(tmp_path)
    array = np.load(results.volumes)
    np.save(results.volumes, array + 1)
    monkeypatch.setattr(batches, "DataLoader", lambda of_epoch, batch_size: batches._ReadAhead(of_epoch))
    with pytest.raises(InputError, match="are not those that were written"):
        write_fold_model(config, results, METHOD, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("method", ["sepclr-k-jem", "sepclr-mmd", "sepclr-tc", "sepclr-vclub-sym", "mm-cvae", "sepvae"])
def test_no_step_waits_for_the_gpu(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait between copying a batch and the optimiser's step raises; the first epoch may start things up."""

    def strictly(name: str) -> None:
        original = getattr(Loop, name)

        def call(loop: Loop, *given: object) -> object:
            torch.cuda.set_sync_debug_mode("error" if loop.current_epoch else "default")
            try:
                return original(loop, *given)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        monkeypatch.setattr(Loop, name, call)

    for name in ("transfer_batch_to_device", "on_after_batch_transfer", "training_step"):
        strictly(name)
    config, results = small_run(tmp_path, methods={method: {}}, training={"epochs": 2, "batch_size": 4})
    write_fold_model(config, results, method, 0)
    assert "of the GPU" in read_json(results.model_folder(method, 0) / "model.json")["peak_memory"]


# --- what salient encoders read ----------------------------------------------------------------------------------


def test_a_view_of_an_adjusted_volume_is_the_difference_of_two_views() -> None:
    """Crop, rotation, blur and cutout act on a sum as on its parts; noise is added once."""
    rng, shape = torch.Generator().manual_seed(0), (6, 1, 16, 16, 16)
    volumes, effects = (torch.randn(shape, generator=rng) for _ in range(2))
    plain = Standardisation(torch.zeros(shape[2:]), torch.ones(shape[2:]), torch.ones(shape[2:], dtype=torch.bool), ())
    everything = {name: 1.0 for name in Augmentation.model_fields if name.endswith("_probability")}
    views = VolumeViews(plain, Augmentation(**everything))
    members = Members.all_of(6, 3)
    expected = views(volumes - effects, members)
    torch.testing.assert_close(
        views(volumes, members) - views.of_effects(effects, members), expected, atol=1e-5, rtol=1e-5
    )


def test_covariates_and_erasure_are_learned_from_training_participants(trained) -> None:
    config, results = trained
    model = load_model(results.model_folder(METHOD, 0))
    method, cohort = model.method, load_cohort(results.cohort).set_index("scan_id", drop=False)
    assert isinstance(method, TwoEncoders)
    assert model.covariates.names
    train = list(read_fold(results.splits, results.index, 0).train)
    codes = torch.from_numpy(model.covariates.code(cohort.loc[train]))
    cache = VolumeCache(results)
    volumes = Standardisation.load(results, 0).apply(cache.read(cache.rows(train)))
    again = type(method)(method.settings, config.for_method(METHOD).network, (1, *cache.shape))
    is_target = torch.tensor((cohort.loc[train, "group"] == "target").tolist())
    again.learn_effects(lambda rows, planes: volumes[list(rows)][:, :, planes], range(len(train)), is_target, codes)
    torch.testing.assert_close(again.covariate_maps, method.covariate_maps, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        found = method.represent(method.adjust(volumes, codes.float()))
    common, salient = (values - values.mean(dim=0) for values in (found["common"], found["salient"]))
    erased = torch.linalg.svd(salient, full_matrices=False)[2][: len(train) // 4]  # at most N / 4 axes
    assert (common.T @ salient @ erased.T).abs().max() < 1e-3 * common.norm() * salient.norm()


def test_the_published_form_adjusts_for_nothing_and_erases_nothing(tmp_path: Path) -> None:
    config, results = small_run(tmp_path, methods={METHOD: {"adjust_for": [], "erase": False}})
    write_fold_model(config, results, METHOD, 0)
    method = load_model(results.model_folder(METHOD, 0)).method
    assert isinstance(method, TwoEncoders)
    assert not method.covariate_maps.numel()
    assert not method.erasing.numel()


def test_salient_encoders_read_each_volume_without_its_covariates_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []
    codes = SepCLR.codes

    def spy(method: SepCLR, part: Batch) -> dict[str, torch.Tensor]:
        shown.append((part.views[0], part.salient_views[0]))
        return codes(method, part)

    monkeypatch.setattr(SepCLR, "codes", spy)
    as_they_are = {name: 0.0 for name in Augmentation.model_fields if name.endswith("_probability")}
    training = {"epochs": 1, "batch_size": 4, "precision": "float32"}
    config, results = small_run(tmp_path, augmentation=as_they_are, training=training)
    write_fold_model(config, results, METHOD, 0)
    model, train = load_model(results.model_folder(METHOD, 0)), list(read_fold(results.splits, results.index, 0).train)
    assert isinstance(model.method, TwoEncoders)
    cache, people = VolumeCache(results), load_cohort(results.cohort).set_index("scan_id", drop=False).loc[train]
    volumes = Standardisation.load(results, 0).apply(cache.read(cache.rows(train)))
    adjusted = model.method.adjust(volumes, torch.from_numpy(model.covariates.code(people)))
    assert shown
    for views, salient_views in shown:
        who = torch.cdist(views.flatten(1), volumes.flatten(1)).argmin(dim=1)
        torch.testing.assert_close(views, volumes[who], atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(salient_views, adjusted[who], atol=2e-3, rtol=1e-3)
    assert not torch.allclose(adjusted, volumes, atol=0.1)
