"""
A network of your own
=====================

An encoder is a PyTorch module and a line of metadata. :download:`two_scales.py
<../../../docs/examples/plugin/two_scales.py>` is a small package that adds one: a linear map of patch means at
two scales. Once it is installed, every stage of the workflow and the estimator ``SepCLR`` know it by name. The
disease is **simulated**.
"""

# %%
# Install the package
# -------------------
# In a shell: ``pip install docs/examples/plugin``. Here it is installed into a temporary folder.

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import sepclr_neuro
from sepclr_neuro import SepCLR
from sepclr_neuro.config.encoders import ENCODERS
from sepclr_neuro.core import registry

plugin = Path(sepclr_neuro.__file__).parents[1] / "docs" / "examples" / "plugin"
folder = Path(tempfile.mkdtemp())
shutil.copytree(plugin, folder / "plugin")
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
subprocess.run([*pip, "--target", folder / "installed", folder / "plugin"], check=True)

# %%
# Its names are known
# -------------------
# This Python was started before the package was installed, into a folder of its own, so that it has to be told
# where and to look anew. Yours will not need these two lines.

sys.path.insert(0, str(folder / "installed"))
registry.installed.cache_clear()

print("\n".join(ENCODERS.lines()))

# %%
# Train with it
# -------------
# Small volumes and few epochs, so that this page is built in seconds.

rng = np.random.default_rng(0)
y = np.array(["control", "patient"])[np.arange(60) % 2]
X = rng.normal(size=(60, 16, 16, 16)).astype(np.float32)
X[y == "patient", 4:12, 4:12, 4:12] += 0.5

model = SepCLR(encoder="two-scales", salient_dim=4, epochs=8, batch_size=20, random_state=0).fit(X[:40], y[:40])
codes = model.transform(X[40:])

# %%
# Held-out participants
# ---------------------
# Training draws controls to the point s', and pushes patients away from it.

centre = model.transform(X[:40])[y[:40] == "control"].mean(axis=0)
distance = np.linalg.norm(codes - centre, axis=1)
figure, axis = plt.subplots(figsize=(5, 3))
for place, group in enumerate(("control", "patient")):
    values = distance[y[40:] == group]
    axis.scatter(np.full(len(values), place), values, alpha=0.7)
axis.set_xticks([0, 1], ["controls", "patients"])
axis.set_xlim(-0.5, 1.5)
axis.set_ylabel("distance from the controls")
axis.set_title("Held-out participants, a network of one's own")
figure.tight_layout()
plt.show()
shutil.rmtree(folder)
