r"""How far two spaces separate known factors: recovery of each factor in each space, and the separation score.

The recovery of a factor in a space is :math:`(v - chance) / (best - chance)`, with the probe's figure v on held-out
participants and the best achievable figure: 0 at chance, 1 if the space predicts the factor as well as the volumes do.
The separation score is the mean over factors of the recovery in the space where the factor belongs, minus that in the
other space, both clipped to 0 to 1: 1 for a perfect separation, 0 for two equal spaces, below 0 for exchanged spaces.
Columns of tables call the recovery `share`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.probe_fits import Fit
from sepclr_neuro.probing.questions import Question, confound_features

__all__ = ["FACTORS", "Factor", "factor_questions", "factor_values", "held_out_values", "recovery", "separation_parts"]


@dataclass(frozen=True)
class Factor:
    """A known factor that probes predict."""

    column: str
    """Of the cohort."""
    people: str
    """The group in which it is predicted, or ``all``."""
    belongs_in: str
    """The space where it belongs."""


FACTORS = {
    "diagnosis": Factor("group", "all", "salient"),
    "sans": Factor("sans", "target", "salient"),
    "saps": Factor("saps", "target", "salient"),
    "age": Factor("age", "all", "common"),
    "sex": Factor("sex", "all", "common"),
    # In all participants, a space that predicts the diagnosis would also predict sites with many patients.
    "site_in_controls": Factor("site", "background", "common"),
    "site_in_patients": Factor("site", "target", "common"),
}
NUMBERS = ("age", "sans", "saps")
PARTS = ("score", "salient", "common")
HELD_OUT_FOLDS = 5
"""The separation score, and the same mean over the factors that belong in the salient, and in the common space."""


def factor_questions(cohort: pd.DataFrame) -> dict[str, Question]:
    """For each factor, the question of its probe: kind of probe, and true values of participants who have one."""
    found = {}
    for name, factor in FACTORS.items():
        people = cohort if factor.people == "all" else cohort[cohort["group"] == factor.people]
        truth = people.set_index("scan_id")[factor.column].dropna()
        if factor.column in NUMBERS:
            found[name] = Question(name, "regression", truth, ())
        else:
            # The target group comes second and so is the positive class.
            found[name] = Question(name, "classification", truth, tuple(sorted(set(truth))))
    return found


def factor_values(
    spaces: Mapping[str, pd.DataFrame], cohort: pd.DataFrame, fold: Fold, trained_on: Collection[str]
) -> pd.DataFrame:
    """Held-out balanced accuracy or mean absolute error of probes fitted on training participants.

    Chance is guessing, or the training median; for the diagnosis it is the accuracy of the site alone, if higher.

    Args:
        spaces: by name, representations [N, d] indexed by scan id.
        cohort: rows of ``cohort.tsv``.
        fold: training and held-out scans.
        trained_on: scans that the encoder and its preprocessing were fitted on.

    Returns:
        ``factor space value chance``; NaN for a factor without values in held-out participants.

    Raises:
        ValueError: if a held-out scan was trained on.
    """
    if leaked := set(trained_on) & set(fold.test):
        raise ValueError(f"leak: {min(leaked)} is held out, but the encoder was trained on this scan")
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    questions = factor_questions(cohort)
    from_site = Fit({}, questions["diagnosis"], confound_features(cohort, ["site"], fold.train), fold).answer(person)
    rows = []
    for name, question in questions.items():
        metric = question.metrics[0]
        floor = from_site.values[metric] if from_site and name == "diagnosis" else 0.0
        for space, features in spaces.items():
            answer = Fit({}, question, features, fold).answer(person)
            value, chance = (answer.values[metric], answer.chance[metric]) if answer else (np.nan, np.nan)
            rows.append({"factor": name, "space": space, "value": value, "chance": max(chance, floor)})
    return pd.DataFrame(rows)


def held_out_values(spaces: Mapping[str, pd.DataFrame], cohort: pd.DataFrame, fold: Fold) -> pd.DataFrame:
    """The same of probes that are fitted and scored in five folds of the held-out participants, the mean over folds.

    No encoder has seen these, so that this also shows what :func:`factor_values` cannot: adjusted codes of *training*
    participants are uncorrelated with age, sex and site by construction, and erased ones with the salient codes,
    whatever is left of these in others.

    Args:
        spaces: as of :func:`factor_values`.
        cohort: rows of ``cohort.tsv``.
        fold: of which the held-out scans are used.

    Returns:
        ``factor space value chance``.
    """
    scans = np.array(fold.test)
    people = cohort.set_index("scan_id").loc[scans]
    divided = StratifiedGroupKFold(HELD_OUT_FOLDS, shuffle=True, random_state=0)
    folds = [
        Fold(number, tuple(scans[fitted]), tuple(scans[scored]))
        for number, (fitted, scored) in enumerate(divided.split(scans, people["group"], people["participant_id"]))
    ]
    values = pd.concat([factor_values(spaces, cohort, inner, ()) for inner in folds])
    return values.groupby(["factor", "space"], sort=False, as_index=False)[["value", "chance"]].mean()


def recovery(values: pd.DataFrame, best: Mapping[str, float]) -> pd.Series:
    """Recovery of each row, (value - chance) / (best - chance); NaN if the best achievable is no better than chance.

    Args:
        values: of :func:`factor_values`.
        best: by factor, the best achievable figure.
    """
    achievable = values["factor"].map(best) - values["chance"]
    lower_is_better = values["factor"].isin(NUMBERS)
    possible = achievable.where(~lower_is_better, -achievable) > 0
    return ((values["value"] - values["chance"]) / achievable).where(possible)


def separation_parts(values: pd.DataFrame) -> dict[str, float]:
    """The separation score and its two parts; NaN for a method without a common and a salient space.

    Args:
        values: ``factor space share``, where ``share`` is the recovery.

    Returns:
        ``score``: the mean over factors of the recovery in the space where a factor belongs, minus that in the other;
        ``salient`` and ``common``: the same mean over the factors that belong in this space only. Read all three: an
        empty salient space costs the score nothing in the factors of the common space.

    >>> table = pd.DataFrame({"factor": ["age", "age", "sans", "sans"], "space": ["common", "salient"] * 2,
    ...                       "share": [1.0, 0.2, -0.1, 0.6]})
    >>> {name: round(value, 2) for name, value in separation_parts(table).items()}
    {'score': 0.7, 'salient': 0.6, 'common': 0.8}
    """
    table = values.pivot(index="factor", columns="space", values="share").dropna().clip(0, 1)
    if set(table.columns) != {"common", "salient"}:
        return dict.fromkeys(PARTS, float("nan"))
    difference = table["common"] - table["salient"]
    place = pd.Series({name: FACTORS[str(name)].belongs_in for name in table.index}, dtype=object)
    difference = difference.where(place == "common", -difference)
    own = {space: float(difference[place == space].mean()) for space in ("salient", "common")}
    return {"score": float(difference.mean()), **own}
