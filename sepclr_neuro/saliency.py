"""Which grey matter moves a probe: signed SmoothGrad maps of the probes' decision functions, on held-out people."""

from __future__ import annotations

import gc
import hashlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from nilearn import plotting
from nilearn.datasets import load_mni152_template
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from scipy import ndimage

from sepclr_neuro import __version__
from sepclr_neuro.cohort import load_cohort
from sepclr_neuro.config import Config
from sepclr_neuro.errors import InputError
from sepclr_neuro.layout import Results
from sepclr_neuro.models import TrainedModel, load_model
from sepclr_neuro.probes import asked_people
from sepclr_neuro.registry import METHODS
from sepclr_neuro.sampling import seed_of
from sepclr_neuro.splits import read_fold
from sepclr_neuro.standardisation import Standardisation
from sepclr_neuro.storage import atomic_path, fingerprint, read_json, read_tsv, sha256, write_bytes, write_tsv
from sepclr_neuro.volumes import VolumeCache, as_image

__all__ = ["Decision", "find_peaks", "localisation", "mapped_people", "mosaic", "smoothgrad", "write_saliency"]

Maps = dict[tuple[str, str], torch.Tensor]
"""By target and space, [X, Y, Z] float64."""

# Voxels that pass through the networks at once: two volumes of 128³, 16 of 64³.
VOXELS_AT_ONCE = 2 * 128**3

# Peaks of one sign that are listed, and their least distance along each axis.
PEAKS = 5
PEAK_DISTANCE_MM = 15.0
PEAK_COLUMNS = ["target", "space", "sign", "x", "y", "z", "value"]

# The ground truth that each target is held against: a file of ``Results.truth``.
TRUTHS = {"diagnosis": "disease_mask", "sans": "disease_negative", "saps": "disease_positive"}

# Slices of every mosaic, in mm of MNI space: the same ones in all, so that pictures can be compared.
CUTS_MM = {
    "z": (-40, -25, -10, 5, 20, 35, 50),
    "y": (-80, -60, -40, -20, 0, 20, 40),
    "x": (-55, -40, -25, 0, 25, 40, 55),
}
# White on both sides of a slice, since brains of neighbouring slices would touch, or cut each other.
MARGIN_MM = 10.0
COLOURS = "RdBu_r"


@dataclass(frozen=True)
class Decision:
    """A probe's decision function ``w · r(x) + b``. Its gradient does not depend on ``b``, which is left out.

    Attributes:
        space: the space whose representation ``r`` is probed.
        weights: ``w``, shape [d], acting on the raw representation.
    """

    space: str
    weights: torch.Tensor


# --- one person --------------------------------------------------------------------------------------------------


