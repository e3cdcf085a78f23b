"""Saliency maps: known maps are found, captum agrees, held-out people only, interruptions cost one fold."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from matplotlib.image import imread
from torch import Tensor, nn

from sepclr_neuro import saliency
from sepclr_neuro.config import Config
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.methods.base import Method
from sepclr_neuro.models import TrainedModel
from sepclr_neuro.saliency import Decision, find_peaks, localisation, mapped_people, mosaic, smoothgrad, write_saliency
from sepclr_neuro.standardisation import Standardisation, write_standardisation
from sepclr_neuro.storage import read_json, read_tsv, write_json, write_text, write_tsv
from sepclr_neuro.volumes import VolumeCache, as_image, grid_affine, voxels_sha256

METHOD = "sepclr-k-jem"
SHAPE = (16, 16, 16)
AFFINE = grid_affine(SHAPE, 12.0)
FINE = (32, 32, 32)
FINE_AFFINE = grid_affine(FINE, 6.0)
DIMENSIONS = 3
FOLDS = 2


class Linear(Method):
    """r(x) = A x in each space: the map of w·r is Aᵀw, whatever the volume and the noise."""

    spaces = ("common", "salient")

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        generator = torch.Generator().manual_seed(1)
        self.fields = {space: torch.randn(DIMENSIONS, *SHAPE, generator=generator) for space in self.spaces}

    def represent(self, volumes: Tensor) -> dict[str, Tensor]:
        self.batches.append(len(volumes))
        return {space: self.features(volumes).flatten(1) @ field.flatten(1).T for space, field in self.fields.items()}

    def features(self, volumes: Tensor) -> Tensor:
        return volumes

    def losses(self, views: tuple[Tensor, Tensor], target: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError


class Quadratic(Linear):
    """r(x) = A x² / 2: without noise the map of w·r at a volume x is x Aᵀw, so that it tells whose it is."""

    def features(self, volumes: Tensor) -> Tensor:
        return volumes**2 / 2


class Curved(nn.Module):
    """A small network that is nothing like linear, for any volume size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = {}
        for space in ("common", "salient"):
            layers[space] = nn.Sequential(
                nn.Conv3d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(DIMENSIONS), nn.Tanh()
            )
        self.encoders = nn.ModuleDict(layers)

    def forward(self, volumes: Tensor) -> dict[str, Tensor]:
        return {space: encoder(volumes) for space, encoder in self.encoders.items()}


# --- a run -------------------------------------------------------------------------------------------------------


