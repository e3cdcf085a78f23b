"""The main result of a run in a few sentences, made by fixed rules from p and q, and its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from sepclr_neuro.config.probes import ProbeTarget
from sepclr_neuro.core.words import listed
from sepclr_neuro.probing.tables import SPACES
from sepclr_neuro.report.findings import (
    ALPHA,
    figure_in_words,
    figures_in_words,
    is_better_than_chance,
    method_title,
    p_and_q,
    target_label,
)

__all__ = ["clearest", "found_in", "leading_target", "meaning", "site_warnings", "uncertainties"]

_SHOWN = 3  # methods that a warning names
_PARTICIPANTS = {"all": "all participants", "background": "controls alone", "target": "patients alone"}


def leading_target(table: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> str | None:
    """The first target that a salient space should predict: the first of classes, if there is any."""
    held = _meant_for("salient", table, targets)
    return next((name for name in held if targets[name].of_classes), held[0] if held else None)


def clearest(table: pd.DataFrame, target: str) -> pd.Series | None:
    """The salient probe of a target with the lowest q; of the single spaces where no method has two.

    Args:
        table: ``method target metric space mean p q``.
        target: one of its targets.

    Returns:
        The row, whether it is better than chance or not; None without a test.
    """
    rows = _in_salient(table)
    return _lowest_q(rows[rows["target"] == target])


def _lowest_q(rows: pd.DataFrame) -> pd.Series | None:
    """Of probes of one target; among equals, as permutations are few, the best figure. None without a test."""
    rows = rows[rows["q"].notna()]
    if rows.empty:
        return None
    worse = rows["mean"] * (-1 if rows["metric"].iloc[0] == "bacc" else 1)
    return rows.assign(worse=worse).sort_values(["q", "p", "worse"], kind="stable").iloc[0]


def _meant_for(space: str, table: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> list[str]:
    present = set(table["target"])
    return [name for name, target in targets.items() if target.expected_in == space and name in present]


def _has_two_spaces(table: pd.DataFrame) -> bool:
    return bool(table["space"].isin(SPACES).any())


def _in_salient(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["space"] == ("salient" if _has_two_spaces(table) else "single")]


# --- interpretation --------------------------------------------------------------------------------------------------


def meaning(table: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> list[str]:
    """Two sentences: what salient spaces predict of their targets, and whether the spaces are separate.

    Args:
        table: ``method target metric space mean chance p q``; ``bacc`` in percent.
        targets: the probes' targets.
    """
    lead = leading_target(table, targets)
    found = None if lead is None else clearest(table, lead)
    if lead is None or found is None:
        return ["No target of a salient space was probed, so this run says nothing about separation."]
    if not is_better_than_chance(found):
        return [_not_found(table, targets, lead, found), _instead(table, targets, lead)]
    return [_found(table, targets, lead, found), _separation(table, targets, lead, str(found["method"]))]


def found_in(table: pd.DataFrame, targets: Mapping[str, ProbeTarget]) -> str | None:
    """The method that the first sentence of :func:`meaning` names, where it is better than chance."""
    lead = leading_target(table, targets)
    found = None if lead is None else clearest(table, lead)
    return str(found["method"]) if found is not None and is_better_than_chance(found) else None


def _space(table: pd.DataFrame) -> str:
    return "salient space" if _has_two_spaces(table) else "representation"


def _found(table: pd.DataFrame, targets: Mapping[str, ProbeTarget], lead: str, found: pd.Series) -> str:
    rows = _in_salient(table)
    rows = rows[rows["target"] == lead]
    better = int(sum(is_better_than_chance(row) for _, row in rows.iterrows()))
    title, label = method_title(str(found["method"])), target_label(lead, targets)
    if len(rows) == 1:
        start = f"The {_space(table)} of {title} predicts {label} better than chance: {figures_in_words(found)}"
    else:
        start = (
            f"The {_space(table)} predicts {label} better than chance in {better} of {len(rows)} methods, "
            f"most clearly in {title}: {figures_in_words(found)}"
        )
    return start + _others(table, targets, lead) + "."


def _not_found(table: pd.DataFrame, targets: Mapping[str, ProbeTarget], lead: str, found: pd.Series) -> str:
    count = int((_in_salient(table)["target"] == lead).sum())
    title, label = method_title(str(found["method"])), target_label(lead, targets)
    if count == 1:
        start = f"The {_space(table)} of {title} is not shown to predict {label} better than chance"
    else:
        start = (
            f"No {_space(table)} of {count} methods is shown to predict {label} better than chance; closest is {title}"
        )
    return f"{start}: {figures_in_words(found)}{_others(table, targets, lead, 'predicted instead')}."


def _others(table: pd.DataFrame, targets: Mapping[str, ProbeTarget], lead: str, beside: str = "also predicted") -> str:
    """The other targets that a salient space should predict."""
    better, not_shown = [], []
    for name in _meant_for("salient", table, targets):
        row = clearest(table, name)
        if name == lead or row is None:
            continue
        if is_better_than_chance(row):
            better.append(f"{target_label(name, targets)} (lowest {p_and_q(row).partition(', ')[2]})")
        else:
            not_shown.append(target_label(name, targets))
    said = [f"{beside}: {listed(better)}"] if better else []
    said += [f"not shown for any method: {listed(not_shown)}"] if not_shown else []
    return "".join(f"; {part}" for part in said)


def _separation(table: pd.DataFrame, targets: Mapping[str, ProbeTarget], lead: str, method: str) -> str:
    """Of one method: whether its common space predicts the target too, and its salient space a common one."""
    if not _has_two_spaces(table):
        return "No method of this run has two spaces, so it says nothing about separation."
    of_method = table[table["method"] == method]
    common = of_method[(of_method["space"] == "common") & (of_method["target"] == lead)]
    both = not common.empty and is_better_than_chance(common.iloc[0])
    extra = _better_than_chance_in("salient", of_method, targets, "common")
    label, title = target_label(lead, targets), method_title(method)
    if common.empty or math.isnan(common["q"].iloc[0]):
        in_common = f"the common space of {title} has no test of {label}"
    elif both:
        in_common = f"the common space of {title} predicts {label} too, {figures_in_words(common.iloc[0])}"
    else:
        figures = figures_in_words(common.iloc[0])
        in_common = f"the common space of {title} is not shown to predict {label}, {figures}"
    shared = [target_label(name, targets) for name in _meant_for("common", table, targets)]
    in_salient = f", and its salient space predicts {listed(extra)} too" if extra else ""
    if shared and not extra:
        in_salient = f", and its salient space is not shown to predict {listed(shared, 'or')}"
    verdict = "Separation is incomplete" if both or extra else "The spaces are separate as far as these probes show"
    return f"{verdict}: {in_common}{in_salient}."


def _better_than_chance_in(
    space: str, table: pd.DataFrame, targets: Mapping[str, ProbeTarget], meant_for: str
) -> list[str]:
    """Labels, with p and q, of the targets meant for one space that any method's given space predicts."""
    better = []
    for name in _meant_for(meant_for, table, targets):
        row = _lowest_q(table[(table["target"] == name) & (table["space"] == space)])
        if row is not None and is_better_than_chance(row):
            better.append(f"{target_label(name, targets)} ({p_and_q(row)})")
    return better