def smoothgrad(
    represent: Callable[[torch.Tensor], Mapping[str, torch.Tensor]],
    volume: torch.Tensor,
    mask: torch.Tensor,
    decisions: Sequence[Decision],
    *,
    samples: int,
    noise_sd: float,
    seed: int,
) -> torch.Tensor:
    r"""The signed gradient of decision functions at one volume, averaged over noisy copies of it.

    .. math:: M_k = \frac1n \sum_{i=1}^n \nabla_x \; w_k \cdot r(m \odot (x + \varepsilon_i)),
        \qquad \varepsilon_i \sim \mathcal N(0, \sigma^2)

    Equals captum's ``NoiseTunnel(Saliency(f), ...).attribute(x, abs=False)`` under the same noise; here all decision
    functions share each forward pass. Voxels outside the mask are 0 for everybody, so noise there is cut off and
    the map is 0 there.

    Args:
        represent: from standardised volumes [B, 1, X, Y, Z] to a representation [B, d] for each space.
        volume: one standardised volume, [1, 1, X, Y, Z], in SDs.
        mask: the voxels that networks see, [X, Y, Z].
        decisions: K decision functions.
        samples: noisy copies n.
        noise_sd: sigma, in the volume's units.
        seed: of the noise, which does not depend on how many copies are computed at once.

    Returns:
        [K, X, Y, Z], float64, in probe score per unit of the volume.

    Source: Smilkov et al., *SmoothGrad: removing noise by adding noise*, 2017 (arXiv 1706.03825).
    """
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(len(decisions), *volume.shape[2:], dtype=torch.float64)
    at_once = max(1, VOXELS_AT_ONCE // volume.numel())
    for start in range(0, samples, at_once):
        copies = range(start, min(start + at_once, samples))
        # One draw a copy, on the CPU: the same noise whatever the batch and the device.
        noise = torch.cat([torch.randn(volume.shape, generator=generator) for _ in copies]).to(volume.device)
        noisy = (volume + noise_sd * noise).requires_grad_()
        representations = represent(noisy * mask)
        for k, decision in enumerate(decisions):
            score = (representations[decision.space] @ decision.weights.to(volume.device)).sum()
            (gradient,) = torch.autograd.grad(score, noisy, retain_graph=True)
            total[k] += gradient.sum(dim=(0, 1)).double().cpu()
    return total / samples


# --- one fold ----------------------------------------------------------------------------------------------------


def mapped_people(people: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """The held-out scans that are mapped: all, or those of at most ``limit // 2`` people of each group.

    Args:
        people: one row a held-out scan, with the columns ``participant_id`` and ``group``.
        limit: most people, or None for all.
        seed: decides who is taken.

    Returns:
        The chosen rows, in the order of ``people``, all scans of a chosen person.
    """
    if limit is None:
        return people
    random = np.random.default_rng(seed)
    chosen: list[str] = []
    for _, group in people.groupby("group"):
        chosen += list(random.permutation(sorted(group["participant_id"].unique()))[: limit // 2])
    return people[people["participant_id"].isin(chosen)]


def _fold_maps(config: Config, results: Results, method: str, fold: int, model: TrainedModel) -> Maps:
    """A fold's maps: for each of its probes the mean over its held-out people, each person counting once.

    A target that only one group has, such as a symptom score, is mapped in that group: its probe saw nobody else.
    Maps that an earlier start wrote are read, if everything that they were made from is still the same.
    """
    settings = config.saliency
    cohort = load_cohort(results).set_index("scan_id")
    held_out = cohort.loc[list(read_fold(results, fold).test)]
    # All scans of these people, since one scan tells of the others.
    scans_of_held_out = cohort.index[cohort["participant_id"].isin(held_out["participant_id"])].tolist()
    model.refuse_trained_on(scans_of_held_out)
    standardisation = Standardisation.load(results, fold)
    standardisation.refuse_learned_from(scans_of_held_out)
    people = mapped_people(held_out, settings.participants, seed_of(config.seed, fold))
    decisions = {
        (entry["target"], entry["space"]): entry["weights"]
        for entry in read_json(results.coefficients)
        if (entry["method"], entry["fold"]) == (method, fold) and entry["target"] in settings.targets
    }
    asked = {target: asked_people(people, config.probes.targets[target]) for target, _ in decisions}
    scans = [scan_id for scan_id in people.index if any(scan_id in table.index for table in asked.values())]

    path = results.checkpoints(method, fold) / "saliency.safetensors"
    identity = fingerprint(
        settings.model_dump(exclude={"targets"}),
        config.seed,
        [[*pair, weights, asked[pair[0]].index.tolist()] for pair, weights in decisions.items()],
        sha256(results.model_folder(method, fold) / "model.safetensors"),
        sha256(results.standardisation(fold)),
        sha256(results.index),
        read_json(results.grid),
        __version__,
    )
    title = f"saliency of {method}, fold {fold}"
    kept = _kept(path, identity)
    if kept is not None:
        _say(f"{title}: kept from an earlier start")
        return {pair: kept["/".join(pair)] for pair in decisions}

    cache = VolumeCache(results)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    standardisation = standardisation.to(device)
    model.method.to(device)
    maps = {pair: torch.zeros(cache.shape, dtype=torch.float64) for pair in decisions}
    for number, (scan_id, row) in enumerate(zip(scans, cache.rows(scans), strict=True), start=1):
        pairs = [pair for pair in decisions if scan_id in asked[pair[0]].index]
        gradients = smoothgrad(
            model.represent,
            standardisation.apply(cache.read([row]).to(device)),
            standardisation.mask,
            [Decision(space, torch.tensor(decisions[target, space])) for target, space in pairs],
            samples=settings.samples,
            noise_sd=settings.noise_sd,
            seed=seed_of(config.seed, fold, row),
        )
        for pair, gradient in zip(pairs, gradients, strict=True):
            persons = asked[pair[0]]["participant_id"]
            maps[pair] += gradient / (persons.nunique() * (persons == persons[scan_id]).sum())
        if number * 5 // len(scans) > (number - 1) * 5 // len(scans):
            _say(f"{title}: {number} of {len(scans)} held-out scans")
    content = {"/".join(pair): value for pair, value in maps.items()}
    write_bytes(path, save(content, {"fingerprint": identity, "sha256": _checksum(content)}))
    return maps


def _kept(path: Path, identity: str) -> dict[str, torch.Tensor] | None:
    """The maps of an earlier start; None if there are none, of other inputs, or damaged."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError):
        return None
    return content if said.get("fingerprint") == identity and said.get("sha256") == _checksum(content) else None


def _checksum(content: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(save(content)).hexdigest()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


# --- what a map shows --------------------------------------------------------------------------------------------


def localisation(values: np.ndarray, region: np.ndarray, brain: np.ndarray) -> dict[str, float | str]:
    """How much of a map lies where the truth lies.

    Args:
        values: the map, [X, Y, Z].
        region: whether a voxel is truly affected, [X, Y, Z].
        brain: whether a voxel could be mapped, [X, Y, Z].

    Returns:
        ``relevance_share``: share of the sum of absolute values that lies in the region; ``volume_share``: share of
        the brain's voxels that does, which a map that knows nothing reaches; ``ratio`` of the two; ``peak_in_region``:
        whether the voxel of the largest absolute value is in it, yes or no. ``n/a`` for a map of zeros.
    """
    relevance = np.where(brain, np.abs(values), 0).astype(np.float64)
    volume_share = float((region & brain).sum() / brain.sum())
    if not relevance.any():
        return {"relevance_share": np.nan, "volume_share": volume_share, "ratio": np.nan, "peak_in_region": "n/a"}
    relevance_share = float(relevance[region].sum() / relevance.sum())
    return {
        "relevance_share": relevance_share,
        "volume_share": volume_share,
        "ratio": relevance_share / volume_share if volume_share else np.nan,
        "peak_in_region": "yes" if region.flat[relevance.argmax()] else "no",
    }


def find_peaks(values: np.ndarray, affine: np.ndarray) -> pd.DataFrame:
    """The largest local maxima of either sign, at least ``PEAK_DISTANCE_MM`` apart along an axis.

    Args:
        values: the map, [X, Y, Z].
        affine: voxels to mm of MNI space, [4, 4].

    Returns:
        ``sign x y z value``: positive, then negative, each from the largest on; x, y and z in mm.
    """
    reach = np.round(PEAK_DISTANCE_MM / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    rows = []
    for sign, name in ((1, "positive"), (-1, "negative")):
        height = sign * values
        voxels = np.argwhere((height > 0) & (height == ndimage.maximum_filter(height, tuple(2 * reach + 1))))
        highest = sorted(voxels.tolist(), key=lambda voxel: -height[tuple(voxel)])[:PEAKS]
        for voxel in highest:
            x, y, z = affine[:3, :3] @ voxel + affine[:3, 3]
            rows.append({"sign": name, "x": x, "y": y, "z": z, "value": values[tuple(voxel)]})
    return pd.DataFrame(rows, columns=["sign", "x", "y", "z", "value"])


def mosaic(image: nibabel.Nifti1Image, path: Path, title: str, subtitle: str, unit: str) -> None:
    """Draws a map on slices of the MNI152 template, left on the left, as a PNG. Weak values let the anatomy through.

    Args:
        image: the map, in MNI space.
        title: any text; nothing in it is interpreted.
        subtitle: likewise.
        unit: of the colour bar.
    """
    strength = np.abs(image.get_fdata(dtype=np.float32))
    # A few voxels of extreme value must not pale all others.
    bound = float(np.quantile(strength[strength > 0], 0.999)) if strength.any() else 1.0
    # nilearn refuses an opacity that is 0 everywhere.
    opacity = as_image(np.clip(2 * strength / bound, 0, 1), image.affine) if strength.any() else None
    figure = Figure(figsize=(12, 6.8), facecolor="white")
    # nilearn collects garbage at each access to an image, which takes most of the time unless what exists is left out.
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="empty mask")  # a map of zeros
            background = load_mni152_template(resolution=2)
            for row, (axis, cuts) in enumerate(CUTS_MM.items()):
                display = plotting.plot_stat_map(
                    image,
                    bg_img=background,
                    display_mode=axis,
                    cut_coords=cuts,
                    figure=figure,
                    axes=figure.add_axes((0.0, 0.60 - 0.29 * row, 0.88, 0.27)),
                    colorbar=False,
                    cmap=COLOURS,
                    vmin=-bound,
                    vmax=bound,
                    transparency=opacity,
                    transparency_range=[0, 1],
                    black_bg=False,
                    radiological=False,
                )
                for cut in display.axes.values():
                    left, right = cut.ax.get_xlim()
                    cut.ax.set_xlim(left - MARGIN_MM, right + MARGIN_MM)
    finally:
        gc.unfreeze()
    bar = ScalarMappable(Normalize(-bound, bound), colormaps[COLOURS])
    figure.colorbar(bar, cax=figure.add_axes((0.9, 0.2, 0.012, 0.6)), extend="both", label=unit)
    figure.text(0.01, 0.955, title, fontsize=13, weight="bold", parse_math=False)
    figure.text(0.01, 0.915, subtitle, fontsize=10, parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


# --- all folds ---------------------------------------------------------------------------------------------------


def write_saliency(config: Config, results: Results, method: str) -> None:
    """Maps every target of ``config.saliency.targets`` in every space of a method, on held-out people.

    A fold's map is the mean over its people, a method's map the mean over folds: each fold has another encoder, but
    its probe is oriented by the same label. Where no fold has a probe of a target (too few people with a value, or
    more than two classes), the map is 0 everywhere and its picture says so.

    Writes ``<target>_<space>.nii.gz`` and ``.png``, ``localisation.tsv`` (``target space relevance_share volume_share
    ratio peak_in_region``; rows only where ground truth is known) and ``peaks.tsv`` (``target space sign x y z
    value``). Started again after an interruption, it goes on with the first fold that is not done.

    Raises:
        InputError: if a model or a standardisation was learned from a person whom its fold holds out, or ground truth
            and volumes lie on different grids.
    """
    cache = VolumeCache(results)
    by_fold: dict[tuple[str, str], list[torch.Tensor]] = {}
    brain = np.zeros(cache.shape, dtype=bool)
    folds = sorted(set(read_tsv(results.splits, text=("scan_id", "participant_id"))["fold"]))
    for fold in folds:
        model = load_model(results.model_folder(method, fold))
        brain |= Standardisation.load(results, fold).mask.numpy() > 0
        for pair, fold_map in _fold_maps(config, results, method, fold, model).items():
            by_fold.setdefault(pair, []).append(fold_map)

    scaled = model.metadata["settings"]["standardisation"]["intensity"] != "none"
    unit = f"probe score per {'SD' if scaled else 'unit'} of grey matter"
    source = "" if config.cohort.source == "files" else f"{config.cohort.source.upper()} · "
    localised, peaks = [], []
    for target, space in product(config.saliency.targets, model.spaces):
        found = by_fold.get((target, space), [])
        values = torch.stack(found).mean(0).numpy() if found else np.zeros(cache.shape)
        image = as_image(values.astype(np.float32), cache.affine)
        path = results.saliency(method) / f"{target}_{space}.nii.gz"
        with atomic_path(path) as temporary:
            nibabel.save(image, temporary)
        subtitle = f"SmoothGrad on held-out people, mean over {len(found)} of {len(folds)} folds. Not for clinical use."
        if not found:
            subtitle = "NO MAP: no fold has a linear probe of this target with one decision function."
            _say(f"saliency of {method}, {target}, {space} space: {subtitle}")
        label = " ".join((config.probes.targets[target].label or target).split())
        title = f"{source}{METHODS[method].title} · {label} · {space} space"
        mosaic(image, path.with_name(f"{target}_{space}.png"), title, subtitle, unit)
        peaks += find_peaks(values, cache.affine).assign(target=target, space=space).to_dict("records")
        region = _true_region(config, results, target, cache)
        if region is not None:
            localised.append({"target": target, "space": space, **localisation(values, region, brain)})
    write_tsv(results.saliency(method) / "peaks.tsv", pd.DataFrame(peaks, columns=PEAK_COLUMNS))
    columns = ["target", "space", "relevance_share", "volume_share", "ratio", "peak_in_region"]
    write_tsv(results.saliency(method) / "localisation.tsv", pd.DataFrame(localised, columns=columns))


def _true_region(config: Config, results: Results, target: str, cache: VolumeCache) -> np.ndarray | None:
    """Whether a voxel is truly affected, [X, Y, Z]; None where that is not known."""
    path = results.truth / f"{TRUTHS.get(target)}.nii.gz"
    # A real cohort has no truth, whatever an earlier run of another cohort left in the folder.
    if config.cohort.source == "files" or not path.is_file():
        return None
    image = nibabel.Nifti1Image.from_filename(path)
    if image.shape != cache.shape or not np.allclose(image.affine, cache.affine, atol=1e-3):
        raise InputError(
            f"{path}: lies on another grid ({image.shape}) than the volumes ({cache.shape}); delete the folder "
            f"{results.dataset} and run the workflow again"
        )
    return np.asarray(image.dataobj) != 0
