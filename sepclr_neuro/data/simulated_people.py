"""Participants of a simulated or implanted cohort: ages, sexes, sites, the disease and its symptoms."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import truncnorm

from sepclr_neuro.config.cohort import Cohort
from sepclr_neuro.config.simulation import DISEASES, Implant, KnownDisease, Simulation
from sepclr_neuro.data.effects import DISEASE

__all__ = ["AGE_MEAN", "SYMPTOMS", "TIV_REFERENCE", "implant_people", "random_stream", "simulate_people"]

AGE_MEAN, AGE_SD, AGE_RANGE = 36.0, 13.0, (18.0, 65.0)  # years
TIV_MEAN = {"F": 1400.0, "M": 1560.0}  # ml
TIV_REFERENCE = 1500.0  # ml: the head that the template is taken to have
TIV_SD = 0.07  # of log TIV within a sex
# Totals of the 20 SANS and 30 SAPS items that are not global ratings: mean at severity 1, and noise of rating.
SYMPTOMS = {"sans": ("disease_negative", 23.0, 4.0), "saps": ("disease_positive", 17.0, 3.0)}
SYMPTOMS_MAXIMUM = 100
SEVERITY_SHAPE = 2.0  # gamma distribution of mean 1 and SD 0.71
MISSING_SCORES = 0.05  # share of patients who lack a score, a score


def simulate_people(cohort: Cohort, seed: int) -> pd.DataFrame:
    """Participants of a simulated cohort, one row each.

    Age, sex and site are spread evenly within each group (a Kronecker sequence), so that the groups are matched for age
    and sex, and patients and controls differ over sites by ``site_confounding`` alone. A participant's row does not
    change when more take part.

    Returns:
        ``participant_id diagnosis age sex site tiv sans saps`` as in participants.tsv (years, ml; scores of patients
        only), and the truth: what the disease does, ``disease_negative disease_positive``, 0 in controls; which
        ``subtype`` a patient has, 1 or 2; and whether a participant has the ``unrecorded`` bias, 1 or 0.
    """
    settings = cohort.simulation or Simulation()
    shares = _patient_shares(settings.sites, settings.patient_fraction, settings.site_confounding)
    steps = 1.2207440846 ** -np.arange(1.0, 4.0)  # the three-dimensional golden ratio spreads points most evenly
    ages = truncnorm(*((np.array(AGE_RANGE) - AGE_MEAN) / AGE_SD), loc=AGE_MEAN, scale=AGE_SD)
    count = {True: 0, False: 0}
    people: list[dict[str, Any]] = []
    for index in range(settings.participants):
        participant_id = f"sub-{index + 1:04d}"
        fraction = settings.patient_fraction
        patient = math.floor((index + 1) * fraction + 1e-9) > math.floor(index * fraction + 1e-9)
        start = random_stream(seed, "patients" if patient else "controls").random(3)
        even = (start + count[patient] * steps) % 1
        count[patient] += 1

        odds = shares if patient else 1 - shares
        site = int(np.searchsorted(np.cumsum(odds / odds.sum()), even[0], side="right"))
        sex = "F" if even[1] < 0.5 else "M"
        age = float(ages.ppf(even[2]))
        head = random_stream(seed, participant_id, "head").normal(math.log(TIV_MEAN[sex]), TIV_SD)
        people.append(
            {
                "participant_id": participant_id,
                "diagnosis": _diagnosis(cohort, patient, count[patient]),
                "age": round(age, 1),
                "sex": sex,
                "site": f"site-{min(site, settings.sites - 1) + 1}",
                "tiv": round(math.exp(head), 1),
                **_disease(seed, participant_id, patient, settings),
            }
        )
    return pd.DataFrame(people)


def implant_people(scans: pd.DataFrame, cohort: Cohort, implant: Implant, seed: int) -> pd.DataFrame:
    """Draws the target group of an implanted cohort, at each site alike or as ``site_confounding`` says.

    Returns:
        One row a participant of ``scans``: ``participant_id diagnosis``, the scores ``sans saps`` and the truth, as
        :func:`simulate_people`.
    """
    people = scans.drop_duplicates("participant_id")[["participant_id", "site"]]
    sites = sorted(people["site"].fillna("n/a").unique())
    shares = dict(
        zip(sites, _patient_shares(len(sites), implant.patient_fraction, implant.site_confounding), strict=True)
    )
    drawn: list[dict[str, Any]] = []
    expected = 0.0
    patients: set[str] = set()
    for site, members in people.groupby(people["site"].fillna("n/a"))["participant_id"]:
        # What rounding left over at one site is made up for at the next: small sites would all round the same way.
        expected += shares[site] * len(members)
        number = round(expected) - len(patients)
        patients |= set(sorted(members, key=lambda person: random_stream(seed, person, "lot").random())[:number])
    for person in people["participant_id"]:
        disease = _disease(seed, person, person in patients, implant)
        number = int(random_stream(seed, person, "diagnosis").integers(2**31))
        diagnosis = _diagnosis(cohort, person in patients, number)
        drawn.append({"participant_id": person, "diagnosis": diagnosis, **disease})
    return pd.DataFrame(drawn)


def _diagnosis(cohort: Cohort, patient: bool, number: int) -> str:
    """The diagnosis of a patient, of several diseases in turn by the patient's number, or of a control."""
    sides = list(cohort.diseases.values()) or [cohort.target]
    return sides[number % len(sides)][0] if patient else cohort.background[0]


def _patient_shares(sites: int, fraction: float, confounding: float) -> NDArray[np.float64]:
    """The share of patients at each site: ``fraction`` everywhere, or rising from site to site around it."""
    rise = np.linspace(-1, 1, sites) if sites > 1 else np.zeros(1)
    return fraction + confounding * min(fraction, 1 - fraction) * rise


def _disease(seed: int, participant_id: str, patient: bool, known: KnownDisease) -> dict[str, Any]:
    """A participant's disease, bias, and scores by the disease: whole numbers, a few of them missing."""
    # As many patients have the bias beside controls as the extreme sites, in the mean, have patients.
    lean = (known.site_confounding if patient else -known.site_confounding) / 4
    biased = random_stream(seed, participant_id, "unrecorded").random() < 0.5 + lean
    unrecorded = {"unrecorded": int(biased and known.unrecorded > 0)}
    if not patient:
        return dict.fromkeys(DISEASE, 0.0) | {"subtype": math.nan} | dict.fromkeys(SYMPTOMS, math.nan) | unrecorded
    random = random_stream(seed, participant_id, "symptoms")
    severity = {name: random.gamma(SEVERITY_SHAPE, 1 / SEVERITY_SHAPE) for name in DISEASE}
    subtype = 1 + int(random_stream(seed, participant_id, "subtype").random() < 0.5)
    kind = DISEASES[known.disease_kind].load()()
    severity = kind.symptoms(severity, subtype)
    scores = {}
    for score, (dimension, mean, noise) in SYMPTOMS.items():
        total = round(random.normal(mean * severity[dimension], noise))
        missing = random.random() < MISSING_SCORES
        scores[score] = math.nan if missing else float(min(max(total, 0), SYMPTOMS_MAXIMUM))
    severity = kind.effect(severity, subtype)
    of_kind = {"subtype": subtype if kind.subtypes else math.nan}
    return severity | of_kind | scores | unrecorded


def random_stream(seed: int, *names: str) -> np.random.Generator:
    """A stream of its own for each name, so that a participant's numbers depend neither on others nor on the order."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
