"""
Arrays with scikit-learn
========================

The estimators are scikit-learn's: they can be cloned, searched over and put into pipelines. Here the salient
codes of a **simulated** disease feed a classifier, each fold with an encoder of its own, so that no held-out
participant is seen.
"""

# %%
# A matrix, two groups and a covariate
# ------------------------------------
# Patients are older, and age changes many voxels.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sepclr_neuro import GeneralizedContrastivePCA, Volumes, probe

rng = np.random.default_rng(0)
count, voxels = 160, 500
y = np.array(["control", "patient"])[np.arange(count) % 2]
table = pd.DataFrame({"age": rng.uniform(20, 50, count) + 10 * (y == "patient"), "sex": rng.choice(["f", "m"], count)})
X = rng.normal(size=(count, voxels))
X[:, :300] -= 0.05 * (table["age"].to_numpy()[:, None] - 40)
X[y == "patient", 300:320] += rng.choice([-1.2, 1.2], (count // 2, 1))  # two signs

# %%
# A pipeline
# ----------
# ``Volumes`` takes the covariates along, which ``cross_val_score`` could not hand to ``transform``. The distance from
# the controls finds patients who differ in either direction, so that the classifier reads squares of the codes.

pipeline = make_pipeline(
    GeneralizedContrastivePCA(salient_dim=2),
    FunctionTransformer(np.square),
    LogisticRegression(class_weight="balanced"),
)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
adjusted = cross_val_score(pipeline, Volumes(X, covariates=table), y, cv=folds, scoring="balanced_accuracy")
print(f"balanced accuracy of the diagnosis: {adjusted.mean():.2f} in five folds (chance 0.50)")

# %%
# A search over settings
# ----------------------

search = GridSearchCV(
    pipeline, {"generalizedcontrastivepca__salient_dim": [1, 2, 4]}, cv=folds, scoring="balanced_accuracy"
)
search.fit(Volumes(X, covariates=table), y)
print(search.best_params_)

# %%
# What the codes predict
# ----------------------
# Each fold's own codes of all participants go to the package's probe: is age in the salient space? Patients are
# older, so that the diagnosis itself predicts age a little. The test therefore exchanges ages within the groups
# (``within=y``). Adjusting takes most of age out of the salient space, not all of it: its effects are
# estimated, here from 128 participants.

of_folds, unadjusted = [], []
splits = list(folds.split(X, y))
for train, _ in splits:
    encoder = GeneralizedContrastivePCA(salient_dim=2)
    of_folds.append(encoder.fit(X[train], y[train], covariates=table.iloc[train]).transform(X, covariates=table))
    unadjusted.append(GeneralizedContrastivePCA(salient_dim=2).fit(X[train], y[train]).transform(X))
found = {
    "adjusted": probe(of_folds, table["age"], cv=splits, within=y, permutations=199, random_state=0),
    "not adjusted": probe(unadjusted, table["age"], cv=splits, within=y, permutations=199, random_state=0),
}
for name, result in found.items():
    print(f"age, {name}: off by {result.value:.1f} years, the median by {result.chance:.1f}; p {result.p:.3f}")

figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
for axis, (name, codes) in zip(axes, (("adjusted", of_folds[0]), ("not adjusted", unadjusted[0])), strict=True):
    for group, marker in (("control", "o"), ("patient", "^")):
        axis.scatter(table["age"][y == group], codes[y == group, 0], marker=marker, s=16, alpha=0.7, label=group)
    axis.set_title(f"First salient dimension, {name} for age and sex", fontsize=10)
    axis.set_xlabel("age in years")
axes[0].set_ylabel("salient code")
axes[0].legend()
figure.tight_layout()
plt.show()
