"""Cohorts with known factors: made from a grey-matter template, or a known disease implanted into real volumes.

One log-linear model: grey matter = template x exp(sum of factors x their maps + individual variation) + noise. The
maps are the ground truth. An implanted cohort has real volumes in place of everything but the two disease factors.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from nilearn.datasets import load_mni152_gm_template
from nilearn.image import resample_img, smooth_img
from numpy.typing import NDArray
from scipy import fft
from scipy.stats import truncnorm

from sepclr_neuro import __version__
from sepclr_neuro.config.cohort import Cohort
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.simulation import Implant, Simulation
from sepclr_neuro.config.volumes import Volumes
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, exclusive, write_json, write_text, write_tsv
from sepclr_neuro.data.cohort import build_cohort, dataset_volume
from sepclr_neuro.data.volumes import BRAIN_BOX_MM, as_image, check_volumes, grid_affine, in_parallel, load_volume

__all__ = [
    "DISEASE",
    "DISEASE_REGIONS",
    "Region",
    "Simulator",
    "disease_maps",
    "grey_template",
    "implant_people",
    "region_map",
    "simulate_people",
    "simulated_grid",
    "write_dataset",
]

Array = NDArray[np.float32]


# --- what is known: regions and sizes of effects -----------------------------------------------------------------


@dataclass(frozen=True)
class Region:
    """An ellipsoid on each side of the brain, full effect in its middle and none from its surface on.

    ``centre`` is the right one's, ``radii`` are its half-axes, both in mm of MNI space (x right, y front, z up).
    ``left`` and ``right`` are the relative sizes of the effect on the two sides.
    """

    name: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    left: float
    right: float


# `left` and `right` are Cohen's d of schizophrenia, patients minus controls, as published by ENIGMA and distributed
# with the ENIGMA Toolbox (BSD-3-Clause; Larivière et al. 2021, Nature Methods 18:698): cortical thickness from
# van Erp et al. 2018 (Biological Psychiatry 84:644), subcortical volume from van Erp et al. 2016 (Molecular Psychiatry
# 21:547). Names are FreeSurfer's, centres and radii are ours. Which region belongs to which kind of symptom is a
# simplification of ours too, so that the two kinds can be told apart.
DISEASE_REGIONS: dict[str, dict[str, tuple[Region, ...]]] = {
    "frontal-temporal": {
        "disease_negative": (
            Region("insula", (38, 6, 0), (10, 19, 14), -0.408, -0.406),
            Region("superiorfrontal", (9, 46, 30), (10, 20, 22), -0.425, -0.397),
            Region("rostralanteriorcingulate", (6, 36, 4), (7, 12, 12), -0.182, -0.120),
            Region("lateralorbitofrontal", (28, 32, -14), (14, 14, 9), -0.398, -0.358),
            Region("parsopercularis", (50, 16, 16), (11, 12, 14), -0.375, -0.424),
            Region("thalamusproper", (12, -19, 8), (10, 14, 9), -0.300, -0.270),
        ),
        "disease_positive": (
            Region("superiortemporal", (58, -18, 2), (11, 28, 11), -0.440, -0.438),
            Region("middletemporal", (60, -34, -10), (10, 24, 9), -0.444, -0.379),
            Region("hippocampus", (27, -22, -15), (9, 17, 9), -0.430, -0.430),
            Region("amygdala", (23, -4, -19), (8, 7, 8), -0.300, -0.270),
            Region("fusiform", (38, -52, -17), (10, 24, 9), -0.491, -0.536),
        ),
    },
    # For methods that were chosen on the first pattern to be judged on another one.
    "parietal-occipital": {
        "disease_negative": (
            Region("inferiorparietal", (44, -56, 42), (12, 18, 14), -0.362, -0.348),
            Region("supramarginal", (56, -34, 34), (11, 16, 14), -0.395, -0.386),
            Region("precuneus", (9, -62, 42), (10, 16, 18), -0.301, -0.304),
            Region("posteriorcingulate", (6, -38, 32), (7, 16, 10), -0.298, -0.310),
            Region("caudalmiddlefrontal", (38, 12, 50), (12, 16, 12), -0.363, -0.317),
        ),
        "disease_positive": (
            Region("lateraloccipital", (34, -86, 4), (14, 12, 18), -0.331, -0.342),
            Region("lingual", (14, -72, -4), (11, 20, 9), -0.349, -0.386),
            Region("cuneus", (9, -82, 22), (8, 12, 16), -0.203, -0.226),
            Region("parahippocampal", (24, -34, -14), (9, 14, 9), -0.277, -0.285),
            Region("postcentral", (44, -26, 54), (14, 12, 16), -0.261, -0.281),
        ),
    },
}
DISEASE = ("disease_negative", "disease_positive")

# Regions of faster loss with age, after Good et al. 2001 (NeuroImage 14:21). Relative sizes are ours.
AGE = (
    Region("insula", (38, 6, 0), (10, 19, 14), -1.0, -1.0),
    Region("superior parietal", (26, -58, 56), (18, 18, 14), -1.0, -1.0),
    Region("central sulcus", (40, -22, 52), (16, 14, 18), -1.0, -1.0),
    Region("cingulate sulcus", (7, 14, 40), (8, 26, 12), -0.8, -0.8),
)

# Regions of more (positive) or less grey matter in men, after Ruigrok et al. 2014 (Neuroscience & Biobehavioral
# Reviews 39:34). Relative sizes are ours.
SEX = (
    Region("amygdala and hippocampus", (25, -12, -18), (9, 16, 9), 1.0, 1.0),
    Region("putamen", (26, 4, 2), (8, 16, 10), 0.8, 0.8),
    Region("cerebellum", (24, -62, -34), (18, 16, 12), 0.8, 0.8),
    Region("frontal pole", (26, 58, 6), (14, 12, 16), -1.0, -1.0),
    Region("pars triangularis", (48, 30, 8), (11, 12, 12), -0.8, -0.8),
)

# Sizes of effects on log grey matter, set once by what a voxel-wise linear model finds, never by what a network finds:
# the aims and the figures are in docs/simulated_cohort.md.
DISEASE_LOSS = 0.23  # at Cohen's d = 1 and severity 1, the mean of patients
AGE_GLOBAL_LOSS = 0.003  # a year
AGE_REGIONAL_LOSS = 0.009  # a year, on top, in the middle of a region
SEX_DIFFERENCE = 0.13  # beyond head size, in the middle of a region
SITE_SD = 0.02  # of a site's smooth bias
SITE_FWHM = 50.0  # mm

VARIATION = ((8.0, 0.06), (20.0, 0.08))  # (FWHM in mm, SD on log grey matter) of individual anatomy
NOISE_SD = 0.02  # of measurement, a voxel
BRAIN = 0.05  # template's grey matter above which there are effects and noise

AGE_MEAN, AGE_SD, AGE_RANGE = 36.0, 13.0, (18.0, 65.0)  # years
TIV_MEAN = {"F": 1400.0, "M": 1560.0}  # ml
TIV_REFERENCE = 1500.0  # ml: the head that the template is taken to have
TIV_SD = 0.07  # of log TIV within a sex
# Totals of the 20 SANS and 30 SAPS items that are not global ratings: mean at severity 1, and noise of rating.
SYMPTOMS = {"sans": ("disease_negative", 23.0, 4.0), "saps": ("disease_positive", 17.0, 3.0)}
SYMPTOMS_MAXIMUM = 100
SEVERITY_SHAPE = 2.0  # gamma distribution of mean 1 and SD 0.71
MISSING_SCORES = 0.05  # share of patients who lack a score, a score


def _random(seed: int, *names: str) -> np.random.Generator:
    """A stream of its own for each name, so that nobody's numbers depend on who else there is, or on the order."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


