"""Contrastive analysis as scikit-learn does things: volumes in, representations and maps out, no configuration.

The workflow's own methods learn here, from whatever holds volumes; nothing is written but temporary files.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> y = np.arange(60) % 2
>>> X = rng.normal(size=(60, 200)) + np.outer(y, np.r_[np.ones(20), np.zeros(180)])
>>> model = GeneralizedContrastivePCA(salient_dim=2).fit(X, y)
>>> model.transform(X).shape, model.transform(X, space="common").shape
((60, 2), (60, 57))
"""

from __future__ import annotations

import math
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from nibabel.nifti1 import Nifti1Image
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import ClassifierTags, Tags, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from torch import Tensor

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.messages import validate
from sepclr_neuro.config.methods.linear import GCPCASettings, LinearSepCLRSettings, RidgeDiscriminantSettings
from sepclr_neuro.config.methods.sepclr import SepCLRSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.config.training import Training
from sepclr_neuro.core.statistics import permutation_p, permuted_rows
from sepclr_neuro.data.covariates import CovariateCoding, learn_covariates
from sepclr_neuro.data.given_volumes import Volumes, are_volumes
from sepclr_neuro.data.grid import same_grid
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.embedding import parts_in_memory, represent_parts
from sepclr_neuro.maps.patterns import FoldCodes, distance_auc, forward_model, pattern_maps
from sepclr_neuro.methods import linear, sepclr
from sepclr_neuro.methods.base import ClosedFormMethod, Method, Read, planes_at_once

__all__ = ["ContrastiveMaps", "GeneralizedContrastivePCA", "RidgeDiscriminant", "SepCLR", "contrastive_maps"]

FLOATS = [np.float64, np.float32]
Space = Literal["salient", "common"]


