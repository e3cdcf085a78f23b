"""The terms between the two spaces that a configuration may name, and what texts call the other terms of losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sepclr_neuro.core.registry import LateEntry, Registry

__all__ = ["LOSSES_IN_WORDS", "TERMS", "Term"]


@dataclass(frozen=True)
class Term(LateEntry):
    """A term between the spaces. Its implementation is called with a
    :class:`~sepclr_neuro.methods.independence.TermSettings` and the options.

    Attributes:
        in_words: what texts call it.
        estimated: whether networks of its own estimate it, which are trained in alternation with the encoders.
        by_kernels: whether it has kernels, so that texts state their width.
    """

    in_words: str
    estimated: bool = False
    by_kernels: bool = False


def _kernels(title: str, in_words: str) -> Term:
    options = {"estimate": title.lower()}
    return Term(title, "sepclr_neuro.methods.independence:Kernels", in_words, by_kernels=True, options=options)


_DIRECTIONS = {
    "sym": ("both ways", "in both directions"),
    "c2s": ("common to salient", "from common to salient"),
    "s2c": ("salient to common", "from salient to common"),
}


def _variational(bound: str, direction: str) -> Term:
    title, in_words = _DIRECTIONS[direction]
    return Term(
        f"{bound}, {title}",
        "sepclr_neuro.methods.independence:Variational",
        f"{bound} bound {in_words}",
        estimated=True,
        options={"bound": bound.lower(), "direction": direction},
    )


TERMS: Registry[Term] = Registry(
    "terms",
    {
        "k-jem": _kernels("k-JEM", "kernel joint entropy (k-JEM)"),
        "none": Term("no k-JEM", "sepclr_neuro.methods.independence:no_term", ""),
        "k-mi": _kernels("k-MI", "kernel mutual information (k-MI)"),
        "mmd": Term("MMD", "sepclr_neuro.methods.independence:Discrepancy", "maximum mean discrepancy (MMD)"),
        "tc": Term("TC", "sepclr_neuro.methods.independence:DensityRatio", "total correlation (TC)", estimated=True),
        "vclub-sym": _variational("vCLUB", "sym"),
        "vclub-c2s": _variational("vCLUB", "c2s"),
        "vclub-s2c": _variational("vCLUB", "s2c"),
        "vl1o-sym": _variational("vL1O", "sym"),
        "vl1o-c2s": _variational("vL1O", "c2s"),
        "vl1o-s2c": _variational("vL1O", "s2c"),
        "vub-sym": _variational("vUB", "sym"),
        "vub-c2s": _variational("vUB", "c2s"),
        "vub-s2c": _variational("vUB", "s2c"),
        "dcor": Term(
            "distance correlation", "sepclr_neuro.methods.independence:DistanceCorrelation", "distance correlation"
        ),
    },
)
"""Each also gives the method ``sepclr-<name>`` of its own."""

LOSSES_IN_WORDS: Mapping[str, str] = {
    "common_alignment": "alignment of the common space",
    "common_uniformity": "uniformity of the common space",
    "salient_alignment": "alignment of the salient space",
    "salient_uniformity": "uniformity of the salient space",
    "informationless": "information-less term",
    "independence": "independence of the spaces",
    "common_divergence": "divergence of the common code from its prior",
    "salient_divergence": "divergence of patients' salient code from its prior",
    "controls_divergence": "divergence of controls' salient code from its prior",
    "common_matching": "MMD between the groups' common codes",
    "salient_matching": "MMD between controls' salient codes and zero",
    "classification": "classification of the groups",
}
"""What texts call a term of the loss as models record it, if its name is not the field's."""