# --- maps --------------------------------------------------------------------------------------------------------


def simulated_grid(settings: Volumes) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine of simulated volumes: what the volumes stage makes of them, so that it changes no voxel.

    A voxel measures ``resample_mm``, or else 192 mm over the smallest size: 1.5 mm at 128, 3 mm at 64, 6 mm at 32.

    Raises:
        InputError: if the brain does not fit.
    """
    size = settings.resample_mm or 192 / min(settings.shape)
    if np.any(size * np.array(settings.shape) < BRAIN_BOX_MM):
        raise InputError(
            f"volumes.resample_mm: {settings.shape} voxels of {size:g} mm do not hold the brain "
            f"({BRAIN_BOX_MM} mm); set it to {192 / min(settings.shape):g} or enlarge volumes.shape"
        )
    return settings.shape, grid_affine(settings.shape, size)


def grey_template(shape: Sequence[int], affine: NDArray[np.float64]) -> Array:
    """The MNI152 grey-matter template (ICBM152 symmetric 2009a, of nilearn) on a grid, in 0 to 1, small values 0."""
    image = smooth_img(load_mni152_gm_template(), float(affine[0, 0]))
    image = resample_img(image, affine, shape, interpolation="linear", copy_header=True, force_resample=True)
    template = image.get_fdata(dtype=np.float32)
    return np.where(template > BRAIN, np.clip(template, 0, 1), 0).astype(np.float32)


def region_map(regions: Sequence[Region], shape: Sequence[int], affine: NDArray[np.float64]) -> Array:
    """Relative size of an effect, [X, Y, Z]: where ellipsoids overlap, the stronger of them. The affine is diagonal."""
    x, y, z = (affine[axis, 3] + affine[axis, axis] * np.arange(shape[axis]) for axis in range(3))
    effect = np.zeros(shape, np.float32)
    for region in regions:
        for side, size in ((-1, region.left), (1, region.right)):
            squared = (
                (((x - side * region.centre[0]) / region.radii[0]) ** 2)[:, None, None]
                + (((y - region.centre[1]) / region.radii[1]) ** 2)[None, :, None]
                + (((z - region.centre[2]) / region.radii[2]) ** 2)[None, None, :]
            )
            bump = (size * np.clip(1 - squared, 0, None)).astype(np.float32)
            effect = np.where(np.abs(bump) > np.abs(effect), bump, effect)
    return effect


def disease_maps(
    template: Array, affine: NDArray[np.float64], disease_effect: float, regions: str = "frontal-temporal"
) -> dict[str, Array]:
    """Change of log grey matter at severity 1, [X, Y, Z] for each kind of symptom.

    Args:
        template: of :func:`grey_template`, [X, Y, Z]; there is no effect where it is 0.
        affine: of the template, diagonal, [4, 4].
        disease_effect: multiplies the calibrated size; 0 gives maps of 0.
        regions: a key of ``DISEASE_REGIONS``.
    """
    brain = template > 0
    return {
        name: (disease_effect * DISEASE_LOSS * brain * region_map(where, template.shape, affine)).astype(np.float32)
        for name, where in DISEASE_REGIONS[regions].items()
    }


class _RandomField:
    """Gaussian random fields of mean 0: sums of independent ones, each with its own smoothness and SD."""

    def __init__(self, shape: tuple[int, int, int], voxel_mm: float, scales: Sequence[tuple[float, float]]) -> None:
        power = np.zeros((shape[0], shape[1], shape[2] // 2 + 1))
        for fwhm, sd in scales:
            sigma = fwhm / math.sqrt(8 * math.log(2)) / voxel_mm
            full = [np.exp(-((2 * math.pi * sigma * fft.fftfreq(size)) ** 2)) for size in shape]
            x, y, z = full
            # Divided by its mean, so that the variance of the field is sd squared at any voxel size.
            share = sd**2 / np.prod([axis.mean() for axis in full])
            power += share * x[:, None, None] * y[None, :, None] * z[None, None, : power.shape[2]]
        self._shape = shape
        self._amplitude = np.sqrt(power).astype(np.float32)

    def draw(self, random: np.random.Generator) -> Array:
        """One field, [X, Y, Z]."""
        noise = random.standard_normal(self._shape, np.float32)
        return fft.irfftn(fft.rfftn(noise) * self._amplitude, self._shape)


# --- people ------------------------------------------------------------------------------------------------------


def _patient_shares(sites: int, fraction: float, confounding: float) -> NDArray[np.float64]:
    """The share of patients at each site: ``fraction`` everywhere, or rising from site to site around it."""
    rise = np.linspace(-1, 1, sites) if sites > 1 else np.zeros(1)
    return fraction + confounding * min(fraction, 1 - fraction) * rise


def _symptoms(seed: int, participant_id: str) -> dict[str, float]:
    """A patient's two severities and the scores that they drive: whole numbers, a few of them missing."""
    random = _random(seed, participant_id, "symptoms")
    severity = {name: random.gamma(SEVERITY_SHAPE, 1 / SEVERITY_SHAPE) for name in DISEASE}
    scores = {}
    for score, (dimension, mean, noise) in SYMPTOMS.items():
        total = round(random.normal(mean * severity[dimension], noise))
        missing = random.random() < MISSING_SCORES
        scores[score] = math.nan if missing else float(min(max(total, 0), SYMPTOMS_MAXIMUM))
    return severity | scores


