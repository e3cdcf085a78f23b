"""Representations whose spaces hold known things, and what was found of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv, write_json, write_tsv
from sepclr_neuro.probing.probe_fits import fit_probe
from sepclr_neuro.probing.questions import Question

METHOD = "sepclr-k-jem"


def make_cohort(n: int = 60) -> pd.DataFrame:
    """People whose group, sex and site repeat with different periods; every tenth patient has no SANS."""
    number = np.arange(n)
    patient = number % 2 == 1
    ids = [f"sub-{k:03d}" for k in number]
    severity = (number * 37 % n).astype(float)
    sans = np.where(patient & (number % 20 != 1), severity, np.nan)
    return pd.DataFrame(
        {
            "scan_id": ids,
            "participant_id": ids,
            "session_id": np.nan,
            "diagnosis": np.where(patient, "schizophrenia", "control"),
            "group": np.where(patient, "target", "background"),
            "age": 20.0 + number * 7 % 41,
            "sex": np.where(number // 2 % 2 == 0, "female", "male"),
            "site": np.array(["oslo", "prague", "rome"])[number % 3],
            "sans": sans,
            "saps": np.where(patient, severity, np.nan),
            "volume": np.nan,
        }
    )


def write_run(folder: Path, cohort: pd.DataFrame, folds: int = 2, repeats: int = 1) -> tuple[Config, Results]:
    """Files that the earlier stages would leave: common holds age, sex and site, salient diagnosis and severity."""
    config = Config(output=folder, splits={"folds": folds, "repeats": repeats})
    results = Results(folder)
    write_tsv(results.cohort, cohort)
    write_tsv(results.index, cohort[["scan_id"]].assign(sha256=[f"{number:064d}" for number in range(len(cohort))]))
    n = len(cohort)
    noise = np.random.default_rng(0)
    sites = np.stack([cohort["site"] == site for site in ("oslo", "prague", "rome")], axis=1)
    common = np.column_stack([cohort["age"] / 10, cohort["sex"] == "male", sites]).astype(float)
    severity = cohort["saps"].fillna(0) / 10
    salient = np.column_stack([cohort["group"] == "target", severity, noise.normal(size=n)]).astype(float)
    splits = []
    for fold in range(folds * repeats):
        held_out = (np.arange(n) // 6 + fold) % folds == 0 if fold >= folds else np.arange(n) // 6 % folds == fold
        side = np.where(held_out, "test", "train")
        splits.append(cohort[["scan_id", "participant_id"]].assign(fold=fold, unit=cohort["participant_id"], side=side))
        table = cohort[["scan_id"]].assign(side=side)
        for space, values in (("common", common), ("salient", salient)):
            noisy = values + 0.1 * noise.normal(size=values.shape)
            table = table.assign(**{f"{space}_{k}": noisy[:, k] for k in range(values.shape[1])})
        write_tsv(results.representations(METHOD, fold), table)
        trained_on = cohort.loc[side == "train", "scan_id"].tolist()
        write_json(results.model_folder(METHOD, fold) / "model.json", {"train_scan_ids": trained_on})
    write_tsv(results.splits, pd.concat(splits))
    return config, results


def read_scores(results: Results, regime: str = "standard") -> pd.DataFrame:
    """The paper's figures of a regime."""
    scores = read_tsv(results.scores)
    kept = (scores["regime"] == regime) & scores["metric"].isin(["bacc", "mae"])
    return scores[kept].set_index(["fold", "target", "space"])


def read_predictions(results: Results, regime: str = "standard") -> pd.DataFrame:
    predictions = read_tsv(results.predictions, text=("truth", "prediction"))
    return predictions[predictions["regime"] == regime]


def read_verdicts(results: Results, regime: str = "standard") -> pd.DataFrame:
    verdicts = read_tsv(results.verdicts)
    return verdicts[verdicts["regime"] == regime].set_index(["target", "metric", "space"])


def only(config: Config, *targets: str) -> Config:
    """The configuration with some of its targets."""
    kept = {name: config.probes.targets[name] for name in targets}
    return config.model_copy(update={"probes": config.probes.model_copy(update={"targets": kept})})


def ask(truth: list, representation: np.ndarray, train: int, kind: str, people: list[str] | None = None):
    """Fits on the first ``train`` rows and asks about the others."""
    ids = [f"s{k}" for k in range(len(truth))]
    classes = tuple(sorted(set(truth))) if kind == "classification" else ()
    question = Question("x", kind, pd.Series(truth, index=ids), classes)
    table = pd.DataFrame(representation, index=ids)
    return fit_probe(question, table[:train], table[train:], dict(zip(ids, people or ids, strict=True)))
