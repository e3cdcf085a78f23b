"""Predictions of a voxel-wise linear model in the simulated cohort, by which its effect sizes were chosen.

python benchmarks/simulation_calibration.py --seeds 0 1 2 --picture docs/images/simulated_cohort.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from sepclr_neuro.config.model import Config, parse_config
from sepclr_neuro.data.effects import DISEASE, DISEASE_REGIONS, region_map
from sepclr_neuro.data.simulated_people import simulate_people
from sepclr_neuro.data.simulator import Simulator

CLASSES = ("diagnosis", "sex", "site")
NUMBERS = ("age", "sans", "saps")


def predict(voxels: np.ndarray, people: pd.DataFrame) -> pd.DataFrame:
    """Held-out predictions of every variable by a linear model; symptom scores in patients only.

    Voxels are standardised on training participants and rotated to all principal components without rescaling, so that
    the model is equivalent to one on voxels; its penalty is chosen on training participants.
    """
    predicted = pd.DataFrame(index=people.index, columns=[*CLASSES, *NUMBERS], dtype=object)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for train, test in folds.split(voxels, people["diagnosis"] + people["site"]):
        scaler = StandardScaler().fit(voxels[train])
        rotation = PCA().fit(scaler.transform(voxels[train]))
        components = rotation.transform(scaler.transform(voxels)) / np.sqrt(rotation.explained_variance_[0])
        for target in CLASSES:
            model = GridSearchCV(
                LogisticRegression(max_iter=3000), {"C": np.logspace(-2, 3, 6)}, scoring="balanced_accuracy"
            )
            model.fit(components[train], people[target].iloc[train])
            predicted.iloc[test, predicted.columns.get_loc(target)] = model.predict(components[test])
        for target in NUMBERS:
            known = people[target].notna().to_numpy()
            fitted, asked = train[known[train]], test[known[test]]
            model = RidgeCV(np.logspace(-3, 4, 15)).fit(components[fitted], people[target].iloc[fitted])
            predicted.iloc[asked, predicted.columns.get_loc(target)] = model.predict(components[asked])
    return predicted


def configure(seed: int, participants: int, size: int, disease_effect: float) -> Config:
    """The default simulated cohort of this size."""
    simulated = {"participants": participants, "disease_effect": disease_effect}
    return parse_config({"seed": seed, "volumes": {"shape": [size] * 3}, "cohort": {"simulation": simulated}})


def figures(config: Config) -> dict[str, float]:
    """All figures of one cohort."""
    simulator = Simulator(config)
    people = simulate_people(config.cohort, config.seed)
    brain = simulator.template > 0.1
    voxels = np.stack([simulator.volume(person)[brain] for person in people.to_dict("records")])
    predicted = predict(voxels, people)

    found: dict[str, float] = {}
    for target in CLASSES:
        found[f"{target}, balanced accuracy"] = balanced_accuracy_score(people[target], predicted[target].astype(str))
    for target in NUMBERS:
        known = people[target].notna()
        truth, answer = people.loc[known, target], predicted.loc[known, target].astype(float)
        found[f"{target}, R2"] = r2_score(truth, answer)
        found[f"{target}, MAE"] = mean_absolute_error(truth, answer)
        found[f"{target}, MAE of the median"] = (truth - truth.median()).abs().mean()

    patient = (people["diagnosis"] == "schizophrenia").to_numpy()
    spread = voxels[~patient].std(0) / voxels[~patient].mean(0)
    found["CV of a voxel in controls, median"] = float(np.median(spread))
    tiv = people["tiv"].to_numpy()[:, None]
    for regions in DISEASE_REGIONS["frontal-temporal"].values():
        for region in regions:
            inside = region_map([region], simulator.template.shape, simulator.affine)[brain] != 0
            volume = (voxels[:, inside].sum(1, keepdims=True) / tiv)[:, 0]
            pooled = np.sqrt((volume[patient].var(ddof=1) + volume[~patient].var(ddof=1)) / 2)
            found[f"Cohen's d, {region.name}"] = (volume[patient].mean() - volume[~patient].mean()) / pooled
            found[f"Cohen's d, {region.name}, ENIGMA"] = (region.left + region.right) / 2
    return found


def draw(path: Path) -> None:
    """Two slices of the template, of one participant and of each factor's map."""
    config = configure(seed=0, participants=240, size=128, disease_effect=1)
    simulator = Simulator(config)
    person = simulate_people(config.cohort, 0).iloc[1].to_dict()
    pictures = {"template": simulator.template, "a patient": simulator.volume(person)}
    pictures |= {name: simulator.maps[name] for name in ("age", "sex", "site-1", *DISEASE)}
    figure, axes = plt.subplots(2, len(pictures), figsize=(2 * len(pictures), 4.6), layout="compressed")
    for column, (name, values) in zip(axes.T, pictures.items(), strict=True):
        grey = name in ("template", "a patient")
        limit = 1.0 if grey else float(np.abs(values).max())
        for axis, plane in zip(column, (values[:, :, 56], values[:, 60, :]), strict=True):
            look = {"cmap": "gray", "vmin": 0} if grey else {"cmap": "RdBu_r", "vmin": -limit}
            axis.imshow(plane.T, origin="lower", vmax=limit, **look)
            axis.set_axis_off()
        column[0].set_title(name if grey else f"{name}\n±{limit:.2g}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--participants", type=int, default=240)
    parser.add_argument("--size", type=int, default=64, help="voxels of a side")
    parser.add_argument("--disease-effect", type=float, default=1.0)
    parser.add_argument("--picture", type=Path, help="draw the maps to this file")
    options = parser.parse_args()
    if options.picture is not None:
        draw(options.picture)
    size = (options.participants, options.size, options.disease_effect)
    table = pd.DataFrame({seed: figures(configure(seed, *size)) for seed in options.seeds})
    table["mean"] = table.mean(axis=1)
    print(table.round(2).to_string())
