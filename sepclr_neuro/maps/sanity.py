"""Whether maps depend on what was learned: with weights shuffled layer by layer, and with probes of shuffled labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.maps.atlases import Atlas
from sepclr_neuro.maps.attribution import Scores
from sepclr_neuro.maps.fold_maps import FoldMapper, Pair, mapped_people
from sepclr_neuro.maps.localisation import similarity
from sepclr_neuro.probing.probe_fits import fit_probe
from sepclr_neuro.probing.questions import questions
from sepclr_neuro.probing.representations import read_representations

__all__ = ["SANITY", "layers_by_depth", "sanity_checks", "shuffled_layers"]

logger = logging.getLogger(__name__)

SANITY = ["target", "space", "check", "layers", "last_layer", "spearman", "spearman_absolute", "people"]
# Depths at which a map is made anew.
STAGES = 3


def layers_by_depth(method: nn.Module, scores: Scores, volume: Tensor) -> list[str]:
    """Names of the modules with weights of their own that scores go through, the last one first.

    Found by running it, so that it holds for any network: in the order in which modules are called, and only those
    whose weights change the scores.

    Args:
        method: the network that the scores come from.
        scores: K scores of volumes; see :data:`sepclr_neuro.maps.attribution.Scores`.
        volume: [1, 1, X, Y, Z].
    """
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in method.named_modules()
        if list(module.parameters(recurse=False))
    ]
    modules = dict(method.named_modules())
    try:
        with torch.enable_grad():
            total = torch.cat(scores(volume)).sum()
        names = list(dict.fromkeys(called))
        weights = [(name, weight) for name in names for weight in modules[name].parameters(recurse=False)]
        gradients = torch.autograd.grad(total, [weight for _, weight in weights], allow_unused=True) if weights else ()
    finally:
        for hook in hooks:
            hook.remove()
    used = {name for (name, _), gradient in zip(weights, gradients, strict=True) if gradient is not None}
    return [name for name in reversed(names) if name in used]


def shuffled_layers(method: nn.Module, layers: Sequence[str], seed: int) -> Iterator[str]:
    """Shuffles the entries of each weight of one layer after the other, and gives the layer's name each time.

    Earlier ones stay shuffled; when the iteration ends, all weights are what they were. Shuffling keeps the size of the
    weights, whatever the kind of layer, and nothing else that was learned.

    Source: cascading randomisation of Adebayo et al., *Sanity checks for saliency maps*, NeurIPS 2018
    (arXiv 1810.03292).
    """
    modules = dict(method.named_modules())
    kept = {name: value.detach().clone() for name, value in method.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    try:
        for name in layers:
            for weight in modules[name].parameters(recurse=False):
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.data = weight.data.flatten()[order].reshape(weight.shape)
            yield name
    finally:
        method.load_state_dict(kept)


def sanity_checks(mapper: FoldMapper, attribution: str, regions: Atlas | None) -> pd.DataFrame:
    """How like the maps of a fold are to those of a network, or a probe, that learned nothing.

    The maps are means over the first few participants of the fold's (``config.saliency.sanity_participants``). A map
    that stays the same when the weights behind it are shuffled shows the volume, not what was learned.

    Returns:
        ``target space check layers last_layer spearman spearman_absolute people``, a row a map. ``check`` is
        ``weights``: as many layers as ``layers`` says were shuffled, from the representation backwards down to
        ``last_layer``; or ``labels``: the probe was fitted anew on shuffled labels of the training participants. Rank
        correlations with the map as it is, over the voxels that the network sees.
    """
    settings = mapper.config.saliency
    limit = settings.sanity_participants
    chosen = mapped_people(mapper.mapped_scans, limit, seed_of(mapper.config.seed, mapper.fold))
    if chosen.empty:
        return pd.DataFrame(columns=SANITY)
    people = list(dict.fromkeys(chosen["participant_id"]))
    logger.info(f"saliency of {mapper.method}, fold {mapper.fold}: sanity checks in {len(people)} participants")

    def maps(pairs: list[Pair], weights: dict[Pair, list[float]] | None = None) -> dict[Pair, Any]:
        found: dict[Pair, list[Tensor]] = {}
        for participant in people:
            mine = [pair for pair in mapper.pairs_of(participant) if pair in pairs]
            if mine:
                of_person = mapper.person_maps(attribution, mine, participant, regions, weights)
                for pair, values in zip(mine, of_person, strict=True):
                    found.setdefault(pair, []).append(values)
        return {pair: torch.stack(values).mean(dim=0).numpy() for pair, values in found.items()}

    as_it_is = maps(list(mapper.decisions))
    rows: list[dict[str, Any]] = []

    def compare(check: str, layers: int, last: str | None, changed: dict[Pair, Any]) -> None:
        for (target, space), values in changed.items():
            alike = similarity(as_it_is[target, space], values, mapper.mask)
            known = {"target": target, "space": space, "check": check, "layers": layers, "last_layer": last}
            rows.append(known | alike | {"people": len(people)})

    scan, method = chosen.index[0], mapper.model.method
    volume = mapper.volume(scan)
    # A projector is behind the norm of the head, but not behind a probe of the same space.
    by_layers: dict[tuple[str, ...], list[Pair]] = {}
    for pair in as_it_is:
        by_layers.setdefault(tuple(layers_by_depth(method, mapper.scores([pair], scan), volume)), []).append(pair)
    for layers, pairs in by_layers.items():
        every = ceil(len(layers) / STAGES)
        for number, layer in enumerate(shuffled_layers(method, layers, seed_of(mapper.config.seed)), start=1):
            if number % every == 0 or number == len(layers):
                compare("weights", number, layer, maps(pairs))
    weights = _weights_of_shuffled_labels(mapper)
    compare("labels", 0, None, maps(list(weights), weights))
    return pd.DataFrame(rows, columns=SANITY)


def _weights_of_shuffled_labels(mapper: FoldMapper) -> dict[Pair, list[float]]:
    """Probes of those whom the fold's probes are fitted on, with permuted labels."""
    cohort = mapper.cohort
    person = dict(zip(cohort["scan_id"], cohort["participant_id"], strict=True))
    results, of_fold = mapper.results, (mapper.method, mapper.fold)
    fold = read_fold(results.splits, results.index, mapper.fold)
    representations = read_representations(results.representations(*of_fold), results.model_folder(*of_fold))
    random = np.random.default_rng(seed_of(mapper.config.seed, mapper.fold))
    found: dict[Pair, list[float]] = {}
    for question in questions(mapper.config, cohort):
        pairs = [pair for pair in mapper.decisions if pair[0] == question.target]
        if not pairs:
            continue
        scans = [scan for scan in fold.probed if scan in question.truth.index]
        labels = pd.Series(random.permutation(question.truth[scans].to_numpy()), index=scans)
        shuffled = replace(question, truth=labels)
        for pair in pairs:
            table = pd.DataFrame(representations.spaces[pair[1]], index=representations.scan_ids).loc[scans]
            # Its score is of no interest, so that it may be of the training participants.
            answer = fit_probe(shuffled, table, table, person)
            if answer is not None and answer.weights is not None:
                found[pair] = answer.weights.tolist()
    return found
