"""
Digits in a minute
==================

Controls are images of a pattern; patients are images of the same kind of pattern with a handwritten digit on
top, a 0 or a 1. The pattern varies far more than the digits do, so that principal components show the pattern
alone. Linear SepCLR is told which images have a digit, not which digit, and finds the two digits.

The digits are those that scikit-learn brings along; the pattern is **simulated**.
"""

# %%
# Controls and patients
# ---------------------
# A pattern is a random mixture of eight waves, far stronger than the digit.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sepclr_neuro import SepCLR

rng = np.random.default_rng(0)
digits, labels = load_digits(n_class=2, return_X_y=True)  # 8 x 8 pixels
digits = digits / digits.max()
count = len(digits)

row, column = np.mgrid[:8, :8]
waves = [np.sin(rng.uniform(0.3, 1.5) * row + rng.uniform(0.3, 1.5) * column + rng.uniform(0, 6)) for _ in range(8)]
basis = np.stack(waves).reshape(8, -1)


def patterns(n):
    """Simulated backgrounds, [n, 64]."""
    return rng.normal(size=(n, 8)) @ basis + rng.normal(scale=0.1, size=(n, 64))


X = np.vstack([patterns(count), patterns(count) + digits])
y = np.repeat(["control", "patient"], count)
print(f"SD over images and pixels: patterns {X[:count].std():.1f}, digits {digits.std():.1f}")

figure, axes = plt.subplots(2, 6, figsize=(7, 2.6))
for k, axis in enumerate(axes.T.ravel()):
    image = X[k // 2 + count * (k % 2)].reshape(8, 8)
    axis.imshow(image, cmap="gray")
    axis.set_xticks([])
    axis.set_yticks([])
axes[0, 0].set_ylabel("controls")
axes[1, 0].set_ylabel("patients")
figure.suptitle("Six controls, six patients: a digit is hardly visible")
plt.show()

# %%
# Two spaces
# ----------
# The model learns from half of the images and is shown the other half.

learn = np.arange(2 * count) % 2 == 0
model = SepCLR(salient_dim=2, noise=0.5, random_state=0).fit(X[learn], y[learn])
patients = ~learn & (y == "patient")
kind = np.tile(labels, 2)[patients]

spaces = {
    "principal components": PCA(2).fit(X[learn]).transform(X[patients]),
    "salient space": model.transform(X[patients]),
}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6))
for axis, (name, codes) in zip(axes, spaces.items(), strict=True):
    for digit, marker in ((0, "o"), (1, "^")):
        axis.scatter(*codes[kind == digit].T, marker=marker, s=18, alpha=0.7, label=f"digit {digit}")
    axis.set_title(f"Held-out patients: {name}")
    axis.set_xlabel("dimension 1")
    axis.set_ylabel("dimension 2")
axes[1].legend()
figure.tight_layout()
plt.show()

# %%
# What the salient dimensions mean
# --------------------------------
# A pattern says how the pixels change with a dimension. Those of the salient space look like digits, not like
# waves.

figure, axes = plt.subplots(1, 2, figsize=(4.5, 2.3))
for k, (axis, pattern) in enumerate(zip(axes, model.patterns("salient"), strict=True)):
    limit = np.abs(pattern).max()
    axis.imshow(pattern.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(f"dimension {k + 1}")
    axis.set_axis_off()
plt.show()
