"""What the report says of subtypes: a claim only by q, and what else may divide patients beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sepclr_neuro.core.storage import write_tsv
from sepclr_neuro.report.subtypes import said_of_subtypes
from tests.report.reported_run import METHOD, Page, a_config, page_of, write_run

BEST = {"clusters": 2, "separation": 0.7, "null95": 0.5, "p": 0.005, "stability": 0.9, "stability_null95": 0.8}
BEST |= {"smallest": 9, "people": 30}
SITE = pd.DataFrame({"variable": ["site", "age"], "explained": [0.5, 0.1], "p": [0.001, 0.3], "q": [0.002, 0.3]})


def test_clusters_are_claimed_by_q_alone() -> None:
    said = said_of_subtypes(pd.Series(BEST | {"q": 0.06}), SITE, "M")
    assert len(said) == 1
    assert said[0].startswith("No subtypes are shown: in M, the clearest case, 2 clusters explain 70 %")
    claimed = said_of_subtypes(pd.Series(BEST | {"q": 0.01}), SITE.assign(q=0.3), "M")
    assert claimed[0].startswith("Patients are of more than one kind")
    assert "patients of one kind reach 50 % in one of twenty samples" in claimed[0]
    assert claimed[-1] == "The clusters are not shown to go with site or age."


def test_what_goes_with_the_clusters_is_said() -> None:
    said = said_of_subtypes(pd.Series(BEST | {"q": 0.01, "rand_with_truth": 0.5}), SITE, "M")
    assert "The clusters go with site (p 0.001, q 0.002): a variable that is not of the disease" in said[2]
    assert said[-1].endswith("with them is 0.50.")


def test_too_few_patients_are_no_result() -> None:
    assert "Subtypes are not looked for: they need" in said_of_subtypes(pd.Series(BEST | {"q": np.nan}), None, "M")[0]


def test_the_page_shows_them_where_they_were_looked_for(tmp_path, undrawn: None) -> None:
    config = a_config(tmp_path)
    results = write_run(config)
    assert Page(page_of(config, results)).text.count("Subtypes") == 0
    folder = results.subtypes(METHOD)
    write_tsv(folder / "subtypes.tsv", pd.DataFrame([BEST]))
    write_tsv(folder / "associations.tsv", SITE.assign(clusters=2))
    points = {
        "participant_id": [f"sub-{n}" for n in range(30)],
        "fold": 0,
        "axis_1": np.arange(30.0),
        "axis_2": np.arange(30.0),
    }
    write_tsv(folder / "members.tsv", pd.DataFrame(points | {"of_2": np.arange(30) % 2 + 1}))
    text = page_of(config, results)
    assert "Patients are of more than one kind" in Page(text).text
    assert (results.figures / "subtypes.svg").is_file()
    assert "sub-7" not in text