_NO_SYMPTOMS = dict.fromkeys(DISEASE, 0.0) | dict.fromkeys(SYMPTOMS, math.nan)


def simulate_people(cohort: Cohort, seed: int) -> pd.DataFrame:
    """Who a simulated cohort consists of, one row a participant.

    Age, sex and site are spread evenly within each group (a Kronecker sequence), so that the groups are matched for age
    and sex, and patients and controls differ over sites by ``site_confounding`` alone. A participant's row does not
    change when more take part.

    Returns:
        ``participant_id diagnosis age sex site tiv sans saps`` as in participants.tsv (years, ml; scores of patients
        only), and the true severities ``disease_negative disease_positive``, 0 in controls.
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
        start = _random(seed, "patients" if patient else "controls").random(3)
        even = (start + count[patient] * steps) % 1
        count[patient] += 1

        odds = shares if patient else 1 - shares
        site = int(np.searchsorted(np.cumsum(odds / odds.sum()), even[0], side="right"))
        sex = "F" if even[1] < 0.5 else "M"
        age = float(ages.ppf(even[2]))
        head = _random(seed, participant_id, "head").normal(math.log(TIV_MEAN[sex]), TIV_SD)
        people.append(
            {
                "participant_id": participant_id,
                "diagnosis": cohort.target[0] if patient else cohort.background[0],
                "age": round(age, 1),
                "sex": sex,
                "site": f"site-{min(site, settings.sites - 1) + 1}",
                "tiv": round(math.exp(head), 1),
                **(_symptoms(seed, participant_id) if patient else _NO_SYMPTOMS),
            }
        )
    return pd.DataFrame(people)


# --- volumes -----------------------------------------------------------------------------------------------------


class Simulator:
    """Makes the grey matter of simulated people.

    Attributes:
        affine: of all volumes and maps, [4, 4].
        template: grey matter that people vary about, [X, Y, Z].
        maps: the ground truth, each [X, Y, Z]: change of log grey matter by a year of ``age``, by being a man rather
            than a woman (``sex``), by having been scanned at ``site-<k>``, and by a severity of 1.
    """

    def __init__(self, config: Config) -> None:
        settings = config.cohort.simulation or Simulation()
        shape, self.affine = simulated_grid(config.volumes)
        voxel_mm = float(self.affine[0, 0])
        self.template = grey_template(shape, self.affine)
        self._brain = (self.template > 0).astype(np.float32)
        self._seed = config.seed
        self._maximum = config.volumes.maximum
        self._variation = _RandomField(shape, voxel_mm, VARIATION)

        bias = _RandomField(shape, voxel_mm, [(SITE_FWHM, SITE_SD)])
        age = AGE_REGIONAL_LOSS * region_map(AGE, shape, self.affine) - AGE_GLOBAL_LOSS
        self.maps = disease_maps(self.template, self.affine, settings.disease_effect, settings.disease_regions)
        self.maps["age"] = self._brain * age
        self.maps["sex"] = self._brain * SEX_DIFFERENCE * region_map(SEX, shape, self.affine)
        for site in (f"site-{number + 1}" for number in range(settings.sites)):
            self.maps[site] = self._brain * bias.draw(_random(config.seed, site))

    def volume(self, person: dict[str, Any]) -> Array:
        """The grey matter of a row of :func:`simulate_people`, [X, Y, Z], 0 outside the brain."""
        random = _random(self._seed, person["participant_id"], "anatomy")
        change = self._variation.draw(random) + _disease_change(self.maps, person)
        change += math.log(person["tiv"] / TIV_REFERENCE) + self.maps[person["site"]]
        change += (person["age"] - AGE_MEAN) * self.maps["age"]
        change += (0.5 if person["sex"] == "M" else -0.5) * self.maps["sex"]
        noise = NOISE_SD * self._brain * random.standard_normal(self.template.shape, np.float32)
        return np.clip(self.template * np.exp(change) + noise, 0, self._maximum)


def _disease_change(maps: dict[str, Array], person: dict[str, Any]) -> Array:
    """What a person's severities do to log grey matter, [X, Y, Z]."""
    return np.sum([np.float32(person[name]) * maps[name] for name in DISEASE], axis=0)


