"""
One shift and two signs
=======================

A group comparison looks at means. It finds a disease that shifts all patients alike, and it is blind to one
that moves half of the patients in one direction and half in the other. Both diseases here are **simulated**, in
the same corner of a small volume.
"""

# %%
# Two diseases in one place
# -------------------------

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import ttest_ind

from sepclr_neuro import SepCLR, contrastive_maps

rng = np.random.default_rng(0)
count, side = 240, 14
truth = np.zeros((side, side, side))
truth[3:8, 3:8, 3:8] = 1
truth = gaussian_filter(truth, 1)


def cohort(two_signs):
    """Simulated volumes [N, X, Y, Z] and groups."""
    y = np.array(["control", "patient"])[np.arange(count) % 2]
    noise = np.stack([gaussian_filter(rng.normal(size=truth.shape), 1) for _ in range(count)])
    sign = rng.choice([-1, 1], count) if two_signs else np.ones(count)
    strength = 0.35 * (y == "patient") * sign
    return noise + strength[:, None, None, None] * truth, y


# %%
# The same analysis of both
# -------------------------
# The first half of the participants trains; maps are of the others. ``p`` is how often the largest voxel is as
# large after diagnoses are exchanged.

maps, t_maps = {}, {}
for name, two_signs in (("one shift", False), ("two signs", True)):
    X, y = cohort(two_signs)
    train, test = np.arange(count) < count // 2, np.arange(count) >= count // 2
    model = SepCLR(salient_dim=2, random_state=0).fit(X[train], y[train])
    maps[name] = contrastive_maps(model, X[test], y[test], permutations=199, random_state=0)
    t_maps[name] = ttest_ind(X[y == "patient"], X[y == "control"]).statistic
    beyond = maps[name].beyond_controls
    print(
        f"{name}: r with the truth {np.corrcoef(beyond.ravel(), truth.ravel())[0, 1]:.2f} beyond controls, "
        f"{np.corrcoef(t_maps[name].ravel(), truth.ravel())[0, 1]:.2f} t-map; p {maps[name].p['beyond-controls']:.3f}; "
        f"AUC of the distance from controls {maps[name].auc:.2f}"
    )

# %%
# One slice
# ---------
# Each picture has a scale of its own.

figure, axes = plt.subplots(2, 3, figsize=(7.5, 5))
for line, name in zip(axes, maps, strict=True):
    pictures = {"truth": truth, "t-map": t_maps[name], "beyond controls": maps[name].beyond_controls}
    for axis, (title, volume) in zip(line, pictures.items(), strict=True):
        limit = np.abs(volume).max()
        axis.imshow(volume[:, :, 5].T, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(f"{name}: {title}", fontsize=9)
        axis.set_axis_off()
figure.tight_layout()
plt.show()
