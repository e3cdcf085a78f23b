"""Maps of one fold: which voxels its probes and its salient head use, in held-out participants."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.progress import followed
from sepclr_neuro.core.storage import fingerprint, read_json, sha256, write_bytes
from sepclr_neuro.data.cache import VolumeCache
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.data.standardisation import Standardisation
from sepclr_neuro.learning.models import TrainedModel, load_model
from sepclr_neuro.maps.atlases import Atlas
from sepclr_neuro.maps.attribution import Scan, Scores
from sepclr_neuro.maps.group_maps import CoarseGrid
from sepclr_neuro.maps.localisation import peak_voxel
from sepclr_neuro.maps.mapping import SALIENT_NORM, save_image
from sepclr_neuro.probing.questions import probed_participants

__all__ = ["FoldMapper", "FoldMaps", "Pair", "mapped_people"]

logger = logging.getLogger(__name__)

Pair = tuple[str, str]
"""Target and space; the target of the salient head's distance from s' is ``SALIENT_NORM``."""

CHUNK = 8  # volumes read at a time


def mapped_people(people: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """The held-out scans that are mapped: all, or those of at most ``limit`` participants, half of each group.

    Args:
        people: one row a held-out scan, with the columns ``participant_id`` and ``group``.
        limit: most participants, or None for all; of an odd number the target group has one more.
        seed: decides who is taken.

    Returns:
        The chosen rows, in the order of ``people``, all scans of a chosen participant.
    """
    if limit is None:
        return people
    random = np.random.default_rng(seed)
    chosen: list[str] = []
    for name, group in people.groupby("group"):
        most = (limit + (name == "target")) // 2
        chosen += list(random.permutation(sorted(group["participant_id"].unique()))[:most])
    return people[people["participant_id"].isin(chosen)]


@dataclass(frozen=True)
class FoldMaps:
    """Maps of a fold by one attribution method. A participant's map is the mean over the participant's scans.

    Attributes:
        mean: over participants, [X, Y, Z], float64.
        peaks: number of the strongest voxel of each participant's map, [n].
        people: each participant's map on the grid of group inference, [n, V], float32; [n, 0] where there is
        none.
    """

    mean: dict[Pair, Tensor]
    peaks: dict[Pair, Tensor]
    people: dict[Pair, Tensor]


class FoldMapper:
    """Inputs of the maps of one fold: a model, its probes, and the held-out participants to be mapped.

    Attributes:
        model: of the fold.
        cohort: rows of ``cohort.tsv``.
        decisions: by target and space, the weights of the probe's decision function on the raw representation, or None
            where the salient head's squared distance from s' is mapped instead.
        scans_of: by target, its mapped scans, rows of the cohort indexed by scan id. A target that only one group has,
            such as a symptom score, is mapped in that group: its probe saw no others.

    Raises:
        InputError: if the model or the standardisation was learned from a participant whom the fold holds out.
    """

    def __init__(self, config: Config, results: Results, method: str, fold: int) -> None:
        self.config, self.results, self.method, self.fold = config, results, method, fold
        settings = config.saliency
        self.cohort = load_cohort(results.cohort)
        cohort = self.cohort.set_index("scan_id")
        split = read_fold(results.splits, results.index, fold)
        held_out = cohort.loc[list(split.test)]
        # All scans of these participants, since one scan gives away the others.
        scans_of_held_out = cohort.index[cohort["participant_id"].isin(held_out["participant_id"])].tolist()
        self.model: TrainedModel = load_model(results.model_folder(method, fold))
        self.model.refuse_trained_on(scans_of_held_out)
        self.standardisation = Standardisation.load(results, fold)
        self.standardisation.refuse_learned_from(scans_of_held_out)
        self.cache = VolumeCache(results)
        self._training_controls = [scan for scan in split.train if cohort.loc[scan, "group"] == "background"]
        self._baseline: Tensor | None = None

        people = mapped_people(held_out, settings.participants, seed_of(config.seed, fold))
        self.decisions: dict[Pair, list[float] | None] = {}
        if "probe" in settings.of:
            self.decisions |= {
                (entry["target"], entry["space"]): entry["weights"]
                for entry in read_json(results.coefficients)
                if (entry["method"], entry["fold"]) == (method, fold) and entry["target"] in settings.targets
            }
        if "salient-norm" in settings.of and self.model.method.has_salient_norm:
            self.decisions[SALIENT_NORM, "salient"] = None
        targets = config.probes.targets
        self.scans_of = {
            target: people if target == SALIENT_NORM else probed_participants(people, target, targets[target])
            for target, _ in self.decisions
        }
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.mask = self.standardisation.mask.numpy() > 0
        self.standardisation = self.standardisation.to(self.device)
        self.model.method.to(self.device)

    def mapped(self, target: str) -> pd.DataFrame:
        """Participants mapped for a target: a row a participant (first scan), in the order of :class:`FoldMaps`."""
        return self.scans_of[target].drop_duplicates("participant_id")

    def participants(self, target: str) -> list[str]:
        """Their ids."""
        return self.mapped(target)["participant_id"].tolist()

    @property
    def mapped_scans(self) -> pd.DataFrame:
        """Scans that are mapped for any target, in the order of the cohort."""
        tables = [table for table in self.scans_of.values() if len(table)]
        rows = pd.concat(tables) if tables else pd.DataFrame(columns=["participant_id", "group"])
        return rows[~rows.index.duplicated()].sort_index()

    def pairs_of(self, participant: str) -> list[Pair]:
        """Targets and spaces that are mapped in a participant."""
        return [pair for pair in self.decisions if (self.scans_of[pair[0]]["participant_id"] == participant).any()]

    def scores(self, pairs: list[Pair], scan: str, weights: dict[Pair, list[float]] | None = None) -> Scores:
        """The scores of a scan's volumes for K pairs, K times [B]: ``w · r(x)``, the decision function less a constant.

        Args:
            pairs: which.
            scan: whose covariates hold, however its volume is changed.
            weights: of other probes, instead of the fold's own.
        """
        of_scan = torch.from_numpy(self.model.covariates.code(self.mapped_scans.loc[[scan]])).float().to(self.device)
        found = self.decisions if weights is None else weights
        vectors = [None if found[pair] is None else torch.tensor(found[pair], device=self.device) for pair in pairs]

        def of(volumes: Tensor) -> list[Tensor]:
            method, a = self.model.method, of_scan.expand(len(volumes), -1)
            representations = method.represent(volumes, a) if any(v is not None for v in vectors) else {}
            return [
                self.model.method.salient_norm(volumes, a)
                if vector is None
                else representations[space].float() @ vector
                for (_, space), vector in zip(pairs, vectors, strict=True)
            ]

        return of

    def volume(self, scan: str) -> Tensor:
        """A standardised volume, [1, 1, X, Y, Z]."""
        return self.standardisation.apply(self.cache.read(self.cache.rows([scan])).to(self.device))

    def baseline(self) -> Tensor:
        """The mean of the fold's standardised *training* controls, [1, 1, X, Y, Z]: a head like any healthy one."""
        if self._baseline is None:
            total = torch.zeros(1, 1, *self.cache.shape, dtype=torch.float64)
            rows = self.cache.rows(self._training_controls)
            for start in range(0, len(rows), CHUNK):
                total += self.cache.read(rows[start : start + CHUNK]).double().sum(dim=0, keepdim=True)
            mean = (total / len(rows)).float().to(self.device)
            # Standardising is linear, so that the mean may be standardised instead of each volume.
            self._baseline = self.standardisation.apply(mean)
        return self._baseline

    def explain(self, attribution: str, scores: Scores, scan: str, regions: Atlas | None) -> Tensor:
        """A scan's maps by one attribution method, one for each score: [K, X, Y, Z], float64."""

        def within_mask() -> Tensor:
            if regions is None:
                raise ValueError(f"{attribution} needs regions")
            return torch.from_numpy(np.where(self.mask, regions.regions, 0)).to(self.device)

        seen = Scan(
            self.volume(scan),
            self.standardisation.mask,
            self.baseline,
            within_mask,
            seed_of(self.config.seed, self.fold, self.cache.rows([scan])[0]),
            self.config.saliency,
        )
        return ATTRIBUTIONS[attribution].function(scores, seen)

    def person_maps(
        self,
        attribution: str,
        pairs: list[Pair],
        participant: str,
        regions: Atlas | None,
        weights: dict[Pair, list[float]] | None = None,
    ) -> Tensor:
        """The mean of :meth:`explain` over a participant's scans, of the :meth:`scores` of some pairs: [K, X, Y, Z]."""
        table = self.mapped_scans
        scans = table.index[table["participant_id"] == participant]
        of_scans = [self.explain(attribution, self.scores(pairs, scan, weights), scan, regions) for scan in scans]
        return torch.stack(of_scans).mean(dim=0)

    def maps(self, attribution: str, grid: CoarseGrid | None, regions: Atlas | None) -> FoldMaps:
        """Maps all participants. Maps of an earlier start are read, if all that they were made from is the same.

        Args:
            attribution: its name in the configuration.
            grid: of group inference, or None without it.
            regions: of an attribution by region.
        """
        path = self.results.checkpoints(self.method, self.fold) / f"saliency-{attribution}.safetensors"
        title = f"saliency of {self.method}, fold {self.fold}, {attribution}"
        identity = self._identity(attribution, grid, regions)
        kept = _kept(path, identity)
        if kept is not None:
            logger.info(f"{title}: kept from an earlier start")
            parts_of_kept = ("mean", "peaks", "people")
            return FoldMaps(
                *({pair: kept["/".join((part, *pair))] for pair in self.decisions} for part in parts_of_kept)
            )
        found = self._compute(attribution, grid, regions, title)
        parts = {"mean": found.mean, "peaks": found.peaks, "people": found.people}
        tensors = {"/".join((part, *pair)): value for part, by_pair in parts.items() for pair, value in by_pair.items()}
        write_bytes(path, save(tensors, {"fingerprint": identity, "sha256": _checksum(tensors)}))
        return found

    def _compute(self, attribution: str, grid: CoarseGrid | None, regions: Atlas | None, title: str) -> FoldMaps:
        counts = {pair: len(self.participants(pair[0])) for pair in self.decisions}
        voxels = 0 if grid is None else int(grid.brain.sum())
        mean = {pair: torch.zeros(self.cache.shape, dtype=torch.float64) for pair in self.decisions}
        peaks = {pair: torch.zeros(count, dtype=torch.int64) for pair, count in counts.items()}
        people = {pair: torch.zeros(count, voxels) for pair, count in counts.items()}
        ids = list(dict.fromkeys(self.mapped_scans["participant_id"]))
        for participant in followed(ids, len(ids), title):
            pairs = self.pairs_of(participant)
            maps = self.person_maps(attribution, pairs, participant, regions)
            for pair, values in zip(pairs, maps, strict=True):
                place = self.participants(pair[0]).index(participant)
                mean[pair] += values / counts[pair]
                peaks[pair][place] = peak_voxel(values.numpy())
                if grid is not None:
                    people[pair][place] = torch.from_numpy(grid.reduce(values.numpy()))
                if self.config.saliency.participant_maps:
                    folder = self.results.participant_maps(self.method) / attribution
                    name = f"{participant}_{'_'.join(pair)}_fold-{self.fold}.nii.gz"
                    save_image(folder / name, values.numpy(), self.cache.affine)
        return FoldMaps(mean, peaks, people)

    def _identity(self, attribution: str, grid: CoarseGrid | None, regions: Atlas | None) -> str:
        settings = self.config.saliency
        entry = ATTRIBUTIONS[attribution]
        used: dict[str, Any] = {name: getattr(settings, name) for name in entry.depends_on}
        if entry.by_region:
            used["regions"] = None if regions is None else _digest(regions.regions)
        return fingerprint(
            attribution,
            used,
            [settings.participants, settings.participant_maps],
            self.config.seed,
            None if grid is None else [grid.factor, _digest(grid.brain)],
            [[*pair, weights, self.scans_of[pair[0]].index.tolist()] for pair, weights in self.decisions.items()],
            self._training_controls,
            sha256(self.results.model_folder(self.method, self.fold) / "model.safetensors"),
            sha256(self.results.standardisation(self.fold)),
            sha256(self.results.index),
            read_json(self.results.grid),
            __version__,
        )


def _kept(path: Path, identity: str) -> dict[str, Tensor] | None:
    """The maps of an earlier start; None if there are none, of other inputs, or damaged."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError):
        return None
    return content if said.get("fingerprint") == identity and said.get("sha256") == _checksum(content) else None


def _checksum(tensors: dict[str, Tensor]) -> str:
    return hashlib.sha256(save(tensors)).hexdigest()


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
