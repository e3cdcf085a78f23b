"""Trains and probes one method of the benchmark; the table of all methods."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sepclr_neuro import __version__
from sepclr_neuro.config.digits import IMAGE_SIZE
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.stages import stage_config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.provenance import versions
from sepclr_neuro.core.storage import fingerprint, read_json, write_json, write_text, write_tsv
from sepclr_neuro.core.words import spread
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.learning.batches import Scans
from sepclr_neuro.learning.fitting import fit
from sepclr_neuro.methods.base import Method
from sepclr_neuro.probing.published import published_digits
from sepclr_neuro.validation.digits.images import ImageSet, load_images
from sepclr_neuro.validation.digits.views import IdenticalViews, RandomViews

__all__ = ["delta_tot", "digits_table", "probe_spaces", "write_digits_run", "write_digits_table"]

logger = logging.getLogger(__name__)

FACTORS = ("digits", "objects")
SPACES = ("salient", "common")
COLUMNS = ["digits_salient", "digits_common", "objects_salient", "objects_common"]
_AT_ONCE = 500


def write_digits_run(config: Config, results: Results, method: str, repetition: int) -> None:
    """Trains a method on the training images, probes it on test images of the target group, and writes the result.

    After an interruption the same call resumes.

    Raises:
        InputError: if the images cannot be read, or are too few for a batch.
    """
    started, title = time.monotonic(), f"{method}, repetition {repetition}"
    digits = config.digits
    configured = digits.for_method(method)
    train, test = load_images(digits.images, config.seed)
    seed = seed_of(config.seed, repetition)
    torch.manual_seed(seed)
    model: Method = configured.entry.load()(configured.settings, configured.network, (3, IMAGE_SIZE, IMAGE_SIZE))
    settings = stage_config(config, "digits", method)
    chance = {factor: 100 / len(np.unique(getattr(train, factor)[train.target])) for factor in FACTORS}

    def probed(epoch: int) -> dict[str, float]:
        if digits.probe_every is None or epoch % digits.probe_every:
            return {}
        return _accuracies(probe_spaces(model.eval(), train, test), chance)

    try:
        history, how = fit(
            model,
            Scans(
                read=lambda rows, planes=slice(None): train.images[rows][:, :, planes],
                rows=list(range(len(train.images))),
                participants=[f"image-{row}" for row in range(len(train.images))],
                target=train.target.tolist(),
                attributes={},
            ),
            RandomViews(digits.views) if configured.settings.augmented else IdenticalViews(),
            configured.training,
            seeds=(config.seed, repetition),
            folder=results.digits_checkpoints(method, repetition),
            identity=fingerprint(settings, repetition, _checksum(train), __version__),
            title=title,
            after_epoch=None if digits.probe_every is None else probed,
        )
    except InputError as error:
        # Messages of the loop name keys of the section `training`; here they are in `digits.training`.
        problems = [problem.replace("training.", "digits.training.") for problem in error.problems]
        raise InputError(problems) from error
    found = {
        "method": method,
        "repetition": repetition,
        "accuracy": probe_spaces(model.eval(), train, test),
        "chance": chance,
        "epochs": len(history),
        "seconds": round(sum(row["seconds"] for row in history), 1),
        **how,
        "processor": platform.machine(),
        "settings": settings,
        "versions": {"sepclr_neuro": __version__} | versions("torch", "lightning", "numpy"),
    }
    write_tsv(results.digits_history(method, repetition), pd.DataFrame(history))
    write_json(results.digits_run(method, repetition), found)
    logger.info(f"{title}: trained and probed in {time.monotonic() - started:.0f} s")


def _checksum(train: ImageSet) -> str:
    content = hashlib.sha256(train.images.numpy().tobytes())
    content.update(train.digits.tobytes())
    return content.hexdigest()


def probe_spaces(model: Method, train: ImageSet, test: ImageSet) -> dict[str, dict[str, float]]:
    """Test accuracy of logistic regressions on standardised representations of the target group.

    They are fitted on the target group's training images; the released code does not standardise.

    Returns:
        ``{space: {"digits": accuracy, "objects": accuracy}}``, in percent.
    """
    represented = [_represent(model, images) for images in (train, test)]
    accuracy: dict[str, dict[str, float]] = {}
    for space in model.spaces:
        x_train, x_test = (each[space] for each in represented)
        accuracy[space] = {}
        for factor in FACTORS:
            probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            probe.fit(x_train, getattr(train, factor)[train.target])
            accuracy[space][factor] = 100 * float(probe.score(x_test, getattr(test, factor)[test.target]))
    return accuracy


@torch.no_grad()
def _represent(model: Method, images: ImageSet) -> dict[str, NDArray[np.float32]]:
    """Representations of the target group's images, [N, d] for each space."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    of_target = images.images[torch.from_numpy(images.target)]
    blocks = [model.represent(block.to(device)) for block in of_target.split(_AT_ONCE)]
    return {space: torch.cat([block[space] for block in blocks]).cpu().numpy() for space in model.spaces}