def _instead(table: pd.DataFrame, targets: Mapping[str, ProbeTarget], lead: str) -> str:
    """If no salient space predicts the target: whether another space does, and what common spaces predict."""
    two, label = _has_two_spaces(table), target_label(lead, targets)
    said = f"So this run found nothing specific to the target group for {label}"
    of_lead = table[table["target"] == lead]
    single, common = (_lowest_q(of_lead[of_lead["space"] == space]) for space in ("single", "common"))
    if two and single is not None and is_better_than_chance(single):
        title = method_title(str(single["method"]))
        said += f", though the volumes contain it: the single space of {title} has {figures_in_words(single)}"
    elif common is not None and is_better_than_chance(common):
        title = method_title(str(common["method"]))
        said += f", though a common space predicts {label}: {title}, {figures_in_words(common)}"
    found = _better_than_chance_in("common" if two else "single", table, targets, "common")
    shared = f"predict {listed(found)} better than chance" if found else "are not shown to predict their targets either"
    return f"{said}; {'common spaces' if two else 'representations'} {shared}."


# --- uncertainty -----------------------------------------------------------------------------------------------------


def site_warnings(leakage: pd.DataFrame | None, table: pd.DataFrame) -> list[str]:
    """Salient spaces that, by q, predict the site, with figures; and whether the site predicts the diagnosis.

    Args:
        leakage: site_leakage.tsv, None where it was not made.
        table: the table of probes, which speaks where ``leakage`` does not.

    Returns:
        A sentence a method, the best predictions first, and one about site and diagnosis.
    """
    found = []
    for method in dict.fromkeys(table["method"]):
        rows = _site_predictions(method, leakage, table)
        if rows:
            words = listed([figures_in_words(row) + _probed(row) for row in rows])
            found.append((max(row["mean"] for row in rows), method_title(str(method)), words))
    found.sort(key=lambda item: -item[0])
    said = [f"{title}: its salient space predicts the site, {words}." for _, title, words in found[:_SHOWN]]
    more = len(found) - _SHOWN
    if more > 0:
        said.append(
            f"So {'does the salient space of one more method' if more == 1 else f'do those of {more} more methods'}."
        )
    alone = None if leakage is None else leakage[(leakage["method"] == "site") & (leakage["target"] == "diagnosis")]
    if alone is not None and len(alone) and is_better_than_chance(alone.iloc[0]):
        said.append(
            f"The site alone, without any image, predicts the diagnosis: {figures_in_words(alone.iloc[0])}. Patients "
            "and controls are spread unevenly over sites."
        )
    return said


