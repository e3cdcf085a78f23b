r"""How far two spaces separate: what each holds of each known factor, between chance and the best achievable.

A factor's *share* in a space is :math:`(v - chance) / (best - chance)` of its probe's figure v on held-out people: 0
where the space tells nothing, 1 where it tells all that the volumes tell. The separation score is the mean over
factors of the share in the space where the factor belongs, minus that in the other one, both cut to 0 to 1: 1 for a
perfect separation, 0 for spaces that hold the same, below 0 for exchanged ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sepclr_neuro.data.splits import Fold
from sepclr_neuro.probing.probe_fits import Fit
from sepclr_neuro.probing.questions import Question, confound_features

__all__ = ["FACTORS", "Factor", "factor_questions", "factor_values", "separation_parts", "shares"]


@dataclass(frozen=True)
class Factor:
    """What is asked of the spaces: the column of the cohort, of whom, and the space where it belongs."""

    column: str
    people: str
    belongs_in: str


FACTORS = {
    "diagnosis": Factor("group", "all", "salient"),
    "sans": Factor("sans", "target", "salient"),
    "saps": Factor("saps", "target", "salient"),
    "age": Factor("age", "all", "common"),
    "sex": Factor("sex", "all", "common"),
    # Of everybody, a space that tells the diagnosis would tell of the sites with many patients too.
    "site_in_controls": Factor("site", "background", "common"),
    "site_in_patients": Factor("site", "target", "common"),
}
NUMBERS = ("age", "sans", "saps")
PARTS = ("score", "salient", "common")
"""The separation score, and its parts: of the factors that belong in the salient, and in the common space."""


def factor_questions(cohort: pd.DataFrame) -> dict[str, Question]:
    """One probe's question a factor, of the people who have a value."""
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
    """What probes, fitted on training people, tell of held-out ones: balanced accuracy, or the mean absolute error.

    Chance is guessing, or the training median; of the diagnosis, what the site alone tells, where that is more.

    Args:
        spaces: by name, representations [N, d] indexed by scan id.
        cohort: as in ``cohort.tsv``.
        fold: who trains and who is held out.
        trained_on: scans that the encoder and everything before it saw.

    Returns:
        ``factor space value chance``; a factor that held-out people lack has NaN.

    Raises:
        ValueError: if a held-out scan was trained on.
    """
    if leaked := set(trained_on) & set(fold.test):
        raise ValueError(f"leak: {min(leaked)} is held out, but the encoder was trained on this scan")
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    asked = factor_questions(cohort)
    from_site = Fit({}, asked["diagnosis"], confound_features(cohort, ["site"], fold.train), fold).answer(person)
    rows = []
    for name, question in asked.items():
        metric = question.metrics[0]
        floor = from_site.values[metric] if from_site and name == "diagnosis" else 0.0
        for space, features in spaces.items():
            answer = Fit({}, question, features, fold).answer(person)
            value, chance = (answer.values[metric], answer.chance[metric]) if answer else (np.nan, np.nan)
            rows.append({"factor": name, "space": space, "value": value, "chance": max(chance, floor)})
    return pd.DataFrame(rows)


def shares(values: pd.DataFrame, best: Mapping[str, float]) -> pd.Series:
    """Each row's share of what can be told; NaN where the best achievable is no better than chance.

    Args:
        values: of :func:`factor_values`.
        best: by factor, the best achievable figure.
    """
    achievable = values["factor"].map(best) - values["chance"]
    lower_is_better = values["factor"].isin(NUMBERS)
    possible = achievable.where(~lower_is_better, -achievable) > 0
    return ((values["value"] - values["chance"]) / achievable).where(possible)


def separation_parts(values: pd.DataFrame) -> dict[str, float]:
    """The separation score of a method with a common and a salient space, and of the factors of each; NaN for others.

    Args:
        values: ``factor space share``.

    Returns:
        ``score``: the mean over factors of the share where a factor belongs less that in the other space;
        ``salient`` and ``common``: the same of the factors that belong there alone. A salient space that holds nothing
        costs the first nothing in the factors of the common one, so that all three are to be read.

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
