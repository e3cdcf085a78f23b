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

from sepclr_neuro.estimators.linear import GeneralizedContrastivePCA, RidgeDiscriminant
from sepclr_neuro.estimators.maps import ContrastiveMaps, contrastive_maps
from sepclr_neuro.estimators.sepclr import SepCLR

__all__ = ["ContrastiveMaps", "GeneralizedContrastivePCA", "RidgeDiscriminant", "SepCLR", "contrastive_maps"]
