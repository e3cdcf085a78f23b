"""The base of the estimators: fit, transform and patterns of a method of the workflow, in scikit-learn's form."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
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

from sepclr_neuro.data.covariates import CovariateCoding, learn_covariates
from sepclr_neuro.data.given_volumes import Volumes, are_volumes
from sepclr_neuro.data.grid import same_grid
from sepclr_neuro.learning.embedding import parts_in_memory, represent_parts
from sepclr_neuro.maps.fold_codes import forward_model
from sepclr_neuro.methods.base import ClosedFormMethod, Method, Read, planes_at_once

__all__ = ["Contrastive", "Space"]

FLOATS = [np.float64, np.float32]
Space = Literal["salient", "common"]


class Contrastive(TransformerMixin, BaseEstimator):
    """Common and salient space of two groups: a method of the workflow, given volumes and groups in Python."""

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
                :class:`Volumes` of any of these. Each voxel is standardised by these participants' mean and SD.
            y: the group of each, two labels; the second in order is the target group, whose own the salient space is.
            covariates: what the salient space is adjusted for within groups, a table whose numbers and labels are
                coded (of ``age`` the square too, of ``tiv`` the logarithm), or numbers [N, k]; None for those that
                come with ``Volumes``, if any.

        Raises:
            ValueError: if there are not two groups of two participants at least, or a covariate is missing.
        """
        volumes, groups = self._validated(X, y)
        covariates = volumes.covariates if covariates is None else covariates
        self.classes_ = np.unique(groups)
        if len(self.classes_) != 2:
            kind = "1 class" if len(self.classes_) == 1 else f"{len(self.classes_)} classes"
            raise ValueError(f"Only binary classification is supported: y has {kind}; two groups are needed.")
        smaller = min(int((groups == label).sum()) for label in self.classes_)
        if smaller < 2:
            raise ValueError(f"y: each group needs at least 2 participants, one has {smaller}")
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
        self.weights_ = {
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
        """:meth:`fit`, then :meth:`transform` of the same participants: scikit-learn's own loses the covariates."""
        return self.fit(X, y, covariates).transform(X, covariates)

    def patterns(self, space: Space | None = None) -> Any:
        """The forward model of a space: how a voxel, in its own units, changes with each dimension.

        Least squares of the training participants' volumes on their representations, of the salient space beside the
        covariates, as the workflow's maps are (:mod:`sepclr_neuro.maps.patterns`). These, not the weights, are to be
        shown as maps: Haufe et al., NeuroImage 2014, https://doi.org/10.1016/j.neuroimage.2013.10.067.

        Returns:
            An image [X, Y, Z, d] where the affine is known; otherwise an array [d, voxels] or [d, X, Y, Z].
        """
        check_is_fitted(self)
        present = np.isfinite(self.scale_)
        return self.to_map(self.weights_[space or self.space] * self.scale_[present])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """``salient0``, ``salient1``, ...: the dimensions of the constructor's space."""
        check_is_fitted(self)
        return np.array([f"{self.space}{k}" for k in range(len(self.weights_[self.space]))], dtype=object)

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
        """Standardised volumes [B, 1, *grid], a few participants at a time."""
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

    def to_map(self, values: NDArray[np.float64]) -> Any:
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
            raise ValueError("covariates: the estimator was fitted with them, and needs them of all participants")
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
    """Mean and SD of each voxel, a few planes of all volumes at a time; an infinite SD where all values are equal."""
    mean, scale = np.zeros(volumes.grid), np.zeros(volumes.grid)
    for planes in planes_at_once((1, *volumes.grid), len(volumes)):
        x = volumes.read(range(len(volumes)), planes).astype(np.float64)
        mean[planes], scale[planes] = x.mean(axis=0), x.std(axis=0)
    if not np.isfinite(mean).all():
        raise ValueError("X: voxels are NaN or infinite")
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, np.inf)


def _on_one_grid(volumes: Volumes, affine: NDArray[np.float64] | None) -> bool:
    return volumes.affine is None or affine is None or same_grid(volumes.affine, affine, volumes.grid)
