"""Cohorts with known factors: made from a grey-matter template, or a known disease implanted into real volumes.

One log-linear model: grey matter = template x exp(sum of factors x their maps + individual variation) + noise. The
maps are the ground truth. An implanted cohort has real volumes in place of everything but the two disease factors.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.simulation import Implant
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import atomic_path, exclusive, write_json, write_text, write_tsv
from sepclr_neuro.core.threads import in_parallel
from sepclr_neuro.data.cohort import build_cohort, dataset_volume
from sepclr_neuro.data.effects import DISEASE, Array, grey_template
from sepclr_neuro.data.images import as_image
from sepclr_neuro.data.simulated_people import SYMPTOMS, implant_people, simulate_people
from sepclr_neuro.data.simulator import Disease, Simulator
from sepclr_neuro.data.volume_checks import check_volumes
from sepclr_neuro.data.volume_files import load_volume

__all__ = ["write_dataset"]

TRUTH = (*DISEASE, "subtype", "unrecorded")
"""Columns unknown of real participants; of a texture, ``DISEASE`` are the SDs of the changes."""


def write_dataset(config: Config, results: Results) -> None:
    """Writes the simulated or implanted cohort and its ground truth to ``results.dataset``, in place of an earlier one.

    ``participants.tsv`` is written last: a folder without it is not a data set. Volumes are int16 with a scale (steps
    of 6e-5 at the default ``volumes.maximum``). The same configuration gives the same bytes.

    An implanted cohort is made of the participants and real volumes of ``cohort.studies``, brought to the final grid
    but neither smoothed nor scaled by head size, which the volumes stage does afterwards. The target group is drawn at
    random, at each site alike unless ``site_confounding`` says otherwise (sites in the order of their names). All
    sessions of a participant have one disease. Controls are written by the same code, so that nothing but the effect
    separates the groups.

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
    _start_folder(results.dataset)

    def write(person: dict[str, Any]) -> None:
        path = dataset_volume(results.dataset, person["participant_id"], person["participant_id"])
        _write_volume(path, simulator.volume(person), simulator.affine, config.volumes.maximum)

    in_parallel(write, _records(people), "simulated volumes")
    _write_truth(results, simulator.maps, simulator.affine)
    factors = ["participant_id", "age", "sex", "site", "tiv", *TRUTH]
    _write_tables(results, people, factors, "Simulated", SIMULATED.format(disorder=config.cohort.disorder))


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
    disease = Disease(config.seed, template, affine, config.cohort)
    people = implant_people(scans, config.cohort, implant, config.seed)
    scans = scans[["scan_id", "participant_id", "session_id", "volume"]].merge(people, on="participant_id")
    _start_folder(results.dataset)

    def write(scan: dict[str, Any]) -> None:
        values, _ = load_volume(scan["volume"], settings)
        values = values * np.exp(disease.change(scan))  # severities of controls are 0
        path = dataset_volume(results.dataset, scan["participant_id"], scan["scan_id"])
        _write_volume(path, values, affine, config.volumes.maximum)

    in_parallel(write, _records(scans), "implanted volumes")
    _write_truth(results, disease.maps, affine)
    sessions = [] if config.cohort.columns.session_id is None else ["session_id"]
    _write_tables(
        results,
        scans,
        ["participant_id", *sessions, *TRUTH],
        "Implanted",
        IMPLANTED.format(disorder=config.cohort.disorder),
    )


def _start_folder(dataset: Path) -> None:
    """Nothing of an earlier cohort stays: a site or a participant of it would look like one of this one."""
    if dataset.exists():
        shutil.rmtree(dataset)
    dataset.mkdir(parents=True)


def _records(people: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in people.to_dict("records")]


def _write_volume(path: Path, values: Array, affine: NDArray[np.float64], maximum: float) -> None:
    """Writes values in 0 to ``maximum`` as scaled int16: a fixed scale, so that it depends on no participant."""
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
    # Of several diseases, the mean of their maps is not 0 where any of them acts.
    mask = np.any([maps[name] != 0 for name in DISEASE], axis=0)
    with atomic_path(results.truth / "disease_mask.nii.gz") as temporary:
        nibabel.save(as_image(mask.astype(np.float32), affine), temporary)


SIMULATED = """\
None of these participants is real. Volumes are the MNI152 grey-matter template, changed by known factors, by random
individual anatomy and by noise. Results on them are *simulated* and say nothing about {disorder}.

`ground_truth/` holds one map a factor: the change of log grey matter by a year of age (`age`), by being a man rather
than a woman (`sex`, beyond head size, which scales all grey matter by TIV), by a site (`site-<k>`), and by a severity
of 1, patients' mean, of each kind of symptom (`disease_negative`, `disease_positive`); of several diseases these are
their mean, and `disease_<name>` is what each does. `disease_mask` is 1 where any disease acts. `factors.tsv` has each
participant's true values: `subtype` of patients who differ in kind, and whether a participant has the bias that no
table records (`unrecorded`).
"""

IMPLANTED = """\
Volumes, ages, sexes and sites are of real participants. No participant has the disease: the target group was drawn at
random, and a known pattern was put into its grey matter. Results on them are *implanted* and say nothing about
{disorder}.

`ground_truth/` holds the change of log grey matter by a severity of 1, patients' mean, of each kind of symptom
(`disease_negative`, `disease_positive`); of several diseases these are their mean, and `disease_<name>` is what each
does. `disease_mask` is 1 where any disease acts. `factors.tsv` has each participant's true severities, `subtype` of
patients who differ in kind, and whether one has the bias that no table records (`unrecorded`).
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