# --- the data set ------------------------------------------------------------------------------------------------


def write_dataset(config: Config, results: Results) -> None:
    """Writes the simulated or implanted cohort and its ground truth to ``results.dataset``, in place of an earlier one.

    ``participants.tsv`` is written last: a folder without it is not a data set. Volumes are int16 with a scale (steps
    of 6e-5 at the default ``volumes.maximum``). The same configuration gives the same bytes.

    An implanted cohort is made of the people and real volumes of ``cohort.studies``, brought to the final grid but
    neither smoothed nor scaled by head size, which the volumes stage does afterwards. The target group is drawn at
    random, at each site alike unless ``site_confounding`` says otherwise (sites in the order of their names). All
    sessions of a person have one disease. Controls are written by the same code, so that nothing but the effect tells
    the groups apart.

    Raises:
        InputError: if a real volume cannot be used, or another process is writing the data set.
    """
    writers = {"implanted": _write_implanted, "simulated": _write_simulated}
    if config.cohort.source in writers:
        with exclusive(results.dataset.with_suffix(".lock")):
            writers[config.cohort.source](config, results)
    else:
        raise InputError(f"cohort.source: {config.cohort.source!r} needs no data set; say 'simulated' or 'implanted'")


def _write_simulated(config: Config, results: Results) -> None:
    people = simulate_people(config.cohort, config.seed)
    simulator = Simulator(config)
    _start_folder(results)

    def write(person: dict[str, Any]) -> None:
        path = dataset_volume(results.dataset, person["participant_id"], person["participant_id"])
        _write_volume(path, simulator.volume(person), simulator.affine, config.volumes.maximum)

    in_parallel(write, _records(people), "simulated volumes")
    _write_truth(results, simulator.maps, simulator.affine)
    factors = ["participant_id", "age", "sex", "site", "tiv", *DISEASE]
    _write_tables(results, people, factors, "Simulated", SIMULATED)


