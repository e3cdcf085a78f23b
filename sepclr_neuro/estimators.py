"""The linear methods as scikit-learn estimators: arrays in, representations out, no configuration and no folder.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> y = np.arange(60) % 2
>>> X = rng.normal(size=(60, 200)) + np.outer(y, np.r_[np.ones(20), np.zeros(180)])
>>> model = GeneralizedContrastivePCA(salient_dim=2).fit(X, y)
>>> model.transform(X).shape, model.transform(X, space="common").shape
((60, 2), (60, 57))
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import ClassifierTags, Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sepclr_neuro.config.methods.base import MethodSettings
from sepclr_neuro.config.methods.linear import GCPCASettings, LinearSepCLRSettings, RidgeDiscriminantSettings
from sepclr_neuro.config.network import Network
from sepclr_neuro.data.covariates import CovariateCoding, learn_covariates
from sepclr_neuro.methods.linear import (
    GeneralisedContrastivePCA,
    LinearSepCLR,
    TwoLinearSpaces,
)
from sepclr_neuro.methods.linear import RidgeDiscriminant as _RidgeDiscriminant
from sepclr_neuro.methods.span import TrainingPeople

__all__ = ["GeneralizedContrastivePCA", "RidgeDiscriminant", "SepCLR"]

Space = Literal["salient", "common"]


class _Contrastive(TransformerMixin, BaseEstimator):
    """Common and salient space of two groups; see :mod:`sepclr_neuro.methods.linear`."""

    method: ClassVar[type[TwoLinearSpaces]]
    space: Space

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags

    @abstractmethod
    def _settings(self) -> MethodSettings:
        """The settings that the constructor's arguments are."""

    def fit(self, X: ArrayLike, y: ArrayLike, covariates: pd.DataFrame | ArrayLike | None = None) -> Any:
        """Learns both spaces.

        Args:
            X: [N, voxels], e.g. from a nilearn masker. Each voxel is standardised by these people's mean and SD.
            y: the group of each, two labels; the second in order is the target group, whose own the salient space is.
            covariates: what the salient space is adjusted for within groups, a table whose numbers and labels are
                coded (of ``age`` the square too, of ``tiv`` the logarithm), or numbers [N, k]; None for nothing.

        Raises:
            ValueError: if there are not two groups of two people at least, or a covariate is missing.
        """
        x, groups = self._validated(X, y)
        self.classes_ = np.unique(groups)
        if len(self.classes_) != 2:
            kind = "1 class" if len(self.classes_) == 1 else f"{len(self.classes_)} classes"
            raise ValueError(f"Only binary classification is supported: y has {kind}; two groups are needed.")
        smaller = min(int((groups == label).sum()) for label in self.classes_)
        if smaller < 2:
            raise ValueError(f"y: each group needs at least 2 people, one has {smaller}")
        self.mean_, self.scale_ = x.mean(axis=0), x.std(axis=0)
        self.scale_ = np.where(self.scale_ > 1e-12 * np.abs(self.mean_), self.scale_, np.inf)
        z = self._standardised(x)
        self.covariates_ = self._learned(covariates, len(x))
        a = self._coded(covariates, len(x))
        seed = int(check_random_state(getattr(self, "random_state", None)).randint(2**31 - 1))
        people = TrainingPeople(z @ z.T, groups == self.classes_[1], a, seed)
        model = self.method(self._settings(), Network(), (z.shape[1],))
        spaces, self.figures_ = model.solve(people)
        self.components_: dict[str, NDArray[np.float64]] = {}
        self.effects_: dict[str, NDArray[np.float64]] = {}
        self.offsets_: dict[str, NDArray[np.float64]] = {}
        for space, maps in spaces.items():
            of = model.origin(space, people)
            self.components_[space] = maps.people @ z
            self.effects_[space] = maps.covariates
            values = z[of] @ self.components_[space].T - a[of] @ maps.covariates.T
            self.offsets_[space] = values.mean(axis=0)
        self._patterns = self._learned_patterns(z, people)
        return self

    def transform(
        self, X: ArrayLike, covariates: pd.DataFrame | ArrayLike | None = None, space: Space | None = None
    ) -> NDArray[np.float64]:
        """Representations [N, d] in one space, that of the constructor where none is named.

        Raises:
            ValueError: if covariates are lacking that the estimator was fitted with.
        """
        check_is_fitted(self)
        x: NDArray[np.float64] = validate_data(self, X, dtype=np.float64, reset=False)
        chosen = space or self.space
        values = self._standardised(x) @ self.components_[chosen].T
        return values - self._coded(covariates, len(x)) @ self.effects_[chosen].T - self.offsets_[chosen]

    def patterns(self, space: Space | None = None) -> NDArray[np.float64]:
        """The forward model of a space: how a voxel, in its own units, changes with each dimension, [d, voxels].

        Least squares of the training people's volumes, adjusted where the salient space is, on their representations.
        These, not the weights, are to be shown as maps: Haufe et al., NeuroImage 2014,
        https://doi.org/10.1016/j.neuroimage.2013.10.067. ``nilearn.masking.unmask`` makes images of them.
        """
        check_is_fitted(self)
        return self._patterns[space or self.space]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """``salient0``, ``salient1``, ...: the dimensions of the constructor's space."""
        check_is_fitted(self)
        return np.array([f"{self.space}{k}" for k in range(len(self.components_[self.space]))], dtype=object)

    def _validated(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any]]:
        x, groups = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(groups)
        return x, groups

    def _standardised(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return (X - self.mean_) / self.scale_

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

    def _learned_patterns(self, z: NDArray[np.float64], people: TrainingPeople) -> dict[str, NDArray[np.float64]]:
        found = {}
        adjusted = z - people.covariates @ (people.covariate_weights @ z)
        scale = np.where(np.isfinite(self.scale_), self.scale_, 0)
        for space in self.components_:
            codes = z @ self.components_[space].T - people.covariates @ self.effects_[space].T
            volumes = adjusted if space == "salient" else z
            codes, volumes = codes - codes.mean(axis=0), volumes - volumes.mean(axis=0)
            found[space] = np.linalg.lstsq(codes, volumes, rcond=None)[0] * scale
        return found


def _numbers(covariates: Any, count: int) -> NDArray[np.float64]:
    numbers = np.asarray(covariates, dtype=np.float64)
    numbers = numbers[:, None] if numbers.ndim == 1 else numbers
    if numbers.shape[0] != count or not np.isfinite(numbers).all():
        raise ValueError(f"covariates: {count} rows of finite numbers are needed, got an array {numbers.shape}")
    return numbers


class SepCLR(_Contrastive):
    """SepCLR with linear encoders, trained in the span of the training people.

    Args:
        salient_dim: dimensions of the salient space.
        common_dim: of the common head that training has; the common space itself is all that the codes do not predict.
        independence: the term between the spaces.
        noise: SD of the noise that makes a view, over the root mean square of the coordinates.
        steps: of Adam, everybody in each.
        erase: whether the common space is left without what the salient codes predict of it.
        space: what :meth:`transform` returns where it is told nothing.
        random_state: of the encoders' first weights and of the views.

    Source: Louiset et al., ICLR 2024, https://arxiv.org/abs/2402.11928.
    """

    method = LinearSepCLR

    def __init__(
        self,
        salient_dim: int = 8,
        common_dim: int = 32,
        independence: Literal["none", "k-jem", "k-mi", "mmd", "dcor"] = "k-jem",
        noise: float = 1.25,
        steps: int = 300,
        erase: bool = True,
        space: Space = "salient",
        random_state: Any = None,
    ) -> None:
        self.salient_dim = salient_dim
        self.common_dim = common_dim
        self.independence = independence
        self.noise = noise
        self.steps = steps
        self.erase = erase
        self.space = space
        self.random_state = random_state

    def _settings(self) -> LinearSepCLRSettings:
        return LinearSepCLRSettings(
            salient_dim=self.salient_dim,
            common_dim=self.common_dim,
            independence=self.independence,
            noise=self.noise,
            steps=self.steps,
            erase=self.erase,
        )


class RidgeDiscriminant(_Contrastive):
    """One salient direction, Fisher's discriminant with a ridge.

    Args:
        ridge: in mean variances within groups of an axis.
        erase: whether the common space is left without what the salient code predicts of it.
        space: what :meth:`transform` returns where it is told nothing.
    """

    method = _RidgeDiscriminant

    def __init__(self, ridge: float = 2.0, erase: bool = True, space: Space = "salient") -> None:
        self.ridge = ridge
        self.erase = erase
        self.space = space

    def _settings(self) -> RidgeDiscriminantSettings:
        return RidgeDiscriminantSettings(ridge=self.ridge, erase=self.erase)


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

    method = GeneralisedContrastivePCA

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

    def _settings(self) -> GCPCASettings:
        return GCPCASettings(salient_dim=self.salient_dim, ridge=self.ridge, about=self.about, erase=self.erase)