class _Contrastive(TransformerMixin, BaseEstimator):
    """Common and salient space of two groups: a method of the workflow that is told volumes and groups by Python."""

    space: Space

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    @abstractmethod
    def _method(self, shape: tuple[int, ...]) -> Method:
        """The untrained method that the constructor's arguments describe, of volumes [C, *spatial]."""

    def fit(self, X: Any, y: ArrayLike, covariates: pd.DataFrame | ArrayLike | None = None) -> Any:
        """Learns both spaces.

        Args:
            X: [N, voxels], e.g. from a nilearn masker; [N, X, Y, Z]; paths of NIfTI files or nibabel images; or
                :class:`Volumes` of any of these. Each voxel is standardised by these people's mean and SD.
            y: the group of each, two labels; the second in order is the target group, whose own the salient space is.
            covariates: what the salient space is adjusted for within groups, a table whose numbers and labels are
                coded (of ``age`` the square too, of ``tiv`` the logarithm), or numbers [N, k]; None for those that
                come with ``Volumes``, if any.

        Raises:
            ValueError: if there are not two groups of two people at least, or a covariate is missing.
        """
        volumes, groups = self._validated(X, y)
        covariates = volumes.covariates if covariates is None else covariates
        self.classes_ = np.unique(groups)
        if len(self.classes_) != 2:
            kind = "1 class" if len(self.classes_) == 1 else f"{len(self.classes_)} classes"
            raise ValueError(f"Only binary classification is supported: y has {kind}; two groups are needed.")
        smaller = min(int((groups == label).sum()) for label in self.classes_)
        if smaller < 2:
            raise ValueError(f"y: each group needs at least 2 people, one has {smaller}")
        target = torch.from_numpy(groups == self.classes_[1])
        self.covariates_ = self._learned(covariates, len(volumes))
        a = torch.from_numpy(self._coded(covariates, len(volumes)))
        self.grid_, self.affine_ = volumes.grid, volumes.affine
        self.mean_, self.scale_ = _mean_and_scale(volumes)
        seed = int(check_random_state(getattr(self, "random_state", None)).randint(2**31 - 1))
        with torch.random.fork_rng(devices=[]):  # others' random numbers stay as they are
            torch.manual_seed(seed)
            self.method_: Any = self._method((1, *volumes.grid))
            self.figures_ = self._learn(volumes, target, a, seed)
        codes = self._represented(volumes, a)
        self.control_centre_ = codes["salient"][~target.numpy()].mean(axis=0)
        none = a.numpy()[:, :0]
        self._weights = {
            space: forward_model(self._present_voxels(volumes), codes[space], a.numpy() if space == "salient" else none)
            for space in codes
        }
        return self

    def transform(
        self, X: Any, covariates: pd.DataFrame | ArrayLike | None = None, space: Space | None = None
    ) -> NDArray[np.float64]:
        """Representations [N, d] in one space, that of the constructor where none is named.

        Raises:
            ValueError: if covariates are lacking that the estimator was fitted with.
        """
        check_is_fitted(self)
        volumes = self._given(X, reset=False)
        if volumes.grid != self.grid_ or not _on_one_grid(volumes, self.affine_):
            raise ValueError(
                f"X: volumes of {volumes.grid} voxels are not on the grid of those fitted on, {self.grid_}"
            )
        covariates = volumes.covariates if covariates is None else covariates
        return self._represented(volumes, torch.from_numpy(self._coded(covariates, len(volumes))))[space or self.space]

    def fit_transform(
        self, X: Any, y: ArrayLike, covariates: pd.DataFrame | ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """:meth:`fit`, then :meth:`transform` of the same people: scikit-learn's own would lose the covariates."""
        return self.fit(X, y, covariates).transform(X, covariates)

    def patterns(self, space: Space | None = None) -> Any:
        """The forward model of a space: how a voxel, in its own units, changes with each dimension.

        Least squares of the training people's volumes on their representations, of the salient space beside the
        covariates, as the workflow's maps are (:mod:`sepclr_neuro.maps.patterns`). These, not the weights, are to be
        shown as maps: Haufe et al., NeuroImage 2014, https://doi.org/10.1016/j.neuroimage.2013.10.067.

        Returns:
            An image [X, Y, Z, d] where the affine is known; otherwise an array [d, voxels] or [d, X, Y, Z].
        """
        check_is_fitted(self)
        present = np.isfinite(self.scale_)
        return self._map(self._weights[space or self.space] * self.scale_[present])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """``salient0``, ``salient1``, ...: the dimensions of the constructor's space."""
        check_is_fitted(self)
        return np.array([f"{self.space}{k}" for k in range(len(self._weights[self.space]))], dtype=object)

    def _validated(self, X: Any, y: ArrayLike) -> tuple[Volumes, NDArray[Any]]:
        if are_volumes(X):
            volumes, groups = self._given(X), column_or_1d(y)
            check_consistent_length(volumes, groups)
        else:
            x, groups = validate_data(self, X, y, dtype=FLOATS, ensure_min_samples=2)
            volumes = Volumes(x)
        check_classification_targets(groups)
        return volumes, groups

    def _given(self, X: Any, reset: bool = True) -> Volumes:
        if not are_volumes(X):
            return Volumes(validate_data(self, X, dtype=FLOATS, reset=reset))
        volumes = X if isinstance(X, Volumes) else Volumes(X)
        if reset:
            self.n_features_in_ = math.prod(volumes.grid)
        return volumes

    def _reader(self, volumes: Volumes) -> Read:
        def read(rows: Sequence[int], planes: slice = slice(None)) -> Tensor:
            x = volumes.read(rows, planes).astype(np.float64)
            return torch.from_numpy((x - self.mean_[planes]) / self.scale_[planes])[:, None]

        return read

    def _chunks(self, volumes: Volumes) -> Iterator[Tensor]:
        """Standardised volumes [B, 1, *grid], a few people at a time."""
        read = self._reader(volumes)
        for part in parts_in_memory(len(volumes), self.grid_):
            yield read(range(part.start, part.stop), slice(None))

    def _represented(self, volumes: Volumes, covariates: Tensor) -> dict[str, NDArray[np.float64]]:
        dtype, device = torch.float64, torch.device("cpu")
        if not isinstance(self.method_, ClosedFormMethod):
            dtype, device = torch.float32, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.method_.to(device)
        found = represent_parts(self.method_, (z.to(device, dtype) for z in self._chunks(volumes)), covariates)
        self.method_.cpu()  # where models that are kept or sent elsewhere can be opened
        return {space: values.cpu().double().numpy() for space, values in found.items()}

    def _present_voxels(self, volumes: Volumes) -> Iterator[NDArray[np.float64]]:
        present = np.isfinite(self.scale_)
        return (z[:, 0].numpy()[:, present] for z in self._chunks(volumes))

    def _learn(self, volumes: Volumes, target: Tensor, covariates: Tensor, seed: int) -> dict[str, float]:
        """Lets the method learn; returns figures of the fit."""
        figures = self.method_.fit(self._reader(volumes), range(len(volumes)), target, covariates, seed)
        self.method_.double().eval()  # so that a code does not depend on who else is represented, to the last digit
        return figures

    def _map(self, values: NDArray[np.float64]) -> Any:
        """Values of the present voxels, [V] or [d, V], as an image where the affine is known, otherwise on the grid."""
        whole = np.zeros((*values.shape[:-1], *self.grid_))
        whole[..., np.isfinite(self.scale_)] = values
        if self.affine_ is None:
            return whole
        return Nifti1Image(np.moveaxis(whole, 0, -1) if whole.ndim == 4 else whole, self.affine_, dtype=np.float32)

    def _learned(self, covariates: Any, count: int) -> CovariateCoding | NDArray[np.float64] | None:
        """How covariates are coded: a coding of a table, the mean of numbers, or None."""
        if covariates is None:
            return None
        if isinstance(covariates, pd.DataFrame):
            return learn_covariates(covariates.reset_index(drop=True), list(covariates.columns))
        return _numbers(covariates, count).mean(axis=0)

    def _coded(self, covariates: Any, count: int) -> NDArray[np.float64]:
        known = self.covariates_
        if known is None:
            return np.zeros((count, 0))
        if covariates is None:
            raise ValueError("covariates: the estimator was fitted with them, and needs them of everybody")
        if isinstance(known, CovariateCoding):
            if not isinstance(covariates, pd.DataFrame) or len(covariates) != count:
                raise ValueError(f"covariates: a table of {count} rows with {', '.join(known.names)} is needed")
            return known.code(covariates.reset_index(drop=True))
        return _numbers(covariates, count) - known


def _numbers(covariates: Any, count: int) -> NDArray[np.float64]:
    numbers = np.asarray(covariates, dtype=np.float64)
    numbers = numbers[:, None] if numbers.ndim == 1 else numbers
    if numbers.shape[0] != count or not np.isfinite(numbers).all():
        raise ValueError(f"covariates: {count} rows of finite numbers are needed, got an array {numbers.shape}")
    return numbers


def _mean_and_scale(volumes: Volumes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and SD of each voxel, a few planes of everybody at a time; an infinite SD where all have the same value."""
    mean, scale = np.zeros(volumes.grid), np.zeros(volumes.grid)
    for planes in planes_at_once((1, *volumes.grid), len(volumes)):
        x = volumes.read(range(len(volumes)), planes).astype(np.float64)
        mean[planes], scale[planes] = x.mean(axis=0), x.std(axis=0)
    if not np.isfinite(mean).all():
        raise ValueError("X: voxels are NaN or infinite")
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, np.inf)


def _on_one_grid(volumes: Volumes, affine: NDArray[np.float64] | None) -> bool:
    return volumes.affine is None or affine is None or same_grid(volumes.affine, affine, volumes.grid)


class SepCLR(_Contrastive):
    """SepCLR: what patients share with controls, and what is theirs alone, by contrastive learning.

    Args:
        salient_dim: dimensions of the salient space.
        common_dim: of the common space of a network. With linear encoders, of the common head that training has; the
            common space itself is then all that the salient codes do not predict.
        independence: the term between the spaces.
        encoder: ``"linear"``, trained in the span of the training people in seconds; or a network of the workflow,
            trained on volumes by its loop, on a GPU where there is one: ``"light"`` for CPUs, ``"strided"``,
            ``"resnet18"`` and ``"densenet121"``.
        noise: of linear encoders: SD of the noise that makes a view, over the root mean square of the coordinates.
        steps: of linear encoders: of Adam, everybody in each.
        epochs: of networks.
        batch_size: of networks.
        erase: whether the common space is left without what the salient codes predict of it.
        space: what :meth:`transform` returns where it is told nothing.
        random_state: of the encoders' first weights and of the views.

    Source: Louiset et al., ICLR 2024, https://arxiv.org/abs/2402.11928.
    """

    def __init__(
        self,
        salient_dim: int = 8,
        common_dim: int = 32,
        independence: Literal["none", "k-jem", "k-mi", "mmd", "dcor"] = "k-jem",
        encoder: Literal["linear", "light", "strided", "resnet18", "densenet121"] = "linear",
        noise: float = 1.25,
        steps: int = 300,
        epochs: int = 100,
        batch_size: int = 16,
        erase: bool = True,
        space: Space = "salient",
        random_state: Any = None,
    ) -> None:
        self.salient_dim = salient_dim
        self.common_dim = common_dim
        self.independence = independence
        self.encoder = encoder
        self.noise = noise
        self.steps = steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.erase = erase
        self.space = space
        self.random_state = random_state

    def _method(self, shape: tuple[int, ...]) -> Method:
        given: dict[str, Any] = {"salient_dim": self.salient_dim, "common_dim": self.common_dim, "erase": self.erase}
        if self.encoder == "linear":
            given |= {"independence": self.independence, "noise": self.noise, "steps": self.steps}
            return linear.LinearSepCLR(validate(LinearSepCLRSettings, given, "SepCLR"), Network(), shape)
        network = validate(Network, {"name": self.encoder}, "encoder")
        if len(shape) != 4:
            raise ValueError(f"encoder: {self.encoder!r} needs volumes [N, X, Y, Z], not a matrix; use 'linear'")
        return sepclr.SepCLR(validate(SepCLRSettings, given, "SepCLR"), network, shape, self.independence)

    def _learn(self, volumes: Volumes, target: Tensor, covariates: Tensor, seed: int) -> dict[str, float]:
        if self.encoder == "linear":
            return super()._learn(volumes, target, covariates, seed)
        # Lightning takes seconds to import, which linear encoders need not wait for.
        from sepclr_neuro.learning.batches import Scans
        from sepclr_neuro.learning.fitting import fit
        from sepclr_neuro.learning.training import VolumeViews

        present = torch.from_numpy(np.isfinite(self.scale_))
        mean, sd = torch.from_numpy(self.mean_), torch.from_numpy(self.scale_)
        standardisation = Standardisation(mean.where(present, 0).float(), sd.where(present, 1).float(), present, ())
        people = [str(row) for row in range(len(volumes))]

        def read(rows: Sequence[int], planes: slice = slice(None)) -> Tensor:
            return torch.from_numpy(volumes.read(rows, planes).astype(np.float32))[:, None]

        with tempfile.TemporaryDirectory() as folder:
            history, _ = fit(
                self.method_,
                Scans(read, list(range(len(people))), people, target.tolist(), {}, covariates.float()),
                VolumeViews(standardisation, Augmentation()),
                validate(Training, {"epochs": self.epochs, "batch_size": self.batch_size}, "SepCLR"),
                seeds=(seed, 0),
                folder=Path(folder) / "checkpoints",
                identity="",
                title=type(self).__name__,
            )
        self.method_.float().eval()
        return history[-1]


class RidgeDiscriminant(_Contrastive):
    """One salient direction, Fisher's discriminant with a ridge.

    Args:
        ridge: in mean variances within groups of an axis.
        erase: whether the common space is left without what the salient code predicts of it.
        space: what :meth:`transform` returns where it is told nothing.
    """

    def __init__(self, ridge: float = 2.0, erase: bool = True, space: Space = "salient") -> None:
        self.ridge = ridge
        self.erase = erase
        self.space = space

    def _method(self, shape: tuple[int, ...]) -> Method:
        settings = validate(RidgeDiscriminantSettings, {"ridge": self.ridge, "erase": self.erase}, "RidgeDiscriminant")
        return linear.RidgeDiscriminant(settings, Network(), shape)


class GeneralizedContrastivePCA(_Contrastive):
    """Directions in which the target group varies most for how much the background group does.

    Args:
        salient_dim: how many.
        ridge: of the background's covariance, in mean variances of an axis.
        about: ``"controls"`` takes the target's moment about the background's mean, ``"own"`` about its own.
        erase: whether the common space is left without what the salient codes predict of it.
        space: what :meth:`transform` returns where it is told nothing.

    Source: de Oliveira et al., PLoS Computational Biology 2025, https://doi.org/10.1371/journal.pcbi.1012747.
    """

    def __init__(
        self,
        salient_dim: int = 8,
        ridge: float = 4.0,
        about: Literal["controls", "own"] = "controls",
        erase: bool = True,
        space: Space = "salient",
    ) -> None:
        self.salient_dim = salient_dim
        self.ridge = ridge
        self.about = about
        self.erase = erase
        self.space = space

    def _method(self, shape: tuple[int, ...]) -> Method:
        given = {"salient_dim": self.salient_dim, "ridge": self.ridge, "about": self.about, "erase": self.erase}
        settings = validate(GCPCASettings, given, "GeneralizedContrastivePCA")
        return linear.GeneralisedContrastivePCA(settings, Network(), shape)


@dataclass(frozen=True)
class ContrastiveMaps:
    """What held-out people's salient codes mean in the brain, patients beside controls, in SDs of each voxel.

    Maps are images where the affine is known; see :mod:`sepclr_neuro.maps.patterns` for their equations.

    Attributes:
        mean_patient: what tells patients from controls on average, signed.
        beyond_controls: what patients' codes explain more than controls' do, 0 or more: subtypes count too.
        p: of ``"mean-patient"`` and ``"beyond-controls"``: how often the largest voxel is as large by chance.
        auc: how well the distance of a salient code from the training controls' mean tells the groups apart.
        auc_p: how often it is as high by chance.
    """

    mean_patient: Any
    beyond_controls: Any
    p: dict[str, float]
    auc: float
    auc_p: float


def contrastive_maps(
    model: _Contrastive,
    X: Any,
    y: ArrayLike,
    covariates: pd.DataFrame | ArrayLike | None = None,
    *,
    within: ArrayLike | None = None,
    permutations: int = 1000,
    random_state: Any = None,
) -> ContrastiveMaps:
    """Both maps of a fitted estimator's salient space, and how well its codes tell groups apart without a probe.

    Args:
        model: fitted on other people.
        X: volumes of held-out people, as in ``fit``.
        y: their groups, the labels of ``fit``.
        covariates: as in ``fit``.
        within: of each person what groups are exchanged within, such as the site; None: among all.
        permutations: exchanges of groups for each p.
        random_state: of the exchanges.

    Raises:
        ValueError: if a label is unknown, or there are not two held-out people of each group.
    """
    codes = model.transform(X, covariates, space="salient")
    groups = column_or_1d(y)
    check_consistent_length(codes, groups)
    unknown = sorted(set(groups) - set(model.classes_))
    if unknown:
        raise ValueError(f"y: {unknown[0]} is no group of those fitted on, {' and '.join(map(str, model.classes_))}")
    patient = groups == model.classes_[1]
    fold = FoldCodes(model._weights["salient"], codes, np.arange(len(codes)), model.control_centre_)
    if not fold.has_both(patient):
        raise ValueError("y: two held-out people of each group are needed")
    strata = np.zeros(len(codes)) if within is None else column_or_1d(within)
    check_consistent_length(codes, strata)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    exchanged = permuted_rows(np.arange(len(codes)), strata, permutations, rng)
    maps = pattern_maps([fold], patient, exchanged)
    auc, null = distance_auc([fold], patient, exchanged)
    return ContrastiveMaps(
        mean_patient=model._map(maps["mean-patient"][0]),
        beyond_controls=model._map(maps["beyond-controls"][0]),
        p={name: permutation_p(float(np.abs(values).max()), null) for name, (values, null) in maps.items()},
        auc=auc,
        auc_p=permutation_p(auc, null),
    )
