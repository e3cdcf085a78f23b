"""Increments: how much a space adds to confounds in predicting a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.metrics import METRICS as METRIC
from sepclr_neuro.probing.probe_fits import Answer, Fit, fit_in_parallel
from sepclr_neuro.probing.questions import confound_features, with_cohort_defaults

__all__ = ["find_increments"]

INCREMENTS = ["method", "fold", "target", "metric", "space", "confounds", "combined", "increment", "n_train", "n_test"]


def find_increments(
    config: Config,
    cohort: pd.DataFrame,
    probes: Sequence[Fit],
    answers: Sequence[Answer | None],
    person: Mapping[str, str],
) -> pd.DataFrame:
    """The table increments.tsv: a probe of confounds alone, one of them and the space, and what the space adds."""
    fits: list[Fit] = []
    features: dict[tuple[str, int], pd.DataFrame] = {}
    listed = with_cohort_defaults(config, cohort).probes.confounds
    for probe, answer in zip(probes, answers, strict=True):
        names = [name for name in listed if name != probe.question.target]
        if answer is None or probe.question.regime != "standard" or not names:
            continue
        where = (probe.question.target, probe.fold.fold)
        if where not in features:
            features[where] = confound_features(cohort, names, probe.fold.probed)
        confounds = features[where]
        fits += [
            Fit(probe.key, probe.question, confounds, probe.fold),
            Fit(probe.key, probe.question, probe.features, probe.fold, beside=confounds),
        ]
    rows = []
    # What is read from confounds alone is the same for every method and space.
    distinct = {(fit.question.target, fit.fold.fold): fit for fit in fits[::2]}
    alone_answers = dict(zip(distinct, fit_in_parallel(list(distinct.values()), person), strict=True))
    for fit, combined_answer in zip(fits[1::2], fit_in_parallel(fits[1::2], person), strict=True):
        alone_answer = alone_answers[fit.question.target, fit.fold.fold]
        name = fit.question.metrics[0]
        before, after = (each.values[name] if each else float("nan") for each in (alone_answer, combined_answer))
        rows.append(
            {column: fit.key[column] for column in ("method", "fold", "target", "space")}
            | {"metric": name, "confounds": before, "combined": after}
            | {"increment": (after - before) * (1 if METRIC[name].higher_is_better else -1)}
            | {"n_train": len(fit.train), "n_test": len(fit.test)}
        )
    return pd.DataFrame(rows, columns=INCREMENTS)
