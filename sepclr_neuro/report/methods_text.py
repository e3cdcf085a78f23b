"""How each method was trained, in sentences for a methods section, from its models' records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sepclr_neuro.config.augmentation import Augmentation
from sepclr_neuro.config.encoders import ENCODERS, STRIDED_CHANNELS_IN_WORDS
from sepclr_neuro.config.methods.base import TwoSpaceSettings
from sepclr_neuro.config.methods.terms import LOSSES_IN_WORDS
from sepclr_neuro.config.training import Training
from sepclr_neuro.core.references import Reference
from sepclr_neuro.core.words import counted, listed
from sepclr_neuro.report.records import Trained, span

__all__ = ["Paragraph", "adjustments", "cited", "method_paragraphs", "software"]

SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")
PRECISIONS = {"32-true": "in float32", "bf16-mixed": "in bfloat16 with losses in float32"}
COLUMNS_IN_WORDS = {"tiv": "total intracranial volume"}

GRADIENT_CACHING = Reference(
    "Gao L, Zhang Y, Han J, Callan J",
    2021,
    "Scaling deep contrastive learning batch size under memory limited setup",
    "https://arxiv.org/abs/2101.06983",
    "RepL4NLP",
    kind="inproceedings",
)
ERASURE = Reference(
    "Belrose N, Schneider-Joseph D, Ravfogel S, et al.",
    2023,
    "LEACE: perfect linear concept erasure in closed form",
    "https://arxiv.org/abs/2306.03819",
    "NeurIPS",
    kind="inproceedings",
)


class Paragraph(NamedTuple):
    """One paragraph of the methods text, plain text."""

    title: str
    sentences: list[str]


def method_paragraphs(made: Mapping[str, Trained], raw_units: bool = False) -> list[Paragraph]:
    """Each method, then how networks were built and trained, and their views of volumes.

    A sentence that is true of several methods is said once, after their names. Methods without networks, batches,
    epochs and views, such as closed forms, are in no paragraph about these.

    Args:
        made: the models of each method.
        raw_units: whether intensities were left as they are, so that noise is in units of grey matter.
    """
    alike: dict[str, list[Trained]] = {}
    for method in made.values():
        alike.setdefault(_description(method)[0], []).append(method)
    paragraphs = [
        Paragraph(listed([method.title for method in methods]), _said_once(methods, _description))
        for methods in alike.values()
    ]
    two_spaces = [m for m in made.values() if isinstance(m.configured.settings, TwoSpaceSettings) and _spaces(m)]
    trained = [method for method in made.values() if method.by_gradients]
    for title, methods, said in (
        ("Spaces", two_spaces, _spaces),
        ("Networks", trained, _networks),
        ("Training", trained, lambda method: [training_sentence(method)]),
        ("Views", trained, lambda method: [views_sentence(method, raw_units)]),
    ):
        if methods:
            of_all = len(methods) == len(made)
            paragraphs.append(Paragraph(title, _said_once(methods, said, of_all)))
    return paragraphs


def cited(made: Mapping[str, Trained]) -> list[Reference]:
    """References of the paragraphs."""
    references = {reference for method in made.values() for reference in method.configured.settings.references}
    for method in made.values():
        if method.by_gradients:
            references |= set(ENCODERS[method.configured.network.name].references)
        if method.by_gradients and "gradient caching" in training_sentence(method):
            references.add(GRADIENT_CACHING)
        if _erases(method):
            references.add(ERASURE)
    return sorted(references)


def software(made: Mapping[str, Trained]) -> dict[str, str]:
    """The packages that models were made with, and their versions; of those that a method may do without, the used."""
    found: dict[str, set[str]] = {}
    for method in made.values():
        unused = set() if method.by_gradients else {"lightning"}
        if not (method.by_gradients and ENCODERS[method.configured.network.name].package == "monai"):
            unused.add("monai")
        for record in method.records:
            for name, number in record["versions"].items():
                if name not in unused:
                    found.setdefault(name, set()).add(str(number))
    return {name: " and ".join(sorted(numbers)) for name, numbers in found.items()}


def _said_once(methods: Sequence[Trained], say: Callable[[Trained], list[str]], of_all: bool = True) -> list[str]:
    """Each sentence after the methods that it is true of, without them where it is true of ``of_all``."""
    said: dict[str, list[str]] = {}
    for method in methods:
        for sentence in say(method):
            said.setdefault(sentence, []).append(method.title)
    return [
        sentence if of_all and len(titles) == len(methods) else f"{listed(titles)}: {sentence}"
        for sentence, titles in said.items()
    ]


def _description(method: Trained) -> list[str]:
    """The sentences that the method's settings make of themselves, and the terms of the loss that training had."""
    configured = method.configured
    said = SENTENCE_END.split(configured.entry.describe(configured.settings))
    recorded = method.records[0].get("losses", []) if method.by_gradients else []
    losses = [LOSSES_IN_WORDS.get(name, name.replace("_", " ")) for name in recorded]
    if losses:
        said.append(f"{'Term' if len(losses) == 1 else 'Terms'} of the loss: {listed(losses)}.")
    return said


