"""Whether two trainings ended in the same model, up to rounding."""

from __future__ import annotations

import pytest
import torch

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.sampling import seed_of
from sepclr_neuro.learning.models import build_method, load_model

__all__ = ["assert_same_model"]


def assert_same_model(config: Config, method: str, one: Results, other: Results) -> None:
    """Of the first fold: representations of noise differ by little of what training has changed, losses hardly."""
    models = [load_model(results.model_folder(method, 0)) for results in (one, other)]
    torch.manual_seed(seed_of(config.seed, 0))
    untrained = build_method(config, method, [1, *config.volumes.shape]).eval()
    x = torch.randn(3, 1, *config.volumes.shape)
    with torch.no_grad():
        expected, found, before = (model.represent(x) for model in [*models, untrained])
    for space in expected:
        learned = (expected[space] - before[space]).abs().max()
        assert (found[space] - expected[space]).abs().max() < 0.1 * learned
    of_one, of_other = (read_tsv(results.model_folder(method, 0) / "history.tsv") for results in (one, other))
    for term in ("loss", "common_alignment"):
        assert of_other[term].tolist() == pytest.approx(of_one[term].tolist(), rel=1e-4)
