"""What texts call the terms of losses."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["TERMS_IN_WORDS"]

TERMS_IN_WORDS: Mapping[str, str] = {
    "k-jem": "kernel joint entropy (k-JEM)",
    "k-mi": "kernel mutual information (k-MI)",
    "mmd": "maximum mean discrepancy (MMD)",
    "tc": "total correlation (TC)",
    "vclub-sym": "vCLUB bound in both directions",
    "vclub-c2s": "vCLUB bound from common to salient",
    "vclub-s2c": "vCLUB bound from salient to common",
    "vl1o-sym": "vL1O bound in both directions",
    "vl1o-c2s": "vL1O bound from common to salient",
    "vl1o-s2c": "vL1O bound from salient to common",
    "vub-sym": "vUB bound in both directions",
    "vub-c2s": "vUB bound from common to salient",
    "vub-s2c": "vUB bound from salient to common",
    "dcor": "distance correlation",
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
"""What texts call an independence term, or a term of the loss as models record it, if its name is not the field's."""