def _spaces(method: Trained) -> list[str]:
    """Covariates of the salient space, and whether its codes were erased from the common one."""
    said = _adjustment(method)
    if _erases(method):
        said.append(
            "What the salient codes predict of the common space (least squares in the training participants' adjusted "
            "volumes) was removed from it (Belrose et al., 2023); it is a function of the volume alone."
        )
    return said


def _erases(method: Trained) -> bool:
    return bool(getattr(method.configured.settings, "erase", False))


def adjustments(made: Mapping[str, Trained]) -> list[str]:
    """For which covariates the salient spaces were adjusted, and how; empty where none was."""
    return _said_once(list(made.values()), _adjustment)


def _adjustment(method: Trained) -> list[str]:
    adjusted = list(dict.fromkeys(column["column"] for record in method.records for column in _covariates(record)))
    if not adjusted:
        return []
    names = listed([COLUMNS_IN_WORDS.get(column, column) for column in adjusted])
    if getattr(method.configured.settings, "effects_of_controls", False):
        return [
            f"The salient space was computed from volumes adjusted for {names}, by effects learned in the training "
            "controls alone."
        ]
    return [f"The salient space was computed from volumes adjusted within groups for {names}."]


def _covariates(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return record.get("covariates", {}).get("columns", [])


def _networks(method: Trained) -> list[str]:
    decoder, chosen = decoder_sentence(method), method.configured.settings.own_choices
    return [encoder_sentence(method), *([decoder] if decoder else []), *([chosen] if chosen else [])]


def encoder_sentence(method: Trained) -> str:
    """The encoders; "each" where there are several."""
    encoders = [name for name in method.networks if name.endswith("encoder")]
    subject = "Each encoder was" if len(encoders) > 1 else "The encoder was"
    network = method.configured.network
    return f"{subject} {ENCODERS[network.name].describe(network)}."


def decoder_sentence(method: Trained) -> str:
    """The decoder; empty without one. MONAI's encoders have no mirror."""
    network = method.configured.network
    if "decoder" not in method.networks:
        return ""
    if ENCODERS[network.name].decoder:
        return "The decoder mirrored the encoder."
    return f"The decoder had five transposed convolutions of stride 2, from {STRIDED_CHANNELS_IN_WORDS} back."


def training_sentence(method: Trained) -> str:
    """Optimiser, batch, epochs and precision, as far as possible what really happened."""
    training = method.configured.training
    said = [
        f"Adam, learning rate {training.learning_rate:g} ({training.schedule}), weight decay {training.weight_decay:g}"
    ]
    batches = method.all_of("batch_size")
    if batches:
        limited = ""
        if min(batches) < training.batch_size:
            limited = f" ({training.batch_size} were requested; a batch has at most twice the smaller training group)"
        said.append(f"batches of {span(batches)} participants{limited}, half from each group")
        said += _in_parts(training, min(batches))
    epochs = method.all_of("epochs")
    said.append(f"{span(epochs)} {'epoch' if set(epochs) == {1} else 'epochs'}")
    share = f"{100 * training.validation_fraction:.0f} % of the training participants"
    if training.patience:
        said[-1] += (
            f" of at most {training.epochs}, stopped after {counted(training.patience, 'epoch')} without a lower loss "
            f"of the {share} set apart for it, and the weights of the lowest kept"
        )
    elif training.validation_fraction:
        said.append(f"{share} set apart to monitor their loss")
    if training.gradient_clip is not None:
        said.append(f"gradient norm clipped at {training.gradient_clip:g}")
    said.append(" or ".join(sorted({PRECISIONS.get(name, name) for name in method.all_of("precision")})))
    return ", ".join(said) + "."


def _in_parts(training: Training, batch_size: int) -> list[str]:
    """How a batch was divided, if it was."""
    at_once, said = training.people_in_memory or batch_size, []
    if training.processes > 1:
        said.append(f"shared by {training.processes} processes")
    if at_once * training.processes < batch_size:
        said.append(f"of whom networks held {at_once} at a time")
    return [f"{' and '.join(said)} (gradient caching; Gao et al., 2021)"] if said else []


def views_sentence(method: Trained, raw_units: bool = False) -> str:
    """How many views of a volume the losses saw, and what was changed in them."""
    views = method.all_of("views")
    number = {1: "One view", 2: "Two views"}.get(views[0], f"{views[0]} views") if views else "Views"
    changes = _changes(method.configured.augmentation, raw_units)
    if not changes:
        return f"{number} of each volume, as it is."
    return f"{number} of each volume, each change with its probability: {', '.join(changes)}."


def _changes(change: Augmentation, raw_units: bool) -> list[str]:
    """The random changes of a view that can happen, each with its probability."""
    unit = "units of grey matter" if raw_units else "SD"
    low, high = change.crop_scale
    said = {
        f"crop to {low:g}–{high:g} of the side": change.crop_probability,
        f"rotation up to {change.rotation_degrees:g}° and shift up to {change.translation_share:g} of the side": (
            change.affine_probability
        ),
        "left-right flip": change.flip_probability,
        "Gaussian blur of {:g}–{:g} voxels".format(*change.blur_sigma_voxels): change.blur_probability,
        f"Gaussian noise up to {change.noise_sd:g} {unit}": change.noise_probability,
        "cutout of {:g}–{:g} of the side".format(*change.cutout_share): change.cutout_probability,
    }
    return [f"{name} ({probability:g})" for name, probability in said.items() if probability]