def _write_implanted(config: Config, results: Results) -> None:
    implant = config.cohort.implant or Implant()
    scans = build_cohort(config.cohort, dataset=None).cohort
    settings = config.volumes.model_copy(update={"smoothing_mm": 0.0, "tiv_column": None})
    inside = [
        path for path in scans["volume"].dropna() if Path(path).resolve().is_relative_to(results.dataset.resolve())
    ]
    if inside:
        raise InputError(f"{inside[0]}: lies in {results.dataset}, which this stage replaces; choose another `output`")
    problems = check_volumes(scans, settings)
    if problems:
        raise InputError(problems)

    _, affine = load_volume(scans["volume"].iloc[0], settings)
    template = grey_template(settings.shape, affine)
    maps = disease_maps(template, affine, implant.disease_effect, implant.disease_regions)
    people = implant_people(scans, config.cohort, implant, config.seed)
    scans = scans[["scan_id", "participant_id", "session_id", "volume"]].merge(people, on="participant_id")
    _start_folder(results)

    def write(scan: dict[str, Any]) -> None:
        values, _ = load_volume(scan["volume"], settings)
        values = values * np.exp(_disease_change(maps, scan))  # severities of controls are 0
        path = dataset_volume(results.dataset, scan["participant_id"], scan["scan_id"])
        _write_volume(path, values, affine, config.volumes.maximum)

    in_parallel(write, _records(scans), "implanted volumes")
    _write_truth(results, maps, affine)
    sessions = [] if config.cohort.columns.session_id is None else ["session_id"]
    _write_tables(results, scans, ["participant_id", *sessions, *DISEASE], "Implanted", IMPLANTED)