def _site_predictions(method: str, leakage: pd.DataFrame | None, table: pd.DataFrame) -> list[pd.Series]:
    """The best site probe of all participants, of controls and of patients, as far as each is better than chance."""
    if leakage is not None:
        rows = leakage[(leakage["method"] == method) & (leakage["space"] == "salient") & (leakage["target"] == "site")]
        rows = rows[(rows["harmonised"] == "no") & (rows["q"] < ALPHA)].sort_values("mean", ascending=False)
        best = {str(row["people"]): row for _, row in rows[::-1].iterrows()}
        if best:
            return [best[people] for people in _PARTICIPANTS if people in best]
    rows = table[(table["method"] == method) & (table["space"] == "salient") & (table["target"] == "site")]
    return [row for _, row in rows.iterrows() if is_better_than_chance(row)]


def _probed(row: pd.Series) -> str:
    return f" of {_PARTICIPANTS[row['people']]}, {row['probe']} probe" if "people" in row else ""


def uncertainties(
    table: pd.DataFrame,
    targets: Mapping[str, ProbeTarget],
    comparisons: pd.DataFrame | None,
    confounds: pd.DataFrame | None,
) -> list[str]:
    """Limits of the main result, each with its figures.

    Args:
        table: ``method target metric space mean sd chance null95 p q ci_low ci_high n``; ``bacc`` in percent.
        targets: the probes' targets.
        comparisons: comparisons.tsv, None where it has no rows.
        confounds: confounds.tsv, None where it has no rows.
    """
    said = []
    lead = leading_target(table, targets)
    found = None if lead is None else clearest(table, lead)
    if lead is not None and found is not None:
        said += _of_the_figure(found, target_label(lead, targets))
        said += _common_beside_salient(comparisons, found, target_label(lead, targets))
        said += _beside_confounds(confounds, found, target_label(lead, targets))
    return said + _of_the_table(table)


def _of_the_figure(found: pd.Series, label: str) -> list[str]:
    metric = found["metric"]
    low, high, null95 = (figure_in_words(found[name], metric) for name in ("ci_low", "ci_high", "null95"))
    named = f"{method_title(str(found['method']))}, {found['space']}, {label}"
    said = []
    if not math.isnan(found["ci_low"]):
        said.append(f"{named}: the 95 % interval over {found['n']:.0f} held-out participants is {low} to {high}.")
    if not math.isnan(found["null95"]):
        above = "below" if metric == "bacc" else "above"
        said.append(
            f"Chance alone reaches {null95} there in one of twenty cases: a true effect with a figure {above} that "
            "would be missed, so a negative result does not show that an effect is absent."
        )
    return said


def _same_method(table: pd.DataFrame | None, found: pd.Series) -> pd.DataFrame | None:
    if table is None:
        return None
    rows = (table["method"] == found["method"]) & (table["target"] == found["target"])
    return table[rows & (table["metric"] == found["metric"])]


def _common_beside_salient(comparisons: pd.DataFrame | None, found: pd.Series, label: str) -> list[str]:
    rows = _same_method(comparisons, found)
    if rows is None or found["space"] != "salient":
        return []
    rows = rows[(rows["other_method"] == found["method"]) & (rows["space"] != rows["other_space"])]
    if rows.empty or math.isnan(rows["p"].iloc[0]):
        return []
    row = rows.iloc[0]
    ahead = row["difference"] * (1 if row["space"] == "salient" else -1)
    unit = " points" if found["metric"] == "bacc" else ""
    verdict = "is" if is_better_than_chance(row) else "is not"
    return [
        f"In {method_title(str(found['method']))}, the salient space predicts {label} "
        f"{abs(ahead):.1f}{unit} {'better' if ahead > 0 else 'worse'} than the common one; over {row['folds']:.0f} "
        f"folds the difference {verdict} significant ({p_and_q(row)}; corrected resampled t-test)."
    ]


def _beside_confounds(confounds: pd.DataFrame | None, found: pd.Series, label: str) -> list[str]:
    rows = _same_method(confounds, found)
    rows = None if rows is None else rows[rows["space"] == found["space"]]
    if rows is None or rows.empty or math.isnan(rows["p"].iloc[0]):
        return []
    row, metric = rows.iloc[0], found["metric"]
    more = "adds to that" if is_better_than_chance(row) and row["increment"] > 0 else "is not shown to add to that"
    return [
        f"The confounds alone, without an image, predict {label} with {figure_in_words(row['confounds'], metric)}; the "
        f"space {more} (together {figure_in_words(row['combined'], metric)}, {p_and_q(row)})."
    ]


def _of_the_table(table: pd.DataFrame) -> list[str]:
    tested = table[table["q"].notna()]
    lucky = tested[(tested["p"] < ALPHA) & (tested["q"] >= ALPHA)]
    if tested.empty:
        return []
    by_chance = max(1, round(ALPHA * len(tested)))
    return [
        f"The table has {len(tested)} tests, of which about {by_chance} have p below {ALPHA} by chance alone. "
        f"Sentences and shading use q, which corrects for that; {_counted(len(lucky))} p below {ALPHA} but not q."
    ]


def _counted(count: int) -> str:
    return "none has" if count == 0 else "one has" if count == 1 else f"{count} have"