class Run:
    """What the stages before saliency leave behind for 12 people, of whom the last two scans are one patient's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
        self.results = Results(folder)
        self.config = Config(output=folder, splits={"folds": FOLDS}, saliency={"samples": 2, **settings})
        self.method: Linear = Linear()
        self.broken_fold: int | None = None
        self.pictures: list[tuple[str, str, str]] = []
        monkeypatch.setattr(saliency, "load_model", self.load_model)
        monkeypatch.setattr(saliency, "mosaic", lambda image, path, *texts: self.pictures.append(texts))

        number = np.arange(13)
        people = [f"sub-{min(k, 11):02d}" for k in number]
        scans = [*people[:11], "sub-11_ses-1", "sub-11_ses-2"]
        group = np.where(number % 2 == 1, "target", "background")
        group[12] = "target"
        fold = np.where(np.minimum(number, 11) < 6, 0, 1)
        self.cohort = pd.DataFrame(
            {
                "scan_id": scans,
                "participant_id": people,
                "session_id": np.nan,
                "diagnosis": np.where(group == "target", "schizophrenia", "control"),
                "group": group,
                "age": 20.0 + number,
                "sex": "female",
                "site": "oslo",
                "sans": np.where(group == "target", 10.0 + number, np.nan),
                "saps": np.where(group == "target", 10.0 + number, np.nan),
                "volume": np.nan,
            }
        )
        self.test = [[scan for scan, of in zip(scans, fold, strict=True) if of == k] for k in range(FOLDS)]
        self.train = [[scan for scan in scans if scan not in test] for test in self.test]
        write_tsv(self.results.cohort, self.cohort)
        sides = [
            pd.DataFrame(
                {"fold": k, "scan_id": scans, "participant_id": people, "side": np.where(fold == k, "test", "train")}
            )
            for k in range(FOLDS)
        ]
        write_tsv(self.results.splits, pd.concat(sides))
        write_json(self.results.grid, {"shape": SHAPE, "affine": AFFINE.tolist()})
        voxels = np.random.default_rng(0).uniform(0.0, 0.9, (len(scans), *SHAPE)).astype(np.float16)
        voxels[:, :4] = 0
        index = pd.DataFrame({"scan_id": scans, "row": number, "sha256": scans, "source": scans})
        write_tsv(self.results.index, index.assign(voxels_sha256=[voxels_sha256(volume) for volume in voxels]))
        np.save(self.results.volumes, voxels)
        for k in range(FOLDS):
            write_standardisation(self.config, self.results, k)
            write_text(self.results.model_folder(METHOD, k) / "model.safetensors", f"weights of fold {k}")
        rng = np.random.default_rng(2)
        self.weights = {
            (k, target, space): rng.normal(size=DIMENSIONS).tolist()
            for k in range(FOLDS)
            for target in ("diagnosis", "sans", "saps", "age")
            for space in ("common", "salient")
        }
        self.write_coefficients()

    def write_coefficients(self) -> None:
        entries = [
            {"fold": k, "target": target, "space": space, "weights": weights, "intercept": 7.0, "classes": []}
            for (k, target, space), weights in self.weights.items()
        ]
        other = [entry | {"weights": [1e9] * DIMENSIONS} for entry in entries]
        write_json(
            self.results.coefficients,
            [{"method": METHOD, **e} for e in entries] + [{"method": "b", **e} for e in other],
        )

    def load_model(self, folder: Path) -> TrainedModel:
        fold = int(folder.name.removeprefix("fold-"))
        if fold == self.broken_fold:
            raise KeyboardInterrupt
        settings = {"standardisation": {"intensity": "voxelwise"}}
        metadata = {"method": METHOD, "fold": fold, "train_scan_ids": self.train[fold], "settings": settings}
        return TrainedModel(self.method, metadata)

    def write(self) -> None:
        write_saliency(self.config, self.results, METHOD)

    def map(self, target: str, space: str) -> np.ndarray:
        image = nibabel.Nifti1Image.from_filename(self.results.saliency(METHOD) / f"{target}_{space}.nii.gz")
        return image.get_fdata()

    def table(self, name: str) -> pd.DataFrame:
        return read_tsv(self.results.saliency(METHOD) / f"{name}.tsv")

    def field(self, fold: int, target: str, space: str) -> np.ndarray:
        """Aᵀw of a fold, within its mask."""
        weights = torch.tensor(self.weights[fold, target, space])
        field = torch.einsum("d,dxyz->xyz", weights, self.method.fields[space])
        return (field * Standardisation.load(self.results, fold).mask).numpy()

    def standardised(self, fold: int, scan: str) -> np.ndarray:
        cache = VolumeCache(self.results)
        return Standardisation.load(self.results, fold).apply(cache.read(cache.rows([scan])))[0, 0].numpy()

    def write_truth(self, name: str, truth: np.ndarray, affine: np.ndarray = AFFINE) -> None:
        self.results.truth.mkdir(parents=True, exist_ok=True)
        nibabel.save(as_image(truth, affine), self.results.truth / f"{name}.nii.gz")


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


def test_images_lie_on_the_volumes_grid_in_mni_space(run: Run) -> None:
    run.write()
    image = nibabel.Nifti1Image.from_filename(run.results.saliency(METHOD) / "saps_common.nii.gz")
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, AFFINE)
    assert (image.header["sform_code"], image.header["qform_code"]) == (4, 4)
    assert image.get_data_dtype() == np.float32


def curved_case() -> tuple[Curved, Tensor, Tensor, list[Decision]]:
    network = Curved().eval()
    generator = torch.Generator().manual_seed(3)
    volume = torch.randn(1, 1, 8, 8, 8, generator=generator)
    network(volume)
    mask = torch.rand(8, 8, 8, generator=generator) > 0.3
    decisions = [
        Decision(space, torch.randn(DIMENSIONS, generator=generator)) for space in ("common", "salient", "salient")
    ]
    return network, volume, mask, decisions


def test_equals_captum_under_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    network, volume, mask, decisions = curved_case()
    ours = smoothgrad(network, volume, mask, decisions, samples=5, noise_sd=0.7, seed=11)
    generator = torch.Generator().manual_seed(11)
    noise = torch.cat([torch.randn(volume.shape, generator=generator) for _ in range(5)])
    monkeypatch.setattr(
        NoiseTunnel, "_add_noise_to_input", staticmethod(lambda volume, sd, samples: volume + sd * noise[:samples])
    )
    for decision, found in zip(decisions, ours, strict=True):

        def score(x: Tensor, decision: Decision = decision) -> Tensor:
            return network(x * mask)[decision.space] @ decision.weights

        tunnel = NoiseTunnel(Saliency(score))
        theirs = tunnel.attribute(volume, nt_type="smoothgrad", nt_samples=5, stdevs=0.7, abs=False)
        assert found.abs().max() > 0.01
        torch.testing.assert_close(found.float(), theirs[0, 0], rtol=1e-4, atol=1e-6)


def test_the_number_of_copies_at_once_does_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    network, volume, mask, decisions = curved_case()
    batches = []

    def represent(volumes: Tensor) -> dict[str, Tensor]:
        batches.append(len(volumes))
        return network(volumes)

    whole = smoothgrad(represent, volume, mask, decisions, samples=5, noise_sd=0.7, seed=11)
    monkeypatch.setattr(saliency, "VOXELS_AT_ONCE", 2 * volume.numel())
    chunked = smoothgrad(represent, volume, mask, decisions, samples=5, noise_sd=0.7, seed=11)
    assert batches == [5, 2, 2, 1]
    torch.testing.assert_close(whole, chunked, rtol=1e-5, atol=1e-7)


def test_noise_follows_the_seed() -> None:
    network, volume, mask, decisions = curved_case()
    one, same, other = (
        smoothgrad(network, volume, mask, decisions, samples=2, noise_sd=0.7, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, rtol=0.01)


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


@pytest.mark.parametrize("change", ["model", "coefficients", "standardisation", "samples", "grid"])
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
    elif change == "grid":
        write_json(run.results.grid, {"shape": SHAPE, "affine": grid_affine(SHAPE, 11.0).tolist()})
    else:
        run.config = run.config.model_copy(update={"saliency": run.config.saliency.model_copy(update={"samples": 1})})
    run.write()
    folds = FOLDS if change in ("samples", "grid") else 1
    assert len(run.method.batches) == sum(len(test) for test in run.test[-folds:])


# --- probes that are missing -------------------------------------------------------------------------------------


def test_a_fold_without_a_probe_is_left_out_of_the_average(run: Run) -> None:
    del run.weights[0, "sans", "salient"]
    run.write_coefficients()
    run.write()
    np.testing.assert_allclose(run.map("sans", "salient"), run.field(1, "sans", "salient"), atol=1e-4)
    subtitles = {title.split(" · ", 2)[2]: subtitle for title, subtitle, _ in run.pictures}
    assert "1 of 2 folds" in subtitles["SANS · salient space"]
    assert "2 of 2 folds" in subtitles["SANS · common space"]


def test_a_target_without_any_probe_has_a_map_of_zeros_that_says_so(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for fold in range(FOLDS):
        del run.weights[fold, "sans", "salient"]
    run.write_coefficients()
    run.write_truth("disease_negative", np.ones(SHAPE))
    run.write()
    assert not run.map("sans", "salient").any()
    assert "sans, salient space: NO MAP" in capsys.readouterr().err
    assert [title for title, subtitle, _ in run.pictures if "NO MAP" in subtitle] == [
        "SIMULATED · SepCLR, k-JEM · SANS · salient space"
    ]
    row = run.table("localisation").set_index(["target", "space"]).loc[("sans", "salient")]
    assert row[["relevance_share", "ratio", "peak_in_region"]].isna().all()
    peaks = run.table("peaks")
    assert set(zip(peaks["target"], peaks["space"], strict=True)) == set(
        zip(["diagnosis", "diagnosis", "sans", "saps", "saps"], ["common", "salient", "common"] * 2, strict=False)
    ) - {("sans", "salient")}


# --- where it lies -----------------------------------------------------------------------------------------------


def test_localisation_by_hand() -> None:
    brain = np.array([[[1, 1, 1, 1, 1, 0]]], dtype=bool)
    region = np.array([[[1, 1, 0, 0, 0, 1]]], dtype=bool)
    values = np.array([[[-4.0, 2.0, 1.0, 0.0, 1.0, 0.0]]])
    assert localisation(values, region, brain) == {
        "relevance_share": 6 / 8,
        "volume_share": 2 / 5,
        "ratio": pytest.approx(0.75 / 0.4),
        "peak_in_region": "yes",
    }
    assert localisation(values[..., ::-1], region, brain) == {
        "relevance_share": 1 / 4,
        "volume_share": 2 / 5,
        "ratio": pytest.approx(0.25 / 0.4),
        "peak_in_region": "no",
    }
    flat = localisation(np.full((1, 1, 6), -3.0), region, brain)
    assert (flat["relevance_share"], flat["ratio"]) == (2 / 5, 1)
    empty = localisation(values, np.zeros_like(region), brain)
    assert (empty["volume_share"], np.isnan(empty["ratio"]), empty["peak_in_region"]) == (0, True, "no")
    nothing = localisation(np.zeros((1, 1, 6)), region, brain)
    assert (np.isnan(nothing["relevance_share"]), nothing["peak_in_region"]) == (True, "n/a")


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
    assert list(table.columns) == ["target", "space", "relevance_share", "volume_share", "ratio", "peak_in_region"]
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


def test_peaks_are_found_in_mm_with_their_sign() -> None:
    values = np.zeros(FINE)
    values[20, 10, 12] = 3.0
    values[21, 10, 12] = 2.0
    values[8, 20, 20] = 1.0
    values[5, 5, 5] = -2.5
    peaks = find_peaks(values, FINE_AFFINE)
    expected = [("positive", (20, 10, 12), 3.0), ("positive", (8, 20, 20), 1.0), ("negative", (5, 5, 5), -2.5)]
    assert peaks["sign"].tolist() == [sign for sign, _, _ in expected]
    assert peaks["value"].tolist() == [value for _, _, value in expected]
    np.testing.assert_allclose(
        peaks[["x", "y", "z"]], [FINE_AFFINE[:3, :3] @ voxel + FINE_AFFINE[:3, 3] for _, voxel, _ in expected]
    )


def test_peaks_are_few_and_apart() -> None:
    peaks = find_peaks(np.random.default_rng(0).normal(size=FINE), FINE_AFFINE)
    assert peaks["sign"].value_counts().to_dict() == {"positive": saliency.PEAKS, "negative": saliency.PEAKS}
    for _, side in peaks.groupby("sign"):
        assert side["value"].abs().is_monotonic_decreasing
        places = side[["x", "y", "z"]].to_numpy()
        distances = np.abs(places[:, None] - places[None]).max(-1)
        assert distances[~np.eye(len(places), dtype=bool)].min() > 12


# --- pictures ----------------------------------------------------------------------------------------------------


def test_a_picture_shows_the_map_left_on_the_left_and_any_text_as_it_is(tmp_path: Path) -> None:
    values = np.zeros(FINE)
    x, y, z = np.round(np.linalg.inv(FINE_AFFINE)[:3] @ [-36, -20, 5, 1]).astype(int)
    values[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 1.0
    path = tmp_path / "map.png"
    mosaic(as_image(values, FINE_AFFINE), path, r"SIMULATED $\frac{$ <b>", "$x^$", "probe score per SD of grey matter")
    pixels = imread(path)[..., :3]
    height, width, _ = pixels.shape
    assert pixels.std() > 0.1
    # The middle slice of the first row, z = 5 mm, between the title and the second row.
    column = 0.88 * width / len(saliency.CUTS_MM["z"])
    middle = pixels[height // 8 : 2 * height // 5, int(3 * column) : int(4 * column)]
    red = middle[..., 0] - middle[..., 1] > 0.3
    assert red.sum() > 20
    assert np.argwhere(red)[:, 1].mean() < 0.45 * column


def test_brains_of_neighbouring_slices_do_not_touch(tmp_path: Path) -> None:
    mosaic(as_image(np.zeros(FINE), FINE_AFFINE), tmp_path / "map.png", "title", "NO MAP", "unit")
    pixels = imread(tmp_path / "map.png")[..., :3]
    height, width, _ = pixels.shape
    ink = pixels[height // 8 :].min(-1) < 0.97
    for cut in range(1, 7):
        # The label of a slice begins at its left edge, so the strip ends before it.
        edge = round(cut * 0.88 * width / 7)
        assert not ink[:, edge - 8 : edge - 3].any()


def test_a_picture_of_zeros_shows_the_brain_alone(tmp_path: Path) -> None:
    mosaic(as_image(np.zeros(FINE), FINE_AFFINE), tmp_path / "map.png", "title", "NO MAP", "unit")
    pixels = imread(tmp_path / "map.png")[..., :3]
    brain = pixels[:, : int(0.88 * pixels.shape[1])]
    assert brain.std() > 0.1
    assert np.abs(brain.max(-1) - brain.min(-1)).max() < 0.02, "grey"


def test_titles_say_what_is_mapped_and_in_which_unit(run: Run) -> None:
    run.write()
    titles = [title for title, _, _ in run.pictures]
    assert titles[:2] == [
        "SIMULATED · SepCLR, k-JEM · Diagnosis · common space",
        "SIMULATED · SepCLR, k-JEM · Diagnosis · salient space",
    ]
    assert {unit for _, _, unit in run.pictures} == {"probe score per SD of grey matter"}