def implant_people(scans: pd.DataFrame, cohort: Cohort, implant: Implant, seed: int) -> pd.DataFrame:
    """Draws the target group of an implanted cohort, at each site alike or as ``site_confounding`` says.

    Returns:
        One row a participant of ``scans``: ``participant_id diagnosis``, the true severities ``disease_negative
        disease_positive`` and the scores ``sans saps``, as :func:`simulate_people`.
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
        patients |= set(sorted(members, key=lambda person: _random(seed, person, "lot").random())[:number])
    for person in people["participant_id"]:
        side = cohort.target if person in patients else cohort.background
        symptoms = _symptoms(seed, person) if person in patients else _NO_SYMPTOMS
        drawn.append({"participant_id": person, "diagnosis": side[0], **symptoms})
    return pd.DataFrame(drawn)


def _start_folder(results: Results) -> None:
    """Nothing of an earlier cohort stays: a site or a participant of it would look like one of this one."""
    if results.dataset.exists():
        shutil.rmtree(results.dataset)
    results.dataset.mkdir(parents=True)


def _records(people: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in people.to_dict("records")]


def _write_volume(path: Path, values: Array, affine: NDArray[np.float64], maximum: float) -> None:
    """Writes values in 0 to ``maximum`` as scaled int16: a fixed scale, so that it tells nothing about a person."""
    scale = maximum / np.iinfo(np.int16).max
    image = nibabel.Nifti1Image(np.round(np.clip(values, 0, maximum) / scale).astype(np.int16), affine)
    image.header.set_slope_inter(scale, 0)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def _write_truth(results: Results, maps: dict[str, Array], affine: NDArray[np.float64]) -> None:
    for name, values in maps.items():
        with atomic_path(results.truth / f"{name}.nii.gz") as temporary:
            nibabel.save(as_image(values, affine), temporary)
    mask = np.any([maps[name] != 0 for name in DISEASE], axis=0)
    with atomic_path(results.truth / "disease_mask.nii.gz") as temporary:
        nibabel.save(as_image(mask.astype(np.float32), affine), temporary)


SIMULATED = """\
None of these people exists. Volumes are the MNI152 grey-matter template, changed by known factors, by random individual
anatomy and by noise. Results on them are *simulated* and say nothing about schizophrenia.

`ground_truth/` holds one map a factor: the change of log grey matter by a year of age (`age`), by being a man rather
than a woman (`sex`, beyond head size, which scales all grey matter by TIV), by a site (`site-<k>`), and by a severity
of 1, patients' mean, of each kind of symptom (`disease_negative`, `disease_positive`). `disease_mask` is 1 where the
disease acts. `factors.tsv` has each participant's true values.
"""

IMPLANTED = """\
Volumes, ages, sexes and sites are of real people. Nobody in it has the disease: the target group was drawn at random,
and a known pattern was put into its grey matter. Results on them are *implanted* and say nothing about schizophrenia.

`ground_truth/` holds the change of log grey matter by a severity of 1, patients' mean, of each kind of symptom
(`disease_negative`, `disease_positive`). `disease_mask` is 1 where the disease acts. `factors.tsv` has each
participant's true severities.
"""


def _write_tables(results: Results, scans: pd.DataFrame, factors: list[str], kind: str, explanation: str) -> None:
    title = f"{kind} cohort of sepclr_neuro"
    write_tsv(results.truth / "factors.tsv", scans[factors])
    for folder in (results.dataset, results.truth):
        write_text(folder / "README.md", f"# {title}\n\n{explanation}")
    write_json(
        results.dataset / "dataset_description.json",
        {
            "Name": title,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "sepclr_neuro", "Version": __version__, "Description": explanation}],
        },
    )
    columns = ["participant_id", "session_id", "diagnosis", "age", "sex", "site", "tiv", *SYMPTOMS]
    present = [name for name in columns if name in factors or name in ("diagnosis", *SYMPTOMS)]
    write_tsv(results.dataset / "participants.tsv", scans[present])
