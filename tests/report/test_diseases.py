"""What the report says of several diseases: nothing without a q, and nothing shared without maps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sepclr_neuro.report.diseases import said_of_diseases

NAMES = ["one", "two"]


def tables(own: float, specific: float, shared: float, different: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Maps and a pair with these q."""
    q = {f"disease-{name}": own for name in NAMES} | {"specific-one": specific}
    maps = pd.DataFrame({"map": list(q), "p": 0.01, "q": list(q.values()), "voxels_beyond_chance": 7})
    pair = {"disease": "one", "other": "two", "correlation": 0.5, "p_shared": 0.01, "p_different": 0.01}
    return maps, pd.DataFrame([pair | {"q_shared": shared, "q_different": different}])


def test_claims_follow_q() -> None:
    first, second, pair = said_of_diseases(NAMES, *tables(0.01, 0.01, 0.01, 0.01))
    assert "patients with two differ from controls" in second
    assert "other patients" not in second, "it is said of the first"
    assert "patients with one differ from controls in 7 voxels" in first
    assert "differ from the other patients in 7" in first
    assert "correlate by 0.50; they share more than samples without a disease do" in pair
    assert "and differ from each other" in pair
    first, _, pair = said_of_diseases(NAMES, *tables(0.06, 0.06, 0.06, 0.06))
    assert "with one are not shown to differ from controls" in first
    assert "are not shown to differ from the other patients" in first
    assert "they are not shown to share anything" in pair
    assert "are not shown to differ from each other" in pair


def test_maps_at_chance_share_nothing_whatever_their_correlation() -> None:
    assert "they are not shown to share anything" in said_of_diseases(NAMES, *tables(0.06, 0.06, 0.01, 0.01))[-1]


def test_without_permutations_nothing_is_claimed() -> None:
    (said,) = said_of_diseases(NAMES, *tables(np.nan, np.nan, np.nan, np.nan))
    assert "without a test" in said


def test_a_known_truth_stands_beside_the_correlation() -> None:
    maps, pairs = tables(0.01, 0.01, 0.01, 0.01)
    assert (
        "; the true maps correlate by 0.42;" in said_of_diseases(NAMES, maps, pairs.assign(true_correlation=0.42))[-1]
    )
