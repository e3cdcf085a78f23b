"""
A nilearn masker
================

nilearn's maskers turn NIfTI files into a matrix of voxels, and a row of voxels back into a map. In between
stands an estimator. The volumes are **simulated**: the grey-matter template of the MNI152 brain, which nilearn
brings along, with smooth random anatomy, and in patients less grey matter in one temporal region.
"""

# %%
# Volumes in MNI space
# --------------------

import matplotlib.pyplot as plt
import numpy as np
from nilearn.datasets import load_mni152_gm_template
from nilearn.image import new_img_like, resample_img
from nilearn.maskers import NiftiMasker
from nilearn.plotting import plot_stat_map
from scipy.ndimage import gaussian_filter

from sepclr_neuro import RidgeDiscriminant

rng = np.random.default_rng(0)
template = load_mni152_gm_template(resolution=2)
template = resample_img(template, target_affine=np.diag([6.0, 6.0, 6.0]), copy_header=True, force_resample=True)
grey_matter = template.get_fdata()
mask = new_img_like(template, (grey_matter > 0.2).astype(np.uint8))

voxel = np.linalg.inv(template.affine) @ [54.0, -20.0, -8.0, 1.0]
distance = np.linalg.norm(np.indices(grey_matter.shape).T - voxel[:3], axis=-1).T
region = np.exp(-(distance**2) / 8)

count = 80
y = np.array(["control", "patient"])[np.arange(count) % 2]
anatomy = [0.6 * gaussian_filter(rng.normal(size=grey_matter.shape), 1.5) for _ in range(count)]
effects = [-0.15 * region * (group == "patient") for group in y]
volumes = [grey_matter * np.exp(own + effect) for own, effect in zip(anatomy, effects, strict=True)]
images = new_img_like(
    template, np.stack(volumes, axis=-1).astype(np.float32)
)  # one 4D image; paths of files do as well

# %%
# Images in, a map out
# --------------------
# ``transform`` of the masker gives [participants, voxels], which the estimator takes as it is;
# ``inverse_transform`` makes an image of the pattern.

masker = NiftiMasker(mask_img=mask).fit()
X = masker.transform(images)
model = RidgeDiscriminant().fit(X, y)
pattern = masker.inverse_transform(np.asarray(model.patterns("salient")).ravel())
print(f"{X.shape[0]} participants, {X.shape[1]} voxels; pattern: {pattern.shape}")

# %%
# The pattern
# -----------
# Blue is less grey matter in patients. The cross is at the middle of the true region.

cross = (54, -20, -8)
plot_stat_map(pattern, cut_coords=cross, cmap="RdBu_r", title="Where patients differ (simulated)")
plt.show()
truth = masker.transform(new_img_like(template, region)).ravel()
r = np.corrcoef(np.asarray(model.patterns("salient")).ravel(), -truth)[0, 1]
print(f"correlation with the true map: {r:.2f}")
