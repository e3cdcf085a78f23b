"""What a space adds to confounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.errors import InputError
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_tsv
from sepclr_neuro.data.cohort import load_cohort
from sepclr_neuro.data.splits import read_fold
from sepclr_neuro.probing import increments
from sepclr_neuro.probing.probe_fits import Answer, Fit
from sepclr_neuro.probing.questions import confound_features, questions
from tests.probing.probed_run import METHOD, make_cohort


def test_what_a_space_adds_to_confounds(run: tuple[Config, Results]) -> None:
    table = read_tsv(run[1].increments).set_index(["target", "space", "fold"])
    assert set(table["metric"]) == {"bacc", "mae"}
    assert table.loc[("diagnosis", "salient", 0), "increment"] > 0.3
    assert table.loc[("saps", "salient", 0), "increment"] > 5
    for target in ("diagnosis", "saps"):
        part = table.loc[target]
        assert part["confounds"].groupby("fold").nunique().tolist() == [1, 1]
        sign = 1 if target == "diagnosis" else -1
        gain = sign * (part["combined"] - part["confounds"])
        assert part["increment"].to_numpy() == pytest.approx(gain.to_numpy(), abs=1e-4)


def test_a_space_is_not_copied_for_each_question(run: tuple[Config, Results], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many participants and dimensions, the copies would take most of a run's memory."""
    spaces: list[int] = []

    def kept(fits: Sequence[Fit], person: Mapping[str, str]) -> list[None]:
        spaces.extend(id(fit.features) for fit in fits if fit.beside is not None)
        return [None] * len(fits)

    config, results = run
    cohort = load_cohort(results.cohort)
    asked = questions(config, cohort)
    fold = read_fold(results.splits, results.index, 0)
    values = pd.DataFrame(np.zeros((len(cohort), 2)), index=cohort["scan_id"])
    fits = [Fit({"method": METHOD, "fold": 0, "target": q.target, "space": "common"}, q, values, fold) for q in asked]
    monkeypatch.setattr(increments, "fit_in_parallel", kept)
    increments.find_increments(config, cohort, fits, [Answer({}, {}, {}, values, values, 1)] * len(fits), {})
    assert len(spaces) == len(fits) > 1
    assert set(spaces) == {id(values)}


def test_confounds_are_numbers_and_a_column_for_each_training_class() -> None:
    cohort = make_cohort(6)
    features = confound_features(cohort, ["age", "site"], cohort.loc[[0, 1, 3], "scan_id"])
    assert features.columns.tolist() == ["age", "site=oslo", "site=prague"]
    assert features.loc["sub-002"].tolist() == [34.0, 0.0, 0.0]
    assert features.loc["sub-001"].tolist() == [27.0, 0.0, 1.0]


def test_a_missing_confound_is_refused() -> None:
    cohort = make_cohort(8)
    cohort.loc[3, "age"] = np.nan
    listed = Config().probes.model_copy(update={"confounds": ["age", "sex"]})
    with pytest.raises(InputError, match=r"probes.confounds: age is missing for 1 scans \(participant sub-003 first\)"):
        questions(Config().model_copy(update={"probes": listed}), cohort)
