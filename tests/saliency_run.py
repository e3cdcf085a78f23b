"""What the stages before saliency leave behind, with a linear model in the place of a network: every map is known."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_json, write_text, write_tsv
from sepclr_neuro.data.cache import VolumeCache, voxels_sha256
from sepclr_neuro.data.covariates import CovariateCoding
from sepclr_neuro.data.grid import grid_affine
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.standardisation import Standardisation, write_standardisation
from sepclr_neuro.learning.models import TrainedModel
from sepclr_neuro.maps import fold_maps, mapping
from sepclr_neuro.maps.saliency import write_saliency
from sepclr_neuro.methods.base import Method

METHOD = "sepclr-k-jem"
SHAPE = (16, 16, 16)
AFFINE = grid_affine(SHAPE, 12.0)
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

    def represent(self, volumes: Tensor, covariates: Tensor | None = None) -> dict[str, Tensor]:
        self.batches.append(len(volumes))
        seen = self.features(volumes).flatten(1)
        return {space: seen @ field.flatten(1).T.to(seen.device) for space, field in self.fields.items()}

    def features(self, volumes: Tensor) -> Tensor:
        return volumes

    has_salient_norm = True

    def salient_norm(self, volumes: Tensor, covariates: Tensor | None = None) -> Tensor:
        return self.represent(volumes)["salient"].square().sum(dim=1)


class Quadratic(Linear):
    """r(x) = A x² / 2: without noise the map of w·r at a volume x is x Aᵀw, so that each participant's map differs."""

    def features(self, volumes: Tensor) -> Tensor:
        return volumes**2 / 2


# --- a run -------------------------------------------------------------------------------------------------------


class Run:
    """The files of the stages before saliency for 12 scans, of which the last two are of one patient."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
        self.results = Results(folder)
        maps = {"samples": 2, "permutations": 0, "sanity_participants": 0, **settings}
        self.config = Config(output=folder, splits={"folds": FOLDS}, saliency=maps)
        self.method: Linear = Linear()
        self.broken_fold: int | None = None
        self.pictures: list[tuple[str, str, str]] = []
        monkeypatch.setattr(fold_maps, "load_model", self.load_model)
        monkeypatch.setattr(mapping, "mosaic", lambda image, path, *texts: self.pictures.append(texts))

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
        who = {"scan_id": scans, "participant_id": people, "unit": people}
        sides = [pd.DataFrame({"fold": k, **who, "side": np.where(fold == k, "test", "train")}) for k in range(FOLDS)]
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
        metadata["covariates"] = CovariateCoding().to_json()
        return TrainedModel(self.method, metadata)

    def write(self) -> None:
        write_saliency(self.config, self.results, METHOD)

    def map(self, target: str, space: str, attribution: str = "smoothgrad") -> np.ndarray:
        folder = self.results.saliency(METHOD) / attribution
        return nibabel.Nifti1Image.from_filename(folder / f"{target}_{space}.nii.gz").get_fdata()

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