# --- the table ---------------------------------------------------------------------------------------------------


def delta_tot(accuracy: Mapping[str, float], chance: Mapping[str, float]) -> float:
    """Deviation from a perfect separation, which has 0: (100 - DS) + (DC - chance) + (OS - chance) + (100 - OC).

    D and O are the accuracies for digits and objects in the salient (S) and the common (C) space, all in percent.
    Differences are signed, as published: an accuracy below chance in the wrong space counts as better.

    >>> perfect = {"digits_salient": 100, "digits_common": 10, "objects_salient": 10, "objects_common": 100}
    >>> delta_tot(perfect, chance={"digits": 10, "objects": 10})
    0
    """
    return (
        (100 - accuracy["digits_salient"])
        + (accuracy["digits_common"] - chance["digits"])
        + (accuracy["objects_salient"] - chance["objects"])
        + (100 - accuracy["objects_common"])
    )


def digits_table(runs_of: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """One row per method: mean and SD over repetitions of each accuracy and of delta_tot, and the published figures.

    A method with one space has its accuracies in the columns of the common space and no delta_tot.

    Args:
        runs_of: by method, the result of each repetition, with ``accuracy``, ``chance`` and ``seconds``.
    """
    published = published_digits()
    rows = []
    for method, runs in runs_of.items():
        figures = pd.DataFrame([_accuracies(run["accuracy"], run["chance"]) for run in runs])
        row: dict[str, Any] = {"method": method, "repetitions": len(runs)}
        for column in figures:
            row[str(column)] = figures[column].mean()
            row[f"{column}_sd"] = figures[column].std()
        row["minutes"] = np.mean([run["seconds"] for run in runs]) / 60
        for column in (*COLUMNS, "delta_tot"):
            row[f"published_{column}"] = published[column].get(method, np.nan)
        rows.append(row)
    return pd.DataFrame(rows)


def _accuracies(accuracy: dict[str, dict[str, float]], chance: dict[str, float]) -> dict[str, float]:
    row = {f"{factor}_{space}": accuracy.get(space, {}).get(factor, np.nan) for factor in FACTORS for space in SPACES}
    if "single" in accuracy:
        return row | {f"{factor}_common": accuracy["single"][factor] for factor in FACTORS} | {"delta_tot": np.nan}
    return row | {"delta_tot": delta_tot(row, chance)}


_HEADINGS = {
    "digits_salient": "digits, salient ↑",
    "digits_common": "digits, common ↓",
    "objects_salient": "objects, salient ↓",
    "objects_common": "objects, common ↑",
    "delta_tot": "delta_tot ↓",
}


def write_digits_table(config: Config, results: Results) -> None:
    """Writes the table as TSV and as Markdown, with published figures in brackets."""
    runs_of = {
        method: [read_json(results.digits_run(method, repetition)) for repetition in range(repetitions)]
        for method, repetitions in ((name, config.digits.repetitions(name)) for name in config.digits.methods)
    }
    table = digits_table(runs_of)
    write_tsv(results.table("digits_on_objects", "tsv"), table)
    source = config.digits.images.source
    images = "embedded digits over generated textures" if source == "embedded" else "the images of the configuration"
    lines = [
        f"Linear probes, accuracy in %, on target test images ({images}); mean ± SD over repetitions. In brackets, "
        "figures of Louiset et al. (ICLR 2024), with 50,000 images of CIFAR-10 and MNIST, ResNet-18, 250 epochs.",
        "",
        "| method | repetitions | " + " | ".join(_HEADINGS.values()) + " | minutes |",
        "|---|---|" + "---|" * (len(_HEADINGS) + 1),
    ]
    for _, row in table.iterrows():
        cells = [_cell(row, column) for column in _HEADINGS]
        lines.append(f"| `{row['method']}` | {row['repetitions']} | {' | '.join(cells)} | {row['minutes']:.1f} |")
    write_text(results.table("digits_on_objects", "md"), "\n".join(lines) + "\n")


def _cell(row: pd.Series, column: str) -> str:
    if np.isnan(row[column]):
        return "n/a"
    text = f"{row[column]:.1f}{spread(row[column], row[f'{column}_sd'], decimals=1)}"
    published = row[f"published_{column}"]
    return text if np.isnan(published) else f"{text} ({published:.1f})"
